//! The geometry is that of the design's own drawing; every state has its class and its word.

use super::*;
use crate::words::Language;

fn frame_view(frame: u32, row: u32, angle_deg: Option<f64>, state: FrameState) -> FrameView {
    let there = !matches!(state, FrameState::Todo | FrameState::Missing);
    FrameView {
        frame,
        row,
        angle_deg,
        reached_deg: angle_deg,
        camera: "main".to_owned(),
        state,
        sequence: there.then_some(u64::from(frame)),
        sha256: there.then(|| "0123456789abcdef0123".to_owned()),
        take: u32::from(there),
        tries: Vec::new(),
        findings: Vec::new(),
        blur_px: None,
        blur_px_max: 0.0,
        clipped: None,
        clipped_max: 0.0,
        width: None,
        height: None,
        bytes: None,
        exposed_wall_ms: None,
        exposed_with: serde_json::Value::Null,
        delivery: None,
        proof: None,
    }
}

fn spin(rows: u32, frames: u32, state: impl Fn(u32) -> FrameState) -> Vec<FrameView> {
    let places = (0..rows).flat_map(|row| (0..frames).map(move |nth| (row, nth)));
    let view = |(row, nth): (u32, u32)| {
        let frame = row * frames + nth + 1;
        frame_view(frame, row + 1, Some(f64::from(nth) * 360.0 / f64::from(frames)), state(frame))
    };
    places.map(view).collect()
}

fn drawn(places: &[FrameView], rows: u32, selected: Option<u32>, hand: Option<Hand>) -> Drawn {
    let link = |frame: u32| format!("?frame={frame}&camera=main");
    let places = places.iter().collect();
    draw(&View { places, rows, row: 1, selected, hand, words: Language::En.panel(), link: &link })
}

fn cell(drawn: &Drawn, id: &str) -> String {
    let found = drawn.cells.iter().find(|(of, _)| of == id);
    found.map(|(_, html)| html.clone()).expect("the frame is drawn")
}

