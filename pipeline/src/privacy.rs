//! The privacy stage: what may become of a picture, decided before it is hashed or stored.
//!
//! A recipe names a capture class. Today only `durable` exists, whose bytes pass unchanged; the other classes
//! are named so that recipes can ask for them and are refused, never quietly treated as `durable`.

use serde::{Deserialize, Serialize};

/// How long and where pictures of a recipe may exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureClass {
    /// Files on disk until they are confirmed: vehicles, products, rooms.
    Durable,
    /// Encrypted with a key that lives in memory only: persons, delivery may wait.
    Sealed,
    /// In memory only: persons, delivered at once or lost.
    RamOnly,
    /// The picture dies after pose; only key-points remain.
    KeypointsOnly,
}

impl CaptureClass {
    /// The word a recipe uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Sealed => "sealed",
            Self::RamOnly => "ram-only",
            Self::KeypointsOnly => "keypoints-only",
        }
    }
}

/// Why a session may not begin, or a frame may not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Stable id of the rule.
    pub rule: &'static str,
    /// One plain sentence for the person who asked.
    pub reason: String,
}

/// Whether pictures of `class` can be handled; ask before the first frame, and before one is hashed or stored.
pub fn admit(class: CaptureClass) -> Result<(), Refusal> {
    if class == CaptureClass::Durable {
        return Ok(());
    }
    Err(Refusal {
        rule: "class-not-available",
        reason: format!(
            "Capture class \"{}\" is not available on this station. Choose a recipe with \"durable\", \
             or do not photograph persons here.",
            class.as_str()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_pictures_are_admitted() {
        assert_eq!(admit(CaptureClass::Durable), Ok(()));
    }

    #[test]
    fn a_class_that_does_not_exist_yet_is_refused_and_named() {
        for class in [CaptureClass::Sealed, CaptureClass::RamOnly, CaptureClass::KeypointsOnly] {
            let refusal = admit(class).unwrap_err();
            assert_eq!(refusal.rule, "class-not-available");
            assert!(refusal.reason.contains(class.as_str()), "{refusal}");
        }
    }

    #[test]
    fn a_class_reads_and_writes_as_the_word_in_a_recipe() {
        for class in
            [CaptureClass::Durable, CaptureClass::Sealed, CaptureClass::RamOnly, CaptureClass::KeypointsOnly]
        {
            let written = serde_json::to_string(&class).unwrap();
            assert_eq!(written, format!("\"{}\"", class.as_str()));
            assert_eq!(serde_json::from_str::<CaptureClass>(&written).unwrap(), class);
        }
    }
}
