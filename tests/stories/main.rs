//! The product's stories, one module each.

mod api;
mod bad_input;
mod cloud;
mod commands;
mod disk_full;
mod halt;
mod journal;
mod layout;
mod lying_storage;
mod network;
mod offline;
mod power_cut;
mod service;
mod spin;
mod tidy;
mod wet_lens;
mod wrong_tenant;
