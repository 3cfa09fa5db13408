//! A conversation with a table: one command at a time, its answers in order, heartbeats in between.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::framer::Framer;
use super::model::{Heartbeat, Model};
use super::reply::{Event, Kind, Replies};
use crate::link::{Link, LinkError};

/// A link that does not take a command within this time is gone.
const SEND_LIMIT: Duration = Duration::from_secs(2);
/// A table that turns and has fallen silent may take so long to say that it is there.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);

/// See the module. What was heard and not read yet outlives a dropped future.
pub struct Conversation {
    link: Box<dyn Link>,
    framer: Framer,
    replies: Replies,
    gap: Duration,
    reply: Duration,
    heartbeat: Option<Heartbeat>,
    /// A heartbeat that was heard waits for ours.
    owed: bool,
    /// One was heard: this table gives them.
    beats: bool,
    spoke: Option<Instant>,
    /// Commands are answered, and the last one was not yet.
    unanswered: bool,
    acked: bool,
    beat: Option<Instant>,
    heard: Instant,
    /// Faults and banners that were heard while nobody waited.
    alarms: Vec<Event>,
    /// Lines that fitted no pattern.
    unknown: u64,
}

/// What is heard of a table that turns.
#[derive(Debug, Clone, PartialEq)]
pub enum Sign {
    /// A line that says something.
    Line(Event),
    /// Nothing but signs of life until the limit.
    Alive,
    /// Its signs of life have ceased, and it does not answer: stop it.
    Ceased,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What was wanted.
    Given(Event),
    /// The command was refused.
    Refused(Event),
    /// A fault, or a banner: the table did not do it and is not what it was.
    Upset(Event),
    /// Nothing of that within the limit; the last line that fitted no pattern, if there was one.
    Silence(Option<String>),
}

impl Conversation {
    /// Nothing is said yet.
    pub fn new(link: Box<dyn Link>, model: &Model, replies: Replies) -> Self {
        Self {
            link,
            framer: Framer::new(model.framing.clone()),
            replies,
            gap: Duration::from_millis(model.limits.min_gap_ms),
            reply: Duration::from_millis(model.limits.reply_ms),
            heartbeat: model.heartbeat.clone(),
            owed: false,
            beats: false,
            spoke: None,
            unanswered: false,
            acked: model.commands.acked,
            beat: None,
            heard: Instant::now(),
            alarms: Vec::new(),
            unknown: 0,
        }
    }

    /// How long an answer may take.
    pub fn reply_limit(&self) -> Duration {
        self.reply
    }

    /// For how long nothing was heard.
    pub fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// A command that is said now may not be heard, or another's answer be taken for its own: the pause that the table
    /// needs is not over, or an answer is outstanding.
    pub fn is_busy(&self) -> bool {
        self.unanswered || self.spoke.is_some_and(|spoke| spoke.elapsed() < self.gap)
    }

    /// When the last command was said.
    pub fn spoke(&self) -> Option<Instant> {
        self.spoke
    }

    /// Lets the pause pass that the table needs between two commands.
    pub async fn pause(&mut self) {
        if let Some(spoke) = self.spoke {
            sleep_until(spoke + self.gap).await;
        }
    }

    /// Sends a command, after the pause that the table needs.
    pub async fn say(&mut self, command: &str) -> Result<(), LinkError> {
        self.pause().await;
        // Late answers are none to what is said now, least of all the end of a motion before. Alarms stay.
        let alarms =
            self.overheard().await?.into_iter().filter(|e| matches!(e.kind, Kind::Fault | Kind::Banner));
        self.alarms.extend(alarms);
        self.say_now(command).await
    }

    /// Sends a command at once: a stop does not wait for good manners.
    pub async fn say_now(&mut self, command: &str) -> Result<(), LinkError> {
        (self.spoke, self.unanswered) = (Some(Instant::now()), self.acked);
        tracing::debug!(link = self.link.name(), command, "said");
        self.link.send(command.as_bytes(), SEND_LIMIT).await
    }

