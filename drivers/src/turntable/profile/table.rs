//! A table that speaks as its profile says: what is promised of every turntable, kept by what this one can.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bearings::Bearings;
use super::conversation::{Answer, Conversation};
use super::model::{Model, Positive, SpeedUnit};
use super::reply::{Event, Kind};
use super::template::{Template, Values};
use super::{NAME, Own};
use crate::link::LinkError;
use crate::turntable::{
    DegPerS, Direction, Moved, Position, Reference, Sighting, Source, Target, Turntable, TurntableError,
    TurntableInfo,
};

/// A target nearer than this is where the table stands: a full turn for a rounding error helps nobody.
const RESOLUTION_DEG: f64 = 1e-3;
/// A table that was not heard for so long is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct ProfileTable {
    pub(super) talk: Conversation,
    pub(super) model: Model,
    pub(super) own: Own,
    pub(super) info: TurntableInfo,
    pub(super) bearings: Bearings,
    pub(super) firmware: Option<String>,
    pub(super) steps_per_rev: Option<f64>,
    /// Degrees a second that were set.
    pub(super) speed: Option<f64>,
    /// The other spelling of a move is the right one.
    pub(super) otherwise: bool,
    /// It was asked where it stands, and does not know the question.
    pub(super) mute: bool,
    /// A motion that was begun and whose end was not seen, because its future was dropped.
    pub(super) journey: Option<Journey>,
    /// Tilt that was set.
    pub(super) tilted: Option<f64>,
}

/// A motion under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Journey {
    /// Counted when it began and when it will have ended.
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) begun: Instant,
    /// The position was known when it began.
    pub(super) known: bool,
}

impl ProfileTable {
    pub(super) fn link_error(&mut self, error: LinkError, tried: &str) -> TurntableError {
        self.bearings.lose();
        error.while_trying(&self.info.id, tried)
    }

    /// The table reports a fault, or has just started anew.
    pub(super) fn upset(&mut self, event: &Event, tried: &str) -> TurntableError {
        self.bearings.lose();
        self.journey = None;
        let what = match event.kind {
            Kind::Banner => format!("the controller started anew (\"{}\")", event.line),
            _ => format!("it reports \"{}\"", self.words(event)),
        };
        TurntableError::Fault { id: self.info.id.clone(), tried: tried.to_owned(), what }
    }

    pub(super) fn no_reply(&mut self, tried: &str, limit: Duration) -> TurntableError {
        self.bearings.lose();
        TurntableError::NoReply { id: self.info.id.clone(), tried: tried.to_owned(), limit }
    }

    /// What an error of the table means.
    pub(super) fn words(&self, event: &Event) -> String {
        let words = event.code.as_ref().and_then(|code| {
            let code = self
                .model
                .errors
                .get(code)
                .or_else(|| self.model.errors.get(&format!("{}x", code.get(..1)?)));
            code.cloned()
        });
        words.map_or_else(|| event.line.clone(), |words| format!("{}: {words}", event.line))
    }

    pub(super) fn refused(&self, event: &Event) -> Moved {
        refused("motion-table-refused", format!("the table refused: {}", self.words(event)))
    }

    /// +1 if the table's positive degrees are ours.
    pub(super) fn sign(&self) -> f64 {
        let profile = if self.model.positive == Positive::Clockwise { -1.0 } else { 1.0 };
        if self.own.reversed { -profile } else { profile }
    }

    /// Where the table says it stands, forward positive.
    pub(super) fn told(&self, event: &Event) -> Option<f64> {
        let turn = self.steps_per_rev.map(|steps| 360.0 / steps);
        let deg = event.pos.or_else(|| Some(event.steps? * turn?))?;
        Some(self.sign() * deg)
    }

    /// What it is asked to see whether it is there.
    pub(super) fn question(&self) -> Option<String> {
        self.model.commands.ask.clone().or_else(|| self.model.commands.query.clone())
    }

    /// Where it stands, if it can be asked.
    pub(super) async fn query(&mut self, tried: &str) -> Result<Option<f64>, TurntableError> {
        let Some(query) = self.model.commands.query.clone().filter(|_| !self.mute) else { return Ok(None) };
        let kinds = [Kind::Pos, Kind::Idle, Kind::Moving];
        match self.talk.ask(&query, &kinds).await.map_err(|e| self.link_error(e, tried))? {
            Answer::Given(event) => Ok(self.told(&event)),
            Answer::Refused(event) => {
                self.mute = event.code.is_some() && event.code == self.model.commands.unsupported;
                Ok(None)
            }
            Answer::Upset(event) => Err(self.upset(&event, tried)),
            Answer::Silence(_) => Ok(None),
        }
    }

