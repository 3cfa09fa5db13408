//! Ways round, and a cable that is never wound further than it reaches, whatever is asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use turnstage_drivers::turntable::mounted::{Mount, Mounted};
use turnstage_drivers::turntable::{DegPerS, Source, TurntableInfo, WithoutLink};

use super::*;

fn way(from: f64, to: f64, bounds: Bounds) -> Vec<f64> {
    let found = legs(Angle::new(from), Angle::new(to), 0.0, 5.0, bounds);
    found.into_iter().map(|leg| (leg * 1e6).round() / 1e6).collect()
}

#[test]
fn every_way_ends_forward_and_none_goes_the_long_way_round() {
    let way = |from, to| way(from, to, Bounds::default());
    assert_eq!(way(0.0, 10.0), [10.0]);
    assert_eq!(way(350.0, 0.0), [10.0]);
    assert_eq!(way(350.0, 170.0), [180.0]);
    assert_eq!(way(100.0, 40.0), [-65.0, 5.0]);
    assert_eq!(way(40.0, 40.0), [0.0; 0]);
    assert_eq!(way(40.000_000_1, 40.0), [0.0; 0], "no turn of 360 degrees for a rounding error");
}

#[test]
fn a_way_that_the_cable_does_not_reach_goes_back() {
    let wound = |deg: f64| Bounds { room: Some((-10.0 - deg, 370.0 - deg)), one_way: None };
    assert_eq!(way(350.0, 0.0, wound(350.0)), [10.0]);
    assert_eq!(way(10.0, 20.0, wound(370.0)), [-355.0, 5.0]);
    assert_eq!(way(9.0, 12.0, wound(369.0)), [-362.0, 5.0]);
    assert_eq!(way(0.0, 352.0, wound(0.0)), [-10.0, 2.0], "past the target as far as it reaches");
    assert_eq!(way(0.0, 340.0, wound(0.0)), [340.0]);
    let sweep = legs(Angle::new(357.0), Angle::new(357.0), 356.0, 5.0, wound(357.0));
    assert_eq!(sweep, [-365.0, 5.0], "what comes after must fit too");
}

#[test]
fn a_table_that_turns_one_way_only_is_never_asked_for_the_other() {
    let only = |way| Bounds { room: None, one_way: Some(way) };
    assert_eq!(way(100.0, 40.0, only(Direction::Forward)), [300.0]);
    assert_eq!(way(0.0, 337.5, only(Direction::Forward)), [337.5]);
    assert_eq!(way(40.0, 100.0, only(Direction::Backward)), [-300.0]);
    assert_eq!(way(40.0, 40.0, only(Direction::Backward)), [0.0; 0]);
    assert_eq!(way(280.02, 280.0, only(Direction::Forward)), [0.0; 0], "no whole turn for a part of a step");
}

#[test]
fn a_table_that_would_turn_on_is_never_asked_for_more_than_the_limit() {
    let parts = |to: f64, legs: &[f64], most| -> Vec<(f64, Direction)> {
        let parts = parts(Angle::new(10.0), Angle::new(to), legs, most, None);
        parts.iter().map(|part| (part.angle.deg(), part.direction)).collect()
    };
    let (on, back) = (Direction::Forward, Direction::Backward);
    assert_eq!(parts(190.0, &[180.0], None), [(190.0, on)]);
    assert_eq!(parts(190.0, &[180.0], Some(90.0)), [(100.0, on), (190.0, on)]);
    assert_eq!(parts(190.0, &[180.0], Some(60.0)), [(70.0, on), (130.0, on), (190.0, on)]);
    assert_eq!(parts(250.0, &[-120.0], Some(90.0)), [(310.0, back), (250.0, back)]);
    assert_eq!(parts(13.0, &[-362.0, 5.0], None), [(189.0, back), (8.0, back), (13.0, on)]);
}

/// What a platter with a cable truly did.
#[derive(Debug, Default)]
struct Track {
    turned: f64,
    lowest: f64,
    highest: f64,
    /// The share of the next motion after which nobody waits for its end.
    cut: Option<f64>,
}

/// A table that turns the platter, and finds a switch once a turn.
struct Spool {
    info: TurntableInfo,
    track: Arc<Mutex<Track>>,
    /// What was turned where its angle is 0.
    zero: f64,
    known: bool,
}

impl Spool {
    fn new(home_way: Direction, track: Arc<Mutex<Track>>) -> Self {
        let info = TurntableInfo {
            driver: "spool",
            id: "spool".to_owned(),
            model: "spool".to_owned(),
            home: true,
            home_way,
            one_way: None,
            speed_max: 10.0,
            acceleration: 10.0,
            rotates: None,
            sweeps: false,
            stops: true,
            move_limit: Duration::from_secs(60),
            firmware: None,
            tilt: None,
            step_deg: None,
            without_link: WithoutLink::Halts,
            tried: true,
        };
        Self { info, track, zero: 0.0, known: false }
    }

