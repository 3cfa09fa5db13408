//! The station in its fleet: what it tells over the broker, and what it lets itself be told.
//!
//! One task, five loops beside each other: the link; live state ([`telling`]); the log, from where the broker has it
//! ([`backlog`]); commands ([`listener`]); configuration ([`configuring`]). Topics and payloads are described in
//! docs/fleet/asyncapi.yaml. The broker is transport, not authority: what changes something here is signed by a key of
//! the station's own trust file.

pub mod alarms;
pub mod backlog;
pub mod behind;
pub mod client;
pub mod commands;
pub mod configuring;
pub mod desired;
pub mod discovery;
pub mod ledger;
pub mod light;
pub mod listener;
pub mod message;
pub mod signed;
pub mod state;
pub mod station;
pub mod telemetry;
pub mod telling;
pub mod topics;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::mqtt::{
    Broker, Denied, Identity, Link, LinkState, Message, Post, Received, Tls, Trouble, TroubleKind,
};

use crate::command::Refusal;
use crate::config::{Config, FleetConfig};
use crate::status::Fault;
use crate::window::Window;
use backlog::Backlog;
use behind::Behind;
use configuring::Configuring;
use desired::Keeper;
use ledger::Ledger;
use listener::Listener;
use message::Writer;
use state::StatusBody;
use station::RealStation;
use telling::Telling;
use topics::{Below, Topics};

/// The broker is asked for a sign of life so often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Commands that come in an absence are kept by the broker for so long; they expire after a day at most.
const SESSION_EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// Largest packet, in bytes: a configuration with recipes.
pub const PACKET_BYTES_MAX: usize = 512 * 1024;
/// Messages that wait to be judged.
const RECEIVED_MAX: usize = 16;

/// Where a fleet member's files are and what it is told to do: what a [`FleetTask`] is made of.
pub struct Parts {
    /// The station.
    pub behind: Arc<dyn Behind>,
    /// The broker.
    pub broker: Broker,
    /// First part of every topic.
    pub prefix: String,
    /// The file of those whose messages are obeyed, or why nobody's are.
    pub trust: Result<PathBuf, Refusal>,
    /// What became of earlier commands.
    pub ledger: Ledger,
    /// Folder of what is noted; nothing is in the simulated fleet.
    pub folder: Option<PathBuf>,
    /// Tells Home Assistant of the station.
    pub home_assistant: bool,
    /// Figures are told so often.
    pub figures_every: Duration,
    /// Most events told after an absence.
    pub events_back_max: u64,
    /// Where it is told what a person should see to.
    pub fault: watch::Sender<Option<Fault>>,
}

/// See the module.
pub struct FleetTask {
    link: Link,
    post: Post,
    received: mpsc::Receiver<Received>,
    telling: Telling,
    backlog: Backlog,
    configuring: Configuring,
    listener: Listener,
    denied: watch::Receiver<Option<Denied>>,
    fault: watch::Sender<Option<Fault>>,
}

/// The broker of a configuration; relative paths lie in `data`.
pub fn broker(config: &Config, data: &Path) -> Result<Broker, String> {
    let fleet: &FleetConfig = &config.fleet;
    let (host, port, tls) = Broker::parse(&fleet.broker)?;
    let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| data.join(path));
    let identity = match (file(&fleet.cert_file), file(&fleet.key_file)) {
        (Some(cert_file), Some(key_file)) => Some(Identity { cert_file, key_file }),
        _ => None,
    };
    let station = &config.station;
    let name = match fleet.username.as_str() {
        "" => format!("{}.{}.{}", station.org, station.site, station.name),
        name => name.to_owned(),
    };
    Ok(Broker {
        host,
        port,
        client_id: name.clone(),
        username: Some(name),
        password_file: file(&fleet.password_file),
        tls: tls.then(|| Tls { ca_file: file(&fleet.ca_file), identity }),
        keep_alive: KEEP_ALIVE,
        session_expiry: SESSION_EXPIRY,
        packet_bytes_max: PACKET_BYTES_MAX,
        return_max: Duration::from_secs_f64(fleet.return_s),
    })
}

/// What became of earlier commands, and whose are obeyed: nobody's where that cannot be read, since one could be obeyed
/// twice.
fn trusted(config: &Config, data: &Path) -> (Ledger, Result<PathBuf, Refusal>) {
    match Ledger::open(data) {
        Ok(ledger) if config.fleet.trust_file.as_os_str().is_empty() => {
            let reason = "This station trusts nobody: fleet.trust_file is empty.";
            (ledger, Err(Refusal::new("trust-none", reason)))
        }
        Ok(ledger) => (ledger, Ok(data.join(&config.fleet.trust_file))),
        Err(error) => {
            tracing::error!(%error, "commands of the fleet are not obeyed");
            let reason =
                format!("What became of earlier commands cannot be read: {error}. Nothing is obeyed twice.");
            (Ledger::in_memory(), Err(Refusal::new("ledger-unreadable", reason)))
        }
    }
}

