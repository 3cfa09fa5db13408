//! Whole sessions on rigs that are not simulated: the real binary with its real drivers and libraries, and devices that
//! speak their own wire but are not there. The link to the table is lost in mid-turn: the session pauses, says what to do,
//! goes on when a person says so, nothing moves twice, and every frame shows its angle. Or somebody stops it (`stop`).

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use turnstage_cloud_sync::Record;
use turnstage_hw_tests::wire::Device;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_tests::service::Service;
use turnstage_tests::view::{View, signature};
use turnstage_tests::{lenient_policy, write_recipe};

mod comxim;
mod grbl;
mod revopoint;
mod stop;
mod sweeping;

/// Small pictures: the renderer must keep up with the table.
const SIZE: (u32, u32) = (320, 240);

/// A device on a port that somebody may pull and plug in again, in the background.
struct Plug {
    again: Arc<Notify>,
    serving: JoinHandle<()>,
}

impl Plug {
    fn of<D: Device + 'static>(cable: Cable<D>, mut port: Port) -> Self {
        let again = Arc::new(Notify::new());
        let plugged = again.clone();
        let serving = tokio::spawn(async move {
            loop {
                cable.serve(&mut port).await;
                plugged.notified().await;
                port.plug().expect("another pseudo-terminal");
            }
        });
        Self { again, serving }
    }

    /// Plugs it in again, under another number.
    fn again(&self) {
        self.again.notify_one();
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A station with this rig, and a recipe `turn` of so many frames.
fn configuration(folder: &Path, frames: u32, rig: &str) -> String {
    let recipes = folder.join("recipes");
    // What matters here is where the pictures were taken.
    write_recipe(&recipes, "turn", frames, "retakes = 0");
    let file = recipes.join("turn.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    let text = text.replace("settle_ms = 0", "settle_ms = 150");
    std::fs::write(&file, format!("{text}\n{}", lenient_policy())).expect("the recipe");
    format!(
        r#"
[storage]
free_bytes_soft = 2_000_000
free_bytes_hard = 1_000_000
frame_bytes = 200_000

[motion]
reopen_s = 0.2
announce_s = 1.0

[recipes]
folder = {recipes:?}

[panel]
listen = "127.0.0.1:0"

[destinations.local]
backend = "directory"
root = "delivered"
create = true

{rig}
"#
    )
}

/// Waits for the fault of a link that was lost on the way to the next frame, and for its words; nobody at the rig has
/// allowed to go on.
async fn lost(service: &Service) {
    let session = service.settled().await;
    assert_eq!(session["state"], "paused", "{session}");
    let status = service.status().await;
    let fault = &status["faults"][0];
    assert_eq!(fault["rule"], "motion-link-lost", "{status:#}");
    let bound = "Link lost: it may still turn up to 10 degrees, keep clear. Check its cable, then continue.";
    assert!(fault["what"].as_str().is_some_and(|what| what.ends_with(bound)), "{fault}");
    assert_eq!(fault["todo"], "Look at the table, then continue.", "{fault}");
    assert_eq!(status["table"]["armed"], "no", "a lost link ends the arming");
    let refused = service.ask("resume", json!({ "session": null, "anew": false, "confirm": false })).await;
    assert_eq!(refused.expect_err("nobody at the rig allowed it")["rule"], "motion-not-armed");
}

/// Motions that were told, in degrees, are these and no more: one that was told twice is one too many, also where it was
/// asked for by an angle at which the platter stands already.
#[track_caller]
fn told(motions: &[f64], wanted: &[(usize, f64)], slack_deg: f64) {
    let wanted: Vec<f64> = wanted.iter().flat_map(|(count, deg)| std::iter::repeat_n(*deg, *count)).collect();
    let same = |(told, wanted): (&f64, &f64)| (told - wanted).abs() <= slack_deg;
    assert!(
        motions.len() == wanted.len() && motions.iter().zip(&wanted).all(same),
        "{} motions instead of {}:\n{motions:?}\n{wanted:?}",
        motions.len(),
        wanted.len()
    );
}

/// Goes on until every frame is there; a person confirms the platter's place where the table lost it, and mends a camera
/// that asks for it.
async fn finish(service: &Service, mend: impl Fn()) -> Value {
    service.until("the table is back", |status| status["table"]["fault"].is_null()).await;
    service.resume().await;
    loop {
        let session = service.settled().await;
        if session["state"] == "review" {
            return session;
        }
        let status = service.status().await;
        if status["faults"][0]["rule"] == "camera-failed" {
            mend();
            service.resume().await;
            continue;
        }
        assert_eq!(status["faults"][0]["rule"], "position-match", "{status:#} {}", service.log());
        service.ask("arm", json!({})).await.expect("armed");
        let confirmed = json!({ "session": null, "anew": false, "confirm": true });
        service.ask("resume", confirmed).await.unwrap_or_else(|problem| panic!("{problem}"));
    }
}

/// Every frame looks like the object at its angle, and less like it at the angles beside; `zero_deg` is where the platter
/// truly stood at the first frame.
async fn shows_its_angles(service: &Service, records: &[Record], zero_deg: f64, size: (u32, u32)) {
    let mut view = View::new(size).await;
    let current: Vec<&Record> = records
        .iter()
        .filter(|record| record.superseded_by.is_none() && record.key.product == "original")
        .collect();
    assert_eq!(current.len(), 36);
    for record in current {
        let bytes = std::fs::read(service.data().join("spool/media").join(&record.media)).expect("a picture");
        let seen = signature(&bytes);
        let deg = zero_deg + record.facts.angle_commanded.expect("an angle");
        let own = seen.difference(&view.look(deg).await);
        for beside in [deg - 10.0, deg + 10.0] {
            let other = seen.difference(&view.look(beside).await);
            assert!(
                own < 0.5 * other,
                "frame {}: {own:.2} at its angle, {other:.2} beside",
                record.facts.shot + 1
            );
        }
    }
}

/// A folder for one rig.
fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}
