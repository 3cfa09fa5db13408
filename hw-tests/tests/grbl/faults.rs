//! What goes wrong, one thing a test: it is told, nothing moves twice, and a person finds zero again.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_read_back_and_nothing_is_sent_again() {
    for nth in [1, 2] {
        let cable = controller();
        let mut table = zeroed(&cable, "").await;
        let start = truly(&cable);
        cable.with(|c| c.fail(Fault::LoseAnswer(nth)));
        assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::Done(Angle::new(90.0)), "{nth}");
        near(truly(&cable) - start, 90.0);
        assert_eq!(table.move_to(forward(120.0)).await.unwrap(), Moved::Done(Angle::new(120.0)));
        assert_eq!(told(&cable), [90.0, 30.0]);
        near(truly(&cable) - start, 120.0);
        untouched(&cable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_starts_anew_in_mid_move_leaves_the_outcome_unknown() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    cable.with(|c| c.fail(Fault::RebootAfter(40.0)));
    assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::OutcomeUnknown);
    assert_eq!(table.position(), Position::Unknown);
    table.stop().await.unwrap();
    let refused = table.move_to(forward(90.0)).await.unwrap();
    let Moved::Refused { rule: "motion-not-referenced", reason } = refused else { panic!("{refused:?}") };
    assert!(reason.contains("started anew"), "{reason}");
    assert_eq!(told(&cable), [90.0], "the move was sent once");
    table.reference(Reference::At(Angle::new(40.0))).await.unwrap();
    assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::Done(Angle::new(90.0)));
    assert_eq!(told(&cable), [90.0, 50.0]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_starts_anew_while_nothing_moves_is_noticed() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    table.heartbeat().await.unwrap();
    cable.with(Controller::reboot);
    for _ in 0..3 {
        table.heartbeat().await.unwrap();
    }
    assert_eq!(table.position(), Position::Unknown);

    let mut table = zeroed(&cable, "").await;
    table.move_to(forward(90.0)).await.unwrap();
    cable.with(Controller::reboot);
    let refused = table.move_to(forward(120.0)).await.unwrap();
    assert!(matches!(refused, Moved::Refused { rule: "motion-not-referenced", .. }), "{refused:?}");
    assert_eq!(told(&cable), [90.0]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_hangs_is_given_up_long_before_the_moves_limit() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    cable.with(|c| c.fail(Fault::HangAfter(20.0)));
    let begun = Instant::now();
    let error = table.move_to(forward(350.0)).await.unwrap_err();
    assert!(matches!(error, TurntableError::NoReply { .. }), "{error}");
    assert!(begun.elapsed() < SECOND * 6, "{:?}", begun.elapsed());
    assert_eq!(table.position(), Position::Unknown);
    let error = table.stop().await.unwrap_err();
    assert!(matches!(error, TurntableError::NoReply { .. }), "a stop that is not answered says so: {error}");
    assert_eq!(told(&cable), [350.0]);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_locks_the_table_and_only_a_person_opens_it() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    cable.with(|c| c.fail(Fault::LimitAfter(40.0)));
    let error = table.move_to(forward(90.0)).await.unwrap_err();
    let TurntableError::Fault { what, .. } = &error else { panic!("{error}") };
    assert!(what.contains("ALARM:1") && what.contains("limit switch"), "{what}");
    assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(None));
    for _ in 0..2 {
        let locked = table.move_by(10.0).await.unwrap_err().to_string();
        assert!(locked.contains("unlock it at the controller"), "{locked}");
        assert!(table.reference(Reference::At(Angle::new(0.0))).await.is_err());
        assert!(table.heartbeat().await.is_err());
    }
    assert_eq!(told(&cable), [90.0]);
    untouched(&cable);

    // The person does.
    let mut pendant = Vec::from(b"$X\n".as_slice());
    cable.with(|c| turnstage_hw_tests::wire::Device::hear(c, &pendant, Instant::now()));
    pendant.clear();
    tokio::time::sleep(SECOND).await;
    table.reference(Reference::At(Angle::new(40.0))).await.unwrap();
    assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::Done(Angle::new(90.0)));
}

#[tokio::test(start_paused = true)]
async fn homing_that_finds_no_switch_is_a_fault() {
    let cable = controller();
    cable.with(|c| {
        c.settings.insert(22, 1.0);
        c.knobs.no_switch = true;
    });
    let mut table = open(&cable, "").await;
    let error = table.reference(Reference::Home).await.unwrap_err().to_string();
    assert!(error.contains("ALARM:9") && error.contains("find zero"), "{error}");
    assert_eq!(table.position(), Position::Unknown);
    untouched(&cable);
}

