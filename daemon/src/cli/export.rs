//! `export`: originals to a folder, as they are delivered, for a person, or with poses for photogrammetry.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use turnstage_cloud_sync::backend::directory::{DirectoryBackend, DirectoryOptions};
use turnstage_cloud_sync::backend::{Backend, Delivery, Parcel, Payload};
use turnstage_cloud_sync::queue::State;
use turnstage_cloud_sync::{Record, Sha256};
use turnstage_pipeline::photogrammetry::{Picture, colmap, transforms};

use super::desk::Desk;
use super::queue::with_desk;
use super::{Place, calibrate};
use crate::calibration::axis::CameraAxis;
use crate::command::Refusal;
use crate::exit::{self, Exit};
use crate::window::views::CalibrationsView;

/// Folder of the pictures, beside the files that tell of their poses.
const PICTURES: &str = "images";

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
    /// Sessions by id; all released ones if absent. With --format exactly one.
    sessions: Vec<String>,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The pictures, named by frame, camera and angle.
    Folder,
    /// Pictures and their poses as a COLMAP text model; needs: turnstage calibrate axis.
    Colmap,
    /// Pictures and their poses as transforms.json of nerfstudio; needs: turnstage calibrate axis.
    Nerf,
}

/// Does it.
pub async fn perform(place: &Place, options: Export) -> Result<u8> {
    let usage = |what: &str| Err(Exit::new(exit::USAGE, what).into());
    match (options.format, options.to, options.sessions.as_slice()) {
        (None, Some(to), sessions) => copy(place, &to, sessions).await,
        (None, None, _) => usage("name the folder to write to with --to, or a --format"),
        (Some(format), to, [session]) => {
            let to = to.unwrap_or_else(|| PathBuf::from(session));
            with_desk(place, async |desk| write(desk, session, format, &to).await).await
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
        println!("{} pictures copied to {} and read back.", bar.position(), to.display());
        if gone > 0 {
            println!("{gone} were delivered before and are not kept on this station any more.");
        }
        Ok(exit::OK)
    })
    .await
}

/// One session in a form of its own.
async fn write(desk: &Desk, session: &str, format: Format, to: &Path) -> Result<u8> {
    let detail = desk.session(session).await?;
    let all: Vec<Record> = desk.get(&format!("/api/v1/sessions/{session}/records")).await?;
    let mut records = calibrate::in_use(&detail, all);
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
    // Whatever speaks against it is told before anything is written.
    let posed = match format {
        Format::Folder => Vec::new(),
        Format::Colmap | Format::Nerf => {
            let kept: CalibrationsView = desk.get("/api/v1/calibrations").await?;
            posed(&records, &names, &kept.axes).map_err(|refusal| Exit::new(exit::REFUSED, refusal))?
        }
    };
    let texts = texts(format, &posed)?;
    empty(to)?;
    let pictures = if format == Format::Folder { to.to_path_buf() } else { to.join(PICTURES) };
    let bar = ProgressBar::new(records.len() as u64);
    for (record, name) in records.iter().zip(&names) {
        let bytes = desk.bytes(&format!("/api/v1/frames/{}/original", record.key.sequence)).await?;
        if Sha256::of(&bytes) != record.sha256 {
            let why =
                format!("{name} is not what was captured: its hash differs. See: turnstage queue check");
            return Err(Exit::new(exit::DATA, why).into());
        }
        keep(&pictures.join(name), &bytes)?;
        bar.inc(1);
    }
    for (name, text) in &texts {
        keep(&to.join(name), text.as_bytes())?;
    }
    bar.finish_and_clear();
    println!("{} pictures written to {}.", records.len(), to.display());
    if records.len() < count {
        println!(
            "{} were delivered before and are not kept on this station any more.",
            count - records.len()
        );
    }
    Ok(exit::OK)
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

/// Files beside the pictures, by name.
fn texts(format: Format, posed: &[Picture]) -> Result<Vec<(&'static str, String)>> {
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
            let all = transforms(posed, PICTURES).map_err(refused)?;
            Ok(vec![("transforms.json", serde_json::to_string_pretty(&all)?)])
        }
    }
}

/// A folder with nothing in it, so that nothing of another session is mixed in.
fn empty(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            let why = format!("{} is not empty: name a new folder with --to", folder.display());
            Err(Exit::new(exit::USAGE, why).into())
        }
    }
}

fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written()
        .map_err(|error| Exit::new(exit::STORAGE, format!("cannot write {}: {error}", path.display())).into())
}
