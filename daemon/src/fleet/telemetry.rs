//! Figures of a station in groups, one message each: typed, so that station, simulated fleet and manager's client read
//! and write the same.
//!
//! A group that cannot be read now is left out with a warning; what a machine does not have is `null`, never 0. Sums
//! and worst values stand beside the lists that they are of, because dashboards of many stations cannot look into
//! lists. Everything is of the station's own organisation.

pub mod credentials;
pub mod devices;
pub mod machine;
pub mod quality;
pub mod queue;
pub mod storage;
pub mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::mqtt;
use turnstage_cloud_sync::spool::SpoolError;
use turnstage_cloud_sync::{ClockQuality, Sha256, Stamp};

use crate::window::{Recent, Window};
use machine::{Figures, Machine};
use storage::{Room, Trend};
use versions::SlotVersion;

/// Sessions are read anew after so many milliseconds: what they took changes slowly, and reading them is not cheap.
const RECENT_MS: u64 = 600_000;

/// A group of figures; its name is the last part of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// What waits for delivery: [`queue::Queue`].
    Queue,
    /// Room on the disk: [`storage::Storage`].
    Storage,
    /// Cameras, table and controls: [`devices::Devices`].
    Devices,
    /// What pictures measure against what they measured: [`quality::Quality`].
    Quality,
    /// The computer: [`machine::Figures`].
    Machine,
    /// The clock: [`ClockState`].
    Clock,
    /// What is installed: [`versions::Versions`].
    Versions,
    /// What expires: [`credentials::Credentials`].
    Credentials,
    /// The link to the broker: [`Link`].
    Link,
}

impl Group {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 9] = [
        ("queue", Self::Queue),
        ("storage", Self::Storage),
        ("devices", Self::Devices),
        ("quality", Self::Quality),
        ("machine", Self::Machine),
        ("clock", Self::Clock),
        ("versions", Self::Versions),
        ("credentials", Self::Credentials),
        ("link", Self::Link),
    ];

    /// Last part of its topic.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, group)| *group == self).map_or("", |(name, _)| name)
    }
}

/// The clock of the station.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockState {
    /// How far to trust it.
    pub quality: ClockQuality,
    /// Seconds by which it is ahead of true time; `None` while nothing here knows.
    pub offset_s: Option<f64>,
    /// Which boot.
    pub boot_id: String,
    /// Seconds since the machine was started, suspension included.
    pub since_boot_s: f64,
}

impl ClockState {
    /// What a stamp says of its clock.
    pub fn of(now: &Stamp) -> Self {
        Self {
            quality: now.quality,
            offset_s: None,
            boot_id: now.boot_id.clone(),
            since_boot_s: now.boottime_ms as f64 / 1000.0,
        }
    }
}

/// The link to the broker, counted since the program started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Messages that the broker acknowledged.
    pub messages_sent: u64,
    /// Messages that the broker refused.
    pub messages_denied: u64,
    /// Messages that wait to be sent or acknowledged, now.
    pub messages_waiting: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Bytes that the station sent over the network today, pictures and updates included.
    pub bytes_sent_today: u64,
    /// The same of bytes received.
    pub bytes_received_today: u64,
    /// Most bytes a day, on a metered link that has such a limit.
    pub bytes_a_day_max: Option<u64>,
}

impl From<mqtt::Figures> for Link {
    fn from(figures: mqtt::Figures) -> Self {
        Self {
            messages_sent: figures.acked,
            messages_denied: figures.denied,
            messages_waiting: (figures.waiting_latest + figures.waiting_deliveries) as u64,
            reconnects: figures.connects.saturating_sub(1),
            ..Self::default()
        }
    }
}

/// What the window does not show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extra {
    /// The link to the broker.
    pub link: Link,
    /// Version of the fleet's configuration that is in use, if there is one.
    pub config_version: Option<u64>,
}

/// Reads the figures, and remembers what they are compared with.
pub struct Telemetry {
    data: PathBuf,
    machine: Machine,
    trend: Trend,
    recent: Option<(u64, Recent)>,
}

