//! Every transcript is played against the driver of its folder, in paused time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use turnstage_drivers::DeviceOptions;
use turnstage_drivers::turntable::profile::model::Model;
use turnstage_drivers::turntable::profile::shelf;
use turnstage_drivers::turntable::{SPEAKERS, transcript};

/// Its folders are named for profiles instead.
const PROFILE: &str = "profile";

fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn speakers() -> BTreeSet<String> {
    SPEAKERS.iter().map(|speaker| speaker.name.to_owned()).filter(|name| name != PROFILE).collect()
}

fn profiles() -> BTreeSet<String> {
    shelf::built_in().into_iter().map(|model| model.id).collect()
}

fn options(folder: &str) -> DeviceOptions {
    if speakers().contains(folder) {
        return DeviceOptions::new(folder);
    }
    let mut options = DeviceOptions::new(PROFILE);
    options.keys.insert("profile".to_owned(), folder.into());
    options
}

#[tokio::test(start_paused = true)]
async fn every_transcript_is_what_its_driver_does() {
    let mut wrong = Vec::new();
    for folder in entries(&stories()).into_iter().filter(|folder| folder.is_dir()) {
        let options = options(&name(&folder));
        for story in entries(&folder) {
            let text = std::fs::read_to_string(&story).unwrap();
            if let Err(mismatch) = transcript::play(&text, &options).await {
                wrong.push(format!("{}/{}: {mismatch}", name(&folder), name(&story)));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_profile_and_every_driver_that_speaks_over_a_link_has_transcripts() {
    for text in shelf::BUILT_IN {
        let id = text.lines().find(|line| line.starts_with("id")).unwrap_or("without an id");
        if let Err(why) = Model::read(text) {
            panic!("the built-in profile {id} cannot be read: {why}");
        }
    }
    for speaker in speakers().union(&profiles()) {
        let folder = stories().join(speaker);
        assert!(folder.is_dir() && !entries(&folder).is_empty(), "write {}/STORY.txt", folder.display());
    }
}

/// A driver that takes keys of a link speaks over one, whatever it is registered as.
#[test]
fn no_driver_has_a_link_without_being_held_to_transcripts() {
    for file in entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/turntable")) {
        let Some(driver) = name(&file).strip_suffix(".rs").map(str::to_owned) else { continue };
        if std::fs::read_to_string(&file).unwrap().contains("LinkKeys::take") {
            assert!(
                SPEAKERS.iter().any(|speaker| speaker.name == driver),
                "{driver} takes keys of a link; add it to SPEAKERS in drivers/src/turntable.rs"
            );
        }
    }
}
