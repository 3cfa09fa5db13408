//! Bad input: a clear error that says what, where and what to do; an exit code for scripts; nothing is lost.

use std::path::Path;

use tempfile::TempDir;
use turnstage_tests::{Ran, pictures, quick_rig, turnstage, write_recipe};

struct Case {
    data: TempDir,
}

impl Case {
    fn new(config: &str) -> Self {
        let data = TempDir::new().expect("a folder");
        let recipes = data.path().join("recipes");
        write_recipe(&recipes, "turn4", 4, "");
        let text = format!("{config}\n[recipes]\nfolder = \"{}\"\n", recipes.display());
        std::fs::write(data.path().join("station.toml"), text).expect("a configuration");
        Self { data }
    }

    fn path(&self) -> &Path {
        self.data.path()
    }

    fn run(&self, verb: &[&str]) -> Ran {
        let config = self.path().join("station.toml").display().to_string();
        let data = self.path().join("data").display().to_string();
        turnstage(&[verb, &["--config", &config, "--data-dir", &data]].concat())
    }
}

/// A real picture, made by the simulated camera.
fn a_picture(case: &Case) -> Vec<u8> {
    let ran = case.run(&["capture", "--item", "a", "--recipe", "turn4", "--release"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let path = pictures(&case.path().join("data/delivered")).into_keys().next().expect("a picture");
    std::fs::read(path).expect("its bytes")
}

#[test]
fn a_broken_configuration_tells_every_problem_and_ends_with_78() {
    let case = Case::new("[station]\nogr = \"x\"\n[uploader]\nparallel = \"many\"\n");
    let ran = case.run(&["check"]);
    assert_eq!(ran.code, 78, "{ran:?}");
    for wanted in ["station.toml", "station.ogr: no such key", "uploader.parallel: must be a whole number"] {
        assert!(ran.err.contains(wanted), "{wanted} in {}", ran.err);
    }
}

#[test]
fn a_broken_recipe_is_refused_with_its_file_and_key() {
    let case = Case::new(&quick_rig(""));
    write_recipe(&case.path().join("recipes"), "broken", 0, "retakes = 99");
    let ran = case.run(&["capture", "--item", "a", "--recipe", "broken"]);
    assert_eq!(ran.code, 78, "{ran:?}");
    for wanted in ["broken.toml", "rows: 0 frames", "retakes: 99 is more than 10"] {
        assert!(ran.err.contains(wanted), "{wanted} in {}", ran.err);
    }
}

#[test]
fn a_broken_picture_is_told_by_inspect_and_delivered_unchanged_by_import() {
    let case = Case::new(&quick_rig(""));
    let good = a_picture(&case);
    let folder = case.path().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("1.jpg"), &good).expect("a picture");
    std::fs::write(folder.join("2.jpg"), &good[..good.len() / 2]).expect("half a picture");
    std::fs::write(folder.join("notes.txt"), "no picture").expect("a text");
    let broken = folder.join("2.jpg").display().to_string();
    let ran = case.run(&["inspect", "--json", &broken]);
    let record: serde_json::Value = serde_json::from_str(ran.out.trim()).expect("one record a line");
    assert_eq!(record["findings"][0]["rule"], "qc.corrupt", "{ran:?}");

    let ran = case.run(&["import", &folder.display().to_string()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("notes.txt"), "what is skipped is told: {ran:?}");
    assert!(ran.out.contains("qc.corrupt"), "{ran:?}");
    let delivered = pictures(&case.path().join("data/delivered"));
    for hash in pictures(&folder).values() {
        assert!(delivered.values().any(|known| known == hash), "every file is delivered as it is");
    }
}

#[test]
fn a_missing_output_folder_keeps_everything_until_it_is_there() {
    let root = "create = true";
    let case = Case::new(&quick_rig("").replace(root, "create = false"));
    let ran = case.run(&["capture", "--item", "a", "--recipe", "turn4", "--release"]);
    assert_eq!(ran.code, 69, "{ran:?}");
    assert!(ran.out.contains("destination-missing") && ran.out.contains("delivered"), "{ran:?}");
    let kept = pictures(&case.path().join("data/spool/media"));
    assert_eq!(kept.len(), 4);
    std::fs::create_dir(case.path().join("data/delivered")).expect("the folder");
    let ran = case.run(&["queue", "send"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let delivered = pictures(&case.path().join("data/delivered"));
    let mut hashes: Vec<_> = delivered.values().collect();
    let mut originals: Vec<_> = kept.values().collect();
    hashes.sort();
    originals.sort();
    assert_eq!(hashes, originals);
}

#[test]
fn a_corrupted_spool_is_found_by_check_and_made_anew_by_rebuild() {
    let case = Case::new(&quick_rig(""));
    a_picture(&case);
    assert_eq!(case.run(&["queue", "check"]).code, 0);
    let kept = pictures(&case.path().join("data/spool/media"));
    std::fs::remove_dir_all(case.path().join("data/spool/index")).expect("the index is lost");
    let ran = case.run(&["queue", "rebuild"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = case.run(&["queue", "check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = case.run(&["queue", "send"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(pictures(&case.path().join("data/spool/media")), kept);

    let damaged = kept.keys().next().expect("a picture");
    std::fs::write(damaged, b"bit rot").expect("damage");
    let ran = case.run(&["queue", "check"]);
    assert_eq!(ran.code, 65, "{ran:?}");
    let name = damaged.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(ran.out.contains(&name), "the damaged file is named: {ran:?}");
}

#[test]
fn a_missing_folder_and_an_unknown_object_are_told() {
    let case = Case::new(&quick_rig(""));
    let ran = case.run(&["import", "/nowhere/at/all"]);
    assert_eq!(ran.code, 66, "{ran:?}");
    assert!(ran.err.contains("/nowhere/at/all"), "{ran:?}");
    let ran = case.run(&["demo", "--once", "--object", "elephant"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("vase, car, chrome, toy"), "{ran:?}");
}

#[test]
fn a_spin_taken_up_later_finds_the_object_that_the_demo_was_given() {
    let case = Case::new(&quick_rig(""));
    let ran = case.run(&["demo", "--once", "--object", "car", "--recipe", "turn4"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let kept = std::fs::read_to_string(case.path().join("data/last-good.toml")).expect("a configuration");
    let kept: toml::Table = kept.parse().expect("TOML");
    assert_eq!(kept["booth"]["object"].as_str(), Some("car"));
    assert!(kept["rig"]["cameras"]["main"].is_table(), "everything else is as it was");
}
