//! The virtual camera of libgphoto2: a PTP camera within the library's USB port, behind the real library and our helper.
//!
//! It pictures whatever lies in its folder, which can be exchanged between shots, so that the object is seen to turn. It
//! is a Nikon D750 with a serial number, shutter, aperture and battery. What it does not model: brackets of a pair, ISO,
//! and the time of a shutter. Its card is full after [`PICTURES_MAX`] shots of one connection.
//!
//! Faults: [`VirtualCamera::stall`] makes the library hang in a read, [`VirtualCamera::kill`] ends the helper, as
//! unplugging does, and [`VirtualCamera::unplug`] lets nothing be found until [`VirtualCamera::plug`].

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Shots of one connection, after which its card is full. The next connection has an empty one.
pub const PICTURES_MAX: usize = 26;
/// The camera reads the size of its picture once: every other picture is filled up to it.
const FILE_BYTES: usize = 1_500_000;
/// What it calls itself.
pub const MODEL: &str = "Nikon DSC D750";
/// Its serial number.
pub const SERIAL: &str = "0.1";
const PICTURE: &str = "picture.jpg";

/// A camera in a folder of its own.
pub struct VirtualCamera {
    folder: TempDir,
}

impl VirtualCamera {
    /// A camera that pictures this JPEG. `Err` says what is missing on this machine.
    pub fn new(jpeg: &[u8]) -> Result<VirtualCamera, String> {
        let (helper, library) = (helper()?, library()?);
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let camera = VirtualCamera { folder };
        camera.prepare(&helper, &library, jpeg).map_err(|e| e.to_string())?;
        Ok(camera)
    }

    fn prepare(&self, helper: &Path, library: &Path, jpeg: &[u8]) -> std::io::Result<()> {
        fs::create_dir(self.path("card"))?;
        fs::create_dir(self.path("unplugged"))?;
        self.plug()?;
        // The helper takes its port's library from the environment, so each camera has a starter of its own. A library
        // without a single driver finds no camera.
        let script = format!(
            "#!/bin/sh\ncd '{here}'\necho $$ >process\n[ -e plugged ] || export CAMLIBS='{here}/unplugged'\n\
             export IOLIBS='{library}' VCAMERADIR='{here}/card'\nexec '{helper}'\n",
            here = self.folder.path().display(),
            library = library.display(),
            helper = helper.display(),
        );
        fs::write(self.helper(), script)?;
        fs::set_permissions(self.helper(), fs::Permissions::from_mode(0o755))?;
        self.show(jpeg)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// For the key `helper`.
    pub fn helper(&self) -> PathBuf {
        self.path("turnstage-tether")
    }

    /// What it serves for this JPEG, byte for byte: filled up with comments, so that each file has one length.
    pub fn filled(jpeg: &[u8]) -> Vec<u8> {
        const SEGMENT: usize = 65_000;
        let mut file = jpeg.get(..2).unwrap_or_default().to_vec();
        let mut left = FILE_BYTES.saturating_sub(jpeg.len());
        while left > 4 {
            // No rest may be too short for the head of a comment.
            let bytes = if left > SEGMENT + 4 { SEGMENT } else { left };
            let length = u16::try_from(bytes - 2).unwrap_or(u16::MAX).to_be_bytes();
            file.extend([0xff, 0xfe, length[0], length[1]]);
            file.resize(file.len() + bytes - 4, b' ');
            left -= bytes;
        }
        file.extend_from_slice(jpeg.get(2..).unwrap_or_default());
        file
    }

    /// Exchanges what it pictures, from the next fetch on.
    pub fn show(&self, jpeg: &[u8]) -> std::io::Result<()> {
        fs::write(self.path("new"), Self::filled(jpeg))?;
        fs::rename(self.path("new"), self.path("card").join(PICTURE))
    }

    /// From the next read of its picture on, the library hangs, until [`Self::show`].
    pub fn stall(&self) -> std::io::Result<()> {
        mknodat(CWD, self.path("new"), FileType::Fifo, 0o600.into(), 0)?;
        fs::rename(self.path("new"), self.path("card").join(PICTURE))
    }

    /// Takes every picture away: nothing that it could expose.
    pub fn empty(&self) -> std::io::Result<()> {
        fs::remove_file(self.path("card").join(PICTURE))
    }

    /// True while it stalls.
    pub fn is_stalled(&self) -> bool {
        fs::metadata(self.path("card").join(PICTURE)).is_ok_and(|picture| picture.file_type().is_fifo())
    }

    /// The process that holds it, if one was started.
    pub fn process(&self) -> Option<i32> {
        fs::read_to_string(self.path("process")).ok()?.trim().parse().ok()
    }

    /// Ends the process that holds it, as a cable that is pulled out ends a connection.
    pub fn kill(&self) -> bool {
        let process = self.process().and_then(Pid::from_raw);
        process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok())
    }

    /// Lets nothing be found by whoever looks next.
    pub fn unplug(&self) -> std::io::Result<()> {
        fs::remove_file(self.path("plugged"))
    }

    /// Lets it be found again.
    pub fn plug(&self) -> std::io::Result<()> {
        fs::write(self.path("plugged"), "")
    }
}

/// The helper, as `./dev tether` builds it.
fn helper() -> Result<PathBuf, String> {
    let built = target().join("tether/release/turnstage-tether");
    found(
        std::env::var_os("TURNSTAGE_TETHER").map_or(built, PathBuf::from),
        "the helper process, ./dev tether",
    )
}

/// The virtual camera, as `./dev tether` fetches it.
fn library() -> Result<PathBuf, String> {
    found(target().join("lab/gphoto2/gphoto2/libgphoto2/vusb"), "libgphoto2's virtual camera, ./dev tether")
}

fn found(path: PathBuf, what: &str) -> Result<PathBuf, String> {
    if path.exists() { Ok(path) } else { Err(format!("no {what}: {} is not there", path.display())) }
}

fn target() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), Path::to_owned).join("target")
}
