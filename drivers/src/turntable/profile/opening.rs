//! How a conversation begins: stop, then who is there, then what is set up. Nothing moves.

use tokio::time::Instant;

use super::bearings::Bearings;
use super::conversation::{Answer, Conversation};
use super::model::{Model, Question};
use super::reply::{Event, Kind, Replies};
use super::table::ProfileTable;
use super::template::Template;
use super::{NAME, Own, wrong};
use crate::link::{Link, LinkError};
use crate::tried::is_tried;
use crate::turntable::{Direction, Opened, TurntableError, TurntableInfo, WithoutLink};

/// Speaks to the table at the end of `link` until it is known who it is and that it is ready.
pub(super) async fn begin(own: Own, model: Model, link: Box<dyn Link>) -> Opened {
    let replies = Replies::new(&model.reply).map_err(wrong)?;
    let id = link.name().to_owned();
    let words = model.commands.turn.iter().map(|text| Template::read(text).map_err(wrong));
    let one_way = words.collect::<Result<Vec<_>, _>>()?.iter().any(Template::is_one_way);
    let info = TurntableInfo {
        driver: NAME,
        id,
        model: model.name.clone(),
        home: model.home.as_ref().is_some_and(|home| home.switch || own.trust_zero),
        home_way: Direction::Forward,
        one_way: one_way.then_some(Direction::Forward),
        speed_max: model.limits.fastest_deg_s,
        acceleration: model.limits.acceleration_deg_s2,
        rotates: None,
        sweeps: false,
        stops: true,
        move_limit: std::time::Duration::ZERO,
        firmware: None,
        tilt: model.tilt.as_ref().map(|tilt| (tilt.min_deg, tilt.max_deg)),
        step_deg: None,
        without_link: if model.dead_man { WithoutLink::Halts } else { WithoutLink::EndsMove },
        tried: false,
    };
    let talk = Conversation::new(link, &model, replies);
    let steps_per_rev = own.steps_per_rev.map(f64::from);
    let mut table = ProfileTable {
        talk,
        model,
        own,
        info,
        bearings: Bearings::default(),
        firmware: None,
        steps_per_rev,
        speed: None,
        otherwise: false,
        mute: false,
        journey: None,
        tilted: None,
        returning: None,
        ready: false,
    };
    table.make_ready().await?;
    // What speeds can be asked for is known once it is known who it is.
    let speeds = table.speeds();
    table.info.rotates = speeds.filter(|_| !table.model.commands.rotate.is_empty());
    table.info.sweeps = speeds.is_some() && table.model.tells_in_motion;
    Ok(Box::new(table))
}

impl ProfileTable {
    /// At opening, and again before it moves when it has started anew or fallen silent: it has forgotten what it was told,
    /// and may even be another.
    pub(super) async fn make_ready(&mut self) -> Result<(), TurntableError> {
        self.stop_first().await?;
        self.identify().await?;
        self.set_up().await?;
        self.ready = true;
        Ok(())
    }

