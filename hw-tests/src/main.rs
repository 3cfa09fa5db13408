//! `turnstage-bench`: the conformance suite on a bench, with a signed report, and what passed put on record.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use tokio::sync::mpsc;
use turnstage_drivers::tried;
use turnstage_drivers::turntable::Hand;
use turnstage_hw_tests::attendant::attend;
use turnstage_hw_tests::bench::Bench;
use turnstage_hw_tests::signed::{Account, SCHEMA, Signed, new_key};
use turnstage_hw_tests::{Report, record};

/// Puts the devices of a bench through every promise that a driver makes.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the suite and prints its report; with --to also as a signed file.
    ///
    /// The table turns several times round: stand beside it with a hand on its power switch.
    Run {
        /// The bench: see hw-tests/benches/sim.toml.
        bench: PathBuf,
        /// Who stands beside it; needed where attended = true.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// File for the signed report.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Secret key to sign with; made when it does not exist.
        #[arg(long, value_name = "FILE", default_value = "bench.key")]
        key: PathBuf,
    },
    /// Puts a passed report on record: drivers/src/tried.toml and the table of docs/hardware.md.
    Record {
        /// The signed report.
        report: PathBuf,
        /// The source tree.
        #[arg(long, value_name = "DIR", default_value = ".")]
        tree: PathBuf,
    },
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Run { bench, by, to, key } => run(&bench, by.unwrap_or_default(), to.as_deref(), &key),
        Verb::Record { report, tree } => put_on_record(&report, &tree),
    }
}

fn run(path: &Path, by: String, to: Option<&Path>, key: &Path) -> Result<()> {
    let bench = Bench::read(path).map_err(anyhow::Error::msg)?;
    if bench.attended {
        record::attendant(&by).map_err(anyhow::Error::msg)?;
    }
    let devices = suites(&bench)?;
    devices.iter().for_each(|report| print!("{report}"));
    let broken = devices.iter().any(|report| !report.broken().is_empty());
    if let Some(to) = to {
        let day = jiff::Zoned::now().date().to_string();
        let software = env!("CARGO_PKG_VERSION").to_owned();
        let account = Account {
            schema: SCHEMA,
            bench: bench.name,
            attended: bench.attended,
            by,
            day,
            software,
            devices,
        };
        let signed = Signed::of(&account, &secret(key)?).map_err(anyhow::Error::msg)?;
        fs::write(to, serde_json::to_string_pretty(&signed)?).with_context(|| to.display().to_string())?;
        println!("signed by key {}: {}", signed.key, to.display());
    }
    if broken {
        bail!("a promise was broken");
    }
    Ok(())
}

/// Puts the devices through their suites; where a person turns the table, they are asked on this terminal.
fn suites(bench: &Bench) -> Result<Vec<Report>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (hand, (typed, lines)) = (Hand::default(), mpsc::channel(1));
    if bench.asks_a_person() {
        runtime.spawn_blocking(move || {
            let typing = std::io::stdin().lines().map_while(Result::ok);
            typing.map_while(|line| typed.blocking_send(line).ok()).for_each(drop);
        });
    }
    let beside = async {
        attend(hand.clone(), lines, |words| println!("{words}")).await;
        std::future::pending::<()>().await;
    };
    let devices = runtime.block_on(async {
        tokio::select! {
            devices = bench.run(hand.clone()) => devices,
            () = beside => Err("nobody is there to turn the table".to_owned()),
        }
    });
    // Whoever reads the terminal waits for a line that nobody will type.
    runtime.shutdown_background();
    devices.map_err(anyhow::Error::msg)
}

/// Reads the key, or makes one that only its owner may read.
fn secret(path: &Path) -> Result<Vec<u8>> {
    if path.exists() {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let key = new_key().map_err(anyhow::Error::msg)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(&key)?;
    Ok(key)
}

fn put_on_record(report: &Path, tree: &Path) -> Result<()> {
    let text = fs::read_to_string(report).with_context(|| report.display().to_string())?;
    let signed: Signed = serde_json::from_str(&text).with_context(|| report.display().to_string())?;
    let runs =
        record::runs(&signed).map_err(anyhow::Error::msg).with_context(|| report.display().to_string())?;
    let (record, page) = (tree.join("drivers/src/tried.toml"), tree.join("docs/hardware.md"));
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let (was, told) = (read(&record)?, read(&page)?);
    let known = tried::runs();
    let all: Vec<tried::Run> =
        known.iter().chain(runs.iter().filter(|run| !known.contains(run))).cloned().collect();
    fs::write(&record, record::recorded(&was, known, &runs))?;
    fs::write(&page, record::told(&told, &all))?;
    for run in &runs {
        println!("on record: {} with {}, {}", run.driver, run.model, run.day);
    }
    Ok(())
}
