//! The broker dies, forgets, or cannot be reached.

use std::collections::BTreeSet;

use turnstage_cloud_sync::mqtt::{LinkState, TroubleKind};
use turnstage_tests::broker::{Broker, Setup};

use super::{Station, deliver_all, message, retained};

fn persistent() -> Setup {
    Setup { persistent: true, ..Setup::default() }
}

#[tokio::test]
async fn a_broker_that_is_killed_in_mid_stream_twice_takes_every_one_of_1500_deliveries() {
    let test = "a_broker_that_is_killed_in_mid_stream_twice_takes_every_one_of_1500_deliveries";
    let Some(mut broker) = Broker::start(test, persistent()).await else { return };
    let mut watcher = broker.watch("event/#").await;
    let mut station = Station::up(broker.client("station"), None, &[]).await;
    let post = station.post.clone();
    let delivering = tokio::spawn(async move { deliver_all(&post, "event/frame", 1500).await });
    for reached in [400, 900] {
        watcher.until("some of them", |heard| heard.len() >= reached).await;
        broker.kill();
        station.is_down().await;
        broker.restart();
        station.is_up().await;
    }
    delivering.await.expect("all are acknowledged");
    let distinct = |heard: &[turnstage_tests::broker::watcher::Heard]| {
        heard.iter().map(|heard| heard.payload.clone()).collect::<BTreeSet<_>>().len()
    };
    station.post.deliver(message("event/end", "end")).await.expect("taken");
    let heard = watcher.until("the last one", |heard| heard.iter().any(|one| one.payload == "end")).await;
    let figures = station.post.figures();
    // What the broker took in the moment before it was killed may be on no disk of its own: that is the broker's, and
    // never more than what was in flight.
    let lost = 1501 - distinct(&heard);
    println!("1500 deliveries: {} heard, {lost} lost by the broker; {figures:?}", heard.len());
    assert!(lost <= 2 * 12, "the broker lost {lost}");
    assert_eq!((figures.acked, figures.denied, figures.waiting_deliveries), (1501, 0, 0));
    assert!(figures.resent <= 2 * 12, "more was repeated than was in flight: {figures:?}");
    assert!(figures.connects >= 3, "{figures:?}");
    station.end().await;
}

#[tokio::test]
async fn a_broker_that_forgot_everything_hears_live_state_again_and_is_listened_to_again() {
    let test = "a_broker_that_forgot_everything_hears_live_state_again_and_is_listened_to_again";
    let Some(mut broker) = Broker::start(test, persistent()).await else { return };
    let mut station = Station::up(broker.client("station"), None, &["command/#"]).await;
    station.post.latest(retained("status", "ready"));
    station.post.latest(retained("telemetry/queue", "3"));
    station.post.deliver(message("event", "before")).await.expect("taken");
    broker.kill();
    station.is_down().await;
    let (post, waiting) = (station.post.clone(), message("event", "meanwhile"));
    let delivering = tokio::spawn(async move { post.deliver(waiting).await });
    // The station comes after the watcher.
    broker.partition();
    broker.restart_empty();
    let mut watcher = broker.watch("#").await;
    broker.heal();
    broker.relay().cut();
    station.is_up().await;
    delivering.await.expect("it ends").expect("taken");
    let all = ["status ready", "telemetry/queue 3", "event meanwhile"];
    watcher
        .until("state and event", |heard| {
            all.iter().all(|wanted| heard.iter().any(|h| format!("{} {}", h.topic, h.payload) == *wanted))
        })
        .await;
    let mut later = broker.watch("status").await;
    let kept = later.until("the state", |heard| !heard.is_empty()).await;
    assert!(kept[0].retained, "{kept:?}");
    broker.say("command/identify", "blink");
    let received = station.hears().await;
    assert_eq!((received.topic.as_str(), &received.payload[..]), ("command/identify", &b"blink"[..]));
    received.done();
    station.end().await;
}

#[tokio::test]
async fn after_a_partition_the_newest_state_comes_first_and_the_backlog_after_it() {
    let test = "after_a_partition_the_newest_state_comes_first_and_the_backlog_after_it";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let mut watcher = broker.watch("#").await;
    let mut station = Station::up(broker.client("station"), None, &[]).await;
    station.post.deliver(message("event", "before")).await.expect("taken");
    broker.partition();
    // Handed in first, and far more than may be in flight.
    let post = station.post.clone();
    let delivering = tokio::spawn(async move { deliver_all(&post, "event", 500).await });
    while station.post.figures().waiting_deliveries < 256 {
        tokio::task::yield_now().await;
    }
    let (trouble, _) = station.is_down().await;
    assert_eq!((trouble.kind, trouble.rule), (TroubleKind::Network, "network-unreachable"));
    (0..100).for_each(|number| station.post.latest(retained("telemetry/queue", &number.to_string())));
    broker.heal();
    broker.relay().cut();
    station.is_up().await;
    delivering.await.expect("all are taken");
    let heard = watcher.until("all", |heard| heard.len() > 500).await;
    let live: Vec<_> = heard.iter().filter(|heard| heard.topic == "telemetry/queue").collect();
    assert_eq!(live.len(), 1, "only the newest: {live:?}");
    assert_eq!(live[0].payload, "99");
    // What was in flight when the network stalled may have come through in the end.
    let place = heard.iter().position(|heard| heard.topic == "telemetry/queue").expect("heard");
    assert!(place <= 1 + 12, "live state came after {place} others");
    station.end().await;
}

