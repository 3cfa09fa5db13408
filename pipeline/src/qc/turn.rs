//! The frames of one session, as far as a frame is judged by the others: what has changed, and what should not have.
//!
//! One [`Turn`] serves all cameras of a session. It is asked before a frame is kept ([`Turn::judge`]) and told after
//! ([`Turn::remember`]), so a frame that is refused leaves no trace. Each camera's first accepted frame is what light,
//! colour and backdrop are compared with; what changes from frame to frame is taken for the subject, unless a clean
//! plate says better. Frames from before a restart are known by their hashes only, and the rest begins anew.

use std::collections::{BTreeMap, BTreeSet};

use turnstage_drivers::Angle;

use super::dirt::Stays;
use super::duplicate::{self, Other, Seen};
use super::still::{Change, Steps, change};
use super::{Finding, Limits, banding, drift, framing, loop_closure, still};
use crate::cells::{Cells, Subject};
use crate::examiner::{Examined, Picture};

/// Frames of a camera that are kept beside the first one: a whole turn of most recipes, at 25 kB each.
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
    /// The latest frames by shot.
    kept: BTreeMap<u32, Kept>,
    /// Shots at which the object stood as at the shot before, though it should have turned.
    stood: BTreeSet<u32>,
    /// How often each cell changed by a step.
    turned: Vec<u16>,
    /// Mean changes by one step, in the order of the frames.
    steps: Vec<f64>,
    /// How much more two steps change than the second of them.
    growths: Vec<f64>,
    stays: Stays,
}

/// One frame, as others are compared with it.
#[derive(Debug, Clone)]
struct Kept {
    label: String,
    angle: Angle,
    phash: u64,
    cells: Cells,
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
        if let Some(copy) = self.seen.check(place.label, examined.sha256, limits) {
            // A copy of another frame says nothing about table or light.
            return vec![copy];
        }
        let view = self.views.get(place.camera);
        match (whole(examined), place.angle, view) {
            (Some(picture), Some(angle), Some(view)) => view.judge(place, angle, picture, limits),
            _ => Vec::new(),
        }
    }

    /// What a closing frame at 360 degrees says about the turn, against the first frame of its camera. `None` where they
    /// cannot be compared: one of them is missing or damaged, no step is known, or the object looks the same from all
    /// sides.
    pub fn judge_closing(&self, camera: &str, examined: &Examined, limits: &Limits) -> Option<Vec<Finding>> {
        let view = self.views.get(camera)?;
        let (picture, (_, first)) = (whole(examined)?, view.first.as_ref()?);
        if limits.symmetric || view.steps.is_empty() || !first.is_like(&picture.cells) {
            return None;
        }
        let changed = change(&picture.cells, first);
        Some(loop_closure::judge(picture, changed, &view.steps, limits).into_iter().collect())
    }

    /// Remembers an accepted frame; what was remembered of the same place before is replaced.
    pub fn remember(&mut self, place: &Place<'_>, examined: &Examined, limits: &Limits) {
        self.seen.remember(place.label, examined.sha256);
        if let (Some(picture), Some(angle)) = (whole(examined), place.angle) {
            let view = self.views.entry(place.camera.to_owned()).or_default();
            view.add(place, angle, picture, limits);
        }
    }

    /// The object stood as at the shot before: what it looked like there is what the next frame must differ from.
    pub fn stood(&mut self, place: &Place<'_>) {
        self.views.entry(place.camera.to_owned()).or_default().stood.insert(place.shot);
    }

    /// Remembers the bytes of a frame that is not measured by, or was stored before a restart.
    pub fn recall(&mut self, label: &str, sha256: [u8; 32]) {
        self.seen.remember(label, sha256);
    }
}

/// The picture, unless half of it is missing: then it says nothing about light or table.
fn whole(examined: &Examined) -> Option<&Picture> {
    let is_damaged = examined.findings.iter().any(|finding| finding.rule == super::CORRUPT.id);
    examined.picture.as_ref().filter(|_| !is_damaged)
}

