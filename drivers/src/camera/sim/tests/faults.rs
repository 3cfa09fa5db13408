//! Every fault of a camera, as the station meets it.

use super::*;

fn fault(frame: u64, kind: CameraFault) -> Fault {
    Fault::Camera { camera: "main".to_owned(), frame, kind }
}

#[tokio::test(start_paused = true)]
async fn a_wet_lens_blurs_one_frame_and_no_other() {
    let mut rig = with_faults(&[fault(2, CameraFault::Blurred)]).await;
    let before = rig.look().await.sharpness();
    let wet = rig.look().await.sharpness();
    let after = rig.look().await.sharpness();
    assert!(wet < 0.3 * before, "sharpness {before}, wet {wet}");
    assert!(after > 0.95 * before, "sharpness {before}, after {after}");
}

#[tokio::test(start_paused = true)]
async fn an_over_exposed_frame_is_clipped_while_the_camera_reports_nothing_unusual() {
    let mut rig = with_faults(&[fault(2, CameraFault::OverExposed)]).await;
    let good = rig.look().await.clipped();
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    let set = rig.camera.fetch(exposed).await.unwrap();
    assert_eq!(set.frames[0].exposure, NOMINAL);
    let bad = Picture::of(&jpeg_of(set)).clipped();
    assert!(good < 0.02, "{good} of a good picture is clipped");
    assert!(bad > 0.5, "only {bad} of a five times too bright picture is clipped");
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_file_breaks_off_in_the_middle() {
    let mut rig = with_faults(&[fault(2, CameraFault::CorruptJpeg)]).await;
    let whole = rig.shoot().await;
    let broken = rig.shoot().await;
    assert!(broken.len() < whole.len() * 6 / 10);
    assert!(broken.starts_with(&[0xff, 0xd8]) && !broken.ends_with(&[0xff, 0xd9]));
    assert!(turbojpeg::decompress(&broken, turbojpeg::PixelFormat::RGB).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stuck_camera_gives_the_same_bytes_again() {
    let mut rig = with_faults(&[fault(2, CameraFault::StuckPicture)]).await;
    let first = rig.shoot().await;
    rig.turn_to(30.0, Direction::Forward).await;
    assert_eq!(rig.shoot().await, first);
    assert_ne!(rig.shoot().await, first);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_transfer_times_out_at_the_deadline() {
    let mut rig = with_faults(&[fault(1, CameraFault::Stall)]).await;
    let exposed = rig.camera.expose(&within(Duration::from_secs(4))).await.unwrap();
    let error = rig.camera.fetch(exposed).await.unwrap_err();
    assert!(matches!(error, CameraError::Timeout { .. }) && error.is_transient(), "{error}");
    assert!(
        Instant::now() >= exposed.deadline && Instant::now() < exposed.deadline + Duration::from_millis(2)
    );
    rig.shoot().await;
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_camera_is_gone_until_it_is_plugged_in_and_opened_again() {
    let mut rig = with_faults(&[fault(2, CameraFault::Unplug)]).await;
    let waits = rig.camera.expose(&soon()).await.unwrap();
    let error = rig.camera.expose(&soon()).await.unwrap_err();
    assert!(matches!(error, CameraError::Disconnected { .. }) && error.needs_reopen(), "{error}");
    let error = rig.camera.fetch(waits).await.unwrap_err();
    assert!(matches!(error, CameraError::Disconnected { .. }), "its buffer is gone too: {error}");
    assert!(matches!(try_open(&rig.booth, SMALL).map(|_| ()), Err(CameraError::NotPresent { .. })));
    rig.booth.clear_faults();
    assert!(matches!(try_open(&rig.booth, SMALL).map(|_| ()), Err(CameraError::NotPresent { .. })));

    rig.booth.replug("main");
    let error = rig.camera.expose(&soon()).await.unwrap_err();
    assert!(matches!(error, CameraError::Disconnected { .. }), "the old handle stays dead: {error}");
    rig.camera = try_open(&rig.booth, SMALL).unwrap();
    rig.shoot().await;
    assert_eq!(rig.booth.exposures("main"), 3, "the life of the booth goes on");
}

#[tokio::test(start_paused = true)]
async fn a_camera_pulled_out_during_the_transfer_gives_nothing() {
    let mut rig = plain().await;
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    rig.booth.unplug("main");
    assert!(matches!(rig.camera.fetch(exposed).await, Err(CameraError::Disconnected { .. })));
}

#[tokio::test(start_paused = true)]
async fn faults_belong_to_one_camera_and_can_be_cleared_and_added() {
    let mut rig = with_faults(&[fault(1, CameraFault::CorruptJpeg)]).await;
    rig.booth.clear_faults();
    let around = Surroundings { booth: Some(rig.booth.clone()), ..Surroundings::default() };
    let mut other = crate::camera::open("side", &options(SMALL), &around).await.unwrap();
    rig.booth.inject(fault(1, CameraFault::Stall));
    let exposed = other.expose(&soon()).await.unwrap();
    assert!(other.fetch(exposed).await.is_ok());
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    assert!(rig.camera.fetch(exposed).await.is_err());
}
