//! How bundles of updates come over the network.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use turnstage_cloud_sync::Sha256;
use turnstage_cloud_sync::transfer::{Transfer, TransferError};

use crate::update::{Fetch, FetchError};

/// What fetches them.
pub(super) fn fetcher() -> Arc<dyn Fetch> {
    Arc::new(Bundles)
}

/// Over HTTPS, trusting the system's roots: what is fetched is known by its hash, and RAUC checks who made it.
struct Bundles;

#[async_trait]
impl Fetch for Bundles {
    async fn fetch(
        &self,
        url: &str,
        to: &Path,
        sha256: Sha256,
        bytes_max: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), FetchError> {
        let fetched = async { Transfer::new(None)?.fetch(url, to, sha256, bytes_max, progress).await }.await;
        fetched.map_err(|error| match error {
            TransferError::Later { rule, reason } => FetchError::Later { rule: rule.to_owned(), reason },
            TransferError::Never { rule, reason } => FetchError::Never { rule: rule.to_owned(), reason },
        })
    }
}
