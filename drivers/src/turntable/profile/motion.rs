//! One motion from its command to its end. It is sent once: an answer that is lost is looked for, never provoked.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::conversation::{Answer, Sign};
use super::model::{Completion, Way};
use super::reply::{Event, Kind};
use super::sighting::Seen;
use super::table::{Journey, ProfileTable, refused};
use super::template::{Template, Values};
use crate::frame::Angle;
use crate::turntable::{DegPerS, Moved, Source, TurntableError};

/// A motion is given up after this many times its longest time, and this.
const PATIENCE: f64 = 1.5;
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// A table may be so much slower than it was told before its time has passed.
const SLACK: f64 = 1.1;
/// A table may be so much faster than it was told before its word of the end is not believed.
const HASTE: f64 = 1.25;
/// Two answers that differ by less are the same place.
pub(super) const SAME_DEG: f64 = 0.05;
/// Pause between two questions to a table that should have come to its end.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One command's share of a motion.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    deg: f64,
    steps: i64,
}

/// How one part ended.
enum End {
    /// It says that it stands, and where if it can.
    Stands(Option<Event>),
    /// Its time has passed, and that is all that is known.
    Timed,
    /// It was not begun.
    Refused(Event),
    /// No word of its end; whether any answer to its command was heard.
    Unseen(bool),
}

impl ProfileTable {
    /// Turns by `degrees`, in as many commands as the table needs.
    pub(super) async fn travel(
        &mut self,
        degrees: f64,
        tried: &str,
        seen: Seen<'_>,
    ) -> Result<Moved, TurntableError> {
        let commands = self.templates()?;
        if degrees < 0.0 && self.model.is_one_way() {
            let reason = "this table turns one way only; use targets that lie forward";
            return Ok(refused("motion-one-way", reason.to_owned()));
        }
        for (number, part) in self.parts(degrees, &commands).into_iter().enumerate() {
            match self.part(part, tried, seen).await? {
                None => {}
                // Refused is only what did not begin.
                Some(Moved::Refused { reason, .. }) if number > 0 => {
                    tracing::warn!(reason, tried, "the rest of a turn was refused");
                    return Ok(Moved::StoppedAt(Some(self.bearings.angle())));
                }
                Some(moved) => return Ok(moved),
            }
        }
        Ok(Moved::Done(self.bearings.angle()))
    }

    /// How long a turn by `degrees` may take.
    pub(super) fn budget(&self, degrees: f64) -> Duration {
        let speed = self.speed.unwrap_or(self.model.limits.slowest_deg_s);
        Duration::from_secs_f64(degrees.abs() / speed * PATIENCE) + GRACE + self.talk.reply_limit()
    }

    fn templates(&self) -> Result<Vec<Template>, TurntableError> {
        let commands = &self.model.commands;
        let words = if self.otherwise { &commands.move_otherwise } else { &commands.turn };
        words.iter().map(|text| self.template(text)).collect()
    }

    /// The commands that a way is told in, each no longer than the table takes; none for no way at all.
    fn parts(&self, degrees: f64, commands: &[Template]) -> Vec<Part> {
        let limits = &self.model.limits;
        if commands.iter().any(Template::counts_steps) {
            let per_deg = self.steps_per_rev.unwrap_or(360.0) / 360.0;
            let most =
                limits.max_steps.map_or(f64::MAX, f64::from).min((limits.max_deg * per_deg).floor()).max(1.0);
            let total = (degrees * per_deg).round();
            let count = (total.abs() / most).ceil() as i64;
            let upto = |n: i64| (total * n as f64 / count as f64).round();
            let part = |n| (upto(n + 1) - upto(n)) as i64;
            return (0..count).map(|n| Part { deg: part(n) as f64 / per_deg, steps: part(n) }).collect();
        }
        let step = if limits.step_deg > 0.0 { limits.step_deg } else { 1e-3 };
        let total = (degrees / step).round();
        let most = (limits.max_deg / step + 1e-6).floor().max(1.0);
        let count = (total.abs() / most).ceil() as i64;
        let upto = |n: i64| (total * n as f64 / count as f64).round() * step;
        (0..count).map(|n| Part { deg: upto(n + 1) - upto(n), steps: 0 }).collect()
    }

