//! Pictures told by their own files: the station's facts written for one destination, everything taken out for another.
//!
//! What is written is read by exiftool, which knows nothing of how it was written here.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag};
use serde_json::Value;
use tempfile::TempDir;
use turnstage::clock::SystemClock;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_cloud_sync::queue::State;
use turnstage_cloud_sync::{Clock, ClockQuality, Record, Sha256, Spool, Stamp};
use turnstage_pipeline::metadata::{CaptureFacts, read_capture, strip, write};
use turnstage_tests::{Bench, photos, pictures, quick_rig, read, skip, turnstage, write_recipe};

/// A clock that was set from the network and says one moment of 2026; the boot's own time passes.
struct Set(SystemClock);

impl Clock for Set {
    fn now(&self) -> Stamp {
        Stamp { wall_ms: 1_795_772_000_000, quality: ClockQuality::Synced, ..self.0.now() }
    }
}

fn facts() -> CaptureFacts {
    CaptureFacts {
        session: "0190-s".into(),
        item: "A<b> & \"ü\"".into(),
        camera: "main".into(),
        shot: 18,
        take: 2,
        angle_commanded: Some(170.0),
        angle_reached: Some(170.02),
        exposed_at: Some("2026-11-27T10:55:03.120+01:00".into()),
        exposure_s: Some(0.008),
        f_number: Some(5.6),
        iso: Some(100),
        make: Some("Maker".into()),
        model: Some("Model".into()),
        lens: Some("50 mm".into()),
        software: "Turnstage 0.1.0".into(),
    }
}

/// What exiftool reads in a file, unknown fields too, numbers as numbers, names with their group.
fn exiftool(path: &Path) -> Value {
    let output =
        Command::new("exiftool").args(["-json", "-G1", "-n", "-U"]).arg(path).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")[0].clone()
}

/// What exiftool finds wrong with a file.
fn warnings(path: &Path) -> Vec<String> {
    let args = ["-validate", "-warning", "-error", "-a", "-s3"];
    let output = Command::new("exiftool").args(args).arg(path).output().expect("it runs");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    // The first line is the verdict: OK, or how many follow.
    lines.lines().skip(1).map(str::to_owned).collect()
}

/// A quick rig that delivers to two folders, `written` and `bare`.
fn two_folders() -> String {
    let folder = |name: &str, rule: &str| {
        format!(
            "[destinations.{name}]\nbackend = \"directory\"\nroot = \"{name}\"\ncreate = true\n\
             metadata = \"{rule}\"\n"
        )
    };
    let local = "[destinations.local]\nbackend = \"directory\"\nroot = \"delivered\"\ncreate = true\n";
    quick_rig("").replace(local, &(folder("written", "write") + &folder("bare", "strip")))
}

/// Whether exiftool is here, or `false` after saying so.
fn has_exiftool(test: &str) -> bool {
    let here = Command::new("exiftool").arg("-ver").output().is_ok_and(|output| output.status.success());
    if !here {
        skip(test, "exiftool is not installed (libimage-exiftool-perl)");
    }
    here
}

/// A small picture without metadata.
fn plain_picture() -> Bytes {
    let (width, height) = (64, 48);
    let pixels: Vec<u8> = (0..width * height).flat_map(|at| [at as u8, (at / width) as u8, 99]).collect();
    let format = turbojpeg::PixelFormat::RGB;
    let image = turbojpeg::Image { pixels: &pixels[..], width, pitch: 3 * width, height, format };
    Bytes::from(turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).expect("a picture").to_vec())
}

/// A maker's note as this maker writes it: a directory with one text, whose offset counts from the block's beginning,
/// so that it is wrong as soon as the note moves.
const NOTE_HEAD: &[u8; 18] = b"\0\x01\0\x06\0\x02\0\0\0\x14\0\0\0\0\0\0\0\0";
const NOTE_TEXT: &[u8; 20] = b"IMG: text of a note\0";

