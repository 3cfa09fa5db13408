//! What comes with a picture leaves with it: depth pictures, raw files, lenses and points in an exported folder, read
//! back by readers of the story's own. The depth camera is the real librealsense, playing a recording of known geometry.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage::command::{Act, Which};
use turnstage::session::SessionState;
use turnstage_cloud_sync::Sha256;
use turnstage_hw_tests::realsense_lab::{Lab, VERSIONS};
use turnstage_tests::service::Service;
use turnstage_tests::{Bench, Ran, lenient_policy, quick_rig, skip, turnstage, write_recipe};

/// What recording.py draws, in metres: a square before a wall, and where the colour camera stands from the other.
const WALL_M: f64 = 1.5;
const SQUARE_M: f64 = 0.8;
const BESIDE_M: f64 = 0.015;
/// Edges of the square in the depth picture: left, right, top, bottom.
const EDGES_PX: [f64; 4] = [109.5, 199.5, 79.5, 159.5];
/// fx, fy, cx, cy of the depth camera.
const DEPTH_LENS: [f64; 4] = [190.5, 190.25, 159.5, 119.75];
/// A pixel and a half of the colour camera at the square. With the library's own alignment, which leaves its lens out, the
/// square would be up to 7 mm beside.
const APART_M: f64 = 0.004;

fn read(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files that the manifest names, by product; each has the hash that stands there, and no other file is there.
fn listed(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let manifest: Value = serde_json::from_slice(&read(folder, "manifest.json")).expect("JSON");
    let mut files = BTreeMap::<String, Vec<String>>::new();
    for entry in manifest["files"].as_array().expect("files") {
        let name = entry["file"].as_str().expect("a name");
        let bytes = read(folder, name);
        assert_eq!(entry["sha256"], Sha256::of(&bytes).to_string(), "{entry}");
        assert_eq!(entry["length"], bytes.len(), "{entry}");
        files
            .entry(entry["product"].as_str().expect("a product").to_owned())
            .or_default()
            .push(name.to_owned());
    }
    let there = std::fs::read_dir(folder).expect("a folder").count();
    assert_eq!(there, 1 + files.values().map(Vec::len).sum::<usize>(), "{files:?}");
    files
}

/// Samples of a grey PNG of 16 bits, and how many a row has.
fn millimetres(file: &[u8]) -> (Vec<u16>, usize) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("a picture");
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Sixteen));
    (bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect(), info.width as usize)
}

/// Places in metres and red, green, blue of a PLY, by the words of its header.
fn cloud(file: &[u8]) -> Vec<([f64; 3], [u8; 3])> {
    let end = b"end_header\n";
    let at = file.windows(end.len()).position(|window| window == end).expect("a header") + end.len();
    let header = std::str::from_utf8(&file[..at]).expect("text");
    let count = header.lines().find_map(|line| line.strip_prefix("element vertex ")).expect("a count");
    let points = file[at..].chunks_exact(15).map(|point| {
        let lane = |at: usize| {
            f64::from(f32::from_le_bytes([point[at], point[at + 1], point[at + 2], point[at + 3]]))
        };
        ([lane(0), lane(4), lane(8)], [point[12], point[13], point[14]])
    });
    let points: Vec<_> = points.collect();
    assert_eq!(points.len().to_string(), count);
    points
}

/// Least and largest of one lane.
fn range(points: &[([f64; 3], [u8; 3])], lane: usize) -> [f64; 2] {
    let lanes = points.iter().map(|(place, _)| place[lane]);
    lanes.fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], here| [least.min(here), most.max(here)])
}

