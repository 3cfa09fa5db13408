//! The session against a scripted stack, on a paused clock: what is done in which order, and within which limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::session::{Down, End, Order, Up, backoff, carry, establish, listing};
use super::stack::{Event, Peripheral, Place, Seen, Stack, Trouble, Write};
use super::{BleKeys, CLAIMED, Claim, Used, heard, on_own_thread, open, parse_uuid, stuck};

const NAME: &str = "REVO_DUAL_AXIS_TABLE";
const HERE: &str = "E4:8F:80:46:12:43";
const OTHER: &str = "E4:8F:80:46:12:44";

/// What a call does.
#[derive(Debug, Clone, PartialEq)]
enum Does {
    Well,
    Fails(&'static str),
    Hangs,
}

impl Does {
    async fn now(self) -> Result<(), Trouble> {
        match self {
            Self::Well => Ok(()),
            Self::Fails(why) => Err(Trouble::Other(why.to_owned())),
            Self::Hangs => pending().await,
        }
    }
}

/// The world behind the stack; what a list does not say goes well.
#[derive(Default)]
struct World {
    seen: Vec<Seen>,
    connects: VecDeque<Does>,
    writes: VecDeque<Does>,
    alive: VecDeque<Does>,
    discovered: VecDeque<Vec<Place>>,
    places: Vec<Place>,
    /// A program that is no more left it connected.
    left_connected: bool,
    connected: bool,
    events: VecDeque<Event>,
    mtu: usize,
    /// What was called, in order.
    log: Vec<String>,
}

#[derive(Clone)]
struct Scripted(Rc<RefCell<World>>);

impl Scripted {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().log.push(what.into());
    }

    fn log(&self) -> Vec<String> {
        self.0.borrow().log.clone()
    }

    fn counted(&self, what: &str) -> usize {
        self.0.borrow().log.iter().filter(|entry| entry.as_str() == what).count()
    }
}

impl Stack for Scripted {
    type Peripheral = Scripted;

    async fn start_scan(&self) -> Result<(), Trouble> {
        self.note("scan");
        Ok(())
    }

    async fn stop_scan(&self) -> Result<(), Trouble> {
        self.note("end of scan");
        Err(Trouble::Other("No discovery started".to_owned()))
    }

    async fn seen(&self) -> Result<Vec<Seen>, Trouble> {
        Ok(self.0.borrow().seen.clone())
    }

    async fn take(&self, _: &str) -> Result<Scripted, Trouble> {
        Ok(self.clone())
    }
}

