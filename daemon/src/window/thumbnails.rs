//! Thumbnails as a cache: kept by the session that took the picture, made anew where they are missing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use turnstage_cloud_sync::backend::Payload;
use turnstage_cloud_sync::{Record, Spool};
use turnstage_pipeline::{Examiner, InputLimits, qc};

/// Where a thumbnail lies below the folder of thumbnails.
pub fn path(folder: &Path, record: &Record, side_max: u32) -> PathBuf {
    folder.join(&record.facts.session).join(format!("{:012}_{side_max}.jpg", record.key.sequence))
}

/// Keeps one so that a reader, also after a power cut, finds the whole of it or nothing: what is cut off is made anew.
pub fn keep(path: &Path, jpeg: &[u8]) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    let new = path.with_extension("new");
    std::fs::write(&new, jpeg)?;
    std::fs::rename(new, path)
}

/// The last two bytes of every JPEG file.
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// See the module.
pub(super) struct Thumbnails {
    folder: Option<PathBuf>,
    limits: InputLimits,
    /// One at a time: it holds the planes of a picture.
    examiner: Arc<Mutex<Option<Examiner>>>,
}

impl Thumbnails {
    pub fn new(folder: Option<PathBuf>, limits: InputLimits) -> Self {
        Self { folder, limits, examiner: Arc::default() }
    }

    pub async fn get(&self, spool: &Spool, record: &Record, side_max: u32) -> Option<Bytes> {
        let kept = self.folder.as_ref().map(|folder| path(folder, record, side_max));
        if let Some(kept) = kept.clone()
            && let Ok(Ok(bytes)) = tokio::task::spawn_blocking(move || std::fs::read(kept)).await
            && bytes.ends_with(&END_OF_IMAGE)
        {
            return Some(bytes.into());
        }
        let original = original(spool, record).await?;
        let (examiner, limits) = (self.examiner.clone(), self.limits);
        let made = tokio::task::spawn_blocking(move || make(&examiner, limits, &original)).await.ok()??;
        let thumbnail = made.into_iter().find(|thumb| thumb.side_max == side_max)?;
        if let Some(kept) = kept {
            let bytes = thumbnail.jpeg.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || keep(&kept, &bytes)).await {
                tracing::warn!(%error, "a thumbnail is not kept");
            }
        }
        Some(thumbnail.jpeg)
    }
}

fn make(
    examiner: &Mutex<Option<Examiner>>,
    limits: InputLimits,
    original: &[u8],
) -> Option<Vec<turnstage_pipeline::Thumbnail>> {
    let mut held = examiner.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_none() {
        *held = Examiner::new(limits).ok();
    }
    let examined = held.as_mut()?.examine(original, &qc::Limits::default());
    Some(examined.picture?.thumbnails)
}

/// The bytes of a picture while they are on this station.
pub(crate) async fn original(spool: &Spool, record: &Record) -> Option<Bytes> {
    match spool.payload(record).ok()? {
        Payload::Ram(bytes) => Some(bytes),
        Payload::File(path) => {
            tokio::task::spawn_blocking(move || std::fs::read(path)).await.ok()?.ok().map(Bytes::from)
        }
    }
}
