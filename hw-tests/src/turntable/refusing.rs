//! What a table must not do, and how it says no: by a rule, in words, and without moving.

use turnstage_drivers::{Moved, Position, TurntableError};

use super::{STILL_DEG, Suite, forward, seen};
use crate::report::expect;

/// What every rule id of a table begins with.
const RULE: &str = "motion-";
/// A sentence has so many words.
const WORDS_MIN: usize = 4;

/// Where the platter is before something that must not move it.
pub(super) struct Place {
    said: Position,
    seen: Option<f64>,
}

/// Whether an answer is a refusal that a person can do something with.
pub(super) fn in_words(answer: &Result<Moved, TurntableError>) -> Result<(), String> {
    let (Ok(Moved::Refused { rule, reason }) | Err(TurntableError::Refused { rule, reason, .. })) = answer
    else {
        return Err(seen(answer));
    };
    let named = rule.strip_prefix(RULE).is_some_and(|rest| !rest.is_empty());
    expect(named, || format!("refused by the rule \"{rule}\", which is none of a table"))?;
    let told = reason.split_whitespace().count() >= WORDS_MIN;
    expect(told, || format!("refused by {rule} without saying why: \"{reason}\""))
}

impl Suite {
    pub(super) async fn place(&self) -> Place {
        self.rest().await;
        Place { said: self.table.position(), seen: self.eye.as_ref().map(|eye| eye.deg()) }
    }

    /// Whether an answer is an honest refusal: in words, and nothing moved, as far as it is ours to move.
    pub(super) async fn refused(
        &self,
        before: Place,
        answer: &Result<Moved, TurntableError>,
    ) -> Result<(), String> {
        in_words(answer)?;
        if !self.table.info().stops {
            return Ok(());
        }
        let after = self.place().await;
        let moved = || format!("{:?} before the refusal, {:?} after it", before.said, after.said);
        expect(before.said == after.said, moved)?;
        let turned = before.seen.zip(after.seen).map_or(0.0, |(before, after)| (after - before).abs());
        expect(turned <= STILL_DEG, || format!("it refused, and turned {turned:.1}°"))
    }

    pub(super) async fn refuses_targets_before_a_reference(&mut self) {
        let before = self.place().await;
        let moved = self.table.move_to(forward(20.0)).await;
        let kept = self.refused(before, &moved).await;
        self.report.check("refuses a target before a reference", kept);
    }

    /// A table that somebody else turns says so when it is asked to stop.
    pub(super) async fn refuses_to_stop(&mut self) {
        let moved = self.table.stop().await;
        self.report.check("refuses a stop that it cannot make", in_words(&moved));
    }

    /// Asks for a speed at which it says that it cannot turn on and on.
    pub(super) async fn refuses_to_rotate(&mut self, name: &'static str, speed: f64) {
        let before = self.place().await;
        let answer = self.table.rotate(speed).await.map(|()| Moved::OutcomeUnknown);
        let began = answer.is_ok();
        let kept = match began {
            true => Err(format!("it says that it cannot turn on at {speed:.1} degrees a second, and begins")),
            false => self.refused(before, &answer).await,
        };
        if began {
            drop(self.table.stop().await);
        }
        self.report.check(name, kept);
    }
}
