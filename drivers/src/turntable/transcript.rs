//! Transcripts: what was meant, what went over the wire, what came of it; played against the driver of their folder.
//!
//! A story is a text of lines, `drivers/transcripts/DRIVER-OR-PROFILE/STORY.txt`:
//!
//! | line | meaning |
//! |---|---|
//! | `with key = value` | one of the driver's own keys |
//! | `do OPEN` | open the table; also after a lost link |
//! | `do STOP`, `do HEARTBEAT` | |
//! | `do REFERENCE home`, `do REFERENCE at 0` | |
//! | `do MOVE_TO 30 forward`, `do MOVE_TO 30 backward`, `do MOVE_BY -15` | |
//! | `do TILT 10`, `do ROTATE 12`, `do SWEEP 360 at 12` | |
//! | `do MOVE_BY 90 for 500ms` | the same, given up after so much time, as a stop does it; any intent may end so |
//! | `> text` | bytes that we must send; `\n`, `\r`, `\\` and `\xNN` stand for what they stand for |
//! | `< text` | bytes that the device answers |
//! | `~ 200ms`, `~ 2s` | so much time passes before the next line; of a `>`, it is not sent earlier |
//! | `x` | the link is lost |
//! | `= Done 30`, `= Refused RULE`, `= StoppedAt 12.5`, `= StoppedAt unknown`, `= OutcomeUnknown` | the result |
//! | `= ok`, `= cut` | opened or rotating; given up as meant |
//! | `= error NoReply WORDS` | the error, and words of its text if any follow |
//! | `? Known 30`, `? Estimated 30`, `? Unknown` | the position afterwards |
//! | `# text` | a comment |

mod story;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::{Moved, Opened, Position, Turntable, TurntableError};
use crate::link::Link;
use crate::link::script::{Mismatch, Script};
use crate::{DeviceOptions, Later};
use story::{Act, Intent, Line, Wanted};

/// Angles of a transcript are met within this many degrees.
const NEAR_DEG: f64 = 0.01;

/// Plays a story against the driver of `options`, whose keys the story may add to. Needs a paused clock to be quick.
///
/// # Errors
/// The first line where what happened is not what is written, or that cannot be read.
pub async fn play(text: &str, options: &DeviceOptions) -> Result<(), Mismatch> {
    play_with(text, options, |options, link| Box::pin(super::speak(options, link))).await
}

/// The same against whatever `begin` opens.
///
/// # Errors
/// As [`play`].
pub async fn play_with<F>(text: &str, options: &DeviceOptions, begin: F) -> Result<(), Mismatch>
where
    F: for<'a> Fn(&'a DeviceOptions, Box<dyn Link>) -> Later<'a, Opened>,
{
    let lines = story::read(text)?;
    let mut options = options.clone();
    let script = Script::default();
    let mut table = None;
    let mut lines = lines.into_iter().peekable();
    while let Some((number, line)) = lines.next() {
        match line {
            Line::With(keys) => options.keys.extend(keys),
            Line::Do(act) => {
                script.load(std::iter::from_fn(|| {
                    let (number, line) = lines.next_if(|(_, line)| matches!(line, Line::Wire(_)))?;
                    let Line::Wire(step) = line else { return None };
                    Some((number, step))
                }));
                let outcome =
                    perform(number, &act, &mut table, &script, |link| begin(&options, link)).await?;
                script.end()?;
                let Some((number, Line::Result(wanted))) = lines.next() else {
                    return Err(differs(number, "a result with = after it", "there is none".to_owned()));
                };
                if !meets(&wanted, &outcome) {
                    return Err(differs(number, &wanted.to_string(), said(&outcome)));
                }
            }
            Line::Position(wanted) => {
                let position = table.as_ref().map_or(Position::Unknown, |table| table.position());
                if !stands(&wanted, position) {
                    return Err(differs(number, &format!("{wanted:?}"), format!("it is {position:?}")));
                }
            }
            Line::Wire(_) | Line::Result(_) => {
                return Err(differs(number, "an intent with do before it", "there is none".to_owned()));
            }
        }
    }
    Ok(())
}

/// What came of an intent.
#[derive(Debug)]
enum Outcome {
    Moved(Moved),
    Ok,
    Cut,
    Error(TurntableError),
}

type Table = Option<Box<dyn Turntable>>;

