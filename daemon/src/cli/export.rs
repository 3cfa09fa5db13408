//! `export`: originals to a folder, as they are delivered, for a person, or with poses for photogrammetry.

mod beside;
mod folder;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use turnstage_cloud_sync::backend::directory::{DirectoryBackend, DirectoryOptions};
use turnstage_cloud_sync::backend::{Backend, Delivery, Parcel, Payload};
use turnstage_cloud_sync::queue::State;
use turnstage_cloud_sync::{Record, Sha256};
use turnstage_pipeline::photogrammetry::{Picture, colmap, transforms};

use super::answer::answer;
use super::desk::Desk;
use super::queue::with_desk;
use super::{Place, calibrate};
use crate::calibration::axis::CameraAxis;
use crate::command::Refusal;
use crate::exit::{self, Exit};
use crate::session::DEPTH;
use crate::window::views::CalibrationsView;
use beside::{came_with, lens, lens_file, points, tell_depths};
use folder::Folder;

/// Folder of the pictures, beside the files that tell of their poses.
const PICTURES: &str = "images";
/// Folder of the depth pictures there.
const DEPTHS: &str = "depth";

/// Options of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Folder to write to, for example a USB stick, which must exist. With --format it is made, and is named after the
    /// session if absent.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// One session in another form, whatever its state, as far as its pictures are still on this station.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// With --format folder: the points of each picture that came with distances, with their colours, as PLY.
    #[arg(long)]
    points: bool,
    /// Sessions by id; all released ones if absent. With --format exactly one.
    sessions: Vec<String>,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The pictures, named by frame, camera and angle, and beside each what came with it (depth, raw) and its lens.
    Folder,
    /// Pictures and their poses as a COLMAP text model; needs: turnstage calibrate axis.
    Colmap,
    /// Pictures and their poses as transforms.json of nerfstudio, with distances where every picture has them; needs:
    /// turnstage calibrate axis.
    Nerf,
}

/// Does it.
pub async fn perform(place: &Place, options: Export) -> Result<u8> {
    let usage = |what: &str| Err(Exit::new(exit::USAGE, what).into());
    if options.points && options.format != Some(Format::Folder) {
        return usage("--points goes with --format folder");
    }
    match (options.format, options.to, options.sessions.as_slice()) {
        (None, Some(to), sessions) => copy(place, &to, sessions).await,
        (None, None, _) => usage("name the folder to write to with --to, or a --format"),
        (Some(format), to, [session]) => {
            let to = to.unwrap_or_else(|| PathBuf::from(session));
            with_desk(place, async |desk| write(desk, session, (format, options.points), &to).await).await
        }
        (Some(_), ..) => usage("--format takes exactly one session; see: turnstage sessions list"),
    }
}

