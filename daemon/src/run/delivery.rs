//! Where pictures go and how: the configured destinations, what is counted of them, and the future that delivers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::backend::Backend;
use turnstage_cloud_sync::backend::directory::{DirectoryBackend, DirectoryOptions};
use turnstage_cloud_sync::backend::imaging360::{self, Imaging360, Imaging360Options};
use turnstage_cloud_sync::backoff::{Backoff, BadBackoff};
use turnstage_cloud_sync::meter::{MeterOptions, Metered};
use turnstage_cloud_sync::uploader::{Uploader, UploaderOptions};
use turnstage_cloud_sync::{Meter, Spool};

use super::chain;
use crate::clock::{self, SystemClock};
use crate::config::{Config, Destination};
use crate::derivative;
use crate::status::Fault;

/// How often confirmed pictures are looked at for deletion, and what was counted is kept.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Name of the file with what went over the network today.
const TRAFFIC: &str = "traffic.json";

/// What counts the bytes of a station; kept below `data`, or nowhere without it.
pub fn meter(config: &Config, data: Option<&Path>, clock: &SystemClock) -> Meter {
    let path = data.map(|data| data.join(TRAFFIC));
    let options = MeterOptions { budget: config.network.budget(), day: clock::day, path };
    Meter::new(options, Arc::new(clock.clone()))
}

/// Keeps what was counted.
async fn save(meter: &Meter) {
    let meter = meter.clone();
    match tokio::task::spawn_blocking(move || meter.save()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "today's traffic is not kept"),
        Err(error) => tracing::error!(%error, "keeping today's traffic failed"),
    }
}

/// The configured destinations.
pub fn backends(config: &Config, data: &Path) -> Vec<Arc<dyn Backend>> {
    metered_backends(config, data, None)
}

/// The same, with what they send and receive counted.
pub fn metered_backends(config: &Config, data: &Path, meter: Option<&Meter>) -> Vec<Arc<dyn Backend>> {
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
            let plain = imaging360::http_transport();
            let transport = match meter {
                Some(meter) => Arc::new(Metered::new(plain, meter.clone())),
                None => plain,
            };
            Arc::new(Imaging360::new(options, clock, transport)) as Arc<dyn Backend>
        }
    });
    each.collect()
}

pub(super) fn uploader(
    config: &Config,
    spool: &Spool,
    backends: Vec<Arc<dyn Backend>>,
    clock: &SystemClock,
    meter: &Meter,
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
    Ok(uploader.deriving(derivative::of(config)).metered(meter.clone()))
}

/// Delivers and tidies until `cancel`. A failing disk ends the deliveries, not the daemon: it is told in the log and
/// by the station, which meets the same disk.
pub(super) async fn deliver(
    uploader: Uploader,
    spool: Spool,
    meter: Meter,
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
            save(&meter).await;
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
    save(&meter).await;
}