    /// Takes in what was said without being asked; a table that starts anew is not where it was. The end of a motion,
    /// if one was told.
    async fn overhear(&mut self, tried: &str) -> Result<Option<Event>, TurntableError> {
        let events = self.talk.overheard().await.map_err(|e| self.link_error(e, tried))?;
        let mut ended = None;
        for event in events {
            match event.kind {
                Kind::Fault | Kind::Banner => return Err(self.upset(&event, tried)),
                Kind::Done => ended = Some(event),
                Kind::Moving if self.journey.is_none() => self.bearings.doubt(),
                _ => {}
            }
        }
        Ok(ended)
    }

    /// An end that nobody asked for: somebody has turned it with its remote control, unless it can say that it has not.
    async fn doubt_unless_there(&mut self, event: &Event, tried: &str) -> Result<(), TurntableError> {
        let told = match self.told(event) {
            None => self.query(tried).await?,
            told => told,
        };
        let off = told.map(|told| self.bearings.deviation(told, self.bearings.counted()).abs());
        if off.is_none_or(|off| off > self.model.limits.tolerance_deg) {
            self.bearings.doubt();
        }
        Ok(())
    }

    /// Ready for a motion: nothing is under way.
    async fn idle(&mut self, tried: &str) -> Result<Option<Moved>, TurntableError> {
        let ended = self.overhear(tried).await?;
        if self.journey.is_some() {
            let reason = "the table still turns from an earlier command; stop it or wait";
            return Ok(Some(refused("motion-busy", reason.to_owned())));
        }
        if let Some(event) = ended {
            self.doubt_unless_there(&event, tried).await?;
        }
        Ok(None)
    }

    /// Sets the speed of the next motions.
    pub(super) async fn set_speed(
        &mut self,
        deg_s: f64,
        tried: &str,
    ) -> Result<Option<Moved>, TurntableError> {
        let command = self.model.speed.as_ref().and_then(|speed| speed.command.clone());
        self.speed = Some(deg_s);
        let Some(command) = command else { return Ok(None) };
        let template = self.template(&command)?;
        let command = template.fill(&Values { speed: self.in_unit(deg_s), ..Values::default() });
        if !self.model.commands.acked {
            self.talk.say(&command).await.map_err(|e| self.link_error(e, tried))?;
            return Ok(None);
        }
        match self.talk.ask(&command, &[Kind::Ack]).await.map_err(|e| self.link_error(e, tried))? {
            Answer::Given(_) => Ok(None),
            Answer::Refused(event) => Ok(Some(self.refused(&event))),
            Answer::Upset(event) => Err(self.upset(&event, tried)),
            Answer::Silence(_) => {
                let limit = self.talk.reply_limit();
                Err(self.no_reply(tried, limit))
            }
        }
    }

    pub(super) fn template(&self, text: &str) -> Result<Template, TurntableError> {
        Template::read(text).map_err(|what| TurntableError::Config { driver: NAME.to_owned(), what })
    }

    /// Degrees a second as the table takes them.
    pub(super) fn in_unit(&self, deg_s: f64) -> f64 {
        match self.model.speed.as_ref().map(|speed| speed.unit) {
            None | Some(SpeedUnit::DegPerS) => deg_s,
            Some(SpeedUnit::DegPerMin) => deg_s * 60.0,
            Some(SpeedUnit::SPerRev) => 360.0 / deg_s,
            Some(SpeedUnit::StepsPerS) => deg_s * self.steps_per_rev.unwrap_or(360.0) / 360.0,
            Some(SpeedUnit::Level) => {
                let off = |(_, speed): &&(u32, f64)| (speed - deg_s).abs();
                let nearest = self.levels().iter().min_by(|a, b| off(a).total_cmp(&off(b)));
                nearest.map_or(0.0, |(level, _)| f64::from(*level))
            }
        }
    }

    fn levels(&self) -> &[(u32, f64)] {
        let of_profile = self.model.speed.as_ref().map_or(&[][..], |speed| &speed.levels);
        self.own.levels.as_deref().unwrap_or(of_profile)
    }

    /// Slowest and fastest turn that can be asked for, if any can.
    pub(super) fn speeds(&self) -> Option<(f64, f64)> {
        let speed = self.model.speed.as_ref()?;
        if speed.unit != SpeedUnit::Level {
            return Some((speed.min_deg_s, speed.max_deg_s));
        }
        let speeds = self.levels().iter().map(|(_, speed)| *speed);
        let (low, high) = speeds.fold((f64::MAX, 0.0), |(low, high), s| (s.min(low), s.max(high)));
        (high > 0.0).then_some((low, high))
    }

