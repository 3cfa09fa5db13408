//! Whether the flash fired: where an input sees flashes, a shot at which it saw none is flagged like any other frame that
//! did not succeed, and a person is asked to look before the next ones are as dark.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout_at;
use turnstage_pipeline::qc::{Finding, Nature, Verdict};

use super::{Outcome, Shot};
use crate::io::Controls;
use crate::status::Fault;

/// After an exposure an input has so long to say that it saw the flash. The table needs longer to its next place.
const PATIENCE: Duration = Duration::from_millis(20);

const RULE: &str = "flash-missing";
const ADVICE: &str = "Check the flash, its cable and its sensor, then continue. A frame that stays flagged must be taken again.";

impl Shot {
    /// What is wrong with its pictures if the input saw fewer flashes than there were exposures of one camera; nothing
    /// where no input looks for them.
    pub(super) async fn without_flash(&self, mut controls: watch::Receiver<Controls>) -> Option<Finding> {
        let before = self.flashes?;
        let exposures = self.exposures.iter().map(|(_, burst)| burst.iter().flatten().count());
        let wanted = exposures.max().filter(|count| *count > 0)? as u64;
        let seen = controls.wait_for(|now| now.flashes.is_none_or(|count| count >= before + wanted));
        // Without the task of inputs nobody sees flashes any more, which is what was asked.
        let seen = matches!(timeout_at(self.end() + PATIENCE, seen).await, Ok(Ok(_)));
        (!seen).then(|| Finding {
            rule: RULE.to_owned(),
            verdict: Verdict::Block,
            nature: Nature::Transient,
            value: 0.0,
            limit: 0.0,
            unit: String::new(),
            message: format!("{}. {ADVICE}", told(self.place.shot)),
        })
    }
}

fn told(shot: u32) -> String {
    format!("The flash did not fire at frame {}", shot + 1)
}

/// Why the session waits after such a shot.
pub(super) fn wait(shot: u32) -> Outcome {
    let why = "The picture may be too dark, and the next ones too. The frames taken so far are safe.";
    Outcome::Fault(Fault::new(RULE, told(shot), why, ADVICE))
}
