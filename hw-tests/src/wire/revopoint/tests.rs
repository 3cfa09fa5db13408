//! The table as a client sees it: commands in, replies out, and where the platter truly is.

use std::sync::{Arc, Mutex};

use turnstage_drivers::link::{Link, LinkError};

use super::*;
use crate::wire::peer::{Direct, Shared, lock};

fn table(knobs: Knobs) -> Shared<Revopoint> {
    Arc::new(Mutex::new(Revopoint::new(knobs, 100.0)))
}

fn faulty(fault: Fault) -> Shared<Revopoint> {
    table(Knobs { faults: BTreeMap::from([(1, fault)]), ..Knobs::default() })
}

/// Sends a command and returns what is said within `within_s`.
async fn ask(link: &mut Direct, command: &str, within_s: f64) -> String {
    link.send(command.as_bytes(), Duration::from_secs(1)).await.unwrap();
    let until = Instant::now() + Duration::from_secs_f64(within_s);
    let mut said = Vec::new();
    while Instant::now() < until {
        match link.receive(&mut said, until - Instant::now()).await {
            Ok(_) | Err(LinkError::Silent { .. }) => {}
            Err(error) => return format!("{}{error}", String::from_utf8_lossy(&said)),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn truth(table: &Shared<Revopoint>) -> f64 {
    lock(table).true_deg(Instant::now())
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_accepted_at_once_and_announced_at_its_end_without_a_semicolon() {
    let table = table(Knobs::default());
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+QR,VERSION;", 1.0).await, "+DATA=HW.V0.02,SW.V3.28;");
    assert_eq!(ask(&mut link, "+CT,TURNSPEED=18;", 1.0).await, "+OK;");
    let begun = Instant::now();
    assert_eq!(ask(&mut link, "+CT,TURNANGLE=-145;", 1.0).await, "+OK;");
    assert!(lock(&table).is_moving(Instant::now()));
    let mut said = Vec::new();
    // Cut after twenty bytes, which are one packet.
    link.receive(&mut said, Duration::from_secs(60)).await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    assert!((took - (0.25 + 145.0 / 20.7 + 20.7 / 40.0 + 0.02)).abs() < 0.01, "{took}");
    assert_eq!(String::from_utf8_lossy(&said), "+OK,TURNANGLE=-145.00");
    assert_eq!((truth(&table), lock(&table).motions()), (-45.0, 1));
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 1.0).await, "+DATA=-145.00;");
}

#[tokio::test(start_paused = true)]
async fn older_firmware_announces_nothing() {
    let table = table(Knobs { firmware: "3.20".to_owned(), ..Knobs::default() });
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+CT,TURNANGLE=10;", 30.0).await, "+OK;");
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 1.0).await, "+DATA=10.00;");
}