    /// The next line that says something, or `None` at `until`. Gives heartbeats meanwhile.
    pub async fn hear(&mut self, until: Instant) -> Result<Option<Event>, LinkError> {
        loop {
            self.give_heartbeat().await?;
            if let Some(event) = self.alarms.pop().or_else(|| self.line()) {
                return Ok(Some(event));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            let wake =
                [self.framer.flush_at(), self.owed_at()].into_iter().flatten().fold(until, Instant::min);
            self.listen(wake.saturating_duration_since(Instant::now())).await?;
        }
    }

    /// The same of a table that turns. One that gave heartbeats and gives none any more is asked by `ask`, if there is
    /// such a question; not every table gives them while its motor draws the current.
    pub async fn attend(&mut self, until: Instant, ask: Option<&str>) -> Result<Sign, LinkError> {
        loop {
            let ceases = self.ceases_at().map_or(until, |at| at.min(until));
            if let Some(event) = self.hear(ceases).await? {
                return Ok(Sign::Line(event));
            }
            if Instant::now() >= until {
                return Ok(Sign::Alive);
            }
            if self.ceases_at().is_none_or(|at| at > Instant::now()) {
                continue;
            }
            let (silent, answer) = (self.heard, Instant::now() + self.reply.min(ALIVE_LIMIT));
            if let Some(ask) = ask {
                self.say_now(ask).await?;
                match self.hear(answer).await? {
                    // That it lives is no word of its motion.
                    None | Some(Event { kind: Kind::Ack, .. }) => {}
                    Some(event) => return Ok(Sign::Line(event)),
                }
            }
            if self.heard == silent {
                return Ok(Sign::Ceased);
            }
        }
    }

    /// When the silence of a table that gives heartbeats will have been too long.
    fn ceases_at(&self) -> Option<Instant> {
        let beat = self.heartbeat.as_ref().filter(|_| self.beats)?;
        Some(self.heard + Duration::from_millis(beat.lost_ms))
    }

    /// Everything that has arrived already.
    pub async fn overheard(&mut self) -> Result<Vec<Event>, LinkError> {
        self.listen(Duration::ZERO).await?;
        self.give_heartbeat().await?;
        let mut events = std::mem::take(&mut self.alarms);
        events.extend(std::iter::from_fn(|| self.line()));
        Ok(events)
    }

    /// Sends a command and waits for an answer of one of the `wanted` kinds.
    pub async fn ask(&mut self, command: &str, wanted: &[Kind]) -> Result<Answer, LinkError> {
        self.say(command).await?;
        self.answer(wanted, self.reply).await
    }

    /// Waits for an answer of one of the `wanted` kinds; as long as the table says that it is busy, also beyond the
    /// limit, but never longer than twice.
    pub async fn answer(&mut self, wanted: &[Kind], limit: Duration) -> Result<Answer, LinkError> {
        let begun = Instant::now();
        let mut until = begun + limit;
        let mut strange = None;
        while let Some(event) = self.hear(until).await? {
            match event.kind {
                kind if wanted.contains(&kind) => return Ok(Answer::Given(event)),
                Kind::Nack => return Ok(Answer::Refused(event)),
                Kind::Fault | Kind::Banner => return Ok(Answer::Upset(event)),
                Kind::Keepalive => until = until.max(Instant::now() + self.reply).min(begun + 2 * limit),
                Kind::Unknown => strange = Some(event.line),
                _ => {}
            }
        }
        Ok(Answer::Silence(strange))
    }

    async fn listen(&mut self, limit: Duration) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        match self.link.receive(&mut bytes, limit).await {
            Ok(_) => {}
            Err(LinkError::Silent { .. }) => return Ok(()),
            Err(lost) => return Err(lost),
        }
        self.heard = Instant::now();
        if let Some(beat) = &self.heartbeat {
            let heard = beat.hear.bytes().any(|beat| bytes.contains(&beat));
            self.owed |= heard;
            self.beats |= heard;
        }
        self.framer.take(&bytes);
        Ok(())
    }

    /// The next line that was heard already. Lines that fit no pattern are counted, and never success.
    fn line(&mut self) -> Option<Event> {
        while let Some(line) = self.framer.line() {
            let event = self.replies.read(line);
            match event.kind {
                Kind::Ignore => continue,
                Kind::Unknown => {
                    self.unknown += 1;
                    let (link, line, count) = (self.link.name(), event.line.escape_debug(), self.unknown);
                    tracing::warn!(link, %line, count, "a line of the table fits no pattern of its profile");
                }
                kind => {
                    self.unanswered &= matches!(kind, Kind::Keepalive | Kind::Banner | Kind::Fault);
                    tracing::debug!(link = self.link.name(), line = event.line, "heard");
                }
            }
            return Some(event);
        }
        None
    }

    /// When our heartbeat is due, if the table's was heard.
    fn owed_at(&self) -> Option<Instant> {
        let beat = self.heartbeat.as_ref().filter(|_| self.owed)?;
        Some(self.beat.map_or_else(Instant::now, |last| last + Duration::from_millis(beat.every_ms)))
    }

    async fn give_heartbeat(&mut self) -> Result<(), LinkError> {
        let Some(beat) = &self.heartbeat else { return Ok(()) };
        if self.owed_at().is_some_and(|due| due <= Instant::now()) {
            (self.owed, self.beat) = (false, Some(Instant::now()));
            self.link.send(beat.say.as_bytes(), SEND_LIMIT).await?;
        }
        Ok(())
    }
}
