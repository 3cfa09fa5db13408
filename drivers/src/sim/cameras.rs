//! The booth's side of its cameras: who is plugged in, which exposure this is, what befalls it and what it sees.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::model::Model;
use super::stance::Stance;
use super::{Booth, CameraFault, Fault, Gone, NO_SESSION, State};
use crate::frame::FrameData;
use crate::optics::{Intrinsics, Pose};

/// Exposures whose angle is remembered.
const TURNED_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct CameraSlot {
    session: u64,
    pub(super) exposures: u64,
    pub(super) unplugged: bool,
    /// The last picture, for [`CameraFault::StuckPicture`].
    last: Option<FrameData>,
    /// Its lens and where it stands, once it was opened.
    pub(super) optics: Option<(Intrinsics, Pose)>,
    /// Where the platter truly was in the middle of exposures, by their numbers.
    pub(super) turned: VecDeque<(u64, f64)>,
}

/// An exposure that has been counted, what befalls it and what stands there.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) number: u64,
    pub(crate) faults: Vec<CameraFault>,
    pub(crate) model: Arc<Model>,
}

impl Booth {
    /// Opens a camera by its name; a handle from before is dead then.
    pub(crate) fn open_camera(&self, name: &str) -> Result<u64, Gone> {
        let mut state = self.lock();
        let session = state.next_session();
        let slot = state.cameras.entry(name.to_owned()).or_default();
        if slot.unplugged {
            return Err(Gone);
        }
        slot.session = session;
        Ok(session)
    }

    /// Whether the camera still answers this handle.
    pub(crate) fn camera_is_there(&self, name: &str, session: u64) -> Result<(), Gone> {
        let state = self.lock();
        match state.cameras.get(name) {
            Some(slot) if slot.session == session && !slot.unplugged => Ok(()),
            _ => Err(Gone),
        }
    }

    /// Counts an exposure that begins, and says what befalls it.
    pub(crate) fn count_exposure(&self, name: &str, session: u64) -> Result<Counted, Gone> {
        let mut state = self.lock();
        let slot = state.cameras.get_mut(name).ok_or(Gone)?;
        if slot.unplugged || slot.session != session {
            return Err(Gone);
        }
        slot.exposures += 1;
        let number = slot.exposures;
        let faults = state.faults_of(name, |frame, kind| frame == number || kind.lasts() && frame < number);
        if faults.contains(&CameraFault::Unplug) {
            state.cameras.entry(name.to_owned()).or_default().pull_out();
            return Err(Gone);
        }
        Ok(Counted { number, faults, model: state.model.clone() })
    }

    /// What a look without an exposure would meet: faults that last, from exposures up to now.
    pub(crate) fn glance(&self, name: &str) -> Counted {
        let state = self.lock();
        let number = state.cameras.get(name).map_or(0, |slot| slot.exposures);
        let faults = state.faults_of(name, |frame, kind| kind.lasts() && frame <= number);
        Counted { number: 0, faults, model: state.model.clone() }
    }

    /// How the platter truly stands at `count` moments spread evenly over an exposure.
    pub(crate) fn stances_between(&self, start: Instant, end: Instant, count: u32) -> Vec<Stance> {
        let state = self.lock();
        let length = end.saturating_duration_since(start);
        let middle_of = |k: u32| start + length * (2 * k + 1) / (2 * count);
        (0..count).map(|k| state.stance(middle_of(k))).collect()
    }

    /// The camera's last picture.
    pub(crate) fn last_picture(&self, name: &str) -> Option<FrameData> {
        self.lock().cameras.get(name).and_then(|slot| slot.last.clone())
    }

    /// Remembers where the platter truly was in the middle of an exposure.
    pub(crate) fn note_angle(&self, name: &str, number: u64, deg: f64) {
        if let Some(slot) = self.lock().cameras.get_mut(name) {
            if slot.turned.len() == TURNED_MAX {
                slot.turned.pop_front();
            }
            slot.turned.push_back((number, deg));
        }
    }

    pub(crate) fn keep_optics(&self, name: &str, optics: (Intrinsics, Pose)) {
        if let Some(slot) = self.lock().cameras.get_mut(name) {
            slot.optics = Some(optics);
        }
    }

    pub(crate) fn keep_picture(&self, name: &str, picture: &FrameData) {
        if let Some(slot) = self.lock().cameras.get_mut(name) {
            slot.last = Some(picture.clone());
        }
    }
}

impl State {
    /// Faults of a camera that are due, by their frame and kind.
    fn faults_of(&self, name: &str, due: impl Fn(u64, CameraFault) -> bool) -> Vec<CameraFault> {
        let of = |fault: &Fault| match fault {
            Fault::Camera { camera, frame, kind } if camera == name && due(*frame, *kind) => Some(*kind),
            _ => None,
        };
        self.options.faults.iter().filter_map(of).collect()
    }
}

impl CameraSlot {
    pub(super) fn pull_out(&mut self) {
        self.unplugged = true;
        self.session = NO_SESSION;
    }
}
