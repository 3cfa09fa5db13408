//! The sections of the configuration, as types. What each key means to a person stands in `config/default.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use turnstage_cloud_sync::backend::imaging360;
use turnstage_drivers::DeviceOptions;
use turnstage_drivers::camera::Settings;
use turnstage_drivers::turntable::mounted::Mount;

use crate::motion::Drive;
use crate::update::lock::Maintenance;

use super::controls::{InputConfig, OutputConfig};
use super::fleet_layer::FleetRecipes;

/// Who owns the pictures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// Organisation.
    pub org: String,
    /// Site.
    pub site: String,
    /// Name within the site.
    pub name: String,
}

/// Limits of the disk.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Alarm and early deletion of confirmed pictures below this.
    pub free_bytes_soft: u64,
    /// No capture below this.
    pub free_bytes_hard: u64,
    /// Days that confirmed pictures stay.
    pub keep_confirmed_days: f64,
    /// Room reserved for each picture before a start.
    pub frame_bytes: u64,
}

/// How the table is driven.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionConfig {
    /// Degrees from which an angle is approached forward.
    pub approach_deg: f64,
    /// Seconds until a lost link is tried again.
    pub reopen_s: f64,
    /// Minutes after the last motion until a real table must be armed again.
    pub arm_minutes: f64,
    /// Seconds that a motion of a real table is announced before.
    pub announce_s: f64,
    /// Most degrees in one command to a table that turns on without its link.
    pub unattended_deg_max: f64,
    /// The table counts clockwise.
    pub reversed: bool,
    /// The rig's angle where the table's own zero is.
    pub zero_deg: f64,
    /// The tilt that the table calls 0.
    pub tilt_zero_deg: f64,
    /// How far its cable may be wound up each way, in degrees; empty: it turns on and on.
    pub limits_deg: Vec<f64>,
    /// Diameter of the platform in metres; 0: not declared.
    pub platform_m: f64,
}

/// How sessions are shot.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureConfig {
    /// Seconds that a session waits for a camera that went away to come back.
    pub camera_wait_s: f64,
}

impl MotionConfig {
    /// What its values must be: whether it is so, the key, and the sentence.
    pub(super) fn demands(&self) -> [(bool, &'static str, &'static str); 9] {
        let limits_deg = matches!(self.limits_deg.as_slice(), [] | [_, _])
            && self.limits_deg.windows(2).all(|pair| pair[0] <= 0.0 && pair[1] >= 0.0);
        let platform_m = self.platform_m == 0.0 || (0.05..=30.0).contains(&self.platform_m);
        [
            ((0.0..=90.0).contains(&self.approach_deg), "motion.approach_deg", "must be 0 to 90"),
            ((0.1..=3600.0).contains(&self.reopen_s), "motion.reopen_s", "must be 0.1 to 3600"),
            ((1.0..=60.0).contains(&self.arm_minutes), "motion.arm_minutes", "must be 1 to 60"),
            ((1.0..=60.0).contains(&self.announce_s), "motion.announce_s", "must be 1 to 60"),
            (
                (5.0..=720.0).contains(&self.unattended_deg_max),
                "motion.unattended_deg_max",
                "must be 5 to 720",
            ),
            ((-360.0..=360.0).contains(&self.zero_deg), "motion.zero_deg", "must be -360 to 360"),
            ((-90.0..=90.0).contains(&self.tilt_zero_deg), "motion.tilt_zero_deg", "must be -90 to 90"),
            (
                limits_deg,
                "motion.limits_deg",
                "must be empty, or two numbers around 0, for example [-10.0, 370.0]",
            ),
            (platform_m, "motion.platform_m", "must be 0.05 to 30 metres, or 0 where it is not declared"),
        ]
    }

    /// How the motion task drives the table.
    pub fn drive(&self) -> Drive {
        let limits_deg = match self.limits_deg.as_slice() {
            [low, high] => Some((*low, *high)),
            _ => None,
        };
        Drive {
            approach_deg: self.approach_deg,
            reopen: Duration::from_secs_f64(self.reopen_s),
            announce: Duration::from_secs_f64(self.announce_s),
            unattended_deg_max: self.unattended_deg_max,
            mount: Mount {
                reversed: self.reversed,
                zero_deg: self.zero_deg,
                tilt_zero_deg: self.tilt_zero_deg,
                limits_deg,
            },
        }
    }
}

