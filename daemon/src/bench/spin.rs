//! What a spin takes beyond its motion, settling and exposure, on the simulated rig with pictures of 12 megapixels.
//!
//! A first spin on the same station fills the simulated camera's cache (`cache_frames`), so that the spins that are
//! measured spend nothing on rendering: what is left beside the rig is fetching, judging and storing, as with a real
//! camera. The session itself notes what the rig took ([`Timing`]). With `verdict = "overlap"` the table leaves at the
//! end of exposure and the work hides behind the motion; with `"wait"` it cannot, which shows what is hidden.
//!
//! A rig of two cameras and twice as many angles has four times the frames, and half the motion to hide them behind.

use std::path::Path;
use std::time::Duration;

use super::measure::Meter;
use super::picture::{self, NOISE, SIZE};
use super::table::{Row, Unmeasured};
use super::{Bench, say};
use crate::clock::SystemClock;
use crate::command::{Accepted, Act, Actor};
use crate::config::Config;
use crate::run::{Running, Start};
use crate::session::{SessionDoc, SessionState, Timing};

/// Of a spin.
pub const FRAMES: u32 = 36;
/// Angles of a spin with two cameras.
const ANGLES_OF_TWO: u32 = 72;
/// Names and elevations of the cameras; the first is alone in the other spins.
const CAMERAS: [(&str, f64); 2] = [("main", 15.0), ("high", 40.0)];
/// Most that a spin may take beyond motion, settling and exposure.
const OVERHEAD_MAX_PERCENT: f64 = 1.0;
/// Time of the simulated transfer; about 70 MB/s, as a camera on USB 3.
pub const TRANSFER_MS: f64 = 60.0;
/// From the end of the last exposure to the last frame on disk, beyond the transfer.
const TAIL_MAX_MS: f64 = TRANSFER_MS + 100.0;
/// Time of an exposure.
pub const EXPOSURE_MS: f64 = 8.0;
/// A spin that takes longer is given up; rendering the first one is slow.
pub const LIMIT: Duration = Duration::from_secs(600);

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let mut rows = bench.runtime.block_on(spins(&bench.scratch.folder("spin")?))?;
    bench.scratch.forget("spin");
    rows.push(bench.runtime.block_on(spin_of_two(&bench.scratch.folder("spin-of-two")?))?);
    bench.scratch.forget("spin-of-two");
    Ok(rows)
}

/// Timing of one spin, and milliseconds from the end of its last exposure to its last frame on disk.
pub struct Spin {
    timing: Timing,
    tail_ms: f64,
}

impl Spin {
    fn overhead_percent(&self) -> f64 {
        100.0 * (self.timing.spin_s / self.timing.floor_s() - 1.0)
    }

    fn note(&self) -> String {
        let Timing { spin_s, motion_s, settle_s, exposure_s } = self.timing;
        format!("{spin_s:.2} s: motion {motion_s:.2} + settle {settle_s:.2} + exposure {exposure_s:.2}")
    }
}

async fn spins(folder: &Path) -> Result<Vec<Row>, Unmeasured> {
    let config = configure(folder, "")?;
    let running =
        Running::start(Start::new(config, folder)).await.map_err(Unmeasured::at("start a station"))?;
    say("spin: rendering 36 frames once, which takes longest");
    spin(&running, "overlap").await?;
    say("spin: 36 frames, the work overlaps the motion");
    let overlap = spin(&running, "overlap").await?;
    say("spin: 36 frames, the table waits for the verdict");
    let wait = spin(&running, "wait").await?;
    running.stop().await;

    // The first frame of a spin has none before it to wait for.
    let waited_ms = 1e3 * (wait.timing.spin_s - wait.timing.floor_s()) / f64::from(FRAMES - 1);
    let last = format!("{TRANSFER_MS:.0} ms of it transfer; a frame of the waiting spin: {waited_ms:.0} ms");
    Ok(vec![
        Row::limited(
            "spin overhead, 36 x 12 MP, overlap",
            (overlap.overhead_percent(), "%"),
            OVERHEAD_MAX_PERCENT,
            overlap.note(),
        ),
        Row::beside("spin overhead, 36 x 12 MP, wait", (wait.overhead_percent(), "%"), wait.note()),
        Row::limited("tail after the last exposure", (overlap.tail_ms, "ms"), TAIL_MAX_MS, last),
    ])
}

