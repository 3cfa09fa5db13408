//! What lamps, horn and lights show of the station, and one output's life: opened, set, lost and opened again.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use turnstage_drivers::io::{self, IoError, Output};

use super::{OutputStatus, Parts};
use crate::config::{OutputConfig, Shows};
use crate::session::SessionState;
use crate::status::{Kind, Situation, Status};

/// Half a period of blinking.
const BLINK: Duration = Duration::from_millis(500);
/// A level that stays is said again after so many halves, for outputs that were off for a moment.
const REPEAT: u32 = 2;
/// A lost output is opened again after so long, at first.
const REOPEN_MIN: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// How an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Off,
    On,
    Blink,
    /// Blinks too, dark where the other is lit.
    Counter,
}

/// What an output shows of the station's state.
fn look(shows: Shows, status: &Status) -> Look {
    let when = |on: bool| if on { Look::On } else { Look::Off };
    match shows {
        Shows::TowerGreen => when(status.kind == Kind::Ready),
        Shows::TowerAmber if announced(status) => Look::Blink,
        Shows::TowerAmber => match status.kind {
            Kind::Busy => Look::On,
            Kind::Warn => Look::Blink,
            Kind::Ready | Kind::Stop => Look::Off,
        },
        Shows::TowerRed => when(status.kind == Kind::Stop),
        Shows::Horn => when(announced(status)),
        Shows::Lights => {
            let session = status.session.as_ref().is_some_and(|session| session.state.is_open());
            when(session || status.next_item.is_some())
        }
        Shows::Ready => when(status.kind == Kind::Ready && status.session.is_none()),
    }
}

/// The same of a station that was asked to show itself: green and amber by turns, which no state does by itself. What is
/// red stays red, with amber blinking below it; what announces a motion goes first; horn and lights are as ever.
fn look_shown(shows: Shows, status: &Status) -> Look {
    let stopped = status.kind == Kind::Stop;
    match shows {
        _ if announced(status) => look(shows, status),
        Shows::TowerGreen if !stopped => Look::Blink,
        Shows::TowerAmber => Look::Counter,
        _ => look(shows, status),
    }
}

/// A motion is about to begin, or the one that looks for zero is under way.
fn announced(status: &Status) -> bool {
    let at_work = status.session.as_ref().is_some_and(|session| session.state == SessionState::Shooting);
    at_work && matches!(status.situation, Situation::Announced | Situation::Referencing)
}

/// An output of the rig.
pub(super) struct Lamp<'a> {
    parts: &'a Parts,
    name: &'a str,
    config: &'a OutputConfig,
}

impl<'a> Lamp<'a> {
    pub(super) fn new(parts: &'a Parts, name: &'a str, config: &'a OutputConfig) -> Self {
        Self { parts, name, config }
    }

    /// Shows the state until `cancel`, then goes dark.
    pub(super) async fn run(&self, cancel: &CancellationToken) {
        let mut wait = REOPEN_MIN;
        loop {
            let opened = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                opened = io::open_output(self.name, &self.config.device, &self.parts.around) => opened,
            };
            let why = match opened {
                Ok(mut output) => {
                    wait = REOPEN_MIN;
                    let label = output.info().label.clone();
                    tracing::info!(output = self.name, id = output.info().id, "output opened");
                    self.change(|output| (output.device, output.fault) = (label, None));
                    match self.show(output.as_mut(), cancel).await {
                        Ok(()) => return,
                        Err(why) => why,
                    }
                }
                Err(why) => why,
            };
            let told = why.to_string();
            if self.change(|output| output.fault = Some(told)) {
                tracing::warn!(output = self.name, error = %why, "output lost");
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(REOPEN_MAX);
        }
    }

