//! Arming: a real table turns only while a person at the rig has allowed it, a short while ago.
//!
//! A rig is armed by a physical act (a key, a pedal, a line), from its own display, or by the code that this display
//! shows, entered elsewhere. It ends with the session, a stop, a lost link or a restart, and by itself some minutes after
//! the last motion. A simulated table is armed by itself, because nothing can be hurt.
//!
//! What a halt ended goes on by a person at the rig only, or by one who has entered the code while it was armed:
//! that somebody else armed is not enough.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::command::{Place, Refusal};

/// Wrong codes until another one is shown, and no code is taken for a while.
const TRIES_MAX: u32 = 5;
/// How long no code is taken then; twice as long after each five more, until somebody arms.
const LOCKED_MIN: Duration = Duration::from_secs(60);
/// And no longer than this: whoever guesses has five tries an hour at a million codes.
const LOCKED_MAX: Duration = Duration::from_secs(3600);

/// Whether the table may turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Armed {
    /// Always: the table is simulated, somebody else turns it, or there is none.
    ByItself,
    /// A person at the rig allowed it.
    Yes,
    /// A person at the rig must allow it first.
    No,
}

/// The state, shared by the motion task, which ends it, the station, which asks for it, and whoever arms.
#[derive(Debug, Clone)]
pub struct Arming(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    by_itself: bool,
    lasts: Duration,
    until: watch::Sender<Option<Instant>>,
    code: watch::Sender<Code>,
    /// From where it was armed, as long as it is.
    proven: Mutex<Vec<Place>>,
}

/// What the rig's own display shows.
#[derive(Debug)]
struct Code {
    digits: String,
    tries: u32,
    /// No code is taken until then.
    locked: Option<Instant>,
    /// How often that happened since somebody armed.
    lockings: u32,
}

impl Code {
    fn new() -> Self {
        Self { digits: Self::drawn(), tries: 0, locked: None, lockings: 0 }
    }

    fn drawn() -> String {
        // The random bits of a version 4 UUID come from the system's generator.
        format!("{:06}", uuid::Uuid::new_v4().as_u128() % 1_000_000)
    }

    /// Takes a try.
    fn tried(&mut self, digits: &str) -> Result<(), Refusal> {
        let now = Instant::now();
        if let Some(left) = self.locked.map(|until| until.duration_since(now)).filter(|left| !left.is_zero())
        {
            let minutes = left.as_secs().div_ceil(60);
            let reason = format!(
                "Too many wrong codes: none is taken for the next {minutes} min. Go to the rig and arm it there, or read \
                 its display then."
            );
            return Err(Refusal::new("arm-code-locked", reason));
        }
        if self.digits == digits.trim() {
            *self = Self::new();
            return Ok(());
        }
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            let wait = LOCKED_MIN.saturating_mul(1 << self.lockings.min(16)).min(LOCKED_MAX);
            (self.digits, self.tries, self.locked) = (Self::drawn(), 0, Some(now + wait));
            self.lockings += 1;
        }
        let wrong = "This is not the code on the rig's display. Go there and read it; it changes.";
        Err(Refusal::new("arm-code-wrong", wrong))
    }
}

impl Arming {
    /// Not armed, unless by itself; `lasts` after the last motion.
    pub fn new(by_itself: bool, lasts: Duration) -> Self {
        let (until, code) = (watch::channel(None).0, watch::channel(Code::new()).0);
        Self(Arc::new(Shared { by_itself, lasts, until, code, proven: Mutex::default() }))
    }

    /// The state now.
    pub fn state(&self) -> Armed {
        match *self.0.until.borrow() {
            _ if self.0.by_itself => Armed::ByItself,
            Some(until) if Instant::now() < until => Armed::Yes,
            _ => Armed::No,
        }
    }

    /// When it ends by itself, if it is armed.
    pub fn until(&self) -> Option<Instant> {
        *self.0.until.borrow()
    }

