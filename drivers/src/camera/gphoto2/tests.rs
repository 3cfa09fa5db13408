mod dslr;

use tokio::time::Instant;

use super::*;
use crate::camera::Variant;
use crate::camera::helper::wire::Setting;
use crate::frame::Codec;
use dslr::{Desk, Dslr, JPEG, Trouble, choice, text};

fn keys(toml: &str) -> Keys {
    toml::from_str(toml).unwrap()
}

async fn opened(desk: &Desk, toml: &str) -> Result<Tethered, CameraError> {
    Tethered::open("main", keys(toml), desk.starter(), desk.resetter()).await
}

async fn one(toml: &str) -> (Desk, Tethered) {
    let desk = Desk::of(vec![Dslr::new("6012345")]);
    let camera = opened(&desk, toml).await.unwrap();
    (desk, camera)
}

fn request(after_ms: u64, variant: Variant) -> ExposeRequest {
    let not_before = Instant::now() + Duration::from_millis(after_ms);
    ExposeRequest { not_before, deadline: not_before + Duration::from_secs(5), variant }
}

async fn shoot(camera: &mut Tethered) -> Result<FrameSet, CameraError> {
    let exposed = camera.expose(&request(0, Variant::default())).await?;
    camera.fetch(exposed).await
}

fn codecs(set: &FrameSet) -> Vec<Codec> {
    let codec = |frame: &Frame| match &frame.data {
        FrameData::Encoded { codec, .. } => codec.clone(),
        FrameData::Pixels { .. } => panic!("pixels"),
    };
    set.frames.iter().map(codec).collect()
}

