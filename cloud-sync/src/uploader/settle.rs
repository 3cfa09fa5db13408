//! What becomes of a record after a delivery, written with its event.

use std::time::Duration;

use serde_json::json;

use super::Uploader;
use crate::Stamp;
use crate::event::NewEvent;
use crate::queue::{Change, Failure, Receipt, Record};
use crate::spool::SpoolError;

/// What becomes of a record.
pub(super) enum Verdict {
    /// With what people should know of it.
    Confirmed(Receipt, Option<Failure>),
    Offline(Failure),
    Later {
        failure: Failure,
        after: Option<Duration>,
    },
    Never(Failure),
    /// Never, and it was not even tried.
    Unfit(Failure),
}

fn failed(record: &Record, failure: &Failure, attempts: u32) -> NewEvent {
    let data = json!({"rule": failure.rule, "reason": failure.reason, "attempts": attempts});
    about(record, "frame.failed", data)
}

fn later(now: Stamp, wait: Duration) -> Stamp {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Stamp {
        wall_ms: now.wall_ms.saturating_add_unsigned(wait_ms),
        boottime_ms: now.boottime_ms.saturating_add(wait_ms),
        ..now
    }
}

pub(super) fn station_event(kind: &str, session: Option<String>, data: serde_json::Value) -> NewEvent {
    NewEvent { kind: kind.to_owned(), actor: "station".to_owned(), session, data }
}

fn about(record: &Record, kind: &str, mut data: serde_json::Value) -> NewEvent {
    data["sequence"] = json!(record.key.sequence);
    data["product"] = json!(record.key.product);
    data["destination"] = json!(record.key.destination);
    data["trace_id"] = json!(record.facts.trace_id);
    station_event(kind, Some(record.facts.session.clone()), data)
}

impl Uploader {
    pub(super) async fn settle(&mut self, record: &Record, verdict: Verdict) -> Result<(), SpoolError> {
        let now = self.clock.now();
        let online_attempts = record.attempts.saturating_add(1);
        let (change, event) = match verdict {
            Verdict::Confirmed(receipt, notice) => {
                let mut data =
                    json!({"proof": receipt.proof, "location": receipt.location, "sha256": receipt.sha256});
                if let Some(derived) = &receipt.derived {
                    data["derived"] = json!(derived);
                }
                if let Some(notice) = notice {
                    tracing::warn!(record = %record.key, rule = notice.rule, reason = notice.reason, "delivered as stored");
                    data["notice"] = json!(notice);
                }
                (Change::Confirm(receipt, now), about(record, "frame.confirmed", data))
            }
            Verdict::Offline(failure) => {
                let data = json!({"rule": failure.rule, "reason": failure.reason, "counted": false});
                let event = about(record, "upload.later", data);
                // Due as soon as the destination is back.
                (Change::Later { at: now, failure, counted: false }, event)
            }
            Verdict::Later { failure, after } if online_attempts < self.options.attempts_max => {
                let wait = self.options.backoff.delay(online_attempts, &mut self.rng);
                let wait = after.map_or(wait, |after| wait.max(after));
                let data = json!({
                    "rule": failure.rule, "reason": failure.reason, "counted": true,
                    "attempts": online_attempts, "wait_ms": wait.as_millis() as u64,
                });
                let event = about(record, "upload.later", data);
                (Change::Later { at: later(now, wait), failure, counted: true }, event)
            }
            Verdict::Later { failure, .. } => {
                let event = failed(record, &failure, online_attempts);
                (Change::Park(failure), event)
            }
            Verdict::Never(failure) => {
                let event = failed(record, &failure, online_attempts);
                (Change::Refuse(failure), event)
            }
            Verdict::Unfit(failure) => {
                let event = failed(record, &failure, record.attempts);
                (Change::Refuse(failure), event)
            }
        };
        self.write(vec![(record.key.clone(), change)], vec![event]).await.map(drop)
    }
}