/// The same as a camera would write it: lying on its side, with a maker's note and a thumbnail.
fn camera_picture() -> Bytes {
    use exif::Value::{Ascii, Long, Rational as Ratio, Short, Undefined};
    let ascii = |text: &str| Ascii(vec![text.as_bytes().to_vec()]);
    let ratio = |num, denom| Ratio(vec![Rational { num, denom }]);
    let fields = [
        (Tag::Make, ascii("Canon")),
        (Tag::Model, ascii("Camera model")),
        (Tag::Software, ascii("Ver.03.40")),
        (Tag::Orientation, Short(vec![6])),
        (Tag::XResolution, ratio(300, 1)),
        (Tag::YResolution, ratio(300, 1)),
        (Tag::ResolutionUnit, Short(vec![2])),
        (Tag::YCbCrPositioning, Short(vec![2])),
        (Tag::ExifVersion, Undefined(b"0231".to_vec(), 0)),
        (Tag::ComponentsConfiguration, Undefined(vec![1, 2, 3, 0], 0)),
        (Tag::FlashpixVersion, Undefined(b"0100".to_vec(), 0)),
        (Tag::ColorSpace, Short(vec![1])),
        (Tag::PixelXDimension, Long(vec![64])),
        (Tag::PixelYDimension, Long(vec![48])),
        (Tag::ExposureTime, ratio(1, 60)),
        (Tag::DateTimeOriginal, ascii("2020:01:02 03:04:05")),
        (Tag::UserComment, Undefined(b"ASCII\0\0\0left alone".to_vec(), 0)),
        (Tag::MakerNote, Undefined([&NOTE_HEAD[..], NOTE_TEXT].concat(), 0)),
    ];
    let fields = fields.map(|(tag, value)| Field { tag, ifd_num: In::PRIMARY, value });
    let thumbnail = plain_picture();
    let mut writer = Writer::new();
    fields.iter().for_each(|field| writer.push_field(field));
    writer.set_jpeg(&thumbnail, In::THUMBNAIL);
    let mut tiff = std::io::Cursor::new(Vec::new());
    writer.write(&mut tiff, false).expect("a block");
    let mut tiff = tiff.into_inner();
    let text_at = tiff.windows(NOTE_TEXT.len()).position(|window| window == NOTE_TEXT).expect("the note");
    let offset_at = text_at - 8;
    tiff[offset_at..offset_at + 4].copy_from_slice(&u32::try_from(text_at).expect("short").to_be_bytes());
    let block = [&b"Exif\0\0"[..], &tiff].concat();
    let length = u16::try_from(block.len() + 2).expect("short").to_be_bytes();
    let plain = plain_picture();
    [&plain[..2], &[0xff, 0xe1], &length, &block, &plain[2..]].concat().into()
}

