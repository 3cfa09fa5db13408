//! What the station tells of itself while nothing is shot: its faults, and one sentence for what matters most.

use super::{Halt, SAFE_MODE, Station, presence, stamp, underway};
use crate::command::Actor;
use crate::emergency::StopState;
use crate::flags::OUT_OF_SERVICE;
use crate::io::Controls;
use crate::motion::{Adrift, Motion};
use crate::rig::Rig;
use crate::session::{Session, SessionState};
use crate::status::{Fault, Situation, TableStatus};
use crate::update::UNDERWAY;

impl Station {
    /// Publishes the state now.
    pub(super) fn tell(&mut self) {
        let motion = self.parts.mover.state();
        let cameras = self.parts.rig.status();
        let drifts = self.drifts();
        // One that is finished was opened to be corrected: it is nobody's work, and the next person need not see it.
        let open = self.session.as_ref().filter(|session| session.doc.state.is_open());
        let session = open.map(|session| session.status());
        let mut faults: Vec<Fault> = self.parts.locked.iter().chain(&self.faults).cloned().collect();
        let (underway, update) = self.of_update();
        faults.extend(underway);
        faults.extend(self.parts.delivery.borrow().clone());
        let controls = self.parts.controls.borrow().clone();
        let now = stamp(&self.parts.clock);
        faults.extend(self.of_guards(&controls, &now));
        faults.extend(missing(&self.parts.rig, &motion).or_else(|| self.unconfigured()));
        faults.extend(underway::unstopped(&motion, &faults));
        let situation = self.situation(&faults, &controls);
        faults.extend(unread(&self.parts.rig));
        faults.extend(self.parts.told.iter().cloned());
        faults.extend(controls.notices());
        faults.extend(update);
        faults.extend(presence::guessed(&self.parts.mover));
        self.parts.status.send_modify(|status| {
            status.table = TableStatus::of(&motion);
            status.emergency_stop = self.parts.emergency.status(&now);
            status.cameras = cameras;
            status.drifts = drifts;
            status.session = session;
            status.safe_mode = faults.iter().any(|fault| fault.rule == SAFE_MODE);
            status.faults = faults;
            status.take_controls(&controls);
            status.tell(situation);
        });
    }

    /// What the configuration lacks, so that nothing can be shot.
    fn unconfigured(&self) -> Option<Fault> {
        let why = "No session can be shot without it.";
        if self.parts.rig.cameras.is_empty() {
            let todo =
                "Plug one in and run turnstage setup, or write [rig.cameras.NAME] into the configuration.";
            return Some(Fault::new("camera-none", "This rig has no camera", why, todo));
        }
        self.destinations.is_empty().then(|| {
            let todo = "Write [destinations.NAME] into the configuration; docs/destinations.md says how.";
            Fault::new("destination-none", "Nothing says where pictures go", why, todo)
        })
    }

    /// What goes on while nothing is shot, in the order of what matters most.
    fn situation(&self, faults: &[Fault], controls: &Controls) -> Situation {
        let (taken, wanted) = self.session.as_ref().map_or((0, 0), |session| {
            let status = session.status();
            (status.taken as u32, status.wanted as u32)
        });
        if let Some(state) = StopState::of_step(self.parts.emergency.step()) {
            return Situation::EmergencyStop { state };
        }
        if let Some(fault) = faults.first() {
            return self.of_fault(fault, taken, wanted);
        }
        let open = self.session.as_ref().filter(|session| session.doc.state.is_open());
        if let Some(look) = controls.look().filter(|_| open.is_none_or(is_halted)) {
            return look;
        }
        if let (Some(flag), None) = (self.parts.care.flags.get(OUT_OF_SERVICE), open) {
            let who = Actor(flag.actor).who().to_owned();
            return Situation::OutOfService { who, reason: flag.reason };
        }
        let Some(session) = self.session.as_ref() else {
            return match &controls.next_item {
                _ if !self.parts.told.is_empty() => Situation::SafeMode,
                Some(item) => Situation::ItemSet { item: item.clone() },
                None => Situation::Ready,
            };
        };
        match session.doc.state {
            SessionState::Paused => match &self.halted {
                Some(Halt::Stopped(actor)) => {
                    Situation::StoppedBy { who: actor.who().to_owned(), taken, wanted }
                }
                _ => Situation::Paused { taken, wanted },
            },
            SessionState::Interrupted => {
                let frame = session.status().missing.first().copied().unwrap_or(taken);
                Situation::Interrupted { frame, taken }
            }
            SessionState::Review => review(session),
            SessionState::Shooting | SessionState::Released | SessionState::Aborted => Situation::Ready,
        }
    }

