//! Video4Linux cameras that are not there: a folder that the library of `fake-v4l2` takes for `/dev` and `/sys`.
//!
//! A program that is started with [`Cameras::environment`] finds them as real ones, whatever it is. [`on_cameras`] runs
//! a test so, in a process of its own. What a camera is and what goes wrong with it stands in its plan, one word and its
//! value a line:
//!
//! | word | meaning |
//! |---|---|
//! | `card NAME`, `formats MJPG YUYV`, `size 640x480`, `fps 30` | what it offers; `size` may stand more than once |
//! | `stamp start`, `end`, `none`, `future` | how frames are stamped |
//! | `latency 2`, `metered 157`, `white 4650` | frames until a control shows; what automatic exposure comes to, in 100 us, and automatic white balance, in kelvin |
//! | `no-controls`, `unknown-type`, `ignores Gain` | none at all; one of a type nobody knows; one that stays as it is |
//! | `answer 320x240` | the size it sets, whatever is asked |
//! | `refuse REQUEST ERROR [times]` | `open`, `format`, `control`, `buffers`, `free`, `queue`, `dequeue`, `streamon`, `streamoff`, `close` fail with `EACCES`, `EBUSY`, `EINVAL`, `EIO`, `ENODEV`, `ENOSPC` |
//! | `fault KIND N` | with the n-th frame of the program's life: `stall`, `gone`, `lose`; with that and the next three: `flagged`, `short`, `corrupt`, `empty`, `overlong`, `index` |
//! | `chaos SEED` | every answer about a frame may be wrong |

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use turnstage_drivers::camera::{ExposeRequest, Variant};
use turnstage_drivers::frame::FrameData;
use turnstage_drivers::sim::{Booth, BoothOptions};
use turnstage_drivers::{DeviceOptions, Surroundings};

const FOLDER: &str = "TURNSTAGE_FAKE_V4L2";

/// Cameras in a folder.
#[derive(Debug, Clone)]
pub struct Cameras {
    folder: PathBuf,
}

impl Cameras {
    /// None yet, in an empty folder.
    pub fn in_folder(folder: &Path) -> Cameras {
        let of_cameras =
            ["dev/v4l/by-id", "sys/class/video4linux", "nodes", "cameras", "bus", "now", "pictures", "log"];
        let of_contacts = ["dev/input/by-id", "keyboards", "chips"];
        for name in of_cameras.iter().chain(&of_contacts) {
            std::fs::create_dir_all(folder.join(name)).expect("a folder for cameras");
        }
        Cameras { folder: folder.to_owned() }
    }

    /// Describes a camera (anew, for the time after it was unplugged) for the USB port `port`, `1-2.3`; it is plugged in by [`Self::plug`].
    pub fn add(&self, name: &str, port: &str, serial: &str, plan: &str) {
        self.write(&format!("cameras/{name}"), plan.as_bytes());
        self.write(&format!("bus/{name}"), format!("{port} {serial}").as_bytes());
    }

    /// Plugs a camera in: its pictures come from `/dev/videoN`, and the next number describes them only.
    pub fn plug(&self, name: &str, number: u32) {
        let bus =
            std::fs::read_to_string(self.folder.join("bus").join(name)).expect("a camera that was added");
        let (port, serial) = bus.split_once(' ').expect("port and serial");
        let usb = format!("sys/devices/usb1/{port}");
        let hub = self.folder.join(&usb);
        std::fs::create_dir_all(&hub).expect("a USB device");
        let told = [("idVendor", "046d"), ("idProduct", "082d"), ("bcdDevice", "0011"), ("serial", serial)];
        told.iter()
            .for_each(|(file, text)| self.write(&format!("{usb}/{file}"), format!("{text}\n").as_bytes()));
        for index in 0..2 {
            let node = format!("video{}", number + index);
            let place = format!("{usb}/{port}:1.0/video4linux/{node}");
            std::fs::create_dir_all(self.folder.join(&place)).expect("a node in sysfs");
            self.write(&format!("{place}/name"), format!("Fake {name}\n").as_bytes());
            self.write(&format!("{place}/index"), format!("{index}\n").as_bytes());
            let class = self.folder.join("sys/class/video4linux").join(&node);
            symlink(Path::new("../../..").join(&place), class).expect("the class's link");
            self.write(&format!("dev/{node}"), b"");
            let id = self.folder.join(format!("dev/v4l/by-id/usb-fake_{name}-video-index{index}"));
            std::fs::remove_file(&id).unwrap_or_default();
            symlink(Path::new("../..").join(&node), id).expect("a stable link");
            self.write(&format!("nodes/{node}"), format!("{name} {index}").as_bytes());
        }
    }

