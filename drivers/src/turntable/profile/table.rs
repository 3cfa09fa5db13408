//! A table that speaks as its profile says: what is promised of every turntable, kept by what this one can.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bearings::Bearings;
use super::conversation::{Answer, Conversation};
use super::model::{Model, Positive};
use super::reply::{Event, Kind};
use super::template::Template;
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
/// A picture is worth its angle: where a turning platter was is never reckoned from a speed alone.
const NO_SWEEP: &str = "this table does not tell where it is while it turns; use motion = \"stop_and_shoot\"";

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
    /// It was stopped and drives back to its start: when it can be there, and when it is at the latest.
    pub(super) returning: Option<(Instant, Instant)>,
    /// It was stopped, asked who it is and set up, and has neither started anew nor fallen silent since.
    pub(super) ready: bool,
}

/// A motion under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Journey {
    /// Counted when it began and when it will have ended.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Counted where it said that it was last.
    pub(super) at: f64,
    pub(super) begun: Instant,
    /// The position was known when it began.
    pub(super) known: bool,
}

impl ProfileTable {
    /// It may not be what it was any more: where it stands is not known, and before it moves it is set up again.
    pub(super) fn estrange(&mut self) {
        self.bearings.lose();
        self.tilted = None;
        self.ready = false;
    }

    pub(super) fn link_error(&mut self, error: LinkError, tried: &str) -> TurntableError {
        self.estrange();
        error.while_trying(&self.info.id, tried)
    }

    /// The table reports a fault, or has just started anew.
    pub(super) fn upset(&mut self, event: &Event, tried: &str) -> TurntableError {
        self.estrange();
        self.journey = None;
        let what = match event.kind {
            Kind::Banner => format!("the controller started anew (\"{}\")", event.line),
            _ => format!("it reports \"{}\"", self.words(event)),
        };
        TurntableError::Fault { id: self.info.id.clone(), tried: tried.to_owned(), what }
    }

