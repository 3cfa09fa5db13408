//! A bundle that a technician sends to whoever helps, and ranges of the logs: everything about the station, nothing about
//! persons, no item by its number, no picture, no secret.
//!
//! ```text
//!  state, events, queue, settings, journal ──► learned: who and what must not be named
//!                                          ──► written with those names taken out ──► tar, gzip, hash
//! ```
//! What is taken out, and how it can still be told apart, is in `redact.rs`; what is inside is said in the bundle's own
//! README.txt and in docs/diagnostics.md.

mod archive;
mod inside;
mod journal;
mod machine;
mod range;
mod redact;
mod settings;

use std::path::Path;

use bytes::Bytes;
use turnstage_cloud_sync::Sha256;

use crate::clock;
use crate::command::Refusal;
use crate::window::Window;
use archive::Archive;
use redact::Redactor;

pub use range::{LogKind, LogRange, log_range};

/// Most bytes of a bundle.
pub const BYTES_MAX: usize = 16 << 20;

/// Bytes for somebody elsewhere.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Name of the file.
    pub name: String,
    /// What it is.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Bytes,
    /// Its hash.
    pub sha256: Sha256,
}

impl Bundle {
    fn new(name: String, bytes: Vec<u8>) -> Result<Self, Refusal> {
        if bytes.len() > BYTES_MAX {
            let reason = format!("It would have {} bytes, more than {BYTES_MAX}. Ask for less.", bytes.len());
            return Err(Refusal::new("diagnostics-too-large", reason));
        }
        Ok(Self { name, content_type: "application/gzip", sha256: Sha256::of(&bytes), bytes: bytes.into() })
    }
}

/// The redacted bundle of a station whose data lie in `data`, as a .tar.gz in memory of at most [`BYTES_MAX`].
pub async fn bundle(window: &Window, data: &Path) -> Result<Bundle, Refusal> {
    let mut redactor = Redactor::of(data);
    let found = inside::gather(window, data, &mut redactor).await?;
    let now_ms = window.clock().now().wall_ms;
    let name = named(window, "diagnostics", "tar.gz");
    let packed = tokio::task::spawn_blocking(move || {
        let mut archive = Archive::new(now_ms);
        found.into_iter().try_for_each(|file| archive.add(file.name, &file.redacted(&redactor)))?;
        archive.finish()
    });
    let packed = packed.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    Bundle::new(name, packed.map_err(|error| failed(&error))?)
}

/// `turnstage-diagnostics-org.site.booth-20261128T093000Z.tar.gz`.
fn named(window: &Window, what: &str, end: &str) -> String {
    let station = window.config().station_name();
    let plain = |text: &str| -> String {
        let keep = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        text.chars().map(keep).collect()
    };
    let [org, site, name] = [&station.org, &station.site, &station.name].map(|part| plain(part));
    let now = clock::readable(window.clock().now().wall_ms).replace([':', '-'], "");
    format!("turnstage-{what}-{org}.{site}.{name}-{now}.{end}")
}

fn failed(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new("diagnostics-failed", format!("The bundle cannot be made: {error}. Try again."))
}

#[cfg(test)]
mod tests;
