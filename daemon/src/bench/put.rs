//! What it costs to make a frame durable: its flushes, and its time to a bare program that does the same flushes.
//!
//! Flushes are counted by strace in children that put 10 and 40 frames; the difference leaves out what opening and
//! closing cost. The bare program writes picture and sidecar under temporary names and syncs each, gives them their
//! names, syncs the folder, and appends a record to a log that it syncs: the least that keeps a frame through a power
//! cut with an index beside it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use turnstage_cloud_sync::queue::Facts;
use turnstage_cloud_sync::spool::{NewFile, SpoolOptions};
use turnstage_cloud_sync::{Sha256, Spool};

use super::measure::{Meter, alternate};
use super::table::{Row, Unmeasured};
use super::{Bench, child, say};
use crate::clock::SystemClock;

/// Most flushes of one put: media, sidecar, folder, index.
const FLUSHES_MAX: f64 = 4.0;
/// Most time, to the bare program.
const TIME_MAX: f64 = 1.15;
/// A frame, and one of 12 megapixels as the other rows have it.
const SIZES: [usize; 2] = [5_000_000, 4_200_000];
/// Puts of the two children.
const PUTS: [usize; 2] = [10, 40];
/// What the bare program appends for each frame: about what the index takes for record and event.
const RECORD_BYTES: usize = 4096;
/// Sidecar of the bare program.
const SIDECAR_BYTES: usize = 1500;

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let mut rows = Vec::new();
    for bytes in SIZES {
        let size = format!("{:.1} MB", bytes as f64 / 1e6);
        let what = format!("flushes of a durable put, {size}");
        rows.push(match flushes(bench, bytes) {
            Ok([fsync, fdatasync, ranges]) => {
                let note =
                    format!("{fsync:.2} fsync, {fdatasync:.2} fdatasync; and {ranges:.2} sync_file_range");
                Row::limited(&what, (fsync + fdatasync, "a put"), FLUSHES_MAX, note)
            }
            Err(why) => Row::unmeasured(&what, why),
        });
        say(&format!("put: {} rounds of {size}", bench.rounds()));
        rows.push(time(bench, bytes, &format!("durable put of {size}, to the bare program"))?);
    }
    Ok(rows)
}

/// System calls of each kind a put: fsync, fdatasync, sync_file_range.
fn flushes(bench: &Bench, bytes: usize) -> Result<[f64; 3], Unmeasured> {
    if !Command::new("strace").arg("-V").output().is_ok_and(|strace| strace.status.success()) {
        return Err(Unmeasured("install strace, which counts them".to_owned()));
    }
    say("put: counting flushes");
    let mut counted = [[0; 3]; 2];
    for (puts, counted) in PUTS.iter().zip(&mut counted) {
        let folder = bench.scratch.folder(&format!("flushes-{bytes}-{puts}"))?;
        let trace = folder.join("trace");
        let trace_name = trace.display().to_string();
        let filter = "trace=fsync,fdatasync,sync_file_range";
        let strace = ["strace", "-f", "-qq", "-e", filter, "-o", &trace_name];
        child::run(&strace, &folder, &format!("put,{bytes},{puts}"))?;
        let trace = std::fs::read_to_string(&trace).map_err(Unmeasured::at("read the trace"))?;
        *counted = count(&trace);
    }
    let [few, many] = counted;
    let puts = (PUTS[1] - PUTS[0]) as f64;
    Ok([0, 1, 2].map(|kind| many[kind].saturating_sub(few[kind]) as f64 / puts))
}

/// Calls of each kind in a trace. A call that was interrupted stands in two lines, the second without a parenthesis
/// behind its name.
fn count(trace: &str) -> [usize; 3] {
    let calls = |name: &str| trace.lines().filter(|line| line.contains(name)).count();
    [calls(" fsync("), calls(" fdatasync("), calls(" sync_file_range(")]
}

/// Wall time of a put to that of the bare program.
fn time(bench: &Bench, bytes: usize, what: &str) -> Result<Row, Unmeasured> {
    let (media, sha256) = frame(bytes, 0);
    let spool = open_spool(&bench.scratch.path(&format!("spool-{bytes}")))?;
    let bare_folder = bench.scratch.folder(&format!("bare-{bytes}"))?;
    let mut bare = Bare::new(bare_folder).map_err(Unmeasured::at("start the bare program"))?;
    let mut put = || {
        let put = spool.put(vec![new_file(media.clone(), sha256)], Vec::new());
        bench.runtime.block_on(put).map(drop).map_err(Unmeasured::at("put a frame"))
    };
    let mut bare = || bare.put(&media).map_err(Unmeasured::at("write a frame"));
    let rounds = alternate(bench.rounds(), Meter::Wall, [&mut put, &mut bare])?;
    bench.runtime.block_on(spool.close());
    let [low, ratio, high] = rounds.ratio(0, &[1]);
    let note = format!(
        "wall {:.1} ms to {:.1} ms; quartiles {low:.2} to {high:.2}",
        rounds.median_ms(0),
        rounds.median_ms(1)
    );
    Ok(Row::limited(what, (ratio, "x"), TIME_MAX, note))
}

