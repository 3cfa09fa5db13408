//! The command line: what each command is for, its options, and where its work is done.
//!
//! Commands speak to the station that runs on the data folder, and run one in their own process where none does: the
//! same interface either way ([`line`]). Every command takes `--config` and `--data-dir`.

mod answer;
mod calibrate;
mod cameras;
mod care;
mod check;
mod desk;
mod devices;
mod export;
mod fleet;
mod fleet_sim;
mod inspect;
mod line;
mod people;
mod queue;
mod report;
mod selftest;
mod service;
mod sessions;
mod settings;
mod shoot;
mod update;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::bench;
use crate::command::Act;
use crate::config::{Config, ConfigError};
use crate::exit::{self, Exit};
use crate::fleet::desired::Keeper;
use crate::fleet::desired::validation::Base;
use crate::identify::SECONDS_USUAL;
use crate::systemd;
use line::Line;

/// Turnstage, the daemon of a photographic capture station.
///
/// Turns the object, shoots it from every angle, judges each picture while it still stands there, keeps every
/// acknowledged frame through power cuts, and delivers it with proven hashes.
///
/// Try it without hardware: turnstage demo --once
#[derive(Debug, Parser)]
#[command(name = "turnstage", version, max_term_width = 100)]
pub struct Cli {
    /// Configuration file; every key is documented in config/default.toml.
    ///
    /// Without it demo and import use the simulated rig, sessions, queue and export the configuration that filled the
    /// data folder, and the others the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder that everything is kept in; turnstage-data if absent. Where neither this nor --config is given and the
    /// service is installed and runs, commands speak to it.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the station as a service: stays up whatever is missing, and tells it in its status.
    Run {
        /// End with an exit code instead of a status when configuration, hardware or disk are wrong.
        #[arg(long)]
        strict: bool,
    },
    /// Opens the panel on a simulated rig, shoots a spin by itself, delivers it to DIR/delivered and stays up.
    ///
    /// The simulated rig is armed by itself, because nothing can be hurt. With --once it shoots one spin without panel
    /// and ends by itself.
    Demo(Demo),
    /// Tells the state of the running station.
    Status {
        /// Print the whole state as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Halts the table of the running station now. Not a safety circuit.
    Stop,
    /// How the cameras' pictures are against those of their first days: health, reset.
    Cameras {
        #[command(subcommand)]
        what: cameras::What,
    },
    /// Who may use the panel: set, remove, list.
    Accounts {
        #[command(subcommand)]
        what: people::What,
    },
    /// Sets limits, clean plates and places of the cameras of this station: qc, plate, board, axis, ring, list, forget. See
    /// docs/quality.md and docs/calibration.md.
    Calibrate {
        #[command(subcommand)]
        what: calibrate::What,
    },
    /// Checks configuration, devices, disk and destinations, and says what to do about each.
    Check {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Lists the drivers of this build and the devices that they find.
    Devices {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Writes a configuration for the devices that are found.
    Setup(devices::Setup),
    /// Shoots four frames around the table and a closing one, and says what works; nothing is delivered.
    ///
    /// With emergency-stop: tests the wired emergency stop, which large platforms and persons need each day.
    #[command(args_conflicts_with_subcommands = true)]
    Selftest {
        #[command(subcommand)]
        what: Option<selftest::What>,
        /// You stand at the rig, see that nobody is on the table, and let it turn. Not for a station that runs already.
        #[arg(long)]
        armed: bool,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Makes the running station show itself among others: lamps blink green and amber by turns, the panel says so.
    Identify {
        /// Seconds from now on, at most 600; 0 ends it.
        #[arg(long, default_value_t = SECONDS_USUAL)]
        seconds: u32,
    },
    /// Sets, clears and lists flags: out-of-service, hold-updates.
    Flags {
        #[command(subcommand)]
        what: care::What,
    },
    /// Writes a bundle for whoever helps: state, log, settings and journal, without secrets, persons, items or pictures.
    /// See docs/diagnostics.md.
    Diagnostics {
        /// Where to; turnstage-diagnostics-TIME.tar.gz here if absent.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Lets the table of the running station turn: you stand at the rig and nobody is on the table.
    Arm {
        /// The code on the rig's own display: its panel, opened on the rig itself.
        code: String,
    },
    /// Lets the table turn no more until it is armed again.
    Disarm,
    /// Takes a folder of photographs as a session: judged, kept and delivered like any other.
    Import(Import),
    /// Judges pictures without storing anything.
    Inspect {
        /// JPEG files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print one JSON record a line and picture.
        #[arg(long)]
        json: bool,
    },
    /// Shoots one session on the configured rig.
    Capture(Capture),
    /// Lists and finishes sessions: list, show, resume, retake, release, move, abort.
    Sessions {
        #[command(subcommand)]
        what: sessions::What,
    },
    /// Looks after the queue of pictures: list, send, check, export, rebuild, requeue.
    Queue {
        #[command(subcommand)]
        what: queue::What,
    },
    /// Updates the system or goes back to the one before: status, install, cancel, mark-good, rollback. See docs/updates.md.
    Update {
        #[command(subcommand)]
        what: update::What,
    },
    /// Copies the originals of sessions to a folder, with a manifest of hashes, and reads them back.
    ///
    /// With --format one session in another form: its pictures, or pictures and poses for photogrammetry.
    Export(export::Export),
    /// Sees, commands and configures many stations over their broker: keygen, watch, get, run, set, rollout.
    Fleet(fleet::Fleet),
    /// Runs many simulated stations in one process against a broker, for load tests and demos.
    FleetSim(fleet_sim::FleetSim),
    /// What the manager of a fleet set on this station: show, forget. See docs/fleet/configuration.md.
    Settings {
        #[command(subcommand)]
        what: settings::What,
    },
    /// Measures what the station promises: each figure with its limit, see docs/benchmarks.md.
    Bench(bench::Options),
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Shoot one spin without panel and end.
    #[arg(long)]
    once: bool,
    /// Port of the panel on this machine; 0 for any free one.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// What stands on the simulated table: vase, car, chrome, toy, carton, plush, shoe, bottle or empty.
    #[arg(long)]
    object: Option<String>,
    /// Recipe by name.
    #[arg(long)]
    recipe: Option<String>,
    /// Print events and the summary as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Options of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Folder with JPEG files.
    folder: PathBuf,
    /// VIN, barcode or number that they belong to; the folder's name if absent.
    #[arg(long)]
    item: Option<String>,
    /// Recipe by name.
    #[arg(long, default_value = "import")]
    recipe: String,
    /// Print events and the summary as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Options of `capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// VIN, barcode or number of what stands on the table.
    #[arg(long)]
    item: String,
    /// Recipe by name; the configured one if absent.
    #[arg(long)]
    recipe: Option<String>,
    /// Release the session when every frame passed, and deliver it.
    #[arg(long)]
    release: bool,
    /// You stand at the rig, see that nobody is on the table, and let it turn. Not for a station that runs already.
    #[arg(long)]
    armed: bool,
    /// Print events and the summary as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// What every command is given.
pub struct Place {
    config: Option<PathBuf>,
    data: PathBuf,
    /// Neither configuration nor data folder was named.
    anywhere: bool,
}

/// The last configuration that worked on a data folder, kept in it.
const LAST_GOOD: &str = "last-good.toml";

impl Place {
    /// The station that runs on this data folder; without any word of where, the installed service.
    async fn running(&self) -> Option<Line> {
        match Line::to_running(&self.data).await {
            None if self.anywhere && !self.data.exists() => Line::to_service().await,
            found => found,
        }
    }

    /// Nobody else's station runs on this data folder: nothing in it is touched otherwise.
    async fn unused(&self) -> Result<()> {
        if Line::to_running(&self.data).await.is_none() {
            return Ok(());
        }
        let why = format!(
            "a station runs on {} already: end it first (Ctrl-C where it was started, or systemctl stop turnstage), or \
             name another --data-dir",
            self.data.display()
        );
        Err(Exit::new(exit::STORAGE, why).into())
    }

    /// The configuration, or exit 78 with everything that is wrong.
    fn config(&self) -> Result<Config> {
        self.keeper().look().map_err(refused_configuration)
    }

    /// What a manager wants of the station of this data folder.
    fn keeper(&self) -> Keeper {
        Keeper::open(&self.data, Base::new(self.config.as_deref(), self.data.join(LAST_GOOD)))
    }

    /// The given configuration, or the rig of the demo if none was given.
    fn config_or_demo(&self) -> Result<Config> {
        match &self.config {
            Some(_) => self.config(),
            None => Config::demo().map_err(refused_configuration),
        }
    }

    /// The given configuration, or the one that filled this data folder: its pictures go where they were meant to go.
    fn config_of_data(&self) -> Result<Config> {
        let kept = self.data.join(LAST_GOOD);
        match &self.config {
            None if kept.exists() => {
                let base = Base::new(Some(&kept), kept.clone());
                Keeper::open(&self.data, base).look().map_err(refused_configuration)
            }
            None => {
                let why =
                    format!("{} holds no station yet; name its --data-dir or --config", self.data.display());
                Err(Exit::new(exit::NO_INPUT, why).into())
            }
            Some(_) => self.config(),
        }
    }

    /// Keeps what was loaded, for later commands on this data folder and for a later bad edit.
    fn keep_config(&self, built_in: &str) {
        let text = match &self.config {
            Some(file) => std::fs::read_to_string(file),
            None => Ok(built_in.to_owned()),
        };
        let kept = text.and_then(|text| {
            std::fs::create_dir_all(&self.data)?;
            std::fs::write(self.data.join(LAST_GOOD), text)
        });
        if let Err(e) = kept {
            tracing::warn!(error = %e, "the configuration is not kept as the last good one");
        }
    }
}

impl Place {
    /// Changes one key of what was kept.
    fn amend_config(&self, section: &str, key: &str, value: toml::Value) {
        let kept = self.data.join(LAST_GOOD);
        let amended = std::fs::read_to_string(&kept).map_err(|e| e.to_string()).and_then(|text| {
            let mut table = text.parse::<toml::Table>().map_err(|e| e.to_string())?;
            let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(inner) = entry.as_table_mut() {
                inner.insert(key.to_owned(), value);
            }
            std::fs::write(&kept, table.to_string()).map_err(|e| e.to_string())
        });
        if let Err(error) = amended {
            tracing::warn!(error, "the kept configuration is not amended");
        }
    }
}

fn refused_configuration(error: ConfigError) -> anyhow::Error {
    Exit::new(exit::CONFIGURATION, error).into()
}

/// Does what the command line says; the exit code.
pub async fn perform(cli: Cli) -> Result<u8> {
    let place = Place {
        anywhere: cli.config.is_none() && cli.data_dir.is_none(),
        config: cli.config,
        data: cli.data_dir.unwrap_or_else(|| PathBuf::from("turnstage-data")),
    };
    // A person at a terminal sees progress and results; only a service tells its whole way.
    let quiet = !matches!(cli.verb, Verb::Run { .. });
    let level = place.config().map_or_else(|_| "info".to_owned(), |config| config.log.level);
    systemd::log_to_journal_or_terminal(&level, quiet);
    match cli.verb {
        Verb::Run { strict } => service::run(&place, strict).await,
        Verb::Demo(options) => shoot::demo(&place, options).await,
        Verb::Status { json } => service::status(&place, json).await,
        Verb::Stop => service::stop(&place).await,
        Verb::Accounts { what } => people::perform(&place, what),
        Verb::Calibrate { what } => calibrate::perform(&place, what).await,
        Verb::Cameras { what } => cameras::perform(&place, what).await,
        Verb::Check { json } => check::check(&place, json).await,
        Verb::Devices { json } => devices::list(json).await,
        Verb::Setup(options) => devices::setup(options).await,
        Verb::Selftest { what: Some(selftest::What::EmergencyStop), .. } => {
            selftest::emergency_stop(&place).await
        }
        Verb::Selftest { what: None, armed, json } => selftest::perform(&place, armed, json).await,
        Verb::Identify { seconds } => care::identify(&place, seconds).await,
        Verb::Flags { what } => care::flags(&place, what).await,
        Verb::Diagnostics { out } => care::diagnostics(&place, out).await,
        Verb::Arm { code } => service::ask(&place, Act::Arm { code: Some(code) }).await,
        Verb::Disarm => service::ask(&place, Act::Disarm).await,
        Verb::Import(options) => shoot::import(&place, options).await,
        Verb::Inspect { files, json } => inspect::inspect(&place, &files, json),
        Verb::Capture(options) => shoot::capture(&place, options).await,
        Verb::Sessions { what } => sessions::perform(&place, what).await,
        Verb::Queue { what } => queue::perform(&place, what).await,
        Verb::Update { what } => update::perform(&place, what).await,
        Verb::Export(options) => export::perform(&place, options).await,
        Verb::Fleet(fleet) => fleet::perform(fleet).await,
        Verb::FleetSim(options) => fleet_sim::perform(options).await,
        Verb::Settings { what } => settings::perform(&place, what).await,
        Verb::Bench(options) => measure(place.data, options).await,
    }
}

/// A table of figures; exit 1 only if figures must be within their limits and one is not.
async fn measure(data: PathBuf, options: bench::Options) -> Result<u8> {
    let runtime = tokio::runtime::Handle::current();
    let measured = tokio::task::spawn_blocking(move || bench::perform(&options, &data, runtime)).await?;
    let within = measured.map_err(|why| Exit::new(exit::STORAGE, why))?;
    Ok(if within { exit::OK } else { exit::OVER_LIMIT })
}
