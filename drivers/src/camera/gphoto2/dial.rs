//! A setting that one chooses from a list, as on a dial, with what its choices mean as numbers.
//!
//! Every maker writes them otherwise: `1/125`, `0.0080s` and `0.008` are one shutter time.

use super::super::helper::wire::Setting;

/// A setting and its choices that are numbers.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    /// Name of the setting.
    pub setting: &'static str,
    /// As the camera writes it, and what it means.
    pub choices: Vec<(String, f64)>,
    /// What stands there now.
    pub value: String,
    /// The camera does not let it be turned now.
    pub readonly: bool,
    meaning: fn(&str) -> Option<f64>,
}

impl Dial {
    pub fn new(setting: &'static str, read: Setting, meaning: fn(&str) -> Option<f64>) -> Self {
        let number =
            |text: String| meaning(&text).filter(|number| *number > 0.0).map(|number| (text, number));
        let choices = read.choices.into_iter().filter_map(number).collect();
        Self { setting, choices, value: read.value, readonly: read.readonly, meaning }
    }

    /// Turned to `value`.
    pub fn at(self, value: String) -> Self {
        Self { value, ..self }
    }

    /// What stands there now, if it is a number.
    pub fn number(&self) -> Option<f64> {
        (self.meaning)(&self.value).filter(|number| *number > 0.0)
    }

    /// The choice that is the fewest steps of light away, and how many that is (1 = twice or half).
    pub fn nearest(&self, wanted: f64) -> Option<(&str, f64)> {
        let away = |number: f64| (number / wanted).log2().abs();
        let nearest = self.choices.iter().min_by(|(_, a), (_, b)| away(*a).total_cmp(&away(*b)))?;
        Some((&nearest.0, away(nearest.1)))
    }

    /// The choices, for a person.
    pub fn said(&self) -> String {
        let texts: Vec<&str> = self.choices.iter().map(|(text, _)| text.as_str()).collect();
        texts.join(", ")
    }
}

/// Shutter time in seconds.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches(['s', '"']).trim();
    match text.split_once('/') {
        Some((above, below)) => quotient(above, below),
        None => text.parse().ok().filter(|seconds: &f64| seconds.is_finite()),
    }
}

/// A plain number, also after a word: `400`, `ISO 400`.
pub(super) fn plain(text: &str) -> Option<f64> {
    let last = text.split_whitespace().last()?.trim_end_matches('K');
    last.parse().ok().filter(|number: &f64| number.is_finite())
}

/// An f-number: `f/5.6`, `5.6`.
pub(super) fn aperture(text: &str) -> Option<f64> {
    let text = text.trim();
    plain(text.strip_prefix("f/").or_else(|| text.strip_prefix(['f', 'F'])).unwrap_or(text))
}

/// Charge in percent, where the camera tells it so; words become what they mean at least.
pub(super) fn percent(text: &str) -> Option<f64> {
    match text.trim().to_lowercase().as_str() {
        "low" | "empty" | "battery low" | "exhausted" => Some(0.0),
        text => plain(text.trim_end_matches('%')),
    }
}

/// Width and height: `6016x4016`.
pub(super) fn size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.trim().split_once('x')?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

fn quotient(above: &str, below: &str) -> Option<f64> {
    let (above, below): (f64, f64) = (above.trim().parse().ok()?, below.trim().parse().ok()?);
    (below > 0.0 && above.is_finite()).then_some(above / below)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_shutter_time_is_understood_as_every_maker_writes_it() {
        for text in ["1/125", "0.0080s", "0.008", "10/1250", "1/125s"] {
            assert_eq!(seconds(text).map(|s| (s * 1e6).round()), Some(8000.0), "{text}");
        }
        assert_eq!((seconds("30"), seconds("1.3\"")), (Some(30.0), Some(1.3)));
        for text in ["Bulb", "bulb", "Time", "", "1/0", "x/y", "inf"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn other_settings_are_understood_too() {
        assert_eq!((aperture("f/5.6"), aperture("8"), aperture("F11")), (Some(5.6), Some(8.0), Some(11.0)));
        assert_eq!((plain("400"), plain("ISO 400"), plain("Auto")), (Some(400.0), Some(400.0), None));
        assert_eq!((plain("5600K"), percent("50%"), percent("Low")), (Some(5600.0), Some(50.0), Some(0.0)));
        assert_eq!((size("6016x4016"), size("Large")), (Some((6016, 4016)), None));
    }

    fn shutter(choices: &[&str]) -> Dial {
        let choices = choices.iter().map(|text| (*text).to_owned()).collect();
        let read = Setting { value: "1/60".to_owned(), choices, ..Setting::default() };
        Dial::new("shutterspeed", read, seconds)
    }

    #[test]
    fn the_nearest_choice_is_the_nearest_in_steps_of_light() {
        let dial = shutter(&["Bulb", "1/30", "1/60", "1/125", "1/250"]);
        assert_eq!(dial.choices.len(), 4, "bulb is no time");
        // 1/90 s is nearer to 1/60 in seconds, and to 1/125 in light by a hair.
        assert_eq!(dial.nearest(1.0 / 90.0).map(|(text, _)| text), Some("1/125"));
        assert_eq!(dial.nearest(4.0), Some(("1/30", (30.0f64 * 4.0).log2())));
        assert_eq!(shutter(&["Bulb"]).nearest(1.0), None);
    }

    proptest! {
        #[test]
        fn no_text_of_a_camera_is_too_much(text in ".{0,40}", wanted in 1e-6f64..100.0) {
            for meaning in [seconds, plain, aperture, percent] {
                let dial = Dial::new("any", Setting { choices: vec![text.clone()], ..Setting::default() }, meaning);
                prop_assert!(dial.nearest(wanted).is_none_or(|(_, away)| away.is_finite()));
            }
            size(&text);
        }
    }
}
