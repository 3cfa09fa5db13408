//! One input's life: opened, listened to, lost and opened again, and what its signals ask of the station.
//!
//! What a signal halts is halted at once; what it asks for is asked by a command, one at a time. A pedal that is pressed
//! while its last press is still being answered asks nothing: a press that takes effect seconds later is one that
//! nobody expects.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use turnstage_drivers::io::{self, Input, IoError, Signal};

use super::{Controls, InputStatus, IoTask, Level};
use crate::arming::Armed;
use crate::command::{Act, Actor};
use crate::config::{Does, InputConfig};
use crate::session::SessionState;

/// A lost input is opened again after so long, at first.
const REOPEN_MIN: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// An input of the rig.
pub(super) struct Contact<'a> {
    task: &'a IoTask,
    name: &'a str,
    config: &'a InputConfig,
    actor: Actor,
}

impl<'a> Contact<'a> {
    pub(super) fn new(task: &'a IoTask, name: &'a str, config: &'a InputConfig) -> Self {
        let kind = match config.does {
            Does::Start | Does::Answer => "pedal",
            Does::Scan => "scanner",
            _ => "input",
        };
        Self { task, name, config, actor: Actor(format!("{kind}:{name}")) }
    }

    /// Listens for ever.
    pub(super) async fn run(&self) {
        let (asked, acts) = mpsc::channel(1);
        tokio::join!(self.listen(asked), self.ask(acts));
    }

    async fn listen(&self, asked: mpsc::Sender<Act>) -> Infallible {
        let mut wait = REOPEN_MIN;
        loop {
            let opened = io::open_input(self.name, &self.config.device, &self.task.parts.around).await;
            let why = match opened {
                Ok(mut input) => {
                    wait = REOPEN_MIN;
                    let label = input.info().label.clone();
                    tracing::info!(input = self.name, id = input.info().id, "input opened");
                    self.change(|input| (input.device, input.fault) = (label, None));
                    self.hear(input.as_mut(), &asked).await
                }
                Err(why) => why,
            };
            self.lost(&why, &asked);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(REOPEN_MAX);
        }
    }

    /// Takes signals until the input is lost.
    async fn hear(&self, input: &mut dyn Input, asked: &mpsc::Sender<Act>) -> IoError {
        loop {
            let act = match input.next().await {
                Ok(Signal::Line(line)) => self.scanned(line),
                Ok(Signal::Pressed) => self.turned(Level::Pressed),
                Ok(Signal::Released) => self.turned(Level::Released),
                Err(why) => return why,
            };
            self.pass(act, asked);
        }
    }

    /// Hands an act on, unless the one before is still being answered.
    fn pass(&self, act: Option<Act>, asked: &mpsc::Sender<Act>) {
        if let Some(act) = act
            && let Err(mpsc::error::TrySendError::Full(act)) = asked.try_send(act)
        {
            tracing::info!(input = self.name, act = act.name(), "the act before is still being answered");
        }
    }

    /// Asks one act after the other and keeps why one was refused.
    async fn ask(&self, mut acts: mpsc::Receiver<Act>) -> Infallible {
        while let Some(act) = acts.recv().await {
            let armed_here = self.arm_for(&act).await;
            let answer = self.task.parts.commands.ask(&self.actor, act).await;
            if armed_here && answer.is_err() {
                // Nothing began: the table is not left free to turn for whoever asks next.
                drop(self.task.parts.commands.ask(&self.actor, Act::Disarm).await);
            }
            let refused = answer.err().map(|refusal| refusal.reason);
            self.change(|input| input.refused = refused);
            if !self.config.does.guards() {
                drop(acts.try_recv());
            }
        }
        pending().await
    }

    /// Whoever presses the start pedal stands at the rig, so its press arms, on record; the table says that it is about to
    /// move. Whether it did.
    async fn arm_for(&self, act: &Act) -> bool {
        let parts = &self.task.parts;
        let begins = matches!(act, Act::Start { .. } | Act::Resume { .. });
        let asks = matches!(self.config.does, Does::Start) && begins;
        asks && parts.mover.arming().state() == Armed::No
            && parts.commands.ask(&self.actor, Act::Arm { code: None }).await.is_ok()
    }

