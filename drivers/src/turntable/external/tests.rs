//! A platter that turns by its own will, a camera that sees it ten times a second, and a table that only looks.

use super::*;
use crate::turntable::{Direction, Sightings};

const TENTH: Duration = Duration::from_millis(100);

fn options(keys: &str) -> DeviceOptions {
    let rim = "camera = \"main\", radius_mm = 150.0, marks = 24, mark_mm = 9.0, height_mm = -7.0";
    toml::from_str(&format!("driver = \"external\"\nrim = {{ {rim} }}\n{keys}")).unwrap()
}

fn table(keys: &str) -> (Sightings, Box<dyn Turntable>) {
    let around = Surroundings::default();
    (around.sightings.clone(), open(&options(keys), &around).unwrap())
}

fn to(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

/// The platter: where it was at `since`, and how fast it goes.
#[derive(Clone, Copy)]
struct Platter {
    since: Instant,
    from: f64,
    speed: f64,
}

impl Platter {
    fn new(from: f64, speed: f64) -> Self {
        Self { since: Instant::now(), from, speed }
    }

    fn deg(&self, at: Instant) -> f64 {
        self.from + self.speed * at.duration_since(self.since).as_secs_f64()
    }

    fn see(&self, sightings: &Sightings) {
        let at = Instant::now();
        // A camera reads an angle within the turn.
        sightings.tell(Sighting { at, deg: self.deg(at).rem_euclid(360.0), error_deg: 0.1 });
    }

    /// A camera looks on and on.
    async fn seen(&self, sightings: &Sightings) {
        let mut tick = tokio::time::interval(TENTH);
        loop {
            tick.tick().await;
            self.see(sightings);
        }
    }

    async fn during<T>(&self, sightings: &Sightings, what: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = what => done,
            () = self.seen(sightings) => unreachable!("it looks for ever"),
        }
    }
}

