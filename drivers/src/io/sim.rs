//! Inputs and outputs of the simulated booth: stories press its pedals, scan its labels and look at its lamps.

use async_trait::async_trait;
use serde::Deserialize;

use super::{
    Gives, Input, InputDriver, IoError, IoInfo, OpenedInput, OpenedOutput, Output, OutputDriver, Signal,
    Wiring, read_keys,
};
use crate::sim::{Booth, Gone};
use crate::{DeviceOptions, Listing, Surroundings};

/// `driver = "sim"` of an input.
pub const INPUT: InputDriver = InputDriver {
    name: NAME,
    about: "simulated contact or scanner of the booth",
    check: |options| options.read::<InputKeys>().map(|keys| keys.wiring()),
    open: |name, options, around| Box::pin(async move { open_input(name, options, around) }),
    list: || Box::pin(async { vec![Listing::of(NAME, NAME, "simulated contact")] }),
};

/// `driver = "sim"` of an output.
pub const OUTPUT: OutputDriver = OutputDriver {
    name: NAME,
    about: "simulated lamp of the booth",
    check: |options| options.read::<OutputKeys>().map(drop),
    open: |name, options, around| Box::pin(async move { open_output(name, options, around) }),
    list: || Box::pin(async { vec![Listing::of(NAME, NAME, "simulated lamp")] }),
};

const NAME: &str = "sim";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputKeys {
    /// It is a scanner.
    #[serde(default)]
    lines: bool,
}

impl InputKeys {
    fn wiring(&self) -> Wiring {
        let gives = if self.lines { Gives::Lines } else { Gives::Contact };
        Wiring { gives, fail_safe: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputKeys {}

/// One of them, open.
struct Simulated {
    info: IoInfo,
    name: String,
    booth: Booth,
    session: u64,
    /// A contact tells first how it is.
    tells_level: bool,
}

fn booth(name: &str, around: &Surroundings) -> Result<Booth, IoError> {
    let what = "this station has no simulated booth".to_owned();
    around.booth.clone().ok_or(IoError::Config { name: name.to_owned(), what })
}

fn unplugged(name: &str) -> IoError {
    let (why, hint) = ("not present".to_owned(), "the simulated device is unplugged".to_owned());
    IoError::Unavailable { id: name.to_owned(), why, hint }
}

fn info(name: &str, label: &str) -> IoInfo {
    IoInfo { driver: NAME, id: name.to_owned(), label: label.to_owned() }
}

fn open_input(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedInput {
    let keys: InputKeys = read_keys(name, options)?;
    let booth = booth(name, around)?;
    let session = booth.open_input(name).map_err(|Gone| unplugged(name))?;
    let label = if keys.lines { "simulated scanner" } else { "simulated contact" };
    Ok(Box::new(Simulated {
        info: info(name, label),
        name: name.to_owned(),
        booth,
        session,
        tells_level: !keys.lines,
    }))
}

fn open_output(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedOutput {
    let OutputKeys {} = read_keys(name, options)?;
    let booth = booth(name, around)?;
    let session = booth.open_output(name).map_err(|Gone| unplugged(name))?;
    let info = info(name, "simulated lamp");
    Ok(Box::new(Simulated { info, name: name.to_owned(), booth, session, tells_level: false }))
}

impl Simulated {
    fn lost(&self) -> IoError {
        IoError::Lost { id: self.name.clone(), why: "unplugged".to_owned() }
    }
}

#[async_trait]
impl Input for Simulated {
    async fn next(&mut self) -> Result<Signal, IoError> {
        if std::mem::take(&mut self.tells_level) {
            let down = self.booth.is_down(&self.name, self.session).map_err(|Gone| self.lost())?;
            return Ok(if down { Signal::Pressed } else { Signal::Released });
        }
        self.booth.signal(&self.name, self.session).await.map_err(|Gone| self.lost())
    }

    fn info(&self) -> &IoInfo {
        &self.info
    }
}

#[async_trait]
impl Output for Simulated {
    async fn set(&mut self, level: f64) -> Result<(), IoError> {
        self.booth.light(&self.name, self.session, level.clamp(0.0, 1.0)).map_err(|Gone| self.lost())
    }

    fn info(&self) -> &IoInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> (Surroundings, Booth) {
        let booth = Booth::new(Default::default()).unwrap();
        (Surroundings { booth: Some(booth.clone()), ..Surroundings::default() }, booth)
    }

    fn options(more: &str) -> DeviceOptions {
        toml::from_str(&format!("driver = \"sim\"\n{more}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_contact_tells_first_how_it_is_and_a_dropped_wait_takes_no_signal_with_it() {
        let (around, booth) = around();
        booth.press("stop");
        let mut stop = open_input("stop", &options(""), &around).unwrap();
        assert_eq!(stop.next().await.unwrap(), Signal::Pressed);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), stop.next()).await;
        assert!(waited.is_err());
        booth.release("stop");
        booth.tap("stop");
        for wanted in [Signal::Released, Signal::Pressed, Signal::Released] {
            assert_eq!(stop.next().await.unwrap(), wanted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unplugged_scanner_is_lost_until_it_is_opened_anew() {
        let (around, booth) = around();
        let mut scanner = open_input("scanner", &options("lines = true"), &around).unwrap();
        booth.scan("scanner", "4711");
        assert_eq!(scanner.next().await.unwrap(), Signal::Line("4711".to_owned()));
        booth.unplug_input("scanner");
        assert!(matches!(scanner.next().await, Err(IoError::Lost { .. })));
        let error = open_input("scanner", &options("lines = true"), &around).err().unwrap();
        assert!(error.to_string().contains("unplugged"), "{error}");
        booth.replug_input("scanner");
        assert!(matches!(scanner.next().await, Err(IoError::Lost { .. })), "an old handle stays dead");
        booth.scan("scanner", "before");
        let mut scanner = open_input("scanner", &options("lines = true"), &around).unwrap();
        booth.scan("scanner", "4712");
        assert_eq!(scanner.next().await.unwrap(), Signal::Line("4712".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lamp_shows_its_level_and_is_dark_without_its_plug() {
        let (around, booth) = around();
        let mut lamp = open_output("green", &options(""), &around).unwrap();
        lamp.set(0.7).await.unwrap();
        assert_eq!(booth.lamp("green"), 0.7);
        booth.unplug_output("green");
        assert_eq!(booth.lamp("green"), 0.0);
        assert!(matches!(lamp.set(1.0).await, Err(IoError::Lost { .. })));
        let levels: Vec<f64> = booth.lamp_changes("green").into_iter().map(|(_, level)| level).collect();
        assert_eq!(levels, [0.7, 0.0]);
    }
}
