//! RealSense cameras that are plugged in, as the system sees them: also those that no library may open.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Where the kernel lists what is plugged in.
pub(super) const DEVICES: &str = "/sys/bus/usb/devices";
/// Intel's, which the cameras keep.
const VENDOR: &str = "8086";

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugged {
    /// Where it is plugged in, such as `2-1.4`.
    pub(super) port: String,
    /// What it calls itself.
    pub(super) product: String,
    /// What a program opens to talk to it.
    pub(super) node: PathBuf,
}

impl Plugged {
    pub(super) fn may_be_opened(&self) -> bool {
        access(&self.node, Access::READ_OK | Access::WRITE_OK).is_ok()
    }
}

/// Every camera in a folder like [`DEVICES`], in order of the ports.
pub(super) fn plugged(devices: &Path) -> Vec<Plugged> {
    let folders = std::fs::read_dir(devices).into_iter().flatten().flatten();
    let mut found: Vec<_> = folders.filter_map(|entry| camera(&entry.path())).collect();
    found.sort_by(|a, b| a.port.cmp(&b.port));
    found
}

fn camera(folder: &Path) -> Option<Plugged> {
    let told = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    let product = told("product")?;
    if told("idVendor")? != VENDOR || !product.contains("RealSense") {
        return None;
    }
    let number = |name: &str| told(name)?.parse::<u16>().ok();
    let node = format!("/dev/bus/usb/{:03}/{:03}", number("busnum")?, number("devnum")?);
    let port = folder.file_name()?.to_string_lossy().into_owned();
    Some(Plugged { port, product, node: PathBuf::from(node) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_told_from_other_devices_of_the_same_maker() {
        let devices = tempfile::tempdir().unwrap();
        let plug = |port: &str, files: &[(&str, &str)]| {
            std::fs::create_dir(devices.path().join(port)).unwrap();
            for (name, text) in files {
                std::fs::write(devices.path().join(port).join(name), format!("{text}\n")).unwrap();
            }
        };
        let camera = "Intel(R) RealSense(TM) Depth Camera 435 ";
        let at = [("busnum", "2"), ("devnum", "14")];
        plug("2-1.4", &[("idVendor", "8086"), ("product", camera), at[0], at[1]]);
        plug("1-2", &[("idVendor", "8086"), ("product", "Bluetooth"), at[0], at[1]]);
        plug("1-3", &[("idVendor", "1234"), ("product", camera), at[0], at[1]]);
        plug("1-4", &[("idVendor", "8086"), ("product", camera), ("busnum", "x"), at[1]]);
        plug("1-4:1.0", &[]);
        let found = plugged(devices.path());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].port.as_str(), found[0].product.as_str()), ("2-1.4", camera.trim()));
        assert_eq!(found[0].node, Path::new("/dev/bus/usb/002/014"));
        assert!(!found[0].may_be_opened(), "it is not there");
    }

    #[test]
    fn a_machine_without_usb_has_no_cameras() {
        assert_eq!(plugged(Path::new("/nowhere")), []);
    }
}
