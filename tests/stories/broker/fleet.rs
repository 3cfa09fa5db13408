//! Many links at once: how they return, and what one costs.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_cloud_sync::mqtt::LinkState;
use turnstage_tests::broker::{Broker, Setup};

use super::{Station, message};

const LINKS: usize = 200;
const RETURN_MAX: Duration = Duration::from_secs(4);

/// Memory of this process that is in RAM, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a figure");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[tokio::test]
async fn two_hundred_links_return_spread_over_their_time_and_cost_little() {
    let test = "two_hundred_links_return_spread_over_their_time_and_cost_little";
    let Some(broker) = Broker::start(test, Setup::default()).await else { return };
    let before = resident_kib();
    let mut stations = Vec::new();
    for number in 0..LINKS {
        let mut told = broker.client(&format!("station-{number}"));
        told.return_max = RETURN_MAX;
        stations.push(Station::start(told, None, &["command/#"]));
    }
    for station in &mut stations {
        station.is_up().await;
        station.post.deliver(message("event", "x")).await.expect("taken");
    }
    let each = (resident_kib() - before) / LINKS as u64;
    println!("a link costs about {each} KiB here, its two connections in the relay included");
    let cut = Instant::now();
    broker.relay().cut();
    let returns = stations.iter_mut().map(|station| async move {
        station.is_down().await;
        let LinkState::Down { again_in, .. } = station.state.borrow().clone() else {
            return (None, cut.elapsed());
        };
        station.is_up().await;
        (Some(again_in), cut.elapsed())
    });
    let returns = futures_util::future::join_all(returns).await;
    let mut when: Vec<_> = returns.iter().map(|(_, when)| when.as_secs_f64()).collect();
    when.sort_by(f64::total_cmp);
    let most = RETURN_MAX.as_secs_f64();
    let quarters: Vec<_> = (0..4)
        .map(|quarter| {
            let (from, to) = (most / 4.0 * f64::from(quarter), most / 4.0 * f64::from(quarter + 1));
            when.iter().filter(|when| **when >= from && **when < to).count()
        })
        .collect();
    println!("returned in each quarter of {most} s: {quarters:?}, the last after {:.2} s", when[LINKS - 1]);
    // 50 are expected in each; fewer than 20 or more than 90 would come up in one of a million runs.
    assert!(quarters[..3].iter().all(|count| (20..=90).contains(count)), "{quarters:?}");
    for station in stations {
        station.end().await;
    }
}
