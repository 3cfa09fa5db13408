//! What a destination gets besides deliveries, and what people see of it.

use super::*;
use crate::event::Event;

/// A cloud that listens to events and takes every file.
pub(super) struct Listener {
    wants: Wants,
    /// Kinds of the events that it was told.
    pub told: watch::Sender<Vec<String>>,
    /// So many tellings fail from now on.
    deaf: AtomicUsize,
    /// What they fail with.
    excuse: PutError,
    there: AtomicBool,
    tended: AtomicUsize,
}

impl Listener {
    pub fn new(excuse: PutError) -> Arc<Self> {
        Arc::new(Self {
            wants: Fake::new("", |delivery, _| proof(delivery)).wants,
            told: watch::Sender::default(),
            deaf: AtomicUsize::new(0),
            excuse,
            there: AtomicBool::new(true),
            tended: AtomicUsize::new(0),
        })
    }

    pub fn told(&self) -> Vec<String> {
        self.told.borrow().clone()
    }
}

#[async_trait]
impl Backend for Listener {
    fn name(&self) -> &str {
        "cloud"
    }

    fn wants(&self) -> &Wants {
        &self.wants
    }

    async fn ready(&self) -> Result<(), PutError> {
        if self.there.load(Ordering::Relaxed) { Ok(()) } else { Err(offline()) }
    }

    async fn deliver(&self, delivery: &Delivery) -> Answer {
        self.ready().await?;
        proof(delivery)
    }

    async fn tend(&self) {
        self.tended.fetch_add(1, Ordering::Relaxed);
    }

    fn takes_events(&self) -> bool {
        true
    }

    async fn tell(&self, events: &[Event]) -> Result<(), PutError> {
        let fewer = |left: usize| left.checked_sub(1);
        if self.deaf.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return Err(self.excuse.clone());
        }
        assert!(events.len() <= 100, "{}", events.len());
        self.told.send_modify(|told| told.extend(events.iter().map(|event| event.kind.clone())));
        Ok(())
    }
}

/// An uploader to the listener alone.
pub(super) fn start(spool: &Spool, cloud: &Arc<Listener>, org: &str) -> Rig {
    let options = UploaderOptions { org: org.to_owned(), seed: Some(1), ..UploaderOptions::default() };
    let uploader = Uploader::new(spool.clone(), vec![cloud.clone() as Arc<dyn Backend>], clock(), options);
    let (wake, cancel, states) = (uploader.wake(), CancellationToken::new(), uploader.states());
    let running = tokio::spawn(uploader.run(cancel.clone()));
    Rig { spool: spool.clone(), wake, cancel, states, running }
}

pub(super) async fn happened(spool: &Spool, kinds: &[&str]) {
    let events = kinds.iter().map(|kind| event(kind)).collect();
    spool.commit(Commit { events, ..Commit::default() }).await.unwrap();
}

/// Longer than any pause between tellings.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(120)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cloud_is_told_what_people_would_ask_it_and_nothing_of_before() {
    let spool = Spool::in_memory(clock());
    happened(&spool, &["session.started"]).await;
    let cloud = Listener::new(busy());
    let _rig = start(&spool, &cloud, "org");
    a_while().await;
    assert_eq!(cloud.told(), [""; 0]);
    let kinds = ["session.started", "frame.captured", "frame.flagged", "command.accepted", "frame.failed"];
    happened(&spool, &kinds).await;
    a_while().await;
    assert_eq!(cloud.told(), ["session.started", "frame.flagged", "frame.failed"]);
    happened(&spool, &["session.released"; 250]).await;
    a_while().await;
    assert_eq!(cloud.told().len(), 253);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_takes_no_events_gets_its_pictures_and_the_events_later() {
    let spool = Spool::in_memory(clock());
    let cloud = Listener::new(busy());
    cloud.deaf.store(3, Ordering::Relaxed);
    let rig = start(&spool, &cloud, "org");
    happened(&spool, &["session.started"]).await;
    released(&spool, 5, |_| ()).await;
    rig.until(|counts| counts.confirmed == 5).await;
    assert!(rig.states.borrow()[0].online);
    assert_eq!(cloud.told(), [""; 0]);
    a_while().await;
    assert_eq!(cloud.told(), ["session.started"]);
}

#[tokio::test(start_paused = true)]
async fn events_that_are_refused_for_good_hold_up_no_later_ones() {
    let spool = Spool::in_memory(clock());
    let cloud = Listener::new(PutError::never("invalid-request", "no"));
    cloud.deaf.store(1, Ordering::Relaxed);
    let _rig = start(&spool, &cloud, "org");
    happened(&spool, &["session.started"]).await;
    a_while().await;
    happened(&spool, &["session.released"]).await;
    a_while().await;
    assert_eq!(cloud.told(), ["session.released"]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_offline_is_told_afterwards() {
    let spool = Spool::in_memory(clock());
    let cloud = Listener::new(busy());
    cloud.there.store(false, Ordering::Relaxed);
    let rig = start(&spool, &cloud, "org");
    released(&spool, 1, |_| ()).await;
    a_while().await;
    assert_eq!(cloud.told(), [""; 0]);
    cloud.there.store(true, Ordering::Relaxed);
    rig.until(|counts| counts.confirmed == 1).await;
    a_while().await;
    assert_eq!(cloud.told(), ["destination.offline", "destination.online"]);
}

#[tokio::test(start_paused = true)]
async fn upkeep_goes_on_whether_the_destination_is_there_or_not() {
    let spool = Spool::in_memory(clock());
    let cloud = Listener::new(busy());
    cloud.there.store(false, Ordering::Relaxed);
    let _rig = start(&spool, &cloud, "org");
    released(&spool, 1, |_| ()).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tended = cloud.tended.load(Ordering::Relaxed);
    assert!((6..=8).contains(&tended), "{tended}");
}

#[tokio::test(start_paused = true)]
async fn people_see_whether_a_destination_is_there_why_not_and_what_it_is_busy_with() {
    let spool = Spool::in_memory(clock());
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
    cloud.there.store(false, Ordering::Relaxed);
    let mut rig = Rig::start(&spool, &[&cloud]);
    let idle = DestinationState {
        name: "cloud".to_owned(),
        online: true,
        failure: None,
        notices: vec![],
        under_way: 0,
    };
    assert_eq!(rig.states.borrow()[0], idle);
    released(&spool, 8, |_| ()).await;
    rig.states.wait_for(|states| states[0].under_way == 2).await.unwrap();
    let gone = rig.states.wait_for(|states| !states[0].online && states[0].under_way == 0).await.unwrap();
    assert_eq!(gone[0].failure, Some(offline().failure()));
    drop(gone);

    cloud.there.store(true, Ordering::Relaxed);
    rig.wake.reconnected();
    rig.states.wait_for(|states| states[0].online && states[0].under_way == 1).await.unwrap();
    // One shows that it is back, then both lanes are used again.
    rig.states.wait_for(|states| states[0].under_way == 2).await.unwrap();
    rig.until(|counts| counts.confirmed == 8).await;
    let last = rig.states.wait_for(|states| states[0].under_way == 0).await.unwrap();
    assert_eq!(*last, [idle]);
}

#[tokio::test(start_paused = true)]
async fn hoping_in_vain_costs_less_and_less() {
    let spool = Spool::in_memory(clock());
    // It answers when asked, and takes nothing.
    let cloud = Arc::new(Fake::new("cloud", |_, _| Err(offline())));
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 1, |_| ()).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tried = cloud.seen().len();
    assert!((50..=70).contains(&tried), "about once a minute: {tried}");
    assert_eq!(rig.record(1).await.attempts, 0);
}
