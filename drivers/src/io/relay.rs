//! Relays on a USB board of the LCUS kind: four bytes switch one of up to eight, and nothing comes back.
//!
//! Frame: `A0 channel state sum`, 9600 baud 8N1, the sum of the three bytes before it; documented by its sellers. Because
//! the board never answers, the station repeats the state, and a lost board is noticed by the write that fails.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::board::Board;
use super::port::{self, Port};
use super::{IoError, IoInfo, OpenedOutput, Output, OutputDriver, read_keys};
use crate::{DeviceOptions, Listing, Surroundings};

/// `driver = "relay"`.
pub const OUTPUT: OutputDriver = OutputDriver {
    name: NAME,
    about: "relay on a serial USB board (LCUS: A0 channel state sum)",
    check: |options| options.read::<Keys>()?.check(),
    open: |name, options, around| Box::pin(async move { open(name, options, around) }),
    list: || Box::pin(async { list() }),
};

const NAME: &str = "relay";
const LABEL: &str = "USB relay board";
const BAUD: u32 = 9600;
const CHANNEL_MAX: u8 = 8;
/// What the boards' serial chips call themselves; others are opened when they are named.
const CHIPS: &[&str] = &["1a86", "CH340", "QinHeng"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Serial port by its stable name.
    port: String,
    /// Relay on the board, from 1.
    #[serde(default = "first")]
    channel: u8,
    /// The lamp hangs on the contact that is closed at rest.
    #[serde(default)]
    normally_closed: bool,
}

fn first() -> u8 {
    1
}

impl Keys {
    fn check(&self) -> Result<(), String> {
        port::check_path(&self.port)?;
        match self.channel {
            1..=CHANNEL_MAX => Ok(()),
            channel => Err(format!("channel = {channel} is not in 1 to {CHANNEL_MAX}")),
        }
    }
}

impl Board for Port {
    fn is_lost(&self) -> bool {
        Port::is_lost(self)
    }
}

struct Relay {
    info: IoInfo,
    keys: Keys,
    board: Arc<Port>,
}

fn open(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedOutput {
    let keys: Keys = read_keys(name, options)?;
    keys.check().map_err(|what| IoError::Config { name: name.to_owned(), what })?;
    let board = around.boards.get(&keys.port, || Port::open(&keys.port, BAUD))?;
    let id = format!("{} relay {}", keys.port, keys.channel);
    let info = IoInfo { driver: NAME, id, label: LABEL.to_owned() };
    Ok(Box::new(Relay { info, keys, board }))
}

fn list() -> Vec<Listing> {
    let each = port::likely(CHIPS).into_iter().map(|port| {
        let mut options = DeviceOptions::new(NAME);
        options.keys.insert("port".to_owned(), port.path.clone().into());
        let label = format!("{LABEL}, or another device with such a serial chip");
        let (problem, guess) = (port.problem, true);
        Listing { problem, guess, options: Some(options), ..Listing::of(NAME, &port.path, &label) }
    });
    each.collect()
}

/// The bytes that switch one relay.
fn frame(channel: u8, on: bool) -> [u8; 4] {
    const START: u8 = 0xa0;
    let state = u8::from(on);
    [START, channel, state, START.wrapping_add(channel).wrapping_add(state)]
}

#[async_trait]
impl Output for Relay {
    async fn set(&mut self, level: f64) -> Result<(), IoError> {
        let on = (level >= 0.5) != self.keys.normally_closed;
        self.board.write(&frame(self.keys.channel, on)).await
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
        toml::from_str(&format!("driver = \"relay\"\nport = \"{port}\"\n{more}")).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_sellers() {
        assert_eq!(frame(1, true), [0xa0, 0x01, 0x01, 0xa2]);
        assert_eq!(frame(1, false), [0xa0, 0x01, 0x00, 0xa1]);
        assert_eq!(frame(4, true), [0xa0, 0x04, 0x01, 0xa5]);
    }

    #[test]
    fn a_ninth_relay_is_refused_by_key_value_and_range() {
        let told = (OUTPUT.check)(&options("/dev/serial/by-id/x", "channel = 9")).unwrap_err();
        assert_eq!(told, "channel = 9 is not in 1 to 8");
        assert!(
            (OUTPUT.check)(&options("/dev/serial/by-id/x", "chanel = 1")).unwrap_err().contains("chanel")
        );
    }

    #[tokio::test]
    async fn two_lamps_on_one_board_are_switched_through_one_port_until_it_is_unplugged() {
        let (mut board, cable) = SerialStream::pair().unwrap();
        let port = cable.name().unwrap();
        drop(cable);
        let around = Surroundings::default();
        let mut green = open("green", &options(&port, "channel = 1"), &around).unwrap();
        let more = "channel = 2\nnormally_closed = true";
        let mut red = open("red", &options(&port, more), &around).unwrap();
        green.set(1.0).await.unwrap();
        red.set(1.0).await.unwrap();
        green.set(0.2).await.unwrap();
        let mut heard = [0; 12];
        board.read_exact(&mut heard).await.unwrap();
        let wanted = [frame(1, true), frame(2, false), frame(1, false)].concat();
        assert_eq!(heard.as_slice(), wanted);

        drop(board);
        let lost = red.set(0.0).await.unwrap_err();
        assert!(matches!(&lost, IoError::Lost { id, .. } if *id == port), "{lost}");
        assert!(matches!(open("red", &options(&port, ""), &around), Err(IoError::Unavailable { .. })));
    }
}
