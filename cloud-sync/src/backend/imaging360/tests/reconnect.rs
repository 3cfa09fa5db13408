//! How soon a picture goes, with the uploader that the daemon runs.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::queue::Change;
use crate::spool::Commit;
use crate::uploader::{Uploader, UploaderOptions, Wake};

struct Station {
    spool: Spool,
    service: Arc<Service>,
    wake: Wake,
    _dir: tempfile::TempDir,
}

impl Station {
    fn start(away: bool) -> Self {
        let Rig { cloud, service, clock, dir } = Rig::new();
        service.away.store(away, Ordering::Relaxed);
        let spool = Spool::in_memory(clock.clone());
        let options = UploaderOptions { org: "org".to_owned(), ..UploaderOptions::default() };
        let uploader = Uploader::new(spool.clone(), vec![Arc::new(cloud)], clock, options);
        let wake = uploader.wake();
        tokio::spawn(uploader.run(CancellationToken::new()));
        Self { spool, service, wake, _dir: dir }
    }

    async fn release(&self) {
        let mut new = file("s-1", 0, b"picture");
        new.destinations = vec!["cloud".to_owned()];
        let record = self.spool.put(vec![new], vec![]).await.unwrap().remove(0);
        let changes = vec![(record.key, Change::Release)];
        self.spool.commit(Commit { changes, ..Commit::default() }).await.unwrap();
    }

    /// How long after `from` the first picture was put.
    async fn put_after(&self, from: Instant) -> Duration {
        let mut changed = self.spool.changed();
        while self.spool.counts().await.unwrap().confirmed == 0 {
            changed.changed().await.unwrap();
        }
        let put_at = self.service.put_at.lock().unwrap();
        put_at.unwrap() - from
    }
}

#[tokio::test(start_paused = true)]
async fn online_a_picture_goes_within_two_seconds() {
    let station = Station::start(false);
    let queued = Instant::now();
    station.release().await;
    let after = station.put_after(queued).await;
    assert!(after <= Duration::from_secs(2), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn after_any_time_offline_a_picture_goes_within_five_seconds_of_the_networks_return() {
    // Whatever the probing, the breakers and the hoping are at just then.
    for offline_s in [1, 3, 7, 26, 31, 59, 600, 7 * 24 * 3600] {
        let station = Station::start(true);
        station.release().await;
        tokio::time::sleep(Duration::from_secs(offline_s)).await;
        station.service.away.store(false, Ordering::Relaxed);
        let back = Instant::now();
        station.wake.reconnected();
        let after = station.put_after(back).await;
        assert!(after <= Duration::from_secs(5), "{after:?} after {offline_s} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_back_untold_is_found_within_ten_seconds_and_no_attempt_was_counted() {
    for offline_s in [1, 3, 7, 26, 31, 59, 600, 24 * 3600] {
        let station = Station::start(true);
        station.release().await;
        tokio::time::sleep(Duration::from_secs(offline_s)).await;
        assert_eq!(station.spool.session_records("s-1").await.unwrap()[0].attempts, 0);
        station.service.away.store(false, Ordering::Relaxed);
        let after = station.put_after(Instant::now()).await;
        assert!(after <= Duration::from_secs(10), "{after:?} after {offline_s} s");
    }
}
