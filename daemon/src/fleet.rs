//! The station in its fleet: what it tells over the broker, and what it lets itself be told.
//!
//! Topics and payloads are described in docs/fleet/asyncapi.yaml. The broker is transport, not authority: what changes
//! something here is signed by a key of the station's own trust file.

pub mod discovery;
pub mod message;
pub mod state;
pub mod telemetry;
pub mod topics;