    /// It failed or is not there. A guard that is gone is a guard that was pressed.
    fn lost(&self, why: &IoError, asked: &mpsc::Sender<Act>) {
        let news = self.status(|input| input.fault.is_none());
        if news {
            tracing::warn!(input = self.name, error = %why, "input lost");
        }
        let act = if news { self.halt() } else { None };
        self.change(|input| {
            input.level = Level::Unknown;
            input.fault = Some(why.to_string());
        });
        self.tell(Level::Unknown);
        self.pass(act, asked);
    }

    /// A contact was pressed or let go, or told how it is after opening.
    fn turned(&self, level: Level) -> Option<Act> {
        let before = self.status(|input| input.level);
        let pressed = level == Level::Pressed && before != Level::Pressed;
        let act = if pressed && self.config.does.guards() { self.halt() } else { None };
        self.change(|input| input.level = level);
        self.tell(level);
        self.task.hold();
        // How a pedal was found is no act of anybody.
        if pressed && before == Level::Released { act.or_else(|| self.pressed()) } else { act }
    }

    /// The daily test of the emergency stop looks at its contact.
    fn tell(&self, level: Level) {
        if self.config.does == Does::EmergencyStop {
            self.task.parts.emergency.saw(level);
        }
    }

    /// Halts the table at once; what a guard asks of the session.
    fn halt(&self) -> Option<Act> {
        let mover = &self.task.parts.mover;
        match self.config.does {
            Does::Stop | Does::EmergencyStop => {
                mover.hold(true);
                mover.stop();
                Some(Act::Stop)
            }
            Does::Door => {
                mover.hold(true);
                self.is(SessionState::Shooting).then_some(Act::Pause)
            }
            _ => None,
        }
    }

    /// What the press of a contact asks for.
    fn pressed(&self) -> Option<Act> {
        match self.config.does {
            Does::Start => self.answer().or_else(|| self.start()),
            Does::Answer => self.answer(),
            Does::Arm => Some(Act::Arm { code: None }),
            Does::Pause => self.is(SessionState::Shooting).then_some(Act::Pause),
            Does::Flash => {
                self.task.parts.told.send_modify(|told| told.flashes = told.flashes.map(|seen| seen + 1));
                None
            }
            Does::Stop | Does::EmergencyStop | Does::Door | Does::Scan => None,
        }
    }

    /// Begins a session with the scanned item, or goes on with one that waits for that.
    fn start(&self) -> Option<Act> {
        if self.is(SessionState::Shooting) {
            return None;
        }
        if self.is(SessionState::Paused) {
            return Some(Act::Resume { session: None, anew: false, confirm: false });
        }
        // Without an item, or with another session in the way, the station refuses it in words.
        let item = self.task.parts.told.borrow().next_item.clone().unwrap_or_default();
        Some(Act::Start { item, recipe: None })
    }

    /// Says to a table that is turned by hand that it stands where it was asked for, if it was.
    fn answer(&self) -> Option<Act> {
        let asked = self.task.parts.around.hand.watch().borrow().filter(|asked| !asked.answered)?;
        Some(Act::Answer { number: Some(asked.number) })
    }

    /// A scanner read an item: it is the next one.
    fn scanned(&self, item: String) -> Option<Act> {
        tracing::info!(input = self.name, "an item was scanned");
        self.task.parts.told.send_modify(|told| told.next_item = Some(item.clone()));
        let free = self.task.parts.status.borrow().session.is_none();
        (self.config.scan_starts && free).then_some(Act::Start { item, recipe: None })
    }

    fn is(&self, state: SessionState) -> bool {
        self.task.parts.status.borrow().session.as_ref().is_some_and(|session| session.state == state)
    }

    fn status<T: Default>(&self, read: impl FnOnce(&InputStatus) -> T) -> T {
        let told = self.task.parts.told.borrow();
        told.inputs.iter().find(|input| input.name == self.name).map(read).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut InputStatus)) {
        self.task.parts.told.send_if_modified(|told: &mut Controls| {
            let found = told.inputs.iter_mut().find(|input| input.name == self.name);
            found.is_some_and(|input| {
                let before = input.clone();
                change(input);
                *input != before
            })
        });
    }
}
