//! Which of the cameras that are there is meant, and what it says of itself.

use tokio::time::Instant;

use super::super::CameraError;
use super::super::helper::session::{Refusal, Session};
use super::super::helper::wire::{Fault, Place};
use super::keys::Keys;
use super::usb::{UsbDevice, held_by};

/// A camera as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    /// Model as the library calls it.
    pub model: String,
    /// Serial number, if it tells one.
    pub serial: Option<String>,
    /// Where it is plugged in: the lasting path of USB, else the port as the library writes it.
    pub port: String,
    /// Port as the library writes it, another one each time that it is plugged in.
    pub place: String,
    /// Version of its own software.
    pub firmware: Option<String>,
    /// It can give a picture for the eye.
    pub preview: bool,
}

impl Identity {
    /// What tells it from every other, now and after it was plugged in again.
    pub fn id(&self) -> String {
        self.serial.clone().unwrap_or_else(|| format!("{} at {}", self.model, self.port))
    }
}

/// The lasting path of a place, where it has one.
pub(super) fn lasting(place: &Place) -> String {
    UsbDevice::behind(&place.port).map_or_else(|| place.port.clone(), |device| device.path)
}

/// Opens the camera that the keys mean.
pub(super) async fn open(
    session: &mut Session,
    name: &str,
    keys: &Keys,
    deadline: Instant,
) -> Result<Identity, CameraError> {
    let places = session.cameras(deadline).await?;
    let fitting: Vec<Place> = places.iter().filter(|place| fits(keys, place)).cloned().collect();
    let id = name.to_owned();
    match (fitting.as_slice(), &keys.serial) {
        ([], _) => Err(CameraError::NotPresent { id, hint: missed(keys, &places) }),
        ([place], None) => identify(session, name, place, deadline).await,
        (several, None) => {
            let what = format!(
                "several cameras are there: {}; say which by serial or port, as \"turnstage devices\" shows them",
                said(several)
            );
            Err(CameraError::Unsupported { id, what })
        }
        (several, Some(serial)) => {
            by_serial(session, name, several, serial, deadline).await?.ok_or_else(|| {
                let hint = format!("none of {} has the serial number {serial}", said(several));
                CameraError::NotPresent { id, hint }
            })
        }
    }
}

/// The camera with this serial number. One that cannot be opened may be it: its reason counts if no other one is.
async fn by_serial(
    session: &mut Session,
    name: &str,
    places: &[Place],
    serial: &str,
    deadline: Instant,
) -> Result<Option<Identity>, CameraError> {
    let mut closed = None;
    for place in places {
        match identify(session, name, place, deadline).await {
            Ok(identity) if identity.serial.as_deref() == Some(serial) => return Ok(Some(identity)),
            Ok(_) => {}
            Err(error) if session.is_broken() => return Err(error),
            Err(error) => closed = closed.or(Some(error)),
        }
    }
    closed.map_or(Ok(None), Err)
}

/// Opens a camera and asks who it is.
pub(super) async fn identify(
    session: &mut Session,
    name: &str,
    place: &Place,
    deadline: Instant,
) -> Result<Identity, CameraError> {
    let opened = session.open(place, deadline).await?;
    let preview = opened.map_err(|refusal| closed(name, place, refusal))?;
    let mut serial = None;
    // Canon's real number is not in the field that the standard has for it.
    for setting in ["eosserialnumber", "serialnumber"] {
        if serial.is_none() {
            serial = session.read(setting, deadline).await?.and_then(|read| told(&read.value));
        }
    }
    let firmware = session.read("deviceversion", deadline).await?.and_then(|read| told(&read.value));
    let device = UsbDevice::behind(&place.port);
    Ok(Identity {
        model: place.model.clone(),
        serial: serial.or_else(|| told(&device.as_ref()?.serial.clone()?)),
        port: lasting(place),
        place: place.port.clone(),
        firmware,
        preview,
    })
}

/// Why a camera does not let itself be opened.
fn closed(name: &str, place: &Place, Refusal { fault, words }: Refusal) -> CameraError {
    let device = UsbDevice::behind(&place.port);
    let id = name.to_owned();
    match (device.as_ref().and_then(UsbDevice::forbidden), fault) {
        (Some(hint), _) => CameraError::Permission { id, hint },
        (None, Fault::Busy) => CameraError::Busy { id, holder: held_by(device.as_ref()) },
        (None, _) => {
            let hint = format!(
                "{} at {} could not be opened: {words}; is it switched on, and its USB mode PTP?",
                place.model, place.port
            );
            CameraError::NotPresent { id, hint }
        }
    }
}

/// Text that says something: makers fill the field with zeros, or with "None".
fn told(text: &str) -> Option<String> {
    let text = text.trim();
    let empty = text.chars().all(|c| c == '0') || text.eq_ignore_ascii_case("none");
    (!empty).then(|| text.to_owned())
}

fn fits(keys: &Keys, place: &Place) -> bool {
    let model = keys.model.as_ref().is_none_or(|model| *model == place.model);
    model && keys.port.as_ref().is_none_or(|port| *port == place.port || *port == lasting(place))
}

fn missed(keys: &Keys, places: &[Place]) -> String {
    let wanted = [("model", &keys.model), ("port", &keys.port), ("serial", &keys.serial)];
    let wanted: Vec<String> =
        wanted.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?))).collect();
    let wanted = if wanted.is_empty() { "a camera".to_owned() } else { wanted.join(", ") };
    if places.is_empty() {
        format!("looked for {wanted} and found none; is it switched on, and does it show up in lsusb?")
    } else {
        format!("looked for {wanted} and found {}", said(places))
    }
}

fn said(places: &[Place]) -> String {
    let each: Vec<String> =
        places.iter().map(|place| format!("{} at {}", place.model, lasting(place))).collect();
    each.join(" and ")
}
