//! Nothing is lost, live state is first, and one bad message holds no other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const ROOM: usize = 1 << 20;

fn message(topic: &str, payload: &str) -> Message {
    Message { topic: topic.to_owned(), payload: Bytes::copy_from_slice(payload.as_bytes()), retain: true }
}

fn event(number: usize) -> Message {
    Message { retain: false, ..message("event", &number.to_string()) }
}

/// So many events wait; their numbers.
fn backlog(outbox: &mut Outbox, count: usize) -> Vec<u64> {
    (0..count).map(|number| outbox.deliver(event(number))).collect()
}

fn connected() -> Outbox {
    let mut outbox = Outbox::default();
    outbox.connected(WINDOW, ROOM);
    outbox
}

/// All that may go now, as (topic, payload).
fn sent(outbox: &mut Outbox) -> Vec<(String, String)> {
    std::iter::from_fn(|| outbox.next())
        .map(|message| (message.topic, String::from_utf8(message.payload.to_vec()).unwrap()))
        .collect()
}

fn topics(outbox: &mut Outbox) -> Vec<String> {
    sent(outbox).into_iter().map(|(topic, _)| topic).collect()
}

#[test]
fn live_state_goes_before_a_backlog_that_was_there_first() {
    let mut outbox = connected();
    backlog(&mut outbox, 100);
    outbox.latest(message("status", "online"));
    assert_eq!(topics(&mut outbox)[0], "status");
}

#[test]
fn a_backlog_leaves_room_for_live_state() {
    let mut outbox = connected();
    backlog(&mut outbox, 100);
    assert_eq!(sent(&mut outbox).len(), 12);
    outbox.latest(message("status", "online"));
    assert_eq!(topics(&mut outbox), ["status"]);
    ["a", "b", "c", "d"].iter().for_each(|topic| outbox.latest(message(topic, "")));
    assert_eq!(topics(&mut outbox), ["a", "b", "c"], "sixteen are in flight");
}

#[test]
fn only_the_newest_of_a_topic_is_said_after_an_absence() {
    let mut outbox = Outbox::default();
    (0..500).for_each(|number| outbox.latest(message("status", &number.to_string())));
    assert_eq!(sent(&mut outbox), [], "not connected");
    outbox.connected(WINDOW, ROOM);
    assert_eq!(sent(&mut outbox), [("status".to_owned(), "499".to_owned())]);
}

#[test]
fn answers_belong_to_messages_in_the_order_in_which_they_left() {
    let mut outbox = connected();
    let ids = backlog(&mut outbox, 3);
    assert_eq!(sent(&mut outbox).len(), 3);
    [7, 8, 9].into_iter().for_each(|packet_id| outbox.left(packet_id));
    outbox.answered(8, Err((135, "no".to_owned())));
    outbox.answered(9, Ok(()));
    outbox.answered(9, Ok(()));
    outbox.answered(7, Ok(()));
    let denied = Denied { topic: "event".to_owned(), reason: "no".to_owned(), code: 135 };
    assert_eq!(outbox.settled(), [(ids[1], Err(denied)), (ids[2], Ok(())), (ids[0], Ok(()))]);
    assert_eq!(outbox.settled(), []);
}

#[test]
fn what_was_in_flight_is_sent_again_first_and_in_order() {
    let mut outbox = connected();
    backlog(&mut outbox, 20);
    let first = sent(&mut outbox);
    outbox.left(1);
    outbox.answered(1, Ok(()));
    outbox.lost(Loss::Broken);
    outbox.connected(WINDOW, ROOM);
    assert_eq!(sent(&mut outbox)[..11], first[1..]);
    let figures = outbox.figures();
    assert_eq!((figures.sent, figures.resent, figures.acked), (24, 11, 1));
    assert_eq!(figures.waiting_deliveries, 19);
}

