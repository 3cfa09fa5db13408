//! The second axis.

use std::time::Duration;

use tokio::time::Instant;

use super::conversation::Answer;
use super::motion::{GRACE, LOOK_AGAIN};
use super::reply::Kind;
use super::table::{ProfileTable, refused};
use super::template::Values;
use crate::turntable::{Moved, TurntableError};

impl ProfileTable {
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
        let time = Duration::from_secs_f64(way / tilt.deg_per_s) + Duration::from_millis(tilt.startup_ms);
        self.wait(time, tried).await?;
        if let Some(query) = &tilt.query
            && !self.has_tilted(query, degrees, tried).await?
        {
            return Ok(Moved::OutcomeUnknown);
        }
        self.tilted = Some(degrees);
        Ok(Moved::Done(self.bearings.angle()))
    }

    /// Asks until it says that it is tilted so far, or for as long as it may be late. It can be asked, so that no answer
    /// is none that it stands.
    async fn has_tilted(&mut self, query: &str, degrees: f64, tried: &str) -> Result<bool, TurntableError> {
        let until = Instant::now() + GRACE;
        loop {
            let told = match self.ask_place(query, &[Kind::Pos], tried).await? {
                Answer::Given(event) => event.pos,
                Answer::Upset(event) => return Err(self.upset(&event, tried)),
                Answer::Refused(_) | Answer::Silence(_) => None,
            };
            let there = told.is_some_and(|told| (told - degrees).abs() <= self.model.limits.tolerance_deg);
            if there || Instant::now() >= until {
                return Ok(there);
            }
            self.wait(LOOK_AGAIN, tried).await?;
        }
    }
}
