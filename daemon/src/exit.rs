//! Exit codes, in the numbers of `sysexits.h` where one fits.
//!
//! `run` as a service ends only with [`TASK_DIED`] or [`RESTART`]; everything else is a state that can be read. The
//! other codes belong to `check`, `capture`, `demo`, `import`, `inspect` and `run --strict`.

use std::fmt;

/// It worked.
pub const OK: u8 = 0;
/// A figure of `bench --strict` is over its limit.
pub const OVER_LIMIT: u8 = 1;
/// The command line itself is wrong (clap's own code).
pub const USAGE: u8 = 2;
/// The input was read and is not good: unreadable pictures, a damaged spool.
pub const DATA: u8 = 65;
/// The input is not there: a missing folder or session.
pub const NO_INPUT: u8 = 66;
/// A camera, table or destination is missing or failed.
pub const HARDWARE: u8 = 69;
/// A task of the daemon died: systemd restarts it.
pub const TASK_DIED: u8 = 70;
/// The disk does not store: full, read-only or failing.
pub const STORAGE: u8 = 74;
/// A restart was asked for: systemd does it.
pub const RESTART: u8 = 75;
/// The command was understood and refused by a rule.
pub const REFUSED: u8 = 77;
/// Wrong configuration or recipe.
pub const CONFIGURATION: u8 = 78;

/// An end with its code; what a person reads is the message.
#[derive(Debug)]
pub struct Exit {
    /// One of this module's codes.
    pub code: u8,
    /// What went wrong, where, and what to do.
    pub message: String,
}

impl Exit {
    /// An end with `code`, told as `message`.
    pub fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}
