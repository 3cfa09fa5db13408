//! How soon a released session is on its way: from the moment that queued its pictures to the first PUT at the store.
//!
//! A station with 360 Imaging as its only destination shoots short sessions and releases each. The moment is the one
//! that the log has of `session.released`, which is before that commit is durable; the arrival is the sink's, when it
//! has read the head of the PUT. In between lie the commit, the uploader's waking, and the requests for session and
//! upload address.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use turnstage_cloud_sync::Spool;

use super::measure::quantile;
use super::sink::{self, Arrival, Sink};
use super::table::{Row, Unmeasured};
use super::{Bench, say};
use crate::command::{Accepted, Act, Actor, Override};
use crate::config::Config;
use crate::run::{Running, Start};
use crate::session::SessionState;

const RELEASES: usize = 20;
const FRAMES: usize = 3;
/// Most milliseconds of 95 of 100 releases, while online.
const LIMIT_MS: f64 = 2000.0;
/// A session, or the delivery of all, that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let folder = bench.scratch.folder("uplink")?;
    let sink = Sink::start(&folder)?;
    say(&format!("uplink: {RELEASES} sessions"));
    let delays_ms = bench.runtime.block_on(delays_ms(&folder, &sink))?;
    let [median, most, longest] = [0.5, 0.95, 1.0].map(|share| quantile(delays_ms.clone(), share));
    let note = format!("P50 {median:.0} ms, longest {longest:.0} ms of {RELEASES} releases");
    Ok(vec![Row::limited("first PUT after a release, P95", (most, "ms"), LIMIT_MS, note)])
}

async fn delays_ms(folder: &Path, sink: &Sink) -> Result<Vec<f64>, Unmeasured> {
    let config = configure(folder, &sink.url())?;
    sink::write_token(&folder.join("token"), &config.station.org, &config.station.site)?;
    let running =
        Running::start(Start::new(config, folder)).await.map_err(Unmeasured::at("start a station"))?;
    let late = |_| Unmeasured(format!("a session or its delivery took longer than {PATIENCE:?}"));
    let mut released = Vec::new();
    for _ in 0..RELEASES {
        let id = timeout(PATIENCE, shoot(&running)).await.map_err(late)??;
        released.push((released_ms(&running.spool, &id).await?, id));
    }
    timeout(PATIENCE, delivered(&running.spool)).await.map_err(late)??;
    running.stop().await;
    let arrivals = sink.arrivals().await?;
    released.iter().map(|(released_ms, id)| delay_ms(&arrivals, id, *released_ms)).collect()
}

fn delay_ms(arrivals: &[Arrival], session: &str, released_ms: i64) -> Result<f64, Unmeasured> {
    let first = arrivals.iter().filter(|one| one.session == session).map(|one| one.at_ms).min();
    let first = first.ok_or_else(|| Unmeasured(format!("nothing of session {session} arrived")))?;
    Ok((first - released_ms) as f64)
}

/// One session from start to release; its id.
async fn shoot(running: &Running) -> Result<String, Unmeasured> {
    let actor = Actor("bench".to_owned());
    let ask = async |act: Act| {
        running.commands.ask(&actor, act).await.map_err(Unmeasured::at("command the station"))
    };
    let start = Act::Start { item: "bench".to_owned(), recipe: Some("short".to_owned()) };
    let Accepted { session, .. } = ask(start).await?;
    let id = session.unwrap_or_default();
    let mut status = running.status.clone();
    let shot = status.wait_for(|status| {
        let session = status.session.as_ref().filter(|session| session.id == id);
        session.is_some_and(|session| session.state == SessionState::Review)
    });
    shot.await.map_err(|_| Unmeasured("the station ended".to_owned()))?;
    // So small a picture may be flagged; what is measured is how it leaves.
    let accept = Override { name: "bench".to_owned(), reason: "only to be sent".to_owned() };
    ask(Act::Release { accept: Some(accept) }).await?;
    Ok(id)
}

/// The moment of `session.released`, in milliseconds since 1970.
async fn released_ms(spool: &Spool, id: &str) -> Result<i64, Unmeasured> {
    let mut after = 0;
    loop {
        let page = spool.events(after, 256).await.map_err(Unmeasured::at("read the log"))?;
        let Some(last) = page.last() else {
            return Err(Unmeasured(format!("the log does not know that {id} was released")));
        };
        after = last.sequence;
        let ours = |event: &&turnstage_cloud_sync::Event| {
            event.kind == "session.released" && event.session.as_deref() == Some(id)
        };
        if let Some(event) = page.iter().find(ours) {
            return Ok(event.at.wall_ms);
        }
    }
}

/// Waits until every picture was confirmed.
async fn delivered(spool: &Spool) -> Result<(), Unmeasured> {
    let mut changed = spool.changed();
    loop {
        let counts = spool.counts().await.map_err(Unmeasured::at("read the queue"))?;
        if counts.confirmed as usize >= RELEASES * FRAMES {
            return Ok(());
        }
        if counts.failed > 0 {
            return Err(Unmeasured(format!("{} pictures were refused by the sink", counts.failed)));
        }
        changed.changed().await.map_err(|_| Unmeasured("the station ended".to_owned()))?;
    }
}

/// A quick table and a camera with small pictures.
fn configure(folder: &Path, url: &str) -> Result<Config, Unmeasured> {
    let recipes = folder.join("recipes");
    std::fs::create_dir_all(&recipes).map_err(Unmeasured::at("make a folder for recipes"))?;
    let recipe = format!(
        "subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 10\nverdict = \"overlap\"\n\
         [[rows]]\nframes = {FRAMES}\nstart_deg = 5.0\n\
         [qc.policy]\n\"qc.sharpness\" = \"warn\"\n"
    );
    std::fs::write(recipes.join("short.toml"), recipe).map_err(Unmeasured::at("write a recipe"))?;
    let text = format!(
        "[storage]\nfree_bytes_soft = 2_000_000\nfree_bytes_hard = 1_000_000\n\
         [recipes]\nfolder = {recipes:?}\n\
         [destinations.cloud]\nbackend = \"imaging360\"\nurl = \"{url}\"\ntoken_file = \"token\"\n\
         [booth]\nobject = \"toy\"\n\
         [rig.turntable]\ndriver = \"sim\"\nspeed_deg_s = 360.0\nacceleration_deg_s2 = 3600.0\n\
         vibration_deg = 0.0\n\
         [rig.cameras.main]\ndriver = \"sim\"\nsize = [640, 480]\ncache_frames = true\n\
         settings = {{ exposure_us = 8000.0, gain = 1.0, wb_kelvin = 5000.0 }}\n"
    );
    Config::from_text(Some(("the benchmark's rig", &text)), Vec::new())
        .map_err(Unmeasured::at("configure a rig"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rig_and_its_recipe_are_good_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = configure(folder.path(), "http://127.0.0.1:9").unwrap();
        let recipes = crate::recipe::Recipes::new(Some(Path::new(&config.recipes.folder)));
        assert_eq!(recipes.get("short").unwrap().plan().len(), FRAMES);
    }

    #[test]
    fn the_delay_is_that_of_the_first_put_of_the_session() {
        let arrival = |session: &str, at_ms| Arrival { session: session.to_owned(), at_ms };
        let arrivals = [arrival("a", 5), arrival("b", 30), arrival("b", 20)];
        assert_eq!(delay_ms(&arrivals, "b", 12), Ok(8.0));
        assert!(delay_ms(&arrivals, "c", 12).is_err());
    }
}
