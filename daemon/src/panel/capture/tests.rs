//! What a person finds on the page in each situation, in either language.

use turnstage_pipeline::qc::{Finding, Nature, Verdict};

use super::*;
use crate::access::{Role, Visitor};
use crate::arming::Armed;
use crate::command::{Actor, Place};
use crate::panel::ask::{Ask, Sheet};
use crate::panel::look::{Look, Theme};
use crate::session::{SessionState, Timing};
use crate::status::{Delivery, Fault, SessionStatus, StationName, Status, TableStatus};
use crate::window::RecipeLine;
use crate::window::views::{FrameState, FrameView, SessionDetail, SessionSummary, Try};
use crate::words::Language;

fn scene(situation: Situation) -> Scene {
    let name = |text: &str| text.to_owned();
    let station = StationName { org: name("demo"), site: name("Munich East"), name: name("Booth 3") };
    let mut status = Status::starting(station, true);
    status.delivery = Delivery { sessions_left: 31, ..Delivery::default() };
    status.tell(situation);
    let recipe =
        |name: &str, default| RecipeLine { name: name.to_owned(), about: String::new(), frames: 36, default };
    Scene {
        look: Look { language: Language::En, theme: Theme::Auto },
        visitor: Visitor {
            actor: Actor("technician:Ana K.".to_owned()),
            role: Role::Technician,
            signed_in: true,
            place: Place::Afar("tablet".to_owned()),
        },
        ask: Ask::default(),
        status,
        detail: None,
        recipes: vec![recipe("product36", true), recipe("stills", false)],
        queue: None,
        arm_code: None,
        own_display: true,
        goes_on: true,
        now_wall_ms: 0,
    }
}

fn place(frame: u32, state: FrameState) -> FrameView {
    let there = !matches!(state, FrameState::Todo | FrameState::Now | FrameState::Missing);
    let finding = Finding {
        rule: "qc.sharpness".to_owned(),
        verdict: Verdict::Block,
        nature: Nature::Systematic,
        value: 4.1,
        limit: 0.8,
        unit: "px".to_owned(),
        message: "soft".to_owned(),
    };
    FrameView {
        frame,
        row: 1,
        angle_deg: Some(f64::from(frame - 1) * 10.0),
        reached_deg: None,
        camera: "left".to_owned(),
        state,
        sequence: there.then_some(u64::from(frame)),
        sha256: there.then(|| "0123456789abcdef".to_owned()),
        take: 1,
        tries: vec![Try { sequence: u64::from(frame), take: 1 }],
        findings: if state == FrameState::Flagged { vec![finding] } else { Vec::new() },
        blur_px: Some(0.6),
        blur_px_max: 0.8,
        clipped: None,
        clipped_max: 0.01,
        width: None,
        height: None,
        bytes: None,
        exposed_wall_ms: None,
        exposed_with: serde_json::Value::Null,
        delivery: None,
        proof: None,
    }
}

fn with_session(situation: Situation, state: SessionState, frame_state: impl Fn(u32) -> FrameState) -> Scene {
    let mut scene = scene(situation);
    let places: Vec<_> = (1..=36).map(|frame| place(frame, frame_state(frame))).collect();
    let numbers = |of: FrameState| {
        places.iter().filter(|place| place.state == of).map(|place| place.frame).collect::<Vec<_>>()
    };
    let mut missing = numbers(FrameState::Missing);
    missing.extend(numbers(FrameState::Todo));
    let taken = places.iter().filter(|place| place.sequence.is_some()).count();
    scene.status.session = Some(SessionStatus {
        id: "s1".to_owned(),
        item: "2000104820014".to_owned(),
        recipe: "product36".to_owned(),
        state,
        wanted: 36,
        missing,
        taken,
        flagged: numbers(FrameState::Flagged),
        retaken: 0,
        frame: None,
        checking: None,
        left_s: Some(64.0),
    });
    scene.detail = Some(SessionDetail {
        summary: SessionSummary {
            session: "s1".to_owned(),
            item: "2000104820014".to_owned(),
            recipe: "product36".to_owned(),
            state,
            reason: None,
            actor: "operator:ana".to_owned(),
            started_wall_ms: 0,
            wanted: 36,
            frames: taken,
            flagged: 0,
            retaken: 0,
            bytes: 0,
            delivery: std::collections::BTreeMap::new(),
            waiting: Vec::new(),
            stuck: 0,
            cover: None,
        },
        timing: Timing::default(),
        accepted: None,
        location: None,
        cameras: vec!["left".to_owned()],
        rows: 1,
        places,
    });
    scene
}

