//! What is installed: program, system, configuration and recipes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Sha256;

use crate::update::Slot;

use super::machine::line;

/// Versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Version of the program.
    pub turnstage: String,
    /// How it was built: `release x86_64`.
    pub build: String,
    /// Name and version of the operating system.
    pub os: Option<String>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Model of the board, where its firmware tells it.
    pub board: Option<String>,
    /// Version of the fleet's configuration that is in use; `None` where the fleet sent none.
    pub config_version: Option<u64>,
    /// Recipes by name, with the SHA-256 of their text.
    pub recipes: BTreeMap<String, Sha256>,
    /// The slots of a system that RAUC updates, as they were last seen.
    pub slots: Vec<SlotVersion>,
}

/// What is in a slot of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotVersion {
    /// `rootfs.0`.
    pub slot: String,
    /// `booted`, `active` or `inactive`.
    pub state: String,
    /// Version of the bundle that was installed there, as far as it is known.
    pub version: String,
}

impl From<&Slot> for SlotVersion {
    fn from(slot: &Slot) -> Self {
        Self { slot: slot.name.clone(), state: slot.state.clone(), version: slot.version.clone() }
    }
}

/// What the machine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    os: Option<String>,
    kernel: Option<String>,
    board: Option<String>,
}

impl System {
    /// Of the machine whose files lie below `root`.
    pub fn read(root: &Path) -> Self {
        let release = std::fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            os: name.map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()),
            kernel: line(&root.join("proc/sys/kernel/osrelease")),
            board: line(&root.join("proc/device-tree/model")),
        }
    }
}

impl Versions {
    /// Versions of this program on that system.
    pub fn of(system: System, recipes: BTreeMap<String, Sha256>, config_version: Option<u64>) -> Self {
        let System { os, kernel, board } = system;
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self {
            turnstage: env!("CARGO_PKG_VERSION").to_owned(),
            build: format!("{profile} {}", std::env::consts::ARCH),
            os,
            kernel,
            board,
            config_version,
            recipes,
            slots: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_named_as_it_names_itself_and_what_it_does_not_tell_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(System::read(root.path()), System::default());
        for (file, text) in [
            ("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            ("proc/sys/kernel/osrelease", "5.15.148-tegra\n"),
            ("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0"),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let versions = Versions::of(System::read(root.path()), BTreeMap::new(), Some(7));
        assert_eq!(versions.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(versions.kernel.as_deref(), Some("5.15.148-tegra"));
        assert_eq!(versions.board.as_deref(), Some("NVIDIA Jetson Orin Nano Developer Kit"));
    }
}
