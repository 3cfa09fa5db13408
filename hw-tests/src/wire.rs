//! Simulated devices that speak a wire protocol: physics and faults behind the bytes, never canned answers.
//!
//! A device knows its true angle and counts what it was told, so that a test can prove that nothing moved twice. It
//! hangs on a [`cable`]: within the process and in paused time, or on a pseudo-terminal; one that speaks Bluetooth is a
//! [`peer`] of a simulated Bluetooth daemon ([`bluez`] on a [`bus`] of its own).

pub mod bluez;
pub mod bus;
pub mod cable;
pub mod comxim;
mod due;
pub mod grbl;
pub mod marlin;
pub mod modbus;
mod motor;
pub mod peer;
pub mod platform;
pub mod relay;
pub mod revopoint;
pub mod tether;

use tokio::time::Instant;

/// A device at the far end of a wire. It does everything that is due when it is asked, by the times it is given.
pub trait Device: Send {
    /// Lets time pass.
    fn advance(&mut self, now: Instant);

    /// Somebody opened the wire at the near end.
    fn opened(&mut self, now: Instant);

    /// Bytes arrive.
    fn hear(&mut self, bytes: &[u8], now: Instant);

    /// What it has said since it was asked last.
    fn say(&mut self, now: Instant) -> Vec<u8>;
}
