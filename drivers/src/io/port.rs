//! A serial port that outputs write to: opened by a stable name, with a limit on every write.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use super::IoError;
use crate::holder::holders;
use crate::link::serial;

/// Longest that a write may take.
const WRITE_LIMIT: Duration = Duration::from_millis(800);
/// Where the system keeps stable names of serial ports.
const BY_ID: &str = "/dev/serial/by-id";

/// An open serial port.
pub(super) struct Port {
    path: String,
    stream: Mutex<SerialStream>,
    lost: AtomicBool,
}

impl Port {
    /// Opens `path`, 8 data bits, no parity, 1 stop bit.
    pub(super) fn open(path: &str, baud: u32) -> Result<Self, IoError> {
        if let Some((why, hint)) = serial::shared(path) {
            return Err(IoError::Unavailable { id: path.to_owned(), why, hint });
        }
        let stream = tokio_serial::new(path, baud).timeout(WRITE_LIMIT).open_native_async();
        let stream = stream.map_err(|error| unavailable(path, &error))?;
        Ok(Self { path: path.to_owned(), stream: Mutex::new(stream), lost: AtomicBool::new(false) })
    }

    /// Hands all of `bytes` over.
    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), IoError> {
        let written = timeout(WRITE_LIMIT, async { self.stream.lock().await.write_all(bytes).await }).await;
        let why = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it takes nothing within {WRITE_LIMIT:?}"),
        };
        self.lost.store(true, Ordering::Relaxed);
        Err(IoError::Lost { id: self.path.clone(), why })
    }

    /// A write failed.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

fn unavailable(path: &str, error: &tokio_serial::Error) -> IoError {
    let hint = match error.kind() {
        tokio_serial::ErrorKind::Io(ErrorKind::PermissionDenied) => permission(path),
        tokio_serial::ErrorKind::NoDevice | tokio_serial::ErrorKind::Io(ErrorKind::NotFound)
            if !Path::new(path).exists() =>
        {
            "plug it in, and see what is there: ls -l /dev/serial/by-id".to_owned()
        }
        _ => match holders(Path::new(path)).as_slice() {
            [] => "another section of the configuration may use it; else unplug it and plug it in again"
                .to_owned(),
            others => format!("held by {}: end that program", others.join(", ")),
        },
    };
    IoError::Unavailable { id: path.to_owned(), why: error.to_string(), hint }
}

fn permission(path: &str) -> String {
    format!(
        "the service's user may not use it: put the user into the group of the node (ls -lL {path}), usually \
         dialout, and restart the service"
    )
}

/// Refuses names that change from one plugging in to the next.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if serial::is_numbered(path) {
        return Err(format!(
            "port = \"{path}\" is another device after the next start; use its name below {BY_ID} or \
             /dev/serial/by-path"
        ));
    }
    if !path.starts_with('/') {
        return Err(format!("port = \"{path}\" must be a path, for example one below {BY_ID}"));
    }
    Ok(())
}

/// Serial ports whose chip, maker or product is called like one of `chips`.
pub(super) fn likely(chips: &[&str]) -> Vec<serial::Port> {
    let is_likely = |port: &serial::Port| {
        let words = [&port.path, &port.usb, &port.product];
        chips.iter().any(|chip| words.iter().any(|word| word.contains(chip)))
    };
    serial::ports().into_iter().filter(is_likely).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_changes_is_refused_with_one_that_stays() {
        assert!(check_path("/dev/ttyUSB0").unwrap_err().contains("/dev/serial/by-id"));
        assert!(check_path("COM3").is_err());
        check_path("/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0").unwrap();
        check_path("/dev/ttyS0").unwrap();
    }

    #[tokio::test]
    async fn a_port_that_is_not_there_says_what_to_do() {
        let error = Port::open("/dev/serial/by-id/usb-none", 9600).err().unwrap().to_string();
        assert!(error.contains("usb-none") && error.contains("plug it in"), "{error}");
    }
}