/// Two cameras at every angle. What the simulated cameras take of the processor is no cost of the product, and is told
/// apart: they cannot be told from it within the station, so it is what as many cached frames cost without one.
async fn spin_of_two(folder: &Path) -> Result<Row, Unmeasured> {
    let config = rig(folder, "", &CAMERAS, ANGLES_OF_TWO)?;
    let running =
        Running::start(Start::new(config, folder)).await.map_err(Unmeasured::at("start a station"))?;
    say("spin: rendering 144 frames of two cameras once, which takes longest");
    spin(&running, "overlap").await?;
    say("spin: 72 frames of two cameras, the work overlaps the motion");
    let begun = Meter::Cpu.now();
    let overlap = spin(&running, "overlap").await?;
    let process_s = (Meter::Cpu.now().saturating_sub(begun)).as_secs_f64();
    running.stop().await;

    let frames = f64::from(ANGLES_OF_TWO) * CAMERAS.len() as f64;
    let simulated_s = frames * simulated_frame_cpu_s().await?;
    let note = format!(
        "{}; CPU of simulated cameras {simulated_s:.2} s, of the product {:.2} s, {:.0} ms a frame",
        overlap.note(),
        process_s - simulated_s,
        1e3 * (process_s - simulated_s) / frames
    );
    let what = "spin overhead, 72 x 12 MP, two cameras, overlap";
    Ok(Row::limited(what, (overlap.overhead_percent(), "%"), OVERHEAD_MAX_PERCENT, note))
}

/// CPU time of one exposure and transfer of a cached frame.
async fn simulated_frame_cpu_s() -> Result<f64, Unmeasured> {
    let cached = [
        ("cache_frames", toml::Value::Boolean(true)),
        ("transfer_ms", toml::Value::Float(0.0)),
        ("latency_ms", toml::Value::Float(0.0)),
    ];
    let mut camera = picture::camera(SIZE, NOISE, &cached).await?;
    picture::shoot(&mut *camera).await?;
    let begun = Meter::Cpu.now();
    for _ in 0..FRAMES {
        picture::shoot(&mut *camera).await?;
    }
    Ok(Meter::Cpu.now().saturating_sub(begun).as_secs_f64() / f64::from(FRAMES))
}

/// A rig of one camera whose table needs 0.45 s for 10 degrees. `more` is configuration that is none of the rig's.
pub fn configure(folder: &Path, more: &str) -> Result<Config, Unmeasured> {
    rig(folder, more, &CAMERAS[..1], FRAMES)
}

/// A rig that comes to rest at the same angles in every spin.
fn rig(folder: &Path, more: &str, cameras: &[(&str, f64)], angles: u32) -> Result<Config, Unmeasured> {
    let recipes = folder.join("recipes");
    std::fs::create_dir_all(&recipes).map_err(Unmeasured::at("make a folder for recipes"))?;
    for verdict in ["overlap", "wait"] {
        // The first angle is not 0, where the last digit of the true angle decides between 0 and 360 degrees.
        let recipe = format!(
            "subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 100\nverdict = \"{verdict}\"\n\
             [[rows]]\nframes = {angles}\nstart_deg = 5.0\n\
             [qc.policy]\n\"qc.sharpness\" = \"warn\"\n"
        );
        let path = recipes.join(format!("{verdict}.toml"));
        std::fs::write(path, recipe).map_err(Unmeasured::at("write a recipe"))?;
    }
    let (width, height) = SIZE;
    let mut text = format!(
        "{more}[storage]\nfree_bytes_soft = 2_000_000\nfree_bytes_hard = 1_000_000\n\
         [recipes]\nfolder = {recipes:?}\n\
         [destinations.local]\nbackend = \"directory\"\nroot = \"delivered\"\ncreate = true\n\
         [booth]\nobject = \"toy\"\n\
         [rig.turntable]\ndriver = \"sim\"\nspeed_deg_s = 60.0\nacceleration_deg_s2 = 200.0\n\
         vibration_deg = 0.0\n"
    );
    for (name, elevation_deg) in cameras {
        text += &format!(
            "[rig.cameras.{name}]\ndriver = \"sim\"\nsize = [{width}, {height}]\nnoise = {NOISE}\n\
             elevation_deg = {elevation_deg:.1}\ntransfer_ms = {TRANSFER_MS}\ncache_frames = true\n\
             settings = {{ exposure_us = {}, gain = 1.0, wb_kelvin = 5000.0 }}\n",
            EXPOSURE_MS * 1000.0
        );
    }
    Config::from_text(Some(("the benchmark's rig", &text)), Vec::new())
        .map_err(Unmeasured::at("configure a rig"))
}

