//! The conversation with a controller: lines there, lines back, and `?` no oftener than it can stand.

use std::time::Duration;

use tokio::time::Instant;

use super::line::{Axes, Framer, Line, Status};
use crate::link::{Link, LinkError};

/// GRBL's interface document asks for no more than five `?` a second.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// A controller that takes a few bytes no sooner is not there.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// A link that speaks lines.
pub(super) struct Talk {
    link: Box<dyn Link>,
    framer: Framer,
    inbox: Vec<u8>,
    /// When the last `?` was sent, and the oldest that has no answer: not every one gets one.
    polled: Option<Instant>,
    asked: Option<Instant>,
    window: (Instant, Instant),
    /// Work offset as told last; it stands in a few reports only.
    offset: Option<Axes>,
}

impl Talk {
    pub(super) fn new(link: Box<dyn Link>) -> Self {
        let now = Instant::now();
        Self {
            link,
            framer: Framer::default(),
            inbox: Vec::new(),
            polled: None,
            asked: None,
            window: (now, now),
            offset: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.link.name()
    }

    /// Sends one line.
    pub(super) async fn say(&mut self, line: &str) -> Result<(), LinkError> {
        self.link.send(format!("{line}\n").as_bytes(), SEND_LIMIT).await
    }

    /// Sends a byte that the controller acts on at once, past every line that waits.
    pub(super) async fn signal(&mut self, byte: u8) -> Result<(), LinkError> {
        self.link.send(&[byte], SEND_LIMIT).await
    }

    /// The next line, without asking for any; `None` when `until` has come.
    pub(super) async fn hear(&mut self, until: Instant) -> Result<Option<Line>, LinkError> {
        loop {
            if let Some(line) = self.framer.next() {
                return Ok(Some(self.noted(line)));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match self.link.receive(&mut self.inbox, left).await {
                Ok(_) => self.framer.push(&std::mem::take(&mut self.inbox)),
                Err(LinkError::Silent { .. }) => return Ok(None),
                Err(lost) => return Err(lost),
            }
        }
    }

    /// The next line, while `?` is asked as often as may be; `None` when `until` has come.
    pub(super) async fn watch(&mut self, until: Instant) -> Result<Option<Line>, LinkError> {
        loop {
            let now = Instant::now();
            let due = self.polled.map_or(now, |polled| polled + POLL);
            if now >= due {
                self.signal(b'?').await?;
                self.polled = Some(now);
                self.asked.get_or_insert(now);
            }
            let due = due.max(now + Duration::from_millis(1));
            let heard = self.hear(until.min(self.polled.map_or(due, |polled| polled + POLL))).await?;
            if heard.is_some() || Instant::now() >= until {
                return Ok(heard);
            }
        }
    }

    /// Between these moments the controller was as its last report says.
    pub(super) fn window(&self) -> (Instant, Instant) {
        self.window
    }

    /// Forgets the work offset: a restart may change it.
    pub(super) fn forget(&mut self) {
        self.offset = None;
    }

    fn noted(&mut self, line: Line) -> Line {
        let Line::Status(status) = line else { return line };
        let now = Instant::now();
        self.window = (self.asked.take().or(self.polled).unwrap_or(now), now);
        if status.offset.is_some() {
            self.offset.clone_from(&status.offset);
        }
        let machine = status.machine.clone().or_else(|| machine(&status, self.offset.as_ref()?));
        Line::Status(Status { machine, ..status })
    }
}

/// Machine position of a report that tells the work position, once the offset was told.
fn machine(status: &Status, offset: &Axes) -> Option<Axes> {
    let work = status.work.as_ref()?;
    Some(work.iter().enumerate().map(|(axis, at)| at + offset.get(axis).copied().unwrap_or(0.0)).collect())
}