    /// Turns one part; `None` when it stands where it should.
    async fn part(
        &mut self,
        part: Part,
        tried: &str,
        seen: Seen<'_>,
    ) -> Result<Option<Moved>, TurntableError> {
        let from = self.bearings.counted();
        let known = self.bearings.is_sure();
        let journey = Journey { from, to: from + part.deg, at: from, begun: Instant::now(), known };
        self.journey = Some(journey);
        self.bearings.doubt();
        let end = match self.begin(part, tried, seen).await? {
            End::Refused(event) if self.speaks_otherwise(&event) => {
                // It did not know the word, so nothing moved; the other word is another command.
                self.otherwise = true;
                self.begin(part, tried, seen).await?
            }
            end => end,
        };
        let end = match end {
            End::Refused(event) => {
                self.journey = None;
                if known {
                    self.bearings.trust();
                }
                return Ok(Some(self.refused(&event)));
            }
            End::Stands(event) => self.arrived(journey, event.and_then(|event| self.told(&event))),
            End::Timed => {
                self.bearings.reckon(self.own.error_share() * part.deg.abs());
                self.arrived(journey, None)
            }
            End::Unseen(heard) => self.look_for(journey, heard, tried).await?,
        };
        self.journey = None;
        if end.is_none() && known {
            self.bearings.trust();
        }
        Ok(end)
    }

    fn speaks_otherwise(&self, refusal: &Event) -> bool {
        let commands = &self.model.commands;
        let unknown = refusal.code.is_some() && refusal.code == commands.unsupported;
        unknown && !self.otherwise && !commands.move_otherwise.is_empty()
    }

    /// It says that it stands; `None` if that is where it should.
    fn arrived(&mut self, journey: Journey, told: Option<f64>) -> Option<Moved> {
        let off = told.map_or(0.0, |told| self.bearings.deviation(told, journey.to));
        self.bearings.arrive(journey.to, told);
        (off.abs() > self.model.limits.tolerance_deg).then(|| Moved::StoppedAt(Some(self.bearings.angle())))
    }

    /// Sends the commands of one part and waits for its end.
    async fn begin(&mut self, part: Part, tried: &str, seen: Seen<'_>) -> Result<End, TurntableError> {
        let Some(completion) = self.model.completion(self.firmware.as_deref()).cloned() else {
            return Ok(End::Unseen(false));
        };
        let sign = self.sign();
        let speed = self.speed.unwrap_or(self.model.limits.slowest_deg_s);
        let values = Values {
            deg: part.deg * sign,
            steps: if sign < 0.0 { -part.steps } else { part.steps },
            forward: (part.deg > 0.0) != self.own.reversed,
            speed: self.in_unit(speed),
            tilt: 0.0,
        };
        let commands: Vec<String> = self.templates()?.iter().map(|t| t.fill(&values)).collect();
        let budget = self.budget(part.deg);
        let mut heard = !self.model.commands.acked;
        let mut missed = false;
        for (number, command) in commands.iter().enumerate() {
            let ends = completion.kind == Way::Acks && number + 1 == commands.len();
            self.talk.say(command).await.map_err(|e| self.link_error(e, tried))?;
            if let Some(journey) = self.journey.as_mut().filter(|_| number == 0) {
                journey.begun = Instant::now();
            }
            if !self.model.commands.acked {
                continue;
            }
            let limit = if ends { budget } else { self.talk.reply_limit() };
            match self.answer_on_the_way(ends, limit, tried).await? {
                Answer::Given(event) if event.kind == Kind::Done => return Ok(End::Stands(Some(event))),
                // It may be the one that was missed: where it stands is asked, and answered in its turn.
                Answer::Given(_) if ends && missed => return Ok(End::Unseen(true)),
                Answer::Given(event) if ends => return Ok(End::Stands(Some(event))),
                Answer::Given(_) => heard = true,
                // Only the first word of a motion can be refused without anything having moved.
                Answer::Refused(event) if number == 0 => return Ok(End::Refused(event)),
                Answer::Refused(_) => return Ok(End::Unseen(true)),
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                Answer::Silence(_) if ends => return Ok(End::Unseen(heard)),
                // What is to come only waits for the end.
                Answer::Silence(_) if completion.kind == Way::Acks => missed = true,
                Answer::Silence(_) if number + 1 < commands.len() => return Ok(End::Unseen(heard)),
                Answer::Silence(_) => {}
            }
        }
        match completion.kind {
            Way::Event | Way::Acks => self.wait_for_word(heard, budget, tried, seen).await,
            Way::Poll => self.ask_until_idle(&completion, heard, budget, tried, seen).await,
            Way::Time => self.wait_out(&completion, part.deg, heard, tried).await,
        }
    }