    fn turned(&self) -> f64 {
        self.track.lock().unwrap().turned
    }

    fn turn_to(&self, turned: f64) {
        let mut track = self.track.lock().unwrap();
        track.turned = turned;
        (track.lowest, track.highest) = (track.lowest.min(turned), track.highest.max(turned));
    }

    fn angle(&self) -> Angle {
        Angle::new(self.turned() - self.zero)
    }

    async fn travel(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let cut = self.track.lock().unwrap().cut.take();
        self.turn_to(self.turned() + cut.unwrap_or(1.0) * degrees);
        if cut.is_some() {
            self.known = false;
            std::future::pending::<()>().await;
        }
        Ok(Moved::Done(self.angle()))
    }
}

#[async_trait]
impl Turntable for Spool {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        self.zero = match how {
            Reference::At(angle) => self.turned() - angle.deg(),
            Reference::Home => {
                let turns = self.turned() / 360.0;
                self.turn_to(
                    360.0
                        * match self.info.home_way {
                            Direction::Forward => turns.ceil(),
                            Direction::Backward => turns.floor(),
                        },
                );
                self.turned()
            }
        };
        self.known = true;
        Ok(Moved::Done(self.angle()))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        self.travel(turn(self.position(), to)).await
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        self.travel(degrees).await
    }

    async fn rotate(&mut self, _: DegPerS) -> Result<(), TurntableError> {
        unreachable!("nothing here turns on and on")
    }

    async fn sweep(
        &mut self,
        degrees: f64,
        _: DegPerS,
        _: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        self.travel(degrees).await
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        Ok(Moved::StoppedAt(Some(self.angle())))
    }

    fn position(&self) -> Position {
        match self.known {
            true => Position::Known(self.angle(), Source::Home),
            false => Position::Estimated(self.angle()),
        }
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

/// What is asked of the table.
#[derive(Debug, Clone)]
enum Asked {
    To(f64),
    Sweep(f64),
    Find,
    /// Goes there and is stopped on the way.
    Stopped(f64, f64),
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        6 => (0.0..360.0).prop_map(Asked::To),
        1 => (1.0..700.0).prop_map(Asked::Sweep),
        1 => Just(Asked::Find),
        2 => (0.0..360.0, 0.0..1.0).prop_map(|(deg, share)| Asked::Stopped(deg, share)),
    ]
}

