//! What belongs beside an exported picture: files that came with it, its lens, and its points.
//!
//! All are named after the picture. `017_main_170.0.jpg` has `017_main_170.0_depth.png`, `..._raw.nef`, `..._lens.json`
//! and `..._points.ply`. What is made here says in the manifest of which files, as `made_of`.

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};
use turnstage_cloud_sync::{Record, Sha256};
use turnstage_drivers::frame::{Codec, FrameData};
use turnstage_drivers::optics::Intrinsics;
use turnstage_pipeline::InputLimits;
use turnstage_pipeline::depth::{self, Distances};

use crate::exit::{self, Exit};
use crate::session::{self, DEPTH};

/// Of the depth pictures that are kept.
const STEP_M: f64 = 0.001;

/// The files among `all` that came with a picture and are still here, under names that go with `name`, which is the
/// picture's.
pub(super) fn came_with(picture: &Record, name: &str, all: &[Record]) -> Vec<Record> {
    let own = all.iter().filter(|one| session::came_with(one, picture) && !one.media.is_empty());
    let named = own.map(|one| {
        let mut one = one.clone();
        let extension = one.facts.file_name.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        one.facts.file_name = sibling(name, &one.key.product, extension);
        one
    });
    let mut named: Vec<Record> = named.collect();
    // Of several destinations the files are the same.
    named.sort_by_key(|one| one.key.sequence);
    named.dedup_by_key(|one| one.key.sequence);
    named
}

/// The lens that a picture was taken through, where the camera told it.
pub(super) fn lens(picture: &Record) -> Result<Option<Intrinsics>> {
    let told = picture.meta.get("lens").cloned().unwrap_or_default();
    let read = serde_json::from_value(told).map_err(|why| {
        let name = &picture.facts.file_name;
        Exit::new(exit::DATA, format!("what is stored of the lens of {name} is not understood: {why}"))
    });
    Ok(read?)
}

/// The lens as a file.
pub(super) fn lens_file(picture: &Record, lens: &Intrinsics) -> (Record, Vec<u8>) {
    let file = depth::intrinsics_json(lens);
    (made(picture, "lens", ("json", "application/json"), &file, &[picture]), file)
}

/// The points that a depth picture holds, in the colours of the picture that it came with.
pub(super) fn points(
    (picture, color): (&Record, Bytes),
    (depth, distances): (&Record, &[u8]),
    lens: &Intrinsics,
) -> Result<(Record, Vec<u8>)> {
    let color = FrameData::Encoded { codec: Codec::Jpeg, bytes: color };
    let file = Distances::of_png(distances, STEP_M, &InputLimits::default())
        .and_then(|distances| depth::ply(&color, &distances, lens))
        .map_err(|why| Exit::new(exit::DATA, format!("no points of {}: {why}", picture.facts.file_name)))?;
    let record = made(picture, "points", ("ply", "application/octet-stream"), &file, &[picture, depth]);
    Ok((record, file))
}

/// Tells of depth pictures in `folder`, in the order of the frames, where every frame has one: nerfstudio takes all or
/// none. Their millimetres are what it expects unless told otherwise (`depth_unit_scale_factor` 1e-3).
pub(super) fn tell_depths(transforms: &mut Value, companions: &[Vec<Record>], folder: &str) {
    let paths = companions.iter().map(|of| {
        let depth = of.iter().find(|one| one.key.product == DEPTH)?;
        Some(format!("{folder}/{}", depth.facts.file_name))
    });
    let Some(paths) = paths.collect::<Option<Vec<String>>>() else { return };
    let frames = transforms["frames"].as_array_mut().into_iter().flatten();
    frames.zip(paths).for_each(|(frame, path)| frame["depth_file_path"] = path.into());
}

/// A file that is made here, as a record of its own.
fn made(
    picture: &Record,
    product: &str,
    (extension, content_type): (&str, &str),
    bytes: &[u8],
    of: &[&Record],
) -> Record {
    let mut record = picture.clone();
    record.key.product = product.to_owned();
    record.facts.file_name = sibling(&picture.facts.file_name, product, extension);
    record.facts.content_type = content_type.to_owned();
    record.sha256 = Sha256::of(bytes);
    record.length = bytes.len() as u64;
    let of: Vec<&str> = of.iter().map(|one| one.facts.file_name.as_str()).collect();
    record.meta = json!({ "schema": 1, "made_of": of });
    record
}

