use super::*;
use crate::words::Language;

/// 2026-11-23, a Monday.
const MONDAY: i64 = 20_780;

/// A turn of 36 frames of one camera; blur, luma and noise as given.
fn turn(camera: &str, blur: f64, luma: f64, noise: f64) -> Vec<Seen> {
    let one = |n: u8| Seen {
        camera: camera.to_owned(),
        device: "sim Simulated 320x240".to_owned(),
        setup: "spin36 8000 1 5000".to_owned(),
        frame: Frame {
            bin: Some(n),
            // A side view has wider edges than a front view, and always the same.
            blur_px: Some(blur + f64::from(n % 4) * 0.05),
            border: Some([luma, 128.0, 128.0]),
            noise_levels: Some(noise),
        },
    };
    (0..36).map(one).collect()
}

fn sharp(blur: f64) -> Vec<Seen> {
    turn("high", blur, 120.0, 1.0)
}

fn first_sentence(known: &Constancy, day: Option<i64>) -> String {
    known.drifts(day).first().map(|drift| Language::En.drift(drift).first).unwrap_or_default()
}

#[test]
fn a_lens_that_slowly_loses_focus_is_told_of_once_and_with_its_day() {
    let mut known = Constancy::default();
    let mut news = Vec::new();
    // Two turns a day for twelve days, a little less sharp each day from the eighth on.
    for day in 0..12 {
        let blur = 0.5 + f64::from((day - 6).max(0)) * 0.06;
        for _ in 0..2 {
            let new = known.add(Some(MONDAY + i64::from(day)), &sharp(blur));
            news.extend(new.into_iter().map(|new| (day, new)));
        }
    }
    let [(day, drift)] = news.as_slice() else { panic!("{news:?}") };
    assert_eq!((*day, drift.quality), (10, Quality::Sharpness), "0.5 + 4 * 0.06 = 0.74");
    assert_eq!(drift.since, Since::Weekday { weekday: 3 });
    let words = first_sentence(&known, Some(MONDAY + 11));
    assert_eq!(words, "Camera high lost 34 % sharpness since Thursday", "it grows worse, and the day stays");
    let words = first_sentence(&known, Some(MONDAY + 20));
    assert_eq!(words, "Camera high lost 34 % sharpness since 2026-12-03", "a weekday would be the wrong one");
    let health = known.health(Some(MONDAY + 11)).remove(0);
    let blur = health.blur_px.expect("figures");
    assert!(blur.today > blur.baseline + 0.2, "{blur:?}");
    assert_eq!(health.sentences.len(), 1);
}

#[test]
fn other_objects_that_are_as_sharp_raise_no_alarm() {
    let mut known = Constancy::default();
    for day in 0..20_u8 {
        // A new object has edges elsewhere: a blur that differs a little, and none measured at some angles.
        let mut frames = sharp(0.5 + f64::from(day % 3) * 0.05);
        frames.iter_mut().step_by(5).for_each(|seen| seen.frame.blur_px = None);
        assert_eq!(known.add(Some(MONDAY + i64::from(day)), &frames), []);
    }
    assert_eq!(known.drifts(Some(MONDAY)), []);
}

#[test]
fn a_perfectly_sharp_picture_that_becomes_less_so_has_lost_something_too() {
    let mut known = Constancy::default();
    let all = |blur: f64| {
        let mut frames = sharp(0.0);
        frames.iter_mut().for_each(|seen| seen.frame.blur_px = Some(blur));
        frames
    };
    known.add(Some(MONDAY), &all(0.0));
    assert_eq!(known.add(Some(MONDAY + 1), &all(0.25)), [], "finer than a pixel");
    assert_eq!(known.add(Some(MONDAY + 2), &all(0.58)).len(), 1);
    assert_eq!(known.drifts(Some(MONDAY + 2))[0].change, 0.5);
}

#[test]
fn an_angle_that_is_less_sharp_is_compared_with_itself() {
    let mut known = Constancy::default();
    let mut frames = sharp(0.4);
    frames.iter_mut().skip(18).for_each(|seen| seen.frame.blur_px = Some(0.9));
    known.add(Some(MONDAY), &frames);
    // Mostly the sides that were never sharp.
    assert_eq!(known.add(Some(MONDAY + 1), &frames[12..]), []);
}

#[test]
fn too_few_frames_say_nothing() {
    let mut known = Constancy::default();
    known.add(Some(MONDAY), &sharp(0.5)[..20]);
    assert_eq!(known.add(Some(MONDAY + 1), &sharp(0.9)[..20]), [], "20 frames are no baseline");
    let mut known = Constancy::default();
    known.add(Some(MONDAY), &sharp(0.5));
    let day = Some(MONDAY + 1);
    assert_eq!(known.add(day, &sharp(0.9)[..12]), [], "48 frames, of which 12 are worse");
    assert_eq!(known.add(day, &sharp(0.9)[12..24]).len(), 1, "24 on that day");
}

