//! Time: motions run, end, are held and go wrong, each at its own moment.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::sim::motion::Profile;

use super::{Controller, Fault, PLANNER_MAX, State, THINKING, Told};

/// A motion that waits or runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) axis: usize,
    pub(super) deg: f64,
    /// Degrees a second.
    pub(super) speed: f64,
    pub(super) acceleration: f64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Feed,
    Jog,
    Home,
}

/// A motion that runs.
#[derive(Debug, Clone)]
pub(super) struct Run {
    block: Block,
    profile: Profile,
    begun: Instant,
    /// It slows down to a hold; so many degrees were left before that.
    braking: Option<f64>,
}

impl Run {
    pub(super) fn axis(&self) -> usize {
        self.block.axis
    }

    /// Degrees since it began, and degrees a second.
    pub(super) fn gone(&self, now: Instant) -> (f64, f64) {
        self.profile.at(now.duration_since(self.begun).as_secs_f64())
    }

    /// Degrees from its beginning to its end.
    pub(super) fn whole(&self) -> f64 {
        self.profile.distance()
    }

    fn end(&self) -> Instant {
        self.begun + Duration::from_secs_f64(self.profile.seconds())
    }

    /// When it has gone `deg`, if it ever does.
    fn when(&self, deg: f64) -> Option<Instant> {
        let (mut early, mut late) = (0.0, self.profile.seconds());
        if self.profile.distance().abs() < deg {
            return None;
        }
        for _ in 0..50 {
            let middle = (early + late) / 2.0;
            match self.profile.at(middle).0.abs() < deg {
                true => early = middle,
                false => late = middle,
            }
        }
        Some(self.begun + Duration::from_secs_f64(late))
    }
}

/// What is due next.
enum Due {
    Booted,
    Line,
    Ended,
    Dwelt,
    Failed(Fault),
}

impl Controller {
    /// Does everything that is due up to `now`, in its order.
    pub(super) fn catch_up(&mut self, now: Instant) {
        while let Some((at, due)) = self.due().filter(|(at, _)| *at <= now) {
            self.now = at.max(self.now);
            match due {
                Due::Booted => {
                    self.booted_at = None;
                    self.greet();
                }
                Due::Line => self.obey(),
                Due::Ended => self.ended(),
                Due::Dwelt => {
                    self.dwell = None;
                    self.answer("ok");
                    self.listen();
                }
                Due::Failed(fault) => self.failed(fault),
            }
        }
        self.now = now.max(self.now);
    }

    fn due(&self) -> Option<(Instant, Due)> {
        if let Some(at) = self.booted_at {
            return Some((at, Due::Booted));
        }
        if self.hung {
            return None;
        }
        let held = matches!(self.state, State::Hold(_));
        let line = self.line_at.filter(|_| !held && self.dwell.is_none() && self.planner.len() < PLANNER_MAX);
        let dwelt = self.dwell.and_then(|(_, ends)| ends);
        let mut all: Vec<_> = line.map(|at| (at, Due::Line)).into_iter().collect();
        all.extend(dwelt.map(|at| (at, Due::Dwelt)));
        if let Some(run) = &self.run {
            if self.state != State::Hold(true) {
                all.push((run.end(), Due::Ended));
            }
            all.extend(self.faults.iter().filter_map(|fault| {
                let deg = match fault {
                    Fault::RebootAfter(deg) | Fault::HangAfter(deg) => deg,
                    Fault::LimitAfter(deg) | Fault::BlockAfter(deg) => deg,
                    Fault::LoseAnswer(_) => return None,
                };
                Some((run.when(*deg)?, Due::Failed(*fault)))
            }));
        }
        all.into_iter().min_by_key(|(at, _)| *at)
    }