    /// Pulls a camera's plug.
    pub fn unplug(&self, name: &str) {
        for node in std::fs::read_dir(self.folder.join("nodes")).expect("the nodes").flatten() {
            let told = std::fs::read_to_string(node.path()).unwrap_or_default();
            if told.split_once(' ').is_some_and(|(of, _)| of == name) {
                for of in ["nodes", "sys/class/video4linux", "dev"] {
                    std::fs::remove_file(self.folder.join(of).join(node.file_name())).unwrap_or_default();
                }
            }
        }
    }

    /// What stands before a camera from now on, as a JPEG. Frames get a comment that tells which they are.
    pub fn show(&self, name: &str, jpeg: &[u8]) {
        self.write(&format!("now/{name}.new"), jpeg);
        let path = |end: &str| self.folder.join(format!("now/{name}.{end}"));
        std::fs::rename(path("new"), path("jpg")).expect("a picture in one step");
    }

    /// What a camera was told and did, oldest first.
    pub fn log(&self, name: &str) -> Vec<String> {
        match std::fs::read_to_string(self.folder.join("log").join(name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            text => text.expect("a readable log").lines().map(str::to_owned).collect(),
        }
    }

    /// The file behind a node, for whoever wants to hold it open.
    pub fn node(&self, number: u32) -> PathBuf {
        self.folder.join(format!("dev/video{number}"))
    }

    /// What a program must be started with to find these cameras.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", library().into_os_string()), (FOLDER, self.folder.clone().into_os_string())]
    }

    /// Where keyboards and lines are found, too.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn write(&self, below: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(below), bytes).expect("a file of a fake camera");
    }
}

/// The library, built as it is now.
pub fn library() -> PathBuf {
    let program = std::env::current_exe().expect("this program's path");
    let target = program.ancestors().nth(3).expect("the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "turnstage-fake-v4l2", "--target-dir"]).arg(target);
    // What cargo told this program about its package would make it build others anew.
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars().filter(|(name, _)| told(name)).for_each(|(name, _)| {
        cargo.env_remove(name);
    });
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success(), "the library of fake cameras does not build");
    target.join("debug/libturnstage_fake_v4l2.so")
}

/// Runs the rest of the test `name` in a process that has the cameras which `prepare` adds. Called in that process, it
/// runs `body`.
pub fn on_cameras(name: &str, prepare: impl FnOnce(&Cameras), body: impl AsyncFnOnce(Cameras)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        return runtime.block_on(body(Cameras { folder: folder.into() }));
    }
    let unique = format!("turnstage-{}-{}", name.replace("::", "-"), std::process::id());
    let folder = std::env::temp_dir().join(unique);
    let _gone_at_the_end = Folder(folder.clone());
    let cameras = Cameras::in_folder(&folder);
    prepare(&cameras);
    let program = std::env::current_exe().expect("this program's path");
    let mut child = Command::new(program);
    child.args([name, "--exact", "--nocapture"]).envs(cameras.environment()).stdin(Stdio::null());
    let output = child.output().expect("the test runs in a process of its own");
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("1 passed") || !output.status.success(), "no test of this name: {told}");
    assert!(output.status.success(), "{}:\n{told}", output.status);
    // What is skipped must be seen.
    println!("{told}");
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// A picture of the simulated booth, as a JPEG.
pub async fn picture(size: (u32, u32)) -> Vec<u8> {
    let booth = Booth::new(BoothOptions::default()).expect("a booth");
    let around = Surroundings { booth: Some(booth), ..Surroundings::default() };
    let mut options = DeviceOptions::new("sim");
    let sides = [size.0, size.1].map(|side| toml::Value::from(i64::from(side)));
    options.keys.insert("size".to_owned(), sides.to_vec().into());
    let mut camera =
        turnstage_drivers::camera::open("main", &options, &around).await.expect("a simulated camera");
    let now = tokio::time::Instant::now();
    let deadline = now + std::time::Duration::from_secs(60);
    let request = ExposeRequest { not_before: now, deadline, variant: Variant::default() };
    let exposed = camera.expose(&request).await.expect("an exposure");
    match camera.fetch(exposed).await.expect("a picture").frames.remove(0).data {
        FrameData::Encoded { bytes, .. } => bytes.to_vec(),
        FrameData::Pixels { .. } => Vec::new(),
    }
}