    /// Waits for an answer to a command of a motion. An end that cannot be true is none.
    async fn answer_on_the_way(
        &mut self,
        ends: bool,
        limit: Duration,
        tried: &str,
    ) -> Result<Answer, TurntableError> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.talk.answer(&[Kind::Ack, Kind::Done], left).await;
            match answer.map_err(|e| self.link_error(e, tried))? {
                Answer::Given(event) if (ends || event.kind == Kind::Done) && !self.can_be_true(&event) => {}
                answer => return Ok(answer),
            }
        }
    }

    /// Whether a word of the end can be true. One that comes late, or twice, may belong to the motion before: it tells where
    /// this one began, or comes sooner than the table can turn.
    pub(super) fn can_be_true(&self, end: &Event) -> bool {
        let Some(journey) = self.journey else { return true };
        let tolerance_deg = self.model.limits.tolerance_deg;
        let off = |told: f64, place: f64| self.bearings.deviation(told, place).abs();
        if let Some(told) = self.told(end).filter(|_| self.bearings.compares()) {
            let (began, ends) = (off(told, journey.from), off(told, journey.to));
            if began > tolerance_deg || ends + SAME_DEG < began {
                return true;
            }
            // Where it began and where it ends is one place after a whole turn: its time tells.
            if ends > tolerance_deg {
                return false;
            }
        }
        let limits = &self.model.limits;
        let fastest = self.speed.map_or(limits.fastest_deg_s, |speed| speed * HASTE);
        let (way, took) = ((journey.to - journey.from).abs(), journey.begun.elapsed());
        let can_be = took.as_secs_f64() >= way / fastest;
        if !can_be {
            let line = end.line.as_str();
            tracing::warn!(
                line,
                way,
                ?took,
                fastest,
                "an end sooner than the table can turn is not believed"
            );
        }
        can_be
    }

    async fn wait_for_word(
        &mut self,
        mut heard: bool,
        budget: Duration,
        tried: &str,
        seen: Seen<'_>,
    ) -> Result<End, TurntableError> {
        let until = Instant::now() + budget;
        while let Some(event) = self.word(until, tried).await? {
            match event.kind {
                Kind::Done if !self.can_be_true(&event) => {}
                Kind::Done => return Ok(End::Stands(Some(event))),
                Kind::Fault | Kind::Banner => return Err(self.upset(&event, tried)),
                Kind::Nack => return Ok(End::Unseen(true)),
                Kind::Pos | Kind::Moving => {
                    self.follow(&event, None, seen);
                }
                Kind::Unknown => {}
                _ => heard = true,
            }
        }
        Ok(End::Unseen(heard))
    }

    /// The next line while it turns, or `None` at `until`. A table whose heartbeat has ceased is stopped at once.
    async fn word(&mut self, until: Instant, tried: &str) -> Result<Option<Event>, TurntableError> {
        let ask = self.question();
        match self.talk.attend(until, ask.as_deref()).await.map_err(|e| self.link_error(e, tried))? {
            Sign::Line(event) => Ok(Some(event)),
            Sign::Alive => Ok(None),
            Sign::Ceased => {
                self.hand_over_stops(tried).await?;
                self.estrange();
                self.journey = None;
                let what = "heartbeat lost, so a stop was sent".to_owned();
                Err(TurntableError::Fault { id: self.info.id.clone(), tried: tried.to_owned(), what })
            }
        }
    }

    /// Asks until it is idle at its target: it may be idle before it begins, too.
    async fn ask_until_idle(
        &mut self,
        completion: &Completion,
        heard: bool,
        budget: Duration,
        tried: &str,
        seen: Seen<'_>,
    ) -> Result<End, TurntableError> {
        let query = self.model.commands.query.clone().unwrap_or_default();
        let until = Instant::now() + budget;
        let mut idle_before = false;
        while Instant::now() < until {
            sleep(Duration::from_millis(completion.interval_ms)).await;
            let kinds = [Kind::Idle, Kind::Moving, Kind::Pos, Kind::Done];
            let event = match self.ask_place(&query, &kinds, tried).await? {
                Answer::Given(event) => event,
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                // Not every question is answered.
                Answer::Silence(_) | Answer::Refused(_) => continue,
            };
            let asked = self.talk.spoke();
            let (Some(at), Some(journey)) = (self.follow(&event, asked, seen), self.journey) else {
                if idle_before && event.kind == Kind::Idle && self.can_be_true(&event) {
                    return Ok(End::Stands(None));
                }
                idle_before = event.kind == Kind::Idle;
                continue;
            };
            let there = (at - journey.to).abs() <= self.model.limits.tolerance_deg;
            if there && (event.kind == Kind::Idle || (event.kind == Kind::Pos && idle_before)) {
                return Ok(End::Stands(Some(event)));
            }
            idle_before = there;
        }
        Ok(End::Unseen(heard))
    }

    /// Lets its time pass; then it is asked, if it can be.
    async fn wait_out(
        &mut self,
        completion: &Completion,
        deg: f64,
        heard: bool,
        tried: &str,
    ) -> Result<End, TurntableError> {
        let speed = self.speed.unwrap_or(self.model.limits.slowest_deg_s);
        let time =
            Duration::from_secs_f64(deg.abs() / speed * SLACK) + Duration::from_millis(completion.startup_ms);
        let until = Instant::now() + time;
        while let Some(event) = self.word(until, tried).await? {
            match event.kind {
                Kind::Done if self.can_be_true(&event) => return Ok(End::Stands(Some(event))),
                Kind::Fault | Kind::Banner => return Err(self.upset(&event, tried)),
                _ => {}
            }
        }
        Ok(if heard && !completion.then_query { End::Timed } else { End::Unseen(heard) })
    }

    /// Looks where a table has come to that did not say so. It is stopped unless it stands where it should.
    async fn look_for(
        &mut self,
        journey: Journey,
        heard: bool,
        tried: &str,
    ) -> Result<Option<Moved>, TurntableError> {
        let until = Instant::now() + self.budget(journey.to - journey.from);
        let mut before: Option<f64> = None;
        while let Some(told) = self.query(tried).await?.filter(|_| self.bearings.compares()) {
            if self.bearings.deviation(told, journey.to).abs() <= self.model.limits.tolerance_deg {
                return Ok(self.arrived(journey, Some(told)));
            }
            if before.is_some_and(|before| (before - told).abs() < SAME_DEG) || Instant::now() >= until {
                self.hand_over_stops(tried).await?;
                return Ok(self.arrived(journey, Some(told)));
            }
            before = Some(told);
            sleep(LOOK_AGAIN).await;
        }
        if !heard {
            let limit = self.budget(journey.to - journey.from);
            self.journey = None;
            return Err(self.no_reply(tried, limit));
        }
        // One that has told its place before and tells it no more has fallen silent: a stop comes first, should it move again.
        let silent = self.bearings.compares();
        self.hand_over_stops(tried).await?;
        if silent {
            self.estrange();
        }
        self.bearings.lose();
        Ok(Some(Moved::OutcomeUnknown))
    }

    /// Drives to the table's own zero. A table that stands there already only answers that it has heard.
    pub(super) async fn go_home(&mut self, tried: &str) -> Result<Moved, TurntableError> {
        let Some(home) = self.model.home.clone() else {
            return Ok(refused("motion-no-home", "this table has no way of its own to zero".to_owned()));
        };
        let before = self.query(tried).await?;
        let tolerance_deg = self.model.limits.tolerance_deg;
        let at_zero = |told: f64| ((told + 180.0).rem_euclid(360.0) - 180.0).abs() <= tolerance_deg;
        let there = before.is_some_and(at_zero);
        self.bearings.lose();
        let from = self.bearings.counted();
        let to = from - before.unwrap_or(0.0);
        self.talk.pause().await;
        self.journey = Some(Journey { from, to, at: from, begun: Instant::now(), known: false });
        self.talk.say(&home.command).await.map_err(|e| self.link_error(e, tried))?;
        let mut done = match self.answer_on_the_way(false, self.talk.reply_limit(), tried).await? {
            Answer::Given(event) => there || event.kind == Kind::Done,
            Answer::Refused(event) => {
                self.journey = None;
                return Ok(self.refused(&event));
            }
            Answer::Upset(event) => return Err(self.upset(&event, tried)),
            Answer::Silence(_) => false,
        };
        if !done {
            done = match self.wait_for_word(true, self.budget(360.0), tried, None).await? {
                End::Stands(_) => true,
                End::Refused(_) | End::Timed | End::Unseen(_) => {
                    self.query(tried).await?.is_some_and(at_zero)
                }
            };
        }
        self.journey = None;
        if !done {
            self.hand_over_stops(tried).await?;
            return Ok(Moved::OutcomeUnknown);
        }
        self.bearings.arrive(to, None);
        self.bearings.anchor(0.0);
        let source = if home.switch { Source::Home } else { Source::Declared };
        self.bearings.refer(Angle::default(), source);
        Ok(Moved::Done(Angle::default()))
    }

    /// Begins to rotate without end.
    pub(super) async fn begin_rotation(&mut self, speed: DegPerS, tried: &str) -> Result<(), TurntableError> {
        let fault = |what: Moved, id: &str| TurntableError::Fault {
            id: id.to_owned(),
            tried: tried.to_owned(),
            what: format!("{what:?}"),
        };
        if let Some(refusal) = self.set_speed(speed.abs(), tried).await? {
            return Err(fault(refusal, &self.info.id));
        }
        let from = self.bearings.counted();
        let known = self.bearings.is_sure();
        let to = from + speed.signum() * f64::INFINITY;
        self.journey = Some(Journey { from, to, at: from, begun: Instant::now(), known });
        self.bearings.doubt();
        let sign = self.sign();
        let values = Values {
            deg: speed.signum() * sign,
            steps: (speed.signum() * sign) as i64,
            forward: (speed > 0.0) != self.own.reversed,
            speed: self.in_unit(speed.abs()),
            tilt: 0.0,
        };
        for text in self.model.commands.rotate.clone() {
            let command = self.template(&text)?.fill(&values);
            if !self.model.commands.acked {
                self.talk.say(&command).await.map_err(|e| self.link_error(e, tried))?;
                continue;
            }
            match self.talk.ask(&command, &[Kind::Ack]).await.map_err(|e| self.link_error(e, tried))? {
                Answer::Given(_) => {}
                Answer::Refused(event) => {
                    self.journey = None;
                    return Err(fault(self.refused(&event), &self.info.id));
                }
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                Answer::Silence(_) => {
                    let limit = self.talk.reply_limit();
                    return Err(self.no_reply(tried, limit));
                }
            }
        }
        Ok(())
    }
}
