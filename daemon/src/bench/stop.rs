//! How soon a stop reaches the table: from the request of a browser to the stop command on the link (scenario 8).
//!
//! A station drives a table to its zero; a client on a real socket posts a stop in the middle of it, two hundred times.
//! Of the simulated table what is measured is from before the request to the moment when its driver is handed the stop; of
//! a table on a serial line, to the moment when its far end has heard the whole command.

use std::path::Path;

use tokio::sync::watch;
use tokio::time::Instant;
use turnstage_drivers::sim::Command;

use super::client::Client;
use super::line::{FarEnd, Told};
use super::measure::quantile;
use super::spin::{self, LIMIT};
use super::table::{Row, Unmeasured};
use super::{Bench, say};
use crate::command::{Act, Actor};
use crate::config::Config;
use crate::run::{Running, Start};
use crate::session::SessionState;
use crate::status::Status;

/// Stops that are measured.
const STOPS: usize = 200;
/// Most milliseconds of 99 of 100 stops.
const LIMIT_MS: f64 = 200.0;

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let mut rows = Vec::new();
    for (what, name) in [
        ("stop handed to the table after the request, P99", "stop"),
        ("stop on a serial line after the request, P99", "stop-on-a-line"),
    ] {
        let folder = bench.scratch.folder(name)?;
        let measured = bench.runtime.block_on(async {
            let stops = async {
                match name {
                    "stop" => in_the_booth(&folder).await,
                    _ => on_a_line(&folder).await,
                }
            };
            let late = |_| Unmeasured(format!("{STOPS} stops took longer than {LIMIT:?}"));
            tokio::time::timeout(LIMIT, stops).await.map_err(late)?
        });
        bench.scratch.forget(name);
        rows.push(measured.map_or_else(|why| Row::unmeasured(what, why), |delays_ms| row(what, delays_ms)));
    }
    Ok(rows)
}

fn row(what: &str, delays_ms: Vec<f64>) -> Row {
    let [median, most, longest] = [0.5, 0.99, 1.0].map(|share| quantile(delays_ms.clone(), share));
    let note = format!("P50 {median:.1} ms, longest {longest:.1} ms of {STOPS}, by the panel's socket");
    Row::limited(what, (most, "ms"), LIMIT_MS, note)
}

/// A station that is told to move and to stop.
struct Halting {
    running: Running,
    client: Client,
    act: Act,
}

impl Halting {
    async fn start(config: Config, folder: &Path) -> Result<Self, Unmeasured> {
        let mut running =
            Running::start(Start::new(config, folder)).await.map_err(Unmeasured::at("start a station"))?;
        let mut found = running.open(folder);
        let open = found.wait_for(|found| found.address.is_some()).await;
        let address = open.map_err(Unmeasured::at("open the panel"))?.address;
        let client = Client::to(address.ok_or_else(|| Unmeasured("the panel is not open".to_owned()))?);
        let act = Act::Start { item: "bench".to_owned(), recipe: Some("overlap".to_owned()) };
        Ok(Self { running, client, act })
    }

    async fn until(&self, what: &str, is: impl FnMut(&Status) -> bool) -> Result<(), Unmeasured> {
        let mut status = self.running.status.clone();
        let waited = status.wait_for(is).await.map(drop);
        waited.map_err(Unmeasured::at(what))
    }

    /// Begins to move, or goes on.
    async fn go(&mut self) -> Result<(), Unmeasured> {
        let on = Act::Resume { session: None, anew: false, confirm: false };
        let act = std::mem::replace(&mut self.act, on);
        let person = Actor("bench".to_owned());
        self.running.commands.ask(&person, act).await.map(drop).map_err(Unmeasured::at("begin to move"))
    }

    /// Posts a stop; when it was asked for. The session has paused when this returns.
    async fn stop(&self) -> Result<Instant, Unmeasured> {
        let asked = Instant::now();
        self.client.post("/api/v1/commands/stop", "{}").await?;
        let halted = |status: &Status| {
            status.session.as_ref().is_some_and(|session| session.state == SessionState::Paused)
        };
        self.until("wait for the stop", halted).await?;
        Ok(asked)
    }
}

