//! A table that a person turns: `driver = "manual"`. The station asks, a pedal, the panel or a program answers.
//!
//! What the station knows of the angle is what a person says. Nothing turns by itself, so a stop only withdraws the
//! question. Where nobody knows how far the platter went, the home switch is a person too: they are asked for the mark
//! that they call 0.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    DegPerS, Direction, Driver, Hand, Moved, Opened, Position, Reference, Source, Target, Turntable,
    TurntableError, TurntableInfo, WithoutLink,
};
use crate::frame::Angle;
use crate::tried::is_tried;
use crate::{DeviceOptions, Surroundings};

/// `driver = "manual"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "a table that a person turns: the station asks, a pedal or the panel answers",
    check,
    open: |options, around| Box::pin(async move { open(options, around) }),
    // Always there; only a person knows that it is what they want.
    list: || Box::pin(async { Vec::new() }),
};

const NAME: &str = "manual";
const MODEL: &str = "turned by hand";
/// A target nearer than this is where the table stands.
const RESOLUTION_DEG: f64 = 1e-3;
/// Faster and harder than anybody turns a platter that a camera looks at.
const HAND_DEG_S: f64 = 360.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    /// How long a person may take.
    wait_s: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { wait_s: 600.0 }
    }
}

impl Keys {
    fn read(options: &DeviceOptions) -> Result<Self, String> {
        let keys: Self = options.read()?;
        match (5.0..=86_400.0).contains(&keys.wait_s) {
            true => Ok(keys),
            false => Err(format!("wait_s = {} is not in 5 to 86400", keys.wait_s)),
        }
    }
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    Keys::read(options).map(drop)
}

fn open(options: &DeviceOptions, around: &Surroundings) -> Opened {
    let keys =
        Keys::read(options).map_err(|what| TurntableError::Config { driver: NAME.to_owned(), what })?;
    let info = TurntableInfo {
        driver: NAME,
        id: NAME.to_owned(),
        model: MODEL.to_owned(),
        home: true,
        home_way: Direction::Forward,
        one_way: None,
        speed_max: HAND_DEG_S,
        acceleration: HAND_DEG_S,
        rotates: None,
        sweeps: false,
        stops: true,
        move_limit: Duration::from_secs_f64(keys.wait_s),
        firmware: None,
        tilt: None,
        step_deg: None,
        without_link: WithoutLink::Halts,
        tried: is_tried(NAME, MODEL),
    };
    around.hand.withdraw();
    Ok(Box::new(Manual { hand: around.hand.clone(), info, position: Position::Unknown, asking: false }))
}

struct Manual {
    hand: Hand,
    info: TurntableInfo,
    position: Position,
    /// A question was asked, and its answer not seen.
    asking: bool,
}

impl Manual {
    /// Asks for an angle and waits for the answer.
    async fn ask(&mut self, angle: Angle) -> Result<Moved, TurntableError> {
        let number = self.hand.ask(angle);
        let mut asked = self.hand.watch();
        self.asking = true;
        if let Position::Known(from, _) = self.position {
            self.position = Position::Estimated(from);
        }
        let settled =
            asked.wait_for(|asked| asked.is_none_or(|asked| asked.number != number || asked.answered));
        let limit = self.info.move_limit;
        let ours = match timeout(limit, settled).await {
            Ok(Ok(asked)) => asked.is_some_and(|asked| asked.number == number),
            Ok(Err(_)) => false,
            Err(_) => {
                self.hand.withdraw();
                let tried = format!("have it turned to {angle} by hand");
                return Err(TurntableError::NoReply { id: NAME.to_owned(), tried, limit });
            }
        };
        self.asking = false;
        if !ours {
            return Ok(Moved::OutcomeUnknown);
        }
        self.position = Position::Known(angle, Source::Declared);
        Ok(Moved::Done(angle))
    }

    /// Where it stands, or a refusal.
    fn known(&self) -> Result<Angle, Moved> {
        match self.position {
            Position::Known(angle, _) => Ok(angle),
            _ => {
                Err(refused("motion-not-referenced", "the position is not known; say where it stands first"))
            }
        }
    }
}

