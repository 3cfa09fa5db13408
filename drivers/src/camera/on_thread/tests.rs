use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::task::{Context, Poll};

use super::*;
use crate::camera::{Abilities, Variant};
use crate::frame::Exposure;

/// A driver that does what a test tells it to.
struct Told {
    /// `preview` waits until something comes, or until the other end is gone.
    go: Receiver<()>,
    /// Counts exposures.
    exposed: SyncSender<&'static str>,
    panics_when_dropped: bool,
}

/// What a test holds of it.
struct Rope {
    go: SyncSender<()>,
    seen: Receiver<&'static str>,
}

fn told(panics_when_dropped: bool) -> (Told, Rope) {
    let (go, waits) = sync_channel(8);
    let (exposed, seen) = sync_channel(8);
    (Told { go: waits, exposed, panics_when_dropped }, Rope { go, seen })
}

impl CameraSession for Told {
    fn apply(&mut self, settings: &Settings, _: Instant) -> Result<Applied, CameraError> {
        assert!(settings.gain != Some(-1.0), "a driver's bug");
        Ok(Applied { requested: *settings, exposure: Exposure::default(), size: (1, 1) })
    }
    fn warm_up(&mut self, _: Instant) -> Result<(), CameraError> {
        Err(CameraError::Disconnected { id: "told".to_owned() })
    }
    fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        self.exposed.send("exposed").unwrap_or_default();
        Ok(Exposed { ticket: 1, start: request.not_before, end: Instant::now(), deadline: request.deadline })
    }
    fn fetch(&mut self, _: Exposed) -> Result<FrameSet, CameraError> {
        Ok(FrameSet { frames: Vec::new(), max_skew: Duration::ZERO, discarded_stale: 7 })
    }
    fn preview(&mut self, _: Instant) -> Result<Option<Frame>, CameraError> {
        self.exposed.send("hangs").unwrap_or_default();
        self.go.recv().unwrap_or_default();
        Ok(None)
    }
    fn info(&self) -> CameraInfo {
        CameraInfo {
            driver: "told",
            id: "told".to_owned(),
            model: "a driver that does as it is told".to_owned(),
            size_max: (1, 1),
            firmware: None,
            can: Abilities::default(),
            tried: false,
            remaining: None,
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.exposed.send("closed").unwrap_or_default();
        assert!(!self.panics_when_dropped, "a driver that cannot even be closed");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

async fn open(session: Told) -> Result<OnThread, CameraError> {
    OnThread::open("told", "main", PATIENCE, move || Ok(Box::new(session))).await
}

fn request(limit: Duration) -> ExposeRequest {
    let now = Instant::now();
    ExposeRequest { not_before: now, deadline: now + limit, variant: Variant::default() }
}

fn is_poisoned<T>(result: &Result<T, CameraError>) -> bool {
    matches!(result, Err(CameraError::Poisoned { id }) if id == "main")
}

#[tokio::test]
async fn a_blocking_camera_can_be_awaited() {
    let (session, rope) = told(false);
    let mut camera = open(session).await.unwrap();
    assert_eq!(camera.info().driver, "told");
    assert_eq!(camera.apply(&Settings::default()).await.unwrap().size, (1, 1));
    let error = camera.warm_up(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CameraError::Disconnected { .. }), "the driver's own error: {error}");
    let exposed = camera.expose(&request(PATIENCE)).await.unwrap();
    assert_eq!(camera.fetch(exposed).await.unwrap().discarded_stale, 7);
    drop(camera);
    assert_eq!(rope.seen.iter().collect::<Vec<_>>(), ["exposed", "closed"]);
}

#[tokio::test]
async fn a_driver_that_hangs_is_left_to_itself_after_its_deadline_and_a_grace() {
    let (session, rope) = told(false);
    let mut camera = open(session).await.unwrap();
    let begun = Instant::now();
    let preview = at_work(camera.preview(), &rope).await;
    // The thread does not hold paused time: the limit runs out at once.
    tokio::time::pause();
    let preview = preview.await;
    assert!(is_poisoned(&preview), "{preview:?}");
    assert_eq!(begun.elapsed().as_secs(), (PREVIEW_LIMIT + GRACE).as_secs());
    let again = camera.expose(&request(PATIENCE)).await;
    assert!(is_poisoned(&again), "poisoned for good: {again:?}");
    assert_eq!(begun.elapsed().as_secs(), (PREVIEW_LIMIT + GRACE).as_secs(), "and says so at once");
    assert_eq!(rope.seen.try_recv(), Err(TryRecvError::Empty), "neither exposed nor closed");
    // It comes back much later: nobody waits, so it closes its camera.
    rope.go.send(()).unwrap();
    assert_eq!(rope.seen.iter().collect::<Vec<_>>(), ["closed"]);
}

#[tokio::test]
async fn a_panic_poisons_one_camera_and_is_not_closed() {
    let (session, rope) = told(true);
    let mut camera = open(session).await.unwrap();
    let broken = camera.apply(&Settings { gain: Some(-1.0), ..Settings::default() }).await;
    assert!(is_poisoned(&broken), "{broken:?}");
    assert!(is_poisoned(&camera.fetch(camera_was_exposed()).await));
    drop(camera);
    assert_eq!(rope.seen.try_recv(), Err(TryRecvError::Empty), "what a panic left is not touched again");
}

fn camera_was_exposed() -> Exposed {
    let now = Instant::now();
    Exposed { ticket: 1, start: now, end: now, deadline: now + PATIENCE }
}

#[tokio::test]
async fn a_panic_while_closing_stays_on_the_thread() {
    let (session, rope) = told(true);
    drop(open(session).await.unwrap());
    assert_eq!(rope.seen.iter().collect::<Vec<_>>(), ["closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_opens_too_late_is_closed_again() {
    let (session, rope) = told(false);
    let (go, waits) = sync_channel::<()>(1);
    let opening = move || {
        waits.recv().unwrap_or_default();
        Ok(Box::new(session) as Session)
    };
    let opened = OnThread::open("told", "main", PATIENCE, opening).await.map(drop);
    assert!(is_poisoned(&opened), "{opened:?}");
    assert_eq!(rope.seen.try_recv(), Err(TryRecvError::Empty));
    drop(go);
    assert_eq!(rope.seen.iter().collect::<Vec<_>>(), ["closed"]);
}

#[tokio::test]
async fn why_a_camera_did_not_open_is_told() {
    let refused = OnThread::open("told", "main", PATIENCE, || {
        Err(CameraError::NotPresent { id: "main".to_owned(), hint: "nowhere".to_owned() })
    });
    let error = refused.await.map(drop).unwrap_err();
    assert!(matches!(error, CameraError::NotPresent { .. }), "{error}");
    let panicked = OnThread::open("told", "main", PATIENCE, || panic!("a bug")).await.map(drop);
    assert!(is_poisoned(&panicked), "{panicked:?}");
}

#[tokio::test]
async fn a_call_that_was_given_up_takes_no_picture_and_poisons_nothing() {
    let (session, rope) = told(false);
    let mut camera = open(session).await.unwrap();
    // Somebody looked at the camera and went away before the picture came.
    drop(at_work(camera.preview(), &rope).await);
    let second = camera.expose(&request(Duration::ZERO)).await;
    assert!(matches!(second, Err(CameraError::Timeout { .. })), "busy by right, not hung: {second:?}");
    rope.go.send(()).unwrap();
    camera.expose(&request(PATIENCE)).await.unwrap();
    drop(camera);
    assert_eq!(rope.seen.iter().collect::<Vec<_>>(), ["exposed", "closed"], "the late one was not made");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_hangs_each_time_takes_no_thread_from_another() {
    let (go, waits) = sync_channel::<()>(0);
    let waits = Arc::new(Mutex::new(waits));
    for _ in 0..THREADS_MAX {
        let waits = waits.clone();
        let hung =
            ask("hangs", Duration::from_secs(1), move || waits.lock().map(|go| go.recv()).is_ok()).await;
        assert_eq!(hung, None);
    }
    let full = OnThread::open("hangs", "main", PATIENCE, || panic!("not even begun")).await.map(drop);
    let error = full.unwrap_err();
    assert!(
        matches!(&error, CameraError::Attention { what, .. } if what.contains("hangs cameras")),
        "{error}"
    );
    // A thread does not hold paused time.
    tokio::time::resume();
    assert_eq!(ask("told", PATIENCE, || 7).await, Some(7));
    drop(go);
}

/// Begins a call in which the driver hangs, and waits until it does.
async fn at_work<'a, T>(
    call: impl Future<Output = T> + 'a,
    rope: &Rope,
) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    let mut call = Box::pin(call);
    let once = |context: &mut Context<'_>| Poll::Ready(call.as_mut().poll(context).is_pending());
    assert!(std::future::poll_fn(once).await, "it ended at once");
    assert_eq!(rope.seen.recv(), Ok("hangs"));
    call
}