fn shooting() -> Scene {
    let situation = Situation::Shooting { frame: 17, total: 36, left_s: Some(64.0), flagged: None };
    with_session(situation, SessionState::Shooting, |frame| match frame {
        ..16 => FrameState::Passed,
        16 => FrameState::Checking,
        17 => FrameState::Now,
        _ => FrameState::Todo,
    })
}

fn review() -> Scene {
    let situation = Situation::Flagged { frames: 2, rule: "qc.sharpness".to_owned() };
    with_session(situation, SessionState::Review, |frame| match frame {
        17 | 30 => FrameState::Flagged,
        _ => FrameState::Passed,
    })
}

fn region(scene: &Scene, id: &str) -> String {
    let regions = regions(scene).expect("the page renders");
    regions.into_iter().find(|region| region.id == id).expect("the region").html
}

/// Labels of the buttons that can be pressed, then of the closed ones.
fn buttons(scene: &Scene) -> (Vec<String>, Vec<String>) {
    let act = region(scene, "act");
    let mut open = Vec::new();
    let mut closed = Vec::new();
    for button in act.split("class=\"btn ").skip(1) {
        let label = button.split_once('>').map(|(_, rest)| rest.trim_start_matches("<span>"));
        let label = label.and_then(|rest| rest.split('<').next()).unwrap_or_default().to_owned();
        if button.contains("aria-disabled") { closed.push(label) } else { open.push(label) }
    }
    (open, closed)
}

#[test]
fn one_thing_can_be_done_next_in_every_situation() {
    let said = |scene: &Scene| {
        let (open, closed) = buttons(scene);
        format!("{} | {}", open.join(", "), closed.join(", "))
    };
    assert_eq!(said(&scene(Situation::Ready)), " | Scan an item to start");
    let mut named = scene(Situation::Ready);
    named.ask.item = Some("2000104820014".to_owned());
    assert_eq!(said(&named), "Start capture | ");
    let mut reviewer = scene(Situation::Ready);
    reviewer.ask.item.clone_from(&named.ask.item);
    reviewer.visitor.role = Role::Reviewer;
    assert_eq!(said(&reviewer), " | Start capture", "closed, with the reason on it");
    assert!(region(&reviewer, "act").contains("not with your role"));
    assert!(region(&named, "status").contains("2 000104 820014 is on the table. Stand clear, then start."));
    assert_eq!(said(&scene(Situation::RoomNone { waiting: 3 })), " | Capture is closed");
    assert_eq!(said(&shooting()), "Stop | ");
    assert_eq!(said(&review()), "Retake 2 frames | Release");
    let complete =
        with_session(Situation::Complete { frames: 36 }, SessionState::Review, |_| FrameState::Passed);
    assert_eq!(said(&complete), "End session…, Release | ");
    let stopped = Situation::StoppedBy { who: "Ana K.".to_owned(), taken: 22, wanted: 36 };
    let stopped = with_session(stopped, SessionState::Paused, |frame| match frame {
        ..23 => FrameState::Passed,
        _ => FrameState::Todo,
    });
    assert_eq!(said(&stopped), "End session…, Continue at frame 23 | ");
}

#[test]
fn the_reason_of_the_first_flagged_frame_stands_beside_the_ring_once_the_turn_is_over() {
    let sheet = region(&review(), "aside");
    for text in [
        "Frame 17 is not sharp",
        "160° · 1 of 2",
        "Blur <b>4.1 px</b>",
        "at most 0.8 px",
        "The spin blinks at 160°.",
        "Wipe the lens of camera left, then retake.",
        "<b>16</b> before it, 0.6 px",
        "Retake only this one",
        "Keep it anyway…",
        "qc.sharpness",
    ] {
        assert!(sheet.contains(text), "{text} is not in {sheet}");
    }
    let mut german = review();
    german.look.language = Language::De;
    assert!(region(&german, "aside").contains("Bild 17 ist unscharf"));
    assert!(region(&german, "act").contains("2 Bilder wiederholen"));
}

#[test]
fn only_who_may_answer_for_it_is_offered_to_keep_a_flagged_frame() {
    let mut operator = review();
    operator.visitor.role = Role::Operator;
    assert!(!region(&operator, "aside").contains("Keep it anyway"));
    operator.ask.sheet = Some(Sheet::Keep);
    assert!(!region(&operator, "aside").contains("data-form=\"keep\""));
    let mut reviewer = review();
    reviewer.ask.sheet = Some(Sheet::Keep);
    let sheet = region(&reviewer, "aside");
    assert!(sheet.contains("Keep 2 frames and release") && sheet.contains("value=\"Ana K.\""));
}

