//! Light by DMX512: lamps and dimmers on an interface that speaks the framing of the DMX USB Pro.
//!
//! Frame: `7E 06 length(2, little endian) 00 channels… E7`, label 6 "output only send DMX packet", as ENTTEC publishes it
//! (DMX USB Pro Widget API). The interface itself repeats the last frame to the lamps. Plain FTDI cables without such an
//! interface ("Open DMX") are not driven: they leave the timing of each frame to a busy computer.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;

use super::board::Board;
use super::port::{self, Port};
use super::{IoError, IoInfo, OpenedOutput, Output, OutputDriver, read_keys};
use crate::{DeviceOptions, Listing, Surroundings};

/// `driver = "dmx"`.
pub const OUTPUT: OutputDriver = OutputDriver {
    name: NAME,
    about: "light by DMX512, on an interface like the DMX USB Pro",
    check: |options| options.read::<Keys>()?.check(),
    open: |name, options, around| Box::pin(async move { open(name, options, around) }),
    list: || Box::pin(async { list() }),
};

const NAME: &str = "dmx";
const LABEL: &str = "DMX USB Pro";
/// The interface's USB chip ignores the speed.
const BAUD: u32 = 57_600;
/// Channels of a universe.
const CHANNELS: usize = 512;
/// Vendors and chips of such interfaces in names below `/dev/serial/by-id`.
const CHIPS: &[&str] = &["ENTTEC", "DMX"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Serial port by its stable name.
    port: String,
    /// Channels of the lamp, from 1.
    channels: Vec<u16>,
    /// What each channel is at full level, 0 to 255; 255 where nothing is said.
    #[serde(default)]
    full: Vec<u8>,
}

impl Keys {
    fn check(&self) -> Result<(), String> {
        port::check_path(&self.port)?;
        if self.channels.is_empty() {
            return Err("channels is empty; name the lamp's channels, for example channels = [1]".to_owned());
        }
        if let Some(wrong) = self.channels.iter().find(|channel| !(1..=512).contains(*channel)) {
            return Err(format!("channels: {wrong} is not in 1 to {CHANNELS}"));
        }
        if self.full.len() > self.channels.len() {
            let (full, channels) = (self.full.len(), self.channels.len());
            return Err(format!("full has {full} values for {channels} channels; give at most one each"));
        }
        Ok(())
    }

    /// Channels, counted from 0, with their value at `level`.
    fn values(&self, level: f64) -> impl Iterator<Item = (usize, u8)> {
        let level = level.clamp(0.0, 1.0);
        self.channels.iter().enumerate().map(move |(nth, channel)| {
            let full = self.full.get(nth).copied().unwrap_or(u8::MAX);
            (usize::from(*channel) - 1, (f64::from(full) * level).round() as u8)
        })
    }
}

/// All lamps of one interface.
struct Universe {
    port: Port,
    channels: Mutex<[u8; CHANNELS]>,
}

impl Board for Universe {
    fn is_lost(&self) -> bool {
        self.port.is_lost()
    }
}

struct Lamp {
    info: IoInfo,
    keys: Keys,
    universe: Arc<Universe>,
}

fn open(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedOutput {
    let keys: Keys = read_keys(name, options)?;
    keys.check().map_err(|what| IoError::Config { name: name.to_owned(), what })?;
    let universe = around.boards.get(&keys.port, || {
        Ok(Universe { port: Port::open(&keys.port, BAUD)?, channels: Mutex::new([0; CHANNELS]) })
    })?;
    let id = format!("{} channel {}", keys.port, keys.channels[0]);
    Ok(Box::new(Lamp { info: IoInfo { driver: NAME, id, label: LABEL.to_owned() }, keys, universe }))
}

fn list() -> Vec<Listing> {
    let each = port::likely(CHIPS).into_iter().map(|port| {
        let mut options = DeviceOptions::new(NAME);
        options.keys.insert("port".to_owned(), port.path.clone().into());
        options.keys.insert("channels".to_owned(), toml::Value::Array(vec![1.into()]));
        Listing { problem: port.problem, options: Some(options), ..Listing::of(NAME, &port.path, LABEL) }
    });
    each.collect()
}

/// A whole universe as the interface takes it.
fn frame(channels: &[u8; CHANNELS]) -> Vec<u8> {
    const START: u8 = 0x7e;
    const SEND: u8 = 6;
    const START_CODE: u8 = 0;
    const END: u8 = 0xe7;
    let length = (CHANNELS as u16 + 1).to_le_bytes();
    let mut frame = vec![START, SEND, length[0], length[1], START_CODE];
    frame.extend_from_slice(channels);
    frame.push(END);
    frame
}

#[async_trait]
impl Output for Lamp {
    async fn set(&mut self, level: f64) -> Result<(), IoError> {
        let frame = {
            let mut channels = self.universe.channels.lock().unwrap_or_else(PoisonError::into_inner);
            self.keys.values(level).for_each(|(channel, value)| channels[channel] = value);
            frame(&channels)
        };
        self.universe.port.write(&frame).await
    }

    fn info(&self) -> &IoInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio_serial::{SerialPort, SerialStream};

    use super::*;

    fn options(port: &str, more: &str) -> DeviceOptions {
        toml::from_str(&format!("driver = \"dmx\"\nport = \"{port}\"\n{more}")).unwrap()
    }

    #[test]
    fn channels_beyond_the_universe_are_refused() {
        let told = |more| (OUTPUT.check)(&options("/dev/serial/by-id/x", more)).unwrap_err();
        assert_eq!(told("channels = [1, 513]"), "channels: 513 is not in 1 to 512");
        assert_eq!(told("channels = [0]"), "channels: 0 is not in 1 to 512");
        assert!(told("channels = []").contains("channels = [1]"));
        assert!(told("channels = [1]\nfull = [1, 2]").contains("full has 2 values for 1 channels"));
    }

    #[tokio::test]
    async fn lamps_of_one_interface_keep_each_other_s_light() {
        let (mut interface, cable) = SerialStream::pair().unwrap();
        let port = cable.name().unwrap();
        drop(cable);
        let around = Surroundings::default();
        let mut key = open("key", &options(&port, "channels = [1]"), &around).unwrap();
        let mut fill = open("fill", &options(&port, "channels = [10, 512]\nfull = [200]"), &around).unwrap();
        key.set(1.0).await.unwrap();
        let mut heard = [0; 518];
        interface.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard[..6], [0x7e, 6, 0x01, 0x02, 0, 255]);
        assert_eq!(heard[517], 0xe7);
        fill.set(0.5).await.unwrap();
        interface.read_exact(&mut heard).await.unwrap();
        assert_eq!((heard[5], heard[14], heard[516]), (255, 100, 128));
        assert_eq!(heard[5..517].iter().filter(|value| **value > 0).count(), 3);
    }
}
