//! Everything that a page shows, read once, and what follows from it.

use turnstage_drivers::Position;

use super::ask::{Ask, Sheet};
use super::look::Look;
use super::ring::Hand;
use super::{Viewer, Visitor};
use crate::arming::Armed;
use crate::emergency::EmergencyStopStatus;
use crate::session::SessionState;
use crate::status::{Kind, SessionStatus, Situation, Status};
use crate::window::views::{FrameState, FrameView, QueueView, SessionDetail};
use crate::window::{RecipeLine, Window};
use crate::words::Lines;
use crate::words::panel::Panel;

/// See the module.
pub(super) struct Scene {
    pub look: Look,
    pub visitor: Visitor,
    pub ask: Ask,
    pub status: Status,
    /// The session at work or in review.
    pub detail: Option<SessionDetail>,
    pub recipes: Vec<RecipeLine>,
    /// What waits for delivery, where it is shown.
    pub queue: Option<QueueView>,
    /// What the rig's own display shows to whoever wants to arm it from elsewhere; on this display only.
    pub arm_code: Option<String>,
    /// There is such a display.
    pub own_display: bool,
    /// Whoever looks may let a halted table go on.
    pub goes_on: bool,
    pub now_wall_ms: i64,
}

/// What a person can do next; every control follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The station looks for its devices, or ends.
    Waiting,
    /// Nothing can be begun, whatever is scanned.
    Closed,
    /// Nothing is on the table.
    Empty,
    /// An item is named.
    ItemSet,
    /// The table may move.
    Shooting,
    /// Frames are flagged or missing.
    Review,
    /// Every frame passed.
    Complete,
    /// Waits for a person in the middle of a turn.
    Halted,
}

impl Scene {
    /// Reads what a page of the station at work shows.
    pub async fn see(window: &Window, viewer: &Viewer) -> Self {
        let mut scene = Self::bar(window, viewer).await;
        // What the station's own scanner read is named as if it was typed here, unless a person is about to.
        let typing = scene.ask.sheet == Some(Sheet::Closed);
        scene.ask.item = scene.ask.item.take().or(scene.status.next_item.clone().filter(|_| !typing));
        scene.recipes = window.recipes();
        if let Some(session) = scene.session() {
            let id = session.id.clone();
            scene.detail = match window.session(&scene.visitor, &id).await {
                Ok(detail) => Some(detail),
                Err(refusal) => {
                    tracing::warn!(%refusal, "the session at hand cannot be shown");
                    None
                }
            };
        }
        if scene.shows_queue() {
            scene.queue = match window.queue(&scene.visitor).await {
                Ok(queue) => Some(queue),
                Err(error) => {
                    tracing::warn!(%error, "the queue cannot be shown");
                    None
                }
            };
        }
        scene
    }

    /// Reads what the top bar shows.
    pub async fn bar(window: &Window, viewer: &Viewer) -> Self {
        let Viewer { ask, look, visitor } = viewer.clone();
        let status = window.status().await;
        let own_display = window.config().panel.own_display;
        let goes_on = window.arming().check_from(&visitor.place, own_display).is_ok();
        let arm_code = (visitor.at_rig() && wants_code(&status)).then(|| window.arming().code());
        Self {
            look,
            visitor,
            ask,
            arm_code,
            own_display,
            goes_on,
            status,
            detail: None,
            recipes: Vec::new(),
            queue: None,
            now_wall_ms: window.clock().now().wall_ms,
        }
    }