/// Declared to stand at 0, and then a platter that turns.
async fn declared(sightings: &Sightings, table: &mut dyn Turntable, marks: f64) {
    let still = Platter::new(marks, 0.0);
    still.see(sightings);
    table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_move_ends_at_the_moment_when_the_platter_is_there() {
    for (speed, lead) in [(12.0, 0.0), (-30.0, 0.0), (20.0, 80.0)] {
        let (sightings, mut table) = table(&format!("tolerance_deg = 0.5\nlead_ms = {lead:.1}"));
        declared(&sightings, table.as_mut(), 200.0).await;
        let platter = Platter::new(200.0, speed);
        for target in [30.0, 60.0, 350.0] {
            let moved = platter.during(&sightings, table.move_to(to(target))).await.unwrap();
            let Moved::Done(at) = moved else { panic!("{moved:?}") };
            let open = Instant::now() + Duration::from_secs_f64(lead / 1000.0);
            let truly = Angle::new(platter.deg(open) - 200.0);
            assert!(truly.distance(Angle::new(target)) < 0.6, "{speed}: at {truly} for {target}");
            assert!(at.distance(truly) < 0.1, "{at} and {truly}");
            assert!(matches!(table.position(), Position::Known(_, Source::Seen)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_platter_that_stands_at_the_target_is_there() {
    let (sightings, mut table) = table("");
    declared(&sightings, table.as_mut(), 10.0).await;
    let still = Platter::new(40.0, 0.0);
    let moved = still.during(&sightings, table.move_to(to(30.0))).await.unwrap();
    assert_eq!(moved, Moved::Done(Angle::new(30.0)));
    assert_eq!(still.during(&sightings, table.stop()).await.unwrap(), Moved::Done(Angle::new(30.0)));
}

#[tokio::test(start_paused = true)]
async fn a_position_is_known_only_while_it_is_seen_and_why_it_is_not_is_told() {
    let (sightings, mut table) = table("wait_s = 20.0");
    assert_eq!(table.position(), Position::Unknown);
    sightings.miss("camera main sees no mark");
    for unseen in [table.reference(Reference::Home).await, table.move_to(to(30.0)).await] {
        let Ok(Moved::Refused { rule: "motion-not-seen", reason }) = unseen else { panic!("{unseen:?}") };
        assert!(reason.ends_with("not seen: camera main sees no mark"), "{reason}");
    }
    let ill = table.heartbeat().await.unwrap_err().to_string();
    assert!(ill.contains("camera main sees no mark"), "{ill}");
    let still = Platter::new(77.0, 0.0);
    still.see(&sightings);
    assert_eq!(table.reference(Reference::Home).await.unwrap(), Moved::Done(Angle::new(77.0)), "read off");
    assert_eq!(table.position(), Position::Known(Angle::new(77.0), Source::Seen));
    table.heartbeat().await.unwrap();
    declared(&sightings, table.as_mut(), 77.0).await;
    assert_eq!(table.position(), Position::Known(Angle::new(0.0), Source::Seen));
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(table.position(), Position::Estimated(Angle::new(0.0)));
    let stands = still.during(&sightings, table.move_to(to(30.0))).await.unwrap();
    let Moved::Refused { rule: "motion-not-come", reason } = stands else { panic!("{stands:?}") };
    assert!(reason.contains("did not come by 30.0° within 20 s"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn somebody_may_step_before_the_marks_for_a_moment() {
    let (sightings, mut table) = table("");
    let platter = Platter::new(0.0, 10.0);
    let hidden = async {
        platter.see(&sightings);
        tokio::time::sleep(Duration::from_secs(4)).await;
        platter.seen(&sightings).await;
    };
    let moved = tokio::select! {
        moved = table.move_to(to(60.0)) => moved.unwrap(),
        () = hidden => unreachable!("it looks for ever"),
    };
    assert!(matches!(moved, Moved::Done(_)), "{moved:?}");
    assert!((platter.deg(Instant::now()) - 60.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn a_platter_that_turns_cannot_be_stopped_from_here_and_that_is_said() {
    let (sightings, mut table) = table("");
    let nothing_seen = table.stop().await.unwrap();
    assert!(matches!(nothing_seen, Moved::Refused { rule: "motion-not-ours", .. }));
    declared(&sightings, table.as_mut(), 0.0).await;
    let platter = Platter::new(0.0, 10.0);
    platter.during(&sightings, table.move_to(to(20.0))).await.unwrap();
    let moved = platter.during(&sightings, table.stop()).await.unwrap();
    let Moved::Refused { reason, .. } = moved else { panic!("{moved:?}") };
    assert!(reason.contains("at its own switch"), "{reason}");
    assert!(table.rotate(10.0).await.unwrap_err().to_string().contains("start it there"));
    let declared = platter.during(&sightings, table.reference(Reference::At(Angle::new(0.0)))).await.unwrap();
    assert!(matches!(declared, Moved::Refused { rule: "motion-busy", .. }), "{declared:?}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_followed_and_counted_on_over_360() {
    let (sightings, mut table) = table("");
    declared(&sightings, table.as_mut(), 300.0).await;
    let platter = Platter::new(300.0, 20.0);
    platter.during(&sightings, table.move_to(to(10.0))).await.unwrap();
    let (sender, seen) = watch::channel(None);
    let moved = platter.during(&sightings, table.sweep(365.0, 20.0, &sender)).await.unwrap();
    assert!(matches!(moved, Moved::Done(_)), "{moved:?}");
    let last: Sighting = seen.borrow().unwrap();
    let truly = platter.deg(last.at) - 300.0;
    assert!((last.deg - truly).abs() < 1e-6 && last.deg > 365.0, "{last:?} and {truly}");
    let fast = platter.during(&sightings, table.sweep(90.0, 10.0, &sender)).await.unwrap();
    let Moved::Refused { rule: "motion-too-fast", reason } = fast else { panic!("{fast:?}") };
    assert!(reason.contains("turns at 20.0"), "{reason}");
    let back = Platter::new(platter.deg(Instant::now()), -20.0);
    back.during(&sightings, tokio::time::sleep(Duration::from_secs(1))).await;
    let other = back.during(&sightings, table.sweep(90.0, 20.0, &sender)).await.unwrap();
    assert!(matches!(other, Moved::Refused { rule: "motion-other-way", .. }), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mad_sighting_starts_no_shutter() {
    let (sightings, mut table) = table("wait_s = 30.0");
    declared(&sightings, table.as_mut(), 0.0).await;
    let now = Instant::now();
    for (k, deg) in [(1u32, f64::NAN), (2, 170.0), (3, f64::INFINITY)] {
        sightings.tell(Sighting { at: now + TENTH * k, deg, error_deg: 0.1 });
        tokio::time::sleep(TENTH).await;
    }
    let moved = table.move_to(to(90.0)).await.unwrap();
    assert!(matches!(moved, Moved::Refused { rule: "motion-not-seen", .. }), "{moved:?}");
}

#[test]
fn a_wrong_key_is_told_with_its_value_and_range() {
    for (keys, told) in [
        ("tolerance_deg = 0.0", "tolerance_deg = 0 is not in 0.05 to 20"),
        ("fresh_ms = 1.0", "fresh_ms = 1 is not in 50 to 10000"),
        ("lead_ms = nan", "lead_ms = NaN is not in 0 to 2000"),
        ("speed = 3.0", "speed"),
    ] {
        let what = check(&options(keys)).unwrap_err();
        assert!(what.contains(told), "{keys}: {what}");
    }
    let with = |rim: &str| check(&toml::from_str(&format!("driver = \"external\"\n{rim}")).unwrap());
    assert!(with("").unwrap_err().contains("[rig.turntable.rim]"));
    for (key, told) in [
        ("radius_mm = 1.0", "rim.radius_mm = 1 is not in 20 to 10000"),
        ("marks = 50", "rim.marks = 50 is not in 3 to 36"),
        ("mark_mm = 40.0", "24 marks round a radius of 150 mm may be 31.4 mm wide at most"),
        ("zero_deg = 400.0", "rim.zero_deg = 400"),
        ("colour = 1", "colour"),
    ] {
        let mut rim: toml::Table =
            "camera = \"a\"\nradius_mm = 150\nmarks = 24\nmark_mm = 9\nheight_mm = -7".parse().unwrap();
        rim.extend(key.parse::<toml::Table>().unwrap());
        let what = with(&format!("[rim]\n{rim}")).unwrap_err();
        assert!(what.contains(told), "{key}: {what}");
    }
    let watched = Watched::of(&options("tolerance_deg = 2.0")).unwrap();
    assert_eq!((watched.ring.rim().marks, watched.tolerance_deg), (24, 2.0));
    assert_eq!(Watched::of(&DeviceOptions::new("manual")), None);
}