#[tokio::test(start_paused = true)]
async fn noise_before_every_line_changes_nothing_but_what_it_garbles() {
    let cable = controller();
    cable.with(|c| c.knobs.noise = b"\xff\x00ets Jun 8 2016\r\n\r\n<Idle|MPos:\n".to_vec());
    let mut table = zeroed(&cable, "").await;
    let start = truly(&cable);
    for k in 1..=4 {
        let target = f64::from(k) * 30.0;
        assert_eq!(table.move_to(forward(target)).await.unwrap(), Moved::Done(Angle::new(target)));
    }
    near(truly(&cable) - start, 120.0);
    assert_eq!(told(&cable).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn garbage_without_end_ends_in_an_error_and_moves_nothing() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    cable.with(|c| c.knobs.noise = b"\xfe\xf0garbage".to_vec());
    let error = table.move_to(forward(30.0)).await.unwrap_err();
    assert!(matches!(error, TurntableError::NoReply { .. }), "{error}");
    assert_eq!(told(&cable), [0.0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_platter_cannot_be_seen_from_here() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    let start = truly(&cable);
    cable.with(|c| c.fail(Fault::BlockAfter(10.0)));
    // An open loop believes its motor: a camera, or a person, must see it.
    assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::Done(Angle::new(90.0)));
    near(truly(&cable) - start, 10.0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_in_mid_move_is_told_and_the_move_goes_on_to_its_end_alone() {
    let cable = controller();
    cable.with(|c| c.knobs.resets_on_open = false);
    let mut table = zeroed(&cable, "").await;
    let start = truly(&cable);
    cable.cut_when(move |c| c.truly_deg(0) > start + 40.0);
    let error = table.move_to(forward(90.0)).await.unwrap_err();
    assert!(matches!(error, TurntableError::LinkLost { .. }), "{error}");
    assert_eq!(table.position(), Position::Unknown);
    assert!(matches!(table.stop().await, Err(TurntableError::LinkLost { .. })));
    drop(table);

    let mut table = open(&cable, "").await;
    let stopped = truly(&cable) - start;
    assert!((40.0..90.5).contains(&stopped), "{stopped}");
    assert_eq!(table.position(), Position::Unknown);
    assert!(matches!(table.move_to(forward(90.0)).await.unwrap(), Moved::Refused { .. }));
    table.reference(Reference::At(Angle::new(stopped))).await.unwrap();
    assert_eq!(table.move_to(forward(100.0)).await.unwrap(), Moved::Done(Angle::new(100.0)));
    near(truly(&cable) - start, 100.0);
    assert_eq!(told(&cable).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_still_turns_when_it_is_opened_is_stopped_first() {
    let cable = controller();
    cable.with(|c| c.knobs.resets_on_open = false);
    let mut table = zeroed(&cable, "").await;
    table.rotate(10.0).await.unwrap();
    drop(table);
    let opened = truly(&cable);
    let table = open(&cable, "").await;
    assert_eq!(cable.with(|c| c.state()), State::Idle);
    assert_eq!(table.position(), Position::Unknown);
    let stands = truly(&cable);
    assert!(stands - opened < 2.0, "it turned on by {} degrees", stands - opened);
    tokio::time::sleep(SECOND * 5).await;
    near(truly(&cable), stands);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_somebody_else_moves_is_refused_and_then_doubted() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    let pendant =
        |line: &[u8]| cable.with(|c| turnstage_hw_tests::wire::Device::hear(c, line, Instant::now()));
    pendant(b"$J=G91 X10 F600\n");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let busy = table.move_to(forward(30.0)).await.unwrap();
    assert!(matches!(busy, Moved::Refused { rule: "motion-busy", .. }), "{busy:?}");
    tokio::time::sleep(SECOND * 3).await;
    table.heartbeat().await.unwrap();
    assert_eq!(table.position(), Position::Estimated(Angle::new(10.0)));

    table.reference(Reference::At(Angle::new(10.0))).await.unwrap();
    pendant(b"!");
    let error = table.move_to(forward(30.0)).await.unwrap_err().to_string();
    assert!(error.contains("held at the controller"), "{error}");
    assert_eq!(table.stop().await.unwrap(), Moved::Done(Angle::new(10.0)), "it did not move");
    assert_eq!(table.move_to(forward(30.0)).await.unwrap(), Moved::Done(Angle::new(30.0)));
}
