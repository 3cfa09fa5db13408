//! One conformance suite for cameras and turntables, the same for simulated and for real ones.
//!
//! A bench is a file that names a table and cameras ([`mod@bench`]). Each device is put through the promises of its trait
//! ([`turntable`], [`camera`]), and a [`Report`] names every promise and how it was kept. `benches/sim.toml` runs with
//! the other tests; a real bench is run by hand, with a person beside it:
//! `cargo run -p turnstage-hw-tests -- run my-bench.toml --by NAME --to report.json` prints the report, signed, and
//! `… -- record report.json` puts what passed on record: the documentation then says "tried on real hardware".

pub mod attendant;
pub mod bench;
pub mod camera;
pub mod eye;
pub mod fake_contacts;
pub mod fake_v4l2;
pub mod people;
pub mod realsense_lab;
pub mod record;
mod report;
pub mod signed;
pub mod turntable;
pub mod wire;

pub use report::{Check, OPENS, OPENS_AGAIN, Outcome, Report};
