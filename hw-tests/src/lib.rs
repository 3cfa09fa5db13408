//! One conformance suite for cameras and turntables, the same for simulated and for real ones.
//!
//! A bench is a file that names a table and cameras ([`mod@bench`]). Each device is put through the promises of its trait
//! ([`turntable`], [`camera`]), and a [`Report`] names every promise and how it was kept. `benches/sim.toml` runs with
//! the other tests; a real bench is run by hand, with a person beside it:
//! `TURNSTAGE_BENCH=my-bench.toml cargo test -p turnstage-hw-tests --test bench -- --nocapture`.

pub mod bench;
pub mod camera;
mod report;
pub mod turntable;
pub mod wire;

pub use report::{Check, Outcome, Report};
