//! One .tar.gz in memory, for files that are small already.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

/// Most bytes of one file; of a longer one its end is kept, which is the newest.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// See the module.
pub(super) struct Archive {
    tar: Builder<GzEncoder<Vec<u8>>>,
    mtime_s: u64,
}

impl Archive {
    pub(super) fn new(now_ms: i64) -> Self {
        let tar = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        Self { tar, mtime_s: u64::try_from(now_ms / 1000).unwrap_or_default() }
    }

    /// Adds a file.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let bytes = end_of(text, FILE_BYTES_MAX).as_bytes();
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(self.mtime_s);
        self.tar.append_data(&mut header, format!("diagnostics/{name}"), bytes)
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.tar.into_inner()?.finish()
    }
}

/// The last whole lines of a text that has too many bytes.
pub(super) fn end_of(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut from = text.len() - bytes_max;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let end = &text[from..];
    end.split_once('\n').map_or(end, |(_, lines)| lines)
}
