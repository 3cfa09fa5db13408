//! A serial line with a table at its far end that is not there: it answers as a ComXim table does, never comes to its
//! zero, and notes when it is told to stop.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::table::Unmeasured;

/// How often the far end listens: a figure is later than the truth by so much at most.
const STEP: Duration = Duration::from_millis(1);

/// What the far end was told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Told {
    /// Motions so far.
    pub motions: u64,
    /// The first stop after the last motion.
    pub stop: Option<Instant>,
}

/// See the module.
pub struct FarEnd {
    device: OwnedFd,
    name: String,
    /// Held open, so that the line does not hang up before the station opens it.
    _near: OwnedFd,
    told: watch::Sender<Told>,
    begun: Vec<u8>,
}

impl FarEnd {
    /// A pseudo-terminal of its own.
    pub fn open() -> Result<Self, Unmeasured> {
        let open = || -> io::Result<(OwnedFd, String, OwnedFd)> {
            let device = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            rustix::pty::grantpt(&device)?;
            rustix::pty::unlockpt(&device)?;
            rustix::io::ioctl_fionbio(&device, true)?;
            let name = rustix::pty::ptsname(&device, Vec::new())?;
            let name = name.to_string_lossy().into_owned();
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let near = rustix::fs::open(&name, flags, Mode::empty())?;
            Ok((device, name, near))
        };
        let (device, name, near) = open().map_err(Unmeasured::at("open a pseudo-terminal"))?;
        Ok(Self { device, name, _near: near, told: watch::channel(Told::default()).0, begun: Vec::new() })
    }

    /// The near end's name, as a person would configure it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was told, to be followed.
    pub fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// Answers until the line breaks; why it did.
    pub async fn serve(&mut self) -> Unmeasured {
        let mut tick = tokio::time::interval(STEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.listen() {
                return Unmeasured(format!("the serial line broke: {error}"));
            }
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        let mut heard = [0; 256];
        let count = match rustix::io::read(&self.device, &mut heard) {
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            read => read?,
        };
        self.begun.extend_from_slice(&heard[..count]);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b';') {
            let command: Vec<u8> = self.begun.drain(..=end).collect();
            let answer = self.answer(&String::from_utf8_lossy(&command));
            // A few bytes always fit into an empty buffer.
            rustix::io::write(&self.device, answer.as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, command: &str) -> &'static str {
        match command {
            "CT+GETPN();" => "PN=BENCH;CR+OK;",
            "CT+GETFWV();" => "FWV=V2R04C02;CR+OK;",
            "CT+GETOFFSETANGLE();" => "OffsetAngle= +90.00;CR+OK;",
            "CT+TOZERO();" => {
                self.told.send_modify(|told| *told = Told { motions: told.motions + 1, stop: None });
                "CR+OK;"
            }
            "CT+SETSTOP();" => {
                self.told.send_modify(|told| told.stop = told.stop.or_else(|| Some(Instant::now())));
                "CR+OK;"
            }
            _ => "CR+OK;",
        }
    }
}