    fn of_fault(&self, fault: &Fault, taken: u32, wanted: u32) -> Situation {
        let unplugged = || {
            let mut cameras = self.parts.rig.cameras.iter();
            cameras.find(|camera| camera.required && camera.fault.is_some()).map(|camera| camera.name.clone())
        };
        let told = || Situation::Fault { what: fault.what.clone(), todo: fault.todo.clone() };
        match fault.rule.as_str() {
            "storage-fault" => Situation::StorageFault,
            UNDERWAY => Situation::Updating { what: fault.what.clone(), percent: self.installed_percent() },
            SAFE_MODE => Situation::SafeModeClosed,
            "motion-link-lost" => match self.parts.mover.state().adrift {
                None => Situation::TableLost { deg: None },
                Some(Adrift::Turns(deg)) => Situation::TableLost { deg: Some(deg) },
                Some(Adrift::Tilts(deg)) => Situation::TableTilts { deg },
                Some(Adrift::TurnsOn) => Situation::TableTurnsOn,
            },
            "motion-outcome-unknown" => Situation::PositionUnknown,
            "camera-unplugged" => {
                unplugged().map_or_else(told, |camera| Situation::CameraUnplugged { camera, taken, wanted })
            }
            rule => StopState::of_rule(rule).map_or_else(told, |state| Situation::EmergencyStop { state }),
        }
    }
}

/// It waits for a person to go on.
fn is_halted(session: &Session) -> bool {
    matches!(session.doc.state, SessionState::Paused | SessionState::Interrupted)
}

/// The turn is over.
fn review(session: &Session) -> Situation {
    let status = session.status();
    match session.first_flagged() {
        Some(first) => Situation::Flagged { frames: status.flagged.len() as u32, rule: first.rule },
        None if !status.missing.is_empty() => Situation::Missing { frames: status.missing.len() as u32 },
        None => Situation::Complete { frames: status.taken as u32 },
    }
}

/// What the rig lacks, so that nothing can be shot.
fn missing(rig: &Rig, motion: &Motion) -> Option<Fault> {
    let why = "No session can be shot without it.";
    if let Some(fault) = motion.fault.as_ref().filter(|_| motion.info.is_none()) {
        let what = format!("The table is not there: {fault}");
        return Some(Fault::new(
            "motion-missing",
            what,
            why,
            "Check its cable and power; it is tried again by itself.",
        ));
    }
    let camera = rig.cameras.iter().find(|camera| camera.required && camera.camera.is_none())?;
    let fault = camera.fault.clone()?;
    let what = format!("Camera {} is not there: {fault}", camera.name);
    Some(Fault::new(
        "camera-missing",
        what,
        why,
        "Check its cable and power, then start; it is opened again then.",
    ))
}

/// Why the rim of a table that somebody else turns is not read.
fn unread(rig: &Rig) -> Option<Fault> {
    let (.., sightings) = rig.watched()?;
    Some(Fault::new(
        "rim-not-read",
        format!("The table's angle is not seen: {}", sightings.missed()?),
        "Nobody knows where the platter is; recipes with motion cannot be shot.",
        "Do what it says, or see that the marks on the rim are lit and in the camera's view.",
    ))
}
