//! Tells the state now: status, alarms and figures, each only as it is at this moment, also after an absence.
//!
//! An alarm is retained under its rule while it is there; that it came and went is in the event log as well, so an outage
//! hides none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use turnstage_cloud_sync::mqtt::{Message, Post};

use super::alarms::{Alarms, News};
use super::behind::Behind;
use super::message::{self, Writer};
use super::state::{AlarmBody, StatusBody, wrong};
use super::topics::{Below, Topics};
use crate::audit;
use crate::command::Actor;
use crate::status::{Situation, Status};

/// The status is told so often at most.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// See the module.
pub struct Telling {
    /// The station.
    pub behind: Arc<dyn Behind>,
    /// Where messages are handed in.
    pub post: Post,
    /// Names.
    pub topics: Topics,
    /// Envelopes.
    pub writer: Arc<Writer>,
    /// Figures are told so often.
    pub figures_every: Duration,
    /// Where alarms are noted; nowhere in the simulated fleet.
    pub alarms: Option<PathBuf>,
}

impl Telling {
    /// Tells and tells, until it is dropped.
    pub async fn run(&self) {
        let mut alarms = Alarms::open(self.alarms.clone());
        let mut changes = self.behind.changes();
        let mut told: Option<StatusBody> = None;
        let mut figures = interval_at(Instant::now(), self.figures_every);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut earliest = Instant::now();
        let mut due = true;
        loop {
            if due && Instant::now() >= earliest {
                due = false;
                earliest = Instant::now() + STATUS_EVERY;
                let status = self.behind.status().await;
                self.tell_status(&status, &mut told);
                self.tell_alarms(&status, &mut alarms).await;
            }
            let again = match (due, alarms.next()) {
                (true, _) => Some(earliest),
                (false, next) => next.map(|next| next.max(earliest)),
            };
            tokio::select! {
                more = changes.next() => match more {
                    Some(()) => due = true,
                    None => return std::future::pending().await,
                },
                () = sleep_until(again.unwrap_or(earliest)), if again.is_some() => due = true,
                _ = figures.tick() => self.tell_figures().await,
            }
        }
    }

    fn tell_status(&self, status: &Status, told: &mut Option<StatusBody>) {
        let body = StatusBody::of(status, self.behind.config_version());
        if told.as_ref() != Some(&body) {
            self.latest(&Below::Status, &body);
            *told = Some(body);
        }
    }

    async fn tell_alarms(&self, status: &Status, alarms: &mut Alarms) {
        let since = crate::clock::utc(self.behind.clock().now().wall_ms);
        let news = alarms.look(&wrong(status), &since, Instant::now());
        let known = !matches!(status.situation, Situation::Starting);
        if news.is_empty() && (!alarms.has_left_over() || !known) {
            return;
        }
        alarms.write();
        for one in news {
            let (kind, rule, body) = match one {
                News::Raised(body) => (Some("alarm.raised"), body.rule.clone(), Some(body)),
                News::Changed(body) => (None, body.rule.clone(), Some(body)),
                News::Cleared(rule) => (Some("alarm.cleared"), rule, None),
            };
            if let Some(kind) = kind {
                let what = body.as_ref().map(|body| body.what.clone());
                let data = json!({ "rule": rule, "what": what });
                self.behind.record(audit::entry(kind, &Actor("station".to_owned()), None, data)).await;
            }
            self.alarm(rule, body.as_ref());
        }
        if known {
            for rule in alarms.left_over() {
                self.alarm(rule, None);
            }
            alarms.write();
        }
    }

    fn alarm(&self, rule: String, body: Option<&AlarmBody>) {
        let below = Below::Alarm(rule);
        match body {
            Some(body) => self.latest(&below, body),
            None => {
                let topic = self.topics.topic(&below);
                self.post.latest(Message { topic, payload: bytes::Bytes::new(), retain: true });
            }
        }
    }

    async fn tell_figures(&self) {
        for (group, value) in self.behind.figures(self.post.figures()).await {
            self.latest(&Below::Telemetry(group.name().to_owned()), &value);
        }
    }

    fn latest(&self, below: &Below, body: &impl Serialize) {
        let topic = self.topics.topic(below);
        self.post.latest(Message { topic, payload: message::bytes(&self.writer.now(body)), retain: true });
    }
}