#[tokio::test]
async fn live_state_overtakes_a_backlog_that_is_being_sent() {
    let test = "live_state_overtakes_a_backlog_that_is_being_sent";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let mut watcher = broker.watch("#").await;
    let station = Station::up(broker.client("station"), None, &[]).await;
    let post = station.post.clone();
    let delivering = tokio::spawn(async move { deliver_all(&post, "event", 500).await });
    watcher.until("a beginning", |heard| heard.len() > 20).await;
    let taken = station.post.figures().sent;
    station.post.latest(message("status", "busy"));
    let heard = watcher.until("the state", |heard| heard.iter().any(|h| h.topic == "status")).await;
    let place = heard.iter().position(|heard| heard.topic == "status").expect("heard") as u64;
    assert!(place <= taken + 16, "handed in after {taken} were sent, heard as number {place}");
    delivering.await.expect("all are taken");
    station.end().await;
}

#[tokio::test]
async fn a_link_with_nothing_to_say_stays_up_for_longer_than_a_silent_broker_would_be_waited_for() {
    let test = "a_link_with_nothing_to_say_stays_up_for_longer_than_a_silent_broker_would_be_waited_for";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let mut station = Station::up(broker.client("station"), None, &["command/#"]).await;
    let down = station.state.wait_for(|state| !matches!(state, LinkState::Up { .. }));
    let long = broker.client("station").keep_alive.mul_f64(2.8);
    assert!(tokio::time::timeout(long, down).await.is_err(), "an idle connection is given up");
    station.post.deliver(message("event", "x")).await.expect("taken");
    assert_eq!(station.post.figures().connects, 1);
    station.end().await;
}

#[tokio::test]
async fn the_last_will_is_said_when_a_station_dies_and_the_farewell_when_it_ends() {
    let test = "the_last_will_is_said_when_a_station_dies_and_the_farewell_when_it_ends";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let mut watcher = broker.watch("status").await;
    let farewell = || Some(message("status", "offline"));
    let station = Station::up(broker.client("station"), farewell(), &[]).await;
    station.post.latest(retained("status", "online"));
    watcher.until("online", |heard| heard.len() == 1).await;
    // As the end of its process: nothing is said.
    station.running.abort();
    watcher.until("the will", |heard| heard.last().is_some_and(|h| h.payload == "offline")).await;

    let station = Station::up(broker.client("station"), farewell(), &[]).await;
    station.post.latest(retained("status", "online"));
    watcher.until("online again", |heard| heard.last().is_some_and(|h| h.payload == "online")).await;
    station.end().await;
    let heard = watcher.until("the farewell", |heard| heard.len() == 4).await;
    let said: Vec<_> = heard.iter().map(|heard| heard.payload.as_str()).collect();
    assert_eq!(said, ["online", "offline", "online", "offline"], "once each, no will after a farewell");
    let mut later = broker.watch("+").await;
    let kept = later.until("the state", |heard| !heard.is_empty()).await;
    assert!(kept[0].retained && kept[0].payload == "offline", "{kept:?}");
}

#[tokio::test]
async fn a_station_that_comes_back_takes_its_last_will_back() {
    let test = "a_station_that_comes_back_takes_its_last_will_back";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let mut watcher = broker.watch("status").await;
    let mut station = Station::up(broker.client("station"), Some(message("status", "offline")), &[]).await;
    station.post.latest(retained("status", "online"));
    watcher.until("online", |heard| heard.len() == 1).await;
    broker.relay().cut();
    station.is_down().await;
    assert!(station.is_up().await, "the broker kept the session");
    let heard = watcher.until("online again", |heard| heard.len() == 3).await;
    let said: Vec<_> = heard.iter().map(|heard| heard.payload.as_str()).collect();
    assert_eq!(said, ["online", "offline", "online"]);
    station.end().await;
}

#[tokio::test]
async fn a_command_that_was_not_stored_when_the_connection_broke_comes_again() {
    let test = "a_command_that_was_not_stored_when_the_connection_broke_comes_again";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let mut station = Station::up(broker.client("station"), None, &["command/#"]).await;
    broker.say("command/1", "stored");
    broker.say("command/2", "not stored");
    station.hears().await.done();
    let second = station.hears().await;
    assert_eq!(second.topic, "command/2");
    // Once this is taken, the acknowledgement before it was, too.
    station.post.deliver(message("event", "x")).await.expect("taken");
    broker.relay().cut();
    station.is_down().await;
    second.done();
    broker.say("command/3", "meanwhile");
    assert!(station.is_up().await, "the broker kept the session");
    let (again, third) = (station.hears().await, station.hears().await);
    assert_eq!((again.topic.as_str(), third.topic.as_str()), ("command/2", "command/3"));
    again.done();
    third.done();
    station.post.deliver(message("event", "x")).await.expect("taken");
    broker.relay().cut();
    station.is_down().await;
    station.is_up().await;
    broker.say("command/4", "last");
    let last = station.hears().await;
    assert_eq!(last.topic, "command/4", "what is stored does not come again");
    station.end().await;
}

#[tokio::test]
async fn more_commands_than_may_be_open_arrive_one_after_another() {
    let test = "more_commands_than_may_be_open_arrive_one_after_another";
    let setup = Setup { more: "max_queued_messages 1000\n".to_owned(), ..Setup::default() };
    let Some(broker) = Broker::start(test, setup).await else { return };
    let mut station = Station::up(broker.client("station"), None, &["command/#"]).await;
    let other = Station::up(broker.client("other"), None, &[]).await;
    deliver_all(&other.post, "command/x", 100).await;
    // The station did not look meanwhile, and yet its link lives.
    station.post.deliver(message("event", "x")).await.expect("taken");
    for number in 0..100 {
        let received = station.hears().await;
        assert_eq!(received.payload, number.to_string());
        received.done();
    }
    assert_eq!(station.post.figures().connects, 1);
    other.end().await;
    station.end().await;
}
