//! Power cuts, by the model in `power_loss.c`: of every file only what was synced is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{content, open, rounds, skip};
use super::writer::{Model, Writer};

/// What is left of a station whose power was cut.
struct Cut {
    image: PathBuf,
    model: Model,
}

/// Builds the library that models the disk; says so when it cannot.
fn shim(dir: &Path, name: &str) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_loss.c");
    let library = dir.join("power_loss.so");
    let built = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror", "-Wno-format-truncation", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output();
    match built {
        Ok(built) if built.status.success() => Some(library),
        Ok(built) => panic!("{}", String::from_utf8_lossy(&built.stderr)),
        Err(error) => {
            skip(name, &format!("no C compiler: {error}"));
            None
        }
    }
}

/// Writes in one life, opens again, and has its power cut in the second.
fn cut(dir: &Path, shim: &Path, seed: u64, rng: &mut fastrand::Rng, knobs: &[(&str, &str)]) -> Cut {
    let (source, target) = (dir.join(format!("station-{seed}")), dir.join(format!("disk-{seed}")));
    for folder in [&source, &target.join("data"), &target.join("tree")] {
        fs::create_dir_all(folder).unwrap();
    }
    let mut model = Model::default();
    let listen = |command: &mut Command| {
        command
            .env("LD_PRELOAD", shim)
            .env("PL_SRC", &source)
            .env("PL_DST", &target)
            .envs(knobs.iter().copied());
    };
    // The second life opens what the first one left.
    Writer::start(&source, seed, Some(5), listen).finish(&mut model);
    Writer::start(&source, seed, None, listen).kill_after(rng.u64(1..40), &mut model, rng);
    let image = target.join("tree");
    if !knobs.iter().any(|(name, _)| *name == "PL_STRICT") {
        // The journal kept the name of a new file, nobody kept its content.
        for path in content(&source).into_keys() {
            let kept = image.join(path.strip_prefix(&source).unwrap());
            if !kept.exists() && kept.parent().unwrap().exists() {
                fs::write(kept, b"").unwrap();
            }
        }
    }
    Cut { image, model }
}

/// Cuts the power of many stations; gives the number of frames and all that was lost.
async fn cut_many(name: &str, cuts: u64, knobs: &[(&str, &str)]) -> Option<(usize, Vec<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let shim = shim(dir.path(), name)?;
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut frames, mut lost, mut unanswered) = (0, Vec::new(), (0, 0));
    for seed in 0..cuts {
        let mut cut = cut(dir.path(), &shim, seed, &mut rng, knobs);
        let (spool, opened) = open(&cut.image);
        lost.extend(opened.media_damaged.iter().map(|key| format!("{key} has lost its media")));
        lost.extend(cut.model.compare(&spool).await);
        frames += cut.model.frames();
        unanswered = (unanswered.0 + cut.model.unanswered.0, unanswered.1 + cut.model.unanswered.1);
        spool.close().await;
        drop(fs::remove_dir_all(dir.path().join(format!("station-{seed}"))));
    }
    println!(
        "{name}: {frames} frames, {cuts} cuts, {} promises broken; unanswered: {unanswered:?}",
        lost.len()
    );
    Some((frames, lost))
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let name = "a_power_cut_takes_nothing_that_was_acknowledged";
    let Some((frames, lost)) = cut_many(name, rounds(12), &[]).await else { return };
    assert_eq!(lost, Vec::<String>::new());
    assert!(frames > 100, "only {frames} frames were written");
}

#[tokio::test]
async fn not_even_when_a_name_lasts_only_from_the_sync_of_its_folder_on() {
    let name = "not_even_when_a_name_lasts_only_from_the_sync_of_its_folder_on";
    let Some((frames, lost)) = cut_many(name, rounds(12), &[("PL_STRICT", "1")]).await else { return };
    assert_eq!(lost, Vec::<String>::new());
    assert!(frames > 100, "only {frames} frames were written");
}

/// sled's own flush is no sync: without the one that the store adds, states and events are lost; the frames are not,
/// because the sidecars bring them back.
#[tokio::test]
async fn control_without_the_sync_of_the_index_states_are_lost_and_frames_are_not() {
    let name = "control_without_the_sync_of_the_index_states_are_lost_and_frames_are_not";
    let Some((_, lost)) = cut_many(name, 4, &[("PL_DEAF", "/index/db")]).await else { return };
    assert!(lost.iter().any(|what| what.contains("events tell of")), "{lost:?}");
    assert!(lost.iter().any(|what| what.contains("state: ")), "{lost:?}");
    assert!(!lost.iter().any(|what| what.contains("is lost")), "{lost:?}");
}

#[tokio::test]
async fn control_without_any_sync_of_sidecars_and_index_frames_are_lost() {
    let name = "control_without_any_sync_of_sidecars_and_index_frames_are_lost";
    let knobs = [("PL_DEAF", "/index/db:.json.tmp")];
    let Some((_, lost)) = cut_many(name, 4, &knobs).await else { return };
    assert!(lost.iter().any(|what| what.contains("is lost")), "{lost:?}");
}

#[tokio::test]
async fn control_without_the_sync_of_media_pictures_are_lost() {
    let name = "control_without_the_sync_of_media_pictures_are_lost";
    let Some((_, lost)) = cut_many(name, 4, &[("PL_DEAF", ".jpg.tmp")]).await else { return };
    assert!(lost.iter().any(|what| what.contains("has lost its media")), "{lost:?}");
}