    fn wrong_speed(&self, speed: f64) -> Option<String> {
        match self.speeds() {
            Some((low, high)) if (low..=high).contains(&speed.abs()) => None,
            Some((low, high)) => Some(format!("{speed} degrees a second is not in {low:.2} to {high:.2}")),
            None => {
                let what = "this table turns at its own speed; measure it at some levels and say levels = [[level, \
                            degrees a second], …], or use motion = \"stop_and_shoot\"";
                Some(what.to_owned())
            }
        }
    }

    /// Hands every stop over, then waits for the answers; once more if there is none. A stop may be sent twice.
    async fn send_stops(&mut self, tried: &str) -> Result<Option<Event>, TurntableError> {
        let stops = self.model.commands.stop.clone();
        let mut told = None;
        for (number, stop) in stops.iter().enumerate() {
            let mut heard = false;
            for again in [false, true] {
                let said = if number == 0 && !again {
                    self.talk.say_now(stop).await
                } else {
                    self.talk.say(stop).await
                };
                said.map_err(|e| self.link_error(e, tried))?;
                if !self.model.commands.stop_acked {
                    heard = true;
                    break;
                }
                let answer =
                    self.talk.answer(&[Kind::Ack, Kind::Done, Kind::Idle], self.talk.reply_limit()).await;
                match answer.map_err(|e| self.link_error(e, tried))? {
                    Answer::Given(event) => {
                        told = if event.pos.is_some() { Some(event) } else { told };
                        heard = true;
                    }
                    // It may have come behind half a command, so that the table understood neither.
                    Answer::Refused(_) => heard = again,
                    Answer::Upset(event) => return Err(self.upset(&event, tried)),
                    Answer::Silence(_) => {}
                }
                if heard {
                    break;
                }
            }
            if !heard {
                let limit = self.talk.reply_limit();
                return Err(self.no_reply(tried, limit));
            }
        }
        Ok(told)
    }

    /// Where a motion that was stopped has come to.
    async fn come_to_rest(
        &mut self,
        journey: Journey,
        stopped: Instant,
        told: Option<f64>,
    ) -> Result<(), TurntableError> {
        self.bearings.doubt();
        if self.model.limits.stop_loses_position {
            self.bearings.lose();
            return Ok(());
        }
        let braking = self.speed.unwrap_or(self.model.limits.fastest_deg_s) / self.info.acceleration;
        let mut told = told;
        if told.is_none() && self.model.commands.query_after_stop && self.model.commands.query.is_some() {
            tokio::time::sleep(Duration::from_secs_f64(braking.min(2.0))).await;
            told = self.query("stop").await?;
        }
        // Without its word, what it can have turned in the time.
        let way = journey.to - journey.from;
        let time = stopped.saturating_duration_since(journey.begun).as_secs_f64();
        let guess = (time * self.speed.unwrap_or(self.model.limits.slowest_deg_s)).min(way.abs());
        self.bearings.arrive(journey.from + guess * way.signum(), told);
        Ok(())
    }

    fn stopped(&self) -> Moved {
        match self.bearings.position() {
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        }
    }
}

