//! A file, or bytes as many as one has, as the body of a request: read in large pieces, handed on in small ones.
//!
//! Every read is a visit to a thread that may wait for the disk, which costs more than the reading itself, so few are
//! made. What was handed on is counted in small pieces: on a slow line the count must move every second, because a
//! request whose count stands still after the network changed is begun again.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, Stream};

/// Bytes of one read.
const READ: u64 = 512 << 10;
/// Bytes handed on at a time.
const PIECE: usize = 64 << 10;

/// Bytes as pieces that are counted in `sent` as they are handed on.
pub(super) fn pieces_of(bytes: Bytes, sent: Arc<AtomicU64>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(bytes, move |mut bytes| {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        std::future::ready((!piece.is_empty()).then_some((Ok(piece), bytes)))
    })
}

/// An open file.
pub(super) struct UploadFile {
    file: File,
    /// Read and not handed on.
    ahead: Bytes,
    sent: Arc<AtomicU64>,
}

impl UploadFile {
    /// Opens it; its length beside it. `sent` counts what is handed on.
    pub async fn open(path: PathBuf, sent: Arc<AtomicU64>) -> io::Result<(Self, u64)> {
        let opened = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (file, length) = opened.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok((Self { file, ahead: Bytes::new(), sent }, length))
    }

    /// Its bytes, piece by piece; ends after an error.
    pub fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(Some(self), |this| async {
            match this?.next().await {
                Ok((piece, _)) if piece.is_empty() => None,
                Ok((piece, this)) => Some((Ok(piece), Some(this))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Empty at the end.
    async fn next(mut self) -> io::Result<(Bytes, Self)> {
        if self.ahead.is_empty() {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::with_capacity(READ as usize);
                (&self.file).take(READ).read_to_end(&mut bytes)?;
                self.ahead = bytes.into();
                Ok(self)
            });
            self = read.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        }
        let piece = self.ahead.split_to(self.ahead.len().min(PIECE));
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok((piece, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn a_file_comes_whole_in_pieces_that_are_counted_as_they_are_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        let content: Vec<u8> = (0..READ as usize + PIECE + 7).map(|nth| nth as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let (file, length) = UploadFile::open(path, sent.clone()).await.unwrap();
        assert_eq!(length, content.len() as u64);
        let mut pieces = std::pin::pin!(file.pieces());
        let mut read = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= PIECE);
            read.extend_from_slice(&piece);
            assert_eq!(sent.load(Ordering::Relaxed), read.len() as u64);
        }
        assert!(read == content);
    }

    #[tokio::test]
    async fn bytes_in_memory_are_counted_like_a_file() {
        let content = Bytes::from((0..3 * PIECE + 7).map(|nth| nth as u8).collect::<Vec<_>>());
        let sent = Arc::new(AtomicU64::new(0));
        let mut pieces = std::pin::pin!(pieces_of(content.clone(), sent.clone()));
        let mut read = Vec::new();
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece.unwrap());
            assert_eq!(sent.load(Ordering::Relaxed), read.len() as u64);
        }
        assert!(read == content);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        assert!(UploadFile::open(folder.path().join("none"), Arc::default()).await.is_err());
        let (file, _) = UploadFile::open(folder.path().to_owned(), Arc::default()).await.unwrap();
        let pieces: Vec<_> = file.pieces().collect().await;
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].is_err());
    }
}
