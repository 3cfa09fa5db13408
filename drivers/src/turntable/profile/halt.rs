//! How a table is halted, and where it has come to then.

use std::time::Duration;

use tokio::time::Instant;

use super::conversation::Answer;
use super::reply::{Event, Kind};
use super::table::{Journey, ProfileTable};
use crate::turntable::{Moved, Position, TurntableError};

impl ProfileTable {
    /// Hands every stop over, then waits for the answers; once more if there is none. A stop may be sent twice.
    pub(super) async fn send_stops(&mut self, tried: &str) -> Result<Option<Event>, TurntableError> {
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

    pub(super) fn stopped(&self) -> Moved {
        match self.bearings.position() {
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        }
    }

    /// A stop after a motion that went wrong; whether it is answered changes nothing any more.
    pub(super) async fn halt(&mut self, tried: &str) -> Result<(), TurntableError> {
        for stop in self.model.commands.stop.clone() {
            self.talk.say_now(&stop).await.map_err(|e| self.link_error(e, tried))?;
        }
        Ok(())
    }
}
