//! What the panel says besides the two lines of the status: one field a text, so that a language lacks none.
//!
//! `{n}`, `{item}` and the like stand for what is known only later ([`fill`]); a pair is the text for one and for
//! several ([`count`]).

use std::fmt::Display;

/// Texts of the panel in one language.
pub(crate) struct Panel {
    // Top bar and menu.
    pub to_content: &'static str,
    pub main_nav: &'static str,
    pub capture: &'static str,
    pub sessions: &'static str,
    pub menu: &'static str,
    pub appearance: &'static str,
    pub light: &'static str,
    pub dark: &'static str,
    pub as_device: &'static str,
    pub language: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub nobody: &'static str,
    pub shows_itself: &'static str,
    pub diagnostics: &'static str,
    pub simulated: &'static str,
    pub all_sent: &'static str,
    pub sending: &'static str,
    pub waiting_short: &'static str,
    pub no_network: &'static str,
    pub refused_short: &'static str,
    pub sign_in_needed: &'static str,
    // Losing the station.
    pub lost: &'static str,
    pub not_reached: [&'static str; 3],
    // Item.
    pub item: &'static str,
    pub item_label: &'static str,
    pub item_hint: &'static str,
    pub item_take: &'static str,
    pub recipe: &'static str,
    pub change: &'static str,
    pub recipe_frames: [&'static str; 2],
    // Ring.
    pub frames: &'static str,
    pub frames_at_angles: [&'static str; 2],
    pub frames_in_order: [&'static str; 2],
    pub frame: &'static str,
    pub row: &'static str,
    pub degrees: &'static str,
    pub states: [&'static str; 8],
    pub scan: &'static str,
    pub moving: &'static str,
    pub still: &'static str,
    pub no_picture: &'static str,
    pub camera: &'static str,
    pub shown_part: &'static str,
    // Figures.
    pub passed: &'static str,
    pub to_retake: &'static str,
    pub time_left: &'static str,
    pub room_for: &'static str,
    pub room_sessions: &'static str,
    pub waiting: &'static str,
    pub table: &'static str,
    pub table_at: &'static str,
    pub table_unknown: &'static str,
    pub ready: &'static str,
    pub missing_device: &'static str,
    /// In the order of `Quality`.
    pub drifted: [&'static str; 4],
    pub not_tried: &'static str,
    pub arm: &'static str,
    pub not_armed: &'static str,
    pub arm_why: &'static str,
    pub arm_by_input: &'static str,
    pub arm_code: &'static str,
    pub arm_code_is: &'static str,
    pub stands_there: &'static str,
    pub emergency_stop: &'static str,
    pub emergency_test: &'static str,
    /// Press, release.
    pub emergency_asks: [&'static str; 2],
    /// Tested today, not tested today, none declared.
    pub emergency_states: [&'static str; 3],
    pub checks: &'static str,
    pub min: &'static str,
    // Buttons.
    pub start: &'static str,
    pub scan_to_start: &'static str,
    pub stop: &'static str,
    pub resume_at: &'static str,
    pub resume: &'static str,
    pub resume_confirm: &'static str,
    pub anew: &'static str,
    pub retake: [&'static str; 2],
    pub retake_one: &'static str,
    pub keep: &'static str,
    pub release: &'static str,
    pub release_when: &'static str,
    pub end: &'static str,
    pub closed: &'static str,
    pub wait: &'static str,
    // The pattern for what goes wrong.
    pub what: &'static str,
    pub why: &'static str,
    pub todo: &'static str,
    pub will: &'static str,
    pub end_title: &'static str,
    pub end_what: [&'static str; 2],
    pub end_why: &'static str,
    pub end_do: [&'static str; 2],
    pub end_none: &'static str,
    pub back: &'static str,
    pub other_title: &'static str,
    pub other_what: &'static str,
    pub other_why: &'static str,
    pub other_todo: &'static str,
    pub other_go_on: &'static str,
    // Reason sheet.
    pub reasons: Reasons,
    pub nth_of: &'static str,
    pub previous_flagged: &'static str,
    pub next_flagged: &'static str,
    pub close: &'static str,
    pub is_missing: &'static str,
    pub missing_why: &'static str,
    pub missing_todo: &'static str,
    pub is_fine: &'static str,
    pub blur: &'static str,
    pub clipped: &'static str,
    pub at_most: &'static str,
    pub gauge: &'static str,
    pub this_frame: &'static str,
    pub before_it: &'static str,
    pub after_it: &'static str,
    pub tries: &'static str,
    pub try_used: &'static str,
    pub keep_title: &'static str,
    pub keep_why: &'static str,
    pub keep_name: &'static str,
    pub keep_reason: &'static str,
    pub keep_do: [&'static str; 2],
    // Queue.
    pub queue_title: [&'static str; 2],
    pub queue_none: &'static str,
    pub queue_sessions: [&'static str; 2],
    pub queue_oldest: &'static str,
    pub queue_itself: &'static str,
    pub queue_room: &'static str,
    pub queue_label: &'static str,
    pub send_again: &'static str,
    pub away: Away,
    // Sessions.
    pub state_help: [&'static str; 5],
    pub none_yet: &'static str,
    pub none_found: &'static str,
    pub search: &'static str,
    pub search_do: &'static str,
    pub today: &'static str,
    pub yesterday: &'static str,
    pub older: &'static str,
    pub newest: &'static str,
    pub session_states: [&'static str; 6],
    pub not_read: &'static str,
    // Viewer.
    pub back_to_sessions: &'static str,
    pub spin: &'static str,
    pub viewer_role: &'static str,
    pub zoom: &'static str,
    pub zoom_in: &'static str,
    pub zoom_out: &'static str,
    pub zoom_whole: &'static str,
    pub angle: &'static str,
    pub previous: &'static str,
    pub next: &'static str,
    pub play: &'static str,
    pub show: &'static str,
    pub overlays: [(&'static str, &'static str); 4],
    pub quality: &'static str,
    pub exposure: &'static str,
    pub taken: &'static str,
    pub delivery: &'static str,
    pub proof: &'static str,
    pub proofs: [&'static str; 3],
    pub not_let_go: &'static str,
    pub no_frames: &'static str,
    pub kept_by: &'static str,
    pub open_again: &'static str,
    // Sign in.
    pub sign_in_to: &'static str,
    pub works_offline: &'static str,
    pub name: &'static str,
    pub password: &'static str,
    pub show_password: &'static str,
    pub forgotten: &'static str,
    pub needs_script: &'static str,
    pub not_your_role: &'static str,
    pub nothing_waits: &'static str,
}

/// Why a frame does not pass.
pub(crate) struct Reasons {
    /// By the id of the rule, each of `qc::RULES`.
    pub known: &'static [(&'static str, Reason)],
    /// Any other: the finding says what; the rest is as here.
    pub other: Reason,
}

/// One reason: three parts for the panel, and its share of the status.
pub(crate) struct Reason {
    /// For a list.
    pub short: &'static str,
    pub what: &'static str,
    pub why: &'static str,
    pub todo: &'static str,
    /// What was wrong, after "Frame 17".
    pub was: &'static str,
    /// What a person does about every frame that this rule flagged, after "leave the item on the table".
    pub remedy: &'static str,
}

impl Reasons {
    /// The reason of a rule.
    pub fn of(&self, rule: &str) -> Option<&Reason> {
        self.known.iter().find(|(id, _)| *id == rule).map(|(_, reason)| reason)
    }

    /// The reason of a rule, or of any other.
    pub fn or_other(&self, rule: &str) -> &Reason {
        self.of(rule).unwrap_or(&self.other)
    }
}

/// Why a destination takes nothing.
pub(crate) struct Away {
    pub network: &'static str,
    pub token: &'static str,
    pub other: &'static str,
    pub refused: &'static str,
}

/// Puts values in the places of a text.
pub(crate) fn fill(text: &str, values: &[(&str, &dyn Display)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        let place = format!("{{{name}}}");
        if text.contains(&place) { text.replace(&place, &value.to_string()) } else { text }
    })
}

/// The text for one or for several, with the number at `{n}`.
pub(crate) fn count(texts: &[&str; 2], number: usize) -> String {
    fill(if number == 1 { texts[0] } else { texts[1] }, &[("n", &number)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;
    use turnstage_pipeline::qc::RULES;

    #[test]
    fn places_in_a_text_are_filled_and_one_is_told_from_several() {
        assert_eq!(fill("Frame {n} of {m}", &[("n", &17), ("m", &36)]), "Frame 17 of 36");
        let words = Language::En.panel();
        assert_eq!(count(&words.retake, 1), "Retake 1 frame");
        assert_eq!(count(&words.retake, 2), "Retake 2 frames");
        assert_eq!(count(&Language::De.panel().retake, 2), "2 Bilder wiederholen");
    }

    #[test]
    fn every_rule_has_its_words_in_every_language_and_no_words_are_left_over() {
        for language in [Language::En, Language::De] {
            let reasons = &language.panel().reasons;
            for id in RULES.map(|rule| rule.id) {
                let reason = reasons.of(id).unwrap_or_else(|| panic!("{id} has no words in {language:?}"));
                assert!(reason.what.contains("{n}"), "{id}: {}", reason.what);
                let all = [reason.short, reason.what, reason.why, reason.todo, reason.was, reason.remedy];
                assert!(all.iter().all(|text| !text.is_empty()), "{id}");
                assert!(
                    !reason.was.contains('{') && !reason.remedy.contains('{'),
                    "{id}: nothing is filled in"
                );
            }
            assert_eq!(
                reasons.known.len(),
                RULES.len(),
                "{language:?} has words for a rule that is not there"
            );
            assert!(reasons.of("qc.unheard-of").is_none());
        }
    }
}