/// From the header of the first scan on.
fn image_data(jpeg: &[u8]) -> &[u8] {
    let mut at = 2;
    while jpeg[at + 1] != 0xda {
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    &jpeg[at..]
}

/// Written into `before` and checked: no new warning, nothing of the camera's lost; what exiftool reads.
fn written_and_checked(folder: &Path, before: &Bytes) -> Value {
    let (old, new) = (folder.join("before.jpg"), folder.join("after.jpg"));
    let after = write(before, &facts()).expect("written");
    assert!(image_data(&after) == image_data(before), "the image data differ");
    std::fs::write(&old, before).expect("before");
    std::fs::write(&new, &after).expect("after");
    let was = warnings(&old);
    let new_ones: Vec<_> = warnings(&new).into_iter().filter(|warning| !was.contains(warning)).collect();
    assert_eq!(new_ones, [""; 0], "new warnings");
    let (was, is) = (exiftool(&old), exiftool(&new));
    for (name, value) in was.as_object().expect("fields") {
        let of_file = ["SourceFile", "System:", "ExifTool:"].iter().any(|group| name.starts_with(group));
        // Where the thumbnail lies in the file moves with the block; that it is the same is read below.
        let place = name.ends_with("ThumbnailOffset");
        assert!(of_file || place || is[name] == *value, "{name}: {value} became {}", is[name]);
    }
    let mut is = is;
    is["thumbnail"] = thumbnail(&new).into();
    assert_eq!(is["thumbnail"], Value::from(thumbnail(&old)));
    is
}

/// Hash of the thumbnail that exiftool takes out.
fn thumbnail(path: &Path) -> String {
    let output =
        Command::new("exiftool").args(["-b", "-ThumbnailImage"]).arg(path).output().expect("it runs");
    Sha256::of(&output.stdout).to_string()
}

#[test]
fn exiftool_reads_what_was_written_and_finds_nothing_new_wrong() {
    if !has_exiftool("exiftool_reads_what_was_written_and_finds_nothing_new_wrong") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let plain = written_and_checked(folder.path(), &plain_picture());
    for (name, value) in [
        ("IFD0:Make", Value::from("Maker")),
        ("IFD0:Model", "Model".into()),
        ("IFD0:Software", "Turnstage 0.1.0".into()),
        ("ExifIFD:ExposureTime", 0.008.into()),
        ("ExifIFD:FNumber", 5.6.into()),
        ("ExifIFD:ISO", 100.into()),
        ("ExifIFD:LensModel", "50 mm".into()),
        ("ExifIFD:DateTimeOriginal", "2026:11:27 10:55:03".into()),
        ("ExifIFD:OffsetTimeOriginal", "+01:00".into()),
        ("ExifIFD:ExifImageWidth", 64.into()),
        ("XMP-turnstage:Session", "0190-s".into()),
        ("XMP-turnstage:Item", "A<b> & \"ü\"".into()),
        ("XMP-turnstage:Camera", "main".into()),
        ("XMP-turnstage:Shot", 18.into()),
        ("XMP-turnstage:Take", 2.into()),
        ("XMP-turnstage:AngleCommanded", 170.into()),
        ("XMP-turnstage:AngleReached", 170.02.into()),
    ] {
        assert_eq!(plain[name], value, "{name} in {plain:#}");
    }
    let camera = written_and_checked(folder.path(), &camera_picture());
    assert_eq!((&camera["IFD0:Make"], &camera["IFD0:Software"]), (&"Canon".into(), &"Ver.03.40".into()));
    assert_eq!((&camera["IFD0:Orientation"], &camera["ExifIFD:FNumber"]), (&6.into(), &5.6.into()));
    assert_eq!(camera["ExifIFD:OffsetTimeOriginal"], Value::Null, "the camera's clock is another one");
    assert_eq!(camera["Canon:CanonImageType"], "IMG: text of a note");
    assert_eq!(camera["thumbnail"], Value::from(Sha256::of(&plain_picture()).to_string()));

    let bare = folder.path().join("bare.jpg");
    let written = write(&camera_picture(), &facts()).expect("written");
    std::fs::write(&bare, strip(&written).expect("stripped")).expect("bare");
    let bare = exiftool(&bare);
    let told =
        |name: &&String| ["IFD", "Exif", "XMP", "IPTC", "Maker"].iter().any(|group| name.starts_with(group));
    let left: Vec<_> = bare.as_object().expect("fields").keys().filter(told).collect();
    assert_eq!(left, ["ExifTool:ExifToolVersion", "IFD0:Orientation"]);
}

#[test]
fn thirteen_real_photographs_keep_their_image_data_and_get_no_new_warning() {
    let name = "thirteen_real_photographs_keep_their_image_data_and_get_no_new_warning";
    let Some(photos) = photos(name) else { return };
    if !has_exiftool(name) {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let found = pictures(&photos.join("buddha"));
    assert_eq!(found.len(), 13);
    for path in found.keys() {
        let before = Bytes::from(std::fs::read(path).expect("a photograph"));
        let read = written_and_checked(folder.path(), &before);
        assert_eq!(read["XMP-turnstage:Session"], "0190-s");
        assert!(image_data(&strip(&before).expect("stripped")) == image_data(&before));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_goes_enriched_to_one_destination_and_bare_to_another() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn3", 3, "");
    let text = two_folders();
    let config = read(&text, data.path());
    let clock = SystemClock::of(Arc::new(Set(SystemClock::new())));
    let spool = Spool::in_memory(Arc::new(clock.clone()));
    let backends = turnstage::run::backends(&config, data.path());
    let bench = Bench::on(spool, clock, backends, config, data);
    let id = bench.start("turn3").await;
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    bench.ask(Act::Release { accept: None }).await.expect("released");
    let records = confirmed(&bench, &id).await;
    assert_eq!(records.len(), 6);
    for record in &records {
        let receipt = record.receipt.as_ref().expect("a receipt");
        let to = bench.data.path().join(&record.key.destination);
        let delivered = Bytes::from(std::fs::read(to.join(&receipt.location)).expect("it is there"));
        let turnstage_cloud_sync::Payload::Ram(original) = bench.running.spool.payload(record).expect("kept")
        else {
            panic!("not in memory");
        };
        assert_eq!(Sha256::of(&original), record.sha256, "the original is as it was captured");
        assert_eq!((Sha256::of(&delivered), receipt.stands_for()), (receipt.sha256, record.sha256));
        assert!(image_data(&delivered) == image_data(&original));
        let told = read_capture(&delivered);
        if record.key.destination == "bare" {
            assert_eq!(told.len(), 0);
            continue;
        }
        let angle = record.facts.angle_reached.expect("a table").to_string();
        assert_eq!((told["session"].as_str(), told["angleReached"].as_str()), (id.as_str(), angle.as_str()));
        assert_eq!((told["shot"].clone(), told["take"].as_str()), ((record.facts.shot + 1).to_string(), "1"));
        assert!(told["exposedAt"].starts_with("2026-11-2"), "{told:?}");
        assert_eq!(told["exposureTime"], "0.008");
    }
    let written = records.iter().find(|record| record.key.destination == "written").expect("one");
    let location = &written.receipt.as_ref().expect("a receipt").location;
    let manifest = bench.data.path().join("written").join(location).with_file_name("manifest.json");
    let manifest = std::fs::read(manifest);
    let manifest: Value = serde_json::from_slice(&manifest.expect("a manifest")).expect("JSON");
    for file in manifest["files"].as_array().expect("files") {
        assert_ne!(file["sha256"], file["sha256_original"]);
    }
    inspected(&bench, written).await;
    bench.end().await;
}

#[test]
fn a_damaged_picture_goes_as_it_is_where_facts_are_written_and_stays_here_where_nothing_may_be_told() {
    let data = TempDir::new().expect("a folder");
    let from = data.path().join("from");
    std::fs::create_dir(&from).expect("a folder");
    let damaged = &camera_picture()[..400];
    std::fs::write(from.join("1.jpg"), camera_picture()).expect("a picture");
    std::fs::write(from.join("2.jpg"), damaged).expect("what is left of one");
    let config = data.path().join("station.toml");
    std::fs::write(&config, two_folders()).expect("a configuration");
    let shown = |path: &Path| path.display().to_string();
    let (from, config, dir) = (shown(&from), shown(&config), shown(&data.path().join("data")));
    let ran = turnstage(&["import", &from, "--config", &config, "--data-dir", &dir, "--json"]);
    assert!(ran.out.contains("metadata-not-removed"), "{ran:?}");

    let hashes =
        |name: &str| pictures(&data.path().join("data").join(name)).into_values().collect::<Vec<_>>();
    let (written, bare) = (hashes("written"), hashes("bare"));
    assert_eq!((written.len(), bare.len()), (2, 1), "{ran:?}");
    assert!(written.contains(&Sha256::of(damaged)));
    assert_eq!(bare, [Sha256::of(&strip(&camera_picture()).expect("stripped"))]);
    assert_eq!(hashes("spool/media").len(), 2, "both are here");
}

/// `inspect` shows what was written.
async fn inspected(bench: &Bench, record: &Record) {
    let location = &record.receipt.as_ref().expect("a receipt").location;
    let path = bench.data.path().join("written").join(location).display().to_string();
    let shown = path.clone();
    let ran = tokio::task::spawn_blocking(move || turnstage(&["inspect", &shown])).await.expect("it runs");
    let item = format!("item {}, camera main, shot {}", record.facts.item, record.facts.shot + 1);
    assert!(ran.out.contains(&item) && ran.out.contains("1/125 s"), "{ran:?}");
    let ran =
        tokio::task::spawn_blocking(move || turnstage(&["inspect", "--json", &path])).await.expect("it runs");
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told["capture"]["session"], record.facts.session, "{told}");
    assert_eq!(told["exif"]["taken_offset"].as_str().map(str::len), Some(6), "{told}");
}

/// The records of a session once all are proven.
async fn confirmed(bench: &Bench, id: &str) -> Vec<Record> {
    let mut changed = bench.running.spool.changed();
    let waiting = async {
        loop {
            let records = bench.records(id).await;
            if records.iter().all(|record| record.state == State::Confirmed) {
                return records;
            }
            changed.changed().await.expect("the station lives");
        }
    };
    tokio::time::timeout(turnstage_tests::PATIENCE, waiting).await.expect("delivered")
}
