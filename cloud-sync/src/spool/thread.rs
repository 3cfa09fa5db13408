//! The writer thread: takes what waits, up to [`GROUP_MAX`] jobs at a time, and lets the keeper commit it together.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::spool::SpoolError;
use crate::spool::keeper::{Job, Keeper, reply};

/// Jobs that share one commit at most.
pub(super) const GROUP_MAX: usize = 16;

/// Jobs that wait at most; more callers wait in line.
const WAITING_MAX: usize = 64;

pub(super) struct Writer {
    /// `None` once closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    /// Told when the thread has let go of the folder.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    pub fn spawn(mut keeper: Keeper) -> std::io::Result<Self> {
        let (sender, mut jobs) = mpsc::channel::<Job>(WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let run = move || {
            let mut group = Vec::with_capacity(GROUP_MAX);
            while jobs.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
                keeper.run(group.drain(..));
            }
            drop(keeper);
            reply(end, ());
        };
        std::thread::Builder::new().name("spool".to_owned()).spawn(run)?;
        Ok(Self { jobs: Mutex::new(Some(sender)), ended: Mutex::new(Some(ended)) })
    }

    pub async fn submit(&self, job: Job) -> Result<(), SpoolError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or(SpoolError::Closed)?.send(job).await.map_err(|_| SpoolError::unanswered())
    }

    pub async fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // An error means that the thread is gone: the same thing here.
            drop(ended.await);
        }
    }
}