#[tokio::test(start_paused = true)]
async fn tilting_is_accepted_and_never_announced() {
    let table = table(Knobs::default());
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+CR,TILTVALUE=-12;", 3.0).await, "+OK;");
    assert_eq!(lock(&table).tilt_deg(Instant::now()), -12.0);
    assert_eq!(ask(&mut link, "+QR,TILTVALUE;", 1.0).await, "+DATA=-12.00;");
    assert_eq!(ask(&mut link, "+CR,TILTVALUE=31;", 1.0).await, "+FAIL,ERR=007;");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_the_grammar_or_out_of_range_is_refused_by_number() {
    let table = table(Knobs::default());
    let mut link = Direct::open(table.clone()).unwrap();
    for command in ["+QR,TURNANGLE;", "+ct,STOP;", "CT();", ";", "\u{fffd}\0;", "+CT,TURNCONTINUE=2;"] {
        assert_eq!(ask(&mut link, command, 1.0).await, "+FAIL,ERR=001;", "{command}");
    }
    let many = format!("{};", "x".repeat(10_000));
    assert_eq!(ask(&mut link, &many, 1.0).await, "+FAIL,ERR=001;");
    for command in ["+CT,TURNSPEED=17;", "+CR,TILTSPEED=10;", "+CT,TURNANGLE=721;", "+CT,TURNANGLE=0.5;"] {
        assert_eq!(ask(&mut link, command, 1.0).await, "+FAIL,ERR=007;", "{command}");
    }
    assert_eq!((truth(&table), lock(&table).motions()), (100.0, 0));
}

#[tokio::test(start_paused = true)]
async fn commands_that_overlap_are_all_accepted_and_the_platter_ends_somewhere_else() {
    let table = table(Knobs::default());
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+CT,TURNANGLE=90;", 1.0).await, "+OK;");
    let said = ask(&mut link, "+CT,TURNANGLE=90;", 60.0).await;
    assert!(said.starts_with("+OK;+OK,TURNANGLE=9"), "{said}");
    assert!(truth(&table) < 100.0 + 110.0, "{}", truth(&table));
    assert_eq!(lock(&table).motions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_brakes_and_the_end_is_not_announced() {
    let table = table(Knobs::default());
    let mut link = Direct::open(table.clone()).unwrap();
    ask(&mut link, "+CT,TURNANGLE=180;", 3.0).await;
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 0.1).await, "+DATA=0.00;", "stale while it moves");
    assert_eq!(ask(&mut link, "+CT,STOP;+CR,STOP;", 60.0).await, "+OK;+OK;");
    let truth = truth(&table);
    assert!((120.0..140.0).contains(&truth), "{truth}");
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 1.0).await, format!("+DATA={:.2};", truth - 100.0));
    assert_eq!(ask(&mut link, "+CT,TOZERO;", 60.0).await, "+OK;+OK,TOZERO;");
    assert!((self::truth(&table) - 100.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_reboot_in_a_move_breaks_the_link_and_the_table_calls_its_place_zero() {
    let table = faulty(Fault::Reboot { after_deg: 20.0 });
    let mut link = Direct::open(table.clone()).unwrap();
    let said = ask(&mut link, "+CT,TURNANGLE=90;", 60.0).await;
    assert_eq!(said, "+OK;REVO_DUAL_AXIS_TABLE: lost");
    assert!(
        matches!(Direct::open(table.clone()), Err(LinkError::Unavailable { .. })),
        "it calibrates itself"
    );
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 1.0).await, "+DATA=0.00;");
    assert!((truth(&table) - 120.0).abs() < 1e-6, "{}", truth(&table));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_drops_in_a_move_stops_no_motor() {
    let table = faulty(Fault::LinkDrop { after_deg: 20.0, for_s: 2.0 });
    let mut link = Direct::open(table.clone()).unwrap();
    assert!(ask(&mut link, "+CT,TURNANGLE=90;", 60.0).await.ends_with("lost"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 1.0).await, "+DATA=90.00;");
    assert_eq!((truth(&table), lock(&table).motions()), (190.0, 1));
}

#[tokio::test(start_paused = true)]
async fn each_fault_shows_in_what_is_said_and_where_the_platter_is() {
    for (fault, said, deg) in [
        (Fault::LostAck, "+OK,TURNANGLE=30.00", 130.0),
        (Fault::LostCompletion, "+OK;", 130.0),
        (Fault::Stall { after_deg: 12.0 }, "+OK;", 112.0),
        (Fault::Garbage, "\u{fffd}\u{fffd}+O\0\u{fffd}K=?;;+DATA;+OK;+OK,TURNANGLE=30.00", 130.0),
    ] {
        let table = faulty(fault);
        let mut link = Direct::open(table.clone()).unwrap();
        assert_eq!(ask(&mut link, "+CT,TURNANGLE=30;", 60.0).await, said, "{fault:?}");
        assert!((truth(&table) - deg).abs() < 1e-6, "{fault:?}: {}", truth(&table));
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_a_phone_holds_is_out_of_reach() {
    let table = table(Knobs { held_elsewhere: true, ..Knobs::default() });
    assert!(matches!(Direct::open(table.clone()), Err(LinkError::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_scaled_table_is_as_much_faster() {
    let table = table(Knobs { time_scale: 20.0, ..Knobs::default() });
    let mut link = Direct::open(table.clone()).unwrap();
    assert!(ask(&mut link, "+CT,TURNANGLE=90;", 0.6).await.ends_with("TURNANGLE=90.00"));
}

#[test]
fn the_rates_are_those_that_were_measured_and_lie_between_elsewhere() {
    assert_eq!(RATES.map(|(seconds, _)| rate(seconds)), RATES.map(|(_, rate)| rate));
    assert!((rate(27.0) - 375.3 / 27.0).abs() < 1e-9, "{}", rate(27.0));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_falls_mute_hears_turns_on_and_says_nothing() {
    let table = faulty(Fault::Mute { after_deg: 20.0 });
    let mut link = Direct::open(table.clone()).unwrap();
    let begun = Instant::now();
    assert_eq!(ask(&mut link, "+CT,TURNANGLE=90;", 60.0).await, "+OK;");
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 60.0).await, "");
    assert_eq!((truth(&table), lock(&table).motions()), (190.0, 1));
    ask(&mut link, "+CT,TURNANGLE=90;", 3.0).await;
    ask(&mut link, "+CT,STOP;", 60.0).await;
    assert!((210.0..240.0).contains(&truth(&table)), "{}", truth(&table));
    let after = |seconds: f64| begun + Duration::from_secs_f64(seconds);
    // 90 degrees take 9 s; the second time it was stopped after three.
    for (from, to, stood) in
        [(0.0, 0.2, true), (1.0, 2.0, false), (0.0, 20.0, false), (10.0, 120.0, true), (121.0, 122.0, false)]
    {
        assert_eq!(lock(&table).stood(after(from), after(to)), stood, "{from} to {to}");
    }
    assert!(lock(&table).stood(after(125.0), Instant::now()));
    lock(&table).reboot(Instant::now());
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut link = Direct::open(table.clone()).unwrap();
    assert_eq!(ask(&mut link, "+QT,CHANGEANGLE;", 1.0).await, "+DATA=0.00;");
}
