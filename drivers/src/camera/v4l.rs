//! UVC and other Video4Linux cameras that give JPEG, YUYV or NV12 in one plane: `driver = "v4l"`.
//!
//! The stream runs as long as the camera is open, so that the first frame is as warm as the last. Nobody reads it
//! between exposures: the few buffers fill and the kernel drops the rest. An exposure takes frames out until one
//! began at or after `not_before`, and counts those before it as stale; taking out four old ones costs nothing, while
//! a second thread that always reads would copy every frame that nobody wants, on a machine that has to judge others.
//!
//! After any error of a request the device is closed and the next call finds it again by its identity, so that a camera
//! comes back under another number.

mod found;
mod kernel;
mod keys;
mod knobs;
mod opened;
mod picture;
mod session;
mod stamps;
mod trouble;

use std::time::Duration;

use keys::Keys;
use tokio::time::Instant;

use super::on_thread::{self, OnThread};
use super::{CameraError, Driver, Opened};
use crate::{DeviceOptions, Listing};

/// `driver = "v4l"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "USB and other cameras of the Linux kernel (UVC, Video4Linux)",
    check,
    open: |name, options, _| Box::pin(open(name, options)),
    list: || Box::pin(list()),
};

const NAME: &str = "v4l";
/// Cameras need seconds after they were plugged in.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const LIST_LIMIT: Duration = Duration::from_secs(5);

fn check(options: &DeviceOptions) -> Result<(), String> {
    options.read::<Keys>()?.check()
}

async fn open(name: &str, options: &DeviceOptions) -> Opened {
    let wrong = |what| CameraError::Unsupported { id: name.to_owned(), what };
    let keys: Keys = options.read().map_err(wrong)?;
    keys.check().map_err(wrong)?;
    let (rig, deadline) = (name.to_owned(), Instant::now() + OPEN_LIMIT);
    let open = move || session::Session::open(&rig, keys, deadline).map(|session| Box::new(session) as _);
    Ok(Box::new(OnThread::open(NAME, name, OPEN_LIMIT, open).await?))
}

async fn list() -> Vec<Listing> {
    // A camera that hangs while it is opened hides the others, but holds nobody up.
    on_thread::ask(NAME, LIST_LIMIT, found::list).await.unwrap_or_default()
}
