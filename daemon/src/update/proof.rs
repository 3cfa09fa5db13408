//! Whether a system that was just updated works: cameras, table, spool and panel; backends are asked and hold nothing up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::rauc::{Bus, BusError};
use super::task::{LOOK, Work};
use super::{Before, Phase, UpdateState};
use crate::listen::Found;
use crate::status::{Situation, Status};

/// A new system whose program ended so often before it was proven is not good.
const PROOFS_MAX: u32 = 3;
/// A backend that does not answer for so long is told as not reached: a network that is down is no fault of the update.
const REACHED: Duration = Duration::from_secs(30);
/// The panel is on this machine.
const CONNECTED: Duration = Duration::from_secs(5);

impl Work {
    /// How long a system may take to work.
    pub(super) fn proof_limit(&self) -> Duration {
        Duration::from_secs_f64(self.needs.config.prove_s)
    }

    /// Tests the running system, for the nth time, and tells the bootloader that it is good; or goes back. Nothing is moved.
    pub(super) async fn prove(&self, mut state: UpdateState, attempts: u32) -> UpdateState {
        if attempts > PROOFS_MAX {
            let reason = format!("the program ended {PROOFS_MAX} times before the system was proven");
            return self.is_bad(state, vec![reason]).await;
        }
        state.phase = Phase::Proving { attempts };
        self.keep(&state).await;
        let before = state.before.clone().unwrap_or_default();
        let end = Instant::now() + self.proof_limit();
        loop {
            let mut lacks = self.lacks(&before).await;
            if lacks.is_empty() {
                let backends = self.backends_reached().await;
                // The event is the proof that the spool can be written.
                if self.log_for(&state, "update.proven", json!({ "backends": backends })).await {
                    break;
                }
                lacks.push("the spool cannot be written".to_owned());
            }
            if Instant::now() >= end {
                return self.is_bad(state, lacks).await;
            }
            // Cameras may be slow to come after a boot.
            self.hold.send_modify(|hold| hold.look += 1);
            tokio::time::sleep(LOOK).await;
        }
        loop {
            match self.mark_proven().await {
                Ok(()) => break,
                Err(error) if Instant::now() >= end => {
                    return self
                        .fail(state, "update-mark", format!("the bootloader was not told: {error}"))
                        .await;
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        state.phase = Phase::Good;
        self.keep(&state).await;
        if let Err(error) = self.see_slots().await {
            tracing::warn!(%error, "the system's slots cannot be read");
        }
        state
    }

    async fn mark_proven(&self) -> Result<(), BusError> {
        Bus::open().await?.mark("good", "booted").await
    }

    async fn is_bad(&self, mut state: UpdateState, reasons: Vec<String>) -> UpdateState {
        tracing::error!(?reasons, "the updated system does not work");
        self.log_for(&state, "update.failed", json!({ "rule": "update-proof", "reasons": reasons })).await;
        state.phase = Phase::RolledBack { reasons, pending: true };
        self.keep(&state).await;
        state
    }

    /// What does not work.
    async fn lacks(&self, before: &Before) -> Vec<String> {
        let mut lacks = lacking(&self.status.borrow(), &self.needs.required, before);
        if !self.needs.on_disk {
            lacks.push("the spool is not on the disk".to_owned());
        }
        let address = Found::below(&self.needs.data).and_then(|found| found.address);
        let bound = match address {
            Some(address) => matches!(timeout(CONNECTED, TcpStream::connect(address)).await, Ok(Ok(_))),
            None => false,
        };
        if !bound {
            lacks.push("the panel does not answer".to_owned());
        }
        lacks
    }

    /// Each backend: whether it was reached, or why not.
    async fn backends_reached(&self) -> BTreeMap<String, String> {
        let each = self.needs.backends.iter().map(|backend| async {
            let told = match timeout(REACHED, backend.ready()).await {
                Ok(Ok(())) => "reached".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {} s", REACHED.as_secs()),
            };
            (backend.name().to_owned(), told)
        });
        futures_util::future::join_all(each).await.into_iter().collect()
    }
}

/// What the station misses that it had before the update.
fn lacking(status: &Status, required: &[String], before: &Before) -> Vec<String> {
    let mut lacks = Vec::new();
    if status.situation == Situation::Starting {
        lacks.push("the station has not started".to_owned());
    }
    for name in required.iter().filter(|name| !before.missing.contains(name)) {
        match status.cameras.iter().find(|camera| camera.name == *name).map(|camera| &camera.fault) {
            Some(None) => {}
            Some(Some(fault)) => lacks.push(format!("camera {name}: {fault}")),
            None => lacks.push(format!("camera {name} is not told of")),
        }
    }
    if let Some(table) = status.table.as_ref().filter(|_| !before.table_missing) {
        match &table.fault {
            Some(fault) => lacks.push(format!("table: {fault}")),
            None if table.model.is_empty() => lacks.push("the table has not answered".to_owned()),
            None => {}
        }
    }
    let storage = status.faults.iter().filter(|fault| fault.rule == "storage-fault");
    lacks.extend(storage.map(|fault| fault.what.clone()));
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{CameraStatus, Fault, StationName, TableStatus};
    use turnstage_drivers::Position;

    fn status() -> Status {
        let mut status = Status::starting(StationName::default(), true);
        status.tell(Situation::Ready);
        let camera = |name: &str| CameraStatus {
            name: name.to_owned(),
            model: "sim".to_owned(),
            tried: true,
            fault: None,
        };
        status.cameras = vec![camera("main"), camera("high")];
        status.table = Some(TableStatus {
            model: "sim".to_owned(),
            position: Position::Unknown,
            moving: false,
            stopped: false,
            announced: false,
            armed: crate::arming::Armed::No,
            may_turn_deg: None,
            tried: true,
            fault: None,
        });
        status
    }

    #[test]
    fn a_system_that_lost_a_camera_the_table_or_the_disk_is_not_good() {
        let required = vec!["main".to_owned()];
        let none = Before::default();
        assert_eq!(lacking(&status(), &required, &none), [""; 0]);
        let mut lost = status();
        lost.cameras[0].fault = Some("no such device".to_owned());
        lost.cameras[1].fault = Some("not required".to_owned());
        if let Some(table) = &mut lost.table {
            table.fault = Some("no link".to_owned());
        }
        lost.faults.push(Fault::new("storage-fault", "The disk does not store pictures", "", ""));
        let lacks = lacking(&lost, &required, &none);
        assert_eq!(
            lacks,
            ["camera main: no such device", "table: no link", "The disk does not store pictures"]
        );
    }

    #[test]
    fn what_was_missing_before_the_update_is_not_held_against_it() {
        let before = Before { missing: vec!["main".to_owned()], table_missing: true, ..Before::default() };
        let mut lost = status();
        lost.cameras[0].fault = Some("unplugged for weeks".to_owned());
        if let Some(table) = &mut lost.table {
            table.fault = Some("no link".to_owned());
        }
        assert_eq!(lacking(&lost, &["main".to_owned()], &before), [""; 0]);
    }
}