    /// To be told when it is armed, or no more.
    pub fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.0.until.subscribe()
    }

    /// A person at the rig allows motion.
    pub fn arm(&self) {
        self.arm_from(Place::AtRig);
    }

    /// The same from `place`; from afar by a person who has just read the rig's code.
    pub fn arm_from(&self, place: Place) {
        let mut proven = self.proven();
        if self.state() != Armed::Yes {
            proven.clear();
        }
        if !proven.contains(&place) {
            proven.push(place);
        }
        self.0.until.send_replace(Some(Instant::now() + self.0.lasts));
        self.0.code.send_replace(Code::new());
    }

    /// Nobody does any more.
    pub fn disarm(&self) {
        self.proven().clear();
        self.0.until.send_if_modified(|until| until.take().is_some());
    }

    /// The table moved: whoever armed it is there.
    pub fn renew(&self) {
        if self.state() == Armed::Yes {
            self.0.until.send_replace(Some(Instant::now() + self.0.lasts));
        }
    }

    /// The code for the rig's own display, and for nobody else.
    pub fn code(&self) -> String {
        self.0.code.borrow().digits.clone()
    }

    /// Whether whoever says `digits` stands before the rig's display. A code is good once, and for few tries; after
    /// those none is taken for a while.
    pub fn prove(&self, digits: &str) -> Result<(), Refusal> {
        let mut proven = Ok(());
        self.0.code.send_modify(|code| proven = code.tried(digits));
        proven
    }

    /// So many wrong codes came in since somebody armed that somebody may be guessing.
    pub fn is_guessed(&self) -> bool {
        self.0.code.borrow().lockings > 0
    }

    /// Refuses motion that nobody at the rig allowed.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.state() {
            Armed::ByItself | Armed::Yes => Ok(()),
            Armed::No => Err(Refusal::new(
                "motion-not-armed",
                "The table is not armed. Go to the rig, see that nobody is on the table, and turn its key, press its \
                 pedal, or arm it on its display. Then repeat this.",
            )),
        }
    }

    /// Refuses to go on with a motion that a halt ended, unless whoever asks is at the rig or has entered its code. A rig
    /// without a display has no code: there it is enough that somebody at the rig armed it.
    pub fn check_from(&self, place: &Place, display: bool) -> Result<(), Refusal> {
        self.check()?;
        let proven = self.proven();
        let here = *place == Place::AtRig || proven.contains(place);
        if self.0.by_itself || here || (!display && proven.contains(&Place::AtRig)) {
            return Ok(());
        }
        Err(Refusal::new(
            "motion-not-at-rig",
            "What was halted goes on by a person at the rig only. Continue there, or read the code on its display and \
             enter it here first.",
        ))
    }

    fn proven(&self) -> MutexGuard<'_, Vec<Place>> {
        self.0.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn it_lasts_from_the_last_motion_and_ends_by_itself() {
        let arming = Arming::new(false, TEN_MINUTES);
        assert_eq!(arming.state(), Armed::No);
        arming.renew();
        assert_eq!(arming.state(), Armed::No, "a motion arms nothing");
        arming.arm();
        tokio::time::advance(TEN_MINUTES - Duration::from_secs(1)).await;
        arming.renew();
        tokio::time::advance(TEN_MINUTES - Duration::from_secs(1)).await;
        assert_eq!(arming.state(), Armed::Yes);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(arming.state(), Armed::No);
        assert_eq!(arming.check().unwrap_err().rule, "motion-not-armed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_is_good_once_and_not_for_guessing() {
        let arming = Arming::new(false, TEN_MINUTES);
        let code = arming.code();
        assert_eq!(code.len(), 6);
        assert_eq!(arming.prove("").unwrap_err().rule, "arm-code-wrong");
        arming.prove(&code).unwrap();
        assert!(arming.prove(&code).is_err(), "used");
        let code = arming.code();
        let wrong = if code == "000000" { "000001" } else { "000000" };
        for _ in 0..TRIES_MAX {
            assert!(arming.prove(wrong).is_err());
        }
        assert!(arming.prove(&code).is_err(), "five wrong tries made it useless");
    }

    #[tokio::test(start_paused = true)]
    async fn after_five_wrong_codes_none_is_taken_for_longer_and_longer() {
        let arming = Arming::new(false, TEN_MINUTES);
        let wrong = || if arming.code() == "000000" { "000001" } else { "000000" };
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            for _ in 0..TRIES_MAX {
                assert_eq!(arming.prove(wrong()).unwrap_err().rule, "arm-code-wrong");
            }
            assert!(arming.is_guessed());
            tokio::time::advance(Duration::from_secs(60 * minutes - 1)).await;
            let refusal = arming.prove(&arming.code()).unwrap_err();
            assert_eq!(refusal.rule, "arm-code-locked", "the right one neither");
            assert!(refusal.reason.contains("for the next 1 min"), "{}", refusal.reason);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        arming.prove(&arming.code()).unwrap();
        arming.arm();
        assert!(!arming.is_guessed(), "a person at the rig armed");
    }

    #[tokio::test(start_paused = true)]
    async fn from_afar_only_those_go_on_who_entered_the_code_while_it_was_armed() {
        let arming = Arming::new(false, TEN_MINUTES);
        let [tablet, office] = ["ana 1", "ana 2"].map(|name| Place::Afar(name.to_owned()));
        let rule = |place| arming.check_from(place, true).map_err(|refusal| refusal.rule);
        let not_here = Err("motion-not-at-rig".to_owned());
        arming.arm();
        assert_eq!((rule(&Place::AtRig), rule(&tablet)), (Ok(()), not_here.clone()));
        arming.arm_from(tablet.clone());
        assert_eq!((rule(&Place::AtRig), rule(&tablet), rule(&office)), (Ok(()), Ok(()), not_here.clone()));
        assert!(arming.check_from(&office, false).is_ok(), "somebody turned the key of a rig without a code");
        arming.disarm();
        assert_eq!(rule(&Place::AtRig).unwrap_err(), "motion-not-armed");
        arming.arm_from(tablet.clone());
        assert!(arming.check_from(&office, false).is_err(), "nobody at the rig did");
        tokio::time::advance(TEN_MINUTES).await;
        arming.arm();
        assert_eq!(rule(&tablet), not_here, "what was proven then is over");
    }

    #[test]
    fn a_simulated_table_is_armed_by_itself() {
        let arming = Arming::new(true, TEN_MINUTES);
        arming.disarm();
        assert_eq!(arming.state(), Armed::ByItself);
        assert_eq!(arming.check_from(&Place::Afar("office".to_owned()), true), Ok(()));
    }
}
