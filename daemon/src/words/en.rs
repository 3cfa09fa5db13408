//! English.

mod reasons;

use super::minutes;
use super::panel::{Away, Panel};
use crate::constancy::{Drift, Quality, Since};
use crate::emergency::StopState;
use crate::status::Situation;
use reasons::REASONS;

/// First and second line.
pub(super) fn lines(situation: &Situation) -> (String, String) {
    use Situation as S;
    let (first, second) = match situation {
        S::Starting => ("Starting".to_owned(), "Looking for cameras and table.".to_owned()),
        S::Off => ("Off".to_owned(), "The station is not running.".to_owned()),
        S::Ready => ("Ready".to_owned(), "Scan an item.".to_owned()),
        S::ItemSet { item } => {
            ("Ready".to_owned(), format!("{item} is on the table. Stand clear, then start."))
        }
        S::Referencing => ("The table looks for its zero".to_owned(), "Keep clear of the table.".to_owned()),
        S::Comparing => {
            let doing = "The table compares its place with the frames taken";
            (doing.to_owned(), "Keep clear of the table. Leave the item where it is.".to_owned())
        }
        S::Announced => ("The table turns in a moment".to_owned(), "Keep clear of the table.".to_owned()),
        S::TurnByHand { deg } => {
            (format!("Turn the table to {deg:.0}°"), "Say so when it stands there.".to_owned())
        }
        S::Turning { deg } => (format!("Turning to {deg:.0}°"), "Keep clear of the table.".to_owned()),
        S::Shooting { frame, total, left_s, flagged } => {
            let second = match (flagged, left_s) {
                (Some(flagged), _) => format!(
                    "Frame {} {} It is retaken at the end of the turn.",
                    flagged.frame,
                    REASONS.or_other(&flagged.rule).was
                ),
                (None, Some(left_s)) => format!("About {} min left.", minutes(*left_s)),
                (None, None) => "Keep clear of the table.".to_owned(),
            };
            (format!("Shooting frame {frame} of {total}"), second)
        }
        S::Retaking { frame, nth, of } => {
            (format!("Retaking frame {frame}, {nth} of {of}"), "Leave the item where it is.".to_owned())
        }
        S::Flagged { frames, rule } => (
            count(*frames, "frame needs a retake", "frames need a retake"),
            format!("Leave the item on the table. {}", REASONS.or_other(rule).remedy),
        ),
        S::Missing { frames } => (
            count(*frames, "frame is missing", "frames are missing"),
            "Leave the item on the table, then retake.".to_owned(),
        ),
        S::Complete { frames } => (format!("All {frames} frames passed"), "Release to send them.".to_owned()),
        S::Sending { pictures } => (
            "Ready".to_owned(),
            format!("Sending {}. You can go on.", count(*pictures, "picture", "pictures")),
        ),
        S::Offline { pictures } => ("Ready, no network".to_owned(), format!("{} Carry on.", safe(*pictures))),
        S::BudgetSpent { pictures } => {
            ("Ready, today's bytes are used up".to_owned(), format!("{} Sent tomorrow.", safe(*pictures)))
        }
        S::DestinationAway { name, pictures, reason } => {
            (format!("Ready, {name} is not there"), format!("{} {}", safe(*pictures), sentence(reason)))
        }
        S::SignIn { pictures, reason } => (
            "This station is not signed in to the cloud".to_owned(),
            format!("{} {}", safe(*pictures), sentence(reason)),
        ),
        S::RoomShort { sessions } => (
            format!("Room for {}", count(*sessions, "more session", "more sessions")),
            "Connect the network, or tell your technician.".to_owned(),
        ),
        S::RoomNone { waiting } => (
            "No room for a new session".to_owned(),
            format!(
                "{} to be sent. Nothing is deleted. Connect the network.",
                count(*waiting, "waits", "wait")
            ),
        ),
        S::CameraUnplugged { camera, taken, wanted } => (
            format!("Stopped: camera {camera} is unplugged"),
            format!("{taken} of {wanted} frames are safe. The table will not move by itself."),
        ),
        S::CameraAwaited { camera, frame, left_s } => (
            format!("Camera {camera} is away at frame {frame}"),
            format!("Plug it in again: it goes on by itself. {left_s} s are left for that."),
        ),
        S::TableLost { deg: None } => (
            "Stopped: no contact with the table".to_owned(),
            "Check that it stands still, then its cable and power.".to_owned(),
        ),
        S::TableLost { deg: Some(deg) } => (
            "Stopped: no contact with the table".to_owned(),
            format!("Link lost: it may still turn up to {:.0} degrees. Keep clear.", deg.abs().ceil()),
        ),
        S::TableTilts { deg } => (
            "Stopped: no contact with the table".to_owned(),
            format!("Link lost: it may still tilt by up to {:.0} degrees. Keep clear.", deg.ceil()),
        ),
        S::TableTurnsOn => (
            "Danger: no contact with the table".to_owned(),
            "Link lost: it turns on until its power is cut. Press the emergency stop.".to_owned(),
        ),
        S::PositionUnknown => {
            ("Table position is unknown".to_owned(), "Clear the table, then find zero.".to_owned())
        }
        S::EmergencyStop { state } => emergency_stop(*state),
        S::StoppedBy { who, taken, wanted } => (
            format!("Stopped by {who}"),
            format!("{taken} of {wanted} frames are safe. Continue when the table is clear."),
        ),
        S::Paused { taken, wanted } => (
            "Paused".to_owned(),
            format!("{taken} of {wanted} frames are safe. Continue when you are ready."),
        ),
        S::Interrupted { frame, taken } => (
            format!("Interrupted at frame {frame}"),
            format!("{} safe. Is the item still in place?", count(*taken, "frame is", "frames are")),
        ),
        S::StorageFault => (
            "The disk does not store pictures".to_owned(),
            "Capture is closed so that nothing is lost. Call your technician.".to_owned(),
        ),
        S::OutOfService { who, reason } => (
            "Out of service".to_owned(),
            format!("{}. No session begins. Ask {who}.", reason.trim_end_matches('.')),
        ),
        S::Updating { what, percent } => (
            percent.map_or_else(|| what.clone(), |percent| format!("{what}: {percent} %")),
            "Leave the power on. It ends by itself, perhaps with a reboot.".to_owned(),
        ),
        S::SafeMode => (
            "Safe mode".to_owned(),
            "The last settings did not work. The ones before are in use. Capture works.".to_owned(),
        ),
        S::SafeModeClosed => (
            "Safe mode".to_owned(),
            "The settings did not work and there are none before. Capture is closed.".to_owned(),
        ),
        S::Refused { pictures } => (
            count(*pictures, "picture was refused", "pictures were refused"),
            "They are safe. See why under Sessions.".to_owned(),
        ),
        S::Drifted { drift } => drifted(drift),
        S::Look { what, todo } | S::Fault { what, todo } => (what.clone(), todo.clone()),
    };
    (first, second)
}

