//! A thread of its own for a driver that blocks: [`OnThread`] makes a [`CameraSession`] into a [`Camera`].
//!
//! Drivers of real cameras call into kernels and libraries that hang, and some panic. Neither may hold up the
//! station: every call is given up a grace after its deadline, the thread is then left to itself, and the camera is
//! [`CameraError::Poisoned`] from there on. A thread that comes back after all finds nobody waiting, closes its
//! camera and ends. Dropping an [`OnThread`] does not wait: the camera is closed on its thread, after the call that
//! may still run there.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Applied, Camera, CameraError, CameraInfo, CameraSession, ExposeRequest, Exposed, Settings};
use crate::frame::{Frame, FrameSet};

/// Time that a driver is given after a deadline before it counts as hung.
pub const GRACE: Duration = Duration::from_secs(1);
/// Time to set and lock a camera: the slowest are asked for one value after the other.
pub const APPLY_LIMIT: Duration = Duration::from_secs(15);
/// Time for a picture for the eye.
pub const PREVIEW_LIMIT: Duration = Duration::from_secs(2);
/// Threads of one driver, those included that hang for ever: one that hangs each time ends here, and no other with it.
const THREADS_MAX: usize = 32;

type Session = Box<dyn CameraSession>;
/// Something to do on the thread; false after a panic, when the camera cannot be used any more.
type Job = Box<dyn FnOnce(&mut dyn CameraSession) -> bool + Send>;

/// A blocking camera that can be awaited.
pub struct OnThread {
    name: String,
    info: CameraInfo,
    /// `None` once the camera is poisoned.
    jobs: Option<mpsc::Sender<Job>>,
    /// Until when the thread may be busy by right, also with a call that nobody waits for any more.
    busy_until: Instant,
}

impl OnThread {
    /// Opens a camera of `driver`, known to the rig as `name`, on a thread that owns it from there on. `open` gets `limit`,
    /// and should end by itself within it; what takes longer than that and a grace is left to itself.
    ///
    /// # Errors
    /// What `open` says, or [`CameraError::Poisoned`] when it hung or panicked.
    pub async fn open(
        driver: &'static str,
        name: &str,
        limit: Duration,
        open: impl FnOnce() -> Result<Session, CameraError> + Send + 'static,
    ) -> Result<OnThread, CameraError> {
        let poisoned = || CameraError::Poisoned { id: name.to_owned() };
        let begun = Instant::now();
        // One that runs and one that waits; a second one waits only after a call was given up.
        let (sender, receiver) = mpsc::channel(1);
        let (tell, told) = oneshot::channel();
        start(driver, name, move || {
            if let Ok(opened) = catch_unwind(AssertUnwindSafe(open)) {
                serve(opened, tell, receiver);
            }
        })?;
        match timeout_at(begun + limit + GRACE, told).await {
            Ok(Ok(opened)) => {
                let (name, info) = (name.to_owned(), opened?);
                Ok(OnThread { name, info, jobs: Some(sender), busy_until: begun })
            }
            Ok(Err(_)) | Err(_) => Err(poisoned()),
        }
    }

    /// Does `work` on the thread, which should end by `deadline`.
    async fn call<T: Send + 'static>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&mut dyn CameraSession) -> Result<T, CameraError> + Send + 'static,
    ) -> Result<T, CameraError> {
        let begun = Instant::now();
        let before = self.busy_until;
        self.busy_until = before.max(deadline);
        let Some(jobs) = &self.jobs else { return Err(self.poisoned()) };
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            // Nobody waits for it any more: an exposure now would be one too many.
            if tell.is_closed() {
                return true;
            }
            let done = catch_unwind(AssertUnwindSafe(|| work(session)));
            let whole = done.is_ok();
            // Dropping the sender tells of the panic; a caller that is gone needs no answer.
            if let Ok(answer) = done {
                drop(tell.send(answer));
            }
            whole
        });
        let answer = async { jobs.send(job).await.ok().and(told.await.ok()) };
        match timeout_at(deadline + GRACE, answer).await {
            Ok(Some(answer)) => {
                self.busy_until = begun;
                answer
            }
            // The thread is still at a call that was given up, within that call's own time.
            Err(_) if before > deadline => {
                Err(CameraError::Timeout { id: self.name.clone(), waited: begun.elapsed() })
            }
            Ok(None) | Err(_) => {
                self.jobs = None;
                Err(self.poisoned())
            }
        }
    }

    fn poisoned(&self) -> CameraError {
        CameraError::Poisoned { id: self.name.clone() }
    }
}

