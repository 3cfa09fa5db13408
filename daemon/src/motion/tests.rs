use super::*;
use turnstage_drivers::Angle;
use turnstage_drivers::turntable::Reference;

const DRIVE: Drive = Drive {
    approach_deg: 5.0,
    reopen: Duration::from_secs(1),
    announce: Duration::from_secs(3),
    unattended_deg_max: 90.0,
    mount: Mount { reversed: false, zero_deg: 0.0, tilt_zero_deg: 0.0, limits_deg: None },
};

fn table(keys: &str) -> (MotionTask, Mover, turnstage_drivers::sim::Booth) {
    guarded(keys, true, Vec::new())
}

/// A table that must be armed unless it is `by_itself`.
fn guarded(
    keys: &str,
    by_itself: bool,
    faults: Vec<turnstage_drivers::sim::Fault>,
) -> (MotionTask, Mover, turnstage_drivers::sim::Booth) {
    let booth = turnstage_drivers::sim::Booth::new(turnstage_drivers::sim::BoothOptions {
        faults,
        ..Default::default()
    })
    .unwrap();
    let around = Surroundings { booth: Some(booth.clone()), ..Surroundings::default() };
    let options = toml::from_str(&format!("driver = \"sim\"\n{keys}")).unwrap();
    let arming = Arming::new(by_itself, Duration::from_secs(600));
    let (task, mover) = MotionTask::new(Some(options), around, DRIVE, arming);
    (task, mover, booth)
}