/// Where recipes are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipesConfig {
    /// Folder of the station's own; empty for none.
    pub folder: String,
    /// Used when none is named.
    pub default: String,
    /// Those of the fleet, which go before all others; no key of a file.
    #[serde(skip)]
    pub fleet: FleetRecipes,
}

/// A camera of the rig.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CameraConfig {
    /// Its failure stops a session; otherwise it only warns.
    #[serde(default = "yes")]
    pub required: bool,
    /// Locked for the whole session.
    #[serde(default)]
    pub settings: Settings,
    /// Driver and its keys.
    #[serde(flatten)]
    pub device: DeviceOptions,
}

fn yes() -> bool {
    true
}

/// What the station is made of.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RigConfig {
    /// The table, if there is one.
    pub turntable: Option<DeviceOptions>,
    /// Cameras by name.
    #[serde(default)]
    pub cameras: BTreeMap<String, CameraConfig>,
    /// Pedals, scanners, buttons and doors by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputConfig>,
    /// Lamps, horns and lights by name.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputConfig>,
}

/// Where pictures go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Destination {
    /// A local folder or a USB stick.
    Directory {
        /// Relative to the data folder.
        root: PathBuf,
        /// Make it when missing.
        #[serde(default)]
        create: bool,
        /// Refuse a mount point with nothing mounted.
        #[serde(default)]
        require_mount: bool,
        /// What becomes of metadata.
        #[serde(default)]
        metadata: MetadataRule,
    },
    /// The service of 360 Imaging.
    Imaging360 {
        /// Base address.
        url: String,
        /// Relative to the data folder.
        token_file: PathBuf,
        /// What becomes of metadata.
        #[serde(default = "write")]
        metadata: MetadataRule,
    },
}

fn write() -> MetadataRule {
    MetadataRule::Write
}

/// What becomes of a picture's metadata on its way to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetadataRule {
    /// The picture is delivered as it is stored.
    #[default]
    Keep,
    /// What the station knows is added.
    Write,
    /// Everything is taken out that is not needed to see it right.
    Strip,
}

impl Destination {
    /// What becomes of metadata.
    pub fn metadata(&self) -> MetadataRule {
        match self {
            Self::Directory { metadata, .. } | Self::Imaging360 { metadata, .. } => *metadata,
        }
    }

    /// Whether files of this product go there; pictures go everywhere.
    pub fn takes(&self, product: &str) -> bool {
        match self {
            Self::Directory { .. } => true,
            Self::Imaging360 { .. } => product == "original",
        }
    }

    /// What its type alone does not show to be wrong: key and sentence.
    pub(super) fn impossible(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Directory { .. } => None,
            Self::Imaging360 { url, .. } => {
                imaging360::read_address(url).err().map(|error| ("url", error.to_string()))
            }
        }
    }
}

/// How deliveries are tried.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploaderConfig {
    /// Attempts while online.
    pub attempts_max: u32,
    /// At a time.
    pub parallel: usize,
    /// First waiting time.
    pub backoff_base_s: f64,
    /// Longest waiting time.
    pub backoff_max_s: f64,
}

/// Where the panel is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelConfig {
    /// Address and port.
    pub listen: String,
    /// Unix socket; empty for the default.
    pub socket: String,
    /// Names that the panel answers to, beside plain addresses and this machine's own.
    pub hosts: Vec<String>,
    /// A browser on this machine is the rig's own display: whoever uses it stands at the rig.
    pub own_display: bool,
}

