//! The speed of a table, in whatever it takes it.

use super::conversation::Answer;
use super::model::SpeedUnit;
use super::reply::Kind;
use super::table::ProfileTable;
use super::template::Values;
use crate::turntable::{Moved, TurntableError};

impl ProfileTable {
    /// Sets the speed of the next motions. It counts from the moment at which the table has taken it.
    pub(super) async fn set_speed(
        &mut self,
        deg_s: f64,
        tried: &str,
    ) -> Result<Option<Moved>, TurntableError> {
        let (value, deg_s) = self.nearest(deg_s);
        let Some(command) = self.model.speed.as_ref().and_then(|speed| speed.command.clone()) else {
            self.speed = Some(deg_s);
            return Ok(None);
        };
        let command = self.template(&command)?.fill(&Values { speed: value, ..Values::default() });
        if !self.model.commands.acked {
            self.talk.say(&command).await.map_err(|e| self.link_error(e, tried))?;
            self.speed = Some(deg_s);
            return Ok(None);
        }
        match self.talk.ask(&command, &[Kind::Ack]).await.map_err(|e| self.link_error(e, tried))? {
            Answer::Given(_) => {
                self.speed = Some(deg_s);
                Ok(None)
            }
            Answer::Refused(event) => Ok(Some(self.refused(&event))),
            Answer::Upset(event) => Err(self.upset(&event, tried)),
            Answer::Silence(_) => {
                let limit = self.talk.reply_limit();
                Err(self.no_reply(tried, limit))
            }
        }
    }

    /// Degrees a second as the table takes them.
    pub(super) fn in_unit(&self, deg_s: f64) -> f64 {
        self.nearest(deg_s).0
    }

    /// The speed next to `deg_s` that the table has: as it takes it, and in degrees a second.
    fn nearest(&self, deg_s: f64) -> (f64, f64) {
        let value = match self.model.speed.as_ref().map(|speed| speed.unit) {
            None | Some(SpeedUnit::DegPerS) => deg_s,
            Some(SpeedUnit::DegPerMin) => deg_s * 60.0,
            Some(SpeedUnit::SPerRev) => 360.0 / deg_s,
            Some(SpeedUnit::StepsPerS) => deg_s * self.steps_per_rev.unwrap_or(360.0) / 360.0,
            Some(SpeedUnit::Level) => {
                let off = |(_, speed): &&(u32, f64)| (speed - deg_s).abs();
                let nearest = self.levels().iter().min_by(|a, b| off(a).total_cmp(&off(b)));
                return nearest.map_or((0.0, deg_s), |(level, speed)| (f64::from(*level), *speed));
            }
        };
        (value, deg_s)
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

    pub(super) fn wrong_speed(&self, speed: f64) -> Option<String> {
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
}
