//! How bundles of updates come over the network.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use turnstage_cloud_sync::Sha256;

use crate::update::{Fetch, FetchError};

/// What fetches them.
pub(super) fn fetcher() -> Arc<dyn Fetch> {
    Arc::new(NotYet)
}

/// A program that fetches nothing over the network: bundles come on a stick.
struct NotYet;

#[async_trait]
impl Fetch for NotYet {
    async fn fetch(
        &self,
        url: &str,
        _to: &Path,
        _sha256: Sha256,
        _bytes_max: u64,
        _progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), FetchError> {
        let reason =
            format!("{url} cannot be fetched by this version: bring the bundle on a stick, as file:///…");
        Err(FetchError::Never { rule: "update-url".to_owned(), reason })
    }
}