#[test]
fn a_live_message_in_flight_is_sent_again_unless_a_newer_one_took_its_place() {
    let mut outbox = connected();
    outbox.latest(message("a", "1"));
    outbox.latest(message("b", "1"));
    assert_eq!(sent(&mut outbox).len(), 2);
    outbox.latest(message("b", "2"));
    outbox.lost(Loss::Broken);
    outbox.connected(WINDOW, ROOM);
    let again = sent(&mut outbox);
    assert_eq!(again, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
}

#[test]
fn a_broker_that_comes_back_is_told_all_retained_state_anew() {
    let mut outbox = connected();
    outbox.latest(message("status", "online"));
    outbox.latest(message("config", "3"));
    outbox.latest(Message { retain: false, ..message("passing", "x") });
    outbox.latest(message("gone", ""));
    sent(&mut outbox);
    (1..5).for_each(|packet_id| {
        outbox.left(packet_id);
        outbox.answered(packet_id, Ok(()));
    });
    outbox.lost(Loss::Broken);
    outbox.connected(WINDOW, ROOM);
    let said: BTreeSet<_> = topics(&mut outbox).into_iter().collect();
    assert_eq!(said, BTreeSet::from(["status".to_owned(), "config".to_owned()]));
}

#[test]
fn what_is_larger_than_the_limit_is_denied_and_holds_nothing() {
    let mut outbox = Outbox::default();
    let large = outbox.deliver(message("large", &"x".repeat(500)));
    let small = outbox.deliver(event(1));
    outbox.latest(message("status", &"x".repeat(500)));
    outbox.connected(WINDOW, 100);
    assert_eq!(topics(&mut outbox), ["event"]);
    let settled = outbox.settled();
    assert_eq!((settled.len(), settled[0].0), (1, large));
    let denied = settled[0].1.clone().unwrap_err();
    assert!(denied.code == 149 && denied.reason.contains("100"), "{denied}");
    outbox.left(1);
    outbox.answered(1, Ok(()));
    assert_eq!(outbox.settled(), [(small, Ok(()))]);
    assert_eq!(outbox.figures().denied, 2);
}

#[test]
fn topics_that_cannot_be_are_denied_at_once() {
    let mut outbox = Outbox::default();
    for topic in ["", "a/+/b", "a/#", "a\0b", &"x".repeat(70_000)] {
        let id = outbox.deliver(message(topic, "x"));
        outbox.latest(message(topic, "x"));
        let settled = outbox.settled();
        assert_eq!(settled[0].0, id);
        assert_eq!(settled[0].1.as_ref().unwrap_err().code, 144);
    }
    outbox.connected(WINDOW, ROOM);
    assert_eq!(sent(&mut outbox), []);
}

#[test]
fn live_topics_are_bounded() {
    let mut outbox = connected();
    (0..TOPICS_MAX + 7).for_each(|number| outbox.latest(message(&format!("t{number}"), "x")));
    assert_eq!(outbox.figures().waiting_latest, TOPICS_MAX);
    assert_eq!(outbox.figures().crowded_out, 7);
}

#[test]
fn what_the_broker_cannot_bear_is_found_and_denied_and_the_rest_goes_on() {
    let mut outbox = Outbox::default();
    let ids = backlog(&mut outbox, 5);
    outbox.latest(Message { retain: false, ..message("status", "online") });
    let (mut taken, mut connections) = (Vec::new(), 0);
    while outbox.figures().waiting_deliveries + outbox.figures().waiting_latest > 0 {
        connections += 1;
        assert!(connections < 10, "a loop: {taken:?}");
        outbox.connected(WINDOW, ROOM);
        // It ends the connection when it sees event 2, before it has answered to anything of the same reading.
        loop {
            let batch = sent(&mut outbox);
            if batch.iter().any(|(_, payload)| payload == "2") {
                outbox.lost(Loss::Objection);
                break;
            }
            if batch.is_empty() {
                break;
            }
            for (_, payload) in batch {
                outbox.left(1);
                outbox.answered(1, Ok(()));
                taken.push(payload);
            }
        }
    }
    assert_eq!(taken, ["online", "0", "1", "3", "4"]);
    let denied: Vec<_> = outbox.settled().into_iter().filter(|(_, outcome)| outcome.is_err()).collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].0, ids[2]);
    assert_eq!(connections, 4);
}

