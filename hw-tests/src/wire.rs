//! Devices that speak their wire protocol: physics, a grammar, and faults that are switched on by knobs.
//!
//! Each knows where it truly stands and counts what it was told, so that a test can prove that nothing moved twice.

pub mod bluez;
pub mod bus;
pub mod peer;
pub mod revopoint;