    /// A table may still turn from before. Whether it answers is not asked yet: what comes may be the end of the noise
    /// that it made at power-on.
    async fn stop_first(&mut self) -> Result<(), TurntableError> {
        let tried = "stop it first";
        self.talk.pause().await;
        // Nothing that was said before is an answer.
        self.talk.overheard().await.map_err(|e| self.link_error(e, tried))?;
        self.say_stops(tried).await?;
        let answers = if self.model.commands.stop_acked { self.model.commands.stop.len() } else { 0 };
        for _ in 0..answers {
            let until = Instant::now() + self.talk.reply_limit();
            while let Some(event) = self.talk.hear(until).await.map_err(|e| self.link_error(e, tried))? {
                if matches!(event.kind, Kind::Ack | Kind::Done | Kind::Idle) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Nothing moves before the answer is that of such a table.
    async fn identify(&mut self) -> Result<(), TurntableError> {
        let tried = "ask who is there";
        for question in self.model.probe.clone() {
            match self.put(&question, tried).await? {
                Ok(()) => {}
                Err(Answer::Silence(None)) => {
                    let limit = self.talk.reply_limit();
                    return Err(self.no_reply(tried, limit));
                }
                Err(Answer::Silence(Some(found))) => return Err(self.someone_else(found)),
                Err(Answer::Given(event) | Answer::Refused(event) | Answer::Upset(event)) => {
                    return Err(self.someone_else(event.line));
                }
            }
        }
        // By the name that a report of the conformance suite has, too.
        self.info.tried = is_tried(NAME, &self.info.model);
        let of_model = |table: &Self| {
            let steps = table.model.steps.as_ref()?;
            let known = steps.of_model.iter().find(|(name, _)| table.info.model.contains(name.as_str()))?;
            Some(f64::from(*known.1))
        };
        self.steps_per_rev = self.steps_per_rev.or_else(|| of_model(self));
        if self.model.steps.is_some() && self.steps_per_rev.is_none() {
            let what = format!("{} does not tell its steps a turn; add steps_per_rev = N", self.info.model);
            return Err(wrong(what));
        }
        Ok(())
    }

    fn someone_else(&self, found: String) -> TurntableError {
        TurntableError::WrongDevice {
            id: self.info.id.clone(),
            found: format!("\"{}\"", found.escape_debug()),
            wanted: self.model.name.clone(),
        }
    }

    async fn set_up(&mut self) -> Result<(), TurntableError> {
        let tried = "set it up";
        for question in self.model.init.clone() {
            match self.put(&question, tried).await? {
                Ok(()) => {}
                Err(Answer::Silence(_)) => {
                    let limit = self.talk.reply_limit();
                    return Err(self.no_reply(tried, limit));
                }
                Err(Answer::Given(event) | Answer::Refused(event) | Answer::Upset(event)) => {
                    return Err(self.upset(&event, tried));
                }
            }
        }
        if let Some((low, high)) = self.speeds() {
            self.info.speed_max = high;
            let ordinary = self.model.speed.as_ref().map_or(high, |speed| speed.default_deg_s);
            let speed = self.own.speed_deg_s.unwrap_or(ordinary).clamp(low, high);
            if let Some(refusal) = self.set_speed(speed, tried).await? {
                let what = format!("{refusal:?}");
                return Err(TurntableError::Fault {
                    id: self.info.id.clone(),
                    tried: tried.to_owned(),
                    what,
                });
            }
        } else {
            // It turns at its own speed; what was measured is used to know when it is late.
            self.speed = self.own.speed_deg_s;
        }
        if let Some(told) = self.query(tried).await? {
            self.bearings.anchor(told);
        }
        self.info.move_limit = self.budget(360.0);
        Ok(())
    }

    /// Asks one question and takes in what the answers tell; the answer that came instead, if another did.
    async fn put(&mut self, question: &Question, tried: &str) -> Result<Result<(), Answer>, TurntableError> {
        let lost = |table: &mut Self, e: LinkError| table.link_error(e, tried);
        self.talk.say(&question.send).await.map_err(|e| lost(self, e))?;
        for wanted in &question.expect {
            let answer = self.talk.answer(&[*wanted], self.talk.reply_limit()).await;
            match answer.map_err(|e| lost(self, e))? {
                Answer::Given(event) => self.note(&event),
                Answer::Refused(_) if question.or_nack => return Ok(Ok(())),
                // What a board says of itself after a reset is no answer, and no reason to distrust it.
                Answer::Upset(event) if event.kind == Kind::Banner && *wanted != Kind::Banner => {
                    let answer = self.talk.answer(&[*wanted], self.talk.reply_limit()).await;
                    match answer.map_err(|e| lost(self, e))? {
                        Answer::Given(event) => self.note(&event),
                        other => return Ok(Err(other)),
                    }
                }
                other => return Ok(Err(other)),
            }
        }
        Ok(Ok(()))
    }

    fn note(&mut self, event: &Event) {
        if event.kind != Kind::Who {
            return;
        }
        if let Some(model) = &event.model {
            self.info.model = format!("{} {model}", self.model.name);
        }
        if event.firmware.is_some() {
            self.firmware.clone_from(&event.firmware);
            self.info.firmware.clone_from(&event.firmware);
        }
        if self.steps_per_rev.is_none() {
            self.steps_per_rev = event.steps.filter(|steps| *steps >= 4.0);
        }
    }
}