    fn failed(&mut self, fault: Fault) {
        self.faults.retain(|other| *other != fault);
        match fault {
            Fault::RebootAfter(_) => self.reboot(),
            Fault::HangAfter(_) => {
                self.halt();
                self.hung = true;
            }
            Fault::LimitAfter(_) => {
                self.halt();
                self.planner.clear();
                self.dwell = None;
                self.alarm(1);
            }
            Fault::BlockAfter(_) => {
                // Where it is blocked, it stays; the motor counts on from here.
                if let Some(run) = &self.run {
                    self.truly[run.axis()] += run.gone(self.now).0;
                }
                self.blocked = true;
            }
            Fault::LoseAnswer(_) => {}
        }
    }

    /// Takes a motion into the planner.
    pub(super) fn plan(&mut self, block: Block) {
        if block.kind != Kind::Home {
            self.told.push(Told { axis: block.axis, deg: block.deg });
        }
        self.planner.push_back(block);
        self.begin();
    }

    /// Begins what waits, if nothing runs.
    fn begin(&mut self) {
        if self.run.is_some() || !matches!(self.state, State::Idle | State::Run | State::Jog | State::Home) {
            return;
        }
        let Some(block) = self.planner.pop_front() else {
            self.state = State::Idle;
            if let Some((length, ends @ None)) = &mut self.dwell {
                *ends = Some(self.now + *length);
            }
            return;
        };
        self.state = match block.kind {
            Kind::Feed => State::Run,
            Kind::Jog => State::Jog,
            Kind::Home => State::Home,
        };
        let profile = Profile::travel(block.deg, block.speed, block.acceleration);
        self.run = Some(Run { block, profile, begun: self.now, braking: None });
    }

    /// A dwell waits for what was taken before it.
    pub(super) fn dwell(&mut self, length: Duration) {
        self.dwell = Some((length, None));
        self.begin();
    }

    fn ended(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.book(run.axis(), run.profile.distance());
        let Some(left) = run.braking else {
            if run.block.kind == Kind::Home {
                return self.homed(run.axis());
            }
            return self.begin();
        };
        let left = left - run.profile.distance();
        if run.block.kind == Kind::Jog {
            self.planner.clear();
            self.state = State::Idle;
            return self.begin();
        }
        self.state = State::Hold(true);
        if left.abs() > 1e-6 {
            self.planner.push_front(Block { deg: left, ..run.block });
        }
    }

    fn homed(&mut self, axis: usize) {
        if self.knobs.no_switch {
            return self.alarm(9);
        }
        self.counted[axis] = 0.0;
        self.state = State::Idle;
        self.answer("ok");
        self.listen();
    }

    /// Looks for the switch of the first axis, which sits where the platter truly is at 0.
    pub(super) fn home(&mut self) {
        let deg = (-self.truly[0]).rem_euclid(360.0);
        let (speed, acceleration) = (self.setting(25).max(60.0) / 60.0, self.setting(120));
        self.state = State::Home;
        self.plan(Block { axis: 0, deg, speed, acceleration, kind: Kind::Home });
    }

    pub(super) fn hold(&mut self) {
        match (self.state, &mut self.run) {
            (State::Idle, _) => self.state = State::Hold(true),
            (State::Run | State::Jog, Some(run)) => {
                let (gone, speed) = run.gone(self.now);
                let left = run.profile.distance() - gone;
                let (axis, block) = (run.axis(), run.block);
                // Near its end it is slowing down already, and as fast as it can.
                let brake = Profile::halt(speed, block.acceleration);
                *run = Run { block, profile: brake, begun: self.now, braking: Some(left) };
                self.book(axis, gone);
                if self.state == State::Run {
                    self.state = State::Hold(false);
                }
            }
            _ => {}
        }
    }

    pub(super) fn go_on(&mut self) {
        if self.state == State::Hold(true) {
            self.state = State::Idle;
            self.begin();
            self.listen();
        }
    }

    /// A whole line has arrived, or the one before was dealt with.
    pub(super) fn listen(&mut self) {
        if self.line_at.is_none() && self.inbox.contains(&b'\n') {
            self.line_at = Some(self.now + THINKING);
        }
    }
}