fn sibling(picture: &str, product: &str, extension: &str) -> String {
    let stem = picture.rsplit_once('.').map_or(picture, |(stem, _)| stem);
    format!("{stem}_{product}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a frame's file, as the interface gives it.
    fn record(sequence: u64, product: &str, shot: u32, file_name: &str) -> Record {
        let hash = Sha256::of(b"");
        let record = json!({
            "schema": 1,
            "key": { "sequence": sequence, "product": product, "destination": "local" },
            "state": "captured",
            "facts": {
                "org": "o", "site": "s", "item": "i", "session": "t", "camera": "main", "shot": shot, "take": 1,
                "angle_commanded": 0.0, "angle_reached": 0.0, "capture_class": "durable", "consent": null,
                "actor": "a", "trace_id": "t", "file_name": file_name, "content_type": "image/jpeg",
                "sha256_captured": hash,
            },
            "sha256": hash, "length": 0, "media": "somewhere",
            "captured_at": { "wall_ms": 0, "quality": "synced", "boottime_ms": 0, "boot_id": "b" },
            "superseded_by": null, "attempts": 0, "next_attempt": null, "failure": null, "receipt": null,
            "confirmed_at": null, "meta": {},
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn what_came_with_a_picture_is_named_after_it_once_and_nothing_else_is() {
        let picture = record(1, "original", 0, "001_main.jpg");
        let mut gone = record(4, "raw", 0, "001_main_raw.nef");
        gone.media = String::new();
        let depth = record(2, "depth", 0, "001_main_depth.png");
        let mut elsewhere = depth.clone();
        elsewhere.key.destination = "cloud".to_owned();
        let other = record(6, "depth", 1, "002_main_depth.png");
        let all = [picture.clone(), depth, elsewhere, record(3, "raw", 0, "001_main_raw.cr3"), gone, other];
        let found = came_with(&picture, "1_001_main.jpg", &all);
        let names: Vec<&str> = found.iter().map(|one| one.facts.file_name.as_str()).collect();
        assert_eq!(names, ["1_001_main_depth.png", "1_001_main_raw.cr3"]);
    }

    #[test]
    fn a_lens_is_told_or_not_and_one_that_is_not_understood_is_named_by_its_picture() {
        let mut picture = record(1, "original", 0, "001_main.jpg");
        assert_eq!(lens(&picture).unwrap(), None);
        picture.meta = json!({ "lens": null });
        assert_eq!(lens(&picture).unwrap(), None);
        let told = json!({
            "width": 4, "height": 3, "fx": 2.0, "fy": 2.0, "cx": 1.5, "cy": 1.0, "distortion": "inverse-brown",
            "coefficients": [0.1, 0.0, 0.0, 0.0, 0.0],
        });
        picture.meta = json!({ "lens": told });
        let (record, file) = lens_file(&picture, &lens(&picture).unwrap().unwrap());
        assert_eq!(
            (record.facts.file_name.as_str(), record.sha256),
            ("001_main_lens.json", Sha256::of(&file))
        );
        assert_eq!(record.meta["made_of"], json!(["001_main.jpg"]));
        picture.meta = json!({ "lens": { "fx": "wide" } });
        assert!(
            lens(&picture).unwrap_err().to_string().contains("the lens of 001_main.jpg is not understood")
        );
    }

    #[test]
    fn distances_are_told_of_every_frame_or_of_none() {
        let transforms =
            || json!({ "frames": [{ "file_path": "images/a.jpg" }, { "file_path": "images/b.jpg" }] });
        let depth = |name: &str| vec![record(9, "raw", 0, "x_raw.nef"), record(2, "depth", 0, name)];
        let mut all = transforms();
        tell_depths(&mut all, &[depth("a_depth.png"), depth("b_depth.png")], "depth");
        assert_eq!(all["frames"][0]["depth_file_path"], "depth/a_depth.png");
        assert_eq!(all["frames"][1]["depth_file_path"], "depth/b_depth.png");
        let mut some = transforms();
        tell_depths(&mut some, &[depth("a_depth.png"), Vec::new()], "depth");
        assert_eq!(some, transforms());
    }

    #[test]
    fn distances_that_are_none_are_named_by_their_picture() {
        let picture = record(1, "original", 0, "001_main.jpg");
        let lens = Intrinsics {
            width: 4,
            height: 3,
            fx: 2.0,
            fy: 2.0,
            cx: 1.5,
            cy: 1.0,
            distortion: turnstage_drivers::optics::Distortion::None,
            coefficients: [0.0; 5],
        };
        let depth = record(2, "depth", 0, "001_main_depth.png");
        let error = points((&picture, Bytes::new()), (&depth, b"no PNG"), &lens).unwrap_err().to_string();
        assert!(
            error.starts_with("no points of 001_main.jpg: the stored distances cannot be read"),
            "{error}"
        );
    }
}