async fn in_the_booth(folder: &Path) -> Result<Vec<f64>, Unmeasured> {
    let config = spin::configure(folder, "[panel]\nlisten = \"127.0.0.1:0\"\n")?;
    let mut station = Halting::start(config, folder).await?;
    let booth = station.running.around.booth.clone();
    let booth = booth.ok_or_else(|| Unmeasured("no simulated table".to_owned()))?;
    say("stop: 200 stops in mid-motion");
    let mut delays = Vec::new();
    while delays.len() < STOPS {
        station.go().await?;
        let moves = |status: &Status| status.table.as_ref().is_some_and(|table| table.moving);
        station.until("wait for the table", moves).await?;
        let asked = station.stop().await?;
        let told = booth.commands();
        let stop = told.iter().find(|told| told.at >= asked && told.command == Command::Stop);
        delays.push(delay_ms(asked, stop.map(|told| told.at))?);
    }
    station.running.stop().await;
    Ok(delays)
}

async fn on_a_line(folder: &Path) -> Result<Vec<f64>, Unmeasured> {
    let mut far = FarEnd::open()?;
    let (config, told) = (on_line(folder, far.name())?, far.told());
    tokio::select! {
        delays = delays_on_a_line(config, folder, told) => delays,
        why = far.serve() => Err(why),
    }
}

async fn delays_on_a_line(
    config: Config,
    folder: &Path,
    mut told: watch::Receiver<Told>,
) -> Result<Vec<f64>, Unmeasured> {
    let mut station = Halting::start(config, folder).await?;
    let there = |status: &Status| status.table.as_ref().is_some_and(|table| !table.model.is_empty());
    station.until("open the table", there).await?;
    say(
        "stop: 200 stops in mid-motion on a serial line, nine minutes: a table wants pauses between commands",
    );
    let mut delays = Vec::new();
    while delays.len() < STOPS {
        // As the rig's own display does it; every stop ends the arming.
        station.client.post("/api/v1/commands/arm", "{}").await?;
        let before = told.borrow().motions;
        station.go().await?;
        let set_out = told.wait_for(|told| told.motions > before).await.map(drop);
        set_out.map_err(Unmeasured::at("wait for the table"))?;
        let asked = station.stop().await?;
        let stop = told.borrow().stop;
        delays.push(delay_ms(asked, stop.filter(|at| *at >= asked))?);
    }
    station.running.stop().await;
    Ok(delays)
}

fn delay_ms(asked: Instant, stopped: Option<Instant>) -> Result<f64, Unmeasured> {
    let stopped = stopped.ok_or_else(|| Unmeasured("a stop did not reach the table".to_owned()))?;
    Ok(1e3 * (stopped - asked).as_secs_f64())
}

/// The rig of the spin, with a table on a serial line.
fn on_line(folder: &Path, name: &str) -> Result<Config, Unmeasured> {
    let mut config = spin::configure(folder, "[panel]\nlisten = \"127.0.0.1:0\"\n")?;
    let table = format!(
        "driver = \"profile\"\nprofile = \"comxim\"\nserial = {name:?}\nsettle_ms = 0\nspeed_deg_s = 3.0\n\
         trust_zero = true\n"
    );
    // Each run's first motion is announced before: the least that is allowed.
    config.motion.announce_s = 1.0;
    config.rig.turntable = Some(toml::from_str(&table).map_err(Unmeasured::at("configure a table"))?);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_on_a_line_is_good_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = on_line(folder.path(), "/dev/pts/7").unwrap();
        turnstage_drivers::turntable::check(&config.rig.turntable.unwrap()).unwrap();
    }

    #[test]
    fn a_stop_that_did_not_arrive_is_no_figure() {
        let asked = Instant::now();
        assert!(delay_ms(asked, None).is_err());
        assert_eq!(delay_ms(asked, Some(asked)), Ok(0.0));
    }
}
