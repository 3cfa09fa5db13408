//! A metered link whose budget is used up, and the day after.

use super::*;
use crate::meter::MeterOptions;

/// A cloud beyond a link that is paid by the byte, or a folder that is not.
struct Paid {
    fake: Fake,
    meter: Meter,
    far: bool,
}

#[async_trait]
impl Backend for Paid {
    fn name(&self) -> &str {
        self.fake.name()
    }

    fn wants(&self) -> &Wants {
        self.fake.wants()
    }

    fn crosses_network(&self) -> bool {
        self.far
    }

    async fn deliver(&self, delivery: &Delivery) -> Answer {
        if self.far {
            self.meter.count(delivery.files.iter().map(|parcel| parcel.length).sum(), 0);
        }
        self.fake.deliver(delivery).await
    }
}

fn day(stamp: &Stamp) -> Option<i64> {
    Some(stamp.wall_ms.div_euclid(24 * 3600 * 1000))
}

#[tokio::test(start_paused = true)]
async fn what_a_metered_link_has_no_bytes_left_for_waits_until_the_next_day_and_costs_no_attempt() {
    let clock = clock();
    let spool = Spool::in_memory(clock.clone());
    // Each frame is seven bytes: the second uses up what is left.
    let meter = Meter::new(MeterOptions { budget: Some(14), day, path: None }, clock.clone());
    let paid = |name: &str, far| {
        let fake = Fake::new(name, |delivery, _| proof(delivery));
        Arc::new(Paid { fake, meter: meter.clone(), far })
    };
    let (cloud, stick) = (paid("cloud", true), paid("stick", false));
    let backends = vec![cloud.clone() as Arc<dyn Backend>, stick.clone() as Arc<dyn Backend>];
    let options = UploaderOptions { org: "org".to_owned(), parallel: 1, ..UploaderOptions::default() };
    let uploader = Uploader::new(spool.clone(), backends, clock, options).metered(meter.clone());
    let (mut states, cancel) = (uploader.states(), CancellationToken::new());
    let running = tokio::spawn(uploader.run(cancel.clone()));
    released(&spool, 5, |file| file.destinations = vec!["cloud".to_owned(), "stick".to_owned()]).await;

    let is_spent = |states: &Vec<DestinationState>| {
        states[0].failure.as_ref().is_some_and(|failure| failure.rule == "network-budget")
    };
    let states = states.wait_for(is_spent).await.unwrap().clone();
    assert!(!states[0].online && states[1].online, "{states:?}");
    let mut changed = spool.changed();
    while spool.counts().await.unwrap().confirmed < 7 {
        changed.changed().await.unwrap();
    }
    assert_eq!((cloud.fake.seen(), stick.fake.seen().len()), (vec![1, 2], 5));

    tokio::time::sleep(Duration::from_secs(23 * 3600)).await;
    assert_eq!(cloud.fake.seen(), [1, 2], "the day is not over");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    while cloud.fake.seen().len() < 4 {
        changed.changed().await.unwrap();
    }
    assert_eq!(cloud.fake.seen(), [1, 2, 3, 4], "and the next day's bytes are a day's too");
    let key = Key { sequence: 5, product: "original".into(), destination: "cloud".into() };
    let waiting = spool.record(&key).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempts), (State::Queued, 0));
    cancel.cancel();
    running.await.unwrap().unwrap();
}
