//! The main job: a spin from the start command to originals delivered with proven hashes.

use std::collections::BTreeSet;

use tempfile::TempDir;
use turnstage_cloud_sync::Sha256;
use turnstage_tests::{photos, pictures, turnstage};

#[test]
fn the_demo_delivers_36_confirmed_frames_and_ends_by_itself() {
    let data = TempDir::new().expect("a folder");
    let dir = data.path().display().to_string();
    let ran = turnstage(&["demo", "--once", "--json", "--data-dir", &dir]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: serde_json::Value =
        serde_json::from_str(ran.out.lines().last().expect("a summary")).expect("JSON");
    assert_eq!(summary["frames"], 36);
    assert_eq!(summary["flagged"], 0);
    assert_eq!(summary["delivery"]["confirmed"], 36, "{summary}");

    let delivered = pictures(&data.path().join("delivered"));
    let originals: BTreeSet<Sha256> = pictures(&data.path().join("spool/media")).into_values().collect();
    assert_eq!(delivered.len(), 36);
    assert_eq!(delivered.values().copied().collect::<BTreeSet<_>>(), originals);

    let manifest = delivered.keys().next().expect("a picture").with_file_name("manifest.json");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(manifest).expect("a manifest")).expect("JSON");
    let listed: BTreeSet<String> = manifest["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file["sha256"].as_str().expect("a hash").to_owned())
        .collect();
    assert_eq!(listed, originals.iter().map(ToString::to_string).collect());
}

#[test]
fn thirteen_real_photographs_are_imported_and_delivered_unchanged() {
    let Some(photos) = photos("thirteen_real_photographs_are_imported_and_delivered_unchanged") else {
        return;
    };
    let folder = photos.join("buddha");
    let data = TempDir::new().expect("a folder");
    let dir = data.path().display().to_string();
    let ran = turnstage(&["import", &folder.display().to_string(), "--data-dir", &dir, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: serde_json::Value =
        serde_json::from_str(ran.out.lines().last().expect("a summary")).expect("JSON");
    assert_eq!(summary["delivery"]["confirmed"], 13, "{summary}");
    let hashes = |folder| pictures(folder).into_values().collect::<BTreeSet<Sha256>>();
    assert_eq!(hashes(&data.path().join("delivered")), hashes(&folder));

    let files: Vec<String> = pictures(&folder).into_keys().map(|path| path.display().to_string()).collect();
    let args: Vec<&str> = ["inspect", "--json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let ran = turnstage(&args);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 13), "{ran:?}");
    for line in ran.out.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((record["width"].as_u64(), record["height"].as_u64()), (Some(2736), Some(1540)));
        assert!(record["sharpness"]["half"].as_f64().expect("a value") > 0.0);
        assert_eq!(record["sha256"].as_str().expect("a hash").len(), 64);
    }
}