/// The wired emergency stop.
fn emergency_stop(state: StopState) -> (String, String) {
    let (first, second) = match state {
        StopState::None => (
            "This platform has no emergency stop",
            "Nothing turns. Have a wired one fitted and named in the settings.",
        ),
        StopState::Clock => {
            ("Emergency stop not tested: the clock is not set", "Connect the network, then test it.")
        }
        StopState::Untested => {
            ("Emergency stop not tested today", "Begin its test, press it, then release it.")
        }
        StopState::Press => ("Press the emergency stop now", "The station waits a minute to see it."),
        StopState::Release => ("Release the emergency stop now", "The station has seen the press."),
        StopState::Pressed => (
            "The emergency stop is pressed, or its wire is cut",
            "See that nobody is in danger. Release it, then continue.",
        ),
        StopState::Lost => ("The emergency stop is not heard of", "Nothing moves. Check its cable."),
    };
    (first.to_owned(), second.to_owned())
}

/// What a camera's pictures lost.
fn drifted(drift: &Drift) -> (String, String) {
    let Drift { camera, quality, change, since } = drift;
    let since = match since {
        Since::Weekday { weekday } => format!("since {}", WEEKDAYS[usize::from(*weekday) % 7]),
        Since::Date { date } => format!("since {date}"),
        Since::Turns { turns: 1 } => "in the last turn".to_owned(),
        Since::Turns { turns } => format!("in the last {turns} turns"),
    };
    let percent = (change.abs() * 100.0).round();
    let (what, todo) = match quality {
        Quality::Sharpness => (format!("lost {percent} % sharpness"), "Clean the lens. You can go on."),
        Quality::Light if *change < 0.0 => {
            (format!("gets {percent} % more light"), "Check lamps and windows. You can go on.")
        }
        Quality::Light => {
            (format!("gets {percent} % less light"), "Check that all lamps are on. You can go on.")
        }
        Quality::Colour => {
            ("shows other colours".to_owned(), "Check that every lamp is on and alike. You can go on.")
        }
        Quality::Noise => {
            (format!("has {percent} % more grain"), "Check that all lamps are on. You can go on.")
        }
    };
    (format!("Camera {camera} {what} {since}"), todo.to_owned())
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `1 frame`, `2 frames`.
fn count<N: Into<u64>>(number: N, one: &str, many: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// Where pictures are that cannot go now.
fn safe(pictures: u64) -> String {
    match pictures {
        0 => "No picture waits.".to_owned(),
        pictures => format!("{} safe on this device.", count(pictures, "picture is", "pictures are")),
    }
}

/// A reason as a sentence of its own.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if reason.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// What the panel says.
pub(super) const PANEL: Panel = Panel {
    to_content: "Skip to content",
    main_nav: "Main",
    capture: "Capture",
    sessions: "Sessions",
    menu: "Menu",
    appearance: "Appearance",
    light: "Light",
    dark: "Dark",
    as_device: "As the device",
    language: "Language",
    sign_in: "Sign in",
    sign_out: "Sign out",
    nobody: "This device",
    shows_itself: "This station was asked to show itself.",
    diagnostics: "Diagnostics bundle",
    simulated: "Simulated rig, armed by itself",
    all_sent: "All sent",
    sending: "Sending {n}",
    waiting_short: "{n} waiting",
    no_network: "No network",
    refused_short: "{n} refused",
    sign_in_needed: "Sign-in refused",
    lost: "This page lost its connection to the station. Figures are from {time}.",
    not_reached: [
        "The station did not answer",
        "It is not known whether it was done.",
        "Check that this device reaches the station, then press again.",
    ],
    item: "Item",
    item_label: "Item number or VIN",
    item_hint: "Scan or type the item",
    item_take: "Use",
    recipe: "Recipe",
    change: "Change",
    recipe_frames: ["{n} frame", "{n} frames"],
    frames: "Frames",
    frames_at_angles: ["{n} frame at its angle", "{n} frames at their angles"],
    frames_in_order: ["{n} frame", "{n} frames in order"],
    frame: "Frame {n}",
    row: "Row {n}",
    degrees: "{n} degrees",
    states: [
        "not shot yet",
        "being shot",
        "being checked",
        "passed",
        "flagged",
        "missing",
        "retaken, passed",
        "kept as it is",
    ],
    scan: "Scan an item.",
    moving: "turning",
    still: "holding still",
    no_picture: "no picture yet",
    camera: "Camera {name}",
    shown_part: "{from} to {to} of {n}",
    passed: "Passed",
    to_retake: "To retake",
    time_left: "Time left",
    room_for: "Disk room for",
    room_sessions: "sessions",
    waiting: "Waiting",
    table: "Turntable",
    table_at: "at {n}°",
    table_unknown: "finds its zero at the start",
    ready: "ready",
    missing_device: "not there",
    drifted: ["less sharp", "other light", "other colours", "more grain"],
    not_tried: "not tried on real hardware",
    arm: "Let the table turn",
    not_armed: "The table is not armed",
    arm_why: "Go to the rig and see that nobody is on the table. Its own display shows a code; enter it here.",
    arm_by_input: "At the rig: by its key or pedal",
    arm_code: "Code on the rig's display",
    arm_code_is: "code for other panels: {code}",
    stands_there: "It stands there",
    emergency_stop: "Emergency stop",
    emergency_test: "Test the emergency stop",
    emergency_asks: ["Press it now", "Release it now"],
    emergency_states: ["tested today", "not tested today", "none declared"],
    checks: "Devices",
    min: "min",
    start: "Start capture",
    scan_to_start: "Scan an item to start",
    stop: "Stop",
    resume_at: "Continue at frame {n}",
    resume: "Continue",
    resume_confirm: "It was not moved: continue",
    anew: "Begin the turn anew",
    retake: ["Retake {n} frame", "Retake {n} frames"],
    retake_one: "Retake only this one",
    keep: "Keep it anyway…",
    release: "Release",
    release_when: "when all {n} pass",
    end: "End session…",
    closed: "Capture is closed",
    wait: "One moment",
    what: "What happened",
    why: "Why it matters",
    todo: "What to do",
    will: "What will happen",
    end_title: "End this session",
    end_what: [
        "{n} picture of {item} stays on this station.",
        "{n} pictures of {item} stay on this station.",
    ],
    end_why: "Nothing of this session is sent, and it cannot be continued.",
    end_do: ["End session, keep {n} picture here", "End session, keep {n} pictures here"],
    end_none: "End session without a picture",
    back: "Go back",
    other_title: "Another item was scanned",
    other_what: "{scanned} is not the item of this session.",
    other_why: "Two items in one session cannot be told apart later.",
    other_todo: "Take it away, or end this session first.",
    other_go_on: "Carry on with {item}",
    reasons: REASONS,
    nth_of: "{n} of {m}",
    previous_flagged: "Previous flagged frame",
    next_flagged: "Next flagged frame",
    close: "Close",
    is_missing: "Frame {n} is missing",
    missing_why: "The spin has a gap at {deg}.",
    missing_todo: "Leave the item where it is, then retake.",
    is_fine: "Frame {n}: {state}",
    blur: "Blur",
    clipped: "Clipped",
    at_most: "at most {n}",
    gauge: "{name} {value}, {limit} needed",
    this_frame: "this frame",
    before_it: "before it",
    after_it: "after it",
    tries: "Tries",
    try_used: "in use",
    keep_title: "Keep it anyway",
    keep_why: "The rules did not accept every frame. Your name and your reason stay with the session.",
    keep_name: "Your name",
    keep_reason: "Reason",
    keep_do: ["Keep {n} frame and release", "Keep {n} frames and release"],
    queue_title: ["{n} picture waiting", "{n} pictures waiting"],
    queue_none: "All sent",
    queue_sessions: ["{n} session", "{n} sessions"],
    queue_oldest: "oldest {time}",
    queue_itself: "Sent by itself later.",
    queue_room: "Room for {n} more.",
    queue_label: "Waiting sessions",
    send_again: "Send again",
    away: Away {
        network: "{name}: no network",
        token: "{name}: the sign-in of this station is not accepted. Tell your technician.",
        other: "{name} is not there",
        refused: "Refused",
    },
    state_help: [
        "Stored on this station, not released",
        "Released, waits to be sent",
        "Being sent now",
        "At its destination, with proof",
        "Refused; kept on this station until a person sends it again",
    ],
    none_yet: "No sessions yet. The first one starts on Capture.",
    none_found: "No session has an item with \"{text}\".",
    search: "Search by item",
    search_do: "Search",
    today: "Today",
    yesterday: "Yesterday",
    older: "Older sessions",
    newest: "Newest sessions",
    session_states: ["shooting", "paused", "interrupted", "in review", "released", "ended"],
    not_read: "The sessions cannot be read. Call your technician.",
    back_to_sessions: "Back to sessions",
    spin: "Spin of this session, arrow keys turn it",
    viewer_role: "360 viewer",
    zoom: "Zoom",
    zoom_in: "Zoom in",
    zoom_out: "Zoom out",
    zoom_whole: "Whole picture",
    angle: "Angle",
    previous: "Previous frame",
    next: "Next frame",
    play: "Play",
    show: "Show",
    overlays: [
        ("Sharpness map", "this build makes no sharpness map"),
        ("Clipping", "this build makes no clipping map"),
        ("Mask", "this build makes no mask"),
        ("Depth", "this station has no depth camera"),
    ],
    quality: "Quality",
    exposure: "Exposure",
    taken: "Taken",
    delivery: "Delivery",
    proof: "Proof",
    proofs: ["read back and compared", "acknowledged by the server", "checksum echoed"],
    not_let_go: "not released",
    no_frames: "This session has no pictures.",
    kept_by: "{n} flagged kept by {name}: {reason}",
    open_again: "Continue this session",
    sign_in_to: "Sign in to {station}",
    works_offline: "{site}. Works without internet.",
    name: "Name",
    password: "Password",
    show_password: "Show",
    forgotten: "Forgotten? An admin of this station can set a new one. There is no default password.",
    nothing_waits: "Nothing waits",
    not_your_role: "not with your role",
    needs_script: "Buttons need JavaScript. What is shown is the state when the page was loaded.",
};
