//! Why a frame does not pass, rule by rule, in English: for a person at the booth who is no photographer.

use crate::words::panel::{Reason, Reasons};

/// The reasons.
pub(super) const REASONS: Reasons = Reasons {
    known: &[
        (
            "qc.sharpness",
            Reason {
                short: "not sharp",
                what: "Frame {n} is not sharp",
                why: "The spin blinks at {deg}.",
                todo: "Wipe the lens of camera {camera}, then retake. The item can stay where it is.",
                was: "was not sharp.",
                remedy: "Wipe the lens, then retake.",
            },
        ),
        (
            "qc.motion",
            Reason {
                short: "moved",
                what: "Something moved while frame {n} was taken",
                why: "The item is smeared at {deg}.",
                todo: "Keep clear of table and camera {camera}, then retake. If it comes back, tell your technician.",
                was: "was smeared by movement.",
                remedy: "Keep clear of table and camera, then retake.",
            },
        ),
        (
            "qc.clipped",
            Reason {
                short: "too bright",
                what: "Frame {n} is too bright",
                why: "The white parts at {deg} show no detail.",
                todo: "Cover the window or turn the lamp down, then retake.",
                was: "was too bright.",
                remedy: "Cover the window or turn the lamp down, then retake.",
            },
        ),
        (
            "qc.dark",
            Reason {
                short: "too dark",
                what: "Frame {n} is too dark",
                why: "The dark parts at {deg} show no detail.",
                todo: "Check that all lamps are on, then retake.",
                was: "was too dark.",
                remedy: "Check that all lamps are on, then retake.",
            },
        ),
        (
            "qc.noise",
            Reason {
                short: "grainy",
                what: "Frame {n} is grainy",
                why: "Smooth parts at {deg} look like sand.",
                todo: "Check that all lamps are on, then retake. If it comes back, tell your technician.",
                was: "was grainy.",
                remedy: "Check that all lamps are on, then retake.",
            },
        ),
        (
            "qc.light-drift",
            Reason {
                short: "light changed",
                what: "The light changed before frame {n}",
                why: "The spin gets lighter or darker at {deg}.",
                todo: "Check that all lamps are on and no daylight falls in, then retake.",
                was: "had another light than the first frame.",
                remedy: "Check that all lamps are on and no daylight falls in, then retake.",
            },
        ),
        (
            "qc.colour-drift",
            Reason {
                short: "colour changed",
                what: "The colour changed before frame {n}",
                why: "The item changes its colour at {deg}.",
                todo: "Check that every lamp is on and no daylight falls in, then retake. If it comes back, tell your technician.",
                was: "had other colours than the first frame.",
                remedy: "Check that every lamp is on and no daylight falls in, then retake.",
            },
        ),
        (
            "qc.banding",
            Reason {
                short: "stripes",
                what: "Frame {n} has stripes",
                why: "A lamp flickers; the picture shows it as stripes at {deg}.",
                todo: "Switch off the lamp that flickers or have it replaced, then retake.",
                was: "had stripes of a lamp that flickers.",
                remedy: "Switch off the lamp that flickers, then retake.",
            },
        ),
        (
            "qc.duplicate",
            Reason {
                short: "same picture as another",
                what: "Frame {n} is the same picture as another",
                why: "One side of the item is shown twice and another is missing.",
                todo: "The camera hung or the table stood still. Retake.",
                was: "was the same picture as another.",
                remedy: "Then retake.",
            },
        ),
        (
            "qc.not-moved",
            Reason {
                short: "the table stood still",
                what: "The table did not move before frame {n}",
                why: "One side of the item is shown twice and another is missing.",
                todo: "Check that the item does not block the table, then retake.",
                was: "shows that the table stood still.",
                remedy: "Check that the item does not block the table, then retake.",
            },
        ),
        (
            "qc.moved-twice",
            Reason {
                short: "the item moved too far",
                what: "The item moved too far before frame {n}",
                why: "The spin jumps at {deg}.",
                todo: "Check that the item stands firm and does not slip, then retake.",
                was: "shows that the item moved too far.",
                remedy: "Check that the item stands firm, then retake.",
            },
        ),
        (
            "qc.loop",
            Reason {
                short: "the turn does not close",
                what: "After the turn the item does not stand as in frame {n}",
                why: "Some frames may show the item from a wrong angle.",
                todo: "Check that nothing slips, then begin the turn anew.",
                was: "does not fit the end of the turn.",
                remedy: "Check that nothing slips, then begin the turn anew.",
            },
        ),
        (
            "qc.framing",
            Reason {
                short: "not well in the picture",
                what: "The item is not well in the picture in frame {n}",
                why: "At {deg} a part is cut off, or the item is small or stands aside.",
                todo: "Move the item to the middle of the table, then start again. If it comes back, tell your technician.",
                was: "does not show the item well.",
                remedy: "Move the item to the middle of the table, then start again.",
            },
        ),
        (
            "qc.dirt",
            Reason {
                short: "dirt on the lens",
                what: "Frame {n} shows dirt on the lens",
                why: "The same spots are in every frame of camera {camera}.",
                todo: "Clean the lens of camera {camera}, then retake. If the spots stay, tell your technician.",
                was: "showed dirt on the lens.",
                remedy: "Clean the lens, then retake.",
            },
        ),
        (
            "qc.dead-pixels",
            Reason {
                short: "dead pixels",
                what: "Frame {n} shows dead pixels",
                why: "The same bright or dark points are in every frame of camera {camera}.",
                todo: "Tell your technician: camera {camera} needs service. You can go on.",
                was: "showed dead pixels of the camera.",
                remedy: "Tell your technician, then retake.",
            },
        ),
        (
            "qc.near-duplicate",
            Reason {
                short: "looks like another",
                what: "Frame {n} looks like another",
                why: "One side of the item may be shown twice.",
                todo: "Check that the table turned, then retake. An item that looks the same from all sides is no fault.",
                was: "looks like another.",
                remedy: "Check that the table turned, then retake.",
            },
        ),
        (
            "qc.size",
            Reason {
                short: "wrong size",
                what: "Frame {n} has the wrong size",
                why: "The spin jumps at {deg}.",
                todo: "Retake. If it comes back, tell your technician: camera {camera} does not keep its settings.",
                was: "had the wrong size.",
                remedy: "Then retake. If it comes back, tell your technician.",
            },
        ),
        (
            "qc.corrupt",
            Reason {
                short: "damaged",
                what: "Frame {n} is damaged",
                why: "A part of the picture is missing at {deg}.",
                todo: "Check the cable of camera {camera}, then retake.",
                was: "was damaged.",
                remedy: "Check the camera's cable, then retake.",
            },
        ),
        (
            "qc.too-large",
            Reason {
                short: "too large a file",
                what: "Frame {n} is too large to be checked",
                why: "Nobody knows whether it is good.",
                todo: "Tell your technician: camera {camera} must be set to a smaller picture.",
                was: "was too large to be checked.",
                remedy: "Tell your technician: the camera must be set to a smaller picture.",
            },
        ),
        (
            "qc.format",
            Reason {
                short: "not a JPEG",
                what: "Frame {n} is of a kind that cannot be checked",
                why: "Nobody knows whether it is good.",
                todo: "Tell your technician: camera {camera} must be set to JPEG.",
                was: "was of a kind that cannot be checked.",
                remedy: "Tell your technician: the camera must be set to JPEG.",
            },
        ),
    ],
    other: Reason {
        short: "did not pass",
        what: "Frame {n} did not pass",
        why: "The spin has a fault at {deg}.",
        todo: "Retake; call your technician if it comes back.",
        was: "did not pass.",
        remedy: "Then retake.",
    },
};
