//! What an update of the system forbids meanwhile, and what is told of it.

use super::Station;
use crate::command::Refusal;
use crate::status::Fault;

impl Station {
    /// While a slot is written or proven, or the machine is about to reboot, nothing that a person works on begins.
    pub(super) fn not_updating(&self) -> Result<(), Refusal> {
        match &self.parts.hold.borrow().underway {
            Some(underway) => {
                let Fault { rule, what, todo, .. } = &underway.fault;
                Err(Refusal::new(rule, format!("{what}. {todo}")))
            }
            None => Ok(()),
        }
    }

    /// What forbids sessions now, and what is told beside it.
    pub(super) fn of_update(&self) -> (Option<Fault>, Option<Fault>) {
        let hold = self.parts.hold.borrow();
        (hold.underway.as_ref().map(|underway| underway.fault.clone()), hold.told.clone())
    }

    /// How much of an installation is done.
    pub(super) fn installed_percent(&self) -> Option<u8> {
        self.parts.hold.borrow().underway.as_ref()?.percent
    }

    /// A system that is being proven looks again for cameras that were not there.
    pub(super) async fn heed_update(&mut self, looked: &mut u64) {
        let look = self.parts.hold.borrow().look;
        if std::mem::replace(looked, look) != look {
            self.parts.rig.open().await;
        }
        self.tell();
    }
}
