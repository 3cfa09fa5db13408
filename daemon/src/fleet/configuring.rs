//! Hears what a manager wants the station to be, and tells what it is; and tells Home Assistant of the station.
//!
//! A document is signed like a command, names its station, and carries a version. What becomes of it is the keeper's
//! ([`super::desired`]). One that is not even offered to it is told as the reason beside what is in use.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use turnstage_cloud_sync::mqtt::{LinkState, Message, Post, Received};

use super::behind::Behind;
use super::commands::MAY_CONFIGURE;
use super::desired::{Desired, Offered, Reported};
use super::listener::{actor, trust};
use super::message::{self, Writer};
use super::topics::{Below, Topics};
use super::{discovery, signed};
use crate::audit;
use crate::command::{Actor, Refusal};

/// Version of [`ConfigClaims`].
pub const CONFIG_SCHEMA: u32 = 1;

/// What a signed configuration says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigClaims {
    /// [`CONFIG_SCHEMA`] of the writer.
    pub schema: u32,
    /// Chosen by the sender: the roll-out that it belongs to.
    pub id: String,
    /// `ORG/SITE/STATION`: nobody else is meant.
    pub station: String,
    /// Who wants it; stands in the audit log.
    pub sender: String,
    /// When it was signed, in ms since 1970. It does not expire: an older version is refused by its number.
    pub issued_ms: i64,
    /// What is wanted.
    pub desired: Desired,
}

/// See the module.
pub struct Configuring {
    /// The station.
    pub behind: Arc<dyn Behind>,
    /// Where messages are handed in.
    pub post: Post,
    /// Names.
    pub topics: Topics,
    /// Envelopes.
    pub writer: Arc<Writer>,
    /// The file of those who may, or why nobody may.
    pub trust: Result<PathBuf, Refusal>,
    /// Tells Home Assistant of the station.
    pub home_assistant: bool,
}

impl Configuring {
    /// Hears and tells, until it is dropped.
    pub async fn run(&self, mut received: mpsc::Receiver<Received>) {
        let (mut reported, mut link) = (self.behind.reported(), self.post.state());
        let mut denied = None;
        self.tell_home_assistant();
        self.tell(&reported.borrow_and_update().clone(), None);
        loop {
            if matches!(*link.borrow_and_update(), LinkState::Up { .. }) {
                self.behind.link_is_up();
            }
            let changed = tokio::select! {
                Some(message) = received.recv() => {
                    if discovery::is_birth(&message.topic, &message.payload) {
                        self.tell_home_assistant();
                    } else if self.topics.below(&message.topic) == Some(Below::Desired) && !message.payload.is_empty() {
                        denied = self.hear(&message.payload).await.err();
                        self.tell(&reported.borrow_and_update().clone(), denied.as_ref());
                    }
                    message.done();
                    Ok(())
                }
                changed = reported.changed() => {
                    self.tell(&reported.borrow_and_update().clone(), denied.as_ref());
                    changed
                }
                changed = link.changed() => changed,
            };
            if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn hear(&self, payload: &[u8]) -> Result<(), Refusal> {
        let (claims, key) = match self.verified(payload) {
            Ok(verified) => verified,
            Err(refusal) => {
                let data = json!({ "rule": refusal.rule, "reason": refusal.reason });
                let entry = audit::entry("config.refused", &Actor("fleet:unknown".to_owned()), None, data);
                self.behind.record_stranger("the fleet's broker", entry).await;
                return Err(refusal);
            }
        };
        let actor = actor(&format!("{key}/{}", claims.sender));
        match self.behind.offer(claims.desired, &actor).await {
            Offered::Taken | Offered::Known(_) => Ok(()),
            // What is wrong with it is told in what the keeper reports.
            Offered::Refused { problems, .. } if !problems.is_empty() => Ok(()),
            Offered::Refused { rule, reason, .. } => Err(Refusal::new(rule, reason)),
        }
    }

    fn verified(&self, payload: &[u8]) -> Result<(ConfigClaims, String), Refusal> {
        let trust = trust(&self.trust)?;
        let (claims, key) = trust.verify::<ConfigClaims>(signed::CONFIG, payload)?;
        if claims.schema != CONFIG_SCHEMA {
            let reason =
                format!("The document has schema {}, this version reads {CONFIG_SCHEMA}.", claims.schema);
            return Err(Refusal::new("schema-unknown", reason));
        }
        let station = self.behind.station();
        let station = format!("{}/{}/{}", station.org, station.site, station.name);
        if claims.station != station {
            let reason = format!("It is for the station {}, and this one is {station}.", claims.station);
            return Err(Refusal::new("station-wrong", reason));
        }
        if !MAY_CONFIGURE.contains(&key.role) {
            let reason = format!("The key \"{}\" is a {}'s, who may not configure.", key.id, key.role.name());
            return Err(Refusal::new("role-not-allowed", reason));
        }
        Ok((claims, key.id.clone()))
    }

    fn tell(&self, reported: &Reported, denied: Option<&Refusal>) {
        let mut body = reported.clone();
        if let Some(Refusal { rule, reason }) = denied {
            body.reason = Some(format!("What is wanted was not taken: {reason} ({rule})"));
        }
        let topic = self.topics.topic(&Below::Reported);
        self.post.latest(Message { topic, payload: message::bytes(&self.writer.now(body)), retain: true });
    }

    fn tell_home_assistant(&self) {
        let station = self.behind.station();
        if !self.home_assistant {
            return;
        }
        for (topic, payload) in discovery::messages(&station, &self.topics, env!("CARGO_PKG_VERSION")) {
            self.post.latest(Message { topic, payload: payload.to_string().into(), retain: true });
        }
    }
}
