//! The product's stories, one module each.

mod api;
mod bad_input;
mod booth;
mod cloud;
mod commands;
mod corrected_item;
mod delivered_metadata;
mod disk_full;
mod drift;
mod halt;
mod import_to_the_cloud;
mod journal;
mod layout;
mod lying_storage;
mod network;
mod no_network;
mod offline;
mod power_cut;
mod service;
mod sign_in_of_the_station;
mod spin;
mod tidy;
mod wet_lens;
mod wrong_tenant;
