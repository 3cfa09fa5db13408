//! What a line means: anchored patterns of bounded size, tried in their order.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

/// Bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Letters of a pattern as written.
const PATTERN_LETTERS_MAX: usize = 256;

/// What kind of answer a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A command was heard. Never success of a motion.
    Ack,
    /// A command was not taken; `code` says why.
    Nack,
    /// The table locks itself up; a person must look.
    Fault,
    /// Who it is: `model`, `fw`, `steps` (a turn).
    Who,
    /// Where it stands: `pos` in degrees, or `steps`.
    Pos,
    /// The motion is over.
    Done,
    /// It stands.
    Idle,
    /// It moves.
    Moving,
    /// It is still there and still busy.
    Keepalive,
    /// It has just started; in the middle of a session it started anew and knows nothing any more.
    Banner,
    /// Nothing that matters.
    Ignore,
    /// None of the patterns: noise, or another device.
    #[serde(skip)]
    Unknown,
}

/// A pattern as a profile writes it. It must fit the whole line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The pattern, with named groups `pos`, `code`, `model`, `fw`, `steps`.
    pub re: String,
    /// What it means.
    pub event: Kind,
}

/// A line that was understood, or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What kind of answer.
    pub kind: Kind,
    /// Degrees, as the table counts them.
    pub pos: Option<f64>,
    /// Steps: where it stands, or how many a turn has.
    pub steps: Option<f64>,
    /// Number or word of an error.
    pub code: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Version of its own software.
    pub firmware: Option<String>,
    /// The line itself.
    pub line: String,
}

/// Every pattern of a profile.
#[derive(Debug, Clone)]
pub struct Replies(Vec<(Regex, Kind)>);

impl Replies {
    /// Compiles patterns. The error names the one that cannot be.
    pub fn new(replies: &[Reply]) -> Result<Self, String> {
        let compile = |reply: &Reply| {
            let wrong = |what: String| format!("reply re = '{}': {what}", reply.re);
            if reply.re.len() > PATTERN_LETTERS_MAX {
                return Err(wrong(format!("it has more than {PATTERN_LETTERS_MAX} letters")));
            }
            // Half a line that fits is no answer.
            let whole =
                RegexBuilder::new(&format!(r"\A(?:{})\z", reply.re)).size_limit(PATTERN_BYTES_MAX).build();
            whole.map(|re| (re, reply.event)).map_err(|e| wrong(e.to_string()))
        };
        replies.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// What `line` means.
    pub fn read(&self, line: String) -> Event {
        let found = self.0.iter().find_map(|(re, kind)| Some((re.captures(&line)?, *kind)));
        let group = |name: &str| {
            let (captures, _) = found.as_ref()?;
            captures.name(name).map(|group| group.as_str().trim().to_owned())
        };
        let number = |name: &str| group(name)?.parse::<f64>().ok().filter(|n| n.is_finite() && n.abs() < 1e9);
        Event {
            kind: found.as_ref().map_or(Kind::Unknown, |(_, kind)| *kind),
            pos: number("pos"),
            steps: number("steps"),
            code: group("code"),
            model: group("model"),
            firmware: group("fw"),
            line,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replies(re: &str, event: Kind) -> Result<Replies, String> {
        Replies::new(&[Reply { re: re.to_owned(), event }])
    }

    #[test]
    fn a_pattern_fits_a_whole_line_or_not_at_all() {
        let all = replies("OK|DONE", Kind::Ack).unwrap();
        assert_eq!(all.read("OK".to_owned()).kind, Kind::Ack);
        for noise in ["OKAY", "NOT OK", "OK\nDONE", ""] {
            assert_eq!(all.read(noise.to_owned()).kind, Kind::Unknown, "{noise:?}");
        }
    }

    #[test]
    fn groups_are_read_as_what_they_are_called() {
        let all = replies(r"\+OK,TURNANGLE=(?P<pos>\S+)", Kind::Done).unwrap();
        assert_eq!(all.read("+OK,TURNANGLE=-145.72".to_owned()).pos, Some(-145.72));
        for no_number in ["+OK,TURNANGLE=abc", "+OK,TURNANGLE=inf", "+OK,TURNANGLE=1e99"] {
            assert_eq!(all.read(no_number.to_owned()).pos, None, "{no_number}");
        }
    }

    #[test]
    fn a_pattern_that_would_take_too_much_is_refused() {
        for re in ["(", "(?:a{1000}){1000}", &"x".repeat(PATTERN_LETTERS_MAX + 1)] {
            let what = replies(re, Kind::Ack).unwrap_err();
            assert!(what.starts_with("reply re = '"), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_not(line in ".*") {
            let all = replies(r"CR\+ERR=(?P<code>\d+)", Kind::Nack).unwrap();
            let event = all.read(line);
            prop_assert!(event.kind == Kind::Unknown || event.code.is_some());
        }
    }
}