impl PanelConfig {
    /// [`PanelConfig::listen`], which a loaded configuration has checked.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

impl UploaderConfig {
    /// What its values must be: whether it is so, the key, and the sentence.
    pub(super) fn demands(&self) -> [(bool, &'static str, &'static str); 4] {
        [
            ((1..=1000).contains(&self.attempts_max), "uploader.attempts_max", "must be 1 to 1000"),
            ((1..=16).contains(&self.parallel), "uploader.parallel", "must be 1 to 16"),
            ((0.1..=3600.0).contains(&self.backoff_base_s), "uploader.backoff_base_s", "must be 0.1 to 3600"),
            (
                (self.backoff_base_s..=86_400.0).contains(&self.backoff_max_s),
                "uploader.backoff_max_s",
                "must be at least uploader.backoff_base_s and at most a day (86400)",
            ),
        ]
    }
}

/// The broker, and what is told over it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetConfig {
    /// Address; empty: no fleet.
    pub broker: String,
    /// First part of every topic.
    pub prefix: String,
    /// Name at the broker; empty: organisation, site and name joined by dots.
    pub username: String,
    /// File with the password; empty: none.
    pub password_file: PathBuf,
    /// Authority of the broker's certificate; empty: the system's.
    pub ca_file: PathBuf,
    /// The station's own certificate; empty: none.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Public keys of those who may command; empty: nobody.
    pub trust_file: PathBuf,
    /// Seconds over which a fleet returns to its broker.
    pub return_s: f64,
    /// Seconds until the link must be back after a restart into a new configuration.
    pub trial_s: f64,
    /// Seconds between two tellings of the figures.
    pub telemetry_s: f64,
    /// Most events told after an absence.
    pub events_back_max: u64,
    /// Tells Home Assistant of the station.
    pub home_assistant: bool,
}

impl FleetConfig {
    /// The station belongs to a fleet.
    pub fn is_on(&self) -> bool {
        !self.broker.is_empty()
    }

    /// What its values must be: whether it is so, the key, and the sentence.
    pub(super) fn demands(&self) -> [(bool, &'static str, &'static str); 7] {
        let identity = self.cert_file.as_os_str().is_empty() == self.key_file.as_os_str().is_empty();
        let prefix = !self.prefix.is_empty()
            && self.prefix.split('/').all(|part| !part.is_empty())
            && self.prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"+#$".contains(&byte));
        [
            (
                prefix,
                "fleet.prefix",
                "must be parts of a topic, for example \"turnstage\" or \"plant/turnstage\"",
            ),
            (
                !self.username.contains(['/', '+', '#']),
                "fleet.username",
                "must be without / + #: brokers refuse such names",
            ),
            (identity, "fleet.cert_file", "needs fleet.key_file, and the other way round"),
            ((0.0..=3600.0).contains(&self.return_s), "fleet.return_s", "must be 0 to 3600"),
            ((5.0..=600.0).contains(&self.trial_s), "fleet.trial_s", "must be 5 to 600"),
            ((5.0..=3600.0).contains(&self.telemetry_s), "fleet.telemetry_s", "must be 5 to 3600"),
            (
                (100..=10_000_000).contains(&self.events_back_max),
                "fleet.events_back_max",
                "must be 100 to 10000000",
            ),
        ]
    }
}

/// When and how the system is updated.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// Hours in which updates are installed; empty: at any hour.
    pub window: String,
    /// IANA time zone of these hours; empty: this machine's.
    pub time_zone: String,
    /// Seconds that an updated system may take to work.
    pub prove_s: f64,
}

impl UpdateConfig {
    /// What of it cannot be: key and sentence.
    pub(super) fn impossible(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if let Err(what) = Maintenance::new(&self.window, "UTC") {
            found.push(("update.window", what));
        }
        if let Err(what) = Maintenance::new("", &self.time_zone) {
            found.push(("update.time_zone", what));
        }
        if !(10.0..=3600.0).contains(&self.prove_s) {
            found.push(("update.prove_s", "must be 10 to 3600".to_owned()));
        }
        found
    }
}

/// What the link to the network costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// It is paid by the byte.
    pub metered: bool,
    /// Most bytes a day while it is; 0: no limit.
    pub bytes_a_day_max: u64,
}

impl NetworkConfig {
    /// Most bytes a day, if there is a limit.
    pub fn budget(&self) -> Option<u64> {
        (self.metered && self.bytes_a_day_max > 0).then_some(self.bytes_a_day_max)
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// A level or a filter.
    pub level: String,
}