#[tokio::test(start_paused = true)]
async fn settings_are_found_in_the_cameras_own_words_and_read_back() {
    let (desk, mut camera) = one("aperture = 8.0\nsettings = { imagequality = \"NEF+Fine\" }").await;
    let settings = Settings {
        exposure_us: Some(8000.0),
        gain: Some(2.0),
        wb_kelvin: Some(5600.0),
        ..Settings::default()
    };
    let applied = camera.apply(&settings).await.unwrap();
    assert_eq!(applied.requested, settings);
    let want = Exposure { exposure_us: Some(8000.0), gain: Some(2.0), wb_kelvin: Some(5600.0), focus: None };
    assert_eq!(applied.exposure, want);
    let stands = |setting| desk.first(|camera| camera.settings[setting].value.clone());
    assert_eq!((stands("shutterspeed"), stands("iso")), ("1/125".to_owned(), "200".to_owned()));
    assert_eq!((stands("f-number"), stands("capturetarget")), ("f/8".to_owned(), "Internal RAM".to_owned()));
    assert_eq!(
        (stands("whitebalance"), stands("colortemperature")),
        ("Color Temperature".to_owned(), "5600".to_owned())
    );
    let info = camera.info();
    assert_eq!((info.id.as_str(), info.model.as_str()), ("6012345", "Test DSC T1"));
    assert_eq!((info.firmware.as_deref(), info.tried), (Some("1.20"), false));
    assert!(info.can.bracket && info.can.raw && !info.can.focus && !info.can.depth);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_set_is_refused_with_what_can() {
    let (desk, mut camera) = one("").await;
    let mut refusal = async |settings: Settings| camera.apply(&settings).await.unwrap_err().to_string();
    let long = Settings { exposure_us: Some(5e6), ..Settings::default() };
    let said = refusal(long).await;
    assert!(said.contains("shutterspeed near 5 is not to be had; it can be 1/4, 1/15, 1/30"), "{said}");
    let said = refusal(Settings { size: Some((640, 480)), ..Settings::default() }).await;
    assert!(said.contains("size = [640, 480] is not to be had"), "{said}");
    let said = refusal(Settings { focus: Some(0.5), ..Settings::default() }).await;
    assert!(said.contains("focus_travel_steps is not set"), "{said}");
    let short = Settings { exposure_us: Some(2000.0), ..Settings::default() };
    desk.first(|camera| camera.stubborn.push("shutterspeed"));
    let said = refusal(short).await;
    assert!(said.contains("was set to \"1/500\" and reads \"1/60\"; is the mode dial on M"), "{said}");
    desk.first(|camera| camera.settings.get_mut("shutterspeed").unwrap().readonly = true);
    let said = refusal(short).await;
    assert!(said.contains("cannot be set to 1/500 for exposure_us; turn the mode dial to M"), "{said}");
    desk.first(|camera| camera.settings.remove("iso"));
    let said = refusal(Settings { gain: Some(1.0), ..Settings::default() }).await;
    assert!(said.contains("does not let gain be set over USB; leave gain out"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_exposure_is_over_when_the_camera_tells_of_its_file() {
    let (desk, mut camera) = one("").await;
    let request = request(300, Variant::default());
    let exposed = camera.expose(&request).await.unwrap();
    assert!(exposed.start >= request.not_before, "not before the table stood");
    // Lag, 1/60 s and the time to write the file.
    let took = exposed.end - exposed.start;
    assert!((276..=280).contains(&took.as_millis()), "{took:?}");
    let set = camera.fetch(exposed).await.unwrap();
    assert_eq!((codecs(&set), set.discarded_stale, desk.kept()), (vec![Codec::Jpeg], 0, 0));
    let frame = &set.frames[0];
    assert_eq!(frame.meta["camera_file"], "T_0001.JPG");
    assert!((259..=264).contains(&frame.time.uncertainty.as_millis()), "{:?}", frame.time);
    assert!(camera.fetch(exposed).await.unwrap_err().to_string().contains("fetched already"));
}

#[tokio::test(start_paused = true)]
async fn a_pair_gives_the_jpeg_first_also_when_two_wait() {
    let (desk, mut camera) = one("target = \"card\"\nsettings = { imagequality = \"NEF+Fine\" }").await;
    desk.first(|camera| camera.makes = vec![("NEF", b"MM\0*raw".to_vec()), ("JPG", JPEG.to_vec())]);
    let first = camera.expose(&request(0, Variant::default())).await.unwrap();
    let second = camera.expose(&request(0, Variant::default())).await.unwrap();
    for (exposed, number) in [(first, 1), (second, 2)] {
        let set = camera.fetch(exposed).await.unwrap();
        assert_eq!(codecs(&set), [Codec::Jpeg, Codec::Raw("nef".to_owned())]);
        assert_eq!(set.frames[0].meta["camera_file"], format!("T_000{number}.JPG"));
        assert_eq!(set.frames[1].seq, number);
    }
    assert_eq!(desk.kept(), 4, "what is on the card stays there");
}

#[tokio::test(start_paused = true)]
async fn half_a_pair_is_taken_again_and_a_raw_file_alone_is_refused() {
    let (desk, mut camera) = one("settings = { imagequality = \"NEF+Fine\" }").await;
    let error = shoot(&mut camera).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("only T_0001.JPG came of the two"), "{error}");
    desk.first(|camera| {
        camera.settings.insert("imagequality", choice("NEF (Raw)", &["NEF (Raw)", "NEF+Fine"]))
    });
    desk.first(|camera| camera.makes = vec![("NEF", b"MM\0*raw".to_vec())]);
    let (_, mut camera) = (camera, opened(&desk, "").await.unwrap());
    let error = shoot(&mut camera).await.unwrap_err().to_string();
    assert!(
        error.contains("it gave only T_0002.NEF, a raw file; set its image quality to RAW + JPEG"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bracket_turns_the_shutter_and_back() {
    let (desk, mut camera) = one("").await;
    camera.apply(&Settings { exposure_us: Some(8000.0), ..Settings::default() }).await.unwrap();
    let mut times = Vec::new();
    for ev in [0.0, 1.0, -1.0, 0.0] {
        let exposed = camera.expose(&request(0, Variant { ev, focus: None })).await.unwrap();
        let set = camera.fetch(exposed).await.unwrap();
        times.push(set.frames[0].exposure.exposure_us.unwrap().round());
    }
    assert_eq!(times, [8000.0, 16667.0, 4000.0, 8000.0]);
    let error = camera.expose(&request(0, Variant { ev: 9.0, focus: None })).await.unwrap_err().to_string();
    assert!(error.contains("the bracket: shutterspeed near 4.096 is not to be had"), "{error}");
    let before = desk.first(|camera| camera.written.len());
    shoot(&mut camera).await.unwrap();
    shoot(&mut camera).await.unwrap();
    let written = desk.first(|camera| camera.written[before..].to_vec());
    assert_eq!(written, [("shutterspeed".to_owned(), "1/125".to_owned())], "once, after the refusal");
}

#[tokio::test(start_paused = true)]
async fn focus_is_counted_from_the_far_end_and_approached_from_there() {
    let (desk, mut camera) = one("focus_travel_steps = 1000").await;
    assert!(!camera.info().can.focus, "this camera has no drive");
    let drive =
        Setting { value: "0".to_owned(), range: Some((-32767.0, 32767.0, 1.0)), ..Setting::default() };
    desk.first(|camera| camera.settings.insert("manualfocusdrive", drive));
    desk.first(|camera| camera.settings.insert("viewfinder", choice("0", &["0", "1"])));
    camera.apply(&Settings::default()).await.unwrap();
    assert!(camera.info().can.focus);
    let mut lens = Vec::new();
    for focus in [0.5, 0.8, 0.2] {
        let exposed = camera.expose(&request(0, Variant { ev: 0.0, focus: Some(focus) })).await.unwrap();
        assert_eq!(camera.fetch(exposed).await.unwrap().frames[0].exposure.focus, Some(focus));
        lens.push(desk.first(|camera| camera.lens));
    }
    assert_eq!(lens, [500, 800, 200]);
    let driven = desk.first(|camera| {
        let drive = camera.written.iter().filter(|(setting, _)| setting == "manualfocusdrive");
        drive.map(|(_, steps)| steps.clone()).collect::<Vec<_>>()
    });
    assert_eq!(driven, ["-1200", "500", "300", "-650", "50"]);
    assert_eq!(desk.first(|camera| camera.settings["viewfinder"].value.clone()), "1");
}

#[tokio::test(start_paused = true)]
async fn a_low_battery_and_a_full_card_ask_for_a_person() {
    let (desk, mut camera) = one("battery_percent_min = 30").await;
    desk.first(|camera| camera.room = 1);
    shoot(&mut camera).await.unwrap();
    let error = shoot(&mut camera).await.unwrap_err();
    assert!(matches!(error, CameraError::Attention { .. }), "{error}");
    assert!(error.to_string().contains("card or memory is full"), "{error}");
    desk.first(|camera| camera.room = 5);
    shoot(&mut camera).await.unwrap();
    desk.first(|camera| camera.settings.insert("batterylevel", text("20%")));
    let error = camera.apply(&Settings::default()).await.unwrap_err();
    assert!(matches!(error, CameraError::Attention { .. }), "{error}");
    assert!(error.to_string().contains("battery is at 20% and a session begins with 30 %"), "{error}");
    desk.first(|camera| {
        camera.troubles.push_back(("expose", Trouble::Fail(Fault::Other, "Unspecified error")));
    });
    let error = shoot(&mut camera).await.unwrap_err();
    assert!(
        matches!(error, CameraError::Attention { .. }) && error.to_string().contains("autofocus"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_hangs_is_given_up_at_the_deadline_and_opened_anew_as_it_was_set() {
    for stage in ["expose", "event", "fetch"] {
        let (desk, mut camera) = one("").await;
        camera.apply(&Settings { exposure_us: Some(4000.0), ..Settings::default() }).await.unwrap();
        // Somebody turned it meanwhile.
        desk.first(|camera| camera.settings.get_mut("shutterspeed").unwrap().value = "1/4".to_owned());
        desk.first(|camera| camera.troubles.push_back((stage, Trouble::Hang)));
        let begun = Instant::now();
        let error = shoot(&mut camera).await.unwrap_err();
        assert!(matches!(error, CameraError::Timeout { .. }), "{stage}: {error}");
        assert!(begun.elapsed() <= Duration::from_millis(5500), "{stage}: {:?}", begun.elapsed());
        let shots = desk.first(|camera| camera.shots);
        let set = shoot(&mut camera).await.unwrap();
        assert_eq!(set.frames[0].exposure.exposure_us, Some(4000.0), "{stage}");
        assert_eq!(desk.first(|camera| (camera.opened, camera.shots)), (2, shots + 1), "{stage}");
        assert_eq!(
            desk.first(|camera| camera.resets),
            1,
            "{stage}: what was killed leaves a camera to reset"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_no_reset_helps_asks_for_its_switch() {
    let (desk, mut camera) = one("").await;
    let mut error = async |reset, trouble: Trouble| {
        desk.first(|camera| {
            camera.reset = reset;
            camera.troubles = [("expose", Trouble::Hang), ("open", trouble)].into();
        });
        assert!(matches!(shoot(&mut camera).await, Err(CameraError::Timeout { .. })));
        let error = camera.warm_up(Duration::from_secs(10)).await.unwrap_err();
        camera.warm_up(Duration::from_secs(10)).await.unwrap();
        error
    };
    let stuck = error(Ok(()), Trouble::Hang).await;
    assert!(matches!(&stuck, CameraError::Attention { .. }), "{stuck}");
    assert!(stuck.to_string().contains("opened anew; switch the camera off and on"), "{stuck}");
    let forbidden = Err("/dev/bus/usb/900/001 may not be opened");
    let stuck = error(forbidden, Trouble::Hang).await;
    assert!(matches!(&stuck, CameraError::Attention { .. }), "{stuck}");
    let told = "could not be reset (/dev/bus/usb/900/001 may not be opened); switch the camera off and on";
    assert!(stuck.to_string().contains(told), "{stuck}");
    let shut = error(forbidden, Trouble::Fail(Fault::Other, "No luck")).await;
    assert!(matches!(&shut, CameraError::NotPresent { .. }), "{shut}");
    assert!(shut.to_string().contains("may not be opened): switch the camera off and on"), "{shut}");
    let shut = error(Ok(()), Trouble::Fail(Fault::Other, "No luck")).await;
    assert!(!shut.to_string().contains("reset"), "{shut}");
    // One that is opened for the first time was left by nobody.
    let before = desk.first(|camera| camera.resets);
    drop(opened(&desk, "").await.unwrap());
    assert_eq!(desk.first(|camera| camera.resets), before);
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_waited_in_a_camera_that_hung_is_taken_again() {
    let (desk, mut camera) = one("").await;
    let waiting = camera.expose(&request(0, Variant::default())).await.unwrap();
    desk.first(|camera| camera.troubles.push_back(("expose", Trouble::Hang)));
    assert!(camera.expose(&request(0, Variant::default())).await.is_err());
    shoot(&mut camera).await.unwrap();
    let error = camera.fetch(waiting).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("opened anew"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_dies_is_a_camera_that_is_gone_and_comes_back() {
    let (desk, mut camera) = one("").await;
    desk.first(|camera| camera.troubles.push_back(("event", Trouble::Die)));
    let error = shoot(&mut camera).await.unwrap_err();
    assert!(matches!(error, CameraError::Disconnected { .. }) && error.needs_reopen(), "{error}");
    shoot(&mut camera).await.unwrap();
    for trouble in [Trouble::Garble, Trouble::Nonsense] {
        desk.first(|camera| camera.troubles.push_back(("event", trouble)));
        let error = shoot(&mut camera).await.unwrap_err();
        assert!(matches!(error, CameraError::Poisoned { .. }), "{error}");
        shoot(&mut camera).await.unwrap();
    }
    assert_eq!(desk.first(|camera| camera.opened), 4);
}

#[tokio::test(start_paused = true)]
async fn an_exposure_that_was_dropped_half_way_leaves_nothing_to_the_next() {
    let (desk, mut camera) = one("").await;
    let request = request(0, Variant::default());
    let cut = tokio::time::timeout(Duration::from_millis(100), camera.expose(&request)).await;
    assert!(cut.is_err());
    let set = shoot(&mut camera).await.unwrap();
    assert_eq!((set.frames[0].meta["camera_file"].as_str(), desk.first(|c| c.shots)), ("T_0002.JPG", 2));
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_somebody_takes_at_the_camera_is_not_taken_for_ours() {
    let (desk, mut camera) = one("").await;
    desk.first(Dslr::press);
    let set = {
        let exposed = camera.expose(&request(1000, Variant::default())).await.unwrap();
        camera.fetch(exposed).await.unwrap()
    };
    assert_eq!(set.frames[0].meta["camera_file"], "T_0002.JPG");
    assert_eq!(set.discarded_stale, 1);
}

#[tokio::test(start_paused = true)]
async fn an_exposure_that_cannot_begin_in_time_is_not_made() {
    let (desk, mut camera) = one("").await;
    let deadline = Instant::now() + Duration::from_millis(100);
    let not_before = deadline + Duration::from_millis(300);
    let late = ExposeRequest { not_before, deadline, variant: Variant::default() };
    let error = camera.expose(&late).await.unwrap_err();
    assert!(matches!(error, CameraError::Timeout { .. }), "{error}");
    assert_eq!((Instant::now(), desk.first(|camera| camera.shots)), (deadline, 0));
}

#[tokio::test(start_paused = true)]
async fn a_camera_is_meant_by_what_stays_the_same_and_never_by_its_place_in_a_list() {
    let mut second = Dslr::new("6099999");
    second.port = "usb:900,002".to_owned();
    let desk = Desk::of(vec![Dslr::new("6012345"), second]);
    let why = async |toml: &str| match opened(&desk, toml).await {
        Ok(camera) => camera.info().id,
        Err(error) => error.to_string(),
    };
    assert_eq!(why("serial = \"6099999\"").await, "6099999");
    assert_eq!(why("port = \"usb:900,001\"\nmodel = \"Test DSC T1\"").await, "6012345");
    let said = why("").await;
    assert!(said.contains("several cameras are there: Test DSC T1 at usb:900,001 and Test DSC T1"), "{said}");
    let said = why("serial = \"1\"").await;
    assert!(said.contains("has the serial number 1"), "{said}");
    let said = why("model = \"Other\"").await;
    assert!(said.contains("looked for model Other and found Test DSC T1 at"), "{said}");
    desk.all(|all| all.swap(0, 1));
    assert_eq!(why("serial = \"6099999\"").await, "6099999", "in whatever order they are told");
    desk.all(Vec::clear);
    desk.all(|all| all.push(Dslr::new("000000")));
    assert_eq!(why("").await, "Test DSC T1 at usb:900,001", "zeros are no serial number");
    desk.first(|camera| camera.troubles.push_back(("open", Trouble::Fail(Fault::Busy, "Could not claim"))));
    let said = why("").await;
    assert!(
        said.contains("in use by another program, often the desktop's camera mount (gvfs-gphoto2)"),
        "{said}"
    );
    assert!(said.contains("systemctl --user mask"), "{said}");
    desk.first(|camera| camera.troubles.push_back(("open", Trouble::Fail(Fault::Other, "No luck"))));
    let said = why("").await;
    assert!(said.contains("could not be opened: No luck; is it switched on"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_says_who_each_camera_is_or_why_it_is_not_told() {
    let desk = Desk::of(vec![Dslr::new("6012345")]);
    let place = Place { model: "Test DSC T1".to_owned(), port: "usb:900,001".to_owned() };
    let listed = listing(&place, &desk.starter()).await;
    assert_eq!((listed.id.as_str(), listed.firmware.as_deref()), ("6012345", Some("1.20")));
    assert_eq!((listed.problem, listed.tried), (None, false));
    let options = listed.options.unwrap();
    assert_eq!((options.driver.as_str(), options.keys["serial"].as_str()), (NAME, Some("6012345")));
    desk.first(|camera| camera.troubles.push_back(("open", Trouble::Hang)));
    let listed = listing(&place, &desk.starter()).await;
    assert!(listed.problem.unwrap().contains("no picture within"));
    assert_eq!(listed.options.unwrap().keys["model"].as_str(), Some("Test DSC T1"));
    let none = list(Some("/nowhere/turnstage-tether".into())).await;
    assert!(none[0].problem.as_ref().unwrap().contains("cannot be started"), "{none:?}");
}

#[test]
fn keys_are_refused_with_their_range() {
    let check = |toml: &str| {
        let options: DeviceOptions = toml::from_str(&format!("driver = \"gphoto2\"\n{toml}")).unwrap();
        (DRIVER.check)(&options)
    };
    assert_eq!(check("serial = \"1\"\ntarget = \"card\"\naperture = 8.0\nlive_view = true"), Ok(()));
    for (toml, words) in [
        ("aperture = 0.1", "aperture = 0.1 must be from 0.5 to 128"),
        ("battery_percent_min = 95", "battery_percent_min = 95 must be from 0 to 90"),
        ("iso_base = 1.0", "iso_base = 1 must be from 10 to 25600"),
        ("bytes_max = 3", "bytes_max = 3 must be from 100000 to 1000000000"),
        ("focus_travel_steps = 0", "focus_travel_steps must be"),
        ("helper = \"tether\"", "helper must be a path from the root"),
        ("serial = \" \"", "serial is empty"),
        ("index = 0", "unknown field `index`"),
        ("target = \"tape\"", "unknown variant `tape`"),
    ] {
        let said = check(toml).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}
