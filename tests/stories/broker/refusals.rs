//! What a broker does not take, and who it sends away: told in words, and nothing else stops.

use std::time::Duration;

use turnstage_cloud_sync::mqtt::{LinkState, TroubleKind};
use turnstage_tests::broker::{Broker, Setup};

use super::{Station, message, retained};

#[tokio::test]
async fn what_the_access_rules_deny_is_told_and_other_topics_go_on() {
    let test = "what_the_access_rules_deny_is_told_and_other_topics_go_on";
    let users = vec![("boss".to_owned(), "b".to_owned()), ("acme.north.1".to_owned(), "s".to_owned())];
    let acl = "user boss\ntopic readwrite #\n\npattern readwrite turnstage/%u/#\n".to_owned();
    let Some(broker) = Broker::start(test, Setup { users, acl: Some(acl), ..Setup::default() }).await else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let station = Station::up(broker.client("acme.north.1"), None, &["turnstage/acme.north.1/cmd/#"]).await;
    let denied =
        station.post.deliver(message("turnstage/acme.north.2/event", "x")).await.expect_err("denied");
    assert_eq!((denied.code, denied.topic.as_str()), (135, "turnstage/acme.north.2/event"), "{denied}");
    station.post.latest(retained("turnstage/acme.north.2/status", "x"));
    station.post.latest(retained("turnstage/acme.north.1/status", "ready"));
    station.post.deliver(message("turnstage/acme.north.1/event", "x")).await.expect("taken");
    let heard = watcher.until("what is allowed", |heard| heard.len() == 2).await;
    assert!(heard.iter().all(|heard| heard.topic.starts_with("turnstage/acme.north.1/")), "{heard:?}");
    let figures = station.post.figures();
    assert_eq!((figures.denied, figures.connects), (2, 1), "{figures:?}");
    station.end().await;
}

/// The block of `docs/fleet/broker.md` that begins with this line.
fn documented(first_line: &str) -> String {
    let page = include_str!("../../../docs/fleet/broker.md");
    let block = page.split("```\n").find(|block| block.starts_with(first_line));
    block.unwrap_or_else(|| panic!("docs/fleet/broker.md has no block {first_line}")).to_owned()
}

#[tokio::test]
async fn the_documented_access_rules_let_a_station_say_and_hear_what_is_its_own() {
    let test = "the_documented_access_rules_let_a_station_say_and_hear_what_is_its_own";
    let users = ["fleet", "acme.north.station-1"].map(|name| (name.to_owned(), "secret".to_owned()));
    let acl = Some(documented("# /etc/mosquitto/turnstage.acl"));
    let Some(broker) = Broker::start(test, Setup { users: users.into(), acl, ..Setup::default() }).await
    else {
        return;
    };
    let own = "turnstage/acme/north/station-1";
    let mut watcher = broker.watch("turnstage/#").await;
    let filter = format!("{own}/cmd/#");
    let mut station = Station::up(broker.client("acme.north.station-1"), None, &[&filter]).await;
    let says =
        ["status", "telemetry/queue", "event/frame", "alarm/1", "config/reported", "cmd/identify/7/status"];
    for topic in says {
        station.post.deliver(message(&format!("{own}/{topic}"), "x")).await.expect("taken");
    }
    let heard = watcher.until("what it says", |heard| heard.len() == says.len()).await;
    assert!(heard.iter().zip(says).all(|(heard, said)| heard.topic.ends_with(said)), "{heard:?}");
    for topic in [format!("{own}/config/desired"), format!("{own}/cmd/identify/8"), format!("{own}/../x")] {
        let denied = station.post.deliver(message(&topic, "x")).await.expect_err("not a station's to say");
        assert_eq!(denied.code, 135, "{denied}");
    }
    broker.say(&format!("{own}/cmd/identify/9"), "blink");
    // Its own answer to the command comes back to it first, because it listens to all commands.
    let heard = [station.hears().await.topic, station.hears().await.topic];
    assert!(heard[1].ends_with("cmd/identify/9"), "{heard:?}");
    station.end().await;
}