/// Originals of sessions to a folder, with manifest, read back.
async fn copy(place: &Place, to: &Path, chosen: &[String]) -> Result<u8> {
    with_desk(place, async |desk| {
        let backend = DirectoryBackend::new(DirectoryOptions {
            name: "export".to_owned(),
            root: to.to_path_buf(),
            create: false,
            require_mount: false,
        });
        let known: Vec<String> = desk.sessions().await?.into_iter().map(|session| session.session).collect();
        if let Some(unknown) = chosen.iter().find(|id| !known.contains(*id)) {
            return Err(Exit::new(exit::NO_INPUT, format!("there is no session {unknown}")).into());
        }
        let mut records = Vec::new();
        for id in known.iter().filter(|id| chosen.is_empty() || chosen.contains(*id)) {
            records.extend(desk.get::<Vec<Record>>(&format!("/api/v1/sessions/{id}/records")).await?);
        }
        // History stays behind, and of several destinations the bytes are the same.
        records.retain(|record| record.state != State::Captured);
        records.dedup_by_key(|record| record.key.sequence);
        let bar = ProgressBar::new(records.len() as u64);
        let mut gone = 0;
        for record in records {
            if record.media.is_empty() {
                gone += 1;
                continue;
            }
            let bytes = desk.bytes(&format!("/api/v1/frames/{}/original", record.key.sequence)).await?;
            let delivery = Delivery { files: vec![Parcel::stored(record, Payload::Ram(bytes))] };
            backend.deliver(&delivery).await.map_err(|e| Exit::new(exit::STORAGE, e))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        answer!("{} pictures copied to {} and read back.", bar.position(), to.display());
        if gone > 0 {
            answer!("{gone} were delivered before and are not kept on this station any more.");
        }
        Ok(exit::OK)
    })
    .await
}

/// One session in a form of its own.
async fn write(desk: &Desk, session: &str, (format, with_points): (Format, bool), to: &Path) -> Result<u8> {
    let detail = desk.session(session).await?;
    let all: Vec<Record> = desk.get(&format!("/api/v1/sessions/{session}/records")).await?;
    let mut records = calibrate::in_use(&detail, all.clone());
    // Of several destinations the pictures are the same.
    records.sort_by_key(|record| (record.facts.shot, record.facts.camera.clone(), record.key.sequence));
    records.dedup_by_key(|record| record.key.sequence);
    let count = records.len();
    records.retain(|record| !record.media.is_empty());
    if records.is_empty() {
        let why = format!("none of the {count} pictures of session {session} is on this station any more");
        return Err(Exit::new(exit::NO_INPUT, why).into());
    }
    let names = names(&records);
    let companions = records.iter().zip(&names).map(|(record, name)| came_with(record, name, &all));
    let companions: Vec<Vec<Record>> = companions.collect();
    // Whatever speaks against it is told before anything is written.
    if with_points && !companions.iter().flatten().any(|one| one.key.product == DEPTH) {
        let why =
            format!("no picture of session {session} has distances on this station, so there are no points");
        return Err(Exit::new(exit::NO_INPUT, why).into());
    }
    let posed = match format {
        Format::Folder => Vec::new(),
        Format::Colmap | Format::Nerf => {
            let kept: CalibrationsView = desk.get("/api/v1/calibrations").await?;
            posed(&records, &names, &kept.axes).map_err(|refusal| Exit::new(exit::REFUSED, refusal))?
        }
    };
    let texts = texts(format, &posed, &companions)?;
    let mut folder = Folder::empty(to)?;
    let bar = ProgressBar::new(records.len() as u64);
    for ((mut picture, name), companions) in records.into_iter().zip(names).zip(companions) {
        picture.facts.file_name = name;
        keep(desk, &mut folder, (format, with_points), picture, companions).await?;
        bar.inc(1);
    }
    for (name, text) in &texts {
        folder.text(name, text)?;
    }
    let (pictures, others) = folder.finish()?;
    bar.finish_and_clear();
    answer!("{pictures} pictures written to {}.", to.display());
    if others > 0 {
        answer!("{others} files lie with them: what came with them, their lenses and points.");
    }
    if pictures < count {
        answer!("{} were delivered before and are not kept on this station any more.", count - pictures);
    }
    Ok(exit::OK)
}

/// A picture, and what belongs with it in this form.
async fn keep(
    desk: &Desk,
    folder: &mut Folder,
    (format, with_points): (Format, bool),
    picture: Record,
    companions: Vec<Record>,
) -> Result<()> {
    let bytes = stored(desk, &picture).await?;
    folder.keep(if format == Format::Folder { "" } else { PICTURES }, &picture, &bytes)?;
    let mut distances = None;
    for companion in companions {
        let below = match format {
            Format::Folder => "",
            Format::Nerf if companion.key.product == DEPTH => DEPTHS,
            Format::Nerf | Format::Colmap => continue,
        };
        let bytes = stored(desk, &companion).await?;
        folder.keep(below, &companion, &bytes)?;
        distances = distances.or((companion.key.product == DEPTH).then_some((companion, bytes)));
    }
    let Some(lens) = lens(&picture)?.filter(|_| format == Format::Folder) else { return Ok(()) };
    let (record, file) = lens_file(&picture, &lens);
    folder.keep("", &record, &file)?;
    let Some(distances) = distances.filter(|_| with_points) else { return Ok(()) };
    let work = move || points((&picture, bytes), (&distances.0, &distances.1), &lens);
    let (record, file) = tokio::task::spawn_blocking(work).await??;
    folder.keep("", &record, &file)
}

/// The bytes of a record as they were captured.
async fn stored(desk: &Desk, record: &Record) -> Result<Bytes> {
    let bytes = desk.bytes(&format!("/api/v1/frames/{}/original", record.key.sequence)).await?;
    if Sha256::of(&bytes) == record.sha256 {
        return Ok(bytes);
    }
    let name = &record.facts.file_name;
    let why = format!("{name} is not what was captured: its hash differs. See: turnstage queue check");
    Err(Exit::new(exit::DATA, why).into())
}

/// A name for each record, as the station named it; none twice.
fn names(records: &[Record]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let name = |record: &Record| {
        let plain = Path::new(&record.facts.file_name).file_name();
        let plain = plain.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match known.insert(plain.clone()) && !plain.is_empty() {
            true => plain,
            false => format!("{}_{plain}", record.key.sequence),
        }
    };
    records.iter().map(name).collect()
}

/// Where each picture was taken from: the place of its camera, carried round by the angle that the table reached.
fn posed(records: &[Record], names: &[String], axes: &[CameraAxis]) -> Result<Vec<Picture>, Refusal> {
    let mut turns = BTreeSet::new();
    let mut all = Vec::new();
    for (record, name) in records.iter().zip(names) {
        let camera = &record.facts.camera;
        let Some(kept) = axes.iter().find(|axis| axis.camera == *camera) else {
            let reason = format!(
                "Where camera {camera} stands is not known. Lay the marker board on the platter (turnstage calibrate \
                 board), then: turnstage calibrate axis. Pictures that were taken before are given their poses too, as \
                 long as camera and table were not moved."
            );
            return Err(Refusal::new("axis-none", reason));
        };
        kept.holds_for(record)?;
        turns.insert(&kept.session);
        if turns.len() > 1 {
            let reason = "The cameras of this session were calibrated in different turns, so that they do not share a \
                          frame. Calibrate them in one turn: turnstage calibrate axis.";
            return Err(Refusal::new("axis-different-turns", reason));
        }
        let Some(angle) = record.facts.angle_reached.or(record.facts.angle_commanded) else {
            let reason = format!("{name} was taken without a table, so that its angle is not known.");
            return Err(Refusal::new("axis-no-angle", reason));
        };
        all.push(Picture { file: name.clone(), lens: kept.axis.lens, pose: kept.pose(record, angle)? });
    }
    Ok(all)
}

/// Files beside the pictures, by name; `companions` came with each of these.
fn texts(
    format: Format,
    posed: &[Picture],
    companions: &[Vec<Record>],
) -> Result<Vec<(&'static str, String)>> {
    let refused = |why| Exit::new(exit::REFUSED, why);
    match format {
        Format::Folder => Ok(Vec::new()),
        Format::Colmap => {
            let model = colmap(posed).map_err(refused)?;
            Ok(vec![
                ("sparse/0/cameras.txt", model.cameras),
                ("sparse/0/images.txt", model.images),
                ("sparse/0/points3D.txt", model.points),
            ])
        }
        Format::Nerf => {
            let mut all = transforms(posed, PICTURES).map_err(refused)?;
            tell_depths(&mut all, companions, DEPTHS);
            Ok(vec![("transforms.json", serde_json::to_string_pretty(&all)?)])
        }
    }
}
