//! The USB device behind a port as libgphoto2 writes it: its lasting path, its serial number, who may open it, and its
//! reset.
#![allow(unsafe_code, reason = "the request that resets a device has no safe form")]

use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, ioctl, opcode};

use crate::holder;

/// `USBDEVFS_RESET` of the kernel's `linux/usbdevice_fs.h`.
const RESET: Opcode = opcode::none(b'U', 20);
/// Class of the interface that a camera has for pictures (PTP).
const STILL_IMAGE: &str = "06";

/// A plugged-in device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsbDevice {
    /// The sockets on the way to it, as `1-2.3`: the same each time that it is plugged in there.
    pub path: String,
    /// Serial number, where it tells one without being opened.
    pub serial: Option<String>,
    /// It has an interface for pictures. A hub or a disk at the number of a camera that was pulled out has none.
    still_image: bool,
    node: PathBuf,
}

impl UsbDevice {
    /// The device behind `usb:BUS,DEVICE`, if it is there.
    pub fn behind(port: &str) -> Option<UsbDevice> {
        Self::below(Path::new("/sys/bus/usb/devices"), port)
    }

    fn below(devices: &Path, port: &str) -> Option<UsbDevice> {
        let (bus, device) = port.strip_prefix("usb:")?.split_once(',')?;
        let (bus, device): (u32, u32) = (bus.parse().ok()?, device.parse().ok()?);
        let told = |folder: &Path, file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let number = |folder: &Path, file: &str| told(folder, file)?.parse::<u32>().ok();
        let folder = std::fs::read_dir(devices).ok()?.flatten().map(|entry| entry.path()).find(|folder| {
            number(folder, "busnum") == Some(bus) && number(folder, "devnum") == Some(device)
        })?;
        Some(UsbDevice {
            path: folder.file_name()?.to_str()?.to_owned(),
            serial: told(&folder, "serial"),
            still_image: std::fs::read_dir(&folder)
                .ok()?
                .flatten()
                .any(|part| told(&part.path(), "bInterfaceClass").as_deref() == Some(STILL_IMAGE)),
            node: PathBuf::from(format!("/dev/bus/usb/{bus:03}/{device:03}")),
        })
    }

    /// What is missing, if the system does not let us open it.
    pub fn forbidden(&self) -> Option<String> {
        let access = rustix::fs::access(&self.node, Access::READ_OK | Access::WRITE_OK);
        (access == Err(Errno::ACCESS)).then(|| self.permission())
    }

    fn permission(&self) -> String {
        format!(
            "{} may not be opened: install 70-turnstage.rules into /usr/lib/udev/rules.d, put the user of the station \
             into the group plugdev, and plug the camera in again",
            self.node.display()
        )
    }

    /// Has the kernel begin anew with the device, as if it had just been plugged in, whatever it was in the middle of.
    /// Takes up to some seconds; nobody may hold the camera. An error says in words what hinders.
    pub fn reset(&self) -> Result<(), String> {
        let opened = rustix::fs::open(&self.node, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let node = opened.map_err(|error| match error {
            Errno::ACCESS | Errno::PERM => self.permission(),
            other => format!("{} cannot be opened: {other}", self.node.display()),
        })?;
        // SAFETY: this request takes no argument, so that the kernel writes nothing of ours.
        let done = unsafe { ioctl(&node, NoArg::<RESET>::new()) };
        done.map_err(|error| format!("{} cannot be reset: {error}", self.node.display()))
    }

    /// The programs that hold it.
    pub fn holders(&self) -> Vec<String> {
        holder::holders(&self.node)
    }
}

/// Resets the camera behind a port; `None` if no camera is there any more, or none on USB.
///
/// The number in a port is another one each time that the camera is plugged in.
pub(super) fn reset(port: &str) -> Option<Result<(), String>> {
    UsbDevice::behind(port).filter(|device| device.still_image).map(|device| device.reset())
}

/// Who holds a camera, and what a person does about it.
pub(super) fn held_by(device: Option<&UsbDevice>) -> String {
    let holders = device.map(UsbDevice::holders).unwrap_or_default();
    let who = match holders.as_slice() {
        [] => "another program, often the desktop's camera mount (gvfs-gphoto2)".to_owned(),
        some => some.join(", "),
    };
    let desktop = holders.is_empty() || holders.iter().any(|name| name.contains("gvfs"));
    let what = if desktop {
        "unmount the camera there and end it with: systemctl --user mask --now gvfs-gphoto2-volume-monitor"
    } else {
        "end that program"
    };
    format!("{who}; {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugged(folder: &Path, path: &str, bus: u32, device: u32, serial: Option<&str>) {
        let folder = folder.join(path);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("busnum"), format!("{bus}\n")).unwrap();
        std::fs::write(folder.join("devnum"), format!("{device}\n")).unwrap();
        if let Some(serial) = serial {
            std::fs::write(folder.join("serial"), format!("{serial}\n")).unwrap();
        }
    }

    #[test]
    fn a_camera_keeps_its_path_when_its_number_changes() {
        let folder = tempfile::tempdir().unwrap();
        plugged(folder.path(), "usb1", 1, 1, None);
        plugged(folder.path(), "1-2.3", 1, 14, Some("6012345"));
        let found = UsbDevice::below(folder.path(), "usb:001,014").unwrap();
        assert_eq!((found.path.as_str(), found.serial.as_deref()), ("1-2.3", Some("6012345")));
        assert!(!found.still_image, "nothing says that it is a camera, so it is not reset");
        let interface = folder.path().join("1-2.3/1-2.3:1.0");
        std::fs::create_dir(&interface).unwrap();
        for (class, camera) in [("09\n", false), ("08\n", false), ("06\n", true)] {
            std::fs::write(interface.join("bInterfaceClass"), class).unwrap();
            let found = UsbDevice::below(folder.path(), "usb:001,014").unwrap();
            assert_eq!(found.still_image, camera, "{class}");
        }
        assert_eq!(UsbDevice::below(folder.path(), "usb:001,015"), None);
        assert_eq!(UsbDevice::below(folder.path(), "ptpip:192.168.1.2"), None);
    }

    #[test]
    fn a_reset_that_fails_says_at_which_node_and_why() {
        let at = |node: &Path| {
            let (path, node) = ("1-2.3".to_owned(), node.to_owned());
            UsbDevice { path, serial: None, still_image: true, node }.reset().unwrap_err()
        };
        let told = at(Path::new("/dev/bus/usb/900/014"));
        assert!(told.starts_with("/dev/bus/usb/900/014 cannot be opened: No such file"), "{told}");
        // What a kernel says of the request at anything that is no USB device.
        let told = at(Path::new("/dev/null"));
        assert!(told.starts_with("/dev/null cannot be reset: Inappropriate ioctl"), "{told}");
        let node = tempfile::NamedTempFile::new().unwrap();
        let device =
            UsbDevice { path: String::new(), serial: None, still_image: true, node: node.path().into() };
        assert!(device.permission().contains("install 70-turnstage.rules"), "{}", device.permission());
        assert_eq!(reset("usb:900,014"), None, "nothing is there");
    }

    #[test]
    fn a_held_camera_is_told_with_what_to_do() {
        assert!(held_by(None).contains("gvfs"), "{}", held_by(None));
    }
}
