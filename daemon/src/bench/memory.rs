//! Peak memory of a frame in flight, from its bytes in this process to the disk.
//!
//! A child opens a spool, takes a small picture its whole way so that code and threads are there, resets the peak of
//! its resident memory (`clear_refs`), and takes one or two frames their way at the same time: bytes read from a file,
//! an examiner of its own (a rig has one for each camera), thumbnails held, durable put. The growth of the peak
//! (`VmHWM`) is the figure; what a second frame adds is the difference of two children.

use std::path::Path;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use turnstage_cloud_sync::{Sha256, Spool};
use turnstage_pipeline::{Examiner, InputLimits, qc};

use super::measure::{forget_peak, peak_resident_bytes};
use super::table::{Row, Unmeasured};
use super::{Bench, child, picture, put, say};

/// Most megabytes of one frame.
const LIMIT_MB: f64 = 40.0;
/// Children of each kind; the median counts.
const CHILDREN: usize = 5;

const FRAME: &str = "frame.jpg";
const SMALL: &str = "small.jpg";

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    say("memory: making a picture of 12 megapixels");
    let folder = bench.scratch.folder("memory")?;
    for (name, size) in [(FRAME, picture::SIZE), (SMALL, (64, 64))] {
        let jpeg = bench.runtime.block_on(picture::of_the_booth(size))?;
        std::fs::write(folder.join(name), jpeg).map_err(Unmeasured::at("write the picture"))?;
    }
    say("memory: children with one frame and with two");
    let (one, two) = (growth_mb(&folder, 1)?, growth_mb(&folder, 2)?);
    let way = "growth of VmHWM from its bytes to a durable put";
    Ok(vec![
        Row::limited("peak memory, one 12 MP frame in flight", (one, "MB"), LIMIT_MB, way.to_owned()),
        Row::limited(
            "peak memory, added by a second camera's frame",
            (two - one, "MB"),
            LIMIT_MB,
            format!("{two:.1} MB for both"),
        ),
    ])
}

fn growth_mb(folder: &Path, frames: usize) -> Result<f64, Unmeasured> {
    let mut grown = Vec::new();
    for _ in 0..CHILDREN {
        let printed = child::run(&[], folder, &format!("memory,{frames}"))?;
        grown.push(printed.parse::<u64>().map_err(Unmeasured::at("read what a child has measured"))?);
    }
    grown.sort_unstable();
    Ok(grown[CHILDREN / 2] as f64 / 1e6)
}

/// Prints the growth of this process's peak in bytes while `frames` are in flight.
pub fn in_child(frames: usize, data: &Path, runtime: &Handle) -> Result<(), Unmeasured> {
    let spool = put::open_spool(&data.join(format!("spool-{}", std::process::id())))?;
    runtime.block_on(way(&spool, data.join(SMALL).as_path()))?;
    forget_peak()?;
    let before = peak_resident_bytes()?;
    let frame = data.join(FRAME);
    let held = runtime.block_on(try_join_all((0..frames).map(|_| way(&spool, &frame))))?;
    println!("{}", peak_resident_bytes()?.saturating_sub(before));
    drop(held);
    runtime.block_on(spool.close());
    Ok(())
}

/// A frame's way from its bytes to the disk; what is kept for the next one.
async fn way(spool: &Spool, file: &Path) -> Result<Examiner, Unmeasured> {
    let bytes = Bytes::from(std::fs::read(file).map_err(Unmeasured::at("read the picture"))?);
    let mut examiner = Examiner::new(InputLimits::default()).map_err(Unmeasured::at("start the examiner"))?;
    let work = bytes.clone();
    let judge = move || {
        let examined = examiner.examine(&work, &qc::Limits::default());
        (examiner, examined)
    };
    let judged = tokio::task::spawn_blocking(judge).await;
    let (examiner, examined) = judged.map_err(Unmeasured::at("examine the picture"))?;
    let new = put::new_file(bytes, Sha256::from_bytes(examined.sha256));
    spool.put(vec![new], Vec::new()).await.map_err(Unmeasured::at("put the picture"))?;
    drop(examined);
    Ok(examiner)
}
