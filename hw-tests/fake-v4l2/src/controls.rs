//! The knobs of a usual UVC camera: ranges, the rule that an automatic value refuses to be written, and the frames that
//! pass until a change shows.

use std::collections::VecDeque;

use libc::c_int;

use crate::abi::{self, QueryControl};
use crate::plan::Plan;

const INTEGER: u32 = 1;
const BOOLEAN: u32 = 2;
const MENU: u32 = 3;
const CLASS: u32 = 6;
/// An area; programs that think they know every type fall over it.
const RECT: u32 = 0x0107;
const INACTIVE: u32 = 0x10;
const READ_ONLY: u32 = 0x4;

const WHITE_AUTO: u32 = 0x0098_090c;
const WHITE: u32 = 0x0098_091a;
const EXPOSURE_AUTO: u32 = 0x009a_0901;
const EXPOSURE: u32 = 0x009a_0902;
const FOCUS: u32 = 0x009a_090a;
const FOCUS_AUTO: u32 = 0x009a_090c;
/// Modes of exposure that a UVC camera has: manual, and automatic time.
const MODES: [u32; 2] = [1, 3];

struct Knob {
    id: u32,
    kind: u32,
    name: &'static str,
    range: (i32, i32, i32),
    value: i32,
    /// The control that must have this value for it to be written.
    needs: Option<(u32, i32)>,
}

const fn knob(id: u32, kind: u32, name: &'static str, range: (i32, i32, i32), value: i32) -> Knob {
    Knob { id, kind, name, range, value, needs: None }
}

const fn bound(knob: Knob, needs: (u32, i32)) -> Knob {
    Knob { needs: Some(needs), ..knob }
}

fn knobs() -> Vec<Knob> {
    vec![
        knob(0x0098_0001, CLASS, "User Controls", (0, 0, 0), 0),
        knob(0x0098_0900, INTEGER, "Brightness", (0, 255, 1), 128),
        knob(WHITE_AUTO, BOOLEAN, "White Balance, Automatic", (0, 1, 1), 1),
        knob(0x0098_0913, INTEGER, "Gain", (0, 255, 1), 16),
        knob(0x0098_0918, MENU, "Power Line Frequency", (0, 2, 0), 2),
        bound(knob(WHITE, INTEGER, "White Balance Temperature", (2000, 6500, 10), 4650), (WHITE_AUTO, 0)),
        knob(0x009a_0001, CLASS, "Camera Controls", (0, 0, 0), 0),
        knob(EXPOSURE_AUTO, MENU, "Auto Exposure", (0, 3, 0), 3),
        bound(knob(EXPOSURE, INTEGER, "Exposure Time, Absolute", (3, 2047, 1), 20), (EXPOSURE_AUTO, 1)),
        knob(0x009a_0903, BOOLEAN, "Exposure, Dynamic Framerate", (0, 1, 1), 1),
        bound(knob(FOCUS, INTEGER, "Focus, Absolute", (0, 250, 5), 30), (FOCUS_AUTO, 0)),
        knob(FOCUS_AUTO, BOOLEAN, "Focus, Automatic Continuous", (0, 1, 1), 1),
    ]
}

/// What a frame is taken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    pub exposure: i32,
    pub white: i32,
    pub focus: i32,
}

pub struct Controls {
    knobs: Vec<Knob>,
    ignores: Option<String>,
    /// What the frames to come are taken with: changes wait here.
    coming: VecDeque<InForce>,
}

impl Controls {
    pub fn of(plan: &Plan) -> Controls {
        let mut knobs = if plan.controls { knobs() } else { Vec::new() };
        if plan.unknown_type {
            knobs.push(knob(0x009a_0920, RECT, "Region of Interest", (0, 0, 0), 0));
        }
        Controls { knobs, ignores: plan.ignores.clone(), coming: VecDeque::new() }
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.knobs.iter().position(|knob| knob.id == id)
    }

    fn value(&self, id: u32) -> i32 {
        self.at(id).map_or(0, |at| self.knobs[at].value)
    }

    fn is_active(&self, knob: &Knob) -> bool {
        knob.needs.is_none_or(|(other, value)| self.value(other) == value)
    }

    /// Describes a control, or the one after it.
    pub fn query(&self, told: &mut QueryControl) -> Result<(), c_int> {
        let wanted = told.id & !(abi::NEXT_CTRL | abi::NEXT_COMPOUND);
        let next = told.id & abi::NEXT_CTRL != 0;
        let found = self.knobs.iter().find(|knob| if next { knob.id > wanted } else { knob.id == wanted });
        let knob = found.ok_or(libc::EINVAL)?;
        let mut name = [0; 32];
        name[..knob.name.len()].copy_from_slice(knob.name.as_bytes());
        let inactive = if self.is_active(knob) { 0 } else { INACTIVE };
        let class = if knob.kind == CLASS { READ_ONLY } else { 0 };
        *told = QueryControl {
            id: knob.id,
            kind: knob.kind,
            name,
            minimum: knob.range.0,
            maximum: knob.range.1,
            step: knob.range.2,
            default: knob.value,
            flags: inactive | class,
            reserved: [0; 2],
        };
        Ok(())
    }

    /// Whether a menu has an entry.
    pub fn menu(&self, id: u32, index: u32) -> Result<(), c_int> {
        let has = match id {
            EXPOSURE_AUTO => self.at(id).is_some() && MODES.contains(&index),
            _ => self.at(id).is_some_and(|at| self.knobs[at].kind == MENU && index <= 2),
        };
        if has { Ok(()) } else { Err(libc::EINVAL) }
    }

    pub fn get(&self, id: u32) -> Result<i32, c_int> {
        self.at(id)
            .filter(|at| self.knobs[*at].kind <= MENU)
            .map(|at| self.knobs[at].value)
            .ok_or(libc::EINVAL)
    }

    /// Sets a control as a UVC camera lets one; its name.
    pub fn set(&mut self, id: u32, value: i32) -> Result<&'static str, (c_int, &'static str)> {
        let at = self.at(id).ok_or((libc::EINVAL, "unknown"))?;
        let knob = &self.knobs[at];
        let (name, (min, max, step)) = (knob.name, knob.range);
        if !self.is_active(knob) {
            return Err((libc::EACCES, name));
        }
        if knob.kind > MENU || id == EXPOSURE_AUTO && !MODES.contains(&value.unsigned_abs()) {
            return Err((libc::EINVAL, name));
        }
        let step = step.max(1);
        if self.ignores.as_deref() != Some(name) {
            self.knobs[at].value = min + (value.clamp(min, max) - min) / step * step;
        }
        Ok(name)
    }

    /// Begins an exposure: what it is taken with. What is automatic comes half way nearer each time.
    pub fn expose(&mut self, plan: &Plan) -> InForce {
        if let Some(at) = self.at(EXPOSURE).filter(|_| self.value(EXPOSURE_AUTO) != 1) {
            let way = plan.metered - self.knobs[at].value;
            self.knobs[at].value += if way.abs() > 1 { way / 2 } else { way };
        }
        if let Some(at) = self.at(WHITE).filter(|_| self.value(WHITE_AUTO) == 1) {
            self.knobs[at].value = plan.white;
        }
        let (exposure, white, focus) = (self.value(EXPOSURE), self.value(WHITE), self.value(FOCUS));
        self.coming.push_back(InForce { exposure, white, focus });
        let first = self.coming[0];
        if self.coming.len() > plan.latency {
            self.coming.pop_front();
        }
        first
    }
}
