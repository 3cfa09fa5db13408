//! RealSense depth cameras: colour and, aligned to it, distance, through realsense-rust.
//!
//! Nothing is linked. librealsense is looked for when the first camera is opened (`realsense/library.rs`); a station without one
//! runs as well without it. The library hangs and realsense-rust panics at what it does not know, so each camera has
//! a thread of its own that is given up when it does. A recording (`bag`) is played as if it were a camera.

mod alignment;
mod clock;
mod controls;
mod frameset;
mod keys;
mod library;
mod session;
mod shim;
mod stream;
mod usb;

use std::path::Path;
use std::time::Duration;

use realsense_rust::context::Context;

use self::keys::Keys;
use self::session::Session;
use self::stream::Identity;
use super::on_thread::{self, OnThread};
use super::{Camera, CameraError, CameraSession, Driver, Opened};
use crate::{DeviceOptions, Listing};

/// `driver = "realsense"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "a RealSense depth camera, or a recording of one; needs librealsense on this machine",
    check: |options| keys(options).map(drop),
    open: |name, options, _| Box::pin(open(name, options)),
    list: || Box::pin(list()),
};

const NAME: &str = "realsense";
/// Loading the library and starting the streams; a camera that was just plugged in takes seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// Looking for cameras; each is asked for its names.
const LIST_LIMIT: Duration = Duration::from_secs(10);

fn keys(options: &DeviceOptions) -> Result<Keys, String> {
    let keys: Keys = options.read()?;
    keys.check()?;
    Ok(keys)
}

async fn open(name: &str, options: &DeviceOptions) -> Opened {
    let unsupported = |what| CameraError::Unsupported { id: name.to_owned(), what };
    let (id, keys) = (name.to_owned(), keys(options).map_err(unsupported)?);
    let open = move || Ok(Box::new(Session::open(&id, keys)?) as Box<dyn CameraSession>);
    Ok(Box::new(OnThread::open(NAME, name, OPEN_LIMIT, open).await?) as Box<dyn Camera>)
}

async fn list() -> Vec<Listing> {
    let failed = "librealsense failed or hung when it was asked for its cameras";
    on_thread::ask(NAME, LIST_LIMIT, look).await.unwrap_or_else(|| unopened(failed))
}

fn look() -> Vec<Listing> {
    let plugged = usb::plugged(Path::new(usb::DEVICES));
    // Without a camera there is no reason to load anything.
    if plugged.is_empty() {
        return Vec::new();
    }
    if let Err(error) = library::load(NAME, None) {
        return unopened(&error.to_string());
    }
    let context = match Context::new() {
        Ok(context) => context,
        Err(error) => return unopened(&error.to_string()),
    };
    let identities = context.query_devices(Default::default()).iter().map(Identity::of).collect::<Vec<_>>();
    let seen = identities.len();
    let mut found: Vec<Listing> = identities.into_iter().map(listing).collect();
    if seen < plugged.len() {
        let locked = plugged.iter().filter(|camera| !camera.may_be_opened());
        found.extend(locked.map(|camera| problem(camera, stream::permission_hint(camera))));
    }
    found
}

fn listing(identity: Identity) -> Listing {
    let mut listing = Listing::of(NAME, &identity.serial, &identity.model);
    listing.firmware = identity.firmware;
    // Said here, because at USB 2 a camera is there and yet gives little.
    if let Some(usb) = &identity.usb {
        listing.label = format!("{} (USB {usb})", listing.label);
    }
    let serial = ("serial".to_owned(), identity.serial.into());
    listing.options = Some(DeviceOptions { driver: NAME.to_owned(), keys: [serial].into_iter().collect() });
    listing
}

/// Cameras that are plugged in and cannot be used, for this reason.
fn unopened(why: &str) -> Vec<Listing> {
    let plugged = usb::plugged(Path::new(usb::DEVICES));
    plugged.iter().map(|camera| problem(camera, why.to_owned())).collect()
}

fn problem(camera: &usb::Plugged, why: String) -> Listing {
    let listing = Listing::of(NAME, &format!("USB port {}", camera.port), &camera.product);
    Listing { problem: Some(why), options: None, ..listing }
}
