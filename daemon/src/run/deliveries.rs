//! What carries pictures away: the configured destinations, the uploader before them, and what tidies behind it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::Spool;
use turnstage_cloud_sync::backend::Backend;
use turnstage_cloud_sync::backend::directory::{DirectoryBackend, DirectoryOptions};
use turnstage_cloud_sync::backend::imaging360::{self, Imaging360, Imaging360Options};
use turnstage_cloud_sync::backoff::{Backoff, BadBackoff};
use turnstage_cloud_sync::uploader::{Uploader, UploaderOptions};

use super::chain;
use crate::clock::SystemClock;
use crate::config::{Config, Destination};
use crate::derivative;
use crate::status::Fault;

/// How often confirmed pictures are looked at for deletion.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// The configured destinations.
pub fn backends(config: &Config, data: &Path) -> Vec<Arc<dyn Backend>> {
    let each = config.destinations.iter().map(|(name, destination)| match destination {
        Destination::Directory { root, create, require_mount, .. } => {
            Arc::new(DirectoryBackend::new(DirectoryOptions {
                name: name.clone(),
                root: data.join(root),
                create: *create,
                require_mount: *require_mount,
            })) as Arc<dyn Backend>
        }
        Destination::Imaging360 { url, token_file, .. } => {
            let owner = &config.station;
            let options = Imaging360Options::new(name, url, &owner.org, &owner.site, data.join(token_file));
            let clock = Arc::new(SystemClock::new());
            Arc::new(Imaging360::new(options, clock, imaging360::http_transport())) as Arc<dyn Backend>
        }
    });
    each.collect()
}

/// What sends to them.
pub fn uploader(
    config: &Config,
    spool: &Spool,
    backends: Vec<Arc<dyn Backend>>,
    clock: &SystemClock,
) -> Result<Uploader, BadBackoff> {
    let settings = &config.uploader;
    let backoff = Backoff::new(
        Duration::from_secs_f64(settings.backoff_base_s),
        Duration::from_secs_f64(settings.backoff_max_s),
    )?;
    let options = UploaderOptions {
        org: config.station.org.clone(),
        attempts_max: settings.attempts_max,
        parallel: settings.parallel,
        backoff,
        ..UploaderOptions::default()
    };
    let uploader = Uploader::new(spool.clone(), backends, Arc::new(clock.clone()), options);
    Ok(uploader.deriving(derivative::of(config)))
}

/// Delivers and tidies until `cancel`. A failing disk ends the deliveries, not the daemon: it is told in the log and
/// by the station, which meets the same disk.
pub async fn deliver(
    uploader: Uploader,
    spool: Spool,
    failed: watch::Sender<Option<Fault>>,
    cancel: CancellationToken,
) {
    let tidy = async {
        let mut every = tokio::time::interval(TIDY_EVERY);
        loop {
            every.tick().await;
            if let Err(e) = spool.tidy().await {
                tracing::error!(error = %chain(&e), "confirmed pictures cannot be tidied");
            }
        }
    };
    tokio::select! {
        ended = uploader.run(cancel.clone()) => {
            if let Err(e) = ended {
                tracing::error!(error = %chain(&e), "deliveries are stopped: the disk does not store");
                failed.send_replace(Some(Fault::new(
                    "delivery-stopped",
                    format!("Nothing is delivered any more: {}", chain(&e)),
                    "Pictures taken so far stay on this station.",
                    "Call your technician; see: turnstage queue check. Then restart the station.",
                )));
            }
        }
        () = tidy => {}
    }
    cancel.cancelled().await;
}