/// What is read from files, in a thread that may wait for them.
struct FromFiles {
    machine: Machine,
    figures: Figures,
    system: versions::System,
    recipes: BTreeMap<String, Sha256>,
    credentials: credentials::Credentials,
}

impl Telemetry {
    /// Of a station whose files lie below `data`, on the machine whose `/proc` and `/sys` lie below `root`.
    pub fn new(data: PathBuf, root: PathBuf) -> Self {
        Self { data, machine: Machine::new(root), trend: Trend::default(), recent: None }
    }

    /// Every group that can be read now.
    pub async fn groups(&mut self, window: &Window, extra: Extra) -> Vec<(Group, serde_json::Value)> {
        let now = window.clock().now();
        let status = window.status().await;
        let mut told = Told(Vec::new());
        match window.oldest().await {
            Ok(oldest) => told.add(Group::Queue, &queue::Queue::of(&status.delivery, &oldest, &now)),
            Err(error) => missing(Group::Queue, &error),
        }
        let recent = self.recent(window, &now).await;
        match window.room() {
            Ok(room) => {
                let room = Room { room, sessions_left: status.delivery.sessions_left };
                told.add(Group::Storage, &storage::Storage::of(&room, &recent, &mut self.trend, &now));
            }
            Err(error) => missing(Group::Storage, &error),
        }
        told.add(Group::Devices, &devices::Devices::of(&status));
        match window.cameras().await {
            Ok(cameras) => told.add(Group::Quality, &quality::Quality::of(&cameras, &recent)),
            Err(error) => missing(Group::Quality, &error),
        }
        told.add(Group::Clock, &ClockState::of(&now));
        told.add(Group::Link, &extra.link);
        if let Some(files) = self.read_files(window, &now).await {
            told.add(Group::Machine, &files.figures);
            let slots = window.updates().versions().slots.iter().map(SlotVersion::from).collect();
            let versions = versions::Versions::of(files.system, files.recipes, extra.config_version);
            let versions = versions::Versions { slots, ..versions };
            told.add(Group::Versions, &versions);
            told.add(Group::Credentials, &files.credentials);
            self.machine = files.machine;
        }
        told.0.sort_by_key(|(group, _)| *group);
        told.0
    }

    async fn recent(&mut self, window: &Window, now: &Stamp) -> Recent {
        let known =
            self.recent.as_ref().filter(|(at_ms, _)| now.boottime_ms.saturating_sub(*at_ms) < RECENT_MS);
        if let Some((_, recent)) = known {
            return *recent;
        }
        match window.recent().await {
            Ok(recent) => {
                self.recent = Some((now.boottime_ms, recent));
                recent
            }
            Err(error) => {
                missing(Group::Quality, &error);
                Recent::default()
            }
        }
    }

    /// `None` when the thread ended; the machine is then read anew from the next time on.
    async fn read_files(&mut self, window: &Window, now: &Stamp) -> Option<FromFiles> {
        let mut machine = self.machine.clone();
        let (window, data, now) = (window.clone(), self.data.clone(), now.clone());
        let read = tokio::task::spawn_blocking(move || {
            let figures = machine.read();
            let system = versions::System::read(machine.root());
            let recipes = window.recipe_hashes();
            let credentials = credentials::Credentials::read(window.config(), &data, &now);
            FromFiles { machine, figures, system, recipes, credentials }
        });
        read.await.inspect_err(|error| tracing::warn!(%error, "figures of the machine are not told")).ok()
    }
}

struct Told(Vec<(Group, serde_json::Value)>);

impl Told {
    fn add<T: Serialize>(&mut self, group: Group, figures: &T) {
        match serde_json::to_value(figures) {
            Ok(value) => self.0.push((group, value)),
            Err(error) => tracing::warn!(%error, group = group.name(), "figures are not told"),
        }
    }
}

fn missing(group: Group, error: &SpoolError) {
    tracing::warn!(%error, group = group.name(), "figures are not told");
}
