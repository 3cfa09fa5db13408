//! The USB device behind a port as libgphoto2 writes it: its lasting path, its serial number, and who may open it.

use std::path::{Path, PathBuf};

use crate::holder;

/// A plugged-in device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsbDevice {
    /// The sockets on the way to it, as `1-2.3`: the same each time that it is plugged in there.
    pub path: String,
    /// Serial number, where it tells one without being opened.
    pub serial: Option<String>,
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
            node: PathBuf::from(format!("/dev/bus/usb/{bus:03}/{device:03}")),
        })
    }

    /// What is missing, if the system does not let us open it.
    pub fn forbidden(&self) -> Option<String> {
        let access =
            rustix::fs::access(&self.node, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK);
        (access == Err(rustix::io::Errno::ACCESS)).then(|| {
            format!(
                "{} may not be opened: install 70-turnstage.rules into /usr/lib/udev/rules.d, put the user of the \
                 station into the group plugdev, and plug the camera in again",
                self.node.display()
            )
        })
    }

    /// The programs that hold it.
    pub fn holders(&self) -> Vec<String> {
        holder::holders(&self.node)
    }
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
        assert_eq!(UsbDevice::below(folder.path(), "usb:001,015"), None);
        assert_eq!(UsbDevice::below(folder.path(), "ptpip:192.168.1.2"), None);
    }

    #[test]
    fn a_held_camera_is_told_with_what_to_do() {
        assert!(held_by(None).contains("gvfs"), "{}", held_by(None));
    }
}