    async fn show(&self, output: &mut dyn Output, cancel: &CancellationToken) -> Result<(), IoError> {
        let mut status = self.parts.status.clone();
        let identify = &self.parts.care.identify;
        let mut asked = identify.watch();
        let mut halves = interval(BLINK);
        halves.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut shown, mut half, mut due) = (None, 0u32, true);
        loop {
            let shows = self.config.shows;
            let look = match identify.now() {
                Some(_) => look_shown(shows, &status.borrow_and_update()),
                None => look(shows, &status.borrow_and_update()),
            };
            let on = match look {
                Look::Off => false,
                Look::On => true,
                Look::Blink => half.is_multiple_of(2),
                Look::Counter => !half.is_multiple_of(2),
            };
            if due || shown != Some(on) {
                output.set(if on { self.config.level } else { 0.0 }).await?;
                (shown, due) = (Some(on), false);
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Ok(()) = status.changed() => {}
                Ok(()) = asked.changed() => {
                    // From here on in step with the other lamps.
                    half = 0;
                    halves.reset();
                }
                _ = halves.tick() => {
                    half = half.wrapping_add(1);
                    due = half.is_multiple_of(REPEAT);
                }
            }
        }
        output.set(0.0).await
    }

    /// Changes what is told of this output; whether that was news.
    fn change(&self, change: impl FnOnce(&mut OutputStatus)) -> bool {
        self.parts.told.send_if_modified(|told| {
            let found = told.outputs.iter_mut().find(|output| output.name == self.name);
            found.is_some_and(|output| {
                let before = output.clone();
                change(output);
                *output != before
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::StationName;

    const TOWER: [Shows; 3] = [Shows::TowerGreen, Shows::TowerAmber, Shows::TowerRed];

    fn tower(situation: Situation) -> [Look; 3] {
        let mut status = Status::starting(StationName::default(), true);
        status.tell(situation);
        TOWER.map(|shows| look(shows, &status))
    }

    #[test]
    fn the_tower_says_from_afar_whether_a_person_is_needed() {
        use Look::{Blink, Off, On};
        assert_eq!(tower(Situation::Ready), [On, Off, Off]);
        assert_eq!(tower(Situation::Complete { frames: 36 }), [On, Off, Off]);
        assert_eq!(tower(Situation::Turning { deg: 10.0 }), [Off, On, Off]);
        assert_eq!(tower(Situation::Missing { frames: 1 }), [Off, Blink, Off]);
        let stopped = Situation::StoppedBy { who: "halt".to_owned(), taken: 3, wanted: 36 };
        assert_eq!(tower(stopped), [Off, Off, On]);
        assert_eq!(tower(Situation::StorageFault), [Off, Off, On]);
    }

    #[test]
    fn a_station_that_shows_itself_hides_nothing_that_a_person_must_see() {
        use Look::{Blink, Counter, Off, On};
        let shown = |situation: Situation| {
            let mut status = Status::starting(StationName::default(), true);
            status.tell(situation);
            [TOWER[0], TOWER[1], TOWER[2], Shows::Horn, Shows::Lights].map(|shows| look_shown(shows, &status))
        };
        assert_eq!(shown(Situation::Ready), [Blink, Counter, Off, Off, Off]);
        assert_eq!(shown(Situation::Turning { deg: 10.0 }), [Blink, Counter, Off, Off, Off]);
        assert_eq!(shown(Situation::StorageFault), [Off, Counter, On, Off, Off]);
        let mut status = Status::starting(StationName::default(), true);
        status.session = Some(shooting());
        status.tell(Situation::Announced);
        for shows in [TOWER[0], TOWER[1], TOWER[2], Shows::Horn] {
            assert_eq!(look_shown(shows, &status), look(shows, &status), "a motion is announced");
        }
        assert_eq!(look_shown(Shows::Horn, &status), On);
    }

    fn shooting() -> crate::status::SessionStatus {
        crate::status::SessionStatus {
            id: "one".to_owned(),
            item: "4711".to_owned(),
            recipe: "turn36".to_owned(),
            state: SessionState::Shooting,
            wanted: 36,
            missing: Vec::new(),
            taken: 0,
            flagged: Vec::new(),
            retaken: 0,
            frame: None,
            checking: None,
            left_s: None,
        }
    }

    #[test]
    fn lights_are_on_from_the_scan() {
        let mut status = Status::starting(StationName::default(), true);
        assert_eq!(look(Shows::Lights, &status), Look::Off);
        status.next_item = Some("4711".to_owned());
        assert_eq!(look(Shows::Lights, &status), Look::On);
    }
}
