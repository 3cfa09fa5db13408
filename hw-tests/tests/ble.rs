//! The Bluetooth link through an unmodified Bluetooth stack, against a simulated Bluetooth daemon on a private bus.
//!
//! Each test runs in a process of its own, which must not print a panic of any task. Addresses instead of names, because
//! a name is listened for a little longer, in case that there are two.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::link::ble::{BleKeys, list, open};
use turnstage_drivers::link::{Link, LinkError};
use turnstage_hw_tests::wire::bluez::{Bluez, Connect, Knobs, Write};
use turnstage_hw_tests::wire::bus::{Bus, alone};
use turnstage_hw_tests::wire::peer::{Card, Peer, Shared};
use turnstage_hw_tests::wire::revopoint::{self, CHARACTERISTIC, NAME, Revopoint, SERVICE};

const HERE: &str = "E4:8F:80:46:12:43";
const SECOND: Duration = Duration::from_secs(1);

/// A bus with a Bluetooth daemon and a table that is twenty times as fast as a real one.
struct Place {
    bus: Bus,
    bluez: Bluez,
    table: Shared<Revopoint>,
}

impl Place {
    async fn new(bus: Bus, knobs: Knobs) -> Self {
        let table_knobs = revopoint::Knobs { time_scale: 20.0, ..revopoint::Knobs::default() };
        let table = Arc::new(Mutex::new(Revopoint::new(table_knobs, 0.0)));
        let bluez = Bluez::start(&bus.address(), knobs, vec![table.clone()]).await.unwrap();
        Self { bus, bluez, table }
    }

    async fn bluetooth_again(&mut self) {
        self.bluez =
            Bluez::start(&self.bus.address(), Knobs::default(), vec![self.table.clone()]).await.unwrap();
    }
}

fn keys(name: &str) -> BleKeys {
    BleKeys {
        name: name.to_owned(),
        adapter: None,
        service: SERVICE.to_owned(),
        write: CHARACTERISTIC.to_owned(),
        notify: CHARACTERISTIC.to_owned(),
        chunk_gap_ms: 10,
    }
}

async fn connected() -> Box<dyn Link> {
    open(&keys(HERE)).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What a technician reads.
async fn refusal(keys: &BleKeys) -> String {
    match open(keys).await {
        Ok(link) => panic!("{} is open", link.name()),
        Err(error) => error.to_string(),
    }
}

/// Sends a command and returns what is said until it ends like this.
async fn ask(link: &mut dyn Link, command: &str, end: &str) -> String {
    link.send(command.as_bytes(), SECOND).await.unwrap();
    hear(link, end).await
}

async fn hear(link: &mut dyn Link, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let heard = link.receive(&mut said, Duration::from_secs(5)).await;
        heard.unwrap_or_else(|e| panic!("{e}, after {:?}", String::from_utf8_lossy(&said)));
    }
    String::from_utf8(said).unwrap()
}

const VERSION: (&str, &str) = ("+QR,VERSION;", "+DATA=HW.V0.02,SW.V3.28;");

async fn talks(link: &mut dyn Link) {
    assert_eq!(ask(link, VERSION.0, ";").await, VERSION.1);
}

/// The reason why a link was lost; `receive` must tell of it within `limit`.
async fn loss(link: &mut dyn Link, limit: Duration) -> String {
    let begun = Instant::now();
    match link.receive(&mut Vec::new(), limit).await {
        Err(LinkError::Lost { cause, .. }) => cause.to_string(),
        other => panic!("{other:?} after {:?}", begun.elapsed()),
    }
}

#[test]
fn a_table_is_found_by_its_name_and_answers() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        let mut link = open(&keys(NAME)).await.unwrap();
        assert_eq!(link.name(), NAME);
        talks(&mut *link).await;
        let said = ask(&mut *link, "+CT,TURNANGLE=-145;", "145.00").await;
        assert_eq!(said, "+OK;+OK,TURNANGLE=-145.00");
        let mut table = place.table.lock().unwrap();
        assert_eq!((table.true_deg(Instant::now()), table.motions()), (-145.0, 1));
        drop(table);
        let log = place.bluez.log();
        let at = |call: &str| log.iter().position(|entry| entry.starts_with(call)).unwrap();
        assert!(at("StartDiscovery") < at("StopDiscovery") && at("StopDiscovery") < at("Connect"), "{log:?}");
        assert!(log.contains(&format!("WriteValue {} command", VERSION.0)), "{log:?}");
    });
}