    /// Texts of the panel.
    pub fn words(&self) -> &'static Panel {
        self.look.words()
    }

    /// The session that holds the station.
    pub fn session(&self) -> Option<&SessionStatus> {
        self.status.session.as_ref().filter(|session| session.state.is_open())
    }

    /// The recipe of the next session: asked for, else the configured one.
    pub fn recipe(&self) -> Option<&RecipeLine> {
        let asked = self.ask.recipe.as_ref();
        let asked = asked.and_then(|asked| self.recipes.iter().find(|recipe| recipe.name == *asked));
        asked.or_else(|| self.recipes.iter().find(|recipe| recipe.default))
    }

    /// A person at the rig must let the table turn before anything goes on.
    pub fn needs_arming(&self) -> bool {
        let waits = matches!(self.phase(), Phase::ItemSet | Phase::Review | Phase::Halted);
        (waits && is_disarmed(&self.status)) || (self.phase() == Phase::Halted && !self.goes_on)
    }

    /// The emergency stop must be tested before anything turns, or may be while nothing is on the table.
    pub fn asks_emergency_test(&self) -> Option<&EmergencyStopStatus> {
        let asked = self.status.emergency_stop.as_ref()?;
        let waits = match self.phase() {
            Phase::Empty => true,
            Phase::ItemSet | Phase::Review | Phase::Halted => asked.needed,
            _ => false,
        };
        Some(asked).filter(|asked| waits && !asked.tested && asked.input.is_some())
    }

    /// See [`Phase`].
    pub fn phase(&self) -> Phase {
        let closed = matches!(
            self.status.situation,
            Situation::RoomNone { .. }
                | Situation::OutOfService { .. }
                | Situation::StorageFault
                | Situation::SafeModeClosed
        );
        match self.session().map(|session| (session.state, session)) {
            Some((SessionState::Shooting, _)) => Phase::Shooting,
            Some((SessionState::Review, session)) => {
                let good = session.flagged.is_empty() && session.missing.is_empty();
                if good { Phase::Complete } else { Phase::Review }
            }
            Some(_) => Phase::Halted,
            None if matches!(self.status.situation, Situation::Starting | Situation::Off) => Phase::Waiting,
            None if closed => Phase::Closed,
            None if self.ask.item.is_some() => Phase::ItemSet,
            None => Phase::Empty,
        }
    }

    /// The two lines of the status. An item that was just named is known to this page only.
    pub fn lines(&self) -> Lines {
        let quiet = self.status.kind == Kind::Ready;
        let mut lines = match &self.ask.item {
            Some(item) if quiet && self.phase() == Phase::ItemSet => {
                let item = super::capture::item::grouped(item);
                self.look.language.lines(&Situation::ItemSet { item })
            }
            _ => self.look.language.lines(&self.status.situation),
        };
        // What a person must do, or keep clear of, is not lengthened.
        let first = self.status.kind == Kind::Stop || self.status.situation.moves_unasked();
        if self.status.identify.is_some() && !first {
            lines.second = format!("{} {}", self.words().shows_itself, lines.second);
        }
        lines
    }

    /// The list of what waits stands beside the ring: asked for, or the one thing to know of an idle station.
    pub fn shows_queue(&self) -> bool {
        let about_delivery = matches!(
            self.status.situation,
            Situation::Offline { .. }
                | Situation::DestinationAway { .. }
                | Situation::SignIn { .. }
                | Situation::Refused { .. }
        );
        match self.ask.sheet {
            Some(super::ask::Sheet::Queue) => true,
            None => about_delivery && self.phase() == Phase::Empty,
            Some(_) => false,
        }
    }

    /// The camera that is shown: the one asked for, else the first.
    pub fn camera(&self) -> Option<&str> {
        let detail = self.detail.as_ref()?;
        let asked =
            self.ask.camera.as_ref().and_then(|asked| detail.cameras.iter().find(|name| *name == asked));
        asked.or_else(|| detail.cameras.first()).map(String::as_str)
    }

    /// Places of the camera that is shown, in order.
    pub fn places(&self) -> Vec<&FrameView> {
        let (Some(detail), Some(camera)) = (&self.detail, self.camera()) else { return Vec::new() };
        detail.places.iter().filter(|place| place.camera == camera).collect()
    }

    /// The frame a person looks at: chosen, or the first one to be mended once the turn is over.
    pub fn selected(&self) -> Option<u32> {
        let places = self.places();
        let asked = self.ask.frame.filter(|frame| places.iter().any(|place| place.frame == *frame));
        let first = || {
            let review = self.phase() == Phase::Review && self.ask.sheet.is_none();
            review
                .then(|| places.iter().find(|place| needs_mending(place)).map(|place| place.frame))
                .flatten()
        };
        asked.or_else(first)
    }

    /// The frame whose picture stands in the middle: the selected one, else the newest.
    pub fn in_the_middle(&self) -> Option<&FrameView> {
        let places = self.places();
        match self.selected() {
            Some(frame) => places.into_iter().find(|place| place.frame == frame),
            None => {
                places.into_iter().max_by_key(|place| place.sequence).filter(|place| place.sequence.is_some())
            }
        }
    }

    /// The row that is shown of three and more: asked for, at work, or that of the selected frame.
    pub fn row(&self) -> u32 {
        let rows = self.detail.as_ref().map_or(1, |detail| detail.rows.max(1));
        let places = self.places();
        let at_work = places.iter().find(|place| place.state == FrameState::Now);
        let chosen = places.iter().find(|place| Some(place.frame) == self.ask.frame);
        let row = self.ask.row.or_else(|| chosen.or(at_work).map(|place| place.row)).unwrap_or(1);
        row.clamp(1, rows)
    }

    /// Where the table stands. At work it is the angle of the frame, which does not tremble.
    pub fn hand(&self) -> Option<Hand> {
        let busy = self.phase() == Phase::Shooting;
        let at_work = self.places().into_iter().find(|place| place.state == FrameState::Now);
        if let Some(deg) = at_work.and_then(|place| place.angle_deg) {
            return Some(Hand { deg, busy });
        }
        match self.status.table.as_ref()?.position {
            Position::Known(angle, _) | Position::Estimated(angle) => Some(Hand { deg: angle.deg(), busy }),
            Position::Unknown => None,
        }
    }
}

/// A person must take it again, or answer for it.
pub(super) fn needs_mending(place: &FrameView) -> bool {
    matches!(place.state, FrameState::Flagged | FrameState::Missing)
}

/// Somebody elsewhere may have to enter the code: to arm, or to go on after a halt though another one armed.
fn wants_code(status: &Status) -> bool {
    let halted = || {
        let state = status.session.as_ref().map(|session| session.state);
        matches!(state, Some(SessionState::Paused | SessionState::Interrupted))
    };
    status.table.as_ref().is_some_and(|table| match table.armed {
        Armed::No => true,
        Armed::Yes => halted(),
        Armed::ByItself => false,
    })
}

fn is_disarmed(status: &Status) -> bool {
    status.table.as_ref().is_some_and(|table| table.armed == Armed::No)
}
