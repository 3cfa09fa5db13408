//! What the station says, in the languages that it speaks: one file each, and one beside it with the reasons of the
//! rules, so that a translator reads these two.
//!
//! The station tells a [`Situation`]; here it becomes the two lines that a person reads. Sentences that come from a
//! driver or a rule (a [`Situation::Fault`]) are said as they were told.

mod de;
mod en;
pub(crate) mod panel;

use serde::{Deserialize, Serialize};

use crate::constancy::Drift;
use crate::status::Situation;
use panel::Panel;

/// A language of the panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English; also that of logs, command line and API.
    #[default]
    En,
    /// German.
    De,
}

/// The two lines of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// What is.
    pub first: String,
    /// What to do.
    pub second: String,
}

impl Lines {
    /// Both, one after the other.
    pub fn in_one(&self) -> String {
        format!("{}. {}", self.first, self.second)
    }
}

impl Language {
    /// For the page's `lang`.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The two lines of a situation.
    pub fn lines(self, situation: &Situation) -> Lines {
        let (first, second) = match self {
            Self::En => en::lines(situation),
            Self::De => de::lines(situation),
        };
        Lines { first, second }
    }

    /// What a camera's pictures lost, and what to do.
    pub fn drift(self, drift: &Drift) -> Lines {
        self.lines(&Situation::Drifted { drift: drift.clone() })
    }

    /// What the panel says besides.
    pub(crate) fn panel(self) -> &'static Panel {
        match self {
            Self::En => &en::PANEL,
            Self::De => &de::PANEL,
        }
    }
}

/// `1:04` of seconds.
pub(crate) fn minutes(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constancy::{Quality, Since};

    #[test]
    fn a_person_reads_the_same_situation_in_either_language() {
        let shooting = Situation::Shooting { frame: 17, total: 36, left_s: Some(64.0), flagged: None };
        let lines = Language::En.lines(&shooting);
        assert_eq!(
            (lines.first.as_str(), lines.second.as_str()),
            ("Shooting frame 17 of 36", "About 1:04 min left.")
        );
        assert_eq!(Language::De.lines(&shooting).first, "Bild 17 von 36");
        let away = |pictures| Language::En.lines(&Situation::Offline { pictures }).second;
        assert_eq!(away(0), "No picture waits. Carry on.");
        assert_eq!(away(1), "1 picture is safe on this device. Carry on.");
        let since = Since::Weekday { weekday: 0 };
        let mut drift = Drift { camera: "high".to_owned(), quality: Quality::Sharpness, change: 0.3, since };
        assert_eq!(
            Language::En.drift(&drift).in_one(),
            "Camera high lost 30 % sharpness since Monday. Clean the lens. You can go on."
        );
        drift.since = Since::Turns { turns: 3 };
        assert_eq!(
            Language::De.drift(&drift).first,
            "Kamera high: 30 % weniger Schärfe in den letzten 3 Drehungen"
        );
        let left = Situation::Flagged { frames: 1, rule: "qc.sharpness".to_owned() };
        assert_eq!(Language::En.lines(&left).first, "1 frame needs a retake");
        assert_eq!(Language::De.lines(&left).first, "1 Bild wiederholen");
    }
}