impl FleetTask {
    /// The station of a window as a member of the fleet that its configuration names; its notes lie below `data`.
    pub fn of(
        window: &Window,
        keeper: Arc<Keeper>,
        data: &Path,
        fault: watch::Sender<Option<Fault>>,
    ) -> Option<Self> {
        let config = window.config();
        if !config.fleet.is_on() {
            return None;
        }
        let broker = match broker(config, data) {
            Ok(broker) => broker,
            // The configuration was checked before.
            Err(why) => {
                tracing::error!(why, "the station does not join its fleet");
                return None;
            }
        };
        let (ledger, trust) = trusted(config, data);
        Some(Self::new(Parts {
            behind: Arc::new(RealStation::new(window.clone(), keeper, data)),
            broker,
            prefix: config.fleet.prefix.clone(),
            trust,
            ledger,
            folder: Some(data.join("fleet")),
            home_assistant: config.fleet.home_assistant,
            figures_every: Duration::from_secs_f64(config.fleet.telemetry_s),
            events_back_max: config.fleet.events_back_max,
            fault,
        }))
    }

    /// A member of the fleet that has said nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { behind, broker, prefix, trust, ledger, folder, .. } = parts;
        let Parts { home_assistant, figures_every, events_back_max, fault, .. } = parts;
        let topics = Topics::of(&prefix, &behind.station());
        let writer = Arc::new(Writer::new(behind.clock().clone()));
        let farewell = Message {
            topic: topics.topic(&Below::Status),
            payload: message::bytes(
                &writer.now(StatusBody::offline(behind.is_simulated(), behind.config_version())),
            ),
            retain: true,
        };
        let mut heard = topics.heard();
        heard.extend(home_assistant.then(|| discovery::BIRTH.to_owned()));
        let (link, post, received) = Link::new(broker, Some(farewell), heard);
        let (denied_sender, denied) = watch::channel(None);
        let telling = Telling {
            behind: behind.clone(),
            post: post.clone(),
            topics: topics.clone(),
            writer: writer.clone(),
            figures_every,
            alarms: folder.as_ref().map(|folder| folder.join("alarms.json")),
        };
        let backlog = Backlog {
            behind: behind.clone(),
            post: post.clone(),
            topics: topics.clone(),
            writer: writer.clone(),
            back_max: events_back_max,
            file: folder.as_ref().map(|folder| folder.join("told.json")),
            denied: denied_sender,
        };
        let configuring = Configuring {
            behind: behind.clone(),
            post: post.clone(),
            topics: topics.clone(),
            writer: writer.clone(),
            trust: trust.clone(),
            home_assistant,
        };
        let listener =
            Listener::new(listener::Parts { behind, post: post.clone(), topics, writer, trust, ledger });
        Self { link, post, received, telling, backlog, configuring, listener, denied, fault }
    }

    /// The post of its link.
    pub fn post(&self) -> Post {
        self.post.clone()
    }

    /// Runs until the token ends it, with a goodbye to the broker.
    pub async fn run(self, cancel: CancellationToken) {
        let Self { link, post, received, telling, backlog, configuring, listener, denied, fault } = self;
        let (others, other) = mpsc::channel(RECEIVED_MAX);
        let beside = async {
            tokio::join!(
                telling.run(),
                backlog.run(),
                listener.run(received, others),
                configuring.run(other),
                mind(&post, denied, &fault)
            );
        };
        tokio::select! {
            () = link.run(cancel) => {}
            () = beside => {}
        }
    }
}

/// Tells what a person should see to; that the broker is not reached is a way of working, and not told.
async fn mind(
    post: &Post,
    mut denied: watch::Receiver<Option<Denied>>,
    fault: &watch::Sender<Option<Fault>>,
) {
    let (mut state, mut objection) = (post.state(), post.objection());
    loop {
        let trouble = match &*state.borrow_and_update() {
            LinkState::Down { trouble, .. } if trouble.kind != TroubleKind::Network => Some(trouble.clone()),
            _ => None,
        };
        let trouble = trouble.or_else(|| objection.borrow_and_update().clone());
        let refused = denied.borrow_and_update().as_ref().map(|denied| denied.to_string());
        let now = match (trouble, refused) {
            (Some(Trouble { rule, reason, .. }), _) => Some((rule, reason)),
            (None, Some(reason)) => Some(("broker-denies", reason)),
            (None, None) => None,
        };
        let now = now.map(|(rule, reason)| {
            let why = "The fleet's manager does not see this station, or cannot reach it. Capture goes on.";
            Fault::new(rule, format!("The fleet's broker: {reason}"), why, "Call whoever keeps the broker.")
        });
        fault.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        let changed = tokio::select! {
            changed = state.changed() => changed,
            changed = objection.changed() => changed,
            changed = denied.changed() => changed,
        };
        if changed.is_err() {
            return std::future::pending().await;
        }
    }
}
