//! A table behind a serial port, and the serial ports that there are.
//!
//! What the library leaves to its user: a hang-up reads as 0 bytes for ever; its timeouts are ignored; its `flush`
//! blocks the thread, so it is never called and the output queue is watched instead; the number of a port changes
//! after a replug, so the stable path is resolved anew at each opening.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Access, access};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt, SerialStream};

use super::{Link, LinkError};
use crate::holder::holders;

const PIECE_BYTES: usize = 1024;
/// How often the output queue is looked at until it is empty.
const DRAIN_LOOK: Duration = Duration::from_millis(2);
/// Names that follow an adapter to another socket, and names of the sockets.
const BY_ID: &str = "serial/by-id";
const BY_PATH: &str = "serial/by-path";

/// An open port, held exclusively.
#[derive(Debug)]
pub struct Serial {
    stream: SerialStream,
    path: String,
    /// Bytes wait that the device has not taken.
    unsent: bool,
}

impl Drop for Serial {
    fn drop(&mut self) {
        // The kernel would wait half a minute for a device that takes nothing, and this thread with it.
        if self.unsent {
            drop(self.stream.clear(ClearBuffer::All));
        }
    }
}

/// An absolute path as it is, or what is wrong with it.
pub(super) fn absolute(path: String) -> Result<String, String> {
    match path.starts_with('/') {
        true => Ok(path),
        false => Err(format!("serial = \"{path}\" must begin with /, best with /dev/serial/by-id/")),
    }
}

/// Whether a path is a number that another adapter may get next time.
pub(crate) fn is_numbered(path: &str) -> bool {
    path.starts_with("/dev/ttyUSB") || path.starts_with("/dev/ttyACM")
}

impl Serial {
    /// Opens the port that `path` names now, 8 data bits, no parity, no flow control.
    ///
    /// Opening raises DTR, which resets boards of the Arduino kind; `dtr = false` clears it and RTS afterwards. What
    /// arrives within `settle` is thrown away.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`] says whether it is not there, not for us, held by whom, or one of several of its name.
    pub async fn open(path: &str, baud: u32, dtr: bool, settle: Duration) -> Result<Self, LinkError> {
        let unavailable =
            |why: String, hint: String| LinkError::Unavailable { link: path.to_owned(), why, hint };
        let node = Path::new(path).canonicalize().map_err(|error| {
            let hint = "plug it in and switch it on; `turnstage devices` lists the ports that are there";
            unavailable(format!("not there: {error}"), hint.to_owned())
        })?;
        if let Some((why, hint)) = forbidden(&node) {
            return Err(unavailable(why, hint));
        }
        if let Some((why, hint)) = shared(path) {
            return Err(unavailable(why, hint));
        }
        let builder = tokio_serial::new(node.to_string_lossy(), baud);
        let stream = builder.open_native_async().map_err(|error| match busy(&node) {
            Some((why, hint)) => unavailable(why, hint),
            None => unavailable(error.to_string(), "unplug it and plug it in again".to_owned()),
        })?;
        let mut port = Self { stream, path: path.to_owned(), unsent: false };
        if !dtr {
            // A pseudo-terminal has no such lines.
            drop(port.stream.write_data_terminal_ready(false));
            drop(port.stream.write_request_to_send(false));
        }
        port.settle(settle).await?;
        Ok(port)
    }

    async fn settle(&mut self, settle: Duration) -> Result<(), LinkError> {
        let end = Instant::now() + settle;
        let mut noise = Vec::new();
        while Instant::now() < end {
            match self.receive(&mut noise, end.saturating_duration_since(Instant::now())).await {
                Ok(_) => noise.clear(),
                Err(LinkError::Silent { .. }) => break,
                Err(lost) => return Err(lost),
            }
        }
        self.stream.clear(ClearBuffer::Input).map_err(|error| self.lost(error.into()))
    }

    fn lost(&self, cause: io::Error) -> LinkError {
        LinkError::Lost { link: self.path.clone(), cause }
    }

    async fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent = true;
        self.stream.write_all(bytes).await?;
        while self.stream.bytes_to_write()? > 0 {
            sleep(DRAIN_LOOK).await;
        }
        self.unsent = false;
        Ok(())
    }
}

#[async_trait]
impl Link for Serial {
    async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), LinkError> {
        match timeout(limit, self.hand_over(bytes)).await {
            Ok(written) => written.map_err(|cause| self.lost(cause)),
            // Half a command may be on its way; another one must not be put behind it.
            Err(_) => Err(self.lost(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let mut piece = [0; PIECE_BYTES];
        match timeout(limit, self.stream.read(&mut piece)).await {
            Ok(Ok(0)) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(count)) => {
                into.extend_from_slice(&piece[..count]);
                Ok(count)
            }
            Ok(Err(cause)) => Err(self.lost(cause)),
            Err(_) => Err(LinkError::Silent { link: self.path.clone(), limit }),
        }
    }

    fn name(&self) -> &str {
        &self.path
    }
}

/// Why we may not open `node`, with what to do about it.
fn forbidden(node: &Path) -> Option<(String, String)> {
    access(node, Access::READ_OK | Access::WRITE_OK).err()?;
    Some((format!("no permission for {}", node.display()), permission(node, group_of(node).as_deref())))
}

/// What lets the station use a node that belongs to this group: adapters come into `dialout` by the system's own rules.
fn permission(node: &Path, group: Option<&str>) -> String {
    match group {
        None | Some("root") => {
            let name = node.file_name().unwrap_or_default().to_string_lossy();
            let kernel = name.trim_end_matches(|c: char| c.is_ascii_digit());
            format!(
                "no group may use it: give it one by a rule of your own beside 70-turnstage.rules, \
                 SUBSYSTEM==\"tty\", KERNEL==\"{kernel}*\", GROUP=\"dialout\", MODE=\"0660\", and plug it in again"
            )
        }
        Some(group) => format!(
            "add the station's user to the group {group}: usermod -aG {group} turnstage, and restart the service"
        ),
    }
}

/// Who holds `node`, with what to do about it.
fn busy(node: &Path) -> Option<(String, String)> {
    let by = holders(node);
    let hint = "end that program; ModemManager is kept away by 70-turnstage.rules";
    (!by.is_empty()).then(|| (format!("held by {}", by.join(", ")), hint.to_owned()))
}

fn group_of(node: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let gid = node.metadata().ok()?.gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some(&gid))?;
    line.split(':').next().map(str::to_owned)
}

