//! The daemon of a photographic capture station: turns the object, shoots it from every angle, judges each picture
//! while it still stands there, keeps every acknowledged frame and delivers it with proven hashes.
//!
//! Start reading at [`session`]: the way of one frame.

pub mod access;
pub mod api;
pub mod arming;
pub mod audit;
pub mod bench;
pub mod calibration;
pub mod care;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod constancy;
pub mod derivative;
pub mod diagnostics;
pub mod durable;
pub mod emergency;
pub mod exit;
pub mod flags;
pub mod fleet;
pub mod identify;
pub mod io;
pub mod listen;
pub mod motion;
pub mod network;
pub mod panel;
pub mod recipe;
pub mod restart;
pub mod rig;
pub mod rim;
pub mod run;
pub mod secrets;
pub mod session;
pub mod station;
pub mod status;
pub mod systemd;
pub mod update;
pub mod window;
pub mod words;
