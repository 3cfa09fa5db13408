//! Settings of a session: found in the camera's own words, written, and read back.

use tokio::time::Instant;

use super::super::helper::session::Session;
use super::super::helper::wire::{Fault, Setting};
use super::super::{CameraError, Settings};
use super::dial::{self, Dial};
use super::focus::FocusDrive;
use super::keys::{Keys, Target};
use crate::frame::Exposure;

/// A choice further from what was asked than this, in steps of light, is another exposure.
const OFF_MAX: f64 = 0.5;

/// Makers name a thing differently. Nikon's `shutterspeed2` is a fraction and exact; its `shutterspeed` is rounded.
const SHUTTER: &[&str] = &["shutterspeed2", "shutterspeed"];
const ISO: &[&str] = &["iso"];
const APERTURE: &[&str] = &["f-number", "aperture"];
const KELVIN: &[&str] = &["colortemperature"];
const WHITE: &str = "whitebalance";
const SIZE: &str = "imagesize";
/// Where a camera says whether it writes one file or two.
const QUALITY: &[&str] = &["imagequality", "imageformat"];
/// Film speed that counts as a gain of 1.
const ISO_BASE: f64 = 100.0;

/// What is in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Locked {
    /// As read back.
    pub exposure: Exposure,
    /// Size of a picture, where the camera tells it.
    pub size: Option<(u32, u32)>,
    /// Files of one exposure.
    pub files: usize,
    /// The shutter, as it stands in the camera now: a bracket turns it away from [`Self::exposure`].
    pub shutter: Option<Dial>,
    /// The lens' drive.
    pub focus: Option<FocusDrive>,
}

impl Locked {
    /// The shutter can be set for each exposure.
    pub fn can_bracket(&self) -> bool {
        self.shutter.as_ref().is_some_and(|dial| !dial.readonly && dial.choices.len() > 2)
    }
}

/// One camera that is being set.
pub(super) struct Lock<'a> {
    pub session: &'a mut Session,
    pub name: &'a str,
    pub keys: &'a Keys,
    pub deadline: Instant,
}

