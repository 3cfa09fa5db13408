mod sensor;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::camera::Variant;
use sensor::{Rack, Trouble};

const LIMIT: Duration = Duration::from_secs(2);

async fn opened(rack: &Rack, toml: &str) -> Result<Gige, CameraError> {
    Gige::open("main", toml::from_str(toml).unwrap(), rack.starter()).await
}

async fn shoot(camera: &mut Gige) -> Result<FrameSet, CameraError> {
    let not_before = Instant::now();
    let variant = Variant::default();
    let exposed = camera.expose(&ExposeRequest { not_before, deadline: not_before + LIMIT, variant }).await?;
    camera.fetch(exposed).await
}

/// The number that the sensor writes into each pixel of a picture.
fn number(set: &FrameSet) -> u8 {
    let FrameData::Pixels { format: PixelFormat::Grey8, width: 8, height: 4, bytes, .. } =
        &set.frames[0].data
    else {
        panic!("{set:?}")
    };
    bytes[0]
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_told_by_its_class_and_the_camera_opens_anew_as_it_was_set() {
    for (stage, trouble, wanted) in [
        ("expose", Trouble::Die, "unplugged"),
        ("event", Trouble::Die, "unplugged"),
        ("fetch", Trouble::Die, "unplugged"),
        ("expose", Trouble::Fail(Fault::Lost), "unplugged"),
        ("expose", Trouble::Hang, "no picture within"),
        ("event", Trouble::Hang, "no picture within"),
        ("fetch", Trouble::Hang, "no picture within"),
        ("expose", Trouble::Dark, "no picture within"),
        ("expose", Trouble::Fail(Fault::Silent), "hung or failed"),
        ("event", Trouble::Garble, "hung or failed"),
        ("event", Trouble::Nonsense, "hung or failed"),
    ] {
        let rack = Rack::of(&["Maker-1"]);
        let mut camera = opened(&rack, "").await.unwrap();
        camera.apply(&Settings { exposure_us: Some(4000.0), ..Settings::default() }).await.unwrap();
        assert_eq!(number(&shoot(&mut camera).await.unwrap()), 1);
        rack.with(|sensor| {
            sensor.troubles.push_back((stage, trouble));
            // It was without power, and has forgotten what it was set to.
            sensor.settings.get_mut("ExposureTime").unwrap().value = "10000".to_owned();
        });
        let begun = Instant::now();
        let error = shoot(&mut camera).await.unwrap_err();
        let class = match &error {
            CameraError::Disconnected { .. } => "unplugged",
            CameraError::Timeout { .. } => "no picture within",
            CameraError::Poisoned { .. } => "hung or failed",
            other => panic!("{stage} {trouble:?}: {other:?}"),
        };
        assert_eq!(class, wanted, "{stage} {trouble:?}: {error}");
        assert!(begun.elapsed() <= LIMIT + Duration::from_millis(300), "{stage} {trouble:?}");
        let shots = rack.with(|sensor| sensor.shots);
        let set = shoot(&mut camera).await.unwrap();
        assert_eq!(u32::from(number(&set)), shots + 1, "{stage} {trouble:?}: of no exposure before");
        assert_eq!(set.frames[0].exposure.exposure_us, Some(4000.0), "{stage} {trouble:?}");
        assert_eq!(rack.with(|sensor| sensor.opened), 2, "{stage} {trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_is_away_is_not_present_until_it_answers_again() {
    let rack = Rack::of(&["Maker-1"]);
    let mut camera = opened(&rack, "id = \"Maker-1\"").await.unwrap();
    rack.with(|sensor| sensor.troubles.push_back(("event", Trouble::Die)));
    assert!(shoot(&mut camera).await.unwrap_err().needs_reopen());
    rack.unplug();
    let error = shoot(&mut camera).await.unwrap_err();
    assert!(matches!(&error, CameraError::NotPresent { .. }), "{error}");
    assert!(error.to_string().contains("no camera Maker-1 answers; found: none"), "{error}");
    rack.plug(&["Other-7", "Maker-1"]);
    shoot(&mut camera).await.unwrap();
    assert_eq!(camera.info().id, "Maker-1");
    let error = opened(&rack, "").await.err().unwrap();
    assert!(error.to_string().contains("say which by id: Other-7, Maker-1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_frame_is_told_and_the_next_is_whole() {
    let rack = Rack::of(&["Maker-1"]);
    let mut camera = opened(&rack, "").await.unwrap();
    for (trouble, words) in [
        (Trouble::Short, "31 bytes of pixels, and 4 rows of 8 pixels in 8 bytes were announced"),
        (Trouble::File, "a file instead of pixels"),
    ] {
        rack.with(|sensor| sensor.troubles.push_back(("fetch", trouble)));
        let error = shoot(&mut camera).await.unwrap_err();
        assert!(matches!(error, CameraError::Corrupt { .. }) && error.is_transient(), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        shoot(&mut camera).await.unwrap();
    }
    assert_eq!(rack.with(|sensor| sensor.opened), 1, "it stays open");
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_exposure_is_thrown_away_and_counted() {
    let rack = Rack::of(&["Maker-1"]);
    let mut camera = opened(&rack, "").await.unwrap();
    rack.with(|sensor| (0..3).for_each(|_| sensor.expose()));
    let set = shoot(&mut camera).await.unwrap();
    assert_eq!((number(&set), set.discarded_stale), (4, 3));
}

fn layout(format: &str, width: u32, height: u32, stride: u32) -> Option<Pixels> {
    Some(Pixels { format: format.to_owned(), width, height, stride })
}

proptest! {
    /// What a frame says of itself and its bytes come from another process, each by itself.
    #[test]
    fn a_picture_has_as_many_bytes_as_its_rows_or_is_refused(
        format in "grey8|rgb8|yuyv|z16|",
        (width, height) in (prop_oneof![0..9u32, any::<u32>()], prop_oneof![0..9u32, any::<u32>()]),
        stride in prop_oneof![0..40u32, any::<u32>()],
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let came = bytes.len() as u64;
        let bytes_a_pixel = match format.as_str() { "grey8" => 1, "yuyv" => 2, "rgb8" => 3, _ => 0 };
        let fits = bytes_a_pixel > 0
            && width > 0
            && height > 0
            && u64::from(stride) >= u64::from(width) * bytes_a_pixel
            && u64::from(stride) * u64::from(height) == came;
        let told = picture(layout(&format, width, height, stride), Bytes::from(bytes));
        prop_assert_eq!(told.is_ok(), fits, "{:?}", told);
        if let Ok(FrameData::Pixels { width: w, height: h, stride: s, bytes, .. }) = told {
            prop_assert_eq!((w, h, s, bytes.len() as u64), (width, height, stride, came));
        }
    }

    #[test]
    fn every_whole_picture_is_taken_and_one_byte_more_or_less_is_not(
        (format, bytes_a_pixel) in prop_oneof![Just(("grey8", 1)), Just(("rgb8", 3)), Just(("yuyv", 2))],
        (width, height, padding) in (1..20u32, 1..20u32, 0..5u32),
    ) {
        let stride = width * bytes_a_pixel + padding;
        let whole = (stride * height) as usize;
        let of = |bytes: usize| picture(layout(format, width, height, stride), Bytes::from(vec![7; bytes]));
        prop_assert!(of(whole).is_ok());
        prop_assert!(of(whole - 1).is_err() && of(whole + 1).is_err());
        let narrow = layout(format, width, height, width * bytes_a_pixel - 1);
        prop_assert!(picture(narrow, Bytes::from(vec![7; ((width * bytes_a_pixel - 1) * height) as usize])).is_err());
    }
}