/// Puts frames, to be counted from outside.
pub fn in_child(bytes: usize, puts: usize, data: &Path, runtime: &Handle) -> Result<(), Unmeasured> {
    let spool = open_spool(&data.join("spool"))?;
    let (media, sha256) = frame(bytes, 0);
    for _ in 0..puts {
        let put = spool.put(vec![new_file(media.clone(), sha256)], Vec::new());
        runtime.block_on(put).map_err(Unmeasured::at("put a frame"))?;
    }
    runtime.block_on(spool.close());
    Ok(())
}

/// A spool without limits.
pub fn open_spool(dir: &Path) -> Result<Spool, Unmeasured> {
    let options = SpoolOptions {
        dir: dir.to_owned(),
        free_bytes_soft: 0,
        free_bytes_hard: 0,
        keep_confirmed: Duration::MAX,
    };
    let opened = Spool::open(options, Arc::new(SystemClock::new()));
    opened.map(|(spool, _)| spool).map_err(Unmeasured::at("open a spool"))
}

/// Bytes that no file system makes smaller, other ones for every `nth`, and their hash, which the examiner would bring.
pub fn frame(bytes: usize, nth: u64) -> (Bytes, Sha256) {
    let mut state = 0x5eed_u64 ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let media: Bytes = (0..bytes).map(|_| next()).collect();
    let sha256 = Sha256::of(&media);
    (media, sha256)
}

/// Organisation and site of frames.
pub const OWNER: &str = "bench";

/// A frame as a session puts it.
pub fn new_file(bytes: Bytes, sha256: Sha256) -> NewFile {
    NewFile {
        product: "original".to_owned(),
        destinations: vec!["local".to_owned()],
        extension: "jpg".to_owned(),
        bytes,
        sha256,
        facts: Facts {
            org: OWNER.to_owned(),
            site: OWNER.to_owned(),
            item: "bench".to_owned(),
            session: "bench".to_owned(),
            camera: "main".to_owned(),
            shot: 0,
            take: 1,
            angle_commanded: Some(0.0),
            angle_reached: Some(0.0),
            capture_class: "durable".to_owned(),
            consent: None,
            actor: "bench".to_owned(),
            trace_id: "bench".to_owned(),
            file_name: "001_main_000.0.jpg".to_owned(),
            content_type: "image/jpeg".to_owned(),
            sha256_captured: sha256,
        },
        meta: serde_json::json!({ "schema": 1 }),
        supersedes: None,
    }
}

/// The bare program.
struct Bare {
    folder: PathBuf,
    log: File,
    count: u64,
}

impl Bare {
    fn new(folder: PathBuf) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        Ok(Self { folder, log, count: 0 })
    }

    fn put(&mut self, media: &[u8]) -> io::Result<()> {
        self.count += 1;
        let path = |kind: &str| self.folder.join(format!("{:012}.{kind}", self.count));
        let files = [("jpg", media), ("json", &[b' '; SIDECAR_BYTES][..])];
        for (kind, bytes) in files {
            let mut file = File::create(path(kind).with_extension(format!("{kind}.part")))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        for (kind, _) in files {
            std::fs::rename(path(kind).with_extension(format!("{kind}.part")), path(kind))?;
        }
        File::open(&self.folder)?.sync_all()?;
        self.log.write_all(&[b' '; RECORD_BYTES])?;
        self.log.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_once_even_if_they_were_interrupted() {
        let trace = "7 fsync(3) = 0\n8 fdatasync(4 <unfinished ...>\n7 fsync(5) = 0\n\
                     8 <... fdatasync resumed>) = 0\n7 sync_file_range(6, 0, 4096, 2) = 0\n";
        assert_eq!(count(trace), [2, 1, 1]);
    }

    #[test]
    fn the_bare_program_leaves_whole_files_under_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut bare = Bare::new(folder.path().to_owned()).unwrap();
        bare.put(b"one").unwrap();
        bare.put(b"two").unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let expected =
            ["000000000001.jpg", "000000000001.json", "000000000002.jpg", "000000000002.json", "log"];
        assert_eq!(names, expected);
        assert_eq!(std::fs::read(folder.path().join("000000000002.jpg")).unwrap(), b"two");
        assert_eq!(std::fs::metadata(folder.path().join("log")).unwrap().len(), 2 * RECORD_BYTES as u64);
    }
}
