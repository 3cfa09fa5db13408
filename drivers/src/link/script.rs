//! A link that replays what was said: it hands out a device's answers in their time and holds us to what we must send.
//!
//! Two ends share one [`Script`]: the driver has the link, the test loads steps and asks afterwards what did not
//! match. It waits on tokio's clock alone, so that it runs in paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Link, LinkError};

const NAME: &str = "script";

/// What happens next on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// We must send these bytes, in one piece or several.
    Send(Vec<u8>),
    /// The device says these bytes.
    Hear(Vec<u8>),
    /// So much time passes before the next step.
    Pass(Duration),
    /// The link is lost.
    Lose,
}

/// Where what happened is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, but {actual}")]
pub struct Mismatch {
    /// Number of the line, counted from 1.
    pub line: usize,
    /// What is written there.
    pub expected: String,
    /// What happened instead.
    pub actual: String,
}

/// The test's end of scripted links: see the module.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Steps to come, each with its line.
    steps: VecDeque<(usize, Step)>,
    /// Said by the device and not read yet.
    arrived: Vec<u8>,
    /// Sent by us and not compared yet, because a step says less than that.
    lost: bool,
    /// When the step before was done.
    since: Option<Instant>,
    mismatch: Option<Mismatch>,
    /// Number of the line that was done last.
    line: usize,
}

impl Script {
    /// Adds steps, each with the number of its line.
    pub fn load(&self, steps: impl IntoIterator<Item = (usize, Step)>) {
        let mut state = self.state();
        state.steps.extend(steps);
        state.since = Some(Instant::now());
    }

    /// A link at the beginning of what was loaded; one that was lost stands again.
    pub fn link(&self) -> Box<dyn Link> {
        let mut state = self.state();
        state.lost = false;
        state.arrived.clear();
        Box::new(Scripted(self.clone()))
    }

    /// Whether everything that was loaded has happened; what was not done is forgotten.
    pub fn end(&self) -> Result<(), Mismatch> {
        let mut state = self.state();
        state.advance();
        let left = state.steps.pop_front();
        state.steps.clear();
        match (state.mismatch.take(), left) {
            (Some(mismatch), _) => Err(mismatch),
            (None, Some((line, step))) => {
                let actual = "it came to its end before".to_owned();
                Err(Mismatch { line, expected: step.to_string(), actual })
            }
            (None, None) => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does every step whose time has come and that is not ours to do; returns when to look again, if time will do.
    fn advance(&mut self) -> Option<Instant> {
        loop {
            let (line, step) = self.steps.front().cloned()?;
            let mut since = self.since.unwrap_or_else(Instant::now);
            match step {
                Step::Pass(time) if Instant::now() < since + time => return Some(since + time),
                Step::Pass(time) => since += time,
                Step::Hear(bytes) => self.arrived.extend(bytes),
                Step::Lose => self.lost = true,
                Step::Send(_) => return None,
            }
            self.since = Some(since);
            self.line = line;
            self.steps.pop_front();
        }
    }

    /// Compares what we send with the steps to come.
    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.advance();
            match self.steps.front_mut() {
                Some((line, Step::Send(wanted))) => {
                    let same = wanted.iter().zip(rest).take_while(|(a, b)| a == b).count();
                    if same == wanted.len() {
                        (self.line, self.since) = (*line, Some(Instant::now()));
                        self.steps.pop_front();
                    } else if same == rest.len() {
                        wanted.drain(..same);
                    } else {
                        return self.differ(rest);
                    }
                    rest = &rest[same..];
                }
                _ => return self.differ(rest),
            }
        }
    }

    fn differ(&mut self, sent: &[u8]) {
        let (line, expected) = match self.steps.front() {
            Some((line, step)) => (*line, step.to_string()),
            None => (self.line + 1, "nothing more to be sent".to_owned()),
        };
        let actual = format!("\"{}\" was sent", shown(sent));
        self.mismatch.get_or_insert(Mismatch { line, expected, actual });
        self.lost = true;
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "\"{}\" to be sent", shown(bytes)),
            Self::Hear(bytes) => write!(f, "to wait for \"{}\"", shown(bytes)),
            Self::Pass(time) => write!(f, "{time:?} to pass"),
            Self::Lose => f.write_str("to wait until the link is lost"),
        }
    }
}

/// Bytes as a transcript writes them.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

struct Scripted(Script);

impl Scripted {
    fn lost(&self) -> LinkError {
        let cause = std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the script says so");
        LinkError::Lost { link: NAME.to_owned(), cause }
    }
}

#[async_trait]
impl Link for Scripted {
    async fn send(&mut self, bytes: &[u8], _limit: Duration) -> Result<(), LinkError> {
        let mut state = self.0.state();
        state.advance();
        if !state.lost {
            state.take(bytes);
        }
        if state.lost { Err(self.lost()) } else { Ok(()) }
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let end = Instant::now() + limit;
        loop {
            let wake = {
                let mut state = self.0.state();
                let wake = state.advance();
                if !state.arrived.is_empty() {
                    let count = state.arrived.len();
                    into.append(&mut state.arrived);
                    return Ok(count);
                }
                if state.lost {
                    return Err(self.lost());
                }
                wake.map_or(end, |wake| wake.min(end))
            };
            if Instant::now() >= end {
                return Err(LinkError::Silent { link: NAME.to_owned(), limit });
            }
            tokio::time::sleep_until(wake).await;
        }
    }

    fn name(&self) -> &str {
        NAME
    }
}
