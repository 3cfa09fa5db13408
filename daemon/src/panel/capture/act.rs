//! The one thing to do next, always in the same place, and beside it what else there is or why it is closed.

use askama::Template;
use serde_json::{Value, json};

use crate::access::allows;
use crate::emergency::{EmergencyStopStatus, Step};
use crate::panel::ask::Sheet;
use crate::panel::region::Region;
use crate::panel::scene::{Phase, Scene};
use crate::status::Situation;
use crate::words::panel::{count, fill};

#[derive(Template)]
#[template(path = "act.html")]
struct Bar {
    buttons: Vec<Button>,
}

/// A control of the bar.
pub(super) struct Button {
    pub class: &'static str,
    pub label: String,
    /// Why it is closed.
    pub note: Option<String>,
    pub closed: bool,
    /// Command that it sends, with its body.
    pub act: Option<(&'static str, String)>,
    /// Page that it opens.
    pub href: Option<String>,
}

impl Button {
    /// The primary action.
    pub fn primary(label: impl Into<String>, act: &'static str, body: &Value) -> Self {
        let act = Some((act, body.to_string()));
        Self {
            class: "btn--primary btn--big",
            label: label.into(),
            note: None,
            closed: false,
            act,
            href: None,
        }
    }

    fn second(label: impl Into<String>) -> Self {
        Self { class: "btn--second", label: label.into(), note: None, closed: false, act: None, href: None }
    }

    fn closed(class: &'static str, label: impl Into<String>, note: Option<String>) -> Self {
        Self { class, label: label.into(), note, closed: true, act: None, href: None }
    }
}

/// The bar at the lower edge.
pub(super) fn region(scene: &Scene) -> askama::Result<Region> {
    let mut buttons = buttons(scene);
    // In the middle of a session nothing else has room for the rig's code.
    if let (Some(code), Some(_), Some(last)) = (&scene.arm_code, &scene.detail, buttons.last_mut()) {
        last.note.get_or_insert_with(|| fill(scene.words().arm_code_is, &[("code", code)]));
    }
    for button in &mut buttons {
        if button.act.as_ref().is_some_and(|(act, _)| !allows(scene.visitor.role, act)) {
            button.act = None;
            button.closed = true;
            button.note = Some(scene.words().not_your_role.to_owned());
        }
    }
    Ok(Region::whole("act", &Bar { buttons }.render()?))
}

fn buttons(scene: &Scene) -> Vec<Button> {
    let words = scene.words();
    let test = scene.asks_emergency_test().map(|asked| (test(scene, asked), asked.needed));
    let test = match test {
        Some((test, true)) => return vec![test],
        Some((test, false)) => Some(Button { class: "btn--second", ..test }),
        None => None,
    };
    if scene.needs_arming() {
        return vec![arm(scene)];
    }
    match scene.phase() {
        Phase::Waiting => vec![Button::closed("btn--big", words.wait, None)],
        Phase::Closed => vec![Button::closed("btn--big", words.closed, None)],
        Phase::Empty => {
            let scan = Button::closed("btn--big", words.scan_to_start, None);
            test.into_iter().chain([scan]).collect()
        }
        Phase::ItemSet => {
            let body = json!({ "item": scene.ask.item, "recipe": scene.recipe().map(|one| &one.name) });
            vec![Button::primary(words.start, "start", &body)]
        }
        Phase::Shooting => {
            let stop = Button::primary(words.stop, "stop", &json!({}));
            let stop = Button { class: "btn--stop btn--big", ..stop };
            let asked = matches!(scene.status.situation, Situation::TurnByHand { .. });
            let act = Some(("answer", json!({ "number": null }).to_string()));
            let stands = asked.then(|| Button { act, ..Button::second(words.stands_there) });
            stands.into_iter().chain([stop]).collect()
        }
        Phase::Review => {
            let session = scene.session();
            let left = session.map_or(0, |session| {
                let mut frames: Vec<u32> = session.flagged.iter().chain(&session.missing).copied().collect();
                frames.sort_unstable();
                frames.dedup();
                frames.len()
            });
            let all = scene.places().len();
            let when = fill(words.release_when, &[("n", &all)]);
            vec![
                Button::closed("btn--second", words.release, Some(when)),
                Button::primary(count(&words.retake, left), "retake", &json!({ "which": "flagged" })),
            ]
        }
        Phase::Complete => vec![
            Button { href: Some(ends(scene)), ..Button::second(words.end) },
            Button::primary(words.release, "release", &json!({ "accept": null })),
        ],
        Phase::Halted => halted(scene),
    }
}

/// Begins the test of the emergency stop, or says what it waits for.
fn test(scene: &Scene, asked: &EmergencyStopStatus) -> Button {
    let words = scene.words();
    let [press, release] = words.emergency_asks;
    match asked.step {
        Step::Press => Button::closed("btn--big", press, None),
        Step::Release => Button::closed("btn--big", release, None),
        _ => Button::primary(words.emergency_test, "test-emergency-stop", &json!({})),
    }
}

/// On the rig's own display one press is enough; everywhere else its code is asked for, if there is one.
fn arm(scene: &Scene) -> Button {
    let words = scene.words();
    if scene.visitor.at_rig() {
        return Button::primary(words.arm, "arm", &json!({ "code": null }));
    }
    if !scene.own_display {
        return Button::closed("btn--big", words.arm, Some(words.arm_by_input.to_owned()));
    }
    let href = scene.ask.with(|ask| ask.sheet = Some(Sheet::Arm));
    Button { href: Some(href), class: "btn--primary btn--big", ..Button::second(words.arm) }
}

/// How a session goes on depends on what halted it.
fn halted(scene: &Scene) -> Vec<Button> {
    let words = scene.words();
    let body = |anew: bool, confirm: bool| json!({ "session": null, "anew": anew, "confirm": confirm });
    let end = Button { href: Some(ends(scene)), ..Button::second(words.end) };
    let anew = body(true, false).to_string();
    match scene.status.faults.first().map(|fault| fault.rule.as_str()) {
        Some("storage-fault") => vec![end, Button::closed("btn--big", words.closed, None)],
        Some("position-match") => vec![
            Button { act: Some(("resume", anew)), ..Button::second(words.anew) },
            Button::primary(words.resume_confirm, "resume", &body(false, true)),
        ],
        Some("position-unknown") => vec![end, Button::primary(words.anew, "resume", &body(true, false))],
        _ => {
            let frame = scene.session().and_then(|session| session.missing.first());
            let label = match frame {
                Some(frame) => fill(words.resume_at, &[("n", frame)]),
                None => words.resume.to_owned(),
            };
            vec![end, Button::primary(label, "resume", &body(false, false))]
        }
    }
}

fn ends(scene: &Scene) -> String {
    scene.ask.with(|ask| {
        ask.sheet = Some(Sheet::End);
        ask.scanned = None;
    })
}
