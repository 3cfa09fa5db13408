//! How soon a stop reaches the table: from the request of a browser to the stop command on the link (scenario 8).
//!
//! A station drives the simulated table to its home switch; a client on a real socket posts a stop in the middle of it, two
//! hundred times. What is measured is from before the request to the moment when the table's driver is handed the stop.

use std::path::Path;

use tokio::time::Instant;
use turnstage_drivers::sim::Command;

use super::client::Client;
use super::measure::quantile;
use super::spin::{self, LIMIT};
use super::table::{Row, Unmeasured};
use super::{Bench, say};
use crate::command::{Act, Actor};
use crate::run::{Running, Start};
use crate::session::SessionState;

/// Stops that are measured.
const STOPS: usize = 200;
/// Most milliseconds of 99 of 100 stops.
const LIMIT_MS: f64 = 200.0;

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let folder = bench.scratch.folder("stop")?;
    let measured = bench.runtime.block_on(async {
        let stops = tokio::time::timeout(LIMIT, delays_ms(&folder)).await;
        stops.map_err(|_| Unmeasured(format!("{STOPS} stops took longer than {LIMIT:?}")))?
    });
    bench.scratch.forget("stop");
    let delays_ms = measured?;
    let [median, most, longest] = [0.5, 0.99, 1.0].map(|share| quantile(delays_ms.clone(), share));
    let note = format!("P50 {median:.1} ms, longest {longest:.1} ms of {STOPS}, by the panel's socket");
    Ok(vec![Row::limited("stop handed to the table after the request, P99", (most, "ms"), LIMIT_MS, note)])
}

async fn delays_ms(folder: &Path) -> Result<Vec<f64>, Unmeasured> {
    let config = spin::configure(folder, "[panel]\nlisten = \"127.0.0.1:0\"\n")?;
    let mut running =
        Running::start(Start::new(config, folder)).await.map_err(Unmeasured::at("start a station"))?;
    let mut found = running.open(folder);
    let open = found.wait_for(|found| found.address.is_some()).await;
    let address = open.map_err(Unmeasured::at("open the panel"))?.address;
    let client = Client::to(address.ok_or_else(|| Unmeasured("the panel is not open".to_owned()))?);
    let booth = running.around.booth.clone().ok_or_else(|| Unmeasured("no simulated table".to_owned()))?;
    let person = Actor("bench".to_owned());
    let mut status = running.status.clone();
    say("stop: 200 stops in mid-motion");
    let mut act = Act::Start { item: "bench".to_owned(), recipe: Some("overlap".to_owned()) };
    let mut delays = Vec::new();
    while delays.len() < STOPS {
        running.commands.ask(&person, act).await.map_err(Unmeasured::at("begin to move"))?;
        let moving = status.wait_for(|status| status.table.as_ref().is_some_and(|table| table.moving)).await;
        drop(moving.map_err(Unmeasured::at("wait for the table"))?);
        let asked = Instant::now();
        client.post("/api/v1/commands/stop", "{}").await?;
        let halted = |status: &crate::status::Status| {
            status.session.as_ref().is_some_and(|session| session.state == SessionState::Paused)
        };
        drop(status.wait_for(halted).await.map_err(Unmeasured::at("wait for the stop"))?);
        let told = booth.commands();
        let stop = told.iter().find(|told| told.at >= asked && told.command == Command::Stop);
        let stop = stop.ok_or_else(|| Unmeasured("a stop did not reach the table".to_owned()))?;
        delays.push(1e3 * (stop.at - asked).as_secs_f64());
        act = Act::Resume { session: None, anew: false, confirm: false };
    }
    running.stop().await;
    Ok(delays)
}
