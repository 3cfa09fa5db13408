//! What the service manager and the journal are told.
//!
//! Ready once the tasks run; the watchdog is fed only while the station answers and the motion task looks up; the
//! status line repeats what an operator reads. Logs go to the journal with queryable fields when the process hangs on
//! one, as text to a terminal otherwise.

mod journal;

use std::io::IsTerminal;
use std::sync::OnceLock;

use sd_notify::NotifyState;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// What passes into the log.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Tells the service manager; without one this does nothing.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "the service manager was not told");
    }
}

/// How often the watchdog wants to be fed at least; `None` without one.
pub fn watchdog() -> Option<std::time::Duration> {
    sd_notify::watchdog_enabled()
}

/// Sends logs where they belong. `level` is a level or a filter that the configuration has checked; on a terminal that
/// should be `quiet` only warnings are shown.
pub fn log_to_journal_or_terminal(level: &str, quiet: bool) {
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let journal =
        if systemd_journal_logger::connected_to_journal() { journal::Journal::new().ok() } else { None };
    let terminal = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .with_filter(quiet.then_some(LevelFilter::WARN))
    });
    let set = tracing_subscriber::registry().with(filter).with(journal).with(terminal).try_init();
    match set {
        Ok(()) => drop(FILTER.set(handle)),
        Err(_) => tracing::debug!("logs go where they went before"),
    }
}

/// Exchanges the filter of the log in the running program.
pub fn set_log_level(level: &str) {
    if let Some(Err(error)) = FILTER.get().map(|handle| handle.reload(filter_of(level))) {
        tracing::warn!(%error, "the filter of the log is not exchanged");
    }
}

fn filter_of(level: &str) -> Targets {
    level.parse::<Targets>().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO))
}