#[test]
fn frame_17_of_36_lies_where_the_design_draws_it() {
    let ring = drawn(&spin(1, 36, |_| FrameState::Passed), 1, None, Some(Hand { deg: 0.0, busy: false }));
    let frame = cell(&ring, "f17-main");
    let outline = "M702.3 939.7A484 484 0 0 1 627.7 966.9L594.6 843.2A356 356 0 0 0 648.2 823.7Z";
    assert!(frame.contains(outline), "{frame}");
    assert!(frame.contains("M643.6 813.7A345 345 0 0 1 591.6 832.6"), "{frame}");
    assert!(frame.contains(r#"x="564.7" y="815.7" width="157.9" height="157.9""#), "{frame}");
    assert!(ring.ground.contains(outline));
    assert!(ring.over.contains(r#"d="M500 164 513 190H487Z""#), "the hand");
    assert!(ring.over.contains(r#"<path class="tick major" d="M666.0 212.5L661.0 221.1"/>"#), "the scale");
    assert!(ring.over.contains(r#"x="805.0" y="500.0">90°"#));
    assert!(!ring.over.contains(">0°"), "the hand stands there");
}

#[test]
fn rows_and_counts_have_the_radii_of_the_table() {
    let outline = |rows, frames, id: &str| {
        cell(&drawn(&spin(rows, frames, |_| FrameState::Todo), rows, None, None), id)
    };
    let of_12 = "M377.1 31.9A484 484 0 0 1 622.9 31.9L584.0 176.7A334 334 0 0 0 416.0 176.7Z";
    assert!(outline(1, 12, "f1-main").contains(of_12));
    let of_72 = "M522.6 16.5A484 484 0 0 1 561.7 19.9L547.1 131.0A372 372 0 0 0 517.7 128.4Z";
    assert!(outline(1, 72, "f2-main").contains(of_72));
    let row_1 = "M544.7 18.1A484 484 0 0 1 622.9 31.9L602.1 109.1A404 404 0 0 0 537.7 97.8Z";
    assert!(outline(2, 36, "f2-main").contains(row_1));
    let row_2 = "M863.8 405.1A376 376 0 0 1 874.3 464.7L794.6 471.7A296 296 0 0 0 786.6 425.8Z";
    assert!(outline(2, 36, "f45-main").contains(row_2));
}

#[test]
fn every_state_has_its_class_its_word_and_its_badge() {
    use FrameState::{Checking, Flagged, Kept, Missing, Now, Passed, Retaken, Todo};
    let states = [Todo, Now, Checking, Passed, Flagged, Missing, Retaken, Kept];
    let places = spin(1, 8, |frame| states[frame as usize - 1]);
    let ring = drawn(&places, 1, Some(5), None);
    let expected = [
        ("fr-todo", "not shot yet"),
        ("fr-now", "being shot"),
        ("fr-check", "being checked"),
        ("fr-ok", "passed"),
        ("fr-flag", "flagged"),
        ("fr-miss", "missing"),
        ("fr-ok fr-re", "retaken, passed"),
        ("fr-kept", "kept as it is"),
    ];
    for (number, (class, word)) in (1..).zip(expected) {
        let html = cell(&ring, &format!("f{number}-main"));
        let deg = (number - 1) * 45;
        assert!(html.contains(&format!(r#"class="fr {class}""#)), "{html}");
        assert!(html.contains(&format!("Frame {number}, {deg} degrees, {word}\"")), "{html}");
        assert_eq!(html.contains("aria-current"), number == 5);
        assert_eq!(html.contains("<image"), !["fr-todo", "fr-now", "fr-miss"].contains(&class), "{class}");
    }
    assert!(cell(&ring, "f4-main").contains("thumbnail?side=600&#38;v=0123456789abcdef\""));
    for badge in ["bdg-flag", "bdg-miss", "bdg-re"] {
        assert_eq!(ring.over.matches(badge).count(), 1, "{badge}");
    }
    assert_eq!(ring.over.matches(r#"class="tag""#).count(), 2, "numbers of the flagged and the missing one");
}

#[test]
fn of_72_frames_every_sixth_shows_its_number_and_small_pictures_are_used() {
    let ring = drawn(&spin(1, 72, |_| FrameState::Todo), 1, None, None);
    let numbered = ring.cells.iter().filter(|(_, html)| html.contains(r#"class="num""#)).count();
    assert_eq!((ring.cells.len(), numbered), (72, 12));
    let passed = drawn(&spin(1, 72, |_| FrameState::Passed), 1, None, None);
    assert!(cell(&passed, "f1-main").contains("side=150"));
}

#[test]
fn two_rows_number_their_flagged_frames_in_the_frame() {
    let flagged = |frame| if frame == 45 { FrameState::Flagged } else { FrameState::Passed };
    let ring = drawn(&spin(2, 36, flagged), 2, None, None);
    assert_eq!(ring.cells.len(), 72);
    assert!(ring.over.contains("pill-flag") && !ring.over.contains(r#"class="tag""#));
    assert!(cell(&ring, "f45-main").contains("Frame 45, row 2, 80 degrees, flagged"));
}

#[test]
fn of_three_rows_one_is_shown_and_the_others_are_bands_outside() {
    let ring = drawn(&spin(3, 24, |_| FrameState::Passed), 3, None, None);
    assert_eq!(ring.cells.len(), 24);
    assert_eq!(ring.over.matches(r#"class="out fr-ok""#).count(), 48);
    assert_eq!(ring.view_box, "-40 -40 1080 1080");
}

#[test]
fn pictures_without_angles_stand_in_a_grid_a_part_of_many_at_a_time() {
    let stills = |frames: u32| -> Vec<FrameView> {
        (1..=frames).map(|frame| frame_view(frame, 1, None, FrameState::Passed)).collect()
    };
    let few = drawn(&stills(8), 1, None, None);
    assert_eq!((few.class.as_str(), few.cells.len(), few.part), ("ring--0", 8, None));
    assert!(cell(&drawn(&stills(8), 1, None, None), "f3-main").contains(r#"aria-label="Frame 3, passed""#));
    let many = drawn(&stills(400), 1, Some(300), None);
    assert_eq!(many.part.as_deref(), Some("289 to 400 of 400"));
    assert!(many.cells.iter().any(|(id, _)| id == "f300-main"));
}

#[test]
fn any_number_of_frames_and_rows_is_drawn() {
    for frames in (1..=40).chain([71, 72, 73, 90, 180, 181, 360, 720, 3600]) {
        for rows in 1..=4 {
            let places = spin(rows, frames, |frame| match frame % 7 {
                0 => FrameState::Flagged,
                1 => FrameState::Missing,
                _ => FrameState::Passed,
            });
            let ring = drawn(&places, rows, Some(frames), Some(Hand { deg: 359.9, busy: true }));
            assert!(ring.cells.iter().all(|(_, html)| !html.contains("NaN")), "{rows} x {frames}");
        }
        let places: Vec<_> = (1..=frames).map(|n| frame_view(n, 1, None, FrameState::Missing)).collect();
        assert!(!drawn(&places, 1, None, None).cells.is_empty());
    }
    assert!(drawn(&[], 1, None, None).cells.is_empty());
}
