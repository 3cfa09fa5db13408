//! What an error number of the kernel means for a camera, and what a person does about it.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::camera::CameraError;
use crate::holder;

/// Numbers of a device that is gone or has died on the wire.
const GONE: [Errno; 6] = [Errno::NODEV, Errno::NXIO, Errno::IO, Errno::SHUTDOWN, Errno::PROTO, Errno::PIPE];

/// Whether the device is gone.
pub fn is_gone(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|number| GONE.contains(&number))
}

/// A node that could not be opened.
pub fn opening(id: &str, node: &Path, error: &io::Error) -> CameraError {
    let (id, path) = (id.to_owned(), node.display());
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => CameraError::Permission {
            id,
            hint: format!(
                "{path} may not be opened; add the station's user to the group \"video\", or give it a udev rule: \
                 SUBSYSTEM==\"video4linux\", GROUP=\"video\", MODE=\"0660\""
            ),
        },
        Some(Errno::BUSY) => busy(id, node),
        Some(Errno::NOENT) => {
            CameraError::NotPresent { id, hint: format!("{path} went away while it was opened") }
        }
        _ if is_gone(error) => {
            CameraError::NotPresent { id, hint: format!("{path}: {error}; look at cable and power") }
        }
        _ => CameraError::Unsupported { id, what: format!("{path} cannot be opened: {error}") },
    }
}

/// A request about its settings that failed; `doing` says which.
pub fn setting(id: &str, node: &Path, doing: &str, error: &io::Error) -> CameraError {
    let owner = id.to_owned();
    match Errno::from_io_error(error) {
        _ if is_gone(error) => CameraError::Disconnected { id: owner },
        Some(Errno::BUSY) => busy(owner, node),
        Some(Errno::NOSPC) => CameraError::Unsupported {
            id: owner,
            what: format!(
                "{doing}: its USB bus has no bandwidth left; set a lower fps or size, or put it on another bus than \
                 the other cameras"
            ),
        },
        _ => CameraError::Unsupported { id: owner, what: format!("{doing}: {error}") },
    }
}

/// A stream that failed: opened anew, it may well go on.
pub fn streaming(id: &str, error: &io::Error) -> CameraError {
    if is_gone(error) {
        return CameraError::Disconnected { id: id.to_owned() };
    }
    CameraError::Corrupt { id: id.to_owned(), what: format!("its stream broke ({error}) and is begun anew") }
}

fn busy(id: String, node: &Path) -> CameraError {
    let holders = holder::holders(node);
    let holder = if holders.is_empty() {
        format!("another program ({} does not tell which)", node.display())
    } else {
        holders.join(", ")
    };
    CameraError::Busy { id, holder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_says_what_a_person_does_next() {
        let node = Path::new("/dev/video0");
        let of = |number: Errno| io::Error::from(number);
        let told = |error: CameraError| error.to_string();
        assert!(told(opening("a", node, &of(Errno::ACCESS))).contains("group \"video\""));
        assert!(matches!(opening("a", node, &of(Errno::BUSY)), CameraError::Busy { .. }));
        assert!(matches!(opening("a", node, &of(Errno::NOENT)), CameraError::NotPresent { .. }));
        assert!(matches!(opening("a", node, &of(Errno::NODEV)), CameraError::NotPresent { .. }));
        assert!(matches!(opening("a", node, &of(Errno::INVAL)), CameraError::Unsupported { .. }));
        assert!(told(setting("a", node, "STREAMON", &of(Errno::NOSPC))).contains("lower fps or size"));
        assert!(matches!(setting("a", node, "x", &of(Errno::IO)), CameraError::Disconnected { .. }));
        assert!(matches!(streaming("a", &of(Errno::NODEV)), CameraError::Disconnected { .. }));
        assert!(streaming("a", &of(Errno::INVAL)).is_transient());
    }
}
