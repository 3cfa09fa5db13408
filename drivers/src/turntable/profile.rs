//! Turntables that speak lines of text, each model described by a profile: `driver = "profile"`.
//!
//! A profile is data (`profile/model.rs`), its conversation is the same for all. Built-in ones lie in
//! `turntable/profiles/`; another is a file that only the administrator can write, because it moves a machine.

mod bearings;
mod conversation;
pub mod framer;
mod halt;
pub mod model;
mod motion;
mod opening;
pub mod reply;
pub mod shelf;
mod sighting;
mod speed;
mod table;
pub mod template;
mod tilt;

use serde::Deserialize;

use super::{Driver, Opened, Speaker, TurntableError};
use crate::link::{Link, LinkKeys, serial};
use crate::{DeviceOptions, Listing, Surroundings};
use model::Model;

const NAME: &str = "profile";

/// `driver = "profile"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "turntables that speak lines of text, each model by its profile",
    check,
    open: |options, around| Box::pin(open(options, around)),
    list: || Box::pin(list()),
};

/// On a link that is open already.
pub const SPEAKER: Speaker = Speaker {
    name: NAME,
    begin: |options, link| {
        Box::pin(async {
            let (own, model) = read(options).map_err(wrong)?;
            opening::begin(own, model, link).await
        })
    },
};

/// The keys that are not the link's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Own {
    profile: Option<String>,
    file: Option<String>,
    /// Steps a turn, of tables that do not tell.
    steps_per_rev: Option<u32>,
    /// Speed of ordinary moves, degrees a second.
    speed_deg_s: Option<f64>,
    /// Measured pairs of level and degrees a second.
    levels: Option<Vec<(u32, f64)>>,
    /// The platter turns the other way round than the profile thinks.
    reversed: bool,
    /// What the table remembers as its zero may be driven to, because it has not lost its power since.
    trust_zero: bool,
    /// By what share of its way a motion may have gone wrong whose end was only timed.
    error_share: Option<f64>,
    /// As long as such errors add up to no more than this, the estimate is good enough to shoot at.
    error_deg_max: Option<f64>,
}

/// Nobody has measured what such tables lose on a way: what a person can see on a platter's rim.
const ERROR_SHARE: f64 = 0.02;
/// Room for two turns.
const ERROR_DEG_MAX: f64 = 15.0;

impl Own {
    fn error_share(&self) -> f64 {
        self.error_share.unwrap_or(ERROR_SHARE)
    }

    fn error_deg_max(&self) -> f64 {
        self.error_deg_max.unwrap_or(ERROR_DEG_MAX)
    }

    fn check(&self, model: &Model) -> Result<(), String> {
        if let Some(steps) = self.steps_per_rev
            && !(4..=10_000_000).contains(&steps)
        {
            return Err(format!("steps_per_rev = {steps} is not in 4 to 10000000"));
        }
        for (key, value, low, high) in [
            ("error_share", self.error_share(), 0.001, 0.5),
            ("error_deg_max", self.error_deg_max(), 0.0, 90.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("{key} = {value} is not in {low} to {high}"));
            }
        }
        if self.trust_zero && model.home.is_none() {
            return Err(format!("trust_zero = true, but {} has no zero of its own", model.name));
        }
        if self.reversed && model.is_one_way() {
            return Err(format!(
                "reversed = true changes nothing of {}, which is told how far and not which way; leave it out: its angles \
                 count the way it turns",
                model.name
            ));
        }
        if let Some(levels) = &self.levels
            && (levels.is_empty() || levels.iter().any(|(_, speed)| !(0.01..=3600.0).contains(speed)))
        {
            return Err(
                "levels holds pairs of level and degrees a second in 0.01 to 3600: [[1, 30.0]]".to_owned()
            );
        }
        match (self.speed_deg_s, &model.speed) {
            (Some(speed), _) if !(0.01..=3600.0).contains(&speed) => {
                Err(format!("speed_deg_s = {speed} is not in 0.01 to 3600"))
            }
            (Some(speed), Some(can)) if !(can.min_deg_s..=can.max_deg_s).contains(&speed) => {
                Err(format!("speed_deg_s = {speed} is not in {} to {}", can.min_deg_s, can.max_deg_s))
            }
            _ => Ok(()),
        }
    }
}

