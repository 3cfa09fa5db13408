//! How soon a picture is seen: from the end of its exposure to the last byte of its thumbnail in a client's hands.
//!
//! A station shoots a spin of the rig that row `spin` has, with its panel open on a free port of this machine. The
//! client does what the panel's page does: it follows the stream of events, and gets the small thumbnail of every
//! frame that was captured. It does so one after the other, so that a thumbnail that is late delays the next one, too.

use std::collections::BTreeMap;
use std::path::Path;

use super::client::{Client, Events};
use super::measure::quantile;
use super::spin::{self, EXPOSURE_MS, FRAMES, LIMIT, TRANSFER_MS};
use super::table::{Row, Unmeasured};
use super::{Bench, say};
use crate::clock::SystemClock;
use crate::run::{Running, Start};

/// Most milliseconds of 95 of 100 thumbnails.
const LIMIT_MS: f64 = 1000.0;

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let folder = bench.scratch.folder("panel")?;
    let measured = bench.runtime.block_on(shown_ms(&folder));
    bench.scratch.forget("panel");
    let delays_ms = measured?;
    let [median, most, longest] = [0.5, 0.95, 1.0].map(|share| quantile(delays_ms.clone(), share));
    let note = format!(
        "P50 {median:.0} ms, longest {longest:.0} ms of {FRAMES} frames of 12 MP; {TRANSFER_MS:.0} ms of it transfer"
    );
    Ok(vec![Row::limited("thumbnail on the panel after exposure, P95", (most, "ms"), LIMIT_MS, note)])
}

/// Milliseconds of every frame of a spin.
async fn shown_ms(folder: &Path) -> Result<Vec<f64>, Unmeasured> {
    let config = spin::configure(folder, "[panel]\nlisten = \"127.0.0.1:0\"\n")?;
    let mut running =
        Running::start(Start::new(config, folder)).await.map_err(Unmeasured::at("start a station"))?;
    let mut found = running.open(folder);
    let open = found.wait_for(|found| found.address.is_some()).await;
    let address = open.map_err(Unmeasured::at("open the panel"))?.address;
    let client = Client::to(address.ok_or_else(|| Unmeasured("the panel is not open".to_owned()))?);
    say("panel: rendering 36 frames once, which takes longest");
    spin::spin(&running, "overlap").await?;

    say("panel: 36 frames with a client that looks at them");
    let mut events = client.events("/api/v1/stream").await?;
    let look = async {
        let seen = tokio::time::timeout(LIMIT, look(&client, &mut events)).await;
        seen.map_err(|_| Unmeasured(format!("the client did not see {FRAMES} frames within {LIMIT:?}")))?
    };
    let (_, seen) = tokio::try_join!(spin::spin(&running, "overlap"), look)?;
    let mut delays_ms = Vec::new();
    for (sequence, seen_ms) in seen {
        let records = running.spool.sequence_records(sequence).await;
        let records = records.map_err(Unmeasured::at("read a frame"))?;
        let exposed_ms = records.first().and_then(|record| record.meta["time"]["exposed_at_ms"].as_i64());
        let exposed_ms = exposed_ms.ok_or_else(|| Unmeasured("a frame has no time".to_owned()))?;
        delays_ms.push((seen_ms - exposed_ms) as f64 - EXPOSURE_MS);
    }
    running.stop().await;
    Ok(delays_ms)
}

/// Gets the thumbnail of each frame as it is told of; wall-clock milliseconds of its last byte, by sequence.
async fn look(client: &Client, events: &mut Events) -> Result<BTreeMap<u64, i64>, Unmeasured> {
    let clock = SystemClock::new();
    let mut seen = BTreeMap::new();
    while seen.len() < FRAMES as usize {
        let event = events.next("frame.captured").await?;
        let sequence = event["data"]["sequence"].as_u64();
        let sequence = sequence.ok_or_else(|| Unmeasured(format!("no sequence in {event}")))?;
        let thumbnail = client.whole(&format!("/api/v1/frames/{sequence}/thumbnail?side=150")).await?;
        if !thumbnail.starts_with(&[0xff, 0xd8]) {
            return Err(Unmeasured(format!("the thumbnail of frame {sequence} is no JPEG")));
        }
        seen.insert(sequence, clock.now().wall_ms);
    }
    Ok(seen)
}
