//! Between a driver and a simulated device: a link within the process, or a pseudo-terminal behind a stable name.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::io::Errno;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior};
use turnstage_drivers::link::{Link, LinkError};

use super::Device;

/// How often a device is asked what it has to say; its own times are exact all the same.
const STEP: Duration = Duration::from_millis(2);

type Condition<D> = Box<dyn FnMut(&D) -> bool + Send>;

struct Ends<D> {
    device: D,
    cut: bool,
    cut_when: Option<Condition<D>>,
    /// What the far end has heard since the wire was opened last, each piece with its moment.
    heard: Vec<(Instant, Vec<u8>)>,
}

/// A device and the cable that it hangs on. Clones are the same cable.
pub struct Cable<D>(Arc<Mutex<Ends<D>>>);

impl<D> Clone for Cable<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Device + 'static> Cable<D> {
    /// A device on a whole cable.
    pub fn new(device: D) -> Self {
        Self(Arc::new(Mutex::new(Ends { device, cut: false, cut_when: None, heard: Vec::new() })))
    }

    /// Looks at the device as it is now, or turns its knobs.
    pub fn with<T>(&self, look: impl FnOnce(&mut D) -> T) -> T {
        let device = &mut self.ends().device;
        device.advance(Instant::now());
        look(device)
    }

    /// Pulls the plug as soon as the device is as described; within the process and on a port alike.
    pub fn cut_when(&self, condition: impl FnMut(&D) -> bool + Send + 'static) {
        self.ends().cut_when = Some(Box::new(condition));
    }

    /// What the device has heard since its wire was opened last, each piece with its moment.
    pub fn heard(&self) -> Vec<(Instant, Vec<u8>)> {
        self.ends().heard.clone()
    }

    /// Puts the plug in again, and opens a link within the process.
    pub fn link(&self) -> Box<dyn Link> {
        let mut ends = self.ends();
        ends.cut = false;
        ends.opened(Instant::now());
        Box::new(Near(self.clone()))
    }

    /// Serves a port until the plug is pulled or the future is dropped. Needs a real clock.
    pub async fn serve(&self, port: &mut Port) {
        let mut tick = tokio::time::interval(STEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unsaid = Vec::new();
        loop {
            tick.tick().await;
            let mut ends = self.ends();
            let now = Instant::now();
            let mut heard = [0; 256];
            let arrived = port.read(&mut heard);
            let open = !matches!(arrived, Heard::Closed);
            if open && !port.open {
                ends.opened(now);
            }
            port.open = open;
            if let Heard::Bytes(count) = arrived {
                ends.hear(&heard[..count], now);
            }
            unsaid.extend(ends.device.say(now));
            if !open {
                unsaid.clear();
            }
            let written = port.write(&unsaid);
            unsaid.drain(..written);
            if ends.is_cut() {
                ends.cut = false;
                port.unplug();
                return;
            }
        }
    }

    /// Serves one connection after the other until the plug is pulled or the future is dropped. Needs a real clock.
    pub async fn serve_network(&self, listener: &TcpListener) {
        loop {
            let Ok((near, _)) = listener.accept().await else { return };
            self.ends().opened(Instant::now());
            let mut tick = tokio::time::interval(STEP);
            let mut open = true;
            while open {
                tick.tick().await;
                let mut ends = self.ends();
                let now = Instant::now();
                let mut heard = [0; 256];
                match near.try_read(&mut heard) {
                    Ok(0) => open = false,
                    Ok(count) => ends.hear(&heard[..count], now),
                    Err(error) => open = error.kind() == io::ErrorKind::WouldBlock,
                }
                let said = ends.device.say(now);
                // A few bytes always fit into an empty buffer.
                open &= said.is_empty() || near.try_write(&said).is_ok();
                if ends.is_cut() {
                    ends.cut = false;
                    return;
                }
            }
        }
    }

    fn ends(&self) -> MutexGuard<'_, Ends<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Device> Ends<D> {
    fn opened(&mut self, now: Instant) {
        self.heard.clear();
        self.device.opened(now);
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.heard.push((now, bytes.to_vec()));
        self.device.hear(bytes, now);
    }

    fn is_cut(&mut self) -> bool {
        if self.cut_when.as_mut().is_some_and(|condition| condition(&self.device)) {
            (self.cut, self.cut_when) = (true, None);
        }
        self.cut
    }
}