#[test]
fn dropping_the_link_frees_the_table_and_the_next_one_waits_for_that() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        for _ in 0..3 {
            let mut link = connected().await;
            talks(&mut *link).await;
            drop(link);
        }
        place.bluez.until("the table is free", |bluez| !bluez.is_connected(HERE)).await;
        assert_eq!((place.bluez.counted("Connect"), place.bluez.counted("Disconnect")), (3, 3));
        assert_eq!(place.bluez.counted("StartNotify"), 3);
    });
}

#[test]
fn a_table_that_this_program_holds_is_not_opened_twice() {
    alone(async |bus| {
        let _place = Place::new(bus, Knobs::default()).await;
        let mut link = connected().await;
        let refused = refusal(&keys(HERE)).await;
        assert!(refused.contains("connected to it already"), "{refused}");
        talks(&mut *link).await;
    });
}

/// Says what it is told to say.
#[derive(Default)]
struct Parrot(VecDeque<Vec<u8>>);

impl Peer for Parrot {
    fn card(&self) -> Card {
        let mut card = Revopoint::new(revopoint::Knobs::default(), 0.0).card();
        card.characteristics[0].flags = vec!["write".to_owned(), "notify".to_owned()];
        Card { mtu: 100, ..card }
    }
    fn in_reach(&mut self, _: Instant) -> bool {
        true
    }
    fn linked(&mut self, _: bool, _: Instant) {}
    fn hear(&mut self, bytes: &[u8], _: Instant) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.extend(text.split('|').map(|part| part.as_bytes().to_vec()));
    }
    fn say(&mut self, _: Instant) -> Option<Vec<u8>> {
        self.0.pop_front()
    }
    fn next_at(&mut self, now: Instant) -> Option<Instant> {
        Some(now)
    }
}

#[test]
fn a_message_in_parts_arrives_whole_and_equal_ones_all_arrive() {
    alone(async |bus| {
        let parrot = Arc::new(Mutex::new(Parrot::default()));
        let bluez = Bluez::start(&bus.address(), Knobs::default(), vec![parrot]).await.unwrap();
        let mut link = connected().await;
        assert_eq!(ask(&mut *link, "+OK,TURNANG|LE=10.00", "00").await, "+OK,TURNANGLE=10.00");
        assert_eq!(ask(&mut *link, "+OK;|+OK;|+OK;|.", ".").await, "+OK;+OK;+OK;.");
        // This one confirms, and takes longer packets.
        let long = "0123456789".repeat(9);
        assert_eq!(ask(&mut *link, &long, "9").await, long);
        assert_eq!(bluez.counted(&format!("WriteValue {long} request")), 1, "{:?}", bluez.log());
    });
}

#[test]
fn a_broken_link_says_so_at_once_and_a_new_one_subscribes_anew_although_handles_moved() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs { handle_step: 0x20, ..Knobs::default() }).await;
        let mut link = connected().await;
        talks(&mut *link).await;
        place.bluez.cut(HERE);
        assert_eq!(loss(&mut *link, SECOND).await, "the connection broke");
        let sent = link.send(b"+CT,TURNANGLE=10;", SECOND).await;
        assert!(matches!(sent, Err(LinkError::Lost { .. })), "{sent:?}");
        drop(link);
        let mut link = connected().await;
        talks(&mut *link).await;
        assert_eq!(place.bluez.counted("StartNotify"), 2);
        assert_eq!(
            place.table.lock().unwrap().motions(),
            0,
            "what was sent into a broken link is not sent later"
        );
    });
}

#[test]
fn a_loss_that_no_signal_tells_of_is_noticed_within_five_seconds() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        let mut link = connected().await;
        place.bluez.cut_silently(HERE);
        let why = loss(&mut *link, Duration::from_secs(6)).await;
        assert_eq!(why, "the connection broke");
    });
}