/// A serial port on USB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// A name that lasts: below `/dev/serial/by-id`, or below `/dev/serial/by-path` where that name is another's too. The
    /// port's own number, where it has no such name.
    pub path: String,
    /// `1a86:7523`: maker and product in hexadecimal.
    pub usb: String,
    /// What the adapter calls itself.
    pub product: String,
    /// Serial number, of adapters that have one.
    pub serial: Option<String>,
    /// Why it cannot be opened, with what to do about it.
    pub problem: Option<String>,
}

/// Serial ports on USB that are there now, in the order of their paths. Opens none of them.
pub fn ports() -> Vec<Port> {
    ports_in(Path::new("/sys"), Path::new("/dev"))
}

fn ports_in(sys: &Path, dev: &Path) -> Vec<Port> {
    let plugged = plugged(sys, dev);
    let names = |folder: &str| -> Vec<(PathBuf, PathBuf)> {
        entries(&dev.join(folder)).filter_map(|link| Some((link.canonicalize().ok()?, link))).collect()
    };
    let (by_id, by_path) = (names(BY_ID), names(BY_PATH));
    let mut found: Vec<Port> = plugged
        .iter()
        .map(|this| {
            let named = |names: &[(PathBuf, PathBuf)]| {
                names.iter().find(|(at, _)| *at == this.node).map(|(_, link)| link.clone())
            };
            let twins = plugged.iter().filter(|other| other.marks == this.marks).count() > 1;
            let lasting = if twins { named(&by_path) } else { named(&by_id).or_else(|| named(&by_path)) };
            let path = lasting.unwrap_or_else(|| this.node.clone());
            let trouble = forbidden(&this.node).or_else(|| busy(&this.node));
            Port {
                path: path.to_string_lossy().into_owned(),
                usb: this.marks.usb.clone(),
                product: this.marks.product.clone().unwrap_or_else(|| "serial adapter".to_owned()),
                serial: this.marks.serial.clone(),
                problem: trouble.map(|(why, hint)| format!("{why} ({hint})")),
            }
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A port on USB and what its name below `/dev/serial/by-id` is made of.
struct Plugged {
    node: PathBuf,
    marks: Marks,
}

#[derive(PartialEq, Eq)]
struct Marks {
    usb: String,
    maker: Option<String>,
    product: Option<String>,
    serial: Option<String>,
    /// Number of the interface, and of the port of an adapter with several.
    interface: Option<String>,
    port: Option<String>,
}

fn plugged(sys: &Path, dev: &Path) -> Vec<Plugged> {
    let of_tty = |tty: PathBuf| {
        let device = tty.join("device");
        let usb = above(&device, "idVendor")?;
        let interface = above(&device, "bInterfaceNumber");
        let marks = Marks {
            usb: format!("{}:{}", read(&usb, "idVendor")?, read(&usb, "idProduct")?),
            maker: read(&usb, "manufacturer"),
            product: read(&usb, "product"),
            serial: read(&usb, "serial"),
            interface: interface.and_then(|interface| read(&interface, "bInterfaceNumber")),
            port: read(&device, "port_number"),
        };
        Some(Plugged { node: dev.join(tty.file_name()?), marks })
    };
    entries(&sys.join("class/tty")).filter_map(of_tty).collect()
}

/// Why the name `path` may be another adapter's, with what to do about it.
pub(crate) fn shared(path: &str) -> Option<(String, String)> {
    let node = Path::new(path).canonicalize().ok()?;
    ambiguous(Path::new("/sys"), Path::new("/dev"), path, &node)
}

/// Why the name `path` does not say which of several adapters is meant, with what to do about it. Adapters without
/// serial numbers have the same name, and it points to the one that was plugged in last.
fn ambiguous(sys: &Path, dev: &Path, path: &str, node: &Path) -> Option<(String, String)> {
    Path::new(path).starts_with(dev.join(BY_ID)).then_some(())?;
    let plugged = plugged(sys, dev);
    let this = plugged.iter().find(|plugged| plugged.node == node)?;
    let same = plugged.iter().filter(|other| other.marks == this.marks);
    let nodes: Vec<String> = same.map(|other| other.node.display().to_string()).collect();
    let hint = "name its socket, below /dev/serial/by-path; `turnstage devices` lists them";
    (nodes.len() > 1).then(|| (format!("{} share this name", nodes.join(" and ")), hint.to_owned()))
}

/// The nearest folder above a port's own that has such a file: its interface, or its USB device.
fn above(device: &Path, file: &str) -> Option<PathBuf> {
    let device = device.canonicalize().ok()?;
    device.ancestors().find(|folder| folder.join(file).is_file()).map(Path::to_owned)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn read(folder: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(name)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