#[tokio::test(start_paused = true)]
async fn a_stop_halts_the_table_in_mid_move_and_holds_it_until_released() {
    let (task, mover, booth) = table("speed_deg_s = 10.0");
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    assert!(matches!(mover.go(Move::Reference(Reference::Home)).await, MoveEnd::Arrived { .. }));

    let moving = tokio::spawn({
        let mover = mover.clone();
        async move { mover.go(Move::To(Angle::new(170.0))).await }
    });
    mover.watch().wait_for(|state| state.moving).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    mover.stop();
    assert_eq!(moving.await.unwrap(), MoveEnd::Stopped);
    assert!(!booth.is_moving());
    assert!(matches!(mover.state().position, Position::Estimated(_)));

    let refusal = mover.go(Move::To(Angle::new(10.0))).await;
    assert!(matches!(&refusal, MoveEnd::Refused { rule, .. } if rule == "motion-stopped"), "{refusal:?}");
    mover.release();
    assert!(matches!(mover.go(Move::Reference(Reference::Home)).await, MoveEnd::Arrived { .. }));
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_task_is_alive_while_a_heavy_platter_comes_to_rest() {
    let (task, mover, booth) = table("speed_deg_s = 30.0\nacceleration_deg_s2 = 0.5");
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.go(Move::Reference(Reference::At(Angle::new(0.0)))).await;
    let moving = tokio::spawn({
        let mover = mover.clone();
        async move { mover.go(Move::To(Angle::new(170.0))).await }
    });
    mover.watch().wait_for(|state| state.moving).await.unwrap();
    // By then it turns at 7.5 degrees a second, from which it comes to rest in 15 seconds.
    tokio::time::sleep(Duration::from_secs(15)).await;
    mover.stop();
    let stopped = Instant::now();
    while booth.is_moving() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let silent = mover.state().alive.elapsed();
        assert!(silent < BEAT * 2, "nothing was heard of it for {silent:?}");
    }
    assert!(stopped.elapsed() > Duration::from_secs(10), "{:?}", stopped.elapsed());
    assert_eq!(moving.await.unwrap(), MoveEnd::Stopped);
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_held_table_stays_halted_whatever_is_released() {
    let (task, mover, _booth) = table("");
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    let home = || mover.go(Move::Reference(Reference::Home));
    mover.hold(true);
    mover.release();
    assert!(matches!(home().await, MoveEnd::Refused { rule, .. } if rule == "motion-stopped"));
    mover.stop();
    mover.hold(false);
    assert!(matches!(home().await, MoveEnd::Refused { .. }), "a stop stays until it is released");
    mover.release();
    assert!(matches!(home().await, MoveEnd::Arrived { .. }));
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whatever_holds_the_table_ends_arming_and_letting_go_does_not_bring_it_back() {
    let (task, mover, booth) = guarded("", false, Vec::new());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.arming().arm();
    mover.hold(true);
    assert_eq!(mover.arming().state(), Armed::No);
    mover.hold(false);
    let refusal = mover.go(Move::Reference(Reference::Home)).await;
    assert!(matches!(&refusal, MoveEnd::Refused { rule, .. } if rule == "motion-not-armed"), "{refusal:?}");
    assert!(booth.commands().iter().all(|told| !told.command.is_motion()));
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unreferenced_table_does_not_go_to_an_angle() {
    let (task, mover, _booth) = table("");
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    assert!(matches!(mover.go(Move::To(Angle::new(10.0))).await, MoveEnd::Refused { .. }));
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_real_table_turns_only_while_armed_and_says_so_before() {
    let (task, mover, booth) = guarded("", false, Vec::new());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    let home = Move::Reference(Reference::Home);
    let refusal = mover.go(home).await;
    assert!(matches!(&refusal, MoveEnd::Refused { rule, .. } if rule == "motion-not-armed"), "{refusal:?}");
    assert!(booth.commands().iter().all(|told| !told.command.is_motion()));

    mover.arming().arm();
    let asked = Instant::now();
    let moving = tokio::spawn({
        let mover = mover.clone();
        async move { mover.go(home).await }
    });
    mover.watch().wait_for(|state| state.announced).await.unwrap();
    assert!(booth.commands().iter().all(|told| !told.command.is_motion()));
    mover.watch().wait_for(|state| state.moving).await.unwrap();
    assert!(asked.elapsed() >= DRIVE.announce);
    assert!(matches!(moving.await.unwrap(), MoveEnd::Arrived { .. }));

    // The next one follows at once; after half a minute of standing still, people have come near.
    let asked = Instant::now();
    assert!(matches!(mover.go(Move::To(Angle::new(1.0))).await, MoveEnd::Arrived { .. }));
    assert!(asked.elapsed() < DRIVE.announce);
    tokio::time::sleep(QUIET).await;
    let asked = Instant::now();
    assert!(matches!(mover.go(Move::To(Angle::new(2.0))).await, MoveEnd::Arrived { .. }));
    assert!(asked.elapsed() >= DRIVE.announce);
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_motion_of_a_run_is_announced_however_short_the_table_stood() {
    let (task, mover, _booth) = guarded("", false, Vec::new());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.arming().arm();
    assert!(matches!(mover.go(Move::Reference(Reference::Home)).await, MoveEnd::Arrived { .. }));
    let takes = async |deg: f64| {
        let asked = Instant::now();
        assert!(matches!(mover.go(Move::To(Angle::new(deg))).await, MoveEnd::Arrived { .. }));
        asked.elapsed()
    };
    assert!(takes(1.0).await < DRIVE.announce);
    mover.release();
    assert!(takes(2.0).await >= DRIVE.announce, "a person went on");
    mover.announce_next();
    assert!(takes(3.0).await >= DRIVE.announce, "it went on by itself");
    mover.hold(true);
    mover.hold(false);
    mover.arming().arm();
    assert!(takes(4.0).await >= DRIVE.announce, "it was held");
    mover.arming().disarm();
    tokio::time::sleep(Duration::from_millis(1)).await;
    mover.arming().arm();
    assert!(takes(5.0).await >= DRIVE.announce, "it was armed anew");
    mover.hold(false);
    assert!(takes(6.0).await < DRIVE.announce, "a pedal was pressed, and no guard");
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_turns_nothing_is_not_announced_and_leaves_the_first_motion_to_be() {
    let (task, mover, _booth) = guarded("home = false", false, Vec::new());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.arming().arm();
    let asked = Instant::now();
    let zero = Angle::default();
    for still in [Move::Reference(Reference::At(zero)), Move::To(zero)] {
        assert!(matches!(mover.go(still).await, MoveEnd::Arrived { .. }));
    }
    assert!(asked.elapsed() < DRIVE.announce);
    assert!(matches!(mover.go(Move::To(Angle::new(1.0))).await, MoveEnd::Arrived { .. }));
    assert!(asked.elapsed() >= DRIVE.announce);
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn arming_that_ends_while_a_motion_is_announced_is_no_leave_to_move() {
    let (task, mover, booth) = guarded("", false, Vec::new());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.arming().arm();
    let moving = tokio::spawn({
        let mover = mover.clone();
        async move { mover.go(Move::Reference(Reference::Home)).await }
    });
    mover.watch().wait_for(|state| state.announced).await.unwrap();
    mover.arming().disarm();
    let end = moving.await.unwrap();
    assert!(matches!(&end, MoveEnd::Refused { rule, .. } if rule == "motion-not-armed"), "{end:?}");
    assert!(booth.commands().iter().all(|told| !told.command.is_motion()));
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_motion_is_announced_moves_nothing_and_disarms() {
    let (task, mover, booth) = guarded("", false, Vec::new());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.arming().arm();
    let moving = tokio::spawn({
        let mover = mover.clone();
        async move { mover.go(Move::Reference(Reference::Home)).await }
    });
    mover.watch().wait_for(|state| state.announced).await.unwrap();
    mover.stop();
    assert_eq!(moving.await.unwrap(), MoveEnd::Stopped);
    mover.watch().wait_for(|state| state.stopped && state.armed == Armed::No).await.unwrap();
    assert!(booth.commands().iter().all(|told| !told.command.is_motion()));
    mover.release();
    let refusal = mover.go(Move::Reference(Reference::Home)).await;
    assert!(matches!(&refusal, MoveEnd::Refused { rule, .. } if rule == "motion-not-armed"), "{refusal:?}");
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_lost_under_way_says_how_far_the_table_may_still_turn_and_disarms() {
    let faults = vec![turnstage_drivers::sim::Fault::LinkLoss { nth_move: 1 }];
    let (task, mover, booth) = guarded("", false, faults);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    mover.arming().arm();
    assert!(matches!(mover.go(Move::Reference(Reference::Home)).await, MoveEnd::Arrived { .. }));
    let end = mover.go(Move::To(Angle::new(40.0))).await;
    let MoveEnd::Failed { rule: "motion-link-lost", reason } = end else { panic!("{end:?}") };
    assert!(reason.contains("up to 40 degrees"), "{reason}");
    let state = mover.state();
    assert_eq!(
        (state.adrift, state.armed, state.position),
        (Some(Adrift::Turns(40.0)), Armed::No, Position::Unknown)
    );
    booth.mend_link();
    mover.watch().wait_for(|state| state.info.is_some()).await.unwrap();
    assert_eq!(mover.state().adrift, None, "it was opened again, and stopped");
    cancel.cancel();
    running.await.unwrap();
}

const EXTERNAL: &str = "driver = \"external\"\n\
                        rim = { camera = \"main\", radius_mm = 250, marks = 24, mark_mm = 16, height_mm = -10 }";

/// A platter that somebody else turns, seen ten times a second; sends how fast, in degrees a second.
fn seen_platter(around: &Surroundings) -> watch::Sender<f64> {
    let (speed, goes) = watch::channel(0.0);
    let sightings = around.sightings.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut deg = 0.0;
        loop {
            tick.tick().await;
            deg += *goes.borrow() / 10.0;
            sightings.tell(Sighting { at: Instant::now(), deg, error_deg: 0.1 });
        }
    });
    speed
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_the_table_refuses_is_told_as_one_until_the_table_stands() {
    let around = Surroundings::default();
    let speed = seen_platter(&around);
    let options = toml::from_str(EXTERNAL).unwrap();
    let arming = Arming::new(true, Duration::from_secs(600));
    let (task, mover) = MotionTask::new(Some(options), around, DRIVE, arming);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let zero = Move::Reference(Reference::At(Angle::default()));
    assert!(matches!(mover.go(zero).await, MoveEnd::Arrived { .. }));

    speed.send_replace(6.0);
    let moving = tokio::spawn({
        let mover = mover.clone();
        async move { mover.go(Move::To(Angle::new(90.0))).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    mover.stop();
    let end = moving.await.unwrap();
    let MoveEnd::Failed { rule: "motion-not-ours", reason } = end else { panic!("{end:?}") };
    assert!(reason.starts_with("The table was not stopped: this table is turned from elsewhere"), "{reason}");

    // Pressed while nothing is under way it is told too, and once the platter stands it is not any more.
    let told = |state: &Motion| state.unstopped.as_ref().map(|(rule, _)| *rule);
    mover.release();
    mover.watch().wait_for(|state| told(state).is_none()).await.unwrap();
    mover.stop();
    mover.watch().wait_for(|state| told(state) == Some("motion-not-ours")).await.unwrap();
    speed.send_replace(0.0);
    let stands = mover.watch().wait_for(|state| told(state).is_none()).await.unwrap().clone();
    assert_eq!((stands.stopped, stands.fault), (true, None));
    cancel.cancel();
    running.await.unwrap();
}