#[async_trait]
impl Turntable for Manual {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        match how {
            Reference::Home => self.ask(Angle::default()).await,
            Reference::At(angle) => {
                self.position = Position::Known(angle, Source::Declared);
                Ok(Moved::Done(angle))
            }
        }
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        match self.known() {
            Ok(here) if here.distance(to.angle) < RESOLUTION_DEG => Ok(Moved::Done(here)),
            Ok(_) => self.ask(to.angle).await,
            Err(refusal) => Ok(refusal),
        }
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if !(-360.0..=360.0).contains(&degrees) {
            return Ok(refused("motion-out-of-range", &format!("{degrees} degrees is not in -360 to 360")));
        }
        let direction = if degrees < 0.0 { Direction::Backward } else { Direction::Forward };
        match self.known() {
            Ok(here) => self.move_to(Target { angle: Angle::new(here.deg() + degrees), direction }).await,
            Err(refusal) => Ok(refusal),
        }
    }

    async fn rotate(&mut self, _: DegPerS) -> Result<(), TurntableError> {
        let reason =
            "a table that is turned by hand does not turn on and on; use motion = \"stop_and_shoot\"";
        Err(TurntableError::refusal(NAME, refused("motion-no-rotation", reason)))
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        self.asking = false;
        self.hand.withdraw();
        Ok(match self.position {
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

impl Drop for Manual {
    fn drop(&mut self) {
        // A question that nobody waits for any more is not to be answered.
        if self.asking {
            self.hand.withdraw();
        }
    }
}

fn refused(rule: &'static str, reason: &str) -> Moved {
    Moved::Refused { rule, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Hand, Box<dyn Turntable>) {
        let around = Surroundings::default();
        (around.hand.clone(), open(&DeviceOptions::new(NAME), &around).unwrap())
    }

    fn to(deg: f64) -> Target {
        Target { angle: Angle::new(deg), direction: Direction::Forward }
    }

    /// A person who turns when asked, and presses the pedal.
    async fn obeys(hand: &Hand, deg: f64) {
        let mut asked = hand.watch();
        // Copied out: an answer waits for whoever still looks.
        let question = *asked.wait_for(|asked| asked.is_some_and(|asked| !asked.answered)).await.unwrap();
        let question = question.unwrap();
        assert_eq!(question.angle, Angle::new(deg));
        assert!(!hand.answer(question.number + 1), "an answer to another question moves nothing");
        assert!(hand.answer(question.number));
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_is_asked_and_the_answer_is_the_position() {
        let (hand, mut table) = table();
        let refused = table.move_to(to(30.0)).await.unwrap();
        assert!(matches!(refused, Moved::Refused { rule: "motion-not-referenced", .. }));
        table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        let (moved, ()) = tokio::join!(table.move_to(to(30.0)), obeys(&hand, 30.0));
        assert_eq!(moved.unwrap(), Moved::Done(Angle::new(30.0)));
        assert_eq!(table.position(), Position::Known(Angle::new(30.0), Source::Declared));
        let (moved, ()) = tokio::join!(table.move_by(-45.0), obeys(&hand, 345.0));
        assert_eq!(moved.unwrap(), Moved::Done(Angle::new(345.0)));
        assert_eq!(
            table.move_to(to(345.0)).await.unwrap(),
            Moved::Done(Angle::new(345.0)),
            "nobody is asked"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_withdraws_the_question() {
        let (hand, mut table) = table();
        table.reference(Reference::At(Angle::new(10.0))).await.unwrap();
        assert!(timeout(Duration::from_secs(3), table.move_to(to(30.0))).await.is_err());
        let number = hand.watch().borrow().unwrap().number;
        assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(Some(Angle::new(10.0))));
        assert!(!hand.answer(number), "a late answer moves nothing");
        assert_eq!(table.position(), Position::Estimated(Angle::new(10.0)));
        assert!(matches!(table.move_to(to(30.0)).await.unwrap(), Moved::Refused { .. }));
        // One question says where it stands.
        let (moved, ()) = tokio::join!(table.reference(Reference::Home), obeys(&hand, 0.0));
        assert_eq!(moved.unwrap(), Moved::Done(Angle::default()));
        assert_eq!(table.position(), Position::Known(Angle::default(), Source::Declared));
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_who_does_not_come_is_not_waited_for_for_ever() {
        let (hand, mut table) = table();
        table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        let error = table.move_to(to(30.0)).await.unwrap_err().to_string();
        assert!(error.contains("by hand") && error.contains("600s"), "{error}");
        assert!(!hand.answer(1));
        assert!(matches!(table.position(), Position::Estimated(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_is_closed_asks_nothing_more() {
        let (hand, mut table) = table();
        table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        assert!(timeout(Duration::from_secs(1), table.move_to(to(30.0))).await.is_err());
        drop(table);
        assert!(!hand.answer(1));
    }

    #[test]
    fn a_wrong_key_is_told_with_its_value_and_range() {
        let options = |keys: &str| toml::from_str(&format!("driver = \"manual\"\n{keys}")).unwrap();
        assert!(check(&options("wait_s = 1.0")).unwrap_err().contains("wait_s = 1 is not in 5 to 86400"));
        assert!(check(&options("speed = 1.0")).is_err());
    }
}