    pub(super) fn no_reply(&mut self, tried: &str, limit: Duration) -> TurntableError {
        self.estrange();
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

    /// Asks where it stands. What is answered behind its place is taken as well: it would be the answer to the next command.
    pub(super) async fn ask_place(
        &mut self,
        question: &str,
        kinds: &[Kind],
        tried: &str,
    ) -> Result<Answer, TurntableError> {
        let answer = self.talk.ask(question, kinds).await.map_err(|e| self.link_error(e, tried))?;
        let placed = matches!(&answer, Answer::Given(event) if event.kind != Kind::Ack);
        if !placed || !self.model.commands.query_acked {
            return Ok(answer);
        }
        let behind = self.talk.answer(&[Kind::Ack], self.talk.reply_limit()).await;
        match behind.map_err(|e| self.link_error(e, tried))? {
            Answer::Upset(event) => Ok(Answer::Upset(event)),
            _ => Ok(answer),
        }
    }

    /// What it is asked to see whether it is there.
    pub(super) fn question(&self) -> Option<String> {
        self.model.commands.ask.clone().or_else(|| self.model.commands.query.clone())
    }

    /// Where it stands, if it can be asked.
    pub(super) async fn query(&mut self, tried: &str) -> Result<Option<f64>, TurntableError> {
        let Some(query) = self.model.commands.query.clone().filter(|_| !self.mute) else { return Ok(None) };
        let kinds = [Kind::Pos, Kind::Idle, Kind::Moving];
        match self.ask_place(&query, &kinds, tried).await? {
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
    pub(super) async fn overhear(&mut self, tried: &str) -> Result<Option<Event>, TurntableError> {
        let events = self.talk.overheard().await.map_err(|e| self.link_error(e, tried))?;
        let mut ended = None;
        for event in events {
            match event.kind {
                Kind::Fault | Kind::Banner => return Err(self.upset(&event, tried)),
                Kind::Done if self.journey.is_none() && self.returning.is_some() => {
                    self.returning.take_if(|(soonest, _)| *soonest <= Instant::now());
                }
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

    /// Ready for a motion: nothing is under way, and it is set up.
    async fn idle(&mut self, tried: &str) -> Result<Option<Moved>, TurntableError> {
        let ended = self.overhear(tried).await?;
        if self.journey.is_some() {
            let reason = "the table still turns from an earlier command; stop it or wait";
            return Ok(Some(refused("motion-busy", reason.to_owned())));
        }
        let was_ready = self.ready;
        if !was_ready {
            self.make_ready().await?;
        }
        if let Some((_, latest)) = self.returning.filter(|(_, latest)| Instant::now() < *latest) {
            let left = latest.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
            let reason =
                format!("the table drives back to its start, {left} s at most; wait until it stands");
            return Ok(Some(refused("motion-busy", reason)));
        }
        self.returning = None;
        if let Some(event) = ended.filter(|_| was_ready) {
            self.doubt_unless_there(&event, tried).await?;
        }
        Ok(None)
    }

    /// Why it goes to no angle.
    fn why_lost(&self) -> String {
        if !self.bearings.is_sure() {
            return "the position is not known; reference the table first".to_owned();
        }
        format!(
            "motions whose end this table does not tell may have gone wrong by {:.1} degrees, and error_deg_max is {}; find \
             zero again",
            self.bearings.error_deg(),
            self.own.error_deg_max()
        )
    }

    pub(super) fn template(&self, text: &str) -> Result<Template, TurntableError> {
        Template::read(text).map_err(|what| TurntableError::Config { driver: NAME.to_owned(), what })
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
        if !matches!(self.position(), Position::Known(..)) && self.reckoned_deg().is_none() {
            return Ok(refused("motion-not-referenced", self.why_lost()));
        }
        let here = self.bearings.angle();
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
        let refusal = if self.model.commands.rotate.is_empty() {
            let reason = "this table cannot be told to rotate without end".to_owned();
            Some(refused("motion-no-rotation", reason))
        } else if let Some(reason) = self.wrong_speed(speed) {
            Some(refused("motion-out-of-range", reason))
        } else {
            self.idle(&tried).await?
        };
        if let Some(refusal) = refusal {
            return Err(TurntableError::refusal(&self.info.id, refusal));
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
            _ if !self.model.tells_in_motion => Some(NO_SWEEP.to_owned()),
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
        if !self.bearings.compares() {
            let reason = "it has not said where it stands; reference it again".to_owned();
            return Ok(refused("motion-no-sweep", reason));
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
        match self.ask_place(&ask, &kinds, tried).await? {
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
        let ended = matches!(&ended, Ok(Some(event)) if self.can_be_true(event));
        let told = self.send_stops(tried).await;
        let journey = self.journey.take();
        let told = told?.and_then(|event| self.told(&event));
        match journey {
            // A move whose future was dropped has come to its end all the same.
            Some(journey) if ended && journey.to.is_finite() => {
                self.bearings.arrive(journey.to, None);
                if journey.known {
                    self.bearings.trust();
                }
            }
            Some(journey) => self.come_to_rest(journey, stopped, told).await?,
            None if ended => self.bearings.doubt(),
            None => {}
        }
        if self.returning.is_some() {
            self.bearings.arrive(0.0, None);
        }
        Ok(self.stopped())
    }

    fn position(&self) -> Position {
        self.bearings.position()
    }

    fn reckoned_deg(&self) -> Option<f64> {
        let error_deg = self.bearings.error_deg();
        let reckoned = self.bearings.is_sure() && error_deg > 0.0 && error_deg <= self.own.error_deg_max();
        reckoned.then_some(error_deg)
    }

    fn home_deg(&self) -> f64 {
        // A zero that it remembers may lie turns away by its own count.
        self.bearings.told_deg().map_or(360.0, |told| told.abs().max(360.0))
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

pub(super) fn refused(rule: &'static str, reason: String) -> Moved {
    Moved::Refused { rule, reason }
}
