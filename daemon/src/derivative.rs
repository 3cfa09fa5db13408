//! What a destination is sent of a picture, by the rule of its configuration.
//!
//! `keep` sends the stored bytes, `write` adds to a copy what the station knows of them, `strip` takes everything out
//! of a copy; the original in the spool is never touched. The copy is made for each attempt by a function that the
//! uploader is handed, from the record and the stored bytes alone: the same give the same, so that what a destination
//! proves is known beforehand and a delivery that was cut off can be repeated. A picture that cannot be added to goes
//! as it is, with a notice; one that cannot be stripped stays here, because what must not be told cannot be called
//! back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use turnstage_cloud_sync::queue::Failure;
use turnstage_cloud_sync::{ClockQuality, Derivative, Derive, Record};
use turnstage_pipeline::metadata::{self, CaptureFacts, MetadataError};

use crate::clock;
use crate::config::{Config, MetadataRule};

/// Of each destination that is not sent what is stored.
pub fn of(config: &Config) -> BTreeMap<String, Derive> {
    let each = config.destinations.iter().map(|(name, one)| (name.clone(), one.metadata()));
    each.filter_map(|(name, rule)| Some((name, derive(rule)?))).collect()
}

fn derive(rule: MetadataRule) -> Option<Derive> {
    match rule {
        MetadataRule::Keep => None,
        MetadataRule::Write => Some(Arc::new(written)),
        MetadataRule::Strip => Some(Arc::new(stripped)),
    }
}

fn written(record: &Record, picture: &Bytes) -> Derivative {
    match metadata::write(picture, &facts(record)) {
        Ok(bytes) => Derivative::Made(bytes),
        Err(error) => Derivative::AsStored(failure(
            "metadata-not-written",
            record,
            &error,
            "it was delivered without what this station knows of it",
        )),
    }
}

fn stripped(record: &Record, picture: &Bytes) -> Derivative {
    match metadata::strip(picture) {
        Ok(bytes) => Derivative::Made(bytes),
        Err(error) => Derivative::Refused(failure(
            "metadata-not-removed",
            record,
            &error,
            "it is not delivered, because it might tell more than it may; shoot it again or set metadata = \"keep\"",
        )),
    }
}

fn failure(rule: &str, record: &Record, error: &MetadataError, what_now: &str) -> Failure {
    let reason = format!("the metadata of {} stay as they are: {error}; {what_now}", record.facts.file_name);
    Failure { rule: rule.to_owned(), reason }
}

/// What the record says of its picture. Records of older versions say less.
fn facts(record: &Record) -> CaptureFacts {
    let (facts, meta) = (&record.facts, &record.meta);
    let camera = &meta["camera"];
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let told = |key: &str| text(&camera["more"][key]);
    CaptureFacts {
        session: facts.session.clone(),
        item: facts.item.clone(),
        camera: facts.camera.clone(),
        shot: facts.shot.saturating_add(1),
        take: facts.take,
        angle_commanded: facts.angle_commanded,
        angle_reached: facts.angle_reached,
        exposed_at: exposed_at(record),
        exposure_s: camera["exposed_with"]["exposure_us"].as_f64().map(|us| us / 1e6),
        f_number: told("f_number").and_then(|value| value.parse().ok()),
        iso: told("iso").and_then(|value| value.parse().ok()),
        make: told("make"),
        model: text(&camera["model"]),
        lens: told("lens"),
        software: text(&meta["software"]).unwrap_or_else(|| "Turnstage".to_owned()),
    }
}

/// Only by a clock that was set from the network; of an imported file nobody here saw the exposure.
fn exposed_at(record: &Record) -> Option<String> {
    let (camera, time) = (&record.meta["camera"], &record.meta["time"]);
    let trusted = record.captured_at.quality == ClockQuality::Synced && camera["from_file"] == false;
    let wall_ms = time["exposed_at_ms"].as_i64().filter(|_| trusted)?;
    let offset_min = time["utc_offset_min"].as_i64().and_then(|min| i32::try_from(min).ok()).unwrap_or(0);
    clock::local(wall_ms, offset_min)
}

#[cfg(test)]
mod tests;