/// A depth picture in millimetres, a lens and points of one shot, against what was drawn.
fn is_true(folder: &Path, stem: &str) {
    let lens: Value = serde_json::from_slice(&read(folder, &format!("{stem}_lens.json"))).expect("JSON");
    let numbers = ["fx", "fy", "cx", "cy"].map(|key| lens[key].as_f64().expect("a number"));
    assert_eq!(numbers, [305.125, 305.0, 160.25, 120.5]);
    assert_eq!((&lens["distortion"], &lens["width"]), (&json!("inverse-brown"), &json!(320)));
    assert_eq!(lens["coefficients"][0], 0.5);

    let (samples, width) = millimetres(&read(folder, &format!("{stem}_depth.png")));
    assert_eq!((width, samples.len()), (320, 320 * 240));
    // The colour of set n is n red, and its square is n mm farther away.
    let nearest = *samples.iter().filter(|step| **step > 0).min().expect("distances");
    let number = nearest - 800;
    assert!((1..=60).contains(&number), "the square is {nearest} mm away");
    assert!(samples.iter().all(|step| [0, nearest, 1500].contains(step)));

    let points = cloud(&read(folder, &format!("{stem}_points.ply")));
    assert_eq!(points.len(), samples.iter().filter(|step| **step > 0).count());
    let color = |[red, green, blue]: [u8; 3]| {
        i32::from(red).abs_diff(i32::from(number)) <= 6 && green <= 8 && blue <= 8
    };
    assert!(points.iter().all(|(_, rgb)| color(*rgb)), "set {number}: {:?}", points[0]);
    let (near, far): (Vec<_>, Vec<_>) = points.into_iter().partition(|(place, _)| place[2] < 1.2);
    let z = SQUARE_M + f64::from(number) / 1000.0;
    let same = |range: [f64; 2], z: f64| range.iter().all(|found| (found - z).abs() < 1e-6);
    assert!(same(range(&near, 2), z) && same(range(&far, 2), WALL_M));
    let [left, right, top, bottom] = EDGES_PX;
    let [fx, fy, cx, cy] = DEPTH_LENS;
    let wanted = [
        [(left - cx) / fx * z + BESIDE_M, (right - cx) / fx * z + BESIDE_M],
        [(top - cy) / fy * z, (bottom - cy) / fy * z],
    ];
    let found = [range(&near, 0), range(&near, 1)];
    let apart = found.as_flattened().iter().zip(wanted.as_flattened()).map(|(found, wanted)| found - wanted);
    assert!(apart.clone().all(|apart| apart.abs() < APART_M), "{:?} m", apart.collect::<Vec<f64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_depth_cameras_distances_lenses_and_points_leave_with_its_pictures() {
    let lab = match Lab::find(VERSIONS[0]) {
        Ok(lab) => lab,
        Err(why) => return skip("a_depth_cameras_distances_lenses_and_points_leave_with_its_pictures", &why),
    };
    let folder = TempDir::new().expect("a folder");
    let recipes = folder.path().join("recipes");
    write_recipe(&recipes, "turn4", 4, "retakes = 0");
    let file = recipes.join("turn4.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(&file, format!("{text}\n{}", lenient_policy())).expect("the recipe");
    let rig = quick_rig("");
    let (rig, _) = rig.split_once("[rig.cameras.main]").expect("a camera");
    let rig = format!(
        "{rig}\n[rig.cameras.depth]\ndriver = \"realsense\"\nloop = true\n{}\n[recipes]\nfolder = {recipes:?}\n",
        lab.keys(&lab.bent_recording(60))
    );
    let service = Service::start(&rig, &lab.environment()).await;
    service.until("ready", |status| status["kind"] == "ready").await;
    let id = service.start_session("turn4").await;
    let session = service.settled().await;
    assert_eq!((&session["state"], &session["taken"]), (&json!("review"), &json!(4)), "{session}");

    let data = service.data().display().to_string();
    let export = |more: &[&str], to: &Path| -> Ran {
        let to = to.display().to_string();
        let common = ["export", &id, "--data-dir", &data, "--to", &to];
        turnstage(&[&common[..], more].concat())
    };
    let plain = folder.path().join("plain");
    let ran = export(&["--format", "folder"], &plain);
    assert!(ran.code == 0 && ran.out.contains("4 pictures written"), "{ran:?}");
    let files = listed(&plain);
    let products: Vec<(&str, usize)> =
        files.iter().map(|(product, all)| (product.as_str(), all.len())).collect();
    assert_eq!(products, [("depth", 4), ("lens", 4), ("original", 4)]);

    let all = folder.path().join("all");
    let ran = export(&["--format", "folder", "--points"], &all);
    assert!(ran.code == 0 && ran.out.contains("12 files lie with them"), "{ran:?}");
    let files = listed(&all);
    assert_eq!(files["points"].len(), 4);
    for picture in &files["original"] {
        is_true(&all, picture.strip_suffix(".jpg").expect("a JPEG"));
    }
    // Copies for somebody else hold everything as well.
    assert_eq!(read(&plain, &files["depth"][0]), read(&all, &files["depth"][0]));
}

#[tokio::test]
async fn a_raw_file_and_a_lens_leave_with_their_picture_and_points_of_nothing_are_refused() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn3", 3, "");
    let text = quick_rig("tells_lens = true\nraw = true");
    let bench = Bench::on_disk(&text, data).await;
    let id = bench.start("turn3").await;
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    // A raw file goes with its own picture: the former pair of the second frame is history together.
    let again = Act::Retake { which: Which::Frames(vec![2]) };
    bench.ask(again).await.expect("a retake");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    let former: Vec<(u32, String)> = (bench.records(&id).await.into_iter())
        .filter(|record| record.superseded_by.is_some())
        .map(|record| (record.facts.shot, record.key.product))
        .collect();
    assert_eq!(former, [(1, "original".to_owned()), (1, "raw".to_owned())]);
    let shelf = TempDir::new().expect("a folder");
    let data = bench.end().await;
    let (data_dir, config) = (data.path().display().to_string(), shelf.path().join("station.toml"));
    std::fs::write(&config, &text).expect("a configuration");
    let config = config.display().to_string();
    let export = |more: &[&str]| {
        turnstage(&[&["export", &id, "--config", &config, "--data-dir", &data_dir][..], more].concat())
    };

    let to = shelf.path().join("out");
    let folder = to.display().to_string();
    let ran = export(&["--format", "folder", "--points", "--to", &folder]);
    assert!(ran.code == 66 && ran.err.contains("has distances on this station"), "{ran:?}");
    assert!(!to.exists(), "nothing is written before a refusal");
    let ran = export(&["--format", "nerf", "--points", "--to", &folder]);
    assert!(ran.code == 2 && ran.err.contains("--points goes with --format folder"), "{ran:?}");

    let ran = export(&["--format", "folder", "--to", &folder]);
    assert!(ran.code == 0 && ran.out.contains("6 files lie with them"), "{ran:?}");
    let files = listed(&to);
    let stems = ["001_main_000.0", "002_main_120.0", "003_main_240.0"];
    assert_eq!(files["raw"], stems.map(|stem| format!("{stem}_raw.simraw")));
    // The frame's number stands in both files of a pair; that of the second is the retake's.
    let number = |stem: &&str| {
        let raw = read(&to, &format!("{stem}_raw.simraw"));
        let jpeg = read(&to, &format!("{stem}.jpg"));
        assert!(jpeg.windows(raw.len()).any(|bytes| bytes == raw), "{stem}");
        let told = String::from_utf8(raw).expect("text");
        told.trim_start_matches("simulated camera, frame ").parse::<u64>().expect("a number")
    };
    let numbers: Vec<u64> = stems.iter().map(number).collect();
    assert!(numbers[0] == 1 && numbers[1] > 3 && numbers[2] == 3, "{numbers:?}");
    let lens: Value = serde_json::from_slice(&read(&to, "003_main_240.0_lens.json")).expect("JSON");
    assert_eq!((&lens["turnstage_lens"], &lens["width"]), (&json!(1), &json!(320)));
}