async fn perform<'a>(
    number: usize,
    act: &Act,
    table: &mut Table,
    script: &Script,
    begin: impl FnOnce(Box<dyn Link>) -> Later<'a, Opened>,
) -> Result<Outcome, Mismatch> {
    if matches!(act.intent, Intent::Open) {
        // The old table gives its link back first, as the station does it.
        *table = None;
        return Ok(match begin(script.link()).await {
            Ok(opened) => {
                *table = Some(opened);
                Outcome::Ok
            }
            Err(error) => Outcome::Error(error),
        });
    }
    let Some(table) = table else {
        return Err(differs(number, "an open table", "none was opened".to_owned()));
    };
    let (seen, _) = watch::channel(None);
    let acting = carry_out(act.intent, table.as_mut(), &seen);
    Ok(match act.cut {
        None => acting.await,
        Some(after) => timeout(after, acting).await.unwrap_or(Outcome::Cut),
    })
}

async fn carry_out(
    intent: Intent,
    table: &mut dyn Turntable,
    seen: &watch::Sender<Option<super::Sighting>>,
) -> Outcome {
    let moved = match intent {
        Intent::Open => return Outcome::Ok,
        Intent::Heartbeat => match table.heartbeat().await {
            Ok(()) => return Outcome::Ok,
            Err(error) => Err(error),
        },
        Intent::Rotate(speed) => match table.rotate(speed).await {
            Ok(()) => return Outcome::Ok,
            Err(error) => Err(error),
        },
        Intent::Stop => table.stop().await,
        Intent::Reference(how) => table.reference(how).await,
        Intent::MoveTo(to) => table.move_to(to).await,
        Intent::MoveBy(degrees) => table.move_by(degrees).await,
        Intent::Tilt(degrees) => table.tilt_to(degrees).await,
        Intent::Sweep(degrees, speed) => table.sweep(degrees, speed, seen).await,
    };
    moved.map_or_else(Outcome::Error, Outcome::Moved)
}

fn meets(wanted: &Wanted, outcome: &Outcome) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= NEAR_DEG || (360.0 - (a - b).abs()).abs() <= NEAR_DEG;
    match (wanted, outcome) {
        (Wanted::Ok, Outcome::Ok) | (Wanted::Cut, Outcome::Cut) => true,
        (Wanted::Done(deg), Outcome::Moved(Moved::Done(angle))) => near(*deg, angle.deg()),
        (
            Wanted::Refused(wanted),
            Outcome::Moved(Moved::Refused { rule, .. })
            | Outcome::Error(TurntableError::Refused { rule, .. }),
        ) => wanted == rule,
        (Wanted::StoppedAt(None), Outcome::Moved(Moved::StoppedAt(None))) => true,
        (Wanted::StoppedAt(Some(deg)), Outcome::Moved(Moved::StoppedAt(Some(angle)))) => {
            near(*deg, angle.deg())
        }
        (Wanted::OutcomeUnknown, Outcome::Moved(Moved::OutcomeUnknown)) => true,
        (Wanted::Error(name, words), Outcome::Error(error)) => {
            named(error) == name && error.to_string().contains(words)
        }
        _ => false,
    }
}

fn stands(wanted: &Position, position: Position) -> bool {
    match (wanted, position) {
        (Position::Known(wanted, _), Position::Known(angle, _))
        | (Position::Estimated(wanted), Position::Estimated(angle)) => wanted.distance(angle) <= NEAR_DEG,
        (Position::Unknown, Position::Unknown) => true,
        _ => false,
    }
}

fn named(error: &TurntableError) -> &'static str {
    match error {
        TurntableError::Config { .. } => "Config",
        TurntableError::Refused { .. } => "Refused",
        TurntableError::Unavailable { .. } => "Unavailable",
        TurntableError::WrongDevice { .. } => "WrongDevice",
        TurntableError::Fault { .. } => "Fault",
        TurntableError::LinkLost { .. } => "LinkLost",
        TurntableError::NoReply { .. } => "NoReply",
        TurntableError::Jammed { .. } => "Jammed",
    }
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Moved(moved) => format!("the result is {moved:?}"),
        Outcome::Ok => "the result is ok".to_owned(),
        Outcome::Cut => "it was given up".to_owned(),
        Outcome::Error(error) => format!("the error is {}: {error}", named(error)),
    }
}

fn differs(line: usize, expected: &str, actual: String) -> Mismatch {
    Mismatch { line, expected: expected.to_owned(), actual }
}

/// `200ms`, `2s`, `1.5s`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests;
