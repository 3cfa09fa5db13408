//! A restart that somebody asks for and that waits for the open session.
//!
//! `asked → granted → due`: the station grants it while no session is open, and lets none begin from then on; whoever
//! asked does what belongs between the two, and the service ends to be started anew. Nobody's session is cut.

use tokio::sync::watch;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nobody wants one.
    None,
    /// Somebody does.
    Asked,
    /// No session is open, and none begins.
    Granted,
    /// The process may end now.
    Due,
}

/// See the module; clones are the same restart.
#[derive(Debug, Clone)]
pub struct Restart(watch::Sender<Step>);

impl Default for Restart {
    fn default() -> Self {
        Self(watch::channel(Step::None).0)
    }
}

impl Restart {
    /// How far it is.
    pub fn step(&self) -> Step {
        *self.0.borrow()
    }

    /// Follows it.
    pub fn watch(&self) -> watch::Receiver<Step> {
        self.0.subscribe()
    }

    /// Asks for it. Then wait for [`Step::Granted`], and say [`Restart::go`] or [`Restart::withdraw`].
    pub fn ask(&self) {
        self.change(Step::None, Step::Asked);
    }

    /// The station's word that no session is open.
    pub fn grant(&self) {
        self.change(Step::Asked, Step::Granted);
    }

    /// Ends the process.
    pub fn go(&self) {
        self.change(Step::Granted, Step::Due);
    }

    /// It is not needed after all.
    pub fn withdraw(&self) {
        self.0.send_if_modified(|step| {
            let pending = matches!(step, Step::Asked | Step::Granted);
            if pending {
                *step = Step::None;
            }
            pending
        });
    }

    fn change(&self, from: Step, to: Step) {
        self.0.send_if_modified(|step| {
            let moves = *step == from;
            if moves {
                *step = to;
            }
            moves
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_due_only_after_it_was_asked_for_and_granted() {
        let restart = Restart::default();
        restart.grant();
        restart.go();
        assert_eq!(restart.step(), Step::None);
        restart.ask();
        restart.go();
        assert_eq!(restart.step(), Step::Asked, "a session may be open");
        restart.grant();
        restart.withdraw();
        assert_eq!(restart.step(), Step::None);
        restart.ask();
        restart.grant();
        restart.go();
        restart.withdraw();
        assert_eq!(restart.step(), Step::Due);
    }
}
