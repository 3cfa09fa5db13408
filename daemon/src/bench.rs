//! Benchmarks of what the station promises, each as a ratio to a yardstick measured in the same run.
//!
//! Speeds of different machines cannot be compared, ratios can: a candidate and its yardstick alternate round by
//! round, and what is printed is the median of the ratios of the rounds (`measure`). Each row is one file. A row that
//! cannot be measured here says why and is no failure; what the figures mean is in `docs/benchmarks.md`.

mod child;
mod client;
mod line;
mod measure;
mod memory;
mod own;
mod page;
mod panel;
mod peer;
mod picture;
mod pipeline;
mod put;
mod scratch;
mod sink;
mod spin;
mod start;
mod stop;
mod table;
mod uplink;
mod upload;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tokio::runtime::Handle;

use scratch::Scratch;
use table::{Row, Table, Unmeasured};

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// What to measure; everything if absent.
    names: Vec<Name>,
    /// Rounds of each comparison; the first one more is not counted. 31, 11 of `start` and 3 of `upload`, unless told.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// End with exit code 1 if a figure is over its limit.
    #[arg(long)]
    strict: bool,
    /// Write the table into this page of the documentation, whole.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The Python that has the packages of those we are compared with.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// The program that does our work with the image crate; looked for beside this one if absent.
    #[arg(long, value_name = "PROGRAM")]
    image_peer: Option<PathBuf>,
    /// What a station with a depth camera needs: a folder with `librealsense2.so`, a recording `turn.bag`, and `preload.so` if
    /// the library wants another one before it.
    #[arg(long, value_name = "FOLDER")]
    realsense: Option<PathBuf>,
    /// What a child of this program does for a row.
    #[arg(long, hide = true, value_delimiter = ',')]
    child: Option<Vec<String>>,
}

/// A row, or several that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// CPU time and memory of everything that is known about a frame, beside OpenCV, libvips, crates and bare decodes.
    Pipeline,
    /// Peak memory of a frame from its bytes to the disk.
    Memory,
    /// Flushes and time of a durable put, to a bare program that does the same flushes.
    Put,
    /// Time of a spin, to its motion, settling and exposure.
    Spin,
    /// From the end of an exposure to the thumbnail on the panel.
    Panel,
    /// From a request to stop to the stop command on the table's link.
    Stop,
    /// Size of this program, and how soon it is there, without librealsense and with it.
    Start,
    /// From a release to the first picture on its way.
    Uplink,
    /// CPU time of sending a session, to `sha256sum` and `curl`.
    Upload,
}

/// What every row is given.
struct Bench {
    rounds: Option<usize>,
    scratch: Scratch,
    runtime: Handle,
    python: PathBuf,
    image_peer: Option<PathBuf>,
    realsense: Option<PathBuf>,
}

/// Rounds of a comparison, unless it is told or the row has its own number.
const ROUNDS: usize = 31;

impl Bench {
    fn rounds(&self) -> usize {
        self.rounds_or(ROUNDS)
    }

    fn rounds_or(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(usual)
    }
}

impl Name {
    fn measure(self, bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
        match self {
            Self::Pipeline => pipeline::measure(bench),
            Self::Memory => memory::measure(bench),
            Self::Put => put::measure(bench),
            Self::Spin => spin::measure(bench),
            Self::Panel => panel::measure(bench),
            Self::Stop => stop::measure(bench),
            Self::Start => start::measure(bench),
            Self::Uplink => uplink::measure(bench),
            Self::Upload => upload::measure(bench),
        }
    }
}

/// Measures, prints the table, and says whether every figure is within its limit. Temporary files lie beside `data`.
/// Blocks for some minutes; `runtime` drives what is asynchronous.
pub fn perform(options: &Options, data: &Path, runtime: Handle) -> Result<bool, Unmeasured> {
    if let Some(work) = &options.child {
        return child::work(work, data, &runtime).map(|()| true);
    }
    if cfg!(debug_assertions) {
        say("this program was built without optimisation: its figures mean nothing");
    }
    let names = if options.names.is_empty() { Name::value_variants() } else { &options.names };
    let bench = Bench {
        rounds: options.rounds.map(|rounds| rounds as usize),
        scratch: Scratch::beside(data)?,
        runtime,
        python: options.python.clone(),
        image_peer: options.image_peer.clone(),
        realsense: options.realsense.clone(),
    };
    let mut table = Table::new();
    for name in names {
        match name.measure(&bench) {
            Ok(rows) => table.rows.extend(rows),
            Err(why) => table.rows.push(Row::unmeasured(&format!("{name:?}").to_lowercase(), why)),
        }
    }
    table.end();
    table.print(options.json);
    if let Some(file) = &options.write {
        page::write(&table, file)?;
    }
    Ok(!options.strict || table.is_within())
}

/// Progress goes to stderr, so that the table can be piped.
fn say(what: &str) {
    eprintln!("bench: {what}");
}
