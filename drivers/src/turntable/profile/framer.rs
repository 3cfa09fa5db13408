//! From bytes to lines: what ends a line, what is left out, what was never ended.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// Bytes of a line that is not ended; more are noise and are thrown away.
const LINE_BYTES_MAX: usize = 512;
/// Lines that wait to be read; older ones are thrown away.
const LINES_MAX: usize = 256;

/// How a table's stream becomes lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Framing {
    /// Each of these characters ends a line.
    pub delims: String,
    /// These characters are left out wherever they stand, also within a line.
    pub ignore: String,
    /// A line that begins with one of these is another line, even where the one before was not ended.
    pub starts: Vec<String>,
    /// A line that is not ended is one after so much silence; 0: it never is.
    pub idle_flush_ms: u64,
}

impl Framing {
    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.delims.is_empty() && self.idle_flush_ms == 0 {
            return Err("framing needs delims or idle_flush_ms, or no line would ever end".to_owned());
        }
        if !self.delims.is_ascii() || !self.ignore.is_ascii() || self.starts.iter().any(String::is_empty) {
            return Err("framing: delims and ignore are ASCII characters, starts are not empty".to_owned());
        }
        if self.idle_flush_ms > 10_000 {
            return Err(format!("framing: idle_flush_ms = {} is not in 0 to 10000", self.idle_flush_ms));
        }
        Ok(())
    }
}

/// Takes bytes as they come, gives lines.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    /// Of the line that is not ended yet.
    begun: Vec<u8>,
    lines: VecDeque<String>,
    heard: Instant,
}

impl Framer {
    /// Nothing was heard yet.
    pub fn new(framing: Framing) -> Self {
        Self { framing, begun: Vec::new(), lines: VecDeque::new(), heard: Instant::now() }
    }

    /// Takes what arrived.
    pub fn take(&mut self, bytes: &[u8]) {
        self.heard = Instant::now();
        for byte in bytes {
            if self.framing.ignore.as_bytes().contains(byte) {
                continue;
            }
            if self.framing.delims.as_bytes().contains(byte) {
                self.end();
                continue;
            }
            self.begun.push(*byte);
            if self.begun.len() > LINE_BYTES_MAX {
                self.begun.clear();
            }
        }
    }

    /// The next line, if one is complete or was left alone for long enough.
    pub fn line(&mut self) -> Option<String> {
        if self.flush_at().is_some_and(|at| at <= Instant::now()) {
            self.end();
        }
        self.lines.pop_front()
    }

    /// When a line that was begun is taken for complete.
    pub fn flush_at(&self) -> Option<Instant> {
        let flush = Duration::from_millis(self.framing.idle_flush_ms);
        (!self.begun.is_empty() && !flush.is_zero()).then(|| self.heard + flush)
    }

    fn end(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        // Bytes that are no UTF-8, such as a degree sign in another alphabet, become one mark each or together.
        let text = String::from_utf8_lossy(&begun);
        let mut rest = text.as_ref();
        while let Some(at) = self.next_start(rest) {
            self.push(&rest[..at]);
            rest = &rest[at..];
        }
        self.push(rest);
    }

    /// Where the next line begins within `text`, but not at its beginning.
    fn next_start(&self, text: &str) -> Option<usize> {
        let from = text.chars().next()?.len_utf8();
        self.framing
            .starts
            .iter()
            .filter_map(|start| text[from..].find(start.as_str()))
            .min()
            .map(|at| at + from)
    }

    fn push(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(framer: &mut Framer) -> Vec<String> {
        std::iter::from_fn(|| framer.line()).collect()
    }

    fn framing(delims: &str, ignore: &str, starts: &[&str], idle_flush_ms: u64) -> Framing {
        let starts = starts.iter().map(|s| (*s).to_owned()).collect();
        Framing { delims: delims.to_owned(), ignore: ignore.to_owned(), starts, idle_flush_ms }
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_and_foreign_letters_within_a_line_do_no_harm() {
        let mut framer = Framer::new(framing(";", "#\r\n", &["CR+"], 0));
        framer.take(b"CR+E#VENT=T");
        assert_eq!(lines(&mut framer), [""; 0]);
        framer.take(b"B_END;\r\nOffsetAngle= +0.00\xa1\xe3;#");
        assert_eq!(lines(&mut framer), ["CR+EVENT=TB_END", "OffsetAngle= +0.00\u{fffd}\u{fffd}"]);
        framer.take(b"\xfe\xff\xfeCR+ERR=31;");
        assert_eq!(lines(&mut framer)[1], "CR+ERR=31");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_never_ended_ends_by_silence_or_by_the_next() {
        let mut framer = Framer::new(framing(";", "", &["+OK", "+DATA"], 80));
        framer.take(b"+OK,TURNANG");
        assert_eq!(framer.line(), None);
        tokio::time::sleep(Duration::from_millis(15)).await;
        framer.take(b"LE=-145.72");
        assert_eq!(framer.line(), None);
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(framer.line().as_deref(), Some("+OK,TURNANGLE=-145.72"));
        framer.take(b"+OK,TURNANGLE=3.00+OK;");
        assert_eq!(lines(&mut framer), ["+OK,TURNANGLE=3.00", "+OK"]);
    }

    #[tokio::test(start_paused = true)]
    async fn noise_without_end_takes_no_memory() {
        let mut framer = Framer::new(framing("\n", "", &[], 0));
        for _ in 0..10_000 {
            framer.take(b"0123456789");
            framer.take(b"ok\n");
        }
        assert!(framer.lines.len() <= LINES_MAX && framer.begun.len() <= LINE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_become_lines_or_nothing(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _guard = runtime.enter();
            let mut framer = Framer::new(framing(";", "#", &["é", "+"], 0));
            for piece in pieces {
                framer.take(&piece);
            }
            for line in lines(&mut framer) {
                prop_assert!(!line.is_empty() && !line.contains([';', '#']));
            }
        }
    }
}