#[async_trait]
impl Turntable for ProfileTable {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        let tried = "find zero";
        if how == Reference::Home && !self.info.home {
            let reason =
                "this table has no home switch; set it to its zero mark by hand and declare that zero";
            return Ok(refused("motion-no-home", reason.to_owned()));
        }
        if let Some(refusal) = self.idle(tried).await? {
            return Ok(refusal);
        }
        match how {
            Reference::Home => self.go_home(tried).await,
            Reference::At(angle) => {
                if let Some(told) = self.query(tried).await? {
                    self.bearings.anchor(told);
                }
                self.bearings.refer(angle, Source::Declared);
                Ok(Moved::Done(self.bearings.angle()))
            }
        }
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let tried = format!("turn to {}", to.angle);
        if let Some(refusal) = self.idle(&tried).await? {
            return Ok(refusal);
        }
        let Position::Known(here, _) = self.bearings.position() else {
            let reason = "the position is not known; reference the table first";
            return Ok(refused("motion-not-referenced", reason.to_owned()));
        };
        // A table that can be told whole degrees only stands where it can.
        let near = RESOLUTION_DEG.max(self.model.limits.step_deg / 2.0);
        let degrees = match to.direction {
            _ if here.distance(to.angle) < near => 0.0,
            Direction::Forward => here.forward_to(to.angle),
            Direction::Backward => -to.angle.forward_to(here),
        };
        self.travel(degrees, &tried, None).await
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let tried = format!("turn by {degrees:.1}°");
        if !(-360.0..=360.0).contains(&degrees) {
            return Ok(refused("motion-out-of-range", format!("{degrees} degrees is not in -360 to 360")));
        }
        match self.idle(&tried).await? {
            Some(refusal) => Ok(refusal),
            None => self.travel(degrees, &tried, None).await,
        }
    }

    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError> {
        let tried = format!("turn at {speed:.1}°/s");
        let wrong = |what: String| TurntableError::Config { driver: NAME.to_owned(), what };
        if self.model.commands.rotate.is_empty() {
            return Err(wrong("this table cannot be told to rotate without end".to_owned()));
        }
        if let Some(what) = self.wrong_speed(speed) {
            return Err(wrong(what));
        }
        if let Some(Moved::Refused { reason, .. }) = self.idle(&tried).await? {
            return Err(wrong(reason));
        }
        self.begin_rotation(speed, &tried).await
    }

    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let tried = format!("sweep {degrees:.1}° at {speed:.1}°/s");
        let most = self.model.limits.max_deg;
        let why = match self.wrong_speed(speed) {
            Some(why) => Some(why),
            None if degrees.abs() > most => Some(format!("it turns {most} degrees at most without halting")),
            None => None,
        };
        if let Some(reason) = why {
            return Ok(refused("motion-no-sweep", reason));
        }
        if let Some(refusal) = self.idle(&tried).await? {
            return Ok(refusal);
        }
        let ordinary = self.speed;
        if let Some(refusal) = self.set_speed(speed, &tried).await? {
            return Ok(refusal);
        }
        let moved = self.travel(degrees, &tried, Some(seen)).await;
        // The next ordinary move is not slower than it need be; if this fails, so did the sweep.
        if let (Ok(Moved::Done(_)), Some(speed)) = (&moved, ordinary)
            && let Some(refusal) = self.set_speed(speed, &tried).await?
        {
            tracing::warn!(?refusal, "the table keeps the speed of the sweep");
        }
        moved
    }

    async fn tilt_to(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let tried = format!("tilt to {degrees:.1}°");
        match self.idle(&tried).await? {
            Some(refusal) => Ok(refusal),
            None => self.tilt(degrees, &tried).await,
        }
    }

    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        let tried = "see whether it is there";
        match self.overhear(tried).await? {
            Some(event) if self.journey.is_none() => return self.doubt_unless_there(&event, tried).await,
            _ => {}
        }
        let Some(ask) = self.question().filter(|_| self.talk.silence() >= SILENCE_MAX) else { return Ok(()) };
        let kinds = [Kind::Ack, Kind::Pos, Kind::Idle, Kind::Moving, Kind::Who];
        match self.talk.ask(&ask, &kinds).await.map_err(|e| self.link_error(e, tried))? {
            Answer::Given(_) | Answer::Refused(_) => Ok(()),
            Answer::Upset(event) => Err(self.upset(&event, tried)),
            Answer::Silence(_) => {
                let limit = self.talk.reply_limit();
                Err(self.no_reply(tried, limit))
            }
        }
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        let tried = "stop";
        let stopped = Instant::now();
        // Whatever is wrong, the stop is sent.
        let ended = self.overhear(tried).await;
        let journey = self.journey.take();
        let told = self.send_stops(tried).await?;
        let told = told.and_then(|event| self.told(&event));
        match journey {
            // A move whose future was dropped has come to its end all the same.
            Some(journey) if matches!(ended, Ok(Some(_))) && journey.to.is_finite() => {
                self.bearings.arrive(journey.to, None);
                if journey.known {
                    self.bearings.trust();
                }
            }
            Some(journey) => self.come_to_rest(journey, stopped, told).await?,
            None if matches!(ended, Ok(Some(_))) => self.bearings.doubt(),
            None => {}
        }
        Ok(self.stopped())
    }

    fn position(&self) -> Position {
        self.bearings.position()
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

pub(super) fn refused(rule: &'static str, reason: String) -> Moved {
    Moved::Refused { rule, reason }
}

/// Tells where the platter was seen, if somebody looks.
pub(super) fn tell(seen: Option<&watch::Sender<Option<Sighting>>>, deg: f64, error_deg: f64) {
    if let Some(seen) = seen {
        seen.send_replace(Some(Sighting { at: Instant::now(), deg, error_deg }));
    }
}

impl ProfileTable {
    /// An angle that was or will be counted, going on beyond 360 within a sweep.
    pub(super) fn unwrapped(&self, counted: f64) -> f64 {
        self.bearings.angle().deg() + counted - self.bearings.counted()
    }
}
