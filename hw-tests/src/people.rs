//! Simulated people beside tables without a motor of ours: one turns the platter when asked, one switches it on.
//!
//! What they do to the platter is physics, and what they say of it is what people say: done, when they let go.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use turnstage_drivers::sim::motion::Profile;
use turnstage_drivers::turntable::{Hand, Sighting, Sightings};

/// How fast a person turns a platter, and how hard they push.
const HAND_DEG_S: f64 = 60.0;
const HAND_DEG_S2: f64 = 120.0;
/// From a question to the hand on the platter, and from the mark to the pedal.
const REACTION: Duration = Duration::from_millis(400);
/// How far beside the mark a person lets go: so much, and on the other side the next time.
const BESIDE_DEG: f64 = 0.4;
/// How often a camera reads the rim, and within how much.
const LOOK: Duration = Duration::from_millis(50);
const READ_DEG: f64 = 0.05;

/// A platter that people move. Clones are the same platter.
#[derive(Clone)]
pub struct Platter(Arc<Mutex<Turn>>);

/// The turn under way, or the last one.
struct Turn {
    from: f64,
    begun: Instant,
    profile: Profile,
}

impl Platter {
    /// A platter at rest.
    pub fn at_rest(deg: f64) -> Self {
        let profile = Profile::travel(0.0, HAND_DEG_S, HAND_DEG_S2);
        Self(Arc::new(Mutex::new(Turn { from: deg, begun: Instant::now(), profile })))
    }

    /// Where it truly is, in degrees counted on over turns.
    pub fn deg(&self) -> f64 {
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turn.from + turn.profile.at(turn.begun.elapsed().as_secs_f64()).0
    }

    fn set_off(&self, profile: Profile) {
        let from = self.deg();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Turn { from, begun: Instant::now(), profile };
    }

    /// Whoever turns it lets go of it.
    fn let_go(&self) {
        self.set_off(Profile::travel(0.0, HAND_DEG_S, HAND_DEG_S2));
    }
}

/// A person who turns the platter by the shorter way to what is asked, and presses the pedal; who lets go when the
/// question is withdrawn. Never ends.
pub async fn turns_when_asked(hand: Hand, platter: Platter) {
    let mut asked = hand.watch();
    let mut beside = BESIDE_DEG;
    let zero = platter.deg();
    loop {
        let open = asked.wait_for(|asked| asked.is_some_and(|asked| !asked.answered)).await;
        // Copied out: an answer waits for whoever still looks.
        let Some(question) = open.ok().and_then(|asked| *asked) else { return };
        let turning = async {
            sleep(REACTION).await;
            let by = (zero + question.angle.deg() + beside - platter.deg() + 180.0).rem_euclid(360.0) - 180.0;
            let profile = Profile::travel(by, HAND_DEG_S, HAND_DEG_S2);
            let seconds = profile.seconds();
            platter.set_off(profile);
            sleep(Duration::from_secs_f64(seconds)).await;
            sleep(REACTION).await;
        };
        tokio::select! {
            biased;
            _ = asked.wait_for(|now| now.is_none_or(|now| now.number != question.number || now.answered)) => {
                platter.let_go();
                continue;
            }
            () = turning => {}
        }
        hand.answer(question.number);
        beside = -beside;
    }
}

/// A camera that reads the rim of a platter, which somebody switches on at a moment: it turns by itself from then on, at a
/// speed, whatever anybody asks. Never ends.
pub async fn turns_by_itself(sightings: Sightings, platter: Platter, from: Instant, deg_s: f64) {
    let look = async {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            sightings.tell(Sighting { at: Instant::now(), deg: platter.deg(), error_deg: READ_DEG });
        }
    };
    let switch = async {
        sleep_until(from).await;
        platter.set_off(Profile::spin(deg_s, HAND_DEG_S2));
        std::future::pending::<()>().await;
    };
    tokio::join!(look, switch);
}