/// Asks, and looks whether the cable held.
async fn hold(mount: Mount, home_way: Direction, declared: Option<f64>, all: Vec<Asked>) {
    let track = Arc::new(Mutex::new(Track::default()));
    let mut table = Mounted::new(Box::new(Spool::new(home_way, track.clone())), mount);
    let driven = Drive {
        approach_deg: 5.0,
        reopen: Duration::from_secs(1),
        announce: Duration::from_secs(3),
        unattended_deg_max: 90.0,
        mount,
    };
    let (seen, _kept) = watch::channel(None);
    let find = Move::Reference(declared.map_or(Reference::Home, |deg| Reference::At(Angle::new(deg))));
    let mut moves = vec![(find, None)];
    for one in all {
        match one {
            Asked::To(deg) => moves.push((Move::To(Angle::new(deg)), None)),
            Asked::Sweep(degrees) => moves.push((Move::Sweep { degrees, speed: 5.0 }, None)),
            Asked::Find => moves.push((find, None)),
            Asked::Stopped(deg, share) => {
                moves.extend([(Move::To(Angle::new(deg)), Some(share)), (find, None)]);
            }
        }
    }
    for (what, cut) in moves {
        track.lock().unwrap().cut = cut;
        let mut under_way = UnderWay::Nothing;
        let ended = tokio::select! {
            biased;
            moved = drive(&mut table, what, &driven, &seen, &mut under_way) => Some(moved.unwrap()),
            () = std::future::ready(()) => None,
        };
        track.lock().unwrap().cut = None;
        match (ended, what) {
            (None, _) => drop(table.stop().await.unwrap()),
            (Some(Moved::Done(at)), Move::To(angle)) => {
                assert!(at.distance(angle) < 1e-6, "{at} for {angle}")
            }
            (Some(Moved::Done(_)), _) => {}
            // No range holds every sweep.
            (Some(Moved::Refused { rule: "motion-limit", .. }), Move::Sweep { .. }) => {}
            (Some(other), _) => panic!("{what:?}: {other:?}"),
        }
        let (low, high) = mount.limits_deg.unwrap();
        let (low, high) = if mount.reversed { (-high, -low) } else { (low, high) };
        let track = track.lock().unwrap();
        assert!(track.lowest > low - 1e-3 && track.highest < high + 1e-3, "{what:?}: {track:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_of_a_table_with_a_cable_is_done_within_its_range(
        low in -360.0..-10.0_f64,
        more in 0.0..400.0_f64,
        reversed: bool,
        zero_deg in 0.0..360.0,
        home_forward: bool,
        declared in proptest::option::of(0.0..360.0),
        all in proptest::collection::vec(asked(), 1..40),
    ) {
        let high = (low + 360.0 + more).max(10.0);
        let mount = Mount { reversed, zero_deg, tilt_zero_deg: 0.0, limits_deg: Some((low, high)) };
        let home_way = if home_forward { Direction::Forward } else { Direction::Backward };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(hold(mount, home_way, declared, all));
    }
}

/// A platform that stands for certain on its pins, every ten degrees, and nowhere else.
struct Pinned {
    deg: f64,
    ways: Vec<f64>,
    info: TurntableInfo,
}

impl Pinned {
    fn new(step_deg: Option<f64>) -> Self {
        let info = TurntableInfo {
            driver: "pinned",
            id: String::new(),
            model: String::new(),
            home: false,
            speed_max: 10.0,
            acceleration: 10.0,
            rotates: None,
            sweeps: false,
            stops: true,
            move_limit: Duration::from_secs(60),
            firmware: None,
            tilt: None,
            one_way: None,
            home_way: Direction::Backward,
            step_deg,
            without_link: WithoutLink::EndsMove,
            tried: false,
        };
        Self { deg: 0.0, ways: Vec::new(), info }
    }
}

#[async_trait]
impl Turntable for Pinned {
    async fn reference(&mut self, _: Reference) -> Result<Moved, TurntableError> {
        Ok(Moved::Done(Angle::new(self.deg)))
    }
    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        if !matches!(self.position(), Position::Known(..)) {
            return Ok(Moved::Refused { rule: "motion-not-referenced", reason: "find a pin".to_owned() });
        }
        let way = turn(self.position(), to);
        self.deg += way;
        self.ways.push(way);
        Ok(Moved::Done(Angle::new(self.deg)))
    }
    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        self.deg += degrees;
        Ok(Moved::Done(Angle::new(self.deg)))
    }
    async fn rotate(&mut self, _: DegPerS) -> Result<(), TurntableError> {
        Ok(())
    }
    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        Ok(Moved::Done(Angle::new(self.deg)))
    }
    fn position(&self) -> Position {
        let past = self.deg.rem_euclid(10.0);
        match past.min(10.0 - past) < 0.01 {
            true => Position::Known(Angle::new(self.deg), Source::Declared),
            false => Position::Estimated(Angle::new(self.deg)),
        }
    }
    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

async fn driven(table: &mut Pinned, deg: f64) -> Moved {
    let how = Drive {
        approach_deg: 5.0,
        reopen: Duration::from_secs(1),
        announce: Duration::ZERO,
        unattended_deg_max: 90.0,
        mount: Mount::default(),
    };
    let seen = watch::channel(None).0;
    drive(table, Move::To(Angle::new(deg)), &how, &seen, &mut UnderWay::Nothing).await.unwrap()
}

#[tokio::test]
async fn a_table_that_stands_on_pins_is_led_from_pin_to_pin() {
    let mut table = Pinned::new(Some(10.0));
    assert_eq!(driven(&mut table, 130.0).await, Moved::Done(Angle::new(130.0)));
    assert_eq!(table.ways, [70.0, 60.0]);
    let far = Angle::new(350.0);
    for (step, most) in [(10.0, 90.0), (40.0, 90.0), (7.0, 20.0), (360.0, 90.0)] {
        let mut from = Position::Known(Angle::new(0.0), Source::Declared);
        for part in parts(Angle::new(0.0), far, &[350.0], Some(most), Some(step)) {
            assert!(turn(from, part) <= most + 1e-9, "{step}: {}", turn(from, part));
            from = Position::Known(part.angle, Source::Declared);
        }
    }
}

#[tokio::test]
async fn a_refusal_half_way_is_a_stop_because_something_has_moved() {
    // It does not tell of its pins, so that it is led to a place between two of them.
    let mut table = Pinned::new(None);
    assert_eq!(driven(&mut table, 130.0).await, Moved::StoppedAt(Some(Angle::new(65.0))));
    let refused = driven(&mut table, 130.0).await;
    assert!(matches!(refused, Moved::Refused { .. }), "nothing has moved: {refused:?}");
}
