//! The frames of one session, as far as a frame is judged by the others: what has changed, and what should not have.
//!
//! One [`Turn`] serves all cameras of a session. It is asked before a frame is kept ([`Turn::judge`]) and told after
//! ([`Turn::remember`]), so a frame that is refused leaves no trace. Each camera's first accepted frame is what light,
//! colour and backdrop are compared with; what changes from frame to frame is taken for the subject, unless a clean
//! plate says better. Frames from before a restart are known by their hashes only, and the rest begins anew.

use std::collections::BTreeMap;

use turnstage_drivers::Angle;

use super::dirt::Stays;
use super::duplicate::Seen;
use super::still::{Change, Steps, change};
use super::{Finding, Limits, banding, drift, framing, loop_closure, still};
use crate::cells::{Cells, Subject};
use crate::examiner::{Examined, Picture};

/// Frames of a camera whose cells are kept beside the first one: a whole turn of most recipes, at 25 kB each.
const KEPT_MAX: usize = 80;
/// A cell that changed by more than this between two frames, beyond the noise, has turned.
const TURNED_LEVELS_MIN: f64 = 6.0;
/// Steps after which what has turned is taken for the subject.
const STEPS_FOR_SUBJECT: usize = 3;
/// A cell differs from a clean plate by more than this where the subject is.
const PLATE_LEVELS_MIN: f64 = 10.0;

/// Which frame is meant.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The camera's name.
    pub camera: &'a str,
    /// Place in the plan, from 0.
    pub shot: u32,
    /// How a person would call the frame ("frame 12 of main"); names it in sentences about others.
    pub label: &'a str,
    /// Where the table stands. Without one, as in stills, frames are not compared with each other, except for exact
    /// duplicates.
    pub angle: Option<Angle>,
}

/// What is known of the frames of one session.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    seen: Seen,
    views: BTreeMap<String, View>,
}

/// One camera's frames.
#[derive(Debug, Clone, Default)]
struct View {
    plate: Option<Cells>,
    /// What differs from the plate in the frame accepted last.
    latest: Option<Subject>,
    /// Shot and cells of the first accepted frame.
    first: Option<(u32, Cells)>,
    /// Cells by shot.
    kept: BTreeMap<u32, Cells>,
    /// How often each cell changed by a step.
    turned: Vec<u16>,
    /// Mean changes by one step, in the order of the frames.
    steps: Vec<f64>,
    /// How much more two steps change than the second of them.
    growths: Vec<f64>,
    stays: Stays,
}

impl Turn {
    /// Gives a camera's picture of the empty table.
    pub fn clean_plate(&mut self, camera: &str, cells: Cells) {
        self.views.entry(camera.to_owned()).or_default().plate = Some(cells);
    }

    /// Where the subject is in a camera's pictures, as far as it is known: what differs from the clean plate in the frame
    /// accepted last, else what has turned so far.
    pub fn subject(&self, camera: &str) -> Option<Subject> {
        let view = self.views.get(camera)?;
        view.latest.clone().or_else(|| view.swept())
    }

    /// Steps of the table that are known from pictures, of the camera that knows most.
    pub fn steps(&self) -> usize {
        self.views.values().map(|view| view.steps.len()).max().unwrap_or(0)
    }

    /// Findings that need the other frames. `picture` is of `place`; it is not remembered.
    pub fn judge(&self, place: &Place<'_>, examined: &Examined, limits: &Limits) -> Vec<Finding> {
        let copies = self.seen.check(place.label, examined, limits);
        let (Some(picture), Some(view)) = (&examined.picture, self.views.get(place.camera)) else {
            return copies;
        };
        // A copy of another frame says nothing about table or light, nor does one that is half there.
        let has = |findings: &[Finding], rule: super::Rule| findings.iter().any(|f| f.rule == rule.id);
        let says_nothing = has(&copies, super::DUPLICATE) || has(&examined.findings, super::CORRUPT);
        if says_nothing || place.angle.is_none() {
            return copies;
        }
        let mut findings = view.judge(place, picture, limits);
        findings.extend(copies);
        findings
    }

    /// What a closing frame at 360 degrees says about the turn, against the first frame of its camera.
    pub fn judge_closing(&self, camera: &str, examined: &Examined, limits: &Limits) -> Option<Finding> {
        let view = self.views.get(camera)?;
        let (picture, (_, first)) = (examined.picture.as_ref()?, view.first.as_ref()?);
        if !first.is_like(&picture.cells) {
            return None;
        }
        loop_closure::judge(change(&picture.cells, first), &view.steps, limits)
    }

    /// Remembers an accepted frame; what was remembered of the same place before is replaced.
    pub fn remember(&mut self, place: &Place<'_>, examined: &Examined, limits: &Limits) {
        self.seen.remember(place.label, examined);
        if let (Some(picture), Some(angle)) = (&examined.picture, place.angle) {
            let view = self.views.entry(place.camera.to_owned()).or_default();
            view.add(place.shot, angle, picture, limits);
        }
    }

    /// Remembers a frame by what was stored about it, for example after a restart in the middle of a session.
    pub fn recall(&mut self, label: &str, sha256: [u8; 32], phash: Option<u64>) {
        self.seen.recall(label, sha256, phash);
    }
}