#[async_trait]
impl Camera for OnThread {
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError> {
        let (settings, deadline) = (*settings, Instant::now() + APPLY_LIMIT);
        self.call(deadline, move |session| session.apply(&settings, deadline)).await
    }

    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError> {
        let deadline = Instant::now() + limit;
        self.call(deadline, move |session| session.warm_up(deadline)).await
    }

    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let request = *request;
        self.call(request.deadline, move |session| session.expose(&request)).await
    }

    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        self.call(exposed.deadline, move |session| session.fetch(exposed)).await
    }

    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        let deadline = Instant::now() + PREVIEW_LIMIT;
        self.call(deadline, move |session| session.preview(deadline)).await
    }

    fn info(&self) -> CameraInfo {
        self.info.clone()
    }
}

/// Does `work` for `driver` on a thread of its own, for lists and other questions that may hang; `None` if it did or
/// panicked.
pub async fn ask<T: Send + 'static>(
    driver: &'static str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    let body = move || {
        if let Ok(answer) = catch_unwind(AssertUnwindSafe(work)) {
            // Whoever asked may be gone.
            drop(tell.send(answer));
        }
    };
    start(driver, "list", body).ok()?;
    timeout_at(Instant::now() + limit, told).await.ok()?.ok()
}

/// Threads that run now, by driver.
static THREADS: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

fn threads() -> MutexGuard<'static, BTreeMap<&'static str, usize>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread of a driver in [`THREADS`], until it ends.
struct Counted(&'static str);

impl Counted {
    fn new(driver: &'static str) -> Option<Counted> {
        let mut threads = threads();
        let count = threads.entry(driver).or_default();
        (*count < THREADS_MAX).then(|| *count += 1).map(|()| Counted(driver))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = threads().get_mut(self.0) {
            *count -= 1;
        }
    }
}

fn start(driver: &'static str, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), CameraError> {
    let attention = |what: String| CameraError::Attention { id: name.to_owned(), what };
    let counted = Counted::new(driver).ok_or_else(|| {
        let cure = "the driver hangs in them; restart the station, and look at the cameras' power and cables";
        attention(format!("{THREADS_MAX} threads of {driver} cameras are running: {cure}"))
    })?;
    // Such as paused time in tests: the driver reads the same clock as the station.
    let runtime = Handle::try_current().ok();
    let thread = thread::Builder::new().name(format!("camera {}", name.replace('\0', "")));
    let run = move || {
        let _counted = counted;
        let _clock = runtime.as_ref().map(Handle::enter);
        body();
    };
    thread.spawn(run).map(drop).map_err(|e| attention(format!("no thread for it can be started: {e}")))
}

/// The thread's life: tells how opening went, then does what it is asked until nobody can ask any more.
fn serve(
    opened: Result<Session, CameraError>,
    tell: oneshot::Sender<Result<CameraInfo, CameraError>>,
    mut jobs: mpsc::Receiver<Job>,
) {
    let mut session = match opened {
        Ok(session) => session,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let Ok(info) = catch_unwind(AssertUnwindSafe(|| session.info())) else {
        return std::mem::forget(session);
    };
    if tell.send(Ok(info)).is_ok() {
        while let Some(job) = jobs.blocking_recv() {
            if !job(session.as_mut()) {
                // What a panic left half done is not touched again: closing it could end the process.
                return std::mem::forget(session);
            }
        }
    }
    // A driver that panics while it closes has nobody to tell; the panic is in the log.
    drop(catch_unwind(AssertUnwindSafe(move || drop(session))));
}

#[cfg(test)]
mod tests;
