//! The person beside a manual table: what they are asked, and their answer.

use tokio::sync::watch;

use crate::frame::Angle;

/// What a person beside a manual table is asked, and the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Counted from 1; an answer names it, so that a late answer to an earlier question moves nothing.
    pub number: u64,
    /// Turn to this angle.
    pub angle: Angle,
    /// It stands there.
    pub answered: bool,
}

/// The person beside a manual table: a table asks, a pedal, panel or program answers.
#[derive(Debug, Clone)]
pub struct Hand(watch::Sender<Option<Asked>>);

impl Default for Hand {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl Hand {
    /// What is asked now, if anything is; to be told of changes, wait on it.
    pub fn watch(&self) -> watch::Receiver<Option<Asked>> {
        self.0.subscribe()
    }

    /// Says that the platter stands where it was asked for; `false` if nothing is asked, or another number.
    pub fn answer(&self, number: u64) -> bool {
        self.0.send_if_modified(|asked| match asked {
            Some(asked) if asked.number == number && !asked.answered => {
                asked.answered = true;
                true
            }
            _ => false,
        })
    }

    /// Asks for an angle; what was asked before is withdrawn. Returns the question's number.
    pub fn ask(&self, angle: Angle) -> u64 {
        let mut number = 0;
        self.0.send_modify(|asked| {
            number = asked.map_or(0, |asked| asked.number) + 1;
            *asked = Some(Asked { number, angle, answered: false });
        });
        number
    }

    /// Withdraws what is asked.
    pub fn withdraw(&self) {
        self.0.send_if_modified(|asked| match asked {
            Some(asked) if !asked.answered => {
                asked.answered = true;
                true
            }
            _ => false,
        });
    }
}
