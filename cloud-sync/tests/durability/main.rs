//! What the spool promises, against kills, power cuts, damage and full disks.
//!
//! The tests start this binary again as a station that writes (see `writer`), end it in one of many ways, and compare
//! what is left with what it acknowledged.
#![allow(clippy::unwrap_used, reason = "this whole crate is a test")]

mod damage;
mod deliver;
mod flushes;
mod full;
mod kill;
mod power_loss;
mod support;
mod tidy;
mod writer;