/// Begins as the driver does, with a profile that is in hand: for a profile that is being written.
pub async fn speak_as(model: Model, options: &DeviceOptions, link: Box<dyn Link>) -> Opened {
    let own: Own = options.read().map_err(wrong)?;
    own.check(&model).map_err(wrong)?;
    opening::begin(own, model, link).await
}

fn read(options: &DeviceOptions) -> Result<(Own, Model), String> {
    let own: Own = options.read()?;
    let model = match (&own.profile, &own.file) {
        (Some(id), None) => shelf::by_id(id)?,
        (None, Some(path)) => shelf::from_file(path.as_ref())?,
        _ => {
            let ids: Vec<String> = shelf::built_in().into_iter().map(|model| model.id).collect();
            return Err(format!(
                "exactly one of profile = \"{}\" and file = \"/etc/turnstage/….toml\" must be given",
                ids.join("\", \"")
            ));
        }
    };
    own.check(&model)?;
    Ok((own, model))
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    let (_, own) = LinkKeys::take(options)?;
    read(&own).map(drop)
}

async fn open(options: &DeviceOptions, _around: &Surroundings) -> Opened {
    let (link, own) = LinkKeys::take(options).map_err(wrong)?;
    let (own, model) = read(&own).map_err(wrong)?;
    let link = link.open(&model.wire()).await.map_err(|e| e.while_trying(link.name(), "open it"))?;
    opening::begin(own, model, link).await
}

fn wrong(what: String) -> TurntableError {
    TurntableError::Config { driver: NAME.to_owned(), what }
}

/// A table that is switched on advertises several times in this time.
#[cfg(feature = "ble")]
const SCAN: std::time::Duration = std::time::Duration::from_secs(3);

async fn list() -> Vec<Listing> {
    let models = shelf::built_in();
    let found = listings(serial::ports(), &models);
    #[cfg(feature = "ble")]
    let found = {
        let names: Vec<&str> =
            models.iter().flat_map(|model| model.matching.ble.iter().map(String::as_str)).collect();
        let near = crate::link::ble::list(&names, SCAN).await;
        [found, ble_listings(&near, &models)].concat()
    };
    found
}

/// Tables near by that advertise the name of a profile; of two with one name, each is told by its address.
#[cfg(feature = "ble")]
fn ble_listings(near: &[(String, String, Option<i16>)], models: &[Model]) -> Vec<Listing> {
    let of_table = |(name, address, _): &(String, String, Option<i16>)| {
        let model = models.iter().find(|model| model.matching.ble.contains(name))?;
        let mut listing = Listing::of(NAME, address, &model.name);
        let twins = near.iter().filter(|(other, ..)| other == name).count() > 1;
        listing.options = options_for_ble(name);
        if let Some(options) = listing.options.as_mut().filter(|_| twins) {
            options.keys.insert("ble".to_owned(), address.clone().into());
        }
        Some(listing)
    };
    near.iter().filter_map(of_table).collect()
}

/// Serial ports whose USB ids belong to a profile. Nothing is opened: who is there is asked before anything moves.
fn listings(ports: Vec<serial::Port>, models: &[Model]) -> Vec<Listing> {
    let of_port = |port: &serial::Port, model: &Model| {
        let label = match model.matching.generic {
            true => {
                format!("{}: may be {}; identity is checked before anything moves", port.product, model.name)
            }
            false => model.name.clone(),
        };
        let mut listing = Listing::of(NAME, &port.path, &label);
        listing.problem = port.problem.clone();
        listing.guess = model.matching.generic;
        listing.tried = crate::tried::is_tried(NAME, &model.name);
        if let Some(options) = &mut listing.options {
            options.keys.insert("profile".to_owned(), model.id.clone().into());
            options.keys.insert("serial".to_owned(), port.path.clone().into());
        }
        listing
    };
    let mut found = Vec::new();
    for port in &ports {
        let fits = |model: &&Model| model.matching.usb.contains(&port.usb);
        found.extend(models.iter().filter(fits).map(|model| of_port(port, model)));
    }
    found
}

/// The section of a table that advertises `name` by Bluetooth, if a built-in profile knows it.
pub fn options_for_ble(name: &str) -> Option<DeviceOptions> {
    let model =
        shelf::built_in().into_iter().find(|model| model.matching.ble.iter().any(|known| known == name))?;
    let mut options = DeviceOptions::new(NAME);
    options.keys.insert("profile".to_owned(), model.id.into());
    options.keys.insert("ble".to_owned(), name.into());
    Some(options)
}

#[cfg(test)]
mod tests;
