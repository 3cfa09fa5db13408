//! Answers that were given, so that a command sent twice is obeyed once.

use std::collections::VecDeque;

use crate::command::{Act, Actor, Answer};

/// Answers that are remembered.
const REMEMBERED_MAX: usize = 256;

/// The last of them.
#[derive(Default)]
pub(super) struct Answers(VecDeque<(String, Answer)>);

impl Answers {
    pub(super) fn known(&self, id: &str) -> Option<Answer> {
        self.0.iter().find(|(seen, _)| seen == id).map(|(_, answer)| answer.clone())
    }

    pub(super) fn remember(&mut self, id: String, actor: &Actor, act: &Act, answer: &Answer) {
        match answer {
            Ok(_) => tracing::info!(command = id, actor = actor.0, name = act.name(), "command accepted"),
            Err(refusal) => {
                let rule = &refusal.rule;
                tracing::warn!(command = id, actor = actor.0, name = act.name(), rule, "command refused");
            }
        }
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, answer.clone()));
    }
}