/// The near end within the process.
struct Near<D>(Cable<D>);

const NAME: &str = "simulated cable";

fn lost() -> LinkError {
    LinkError::Lost { link: NAME.to_owned(), cause: io::Error::from(io::ErrorKind::BrokenPipe) }
}

#[async_trait]
impl<D: Device + 'static> Link for Near<D> {
    async fn send(&mut self, bytes: &[u8], _limit: Duration) -> Result<(), LinkError> {
        let mut ends = self.0.ends();
        let now = Instant::now();
        ends.device.advance(now);
        if ends.is_cut() {
            return Err(lost());
        }
        ends.hear(bytes, now);
        Ok(())
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let end = Instant::now() + limit;
        loop {
            {
                let mut ends = self.0.ends();
                let said = ends.device.say(Instant::now());
                if ends.is_cut() {
                    return Err(lost());
                }
                if !said.is_empty() {
                    into.extend_from_slice(&said);
                    return Ok(said.len());
                }
            }
            let now = Instant::now();
            if now >= end {
                return Err(LinkError::Silent { link: NAME.to_owned(), limit });
            }
            tokio::time::sleep_until(end.min(now + STEP)).await;
        }
    }

    fn name(&self) -> &str {
        NAME
    }
}

/// A pseudo-terminal behind a name that stays, as a by-id name does for an adapter that is plugged in again.
pub struct Port {
    name: PathBuf,
    device: Option<OwnedFd>,
    /// Somebody has it open, when it was looked at last.
    open: bool,
    /// Opened while the one before was still there, so that it has another number.
    next: Option<OwnedFd>,
}

enum Heard {
    Closed,
    Nothing,
    Bytes(usize),
}

impl Port {
    /// A port that is plugged in.
    ///
    /// # Errors
    /// No pseudo-terminal, or the name cannot be made.
    pub fn new(name: &Path) -> io::Result<Self> {
        let mut port =
            Self { name: name.to_owned(), device: None, open: false, next: Some(pseudo_terminal()?) };
        port.plug()?;
        Ok(port)
    }

    /// The name that a person would configure.
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Where the name points now.
    pub fn node(&self) -> Option<PathBuf> {
        std::fs::read_link(&self.name).ok()
    }

    /// Plugs it in, under another number than before.
    ///
    /// # Errors
    /// As [`Port::new`].
    pub fn plug(&mut self) -> io::Result<()> {
        let device = self.next.take().map_or_else(pseudo_terminal, Ok)?;
        let node = rustix::pty::ptsname(&device, Vec::new())?;
        // Once opened and closed, the far end can tell whether anybody has it open.
        drop(std::fs::File::open(node.to_string_lossy().as_ref())?);
        drop(std::fs::remove_file(&self.name));
        symlink(node.to_string_lossy().as_ref(), &self.name)?;
        self.device = Some(device);
        Ok(())
    }

    /// Pulls it out: whoever has it open is hung up on, and the name is gone.
    pub fn unplug(&mut self) {
        self.next = pseudo_terminal().ok();
        self.device = None;
        drop(std::fs::remove_file(&self.name));
    }

    fn read(&self, into: &mut [u8]) -> Heard {
        let Some(device) = &self.device else { return Heard::Closed };
        match rustix::io::read(device, into) {
            Ok(count) => Heard::Bytes(count),
            Err(Errno::AGAIN) => Heard::Nothing,
            Err(_) => Heard::Closed,
        }
    }

    fn write(&self, bytes: &[u8]) -> usize {
        match &self.device {
            Some(device) if !bytes.is_empty() => rustix::io::write(device, bytes).unwrap_or(0),
            _ => bytes.len(),
        }
    }
}

fn pseudo_terminal() -> io::Result<OwnedFd> {
    use rustix::pty::OpenptFlags;
    let device = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&device)?;
    rustix::pty::unlockpt(&device)?;
    rustix::io::ioctl_fionbio(&device, true)?;
    // A line echoes nothing, whoever opens it and however soon the device speaks.
    let mut mode = rustix::termios::tcgetattr(&device)?;
    mode.make_raw();
    rustix::termios::tcsetattr(&device, rustix::termios::OptionalActions::Now, &mode)?;
    Ok(device)
}
