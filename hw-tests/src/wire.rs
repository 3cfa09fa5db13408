//! Devices that are not there, behind the wire protocols of those that are: simulators with physics and faults.

pub mod tether;
