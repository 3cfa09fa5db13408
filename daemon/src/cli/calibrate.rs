//! `calibrate`: limits from a turn that is good on purpose, where cameras stand, and pictures of the empty table.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use turnstage_cloud_sync::{ClockQuality, Record, Stamp};
use turnstage_drivers::board::{Board, USUAL_MM};
use turnstage_drivers::turntable::external::Watched;
use turnstage_pipeline::axis::{ANGLE_DEG_MAX, RMS_PX_MAX, TILT_DEG_MAX, TILT_ERROR_DEG_MAX, TiltAxis};

use super::Place;
use super::answer::answer;
use super::check::{Line, line};
use super::desk::Desk;
use crate::calibration::axis::{CameraAxis, Setting};
use crate::calibration::shelf::{Shelf, Unusable};
use crate::calibration::{CameraLimits, Device, Range, Spread, spreads};
use crate::clock::readable;
use crate::command::Act;
use crate::config::{Config, RigConfig};
use crate::exit::{self, Exit};
use crate::recipe::{Recipe, Recipes};
use crate::rig::{Rig, RigCamera};
use crate::session::SessionState;
use crate::window::views::{CalibrationsView, SessionDetail};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Shoots a turn that must be a good one, shows what it measured, and sets the limits of each camera from it.
    ///
    /// The turn is thrown away afterwards: it is not delivered.
    Qc {
        /// Recipe by name; the configured one if absent.
        #[arg(long)]
        recipe: Option<String>,
        /// A good turn that was shot already; it is left as it is.
        #[arg(long, value_name = "ID", conflicts_with = "recipe")]
        session: Option<String>,
        /// You stand at the rig, see that nobody is on the table, and let it turn; where no station runs.
        #[arg(long, conflicts_with = "session")]
        armed: bool,
        /// Set them without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Writes the marker board as a page to print at 100 % (SVG, in millimetres).
    Board {
        /// Side of the chess pattern in millimetres; about as wide as the platter is best.
        #[arg(long, default_value_t = USUAL_MM, value_name = "MM")]
        size_mm: f64,
        /// File to write.
        file: PathBuf,
    },
    /// Writes the ring of marks of `[rig.turntable.rim]` as a strip to print at 100 % (SVG, in millimetres).
    Ring {
        /// File to write.
        file: PathBuf,
    },
    /// Shoots a turn with the marker board flat on the platter, and finds out where each camera stands.
    ///
    /// The turn is thrown away afterwards: it is not delivered.
    Axis {
        /// Recipe by name; the configured one if absent. At least 8 angles; 24 are better.
        #[arg(long)]
        recipe: Option<String>,
        /// A turn with the board that was shot already; it is left as it is.
        #[arg(long, value_name = "ID", conflicts_with = "recipe")]
        session: Option<String>,
        /// You stand at the rig, see that nobody is on the table, and let it turn; where no station runs.
        #[arg(long, conflicts_with = "session")]
        armed: bool,
        /// Side of the board's chess pattern in millimetres, as measured on the print.
        #[arg(long, default_value_t = USUAL_MM, value_name = "MM")]
        board_mm: f64,
        /// How far the print lies above the platter: the plate that it is glued on.
        #[arg(long, default_value_t = 0.0, value_name = "MM")]
        thickness_mm: f64,
    },
    /// Takes a picture of the empty table with every camera of a recipe. Take everything off the table first.
    Plate {
        /// Recipe by name; the configured one if absent.
        #[arg(long)]
        recipe: Option<String>,
    },
    /// Lists limits, clean plates and axes that are kept.
    List {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Forgets limits and clean plate of a camera with a recipe, and where the camera stands: the recipe's own limits hold
    /// again, and pictures get no poses until the axis is measured anew.
    Forget {
        /// Recipe by name.
        recipe: String,
        /// Camera by its name in the rig.
        camera: String,
        /// Keep where the camera stands: it is the same for every recipe.
        #[arg(long)]
        keep_axis: bool,
    },
}

/// Does it.
pub async fn perform(place: &Place, what: What) -> Result<u8> {
    if let What::Board { size_mm, file } = &what {
        return board(*size_mm, file);
    }
    if let What::Ring { file } = &what {
        return ring(&place.config()?, file);
    }
    let shoots = matches!(what, What::Qc { .. } | What::Plate { .. } | What::Axis { session: None, .. });
    let config = || {
        let mut config = place.config_of_data()?;
        match (shoots, &place.config) {
            // Nothing is shot: cameras and table are left alone.
            (false, _) => config.rig = RigConfig::default(),
            (true, Some(_)) => place.keep_config(""),
            (true, None) => {}
        }
        Ok(config)
    };
    let mut desk = Desk::open(place, config, false).await?;
    let code = act(&mut desk, place, what).await;
    desk.close().await;
    code
}

async fn act(desk: &mut Desk, place: &Place, what: What) -> Result<u8> {
    match what {
        What::Qc { session: Some(session), yes, .. } => set(desk, &session, yes).await,
        What::Qc { recipe, armed, yes, .. } => {
            shoot(desk, armed, Act::Measure { recipe }, async |desk, id| set(desk, id, yes).await).await
        }
        What::Board { size_mm, file } => board(size_mm, &file),
        What::Ring { file } => ring(&place.config()?, &file),
        What::Axis { recipe, session, armed, board_mm, thickness_mm } => {
            let set = async |desk: &mut Desk, session: &str| {
                let session = session.to_owned();
                axis(desk, Act::CalibrateAxis { session, board_mm, thickness_mm }).await
            };
            match session {
                Some(session) => set(desk, &session).await,
                None => shoot(desk, armed, Act::MeasureAxis { recipe }, set).await,
            }
        }
        What::Plate { recipe } => {
            let accepted = desk.ask(Act::Plate { recipe }).await?;
            answer!("The clean plate of {} is kept.", cameras(accepted.count));
            Ok(exit::OK)
        }
        What::List { json } => list(desk, json).await,
        What::Forget { recipe, camera, keep_axis } => forget(desk, recipe, camera, keep_axis).await,
    }
}

/// Forgets, and says what.
async fn forget(desk: &Desk, recipe: String, camera: String, keep_axis: bool) -> Result<u8> {
    let kept: CalibrationsView = desk.get("/api/v1/calibrations").await?;
    let is = |of: &str, by: &str| of == recipe && by == camera;
    let limits = kept.calibrations.iter().find(|one| is(&one.recipe, &one.camera));
    let plate = kept.plates.iter().find(|one| is(&one.recipe, &one.camera));
    let axis = kept.axes.iter().find(|one| one.camera == camera && !keep_axis);
    let act = Act::ForgetCalibration { recipe: recipe.clone(), camera: camera.clone(), keep_axis };
    let forgotten = desk.ask(act).await?.count;
    if let Some(one) = limits {
        let at = date(&one.at);
        answer!(
            "Forgotten: limits of camera {camera} with recipe {recipe}, {at}. The recipe's own hold again."
        );
    }
    if let Some(one) = plate {
        answer!("Forgotten: clean plate of camera {camera} with recipe {recipe}, {}.", date(&one.at));
    }
    if let Some(one) = axis {
        let at = date(&one.at);
        answer!(
            "Forgotten: where camera {camera} stands, {at}, for every recipe. Its pictures have no poses now."
        );
    }
    let known = usize::from(limits.is_some()) + usize::from(plate.is_some()) + usize::from(axis.is_some());
    if forgotten > known {
        answer!("Forgotten: {} that could not be read.", forgotten - known);
    }
    if let Some(one) = kept.axes.iter().find(|one| one.camera == camera && keep_axis) {
        answer!("Kept: where camera {camera} stands, {}.", date(&one.at));
    }
    Ok(exit::OK)
}

/// A turn of our own: whatever comes of it, it is not delivered.
async fn shoot(
    desk: &mut Desk,
    armed: bool,
    turn: Act,
    set: impl AsyncFnOnce(&mut Desk, &str) -> Result<u8>,
) -> Result<u8> {
    desk.arm(armed).await?;
    let accepted = desk.ask(turn).await?;
    let id = accepted.session.unwrap_or_default();
    let state = desk.follow(&id).await?;
    let code = match state {
        SessionState::Review => set(desk, &id).await,
        _ => {
            let now = desk.status().await?;
            let why = format!(
                "the turn was not finished, so nothing is set: {}. {} Then calibrate again",
                now.sentence, now.detail
            );
            Err(Exit::new(exit::HARDWARE, why).into())
        }
    };
    let ended = desk.ask(Act::Abort).await;
    let code = code?;
    ended.map(|_| code)
}

/// Shows what a turn measured and sets the limits, if the person agrees.
async fn set(desk: &mut Desk, id: &str, yes: bool) -> Result<u8> {
    let detail = desk.session(id).await?;
    let records: Vec<Record> = desk.get(&format!("/api/v1/sessions/{id}/records")).await?;
    // A turn that is not good is refused by the station, without a question before.
    if let Ok(spreads) = spreads(&in_use(&detail, records), &detail.cameras, &[]) {
        for (camera, spread) in &spreads {
            table(camera, spread);
        }
        if !yes && !agrees()? {
            answer!("Nothing is set. Without a question: turnstage calibrate qc --session {id} --yes");
            return Ok(exit::OK);
        }
    }
    let accepted = desk.ask(Act::Calibrate { session: id.to_owned() }).await?;
    answer!("The limits of {} are set. They hold from the next session on.", cameras(accepted.count));
    Ok(exit::OK)
}

/// Writes the board.
fn board(size_mm: f64, file: &Path) -> Result<u8> {
    let board = Board::new(size_mm, 0.0).map_err(|why| Exit::new(exit::USAGE, why))?;
    std::fs::write(file, board.svg()).with_context(|| format!("cannot write {}", file.display()))?;
    answer!(
        "{}: print it at 100 % on matt paper, see that its chess pattern measures {size_mm} mm, and glue it flat on a \
         plate.",
        file.display()
    );
    Ok(exit::OK)
}

/// Writes the ring of the configured table.
fn ring(config: &Config, file: &Path) -> Result<u8> {
    let watched = config.rig.turntable.as_ref().and_then(Watched::of).ok_or_else(|| {
        let why =
            "no ring is configured: describe it in [rig.turntable.rim] of a table with driver = \"external\"";
        Exit::new(exit::CONFIGURATION, why)
    })?;
    let rim = watched.ring.rim();
    std::fs::write(file, rim.svg()).with_context(|| format!("cannot write {}", file.display()))?;
    answer!(
        "{}: print it at 100 % on matt paper, see that a mark measures {} mm, and glue it round the rim, level and evenly; \
         cut between the marks if it is too long.",
        file.display(),
        rim.mark_mm
    );
    Ok(exit::OK)
}

/// Has the axes measured, and shows them.
async fn axis(desk: &Desk, act: Act) -> Result<u8> {
    let accepted = desk.ask(act).await?;
    let kept: CalibrationsView = desk.get("/api/v1/calibrations").await?;
    for one in kept.axes.iter().filter(|one| Some(&one.session) == accepted.session.as_ref()) {
        answer!("Camera {}, {} frames with {} corners:", one.camera, one.axis.frames, one.axis.corners);
        answer!("{}", standing(one));
    }
    answer!("Where {} stands is kept.", cameras(accepted.count));
    Ok(exit::OK)
}

/// What was measured, with its limits.
fn standing(one: &CameraAxis) -> String {
    let (axis, tilt) = (&one.axis, one.tilt_axis.as_ref().map(tilting).unwrap_or_default());
    let [x, y, z] = axis.camera.translation.map(|metres| metres * 1000.0);
    let level = x.hypot(y);
    let lens = match axis.lens_known {
        true => "as the camera tells it".to_owned(),
        false => format!("measured within {:.2} %", 100.0 * axis.focal_error),
    };
    format!(
        "  {level:.1} mm from the axis and {z:.1} mm above the platter, {:.1} degrees up\n  focal length {:.1} px, {lens}\n  \
         corners {:.3} px beside, at most {RMS_PX_MAX}; board {:.2} degrees aslant, at most {TILT_DEG_MAX}\n  platter up to \
         {:.2} degrees beside its angle, at most {ANGLE_DEG_MAX}",
        z.atan2(level).to_degrees(),
        axis.lens.fx,
        axis.rms_px,
        axis.tilt_deg,
        axis.angle_max_deg
    ) + &tilt
}

/// About what the platter tilts, as a further line.
fn tilting(tilt: &TiltAxis) -> String {
    let beneath_mm = -1000.0 * tilt.at[2];
    let [x, y, _] = tilt.along;
    format!(
        "\n  the platter tilts about a line {beneath_mm:.1} mm beneath its top, {:.1} degrees round from the front, and up to \
         {:.2} degrees beside its tilt, at most {TILT_ERROR_DEG_MAX}",
        y.atan2(x).to_degrees(),
        tilt.error_deg
    )
}

fn cameras(count: usize) -> String {
    if count == 1 { "1 camera".to_owned() } else { format!("each of {count} cameras") }
}

/// Records of the pictures that are not history.
pub(super) fn in_use(detail: &SessionDetail, mut records: Vec<Record>) -> Vec<Record> {
    records.retain(|record| detail.places.iter().any(|place| place.sequence == Some(record.key.sequence)));
    records
}

fn table(camera: &str, spread: &Spread) {
    answer!("Camera {camera}, {} frames:", spread.frames);
    answer!(
        "  {:<18} {:>8} {:>8} {:>8} {:>8}   limit from it",
        "",
        "least",
        "median",
        "98 of 100",
        "largest"
    );
    let limits = limits(&CameraLimits::of(spread));
    for ((name, unit, factor, range), limit) in spread.rows().into_iter().zip(limits) {
        let Some(Range { least, median, p98, largest }) = range else {
            answer!("  {:<18} not measured: the recipe's own limit holds", format!("{name} [{unit}]"));
            continue;
        };
        let [least, median, p98, largest] = [least, median, p98, largest].map(|value| value * factor);
        answer!(
            "  {:<18} {least:>8.2} {median:>8.2} {p98:>9.2} {largest:>8.2}   {limit}",
            format!("{name} [{unit}]")
        );
    }
}

/// In the order of [`Spread::rows`].
fn limits(limits: &CameraLimits) -> [String; 5] {
    let most = |limit: Option<f64>, factor: f64| match limit {
        Some(limit) => format!("at most {}", (limit * factor * 100.0).round() / 100.0),
        None => "as the recipe says".to_owned(),
    };
    let mean = match limits.mean_min.zip(limits.mean_max) {
        Some((min, max)) => format!("{min} to {max}"),
        None => "as the recipe says".to_owned(),
    };
    [
        most(limits.blur_px_max, 1.0),
        mean,
        most(limits.clipped_high_max, 100.0),
        most(limits.clipped_low_max, 100.0),
        most(limits.noise_levels_max, 1.0),
    ]
}

/// Asks the person at the terminal; without one the answer is no.
fn agrees() -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    answer!(
        "Was every frame of this turn a good one? y sets these limits, anything else leaves them as they are."
    );
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

async fn list(desk: &Desk, json: bool) -> Result<u8> {
    let kept: CalibrationsView = desk.get("/api/v1/calibrations").await?;
    if json {
        answer!("{}", serde_json::to_string(&kept)?);
        return Ok(exit::OK);
    }
    for one in &kept.calibrations {
        answer!("{} {}  limits of {}, {}", one.recipe, one.camera, date(&one.at), one.device);
        answer!("  from {} frames of session {}, by {}", one.spread.frames, one.session, one.actor);
        let rows = one.spread.rows().into_iter().zip(limits(&one.limits));
        answer!(
            "  {}",
            rows.map(|(row, limit)| format!("{}: {limit}", row.0)).collect::<Vec<_>>().join("; ")
        );
    }
    for one in &kept.plates {
        answer!("{} {}  clean plate of {}, {}", one.recipe, one.camera, date(&one.at), one.device);
    }
    for one in &kept.axes {
        answer!("{}  axis of {}, {}", one.camera, date(&one.at), one.setting.device);
        answer!("{}", standing(one));
    }
    kept.unreadable.iter().for_each(|why| answer!("{why}"));
    if kept.calibrations.is_empty() && kept.plates.is_empty() && kept.axes.is_empty() {
        answer!("Nothing is calibrated: the recipes' own limits hold. See: turnstage calibrate qc.");
    }
    Ok(exit::OK)
}

fn date(at: &Stamp) -> String {
    let doubt = match at.quality {
        ClockQuality::Synced => "",
        ClockQuality::Rtc => " (clock not synchronised)",
        ClockQuality::Unset => " (clock not set)",
    };
    format!("{}{doubt}", readable(at.wall_ms))
}

/// What `check` says: every calibration and plate that a recipe would use, against the cameras as they are now.
pub async fn checked(config: &Config, shelf: &Shelf, rig: &mut Rig) -> Vec<Line> {
    let mut lines: Vec<Line> =
        shelf.all().unreadable.into_iter().map(|why| line("calibration", exit::DATA, Err(why))).collect();
    lines.extend(rim_of(shelf, rig));
    let recipes = Recipes::of(&config.recipes);
    for recipe in recipes.names().iter().filter_map(|name| recipes.get(name).ok()) {
        let Ok(names) = rig.names(&recipe.cameras) else { continue };
        let kept = names.iter().any(|name| shelf.has(&recipe.name, name) || shelf.has_axis(name));
        if !kept && !recipe.clean_plate {
            continue;
        }
        if let Err(why) = rig.lock(&names, &recipe.camera).await {
            lines.push(line(&format!("settings of {}", recipe.name), exit::HARDWARE, Err(why)));
        }
        for camera in rig.cameras.iter().filter(|camera| names.contains(&camera.name)) {
            if let Some(is) = camera.device() {
                lines.extend(of_camera(shelf, &recipe, &camera.name, &is));
                lines.extend(axis_of(shelf, &recipe.name, camera, is));
            }
        }
    }
    lines
}

/// Whether the camera that reads the rim of a table that somebody else turns is calibrated.
fn rim_of(shelf: &Shelf, rig: &Rig) -> Option<Line> {
    let (watched, ..) = rig.watched()?;
    let camera = &watched.ring.camera;
    let told = match shelf.has_axis(camera) {
        true => Ok(format!("{} marks, read by camera {camera}", watched.ring.marks)),
        false => Err(format!(
            "where camera {camera} stands is not known: lay the board on the platter, let it turn, and run turnstage \
             calibrate axis"
        )),
    };
    Some(line("rim", exit::DATA, told))
}

/// Whether a camera set by this recipe is still the one whose place is known.
fn axis_of(shelf: &Shelf, recipe: &str, camera: &RigCamera, is: Device) -> Option<Line> {
    let what = format!("axis {recipe} {}", camera.name);
    // What cannot be read was told of the whole folder.
    let kept = shelf.axis(&camera.name).ok()??;
    let focus = camera.applied.as_ref().and_then(|applied| applied.exposure.focus);
    let now = Setting { device: is, focus, lens: kept.setting.lens.clone() };
    let told = match kept.setting.changed(&now) {
        None => Ok(format!("of {}, {:.2} px", date(&kept.at), kept.axis.rms_px)),
        Some(why) => Err(format!("{why}: calibrate again with turnstage calibrate axis --recipe {recipe}")),
    };
    Some(line(&what, exit::DATA, told))
}

fn of_camera(shelf: &Shelf, recipe: &Recipe, camera: &str, is: &Device) -> Vec<Line> {
    let of = format!("{} {camera}", recipe.name);
    let mut lines = Vec::new();
    match shelf.calibration(&recipe.name, camera, is) {
        Ok(Some(kept)) => {
            let told = format!("of {}, from {} frames", date(&kept.at), kept.spread.frames);
            lines.push(line(&format!("limits {of}"), exit::DATA, Ok(told)));
        }
        Err(why @ Unusable::Exchanged { .. }) => {
            lines.push(line(&format!("limits {of}"), exit::DATA, Err(why.to_string())));
        }
        // What cannot be read was told of the whole folder.
        Ok(None) | Err(Unusable::Unreadable { .. }) => {}
    }
    if recipe.clean_plate {
        let told = match shelf.plate(&recipe.name, camera, is) {
            Ok(Some(plate)) => Ok(format!("of {}", date(&plate.at))),
            Ok(None) => Err(format!(
                "none was taken: empty the table, then turnstage calibrate plate --recipe {}",
                recipe.name
            )),
            Err(why) => Err(why.to_string()),
        };
        lines.push(line(&format!("plate {of}"), exit::DATA, told));
    }
    lines
}