#[test]
fn without_a_clock_days_are_counted_by_turns_of_the_table() {
    let mut known = Constancy::default();
    known.add(None, &sharp(0.5));
    known.add(None, &sharp(0.5));
    assert_eq!(known.add(None, &sharp(0.9)).len(), 1);
    known.add(None, &sharp(0.9));
    assert_eq!(first_sentence(&known, None), "Camera high lost 41 % sharpness in the last 2 turns");
    // A clock that is set later names no wrong day.
    assert_eq!(known.drifts(Some(MONDAY))[0].since, Since::Turns { turns: 2 });
    // One that goes back by years keeps the alarm.
    known.add(Some(MONDAY - 9000), &sharp(0.9));
    assert_eq!(known.drifts(Some(MONDAY - 9000)).len(), 1);
}

#[test]
fn a_lens_that_was_wiped_is_no_alarm_any_more_and_a_reset_begins_anew() {
    let mut known = Constancy::default();
    known.add(Some(MONDAY), &sharp(0.5));
    assert_eq!(known.add(Some(MONDAY + 1), &sharp(0.9)).len(), 1);
    let mut wiped = known.clone();
    wiped.add(Some(MONDAY + 2), &sharp(0.5));
    assert_eq!(wiped.drifts(Some(MONDAY + 2)), []);
    let mut other = sharp(0.5);
    other.iter_mut().for_each(|seen| "another recipe".clone_into(&mut seen.setup));
    let mut asked = known.clone();
    assert_eq!(asked.add(Some(MONDAY + 2), &other), []);
    assert_eq!(
        asked.drifts(Some(MONDAY + 2)).len(),
        1,
        "a recipe without a baseline says nothing either way"
    );
    assert!(known.reset("high"));
    assert!(!known.reset("low"), "nothing is known of it");
    assert_eq!(known.drifts(Some(MONDAY + 1)), []);
    assert_eq!(known.add(Some(MONDAY + 2), &sharp(0.9)), [], "that is how the new lens is");
    assert_eq!(known.add(Some(MONDAY + 3), &sharp(0.9)), []);
}

#[test]
fn a_camera_that_was_exchanged_begins_anew_by_itself() {
    let mut known = Constancy::default();
    known.add(Some(MONDAY), &sharp(0.5));
    let mut other = sharp(0.9);
    other.iter_mut().for_each(|seen| "uvc Other 1920x1080".clone_into(&mut seen.device));
    assert_eq!(known.add(Some(MONDAY + 1), &other), []);
    assert_eq!(known.health(None)[0].baseline_frames, 36);
}

#[test]
fn light_colour_and_noise_have_their_own_alarms_and_one_cause_has_one() {
    let before = turn("high", 0.5, 120.0, 1.0);
    let after = |luma: f64, blue: f64, noise: f64| {
        let mut known = Constancy::default();
        known.add(Some(MONDAY), &before);
        let mut frames = turn("high", 0.5, luma, noise);
        frames.iter_mut().for_each(|seen| seen.frame.border = Some([luma, 128.0 + blue, 128.0]));
        let new = known.add(Some(MONDAY + 1), &frames);
        new.iter().map(|drift| (drift.quality, (drift.change * 100.0).round())).collect::<Vec<_>>()
    };
    assert_eq!(after(110.0, 0.0, 1.0), [], "0.28 stops");
    // 120 to 90 levels are 2.2 log2(0.75) = -0.91 stops.
    assert_eq!(after(90.0, 9.0, 2.0), [(Quality::Light, 47.0)], "colour and noise come of it");
    assert_eq!(after(140.0, 0.0, 1.0), [(Quality::Light, -40.0)]);
    assert_eq!(after(120.0, -7.0, 1.0), [(Quality::Colour, 700.0)]);
    assert_eq!(after(120.0, 0.0, 1.6), [(Quality::Noise, 60.0)]);
    assert_eq!(after(120.0, 0.0, 1.45), []);
}

#[test]
fn what_is_kept_is_bounded_and_read_back_as_it_was() {
    let mut known = Constancy::default();
    for day in 0..40_u8 {
        for camera in ["high", "low"] {
            let mut frames = turn(camera, 0.5, 120.0, 1.0);
            frames.iter_mut().for_each(|seen| seen.setup = format!("recipe-{}", day % 13));
            known.add(Some(MONDAY + i64::from(day)), &frames);
        }
    }
    let document = known.document("constancy.o");
    let bytes = document.value.to_string().len();
    assert!(bytes < 500_000, "{bytes} bytes");
    assert_eq!(Constancy::read(&document), Ok(known.clone()));
    assert!(known.cameras.values().all(|watched| watched.setups.len() <= SETUPS_MAX));
}

#[test]
fn a_newer_writer_is_left_alone_one_with_more_fields_is_read_and_damage_is_told() {
    let mut known = Constancy::default();
    known.add(Some(MONDAY), &sharp(0.5));
    let mut document = known.document("constancy.o");
    document.value["a_field_of_the_future"] = serde_json::json!(1);
    document.value["cameras"]["high"]["another"] = serde_json::json!({});
    assert_eq!(Constancy::read(&document), Ok(known.clone()));
    document.value["cameras"] = serde_json::json!("gone");
    assert!(matches!(Constancy::read(&document), Err(Unread::Damaged(_))));
    known.schema = CONSTANCY_SCHEMA + 1;
    assert_eq!(Constancy::read(&known.document("constancy.o")), Err(Unread::Newer));
}
