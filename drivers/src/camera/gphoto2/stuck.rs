//! A camera whose helper ended without letting go of it: reset before it is opened anew, and a person told where that does
//! not help.

use std::time::Duration;

use tokio::time::Instant;

use super::super::CameraError;
use super::super::on_thread::ask;
use super::{NAME, usb};
use crate::Later;

/// Time for a reset: the kernel asks the device for everything anew.
const RESET: Duration = Duration::from_secs(6);
/// A camera that is silent for so long while it is opened is stuck; for less, the time was short.
const STUCK: Duration = Duration::from_secs(5);
/// What cures a camera that nothing else does.
const CURE: &str = "switch the camera off and on";

/// Resets the camera behind a port, within a time; `None` if none is there.
pub(super) type Resetter =
    Box<dyn Fn(String, Duration) -> Later<'static, Option<Result<(), String>>> + Send + Sync>;

/// By the kernel.
pub(super) fn resetter() -> Resetter {
    Box::new(|port, limit| {
        Box::pin(async move {
            let asked = ask(NAME, limit, move || usb::reset(&port)).await;
            asked.unwrap_or_else(|| Some(Err(format!("the kernel was not done within {limit:?}"))))
        })
    })
}

/// What became of a camera that a helper held before.
pub(super) enum Left {
    /// No helper held one.
    Nothing,
    /// It was reset, if it hangs on USB.
    Begun,
    /// It could not be reset.
    Kept(String),
}

/// Resets the camera that the last helper held at this port, if one did.
pub(super) async fn reset(resetter: &Resetter, port: &str, deadline: Instant) -> Left {
    if port.is_empty() {
        return Left::Nothing;
    }
    let limit = RESET.min(deadline.saturating_duration_since(Instant::now()));
    match resetter(port.to_owned(), limit).await {
        Some(Err(why)) => {
            tracing::warn!(
                port,
                why,
                "the camera's USB device could not be reset after its helper was killed"
            );
            Left::Kept(why)
        }
        _ => Left::Begun,
    }
}

impl Left {
    /// Why the camera could not be opened anew, with what a person does about it.
    pub fn told(&self, error: CameraError) -> CameraError {
        match (error, self) {
            (CameraError::Timeout { id, waited }, Left::Begun) if waited >= STUCK => {
                let what = format!("it does not answer, though it was opened anew; {CURE}");
                CameraError::Attention { id, what }
            }
            (CameraError::Timeout { id, waited }, Left::Kept(why)) if waited >= STUCK => {
                let what =
                    format!("it does not answer, and its USB device could not be reset ({why}); {CURE}");
                CameraError::Attention { id, what }
            }
            (CameraError::NotPresent { id, hint }, Left::Kept(why)) => {
                let hint = format!("{hint}; its USB device could not be reset ({why}): {CURE}");
                CameraError::NotPresent { id, hint }
            }
            (error, _) => error,
        }
    }
}
