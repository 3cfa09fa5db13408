//! What the address of a page asks for, and addresses that ask for the same with one thing changed.

use std::fmt::Write;

/// What stands in the column beside the ring because a person asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sheet {
    /// Nothing: the reason of a frame was closed.
    Closed,
    /// What ending the session means.
    End,
    /// Name and reason for frames that are kept as they are.
    Keep,
    /// What waits for delivery.
    Queue,
    /// The code on the rig's own display, so that the table may turn.
    Arm,
}

/// See the module. What is absent or cannot be read is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub item: Option<String>,
    pub recipe: Option<String>,
    pub frame: Option<u32>,
    pub camera: Option<String>,
    pub row: Option<u32>,
    pub sheet: Option<Sheet>,
    /// An item that was scanned while a session of another one is open.
    pub scanned: Option<String>,
    pub lang: Option<String>,
    pub theme: Option<String>,
    pub before: Option<String>,
    /// What the page already shows, so that its stream need not begin by sending it.
    pub rev: Option<String>,
    /// Which page a stream keeps current.
    pub page: Option<String>,
}

/// Longest text that an address may carry.
const TEXT_MAX: usize = 200;

impl Ask {
    /// Reads pairs of a query; the last one of a name counts.
    pub fn of(pairs: Vec<(String, String)>) -> Self {
        let mut ask = Self::default();
        for (name, value) in pairs {
            let value = value.trim().to_owned();
            if value.len() > TEXT_MAX || (value.is_empty() && name != "queue") {
                continue;
            }
            match name.as_str() {
                "item" => ask.item = Some(value),
                "recipe" => ask.recipe = Some(value),
                "frame" => ask.frame = value.parse().ok(),
                "camera" => ask.camera = Some(value),
                "row" => ask.row = value.parse().ok(),
                "queue" => ask.sheet = Some(Sheet::Queue),
                "sheet" => ask.sheet = sheet(&value).or(ask.sheet),
                "scanned" => ask.scanned = Some(value),
                "lang" => ask.lang = Some(value),
                "theme" => ask.theme = Some(value),
                "before" => ask.before = Some(value),
                "rev" => ask.rev = Some(value),
                "page" => ask.page = Some(value),
                _ => {}
            }
        }
        ask
    }

    /// The same page with one thing changed.
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut changed = self.clone();
        change(&mut changed);
        changed.address()
    }

    /// The frame `frame`, with its reason.
    pub fn with_frame(&self, frame: u32) -> String {
        self.with(|ask| {
            ask.frame = Some(frame);
            ask.sheet = None;
            ask.scanned = None;
        })
    }

    /// As the query of an address; language and theme are in cookies by then.
    pub fn address(&self) -> String {
        let sheet = self.sheet.map(|sheet| match sheet {
            Sheet::Closed => "closed",
            Sheet::End => "end",
            Sheet::Keep => "keep",
            Sheet::Queue => "queue",
            Sheet::Arm => "arm",
        });
        let (frame, row) = (self.frame.map(|n| n.to_string()), self.row.map(|n| n.to_string()));
        let pairs = [
            ("item", self.item.as_deref()),
            ("recipe", self.recipe.as_deref()),
            ("frame", frame.as_deref()),
            ("camera", self.camera.as_deref()),
            ("row", row.as_deref()),
            ("sheet", sheet),
            ("scanned", self.scanned.as_deref()),
        ];
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        format!("?{}", query.join("&"))
    }
}

fn sheet(name: &str) -> Option<Sheet> {
    match name {
        "closed" => Some(Sheet::Closed),
        "end" => Some(Sheet::End),
        "keep" => Some(Sheet::Keep),
        "queue" => Some(Sheet::Queue),
        "arm" => Some(Sheet::Arm),
        _ => None,
    }
}

/// Percent-encoded for a query or a path: everything but letters, digits and `-._~`.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _written = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_written_and_what_makes_no_sense_is_left_out() {
        let pairs =
            [("item", "A&B 1"), ("frame", "17"), ("row", "x"), ("queue", ""), ("lang", "de"), ("?", "!")];
        let ask = Ask::of(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        assert_eq!((ask.frame, ask.row, ask.sheet), (Some(17), None, Some(Sheet::Queue)));
        assert_eq!(ask.address(), "?item=A%26B%201&frame=17&sheet=queue");
        assert_eq!(ask.with_frame(3), "?item=A%26B%201&frame=3");
    }

    #[test]
    fn a_text_without_end_is_not_carried_on() {
        let ask = Ask::of(vec![("item".to_owned(), "9".repeat(TEXT_MAX + 1))]);
        assert_eq!(ask, Ask::default());
    }
}
