//! The task that brings the wanted version into use, watches its trial, and rolls it back; and keeps all of it on record.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Keeper, Next, RETRY};
use crate::restart::Step;
use crate::systemd;
use crate::window::Window;

/// See the module.
pub struct KeepingTask {
    /// What is kept.
    pub keeper: Arc<Keeper>,
    /// Where events are put on record, a technician is told, and a restart is asked for.
    pub window: Window,
}

impl KeepingTask {
    /// Works until `cancel`.
    pub async fn run(self, cancel: CancellationToken) {
        let mut step = self.window.restart().watch();
        let mut retry: Option<Instant> = None;
        loop {
            self.record().await;
            self.window.tell_configured(self.keeper.notice());
            if retry.is_none_or(|at| at <= Instant::now()) {
                retry = self.advance().err().map(|error| {
                    tracing::error!(%error, "the fleet's configuration cannot be put in use; it is tried again");
                    Instant::now() + RETRY
                });
            }
            let again = async {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.keeper.changed() => {}
                Ok(()) = step.changed() => {}
                () = again => {}
                () = self.keeper.trial_over() => {
                    let limit_s = self.window.config().fleet.trial_s;
                    self.keeper.roll_back(&format!(
                        "the link to the broker was not there within {limit_s} seconds of the restart"
                    ));
                }
            }
        }
    }

    /// The next step, as far as it can be done now.
    fn advance(&self) -> std::io::Result<()> {
        let restart = self.window.restart();
        match (self.keeper.next(), restart.step()) {
            (Next::Live, _) => {
                if let Some(config) = self.keeper.apply_live()? {
                    systemd::set_log_level(&config.log.level);
                }
            }
            (Next::Restart, Step::None) => restart.ask(),
            (Next::Restart, Step::Granted) => {
                // What was written is on record first: it wakes this task once more.
                if !self.keeper.apply_by_restart().inspect_err(|_| restart.withdraw())? {
                    tracing::info!("restart, for the fleet's configuration");
                    restart.go();
                }
            }
            (Next::Restart | Next::Nothing, _) => {}
        }
        Ok(())
    }

    async fn record(&self) {
        let events = self.keeper.unrecorded();
        if events.is_empty() {
            return;
        }
        let count = events.len();
        for event in events {
            self.window.record(event).await;
        }
        self.keeper.recorded(count);
    }
}