#[tokio::test]
async fn a_subscription_that_is_denied_is_told_and_the_link_stays_up() {
    let test = "a_subscription_that_is_denied_is_told_and_the_link_stays_up";
    // Mosquitto 2.0 grants every subscription and filters what is read; a filter that is none is denied here.
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let station = Station::up(broker.client("station"), None, &["command/#", "a#b"]).await;
    let mut objection = station.post.objection();
    let trouble = objection.wait_for(Option::is_some).await.expect("a link").clone().expect("trouble");
    assert_eq!((trouble.kind, trouble.rule), (TroubleKind::Refused, "broker-denies"));
    assert!(trouble.reason.contains("a#b"), "{}", trouble.reason);
    station.post.deliver(message("event", "x")).await.expect("taken");
    assert_eq!(station.post.figures().connects, 1);
    station.end().await;
}

#[tokio::test]
async fn a_message_larger_than_the_brokers_limit_is_denied_and_nothing_else_stops() {
    let test = "a_message_larger_than_the_brokers_limit_is_denied_and_nothing_else_stops";
    let setup = Setup { more: "max_packet_size 2000\n".to_owned(), ..Setup::default() };
    let Some(broker) = Broker::start(test, setup).await else { return };
    let station = Station::up(broker.client("station"), None, &[]).await;
    let (large, small) = (message("event", &"x".repeat(5000)), message("event", "x"));
    station.post.latest(retained("status", &"x".repeat(5000)));
    let (large, small) = tokio::join!(station.post.deliver(large), station.post.deliver(small));
    let denied = large.expect_err("denied");
    assert!(denied.code == 149 && denied.reason.contains("2000"), "{denied}");
    small.expect("taken");
    assert_eq!((station.post.figures().denied, station.post.figures().connects), (2, 1));
    station.end().await;
}

#[tokio::test]
async fn a_message_that_the_broker_answers_unreadably_is_found_and_denied_and_the_rest_goes_on() {
    let test = "a_message_that_the_broker_answers_unreadably_is_found_and_denied_and_the_rest_goes_on";
    // Told to nobody beforehand; Mosquitto acknowledges with reason 149, which rumqttc takes for a broken packet.
    let setup = Setup { more: "message_size_limit 2000\n".to_owned(), ..Setup::default() };
    let Some(broker) = Broker::start(test, setup).await else { return };
    let mut watcher = broker.watch("#").await;
    let station = Station::up(broker.client("station"), None, &[]).await;
    let deliveries = (0..20).map(|number| {
        let payload = if number == 5 { "x".repeat(5000) } else { number.to_string() };
        station.post.deliver(message("event", &payload))
    });
    station.post.latest(retained("status", "ready"));
    let outcomes = futures_util::future::join_all(deliveries).await;
    let denied: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).collect();
    assert!(denied.len() == 1 && denied[0].0 == 5, "{denied:?}");
    watcher
        .until("the rest", |heard| {
            let distinct: std::collections::BTreeSet<_> = heard.iter().map(|h| &h.payload).collect();
            distinct.len() == 20
        })
        .await;
    let figures = station.post.figures();
    assert!(figures.denied == 1 && figures.connects <= 4, "{figures:?}");
    station.end().await;
}

#[tokio::test]
async fn two_clients_with_one_name_are_told_and_do_not_push_each_other_out_again_and_again() {
    let test = "two_clients_with_one_name_are_told_and_do_not_push_each_other_out_again_and_again";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let (mut first, mut second) = (
        Station::up(broker.client("station"), None, &[]).await,
        Station::up(broker.client("station"), None, &[]).await,
    );
    // Mosquitto 2.0.11 closes the older connection without a word; others say so at once.
    let told = |state: &LinkState| matches!(state, LinkState::Down { trouble, .. } if trouble.rule == "broker-taken-over");
    let state = tokio::select! {
        state = first.until("told of the other", told) => state,
        state = second.until("told of the other", told) => state,
    };
    let LinkState::Down { trouble, again_in } = state else { panic!("{state:?}") };
    assert_eq!(trouble.kind, TroubleKind::Refused);
    assert!(trouble.reason.contains("name"), "{}", trouble.reason);
    assert!(again_in >= Duration::from_secs(60), "{again_in:?}");
    assert!(broker.relay().accepted() <= 10, "{} connections", broker.relay().accepted());
    first.end().await;
    second.end().await;
}
