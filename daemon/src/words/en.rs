//! English.

use super::minutes;
use crate::status::Situation;

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
        S::Turning { deg } => (format!("Turning to {deg:.0}°"), "Keep clear of the table.".to_owned()),
        S::Shooting { frame, total, left_s, flagged } => {
            let second = match (flagged, left_s) {
                (Some(flagged), _) => format!(
                    "Frame {} {} It is retaken at the end of the turn.",
                    flagged.frame,
                    was(&flagged.rule)
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
            format!("Leave the item on the table. {}", remedy(rule)),
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
        S::TableLost => (
            "Stopped: no contact with the table".to_owned(),
            "A stop was sent. Check that it stands still.".to_owned(),
        ),
        S::PositionUnknown => {
            ("Table position is unknown".to_owned(), "Clear the table, then find zero.".to_owned())
        }
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
        S::Look { what, todo } | S::Fault { what, todo } => (what.clone(), todo.clone()),
    };
    (first, second)
}

/// What was wrong with a frame.
fn was(rule: &str) -> &'static str {
    match rule {
        "qc.sharpness" => "was not sharp.",
        "qc.clipped" => "was too bright.",
        "qc.dark" => "was too dark.",
        "qc.duplicate" => "was the same picture as another.",
        _ => "did not pass.",
    }
}

/// What a person does about frames that a rule flagged.
fn remedy(rule: &str) -> &'static str {
    match rule {
        "qc.sharpness" => "Wipe the lens, then retake.",
        "qc.clipped" => "Cover the window or turn the lamp down, then retake.",
        "qc.dark" => "Check that all lamps are on, then retake.",
        _ => "Then retake.",
    }
}

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
