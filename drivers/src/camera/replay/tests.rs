use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::camera::Variant;

fn picture(shade: u8) -> Vec<u8> {
    let pixels = vec![shade; 32 * 16 * 3];
    let format = turbojpeg::PixelFormat::RGB;
    let image = turbojpeg::Image { pixels: &pixels[..], width: 32, pitch: 96, height: 16, format };
    turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec()
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn open_with(folder: &Path, more: &str) -> Opened {
    let text = format!("driver = \"replay\"\nfolder = {:?}\n{more}", folder.display().to_string());
    let options: DeviceOptions = toml::from_str(&text).unwrap();
    open("main", &options, &Surroundings::default())
}

fn refusal(folder: &Path, more: &str) -> String {
    match open_with(folder, more) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

fn soon() -> ExposeRequest {
    let now = Instant::now();
    ExposeRequest { not_before: now, deadline: now + Duration::from_secs(10), variant: Variant::default() }
}

async fn next(camera: &mut dyn Camera) -> (String, Bytes) {
    let exposed = camera.expose(&soon()).await.unwrap();
    let frame = camera.fetch(exposed).await.unwrap().frames.remove(0);
    match frame.data {
        FrameData::Encoded { codec: Codec::Jpeg, bytes } => (frame.file_name.unwrap(), bytes),
        other => panic!("not a JPEG: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_folder_is_replayed_in_natural_order_with_unchanged_bytes() {
    let shots: Vec<Vec<u8>> = (0..3u8).map(|k| picture(k * 80)).collect();
    let folder = folder(&[("b10.jpg", &shots[2]), ("B2.JPEG", &shots[1]), ("a.jpg", &shots[0])]);
    let mut camera = open_with(folder.path(), "").unwrap();
    assert_eq!(camera.info().remaining, Some(3));
    assert_eq!(camera.info().size_max, (32, 16));
    for (name, shot) in ["a.jpg", "B2.JPEG", "b10.jpg"].into_iter().zip(&shots) {
        let (file_name, bytes) = next(camera.as_mut()).await;
        assert_eq!(file_name, name);
        assert_eq!(Sha256::digest(&bytes), Sha256::digest(shot), "{name}");
    }
    assert_eq!(camera.info().remaining, Some(0));
    assert!(matches!(camera.expose(&soon()).await, Err(CameraError::Exhausted { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_loop_begins_again() {
    let folder = folder(&[("1.jpg", &picture(0)), ("2.jpg", &picture(9))]);
    let mut camera = open_with(folder.path(), "loop = true").unwrap();
    assert_eq!(camera.info().remaining, None);
    let mut names = Vec::new();
    for _ in 0..5 {
        names.push(next(camera.as_mut()).await.0);
    }
    assert_eq!(names, ["1.jpg", "2.jpg", "1.jpg", "2.jpg", "1.jpg"]);
}

#[tokio::test(start_paused = true)]
async fn an_exposure_waits_for_its_moment() {
    let folder = folder(&[("1.jpg", &picture(0))]);
    let mut camera = open_with(folder.path(), "").unwrap();
    let not_before = Instant::now() + Duration::from_secs(2);
    let deadline = not_before - Duration::from_secs(1);
    let error = camera
        .expose(&ExposeRequest { not_before, deadline, variant: Variant::default() })
        .await
        .unwrap_err();
    assert!(matches!(error, CameraError::Timeout { .. }));
    assert_eq!(camera.info().remaining, Some(1), "a picture is not spent on a missed moment");
    let deadline = not_before + Duration::from_secs(1);
    let exposed =
        camera.expose(&ExposeRequest { not_before, deadline, variant: Variant::default() }).await.unwrap();
    assert!(exposed.start >= not_before && Instant::now() >= not_before);
    assert!(camera.fetch(Exposed { ticket: 1, ..exposed }).await.is_err(), "it was never made");
}

#[tokio::test(start_paused = true)]
async fn a_file_over_the_limit_is_refused_by_name_and_the_next_one_follows() {
    let folder = folder(&[("1.jpg", &[&picture(0)[..], &[0; 5000]].concat()), ("2.jpg", &picture(9))]);
    let mut camera = open_with(folder.path(), "bytes_max = 4000").unwrap();
    let exposed = camera.expose(&soon()).await.unwrap();
    let error = camera.fetch(exposed).await.unwrap_err().to_string();
    assert!(error.contains("1.jpg") && error.contains("bytes_max = 4000"), "{error}");
    assert_eq!(next(camera.as_mut()).await.0, "2.jpg");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanished_is_named() {
    let folder = folder(&[("1.jpg", &picture(0))]);
    let mut camera = open_with(folder.path(), "").unwrap();
    fs::remove_file(folder.path().join("1.jpg")).unwrap();
    let exposed = camera.expose(&soon()).await.unwrap();
    let error = camera.fetch(exposed).await.unwrap_err().to_string();
    assert!(error.contains("1.jpg") && error.contains("cannot open"), "{error}");
}

#[test]
fn what_is_no_picture_is_listed_with_its_reason() {
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0";
    let folder = folder(&[
        ("a.jpg", &picture(0)),
        ("b.heic", heic),
        ("c.jpg", heic),
        ("d.jpg", b""),
        ("e.jpg", b"GIF89a"),
        ("notes.txt", b"hello"),
    ]);
    fs::create_dir(folder.path().join("older.jpg")).unwrap();
    let listing = pictures(folder.path()).unwrap();
    assert_eq!(listing.pictures, [folder.path().join("a.jpg")]);
    let skipped: Vec<(String, &str)> = listing.skipped.iter().map(|s| (name(&s.path), s.why)).collect();
    for (file, says) in [
        ("b.heic", "HEIC"),
        ("c.jpg", "HEIC"),
        ("d.jpg", "empty"),
        ("e.jpg", "does not begin"),
        ("notes.txt", "by its name"),
        ("older.jpg", "a folder"),
    ] {
        let why = skipped.iter().find(|(name, _)| name == file).unwrap().1;
        assert!(why.contains(says), "{file}: {why}");
    }
    assert_eq!(skipped.len(), 6);
}

#[test]
fn a_folder_without_pictures_says_what_it_found() {
    let nothing = folder(&[]);
    assert!(refusal(nothing.path(), "").contains("the folder is empty"));
    let iphone = folder(&[("IMG_1.HEIC", b"\0\0\0\x18ftypheic")]);
    let error = refusal(iphone.path(), "");
    assert!(error.contains("IMG_1.HEIC") && error.contains("convert them to JPEG"), "{error}");
    let missing = nothing.path().join("missing");
    assert!(refusal(&missing, "").contains("cannot read this folder"));
    assert!(refusal(nothing.path(), "order = \"time\"").contains("order"));
    assert!(refusal(nothing.path(), "glob = 1").contains("unknown field `glob`"));
}

#[test]
fn numbers_in_names_count_by_their_value() {
    let mut names = vec!["b10", "b9", "B1", "a", "b09", "b1x2", "b1x10", "", "9", "10", "é2", "é10"];
    names.sort_by(|a, b| natural(a, b));
    assert_eq!(names, ["", "9", "10", "a", "B1", "b1x2", "b1x10", "b09", "b9", "b10", "é2", "é10"]);
}

proptest! {
    #[test]
    fn natural_order_is_an_order(names in proptest::collection::vec("[a-bA-B0-2é]{0,6}", 3)) {
        let [a, b, c] = [&names[0], &names[1], &names[2]];
        prop_assert_eq!(natural(a, b), natural(b, a).reverse());
        prop_assert_eq!(natural(a, b).is_eq(), a == b);
        if natural(a, b).is_le() && natural(b, c).is_le() {
            prop_assert!(natural(a, c).is_le());
        }
    }
}
