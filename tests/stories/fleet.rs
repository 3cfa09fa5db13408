//! Stations in a fleet, on a real broker: what they tell, what they obey, and what no broker can make them do.

mod commands;
mod outages;
mod rollout;
mod said;

use serde_json::Value;
use turnstage_tests::broker::Broker;
use turnstage_tests::broker::watcher::{Heard, Watcher};
use turnstage_tests::headquarters::{Headquarters, body};
use turnstage_tests::quick_rig;
use turnstage_tests::service::Service;

/// Name of the station of these stories.
const STATION: &str = "acme/berlin/booth-7";

/// A station of the simulated rig in a fleet, that listens to it.
async fn station(headquarters: &Headquarters, broker: &Broker) -> Service {
    let mut watcher = broker.watch("turnstage/+/+/+/status").await;
    let service = Service::start(&configuration(headquarters, broker), &[]).await;
    until_status(&mut watcher, "the station", |status| status["online"] == true).await;
    service
}

fn configuration(headquarters: &Headquarters, broker: &Broker) -> String {
    let (org, site, name) = ("acme", "berlin", "booth-7");
    let station = format!("[station]\norg = \"{org}\"\nsite = \"{site}\"\nname = \"{name}\"\n");
    format!("{station}{}{}", quick_rig(""), headquarters.section(broker, STATION))
}

/// What was said on a topic of the station, in order.
fn said(heard: &[Heard], below: &str) -> Vec<Value> {
    let topic = format!("turnstage/{STATION}/{below}");
    let said = heard.iter().filter(|heard| heard.topic == topic && !heard.payload.is_empty());
    said.map(|heard| body(&heard.payload)).collect()
}

/// Waits until the station said so of itself.
async fn until_status(watcher: &mut Watcher, what: &str, is: impl Fn(&Value) -> bool) -> Vec<Heard> {
    watcher.until(what, |heard| said(heard, "status").last().is_some_and(&is)).await
}