#[test]
fn a_connection_that_only_breaks_denies_nothing() {
    let mut outbox = Outbox::default();
    outbox.deliver(event(1));
    for _ in 0..50 {
        outbox.connected(WINDOW, ROOM);
        assert_eq!(sent(&mut outbox).len(), 1);
        outbox.lost(Loss::Broken);
    }
    assert_eq!(outbox.settled(), []);
}

#[test]
fn only_the_farewell_goes_out_once_it_is_said() {
    let mut outbox = connected();
    backlog(&mut outbox, 50);
    sent(&mut outbox);
    outbox.latest(message("other", "x"));
    outbox.leave(message("status", "offline"));
    assert_eq!(sent(&mut outbox), [("status".to_owned(), "offline".to_owned())]);
    (1..13).for_each(|packet_id| {
        outbox.left(packet_id);
        outbox.answered(packet_id, Ok(()));
    });
    assert!(!outbox.has_left());
    assert_eq!(sent(&mut outbox), []);
    outbox.left(13);
    outbox.answered(13, Ok(()));
    assert!(outbox.has_left());
}

#[test]
fn a_delivery_that_nobody_waits_for_is_not_sent() {
    let mut outbox = Outbox::default();
    let first = outbox.deliver(event(1));
    outbox.deliver(event(2));
    outbox.withdraw(first);
    outbox.connected(WINDOW, ROOM);
    assert_eq!(sent(&mut outbox), [("event".to_owned(), "2".to_owned())]);
}

#[test]
fn a_packet_is_as_long_as_the_standard_says() {
    for (payload, length) in [(0, 10), (119, 129), (120, 131), (16_375, 16_386), (16_376, 16_388)] {
        let message = message("abc", &"x".repeat(payload));
        assert_eq!(packet_bytes(&message), length, "{payload}");
    }
}

/// What may happen to a link.
#[derive(Debug, Clone)]
enum Act {
    Latest(u8),
    Deliver,
    Connect { window: u16 },
    Send(u8),
    Answer { place: u8, deny: bool },
    Lose { objection: bool },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Act::Latest),
        4 => Just(Act::Deliver),
        2 => (1..=WINDOW).prop_map(|window| Act::Connect { window }),
        6 => (1..20_u8).prop_map(Act::Send),
        6 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(place, deny)| Act::Answer { place, deny }),
        1 => prop::bool::weighted(0.2).prop_map(|objection| Act::Lose { objection }),
    ]
}

/// A broker, and what the outbox promised.
#[derive(Default)]
struct World {
    outbox: Outbox,
    up: bool,
    window: usize,
    next_packet_id: u16,
    /// In flight, as the broker sees it; it answers in any order.
    open: VecDeque<(u16, Message)>,
    /// What the broker took, with when it had come.
    taken: BTreeMap<String, BTreeSet<(u64, String)>>,
    connection: u64,
    /// Newest of each live topic, as handed in.
    newest: BTreeMap<String, String>,
    delivered: BTreeMap<u64, String>,
    outcomes: BTreeMap<u64, bool>,
    live_denied: BTreeSet<(String, String)>,
    count: u64,
}