impl View {
    fn judge(&self, place: &Place<'_>, angle: Angle, picture: &Picture, limits: &Limits) -> Vec<Finding> {
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
        let table = match findings.is_empty() {
            true => self.table(place.shot, angle, picture, limits),
            false => Vec::new(),
        };
        // A table that stood still is not hinted at a second time.
        if table.iter().all(|finding| finding.rule != super::NOT_MOVED.id) {
            let others = self.kept.iter().filter(|(shot, _)| **shot != place.shot);
            let others =
                others.map(|(_, Kept { label, phash, cells, .. })| Other { label, phash: *phash, cells });
            findings.extend(duplicate::near(picture, others, limits));
        }
        findings.extend(table);
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

    /// Findings about the step to `shot`.
    fn table(&self, shot: u32, angle: Angle, picture: &Picture, limits: &Limits) -> Vec<Finding> {
        let cells = &picture.cells;
        let off = limits.is_off(&super::NOT_MOVED) && limits.is_off(&super::TWICE);
        let Some(before) = self.stands_as(shot, cells).filter(|_| !off) else { return Vec::new() };
        let changed = change(cells, &before.cells);
        let stood = still::not_moved(changed, picture, &before.label, limits);
        let steps = self.steps_to(shot, angle, cells, changed);
        let twice = steps.and_then(|steps| still::twice(steps, &self.growths, limits));
        stood.into_iter().chain(twice).collect()
    }

    /// What the object looked like before the step to `shot`, if it can be compared with these cells.
    fn stands_as(&self, shot: u32, cells: &Cells) -> Option<&Kept> {
        let mut before = shot.checked_sub(1)?;
        while !self.kept.contains_key(&before) && self.stood.contains(&before) {
            before = before.checked_sub(1)?;
        }
        self.kept.get(&before).filter(|before| before.cells.is_like(cells))
    }

    /// The shot `steps` before `shot`, if it can be compared with these cells.
    fn before(&self, shot: u32, steps: u32, cells: &Cells) -> Option<&Kept> {
        self.kept.get(&shot.checked_sub(steps)?).filter(|before| before.cells.is_like(cells))
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

    fn add(&mut self, place: &Place<'_>, angle: Angle, picture: &Picture, limits: &Limits) {
        let (shot, cells) = (place.shot, &picture.cells);
        self.latest = self.plate_for(cells).and_then(|plate| against(plate, cells));
        if self.first.as_ref().is_none_or(|(known, first)| *known == shot || !first.is_like(cells)) {
            self.first = Some((shot, cells.clone()));
        }
        self.turned.resize(cells.luma().len(), 0);
        // A retake replaces a frame that was counted already.
        if !self.kept.contains_key(&shot) {
            self.add_step(shot, angle, cells);
            if !limits.is_off(&super::DIRT) || !limits.is_off(&super::DEAD_PIXELS) {
                self.stays.add((cells, &picture.points), angle, limits.dirt_part_max);
            }
        }
        let label = place.label.to_owned();
        self.kept.insert(shot, Kept { label, angle, phash: picture.phash, cells: cells.clone() });
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_first();
        }
    }

    fn add_step(&mut self, shot: u32, angle: Angle, cells: &Cells) {
        let Some(before) = self.before(shot, 1, cells) else { return };
        let changed = change(cells, &before.cells);
        let turned: Vec<bool> =
            cells.differences(&before.cells, changed.gain).map(|level| level > TURNED_LEVELS_MIN).collect();
        let growth = self.steps_to(shot, angle, cells, changed).map(|steps| steps.growth());
        self.growths.extend(growth);
        self.steps.push(changed.mean);
        for (times, turned) in self.turned.iter_mut().zip(turned) {
            *times = times.saturating_add(u16::from(turned));
        }
    }

    /// The last two steps to `shot`, which changed by `last` since the shot before; `None` where they were not meant to
    /// be equally far, as where one row of a recipe ends and another begins.
    fn steps_to(&self, shot: u32, angle: Angle, cells: &Cells, last: Change) -> Option<Steps> {
        const EQUAL_DEG: f64 = 0.1;
        let (before, two) = (self.before(shot, 1, cells)?, self.before(shot, 2, cells)?);
        let (step, former_step) = (angle.distance(before.angle), before.angle.distance(two.angle));
        let [former, both] = [&before.cells, cells].map(|to| change(to, &two.cells).mean);
        let equal = (step - former_step).abs() < EQUAL_DEG;
        equal.then_some(Steps { last: last.mean, former, both })
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