/// Shoots a spin and ends its session; its frames stay.
pub async fn spin(running: &Running, recipe: &str) -> Result<Spin, Unmeasured> {
    let actor = Actor("bench".to_owned());
    let ask = async |act: Act| {
        running.commands.ask(&actor, act).await.map_err(Unmeasured::at("command the station"))
    };
    let start = Act::Start { item: "bench".to_owned(), recipe: Some(recipe.to_owned()) };
    let Accepted { session, .. } = ask(start).await?;
    let id = session.unwrap_or_default();
    let shot = tokio::time::timeout(LIMIT, follow(running, &id)).await;
    let last_on_disk_ms = shot.map_err(|_| Unmeasured(format!("a spin took longer than {LIMIT:?}")))??;

    let spool = &running.spool;
    let document = spool.document(&id).await.map_err(Unmeasured::at("read the session"))?;
    let document = document.ok_or_else(|| Unmeasured("the session was not stored".to_owned()))?;
    let doc = SessionDoc::read(&document).map_err(Unmeasured::at("read the session"))?;
    let records = spool.session_records(&id).await.map_err(Unmeasured::at("read the frames"))?;
    let exposed = records.iter().filter_map(|record| record.meta["time"]["exposed_at_ms"].as_i64());
    let exposed = exposed.max().ok_or_else(|| Unmeasured("no frame has a time".to_owned()))?;
    ask(Act::Abort).await?;
    Ok(Spin { timing: doc.timing, tail_ms: (last_on_disk_ms - exposed) as f64 - EXPOSURE_MS })
}

/// Waits for the end of a session; wall-clock milliseconds of the moment when its last frame was on disk.
async fn follow(running: &Running, id: &str) -> Result<i64, Unmeasured> {
    let clock = SystemClock::new();
    let (mut status, mut commits) = (running.status.clone(), running.spool.changed());
    let mut committed_ms = clock.now().wall_ms;
    let mut last_on_disk_ms = None;
    loop {
        if let Some(session) = status.borrow_and_update().session.as_ref().filter(|s| s.id == id) {
            if session.taken == session.wanted && last_on_disk_ms.is_none() {
                last_on_disk_ms = Some(committed_ms);
            }
            match (session.state, last_on_disk_ms) {
                (SessionState::Shooting, _) => {}
                (SessionState::Review, Some(ms)) => return Ok(ms),
                _ => break,
            }
        }
        let changed = tokio::select! {
            changed = commits.changed() => {
                committed_ms = clock.now().wall_ms;
                changed
            }
            changed = status.changed() => changed,
        };
        changed.map_err(|_| Unmeasured("the station ended".to_owned()))?;
    }
    let status = status.borrow();
    Err(Unmeasured(format!("the spin did not end well: {}. {}", status.sentence, status.detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rig_and_its_recipes_are_good_configuration() {
        let folder = tempfile::tempdir().unwrap();
        for (cameras, angles) in [(&CAMERAS[..1], FRAMES), (&CAMERAS[..], ANGLES_OF_TWO)] {
            let config = rig(folder.path(), "", cameras, angles).unwrap();
            assert_eq!(config.rig.cameras.len(), cameras.len());
            let recipes = crate::recipe::Recipes::new(Some(Path::new(&config.recipes.folder)));
            for name in ["overlap", "wait"] {
                let recipe = recipes.get(name).unwrap();
                assert_eq!(recipe.plan().len(), angles as usize);
            }
        }
    }
}
