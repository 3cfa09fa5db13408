//! The measured facts: the simulated controller is held to what the unmodified firmware did.

use super::*;

/// Everything that is said until nothing was said for `quiet`.
async fn hear(link: &mut Box<dyn Link>, quiet: Duration) -> String {
    let mut said = Vec::new();
    while link.receive(&mut said, quiet).await.is_ok() {}
    String::from_utf8(said).unwrap()
}

async fn ask(link: &mut Box<dyn Link>, bytes: &str) -> String {
    link.send(bytes.as_bytes(), SECOND).await.unwrap();
    hear(link, Duration::from_millis(150)).await
}

/// A started controller, with a tenth of the speed: 60 degrees a second, moves of 15 a second.
async fn started() -> (Cable<Controller>, Box<dyn Link>) {
    let cable = Cable::new(Controller::new(1, 60.0, 60.0));
    let mut link = cable.link();
    assert_eq!(hear(&mut link, SECOND * 2).await, "\r\nGrbl 1.1h ['$' for help]\r\n");
    (cable, link)
}

#[tokio::test(start_paused = true)]
async fn ok_is_not_completion_and_neither_is_one_idle_but_a_dwell_is() {
    let (cable, mut link) = started().await;
    link.send(b"G91 G94 G1 X30 F900\n?", SECOND).await.unwrap();
    let early = hear(&mut link, Duration::from_millis(50)).await;
    assert!(early.starts_with("<Idle|MPos:0.000"), "a report before the ok says idle: {early}");
    let begun = Instant::now();
    assert_eq!(hear(&mut link, Duration::from_millis(100)).await, "ok\r\n");
    assert!(begun.elapsed() < SECOND, "the ok comes long before the end");
    assert!(cable.with(|c| c.counted_deg(0)) < 1.0);
    assert!(ask(&mut link, "?").await.starts_with("<Run|MPos:"), "it runs after the ok");
    link.send(b"G4 P0.01\n", SECOND).await.unwrap();
    let mut said = Vec::new();
    link.receive(&mut said, SECOND * 5).await.unwrap();
    assert_eq!(said, b"ok\r\n");
    near(cable.with(|c| c.counted_deg(0)), 30.0);
    assert!(ask(&mut link, "?").await.starts_with("<Idle|MPos:30.000"));
}

#[tokio::test(start_paused = true)]
async fn a_hold_keeps_the_position_and_goes_on_or_is_reset_without_an_alarm() {
    let (cable, mut link) = started().await;
    ask(&mut link, "G91 G1 X30 F900\n").await;
    ask(&mut link, "!").await;
    hear(&mut link, SECOND).await;
    let held = cable.with(|c| c.counted_deg(0));
    assert!(ask(&mut link, "?").await.starts_with(&format!("<Hold:0|MPos:{held:.3}")));
    assert!(held > 0.0 && held < 30.0);
    ask(&mut link, "~").await;
    hear(&mut link, SECOND * 5).await;
    near(cable.with(|c| c.counted_deg(0)), 30.0);

    ask(&mut link, "G91 G1 X30 F900\n!").await;
    hear(&mut link, SECOND).await;
    ask(&mut link, "~").await;
    ask(&mut link, "!").await;
    hear(&mut link, SECOND).await;
    let held = cable.with(|c| c.counted_deg(0));
    let reset = ask(&mut link, "\x18").await;
    assert_eq!(reset, "\r\nGrbl 1.1h ['$' for help]\r\n", "no alarm");
    assert!(ask(&mut link, "?").await.starts_with(&format!("<Idle|MPos:{held:.3}")));
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_motion_locks_it_until_somebody_unlocks() {
    let (cable, mut link) = started().await;
    ask(&mut link, "G91 G1 X30 F900\n").await;
    let reset = ask(&mut link, "\x18").await;
    assert_eq!(reset, "ALARM:3\r\n\r\nGrbl 1.1h ['$' for help]\r\n[MSG:'$H'|'$X' to unlock]\r\n");
    assert_eq!(ask(&mut link, "G91 G1 X30 F900\n").await, "error:9\r\n");
    assert_eq!(ask(&mut link, "$X\n").await, "[MSG:Caution: Unlocked]\r\nok\r\n");
    assert_eq!(ask(&mut link, "G91 G1 X30\n").await, "error:22\r\n", "no speed is left after a reset");
    assert_eq!(ask(&mut link, "G91 G1 X1 F900\n").await, "ok\r\n");
    assert_eq!(cable.with(|c| c.told.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn settings_outlive_a_reset_and_unknown_ones_are_errors() {
    let (_, mut link) = started().await;
    assert_eq!(ask(&mut link, "$99=1\n").await, "error:3\r\n");
    assert_eq!(ask(&mut link, "$110=1800\n\x18").await, "\r\nGrbl 1.1h ['$' for help]\r\n", "it is gone");
    assert_eq!(ask(&mut link, "$110=1800\n").await, "ok\r\n");
    ask(&mut link, "\x18").await;
    assert!(ask(&mut link, "$$\n").await.contains("$110=1800.000\r\n"));
    assert_eq!(ask(&mut link, "$H\n").await, "error:5\r\n");
    assert_eq!(ask(&mut link, "nonsense\n").await, "error:2\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_jog_is_cancelled_at_once_and_a_full_inbox_loses_bytes() {
    let (cable, mut link) = started().await;
    assert_eq!(ask(&mut link, "$J=G91 X300 F1800\n").await, "ok\r\n");
    assert!(ask(&mut link, "?").await.starts_with("<Jog|"));
    link.send(&[0x85], SECOND).await.unwrap();
    hear(&mut link, SECOND).await;
    assert!(ask(&mut link, "?").await.starts_with("<Idle|"));
    assert!(cable.with(|c| c.counted_deg(0)) < 300.0);
    link.send(&[b'('; 200], SECOND).await.unwrap();
    assert_eq!(cable.with(|c| c.overflowed), 72);
}