#[test]
fn a_connection_that_fails_by_itself_is_tried_again_and_three_failures_are_told() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        let fails = Connect::Fails("le-connection-abort-by-local".to_owned());
        place.bluez.knobs(|knobs| knobs.connects = VecDeque::from([fails.clone()]));
        talks(&mut *connected().await).await;
        place.bluez.until("the table is free", |bluez| !bluez.is_connected(HERE)).await;
        place.bluez.knobs(|knobs| knobs.connects = VecDeque::from([fails.clone(), fails.clone(), fails]));
        let refused = refusal(&keys(HERE)).await;
        assert!(refused.contains("3 attempts to connect failed"), "{refused}");
        assert!(refused.contains("le-connection-abort-by-local"), "{refused}");
    });
}

#[test]
fn a_connection_that_breaks_before_its_services_are_known_is_made_again_at_once() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        place.bluez.knobs(|knobs| knobs.connects = VecDeque::from([Connect::DropsWhileResolving]));
        let begun = Instant::now();
        talks(&mut *connected().await).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(place.bluez.counted("Connect"), 2);
    });
}

#[test]
fn services_that_come_after_bluez_called_them_resolved_are_waited_for() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs { services_late_ms: 700, ..Knobs::default() }).await;
        talks(&mut *connected().await).await;
        assert_eq!(place.bluez.counted("Connect"), 1);
    });
}

#[test]
fn a_write_that_fails_or_hangs_loses_the_link_and_frees_the_table() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        for fault in [Write::Fails("In Progress".to_owned()), Write::Hangs] {
            let mut link = connected().await;
            place.bluez.knobs(|knobs| knobs.writes = VecDeque::from([fault.clone()]));
            let sent = link.send(b"+CT,TURNANGLE=10;", Duration::from_secs(60)).await;
            assert!(matches!(sent, Err(LinkError::Lost { .. })), "{fault:?}: {sent:?}");
            place.bluez.until("the table is free", |bluez| !bluez.is_connected(HERE)).await;
        }
        assert_eq!(place.table.lock().unwrap().told(), [""; 0]);
    });
}

#[test]
fn a_bluetooth_daemon_that_stops_is_noticed_named_and_used_again_when_it_is_back() {
    alone(async |bus| {
        let mut place = Place::new(bus, Knobs::default()).await;
        let mut link = connected().await;
        let Place { bus, bluez, table } = place;
        drop(bluez);
        let why = loss(&mut *link, Duration::from_secs(6)).await;
        assert_eq!(why, "org.bluez is not on the bus (is bluetooth.service running? package bluez)");
        let refused = refusal(&keys(HERE)).await;
        assert!(refused.contains("is bluetooth.service running?"), "{refused}");
        let bluez = Bluez::start(&bus.address(), Knobs::default(), vec![table.clone()]).await.unwrap();
        place = Place { bus, bluez, table };
        talks(&mut *connected().await).await;
        drop(place);
    });
}

#[test]
fn a_bus_that_dies_is_noticed_by_the_next_command_and_a_new_bus_is_used() {
    alone(async |bus| {
        let mut place = Place::new(bus, Knobs::default()).await;
        let mut link = connected().await;
        place.bus.kill();
        let begun = Instant::now();
        let sent = link.send(b"+CT,STOP;", Duration::from_secs(60)).await;
        assert!(matches!(sent, Err(LinkError::Lost { .. })), "{sent:?}");
        // A question whether the connection stands may be under way, for 3 s; then the write takes its own 3 s.
        assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
        drop(link);
        let refused = refusal(&keys(HERE)).await;
        assert!(refused.contains("is dbus.service running?"), "{refused}");
        place.bus.restart().unwrap();
        place.bluetooth_again().await;
        talks(&mut *connected().await).await;
    });
}