impl View {
    fn judge(&self, place: &Place<'_>, picture: &Picture, limits: &Limits) -> Vec<Finding> {
        let cells = &picture.cells;
        let Some((_, first)) = self.first.as_ref().filter(|(_, first)| first.is_like(cells)) else {
            // A plate says from the first frame on where the subject is.
            let subject = self.plate_for(cells).and_then(|plate| against(plate, cells));
            return subject.and_then(|subject| framing::judge(&subject, limits)).into_iter().collect();
        };
        let mut findings = Vec::new();
        let wants = |rules: &[super::Rule]| rules.iter().any(|rule| !limits.is_off(rule));
        let is_still = |k: usize| self.is_still(k);
        let flicker =
            wants(&[super::BANDING]).then(|| banding::judge(cells, first, is_still, limits)).flatten();
        // Stripes also shift the light as a whole.
        if flicker.is_none() && wants(&[super::LIGHT_DRIFT, super::COLOUR_DRIFT]) {
            findings.extend(drift::judge(cells, first, is_still, limits));
        }
        findings.extend(flicker);
        // Under another light everything has changed, and the table has no part in it.
        let table = findings.is_empty() && wants(&[super::NOT_MOVED, super::TWICE]);
        let before = self.before(place.shot, 1).filter(|before| table && before.is_like(cells));
        if let Some(changed) = before.map(|before| change(cells, before)) {
            let other = format!("frame {}", place.shot);
            findings.extend(still::not_moved(changed, picture, &other, limits));
            let steps = self.steps_to(place.shot, cells, changed);
            findings.extend(steps.and_then(|steps| still::twice(steps, &self.growths, limits)));
        }
        if wants(&[super::FRAMING]) {
            findings.extend(self.subject_in(cells).and_then(|subject| framing::judge(&subject, limits)));
        }
        if wants(&[super::DIRT, super::DEAD_PIXELS]) {
            // A speck that falls on the lens changes its cells once.
            let stands = |k: usize| self.turned.get(k).is_none_or(|&times| times <= 1);
            findings.extend(self.stays.judge((cells, &picture.points), stands, limits));
        }
        findings
    }

    /// Cells of the shot `steps` before `shot`.
    fn before(&self, shot: u32, steps: u32) -> Option<&Cells> {
        self.kept.get(&shot.checked_sub(steps)?)
    }

    fn is_still(&self, k: usize) -> bool {
        self.turned.get(k).is_none_or(|&times| times == 0)
    }

    /// What has changed between frames.
    fn swept(&self) -> Option<Subject> {
        let (_, first) = self.first.as_ref()?;
        if self.steps.len() < STEPS_FOR_SUBJECT {
            return None;
        }
        Subject::new(first.size(), self.turned.iter().map(|&times| times > 0).collect())
    }

    fn plate_for(&self, cells: &Cells) -> Option<&Cells> {
        self.plate.as_ref().filter(|plate| plate.is_like(cells))
    }

    /// Where the subject is in this picture: what differs from the clean plate, else what has turned so far.
    fn subject_in(&self, cells: &Cells) -> Option<Subject> {
        match self.plate_for(cells) {
            Some(plate) => against(plate, cells),
            None => self.swept(),
        }
    }

    fn add(&mut self, shot: u32, angle: Angle, picture: &Picture, limits: &Limits) {
        let cells = &picture.cells;
        self.latest = self.plate_for(cells).and_then(|plate| against(plate, cells));
        if self.first.as_ref().is_none_or(|(known, first)| *known == shot || !first.is_like(cells)) {
            self.first = Some((shot, cells.clone()));
        }
        self.turned.resize(cells.luma().len(), 0);
        // A retake replaces a frame that was counted already.
        if !self.kept.contains_key(&shot) {
            let before = self.before(shot, 1).filter(|before| before.is_like(cells)).cloned();
            if let Some(before) = before {
                self.add_step(shot, cells, &before);
            }
            if !limits.is_off(&super::DIRT) || !limits.is_off(&super::DEAD_PIXELS) {
                self.stays.add((cells, &picture.points), angle, limits.dirt_part_max);
            }
        }
        self.kept.insert(shot, cells.clone());
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_first();
        }
    }

    fn add_step(&mut self, shot: u32, cells: &Cells, before: &Cells) {
        let changed = change(cells, before);
        self.growths.extend(self.steps_to(shot, cells, changed).map(|steps| steps.growth()));
        self.steps.push(changed.mean);
        for (times, level) in self.turned.iter_mut().zip(cells.differences(before, changed.gain)) {
            *times = times.saturating_add(u16::from(level > TURNED_LEVELS_MIN));
        }
    }

    /// The last two steps to `shot`, which changed by `last` since the shot before.
    fn steps_to(&self, shot: u32, cells: &Cells, last: Change) -> Option<Steps> {
        let (before, two) = (self.before(shot, 1)?, self.before(shot, 2).filter(|two| two.is_like(cells))?);
        let [former, both] = [before, cells].map(|to| change(to, two).mean);
        Some(Steps { last: last.mean, former, both })
    }
}

/// What differs from the clean plate, whose light may have been another.
fn against(plate: &Cells, cells: &Cells) -> Option<Subject> {
    let gain = cells.gain_over(plate, |_| true).unwrap_or(1.0);
    let differs = cells.differences(plate, gain).map(|level| level > PLATE_LEVELS_MIN);
    Subject::new(cells.size(), differs.collect())
}

#[cfg(test)]
mod tests;
