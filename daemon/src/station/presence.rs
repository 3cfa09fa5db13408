//! What only a person beside the table may say: that it may turn, and that it stands where it was asked for.

use turnstage_drivers::turntable::Hand;

use super::Parts;
use super::emergency::guarded;
use crate::command::{Act, Refusal};
use crate::motion::Mover;
use crate::recipe::{Motion, Recipe};

/// Does one of the three acts.
pub(super) fn obey(mover: &Mover, hand: &Hand, act: &Act) -> Result<(), Refusal> {
    match act {
        Act::Arm { code } => arm(mover, code.as_deref()),
        Act::Answer { number } => answer(hand, *number),
        _ => {
            mover.arming().disarm();
            Ok(())
        }
    }
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

/// Allows motion; with a code, only if the rig's display shows it.
fn arm(mover: &Mover, code: Option<&str>) -> Result<(), Refusal> {
    if let Some(code) = code {
        mover.arming().prove(code)?;
    }
    mover.arming().arm();
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