#[test]
fn a_fault_is_told_in_three_parts_and_another_item_stops_and_starts_nothing() {
    let mut fault =
        with_session(Situation::TableLost { deg: None }, SessionState::Paused, |_| FrameState::Todo);
    fault.status.faults.push(Fault::new("motion-link-lost", "The <table> is silent", "It may move", "Look"));
    let card = region(&fault, "aside");
    for text in
        ["What happened", "The &#60;table&#62; is silent", "Why it matters", "What to do", "motion-link-lost"]
    {
        assert!(card.contains(text), "{text} is not in {card}");
    }
    let mut other = shooting();
    other.ask.scanned = Some("2000104819957".to_owned());
    let card = region(&other, "aside");
    assert!(card.contains("Another item was scanned") && card.contains("Carry on with 2 000104 820014"));
    assert_eq!(buttons(&other).0, ["Stop"]);
}

#[test]
fn a_new_frame_replaces_its_own_place_and_leaves_the_ring() {
    let mut shown = crate::panel::region::Shown::default();
    let before = shooting();
    shown.all(&regions(&before).expect("the page renders"));
    let mut after = shooting();
    if let Some(detail) = &mut after.detail {
        detail.places[15] = place(16, FrameState::Passed);
        detail.places[16] = place(17, FrameState::Checking);
        detail.places[17] = place(18, FrameState::Now);
    }
    if let Some(session) = &mut after.status.session {
        session.taken += 1;
    }
    after.status.tell(Situation::Shooting { frame: 18, total: 36, left_s: Some(60.0), flagged: None });
    let patches = shown.patches(&regions(&after).expect("the page renders"));
    let ids: Vec<&str> = patches.iter().map(|patch| patch.id.as_str()).collect();
    assert_eq!(
        ids,
        ["status-words", "status-track", "f16-left", "f17-left", "f18-left", "over", "hub", "figures"],
        "nothing is read out, and no outer part is replaced"
    );
    let bytes: usize = patches.iter().map(|patch| patch.html.len()).sum();
    assert!(bytes < 16_000, "{bytes} bytes for one frame");
}

#[test]
fn pages_obey_a_policy_that_allows_neither_inline_style_nor_script() {
    for scene in [scene(Situation::Ready), shooting(), review()] {
        let html = page(&scene).expect("the page renders");
        for forbidden in [" style=", "<style", "onclick", "onload", "javascript:", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains("<script type=\"module\" src=\"/assets/"));
    }
}

#[test]
fn a_table_that_is_not_armed_asks_for_a_person_at_the_rig_before_anything_else() {
    let table = |armed| TableStatus {
        model: "Grbl 1.1h".to_owned(),
        position: turnstage_drivers::Position::Unknown,
        moving: false,
        stopped: false,
        announced: false,
        armed,
        may_turn_deg: None,
        tried: false,
        fault: None,
    };
    let mut far = scene(Situation::Ready);
    far.ask.item = Some("jug-1".to_owned());
    far.status.table = Some(table(Armed::No));
    let html = region(&far, "act");
    assert!(html.contains("sheet=arm") && !html.contains("data-act=\"start\""), "{html}");
    far.ask.sheet = Some(Sheet::Arm);
    assert!(region(&far, "aside").contains("data-form=\"arm\""));

    far.own_display = false;
    let html = format!("{}{}", region(&far, "act"), region(&far, "aside"));
    assert!(html.contains("by its key or pedal") && !html.contains("sheet=arm"), "{html}");
    assert!(!html.contains("data-form=\"arm\""), "no code is shown anywhere: {html}");

    let mut near = scene(Situation::Ready);
    near.ask.item = Some("jug-1".to_owned());
    near.status.table = Some(table(Armed::No));
    near.visitor.place = Place::AtRig;
    near.arm_code = Some("123456".to_owned());
    let html = format!("{}{}", region(&near, "act"), region(&near, "aside"));
    assert!(html.contains("data-act=\"arm\"") && html.contains("code for other panels: 123456"), "{html}");
    assert!(html.contains("not tried on real hardware"), "{html}");

    near.status.table = Some(table(Armed::Yes));
    assert!(region(&near, "act").contains("data-act=\"start\""));
}