impl Peripheral for Scripted {
    async fn connect(&mut self) -> Result<(), Trouble> {
        self.note("connect");
        let does = self.0.borrow_mut().connects.pop_front().unwrap_or(Does::Well);
        does.now().await?;
        self.0.borrow_mut().connected = true;
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Trouble> {
        self.note("disconnect");
        let mut world = self.0.borrow_mut();
        world.connected = false;
        if std::mem::take(&mut world.left_connected) {
            world.seen = vec![seen(HERE, Some(-60))];
        }
        Ok(())
    }

    async fn connected(&self) -> Result<bool, Trouble> {
        let does = self.0.borrow_mut().alive.pop_front().unwrap_or(Does::Well);
        does.now().await?;
        let world = self.0.borrow();
        Ok(world.connected || world.left_connected)
    }

    async fn discover(&mut self) -> Result<Vec<Place>, Trouble> {
        self.note("discover");
        let mut world = self.0.borrow_mut();
        Ok(world.discovered.pop_front().unwrap_or_else(|| world.places.clone()))
    }

    async fn subscribe(&mut self, place: &Place) -> Result<(), Trouble> {
        self.note(format!("subscribe {}", &place.characteristic.to_string()[4..8]));
        Ok(())
    }

    fn mtu(&self) -> usize {
        self.0.borrow().mtu
    }

    async fn write(&self, _: &Place, bytes: &[u8], write: Write) -> Result<(), Trouble> {
        let does = self.0.borrow_mut().writes.pop_front().unwrap_or(Does::Well);
        does.now().await?;
        self.note(format!("{write:?} {}", String::from_utf8_lossy(bytes)));
        Ok(())
    }

    async fn next(&mut self) -> Event {
        let next = self.0.borrow_mut().events.pop_front();
        match next {
            Some(event) => event,
            None => pending().await,
        }
    }
}

fn seen(address: &str, rssi: Option<i16>) -> Seen {
    Seen { address: address.to_owned(), names: vec![NAME.to_owned()], rssi }
}

fn place() -> Place {
    let uuid = |text| parse_uuid(text).unwrap();
    Place {
        service: uuid("ffe0"),
        characteristic: uuid("ffe1"),
        write: true,
        write_without_response: true,
        notify: true,
    }
}

fn keys() -> BleKeys {
    let (service, here) = ("ffe0".to_owned(), "0000ffe1-0000-1000-8000-00805f9b34fb".to_owned());
    BleKeys {
        name: NAME.to_owned(),
        adapter: None,
        service,
        write: here.clone(),
        notify: here,
        chunk_gap_ms: 10,
    }
}

fn world() -> Scripted {
    let seen = vec![seen(HERE, Some(-60))];
    Scripted(Rc::new(RefCell::new(World { seen, places: vec![place()], mtu: 23, ..World::default() })))
}

async fn opened(stack: &Scripted) -> Result<Up<Scripted>, Down> {
    establish(stack, &keys(), pending()).await
}

async fn refused(stack: &Scripted) -> Down {
    opened(stack).await.err().expect("there is no connection")
}

/// A link's channels: what it is told, and what it hears.
struct Wires {
    orders: mpsc::Sender<Order>,
    ordered: mpsc::Receiver<Order>,
    arriving: mpsc::Sender<Vec<u8>>,
    arrived: mpsc::Receiver<Vec<u8>>,
}

fn wires() -> Wires {
    let (orders, ordered) = mpsc::channel(4);
    let (arriving, arrived) = mpsc::channel(2);
    Wires { orders, ordered, arriving, arrived }
}

impl Wires {
    fn order(&self, text: &str) -> oneshot::Receiver<Result<(), String>> {
        let (done, is_done) = oneshot::channel();
        let order = Order { bytes: text.as_bytes().to_vec(), limit: Duration::from_secs(30), done };
        assert!(self.orders.try_send(order).is_ok());
        is_done
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_is_scanned_for_connected_discovered_and_subscribed_in_this_order() {
    let stack = world();
    assert!(opened(&stack).await.is_ok());
    assert_eq!(stack.log(), ["scan", "end of scan", "connect", "discover", "subscribe ffe1"]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_only_remembered_is_not_there() {
    let stack = world();
    stack.0.borrow_mut().seen = vec![seen(HERE, None)];
    let begun = Instant::now();
    let (why, hint) = refused(&stack).await;
    assert_eq!(why, "it did not advertise within 12 s");
    assert!(hint.contains("phone app may hold it: close it"), "{hint}");
    assert!(begun.elapsed() <= Duration::from_secs(13), "{:?}", begun.elapsed());
    assert_eq!(stack.log(), ["scan", "end of scan"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_a_killed_program_left_behind_is_taken_down_first() {
    let stack = world();
    stack.0.borrow_mut().seen = vec![seen(HERE, None)];
    stack.0.borrow_mut().left_connected = true;
    assert!(opened(&stack).await.is_ok());
    assert_eq!(stack.log()[..4], ["scan", "disconnect", "end of scan", "connect"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_tables_with_one_name_none_is_moved_until_its_address_is_given() {
    let stack = world();
    stack.0.borrow_mut().seen.push(seen(OTHER, Some(-40)));
    let (why, hint) = refused(&stack).await;
    assert_eq!(why, "2 tables of this name are near");
    assert!(hint.contains(HERE) && hint.contains(OTHER), "{hint}");
    assert_eq!(stack.counted("connect"), 0);
    let keys = BleKeys { name: OTHER.to_lowercase(), ..keys() };
    assert!(establish(&stack, &keys, pending()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_is_ended_and_tried_three_times() {
    let stack = world();
    stack.0.borrow_mut().connects = VecDeque::from([Does::Hangs, Does::Hangs, Does::Hangs]);
    let begun = Instant::now();
    let (why, hint) = refused(&stack).await;
    assert_eq!(why, "3 attempts to connect failed, the last one: no answer within 15 s");
    assert!(hint.contains("switch the table off and on"), "{hint}");
    assert_eq!((stack.counted("connect"), stack.counted("disconnect")), (3, 3));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_by_itself_is_repeated_after_a_disconnection_and_a_wait() {
    let stack = world();
    stack.0.borrow_mut().connects = VecDeque::from([Does::Fails("le-connection-abort-by-local")]);
    let begun = Instant::now();
    assert!(opened(&stack).await.is_ok());
    let expected = ["scan", "end of scan", "connect", "disconnect", "scan", "end of scan", "connect"];
    assert_eq!(stack.log()[..7], expected);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn services_that_are_not_all_there_yet_are_read_again() {
    let stack = world();
    stack.0.borrow_mut().discovered = VecDeque::from([Vec::new(), Vec::new()]);
    assert!(opened(&stack).await.is_ok());
    assert_eq!(stack.counted("discover"), 3);
}

#[tokio::test(start_paused = true)]
async fn another_device_of_this_name_is_refused_at_once_and_let_go() {
    let stack = world();
    stack.0.borrow_mut().places.clear();
    let (why, hint) = refused(&stack).await;
    assert!(why.contains("0000ffe0") && hint.contains("another kind of table"), "{why} ({hint})");
    assert_eq!((stack.counted("connect"), stack.counted("disconnect")), (1, 1));
    for (flaw, said) in
        [(Place { notify: false, ..place() }, "notifies of nothing"), (deaf(), "nothing can be written")]
    {
        stack.0.borrow_mut().places = vec![flaw];
        assert!(refused(&stack).await.0.contains(said), "{flaw:?}");
    }
}

fn deaf() -> Place {
    Place { write: false, write_without_response: false, ..place() }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_waits_for_leaves_no_connection_behind() {
    let stack = world();
    stack.0.borrow_mut().connects = VecDeque::from([Does::Hangs]);
    let given_up = sleep(Duration::from_secs(5));
    assert!(establish(&stack, &keys(), given_up).await.is_err());
    assert_eq!(stack.log().last().map(String::as_str), Some("disconnect"));
    let stack = world();
    assert!(establish(&stack, &keys(), ready(())).await.is_err());
    assert_eq!(stack.counted("connect"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_in_packets_with_gaps_and_a_stop_waits_for_no_more_than_the_one_under_way() {
    let stack = world();
    let mut up = opened(&stack).await.unwrap();
    let mut wires = wires();
    let long = wires.order("+CT,TURNANGLE=-145.72;+");
    drop(wires.order("given up"));
    let stop = wires.order("+CT,STOP;");
    let begun = Instant::now();
    stack.0.borrow_mut().events = VecDeque::from([Event::Value(b"+OK;".to_vec())]);
    // Nobody holds the link any more.
    drop(std::mem::replace(&mut wires.orders, mpsc::channel(1).0));
    assert_eq!(carry(&mut up, &mut wires.ordered, &wires.arriving).await, End::LetGo);
    assert_eq!((long.await, stop.await), (Ok(Ok(())), Ok(Ok(()))));
    assert_eq!(begun.elapsed(), Duration::from_millis(10), "one gap");
    let written = &stack.log()[5..];
    assert_eq!(written, ["Unconfirmed +CT,TURNANGLE=-145.7", "Unconfirmed 2;+", "Unconfirmed +CT,STOP;"]);
    up.take_down().await;
    assert_eq!(stack.log().last().map(String::as_str), Some("disconnect"));
}

#[tokio::test(start_paused = true)]
async fn larger_packets_are_used_and_a_confirmation_asked_for_where_the_table_wants_it_so() {
    let stack = world();
    stack.0.borrow_mut().mtu = 247;
    stack.0.borrow_mut().places = vec![Place { write_without_response: false, ..place() }];
    let mut up = opened(&stack).await.unwrap();
    let mut wires = wires();
    let sent = wires.order("+CT,TURNANGLE=-145.72;");
    let carried = carry(&mut up, &mut wires.ordered, &wires.arriving);
    assert!(timeout(Duration::from_secs(1), carried).await.is_err());
    assert_eq!(sent.await, Ok(Ok(())));
    assert_eq!(stack.log().last().map(String::as_str), Some("Confirmed +CT,TURNANGLE=-145.72;"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_or_fails_ends_the_link_and_is_not_repeated() {
    for (does, said) in [(Does::Hangs, "more than 3s"), (Does::Fails("Unknown object"), "Unknown object")] {
        let stack = world();
        let mut up = opened(&stack).await.unwrap();
        let mut wires = wires();
        stack.0.borrow_mut().writes = VecDeque::from([does]);
        let sent = wires.order("+CT,TURNANGLE=10;");
        let end = carry(&mut up, &mut wires.ordered, &wires.arriving).await;
        assert!(matches!(&end, End::Lost(why) if why.contains(said)), "{end:?}");
        assert!(sent.await.unwrap().unwrap_err().contains(said));
        assert!(!stack.log().iter().any(|entry| entry.contains("TURNANGLE")), "{:?}", stack.log());
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_nobody_tells_of_is_noticed_within_five_seconds() {
    let stack = world();
    let mut up = opened(&stack).await.unwrap();
    let mut wires = wires();
    let lose = async {
        sleep(Duration::from_millis(100)).await;
        stack.0.borrow_mut().connected = false;
        Instant::now()
    };
    let (end, lost_at) = tokio::join!(carry(&mut up, &mut wires.ordered, &wires.arriving), lose);
    assert_eq!(end, End::Lost("the connection broke".to_owned()));
    assert!(lost_at.elapsed() <= Duration::from_secs(5), "{:?}", lost_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn three_calls_without_an_answer_are_a_dead_bus_and_two_are_not() {
    for (hangs, dead) in [(2, false), (3, true)] {
        let stack = world();
        let mut up = opened(&stack).await.unwrap();
        let mut wires = wires();
        stack.0.borrow_mut().alive = std::iter::repeat_n(Does::Hangs, hangs).collect();
        let carried =
            timeout(Duration::from_secs(60), carry(&mut up, &mut wires.ordered, &wires.arriving)).await;
        match carried {
            Ok(End::Lost(why)) => assert!(dead && why.contains("is the bus alive?"), "{hangs}: {why}"),
            other => assert!(!dead && other.is_err(), "{hangs}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_the_loss_is_heard_and_what_nobody_reads_fills_no_memory() {
    let stack = world();
    let mut up = opened(&stack).await.unwrap();
    let mut wires = wires();
    let said = |text: &str| Event::Value(text.as_bytes().to_vec());
    stack.0.borrow_mut().events = VecDeque::from([said("one"), said("two"), said("three"), Event::Gone]);
    let end = carry(&mut up, &mut wires.ordered, &wires.arriving).await;
    assert_eq!(end, End::Lost("the connection broke".to_owned()));
    let mut heard = || wires.arrived.try_recv().ok().map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!([heard(), heard(), heard()], [Some("one".to_owned()), Some("two".to_owned()), None]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_names_who_advertises_and_who_is_connected_here() {
    let stack = world();
    let stranger = Seen { names: vec!["a telephone".to_owned()], ..seen(OTHER, Some(-30)) };
    stack.0.borrow_mut().seen = vec![stranger, seen(HERE, None)];
    let names = [NAME.to_owned()];
    let listed = || listing(&stack, &names, Duration::from_secs(3));
    assert_eq!(listed().await, Ok(Vec::new()), "only remembered");
    stack.0.borrow_mut().connected = true;
    assert_eq!(listed().await, Ok(vec![(NAME.to_owned(), HERE.to_owned(), None)]));
    stack.0.borrow_mut().seen = vec![seen(HERE, Some(-61))];
    assert_eq!(listed().await, Ok(vec![(NAME.to_owned(), HERE.to_owned(), Some(-61))]));
}

#[test]
fn waits_between_attempts_grow_from_one_second_to_thirty() {
    let of = |failed| (backoff(failed, 0.0).as_secs_f64(), backoff(failed, 1.0).as_secs_f64());
    assert_eq!([of(1), of(2), of(5)], [(1.0, 1.5), (2.0, 3.0), (16.0, 24.0)]);
    assert_eq!([of(6), of(u32::MAX)], [(30.0, 30.0), (30.0, 30.0)]);
}

#[tokio::test(start_paused = true)]
async fn no_two_threads_are_at_one_table() {
    let first = Claim::of("a").await.unwrap();
    let other = Claim::of("b").await.unwrap();
    assert!(Claim::of("a").await.is_err_and(|(why, _)| why.contains("connected to it already")));
    let (second, ()) = tokio::join!(Claim::of("a"), async {
        sleep(Duration::from_secs(3)).await;
        drop(first);
    });
    assert!(second.is_ok());
    drop(other);
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    assert_eq!(keys().check(), Ok(()));
    let wrong = BleKeys { notify: "ffe".to_owned(), ..keys() }.check().unwrap_err();
    assert!(wrong.starts_with("notify: \"ffe\" is no UUID"), "{wrong}");
    let wrong = BleKeys { chunk_gap_ms: 1001, ..keys() }.check().unwrap_err();
    assert_eq!(wrong, "chunk_gap_ms = 1001 is not in 0 to 1000");
    assert!(BleKeys { name: String::new(), ..keys() }.check().unwrap_err().starts_with("name is empty"));
    assert_eq!(parse_uuid("ffe1"), Ok(Uuid::from_u128(0x0000_ffe1_0000_1000_8000_0080_5f9b_34fb)));
}

async fn opening(name: &str) -> String {
    open(&BleKeys { name: name.to_owned(), ..keys() }).await.err().unwrap().to_string()
}

/// One test, because what it looks at is the whole process's.
#[tokio::test(start_paused = true)]
async fn a_thread_that_hangs_is_told_after_three_openings_and_one_that_is_in_use_is_not() {
    // In use: another opening of the same table is a mistake, and no reason to end anything.
    let claim = Claim::of("USED").await.unwrap();
    let used = Used::of("USED");
    for _ in 0..4 {
        assert!(opening("USED").await.contains("this program is connected to it already"));
    }
    assert_eq!(stuck(), None);
    drop((used, claim));
    assert!(!CLAIMED.borrow().contains_key("USED"));

    // Its thread does not even end: it waits for a library that waits for nothing.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let claim = Claim::of("HUNG").await.unwrap();
    on_own_thread(claim, move || async move { ended.recv().unwrap_or_default() }).unwrap();
    for _ in 0..2 {
        assert!(opening("HUNG").await.contains("restart this service"));
        assert_eq!(stuck(), None, "it may be a busy computer");
    }
    opening("HUNG").await;
    assert!(stuck().unwrap().contains("did not answer 3 times in a row"));
    // Whatever answers, if only that it is not there, takes it back; a bus that answers nothing is counted, too.
    heard::<()>(&Err(Trouble::Daemon));
    assert_eq!(stuck(), None);
    (0..3).for_each(|_| heard::<()>(&Err(Trouble::Late(10))));
    assert!(stuck().is_some());
    drop(end);
}
