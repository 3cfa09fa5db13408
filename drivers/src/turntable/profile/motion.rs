//! One motion from its command to its end. It is sent once: an answer that is lost is looked for, never provoked.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::conversation::{Answer, Sign};
use super::model::{Completion, Way};
use super::reply::{Event, Kind};
use super::table::{Journey, ProfileTable, refused, tell};
use super::template::{Template, Values};
use crate::frame::Angle;
use crate::turntable::{DegPerS, Moved, Sighting, Source, TurntableError};

/// A motion is given up after this many times its longest time, and this.
const PATIENCE: f64 = 1.5;
const GRACE: Duration = Duration::from_secs(2);
/// A table may be so much slower than it was told before its time has passed.
const SLACK: f64 = 1.1;
/// Two answers that differ by less are the same place.
const SAME_DEG: f64 = 0.05;
/// Pause between two questions to a table that should have come to its end.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

type Seen<'a> = Option<&'a watch::Sender<Option<Sighting>>>;

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
        if degrees < 0.0 && commands.iter().any(Template::is_one_way) {
            let reason = "this table turns one way only; use targets that lie forward";
            return Ok(refused("motion-one-way", reason.to_owned()));
        }
        let error_deg = self.model.limits.tolerance_deg;
        tell(seen, self.unwrapped(self.bearings.counted()), error_deg);
        for part in self.parts(degrees, &commands) {
            if let Some(moved) = self.part(part, tried, seen).await? {
                return Ok(moved);
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
        let known = matches!(self.bearings.position(), crate::Position::Known(..));
        let journey = Journey { from, to: from + part.deg, begun: Instant::now(), known };
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
            End::Stands(event) => self.arrived(journey, event.and_then(|event| self.told(&event)), seen),
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
    fn arrived(&mut self, journey: Journey, told: Option<f64>, seen: Seen<'_>) -> Option<Moved> {
        let off = told.map_or(0.0, |told| self.bearings.deviation(told, journey.to));
        let error_deg = self.model.limits.tolerance_deg;
        tell(seen, self.unwrapped(journey.to + off), error_deg);
        self.bearings.arrive(journey.to, told);
        (off.abs() > error_deg).then(|| Moved::StoppedAt(Some(self.bearings.angle())))
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
        for (number, command) in commands.iter().enumerate() {
            let ends = completion.kind == Way::Acks && number + 1 == commands.len();
            self.talk.say(command).await.map_err(|e| self.link_error(e, tried))?;
            if !self.model.commands.acked {
                continue;
            }
            let limit = if ends { budget } else { self.talk.reply_limit() };
            let answer = self.talk.answer(&[Kind::Ack, Kind::Done], limit).await;
            match answer.map_err(|e| self.link_error(e, tried))? {
                Answer::Given(event) if event.kind == Kind::Done => return Ok(End::Stands(Some(event))),
                Answer::Given(event) if ends => return Ok(End::Stands(Some(event))),
                Answer::Given(_) => heard = true,
                // Only the first word of a motion can be refused without anything having moved.
                Answer::Refused(event) if number == 0 => return Ok(End::Refused(event)),
                Answer::Refused(_) => return Ok(End::Unseen(true)),
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                Answer::Silence(_) if ends || number + 1 < commands.len() => return Ok(End::Unseen(heard)),
                Answer::Silence(_) => {}
            }
        }
        match completion.kind {
            Way::Event | Way::Acks => self.wait_for_word(heard, budget, tried, seen).await,
            Way::Poll => self.ask_until_idle(&completion, heard, budget, tried, seen).await,
            Way::Time => self.wait_out(&completion, part.deg, heard, tried).await,
        }
    }

    async fn wait_for_word(
        &mut self,
        mut heard: bool,
        budget: Duration,
        tried: &str,
        seen: Seen<'_>,
    ) -> Result<End, TurntableError> {
        let until = Instant::now() + budget;
        let error_deg = self.model.limits.tolerance_deg;
        while let Some(event) = self.word(until, tried).await? {
            match event.kind {
                Kind::Done => return Ok(End::Stands(Some(event))),
                Kind::Fault | Kind::Banner => return Err(self.upset(&event, tried)),
                Kind::Nack => return Ok(End::Unseen(true)),
                Kind::Pos | Kind::Moving => {
                    if let (Some(told), Some(journey)) = (self.told(&event), self.journey) {
                        let near = journey.from;
                        tell(seen, self.unwrapped(near + self.bearings.deviation(told, near)), error_deg);
                    }
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
                self.halt(tried).await?;
                self.bearings.lose();
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
            let answer = self.talk.ask(&query, &kinds).await.map_err(|e| self.link_error(e, tried))?;
            let event = match answer {
                Answer::Given(event) => event,
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                // Not every question is answered.
                Answer::Silence(_) | Answer::Refused(_) => continue,
            };
            let (Some(told), Some(journey), true) =
                (self.told(&event), self.journey, self.bearings.compares())
            else {
                if idle_before && event.kind == Kind::Idle {
                    return Ok(End::Stands(None));
                }
                idle_before = event.kind == Kind::Idle;
                continue;
            };
            let off = self.bearings.deviation(told, journey.to);
            tell(seen, self.unwrapped(journey.to + off), self.model.limits.tolerance_deg);
            let there = off.abs() <= self.model.limits.tolerance_deg;
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
                Kind::Done => return Ok(End::Stands(Some(event))),
                Kind::Fault | Kind::Banner => return Err(self.upset(&event, tried)),
                _ => {}
            }
        }
        Ok(if heard && !completion.then_query { End::Stands(None) } else { End::Unseen(heard) })
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
                return Ok(self.arrived(journey, Some(told), None));
            }
            if before.is_some_and(|before| (before - told).abs() < SAME_DEG) || Instant::now() >= until {
                self.halt(tried).await?;
                return Ok(self.arrived(journey, Some(told), None));
            }
            before = Some(told);
            sleep(LOOK_AGAIN).await;
        }
        if !heard {
            let limit = self.budget(journey.to - journey.from);
            self.journey = None;
            return Err(self.no_reply(tried, limit));
        }
        self.halt(tried).await?;
        self.bearings.lose();
        Ok(Some(Moved::OutcomeUnknown))
    }

    /// A stop after a motion that went wrong; whether it is answered changes nothing any more.
    async fn halt(&mut self, tried: &str) -> Result<(), TurntableError> {
        for stop in self.model.commands.stop.clone() {
            self.talk.say_now(&stop).await.map_err(|e| self.link_error(e, tried))?;
        }
        Ok(())
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
        self.journey = Some(Journey { from, to, begun: Instant::now(), known: false });
        self.talk.say(&home.command).await.map_err(|e| self.link_error(e, tried))?;
        let answer = self.talk.answer(&[Kind::Ack, Kind::Done], self.talk.reply_limit()).await;
        let mut done = match answer.map_err(|e| self.link_error(e, tried))? {
            Answer::Given(event) => there || event.kind == Kind::Done,
            Answer::Refused(event) => {
                self.journey = None;
                return Ok(self.refused(&event));
            }
            Answer::Upset(event) => return Err(self.upset(&event, tried)),
            Answer::Silence(_) => false,
        };
        if !done {
            let answer = self.talk.answer(&[Kind::Done], self.budget(360.0)).await;
            done = match answer.map_err(|e| self.link_error(e, tried))? {
                Answer::Given(_) => true,
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                Answer::Refused(_) | Answer::Silence(_) => self.query(tried).await?.is_some_and(at_zero),
            };
        }
        self.journey = None;
        if !done {
            self.halt(tried).await?;
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
        let known = matches!(self.bearings.position(), crate::Position::Known(..));
        let to = from + speed.signum() * f64::INFINITY;
        self.journey = Some(Journey { from, to, begun: Instant::now(), known });
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

    /// Tilts. The end of a tilt is not announced by any table that is known: its time passes, then it is asked.
    pub(super) async fn tilt(&mut self, degrees: f64, tried: &str) -> Result<Moved, TurntableError> {
        let Some(tilt) = self.model.tilt.clone() else {
            let reason = "this table does not tilt; use rows without tilt_deg";
            return Ok(refused("motion-no-tilt", reason.to_owned()));
        };
        if !(tilt.min_deg..=tilt.max_deg).contains(&degrees) {
            let reason = format!("{degrees} degrees of tilt is not in {} to {}", tilt.min_deg, tilt.max_deg);
            return Ok(refused("motion-out-of-range", reason));
        }
        let command = self.template(&tilt.command)?.fill(&Values { tilt: degrees, ..Values::default() });
        // Where it comes from is not known at first: it may be the whole way.
        let way = self.tilted.take().map_or(tilt.max_deg - tilt.min_deg, |from| (degrees - from).abs());
        match self.talk.ask(&command, &[Kind::Ack]).await.map_err(|e| self.link_error(e, tried))? {
            Answer::Given(_) => {}
            Answer::Refused(event) => return Ok(self.refused(&event)),
            Answer::Upset(event) => return Err(self.upset(&event, tried)),
            Answer::Silence(_) => return Ok(Moved::OutcomeUnknown),
        }
        sleep(Duration::from_secs_f64(way / tilt.deg_per_s) + Duration::from_millis(tilt.startup_ms)).await;
        if let Some(query) = &tilt.query {
            let answer = self.talk.ask(query, &[Kind::Pos]).await.map_err(|e| self.link_error(e, tried))?;
            let told = match answer {
                Answer::Given(event) => event.pos,
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                Answer::Refused(_) | Answer::Silence(_) => None,
            };
            if told.is_some_and(|told| (told - degrees).abs() > self.model.limits.tolerance_deg) {
                return Ok(Moved::OutcomeUnknown);
            }
        }
        self.tilted = Some(degrees);
        Ok(Moved::Done(self.bearings.angle()))
    }
}
