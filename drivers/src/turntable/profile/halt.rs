//! How a table is halted, and where it has come to then.

use std::time::Duration;

use tokio::time::Instant;

use super::conversation::Answer;
use super::motion::SAME_DEG;
use super::reply::{Event, Kind};
use super::table::{Journey, ProfileTable};
use crate::turntable::{Moved, Position, TurntableError};

/// No table takes longer to brake, whatever is said of its acceleration.
const BRAKING_S_MAX: f64 = 2.0;
/// A table that was stopped stands this long after it has braked; otherwise it is stopped again.
const REST_LIMIT: Duration = Duration::from_secs(3);
/// Pause between two questions to a table that comes to rest.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl ProfileTable {
    /// Stops every axis, and waits for the answers; once more if one is missing. A stop may be sent twice. Returns what it
    /// says of its place by itself.
    pub(super) async fn send_stops(&mut self, tried: &str) -> Result<Option<Event>, TurntableError> {
        let mut told = self.hand_over_stops(tried).await?;
        if !self.model.commands.stop_acked {
            return Ok(told);
        }
        for again in [false, true] {
            if again {
                self.talk.pause().await;
                self.say_stops(tried).await?;
            }
            if self.hear_stops(again, &mut told, tried).await? {
                return Ok(told);
            }
        }
        let limit = self.talk.reply_limit();
        Err(self.no_reply(tried, limit))
    }

    /// Hands every stop over at once. One that a table can have missed, because it came too soon after another command or
    /// before that was answered, is handed over again after the pause; what is answered before that is not its answer.
    pub(super) async fn hand_over_stops(&mut self, tried: &str) -> Result<Option<Event>, TurntableError> {
        let missable = self.talk.is_busy();
        self.say_stops(tried).await?;
        if !missable {
            return Ok(None);
        }
        self.talk.pause().await;
        let heard = self.overhear(tried).await;
        self.say_stops(tried).await?;
        Ok(heard?.filter(|event| event.pos.is_some()))
    }

    /// Says every stop before any answer is waited for: the second axis is not to wait for the first one's.
    pub(super) async fn say_stops(&mut self, tried: &str) -> Result<(), TurntableError> {
        if self.model.limits.stop_returns {
            self.expect_return();
        }
        for (number, stop) in self.model.commands.stop.clone().iter().enumerate() {
            if number > 0 {
                self.talk.pause().await;
            }
            self.talk.say_now(stop).await.map_err(|e| self.link_error(e, tried))?;
        }
        Ok(())
    }

    /// It turns on, back to where it was opened.
    fn expect_return(&mut self) {
        let way = self.journey.map_or(self.bearings.counted(), |journey| journey.to);
        // It was told to turn without end: the start is nowhere further than a turn.
        let way = if way.is_finite() { way } else { 360.0 };
        if way.abs() < SAME_DEG {
            return;
        }
        let fastest = self.speed.unwrap_or(self.model.limits.fastest_deg_s);
        let gone = self.journey.map_or(way, |journey| journey.from);
        let soonest = Instant::now() + Duration::from_secs_f64(gone.abs() / fastest);
        self.returning = self.returning.max(Some((soonest, Instant::now() + self.budget(way))));
        self.bearings.lose();
    }

    /// Whether every stop was answered.
    async fn hear_stops(
        &mut self,
        again: bool,
        told: &mut Option<Event>,
        tried: &str,
    ) -> Result<bool, TurntableError> {
        for _ in 0..self.model.commands.stop.len() {
            let answer =
                self.talk.answer(&[Kind::Ack, Kind::Done, Kind::Idle], self.talk.reply_limit()).await;
            match answer.map_err(|e| self.link_error(e, tried))? {
                Answer::Given(event) if event.pos.is_some() => *told = Some(event),
                Answer::Given(_) => {}
                // It may have come behind half a command, so that the table understood neither.
                Answer::Refused(_) if again => {}
                Answer::Refused(_) | Answer::Silence(_) => return Ok(false),
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
            }
        }
        Ok(true)
    }

    /// Where a motion that was stopped has come to.
    pub(super) async fn come_to_rest(
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
        let told = match told {
            None if self.model.commands.query_after_stop => self.look_until_rest("stop").await?,
            told => told,
        };
        // Without its word, what it can have turned in the time.
        let way = journey.to - journey.from;
        let time = stopped.saturating_duration_since(journey.begun).as_secs_f64();
        let guess = (time * self.speed.unwrap_or(self.model.limits.slowest_deg_s)).min(way.abs());
        self.bearings.arrive(journey.from + guess * way.signum(), told);
        Ok(())
    }

    pub(super) fn stopped(&self) -> Moved {
        match self.bearings.position() {
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        }
    }

    /// Where it has come to rest: two answers, one after the other, that agree. `None` if it does not answer.
    async fn look_until_rest(&mut self, tried: &str) -> Result<Option<f64>, TurntableError> {
        if self.model.commands.query.is_none() || self.mute {
            return Ok(None);
        }
        let braking = self.speed.unwrap_or(self.model.limits.fastest_deg_s) / self.info.acceleration;
        let braking = Duration::from_secs_f64(braking.min(BRAKING_S_MAX));
        for again in [false, true] {
            if again {
                self.hand_over_stops(tried).await?;
            }
            self.wait(braking, tried).await?;
            let until = Instant::now() + REST_LIMIT;
            let mut before: Option<f64> = None;
            while Instant::now() < until {
                let Some(told) = self.query(tried).await? else { return Ok(None) };
                if before.is_some_and(|before| (before - told).abs() < SAME_DEG) {
                    return Ok(Some(told));
                }
                before = Some(told);
                self.wait(LOOK_AGAIN, tried).await?;
            }
        }
        Err(self.no_reply(tried, 2 * (braking + REST_LIMIT)))
    }

    /// Lets time pass, and hears meanwhile whether anything is wrong.
    pub(super) async fn wait(&mut self, time: Duration, tried: &str) -> Result<(), TurntableError> {
        let until = Instant::now() + time;
        while let Some(event) = self.talk.hear(until).await.map_err(|e| self.link_error(e, tried))? {
            if matches!(event.kind, Kind::Fault | Kind::Banner) {
                return Err(self.upset(&event, tried));
            }
        }
        Ok(())
    }
}
