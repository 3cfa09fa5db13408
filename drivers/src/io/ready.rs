//! Waits until a device has something to read: the one place where inputs hand a descriptor to the runtime.
// Registering a descriptor is unsafe, because it must stay the same one; here nobody else has it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells when a device can be read.
pub(super) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Of an open device that does not block. Call it within a runtime.
    pub(super) fn of(device: &impl AsFd) -> io::Result<Self> {
        let own = device.as_fd().try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` keeps its descriptor until it is dropped; it is private here and dropped with its
        // registration.
        let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Waits for something new. Read everything that is there before waiting: what was left is not told again.
    pub(super) async fn wait(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