#[test]
fn an_adapter_that_is_missing_pulled_or_switched_off_is_told_apart() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        let other = BleKeys { adapter: Some("hci7".to_owned()), ..keys(HERE) };
        let refused = refusal(&other).await;
        assert!(refused.contains("no Bluetooth adapter hci7; there are: hci0"), "{refused}");
        let mut link = open(&BleKeys { adapter: Some("hci0".to_owned()), ..keys(HERE) }).await.unwrap();
        place.bluez.unplug();
        loss(&mut *link, Duration::from_secs(6)).await;
        place.bluez.until("the adapter is gone", |bluez| !bluez.has_adapter()).await;
        let refused = refusal(&keys(HERE)).await;
        assert!(refused.contains("no Bluetooth adapter (plug in"), "{refused}");
        place.bluez.plug();
        place.bluez.knobs(|knobs| knobs.blocked = true);
        place.bluez.until("the adapter is back", Bluez::has_adapter).await;
        let refused = refusal(&keys(HERE)).await;
        assert!(refused.contains("rfkill unblock bluetooth"), "{refused}");
    });
}

#[test]
fn a_table_that_a_phone_holds_is_not_found_and_the_phone_is_suspected() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        place.table.lock().unwrap().knobs().held_elsewhere = true;
        let refused = refusal(&keys(NAME)).await;
        assert!(refused.contains("The phone app may hold it: close it"), "{refused}");
        assert!(!place.bluez.is_discovering());
    });
}

#[test]
fn a_connection_that_a_killed_program_left_is_taken_down_and_made_anew() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        place.bluez.leave_connected(HERE);
        place.bluez.until("it is connected", |bluez| bluez.is_connected(HERE)).await;
        assert_eq!(
            list(&[NAME], Duration::from_millis(100)).await,
            [(NAME.to_owned(), HERE.to_owned(), None)]
        );
        talks(&mut *connected().await).await;
        assert_eq!((place.bluez.counted("Disconnect"), place.bluez.counted("Connect")), (1, 1));
    });
}

#[test]
fn two_tables_of_one_name_are_told_apart_by_address_only() {
    alone(async |bus| {
        let table = |address| {
            let knobs = revopoint::Knobs { time_scale: 20.0, ..revopoint::Knobs::default() };
            Arc::new(Mutex::new(Revopoint::new(knobs, 0.0).with_address(address)))
        };
        let (ours, other) = (table(HERE), table("E4:8F:80:46:12:44"));
        let peers: Vec<Shared<dyn Peer>> = vec![ours.clone(), other.clone()];
        let _bluez = Bluez::start(&bus.address(), Knobs::default(), peers).await.unwrap();
        let refused = refusal(&keys(NAME)).await;
        assert!(refused.contains("2 tables of this name") && refused.contains("12:44"), "{refused}");
        let mut found = list(&[NAME], Duration::from_millis(300)).await;
        found.sort();
        assert_eq!(found.len(), 2, "{found:?}");
        ask(&mut *connected().await, "+CT,TURNANGLE=9;", "9.00").await;
        assert_eq!((ours.lock().unwrap().motions(), other.lock().unwrap().motions()), (1, 0));
    });
}

#[test]
fn where_there_is_no_bluetooth_nothing_is_listed() {
    alone(async |mut bus| {
        assert_eq!(list(&[NAME], SECOND).await, []);
        bus.kill();
        assert_eq!(list(&[NAME], SECOND).await, []);
    });
}

#[test]
fn fifty_connections_leave_nothing_on_the_bus() {
    alone(async |bus| {
        let place = Place::new(bus, Knobs::default()).await;
        let before = (figure(&place, "MatchRules").await, figure(&place, "ActiveConnections").await);
        for round in 0..50 {
            let mut link = connected().await;
            talks(&mut *link).await;
            if round % 2 == 0 {
                place.bluez.cut(HERE);
                loss(&mut *link, SECOND).await;
            }
        }
        // The last one has its own connection until it has disconnected.
        let mut after = before;
        for _ in 0..100 {
            after = (figure(&place, "MatchRules").await, figure(&place, "ActiveConnections").await);
            if after == before {
                break;
            }
        }
        assert_eq!(after, before, "match rules, connections");
        assert_eq!((place.bluez.counted("Connect"), place.bluez.counted("StartNotify")), (50, 50));
    });
}

async fn figure(place: &Place, name: &str) -> u32 {
    place.bus.figure(name).await.unwrap()
}
