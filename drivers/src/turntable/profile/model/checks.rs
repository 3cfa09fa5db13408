//! What a profile may say.

use super::super::reply::{Kind, Replies};
use super::super::template::Template;
use super::{Model, SCHEMA, Way};

impl Model {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema = {} is not {SCHEMA}, the only one this build knows", self.schema));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || self.id.len() > 40 || !self.id.chars().all(plain) {
            return Err("id is 1 to 40 lower case letters, digits and dashes".to_owned());
        }
        self.framing.check()?;
        Replies::new(&self.reply)?;
        self.check_numbers()?;
        self.check_commands()?;
        if self.completion.last().is_none_or(|last| last.when_fw_at_least.is_some()) {
            return Err(
                "the last [[completion]] has no when_fw_at_least, for every other firmware".to_owned()
            );
        }
        let polls = self.completion.iter().any(|c| c.kind == Way::Poll || c.then_query);
        if polls && self.commands.query.is_none() {
            return Err("a [[completion]] that asks needs commands.query".to_owned());
        }
        let places = [Kind::Pos, Kind::Moving];
        if self.tells_in_motion && !self.reply.iter().any(|reply| places.contains(&reply.event)) {
            return Err("tells_in_motion = true needs a [[reply]] of event \"pos\" or \"moving\"".to_owned());
        }
        match &self.heartbeat {
            Some(beat)
                if beat.hear.len() != 1
                    || !beat.hear.is_ascii()
                    || !self.framing.ignore.contains(&beat.hear) =>
            {
                Err("heartbeat.hear is one ASCII character that framing.ignore holds".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), String> {
        let limits = &self.limits;
        within("limits.max_deg", limits.max_deg, 0.1, 100_000.0)?;
        within("limits.step_deg", limits.step_deg, 0.0, 90.0)?;
        within("limits.fastest_deg_s", limits.fastest_deg_s, 0.1, 3600.0)?;
        within("limits.slowest_deg_s", limits.slowest_deg_s, 0.01, limits.fastest_deg_s)?;
        within("limits.acceleration_deg_s2", limits.acceleration_deg_s2, 0.1, 100_000.0)?;
        within("limits.tolerance_deg", limits.tolerance_deg, 0.001, 10.0)?;
        within("limits.min_gap_ms", limits.min_gap_ms as f64, 0.0, 5000.0)?;
        within("limits.reply_ms", limits.reply_ms as f64, 50.0, 60_000.0)?;
        if limits.max_steps == Some(0) {
            return Err("limits.max_steps = 0 would move nothing".to_owned());
        }
        if let Some(speed) = &self.speed {
            within("speed.max_deg_s", speed.max_deg_s, 0.01, 3600.0)?;
            within("speed.min_deg_s", speed.min_deg_s, 0.01, speed.max_deg_s)?;
            within("speed.default_deg_s", speed.default_deg_s, speed.min_deg_s, speed.max_deg_s)?;
        }
        if let Some(tilt) = &self.tilt {
            within("tilt.min_deg", tilt.min_deg, -180.0, 0.0)?;
            within("tilt.max_deg", tilt.max_deg, 0.0, 180.0)?;
            within("tilt.deg_per_s", tilt.deg_per_s, 0.1, 360.0)?;
        }
        for completion in &self.completion {
            within("completion.interval_ms", completion.interval_ms as f64, 20.0, 10_000.0)?;
            within("completion.startup_ms", completion.startup_ms as f64, 0.0, 60_000.0)?;
        }
        Ok(())
    }

    fn check_commands(&self) -> Result<(), String> {
        let commands = &self.commands;
        let mut templates = Vec::new();
        for text in commands.turn.iter().chain(&commands.move_otherwise).chain(&commands.rotate) {
            templates.push(Template::read(text)?);
        }
        if commands.turn.is_empty() || commands.stop.is_empty() {
            return Err("commands.move and commands.stop must each hold a command".to_owned());
        }
        let others = [
            self.speed.as_ref().and_then(|speed| speed.command.as_ref()),
            self.tilt.as_ref().map(|tilt| &tilt.command),
        ];
        for text in others.into_iter().flatten() {
            Template::read(text)?;
        }
        let fixed = commands.stop.iter().chain(&commands.query).chain(&commands.ask);
        let fixed = fixed.chain(self.home.as_ref().map(|home| &home.command));
        let questions = self.probe.iter().chain(&self.init).map(|question| &question.send);
        for text in fixed.chain(questions) {
            if !Template::read(text)?.is_fixed() {
                return Err(format!("\"{text}\" is sent as it is and has no room for {{…}}"));
            }
        }
        if templates.iter().any(Template::counts_steps) && self.steps.is_none() {
            return Err("a command in steps needs [steps]".to_owned());
        }
        if templates.iter().any(Template::tells_speed) && self.speed.is_none() {
            return Err("a command with {speed} needs [speed]".to_owned());
        }
        Ok(())
    }
}

fn within(key: &str, value: f64, low: f64, high: f64) -> Result<(), String> {
    match (low..=high).contains(&value) {
        true => Ok(()),
        false => Err(format!("{key} = {value} is not in {low} to {high}")),
    }
}