impl World {
    fn does(&mut self, act: &Act) {
        self.count += 1;
        match *act {
            Act::Latest(topic) => {
                let topic = format!("live{topic}");
                self.outbox.latest(message(&topic, &self.count.to_string()));
                self.newest.insert(topic, self.count.to_string());
            }
            Act::Deliver => {
                let payload = self.count.to_string();
                let id = self.outbox.deliver(Message { retain: false, ..message("event", &payload) });
                self.delivered.insert(id, payload);
            }
            Act::Connect { window } if !self.up => {
                self.outbox.connected(window, ROOM);
                (self.up, self.window, self.next_packet_id) = (true, window.into(), 1);
                self.connection += 1;
            }
            Act::Send(most) => self.send(most),
            Act::Answer { place, deny } if !self.open.is_empty() => {
                self.answer(usize::from(place) % self.open.len(), deny);
            }
            Act::Lose { objection } if self.up => {
                self.outbox.lost(if objection { Loss::Objection } else { Loss::Broken });
                self.up = false;
                self.open.clear();
            }
            _ => {}
        }
        self.settle();
    }

    fn send(&mut self, most: u8) {
        for _ in 0..most {
            let Some(message) = self.outbox.next() else { break };
            assert!(self.up, "sent without a connection");
            let already = |id: &u64| self.outcomes.contains_key(id);
            let payload = String::from_utf8(message.payload.to_vec()).unwrap();
            let settled = self.delivered.iter().any(|(id, sent)| already(id) && *sent == payload);
            assert!(message.topic != "event" || !settled, "{payload} is settled and sent again");
            self.open.push_back((self.next_packet_id, message));
            self.outbox.left(self.next_packet_id);
            self.next_packet_id += 1;
            let oldest = self.open.front().map_or(0, |(packet_id, _)| *packet_id);
            assert!(usize::from(self.next_packet_id - oldest) <= self.window, "beyond the window");
            let backlog = self.open.iter().filter(|(_, message)| message.topic == "event").count();
            assert!(backlog <= (self.window * 3 / 4).max(1), "no room is left for live state");
        }
    }

    fn answer(&mut self, place: usize, deny: bool) {
        let Some((packet_id, message)) = self.open.remove(place) else { return };
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        let answer = if deny { Err((135, "no".to_owned())) } else { Ok(()) };
        if !deny {
            let came = self.connection * 100_000 + u64::from(packet_id);
            self.taken.entry(message.topic).or_default().insert((came, payload));
        } else if message.topic != "event" {
            self.live_denied.insert((message.topic, payload));
        }
        self.outbox.answered(packet_id, answer);
    }

    fn settle(&mut self) {
        for (id, outcome) in self.outbox.settled() {
            assert!(self.outcomes.insert(id, outcome.is_ok()).is_none(), "{id} is settled twice");
            let sent = &self.delivered[&id];
            let taken = self.taken.get("event").is_some_and(|taken| taken.iter().any(|(_, t)| t == sent));
            assert!(outcome.is_err() || taken, "{id} is said to be taken and was not");
        }
    }

    /// The network is good from now on.
    fn comes_to_rest(&mut self) {
        for _ in 0..2000 {
            self.does(&Act::Connect { window: WINDOW });
            self.does(&Act::Send(20));
            if self.open.is_empty() {
                return;
            }
            self.does(&Act::Answer { place: 0, deny: false });
        }
        panic!("it does not come to rest");
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_whatever_happens(acts in prop::collection::vec(act(), 1..200)) {
        let mut world = World::default();
        acts.iter().for_each(|act| world.does(act));
        world.comes_to_rest();
        prop_assert_eq!(world.outcomes.len(), world.delivered.len(), "a delivery has no outcome");
        for (topic, newest) in &world.newest {
            let last = world.taken.get(topic).and_then(|taken| taken.last()).map(|(_, payload)| payload);
            let denied = world.live_denied.contains(&(topic.clone(), newest.clone()));
            let objected = acts.iter().any(|act| matches!(act, Act::Lose { objection: true }));
            prop_assert!(last == Some(newest) || denied || objected, "{}: {:?} of {}", topic, last, newest);
        }
        let figures = world.outbox.figures();
        prop_assert_eq!((figures.waiting_latest, figures.waiting_deliveries), (0, 0));
    }
}
