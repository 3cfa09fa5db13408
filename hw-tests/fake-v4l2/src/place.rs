//! The folder: which path is meant instead of which, and which node belongs to which camera.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use libc::c_int;

use crate::camera::Camera;

/// What begins so is meant to be below the folder.
const OURS: [&str; 5] = ["/dev/video", "/dev/v4l", "/sys/class/video4linux", "/dev/input", "/dev/gpiochip"];

/// The folder, if there is one; found once, because programs change their environment.
pub fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os("TURNSTAGE_FAKE_V4L2").map(PathBuf::from)).as_deref()
}

/// The path below the folder that is meant, if this is one of ours.
pub fn instead(path: &Path) -> Option<PathBuf> {
    let text = path.to_str().filter(|text| OURS.iter().any(|ours| text.starts_with(ours)))?;
    Some(folder()?.join(text.trim_start_matches('/')))
}

/// A node of a camera.
#[derive(Clone)]
pub struct Node {
    /// `video0`.
    pub name: String,
    pub camera: Arc<Camera>,
    /// Gives pictures; the others describe them only.
    pub captures: bool,
}

impl Node {
    /// The error that a request is to fail with.
    pub fn refuses(&self, request: &str) -> Option<c_int> {
        self.camera.plan().refuses(request)
    }

    /// Its camera is plugged in.
    pub fn is_there(&self) -> bool {
        folder().is_some_and(|folder| folder.join("nodes").join(&self.name).exists())
    }
}

/// The node of a name, if a camera is plugged in there.
pub fn node(name: &str) -> Option<Node> {
    let told = std::fs::read_to_string(folder()?.join("nodes").join(name)).ok()?;
    let (camera, index) = told.trim().split_once(' ')?;
    Some(Node { name: name.to_owned(), camera: Camera::of(camera), captures: index == "0" })
}

/// Takes every node of a camera away, as a pulled plug does.
pub fn unplug(camera: &str) {
    let Some(folder) = folder() else { return };
    let nodes = std::fs::read_dir(folder.join("nodes")).into_iter().flatten().flatten();
    for node in nodes {
        let theirs = std::fs::read_to_string(node.path())
            .is_ok_and(|told| told.split_once(' ').is_some_and(|(name, _)| name == camera));
        if theirs {
            for of in ["nodes", "sys/class/video4linux", "dev"] {
                std::fs::remove_file(folder.join(of).join(node.file_name())).unwrap_or_default();
            }
        }
    }
}

/// Writes down what a camera was told, for tests to read.
pub fn note(camera: &str, line: &str) {
    let Some(folder) = folder() else { return };
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log").join(camera));
    // A test that took its folder away reads no log.
    if let Ok(mut log) = log {
        log.write_all(format!("{line}\n").as_bytes()).unwrap_or_default();
    }
}
