//! The lines of a transcript, read.

use std::fmt;
use std::time::Duration;

use super::{differs, duration};
use crate::frame::Angle;
use crate::link::script::{Mismatch, Step};
use crate::turntable::{Direction, Position, Reference, Source, Target};

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    With(toml::Table),
    Do(Act),
    Wire(Step),
    Result(Wanted),
    Position(Position),
}

/// What is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Act {
    pub(super) intent: Intent,
    /// Given up after so much time.
    pub(super) cut: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Intent {
    Open,
    Stop,
    Heartbeat,
    Reference(Reference),
    MoveTo(Target),
    MoveBy(f64),
    Tilt(f64),
    Rotate(f64),
    Sweep(f64, f64),
}

/// What should come of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    Ok,
    Cut,
    Done(f64),
    Refused(String),
    StoppedAt(Option<f64>),
    OutcomeUnknown,
    Error(String, String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the result {self:?}")
    }
}

/// Every line that says something, with its number.
pub(super) fn read(text: &str) -> Result<Vec<(usize, Line)>, Mismatch> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| one(line).map(|read| (number, read)).map_err(|e| wrong(number, line, e)))
        .collect()
}

fn wrong(number: usize, line: &str, expected: &str) -> Mismatch {
    differs(number, expected, format!("it reads: {line}"))
}

fn one(line: &str) -> Result<Line, &'static str> {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    match mark {
        "with" => rest.parse().map(Line::With).map_err(|_| "with key = value"),
        "do" => act(rest).map(Line::Do).ok_or("do and an intent, as turntable/transcript.rs lists them"),
        ">" => unescape(rest).map(|b| Line::Wire(Step::Send(b))).ok_or("> text with \\n, \\r, \\\\ or \\xNN"),
        "<" => unescape(rest).map(|b| Line::Wire(Step::Hear(b))).ok_or("< text with \\n, \\r, \\\\ or \\xNN"),
        "~" => duration(rest.trim()).map(|t| Line::Wire(Step::Pass(t))).ok_or("~ 200ms or ~ 2s"),
        "x" => Ok(Line::Wire(Step::Lose)),
        "=" => wanted(rest).map(Line::Result).ok_or("= and a result: Done 30, Refused RULE, error NoReply …"),
        "?" => position(rest).map(Line::Position).ok_or("? Known 30, ? Estimated 30 or ? Unknown"),
        _ => Err("a line that begins with do, >, <, ~, x, =, ?, with or #"),
    }
}

fn act(text: &str) -> Option<Act> {
    let lower = text.to_lowercase();
    let mut words: Vec<&str> = lower.split_whitespace().collect();
    let mut cut = None;
    if let [.., "for", time] = words[..] {
        cut = Some(duration(time)?);
        words.truncate(words.len() - 2);
    }
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite());
    let intent = match words[..] {
        ["open"] => Intent::Open,
        ["stop"] => Intent::Stop,
        ["heartbeat"] => Intent::Heartbeat,
        ["reference", "home"] => Intent::Reference(Reference::Home),
        ["reference", "at", deg] => Intent::Reference(Reference::At(Angle::new(number(deg)?))),
        ["move_to", deg, "forward"] => target(number(deg)?, Direction::Forward),
        ["move_to", deg, "backward"] => target(number(deg)?, Direction::Backward),
        ["move_by", deg] => Intent::MoveBy(number(deg)?),
        ["tilt", deg] => Intent::Tilt(number(deg)?),
        ["rotate", speed] => Intent::Rotate(number(speed)?),
        ["sweep", deg, "at", speed] => Intent::Sweep(number(deg)?, number(speed)?),
        _ => return None,
    };
    Some(Act { intent, cut })
}

fn target(deg: f64, direction: Direction) -> Intent {
    Intent::MoveTo(Target { angle: Angle::new(deg), direction })
}

fn wanted(text: &str) -> Option<Wanted> {
    let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let rest = rest.trim();
    Some(match name.to_lowercase().as_str() {
        "ok" => Wanted::Ok,
        "cut" => Wanted::Cut,
        "done" => Wanted::Done(rest.parse().ok()?),
        "refused" => Wanted::Refused(rest.to_owned()),
        "stoppedat" if rest == "unknown" => Wanted::StoppedAt(None),
        "stoppedat" => Wanted::StoppedAt(Some(rest.parse().ok()?)),
        "outcomeunknown" => Wanted::OutcomeUnknown,
        "error" => {
            let (error, words) = rest.split_once(' ').unwrap_or((rest, ""));
            Wanted::Error(error.to_owned(), words.to_owned())
        }
        _ => return None,
    })
}

fn position(text: &str) -> Option<Position> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let angle = |deg: &str| deg.parse().ok().map(Angle::new);
    Some(match words[..] {
        // Why it is believed is not part of a transcript.
        ["Known", deg] => Position::Known(angle(deg)?, Source::Declared),
        ["Estimated", deg] => Position::Estimated(angle(deg)?),
        ["Unknown"] => Position::Unknown,
        _ => return None,
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend(plain.as_bytes());
        let mark = escape.chars().next()?;
        rest = &escape[mark.len_utf8()..];
        match mark {
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            _ => return None,
        }
    }
    bytes.extend(rest.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_escapes() {
        assert_eq!(unescape("a\\n\\r\\\\\\xa1°").unwrap(), b"a\n\r\\\xa1\xc2\xb0");
        for wrong in ["\\", "\\q", "\\x1", "\\xzz", "\\x°"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_with_its_number_and_what_it_could_be() {
        for (text, told) in [
            ("# a\ndo JUMP 3", "line 2: expected do and an intent"),
            ("do move_to 30", "line 1"),
            ("\n\n~ soon", "line 3: expected ~ 200ms"),
            ("= Perhaps", "line 1: expected = and a result"),
            ("? Known", "line 1: expected ? Known 30"),
            ("> \\q", "line 1: expected > text"),
            ("hello", "line 1: expected a line that begins with do"),
            ("with a", "line 1: expected with key = value"),
        ] {
            let what = read(text).unwrap_err().to_string();
            assert!(what.contains(told), "{text}: {what}");
        }
    }

    #[test]
    fn an_intent_may_be_given_up() {
        let act = act("MOVE_BY 90 for 500ms").unwrap();
        assert_eq!(act, Act { intent: Intent::MoveBy(90.0), cut: Some(Duration::from_millis(500)) });
    }
}