impl Lock<'_> {
    /// Sets everything and reads it back.
    pub async fn apply(&mut self, settings: &Settings) -> Result<Locked, CameraError> {
        self.charged().await?;
        self.target().await?;
        for (setting, value) in &self.keys.settings {
            self.write(setting, value).await?;
        }
        if let Some(white) = &self.keys.white_balance {
            self.write(WHITE, white).await?;
        }
        if let Some(wanted) = self.keys.aperture {
            self.turn(APERTURE, dial::aperture, wanted, "aperture").await?;
        }
        if let Some(kelvin) = settings.wb_kelvin {
            self.kelvin(kelvin).await?;
        }
        if let Some(wanted) = settings.gain {
            let base = self.keys.iso_base.unwrap_or(ISO_BASE);
            self.turn(ISO, dial::plain, wanted * base, "gain").await?;
        }
        if let Some(us) = settings.exposure_us {
            self.turn(SHUTTER, dial::seconds, us / 1e6, "exposure_us").await?;
        }
        let size = self.size(settings.size).await?;
        let mut locked = self.read_back().await?;
        locked.size = size;
        if let Some(share) = settings.focus {
            let drive = locked.focus.as_mut().ok_or_else(|| self.unsupported(NO_FOCUS.to_owned()))?;
            drive.go(self.session, share, self.deadline).await?;
            locked.exposure.focus = Some(share);
        }
        Ok(locked)
    }

    /// Sets the shutter for one exposure; returns what was read back.
    pub async fn shutter(&mut self, dial: Dial, wanted_s: f64) -> Result<Dial, CameraError> {
        self.turn_dial(dial, wanted_s, "the bracket").await
    }

    async fn charged(&mut self) -> Result<(), CameraError> {
        let Some(read) = self.read("batterylevel").await? else { return Ok(()) };
        let least = f64::from(self.keys.battery_percent_min());
        match dial::percent(&read.value) {
            Some(percent) if percent < least => {
                let what = format!(
                    "its battery is at {} and a session begins with {least} %; charge it, or give it mains power",
                    read.value
                );
                Err(CameraError::Attention { id: self.name.to_owned(), what })
            }
            _ => Ok(()),
        }
    }

    async fn target(&mut self) -> Result<(), CameraError> {
        let Some(read) = self.read("capturetarget").await? else { return Ok(()) };
        let words: &[&str] = match self.keys.target {
            Target::Memory => &["ram", "internal"],
            Target::Card => &["card"],
        };
        let fits = |choice: &&String| words.iter().any(|word| choice.to_lowercase().contains(word));
        match read.choices.iter().find(fits) {
            Some(choice) if *choice == read.value => Ok(()),
            Some(choice) => self.write("capturetarget", &choice.clone()).await,
            None => {
                let what =
                    format!("it has no such target; its capturetarget is one of {}", list(&read.choices));
                Err(self.unsupported(what))
            }
        }
    }

    async fn kelvin(&mut self, kelvin: f64) -> Result<(), CameraError> {
        let white = self.read(WHITE).await?.unwrap_or_default();
        let by_number = white.choices.iter().find(|choice| choice.to_lowercase().contains("temperature"));
        if let Some(choice) = by_number.filter(|choice| **choice != white.value) {
            self.write(WHITE, &choice.clone()).await?;
        }
        match self.read(KELVIN[0]).await? {
            Some(Setting { range: Some((low, high, _)), .. }) if !(low..=high).contains(&kelvin) => {
                Err(self.unsupported(format!("wb_kelvin = {kelvin} must be from {low} to {high} here")))
            }
            Some(Setting { range: Some(_), .. }) => self.write(KELVIN[0], &kelvin.round().to_string()).await,
            Some(_) => self.turn(KELVIN, dial::plain, kelvin, "wb_kelvin").await,
            None => Err(self.unsupported(format!(
                "it takes no wb_kelvin over USB; say white_balance = one of {}",
                list(&white.choices)
            ))),
        }
    }

    async fn size(&mut self, wanted: Option<(u32, u32)>) -> Result<Option<(u32, u32)>, CameraError> {
        let read = self.read(SIZE).await?.unwrap_or_default();
        let now = dial::size(&read.value);
        let Some(wanted) = wanted.filter(|wanted| now != Some(*wanted)) else { return Ok(now) };
        match read.choices.iter().find(|choice| dial::size(choice) == Some(wanted)) {
            Some(choice) if !read.readonly => self.write(SIZE, &choice.clone()).await.map(|()| Some(wanted)),
            _ => Err(self.unsupported(format!(
                "size = [{}, {}] is not to be had; its {SIZE} is {} of {}: say settings = {{ {SIZE} = \"…\" }} and no size",
                wanted.0,
                wanted.1,
                read.value,
                list(&read.choices)
            ))),
        }
    }

    async fn read_back(&mut self) -> Result<Locked, CameraError> {
        let shutter = self.dial(SHUTTER, dial::seconds).await?;
        let iso = self.dial(ISO, dial::plain).await?;
        let kelvin = self.dial(KELVIN, dial::plain).await?;
        let white = self.read(WHITE).await?;
        let by_number = white.is_none_or(|white| white.value.to_lowercase().contains("temperature"));
        let mut files = 1;
        for setting in QUALITY {
            // "NEF+Fine", "RAW + Large Fine JPEG".
            if self.read(setting).await?.is_some_and(|read| read.value.contains('+')) {
                files = 2;
            }
        }
        let base = self.keys.iso_base.unwrap_or(ISO_BASE);
        Ok(Locked {
            exposure: Exposure {
                exposure_us: shutter.as_ref().and_then(Dial::number).map(|seconds| seconds * 1e6),
                gain: iso.as_ref().and_then(Dial::number).map(|iso| iso / base),
                wb_kelvin: kelvin.as_ref().and_then(Dial::number).filter(|_| by_number),
                focus: None,
            },
            size: None,
            files,
            shutter,
            focus: FocusDrive::of(self.session, self.keys.focus_travel_steps, self.deadline).await?,
        })
    }

    async fn dial(
        &mut self,
        names: &'static [&'static str],
        meaning: fn(&str) -> Option<f64>,
    ) -> Result<Option<Dial>, CameraError> {
        for name in names {
            if let Some(read) = self.read(name).await? {
                return Ok(Some(Dial::new(name, read, meaning)));
            }
        }
        Ok(None)
    }

    async fn turn(
        &mut self,
        names: &'static [&'static str],
        meaning: fn(&str) -> Option<f64>,
        wanted: f64,
        key: &str,
    ) -> Result<(), CameraError> {
        match self.dial(names, meaning).await? {
            Some(dial) => self.turn_dial(dial, wanted, key).await.map(drop),
            None => Err(self.unsupported(format!("it does not let {key} be set over USB; leave {key} out"))),
        }
    }

    async fn turn_dial(&mut self, dial: Dial, wanted: f64, key: &str) -> Result<Dial, CameraError> {
        let choice = match dial.nearest(wanted) {
            Some((choice, off)) if off <= OFF_MAX => choice.to_owned(),
            _ => {
                let what = format!(
                    "{key}: {} near {wanted} is not to be had; it can be {}",
                    dial.setting,
                    if dial.choices.is_empty() { "nothing that is a number".to_owned() } else { dial.said() }
                );
                return Err(self.unsupported(what));
            }
        };
        if dial.value != choice {
            if dial.readonly {
                let what = format!(
                    "{} stands at {} and cannot be set to {choice} for {key}; turn the mode dial to M",
                    dial.setting, dial.value
                );
                return Err(self.unsupported(what));
            }
            self.write(dial.setting, &choice).await?;
        }
        Ok(dial.at(choice))
    }

    /// Writes a setting and makes sure that it was taken.
    async fn write(&mut self, setting: &str, value: &str) -> Result<(), CameraError> {
        if let Err(refusal) = self.session.write(setting, value, self.deadline).await? {
            if !matches!(refusal.fault, Fault::Unsupported | Fault::Other) {
                return Err(self.session.refused(refusal));
            }
            let there = self.read(setting).await?.unwrap_or_default();
            let what = format!(
                "{setting} = \"{value}\" was refused ({}); it is \"{}\" of {}",
                refusal.words,
                there.value,
                list(&there.choices)
            );
            return Err(self.unsupported(what));
        }
        let read = self.read(setting).await?.unwrap_or_default();
        if read.value == value
            || dial::plain(&read.value).is_some_and(|number| dial::plain(value) == Some(number))
        {
            return Ok(());
        }
        let what = format!(
            "{setting} was set to \"{value}\" and reads \"{}\"; is the mode dial on M, and nobody at its buttons?",
            read.value
        );
        Err(self.unsupported(what))
    }

    async fn read(&mut self, setting: &str) -> Result<Option<Setting>, CameraError> {
        self.session.read(setting, self.deadline).await
    }

    fn unsupported(&self, what: String) -> CameraError {
        CameraError::Unsupported { id: self.name.to_owned(), what }
    }
}

/// Why focus cannot be set.
pub(super) const NO_FOCUS: &str =
    "its focus cannot be driven: it has no manualfocusdrive over USB, or focus_travel_steps is not set";

fn list(choices: &[String]) -> String {
    if choices.is_empty() { "nothing that one could choose".to_owned() } else { choices.join(", ") }
}
