//! What only a person beside the table may say: that it may turn, and that it stands where it was asked for.

use turnstage_drivers::turntable::Hand;

use super::Parts;
use super::emergency::guarded;
use crate::command::{Act, Place, Refusal};
use crate::motion::Mover;
use crate::recipe::{Motion, Recipe};
use crate::status::Fault;

/// Does one of the three acts.
pub(super) fn obey(mover: &Mover, hand: &Hand, place: &Place, act: &Act) -> Result<(), Refusal> {
    match act {
        Act::Arm { code } => arm(mover, place, code.as_deref()),
        Act::Answer { number } => answer(hand, *number),
        _ => {
            mover.arming().disarm();
            Ok(())
        }
    }
}

/// Somebody may be guessing the code.
pub(super) fn guessed(mover: &Mover) -> Option<Fault> {
    mover.arming().is_guessed().then(|| {
        Fault::new(
            "arm-code-guessed",
            "Several wrong codes for arming were entered from elsewhere",
            "Whoever guesses it would let the table turn without having seen who is on it.",
            "Ask who it was: the audit log names them. Arming at the rig ends this.",
        )
    })
}

/// A session with a table goes on only while a person at the rig lets it turn, and with an emergency stop that works
/// where it needs one.
pub(super) fn armed(parts: &Parts, recipe: &Recipe) -> Result<(), Refusal> {
    guarded(parts, recipe)?;
    match recipe.motion {
        Motion::None => Ok(()),
        _ => parts.mover.arming().check(),
    }
}

/// The same for what a halt ended: whoever asks must be at the rig.
pub(super) fn armed_from(parts: &Parts, recipe: &Recipe, place: &Place) -> Result<(), Refusal> {
    armed(parts, recipe)?;
    match recipe.motion {
        Motion::None => Ok(()),
        _ => parts.mover.arming().check_from(place, parts.config.panel.own_display),
    }
}

/// Allows motion; with a code, only if the rig's display shows it. Behind an open door nobody has seen yet who is there
/// when it is shut.
fn arm(mover: &Mover, place: &Place, code: Option<&str>) -> Result<(), Refusal> {
    if mover.is_held() {
        return Err(Refusal::new(
            "arm-held",
            "A door is open, a stop button is in, or one of them is not heard of. See that nobody is at the table, shut \
             the door, release the button, then arm.",
        ));
    }
    if let Some(code) = code {
        mover.arming().prove(code)?;
    }
    mover.arming().arm_from(place.clone());
    Ok(())
}

/// Tells a manual table that it stands where it was asked for.
fn answer(hand: &Hand, number: Option<u64>) -> Result<(), Refusal> {
    let asked = hand.watch().borrow().filter(|asked| !asked.answered);
    match asked.filter(|asked| number.is_none_or(|number| number == asked.number)) {
        Some(asked) if hand.answer(asked.number) => Ok(()),
        _ => Err(Refusal::new("nothing-asked", "Nobody is asked to turn the table at this moment.")),
    }
}
