//! Which character a key stands for, on the two keyboard layouts that scanners are set to.

use serde::Deserialize;

/// Keyboard layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// English, United States: what scanners are set to when they are new.
    #[default]
    Us,
    /// German.
    De,
}

/// A run of keys with codes one after the other: the first code, and what they give without and with shift.
type Row = (u16, &'static str, &'static str);

const US: &[Row] = &[
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (86, "\\", "|"),
];

const DE: &[Row] = &[
    (2, "1234567890ß´", "!\"§$%&/()=?`"),
    (16, "qwertzuiopü+", "QWERTZUIOPÜ*"),
    (30, "asdfghjklöä^", "ASDFGHJKLÖÄ°"),
    (43, "#yxcvbnm,.-", "'YXCVBNM;:_"),
    (86, "<", ">"),
];

/// Space and the number pad, which are the same on both.
const SAME: &[Row] =
    &[(57, " ", " "), (55, "*", "*"), (71, "789-456+1230.", "789-456+1230."), (98, "/", "/")];

impl Layout {
    /// The character of a key, if it has one.
    pub(super) fn character(self, code: u16, shift: bool) -> Option<char> {
        let rows = match self {
            Self::Us => US,
            Self::De => DE,
        };
        rows.iter().chain(SAME).find_map(|(first, plain, shifted)| {
            let nth = usize::from(code.checked_sub(*first)?);
            if shift { shifted.chars().nth(nth) } else { plain.chars().nth(nth) }
        })
    }
}

#[cfg(test)]
mod tests {
    use ::evdev::KeyCode;

    use super::*;

    #[test]
    fn every_row_has_as_many_keys_with_shift_as_without_and_ends_before_the_next() {
        for rows in [[US, SAME].concat(), [DE, SAME].concat()] {
            let mut keys = std::collections::BTreeSet::new();
            for (first, plain, shifted) in rows {
                assert_eq!(plain.chars().count(), shifted.chars().count(), "{plain}");
                let codes = (first..).take(plain.chars().count());
                codes.for_each(|code| assert!(keys.insert(code), "{plain} overlaps at {code}"));
            }
        }
    }

    #[test]
    fn the_same_key_is_another_letter_on_another_layout() {
        let at = |layout: Layout, key: KeyCode, shift| layout.character(key.code(), shift);
        assert_eq!(at(Layout::Us, KeyCode::KEY_Y, false), Some('y'));
        assert_eq!(at(Layout::De, KeyCode::KEY_Y, false), Some('z'));
        assert_eq!(at(Layout::De, KeyCode::KEY_SLASH, true), Some('_'));
        assert_eq!(at(Layout::Us, KeyCode::KEY_0, true), Some(')'));
        assert_eq!(at(Layout::Us, KeyCode::KEY_KP5, false), Some('5'));
        assert_eq!(at(Layout::Us, KeyCode::KEY_M, true), Some('M'));
        assert_eq!(at(Layout::Us, KeyCode::KEY_F1, false), None);
        assert_eq!(at(Layout::Us, KeyCode::KEY_VOLUMEUP, false), None);
    }
}
