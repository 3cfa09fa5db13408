//! The station in its fleet: what it tells over the broker, and what it lets itself be told.
//!
//! One task, four loops beside each other: the link; live state ([`telling`]); the log, from where the broker has it
//! ([`backlog`]); commands and configuration ([`listener`]). Topics and payloads are described in
//! docs/fleet/asyncapi.yaml. The broker is transport, not authority: what changes something here is signed by a key of
//! the station's own trust file.

pub mod backlog;
pub mod behind;
pub mod commands;
pub mod discovery;
pub mod ledger;
pub mod listener;
pub mod manager;
pub mod message;
pub mod signed;
pub mod state;
pub mod telemetry;
pub mod topics;
