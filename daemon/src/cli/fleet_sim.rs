//! `fleet-sim`: many light stations in one process against a real broker, for load tests and demos.
//!
//! All of them are futures of one task: what a station costs is its connection and what it says. With `--measure` the
//! way of a fleet is measured in phases, each with what broker and stations used, and the command ends by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::mqtt::{Broker, Figures, LinkState, Post, Tls};

use super::answer::answer;
use super::fleet::rollout;
use crate::clock::SystemClock;
use crate::command::Refusal;
use crate::exit::{self, Exit};
use crate::fleet::client::Options;
use crate::fleet::ledger::Ledger;
use crate::fleet::light::{LightStation, Liveliness};
use crate::fleet::{self, FleetTask};
use crate::status::StationName;

/// Files that a process needs beside its connections.
const FILES_BESIDE: u64 = 64;
/// All of a fleet must be connected within so long.
const STORM_LIMIT: Duration = Duration::from_secs(600);

/// Options of `fleet-sim`.
#[derive(Debug, Args)]
pub struct FleetSim {
    /// So many stations, named sim-0001 and so on, ten a site.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    stations: u32,
    /// Address of the broker: mqtts://HOST[:PORT], or mqtt:// on this machine.
    #[arg(long)]
    broker: String,
    /// First part of every topic.
    #[arg(long, default_value = "turnstage")]
    prefix: String,
    /// Organisation of all of them.
    #[arg(long, default_value = "sim")]
    org: String,
    /// Name at the broker, shared by all; each has a client id of its own.
    #[arg(long)]
    username: Option<String>,
    /// File with its password.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Authority of the broker's certificate; the system's without it.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Whose commands they obey, as in a station's fleet.trust_file; nobody's without it.
    #[arg(long)]
    trust_file: Option<PathBuf>,
    /// Seconds between two tellings of figures.
    #[arg(long, default_value_t = 60.0)]
    telemetry_s: f64,
    /// Seconds over which they return after the broker was lost.
    #[arg(long, default_value_t = 30.0)]
    return_s: f64,
    /// Mean seconds between two sessions of a station.
    #[arg(long, default_value_t = 300.0)]
    pause_s: f64,
    /// Seconds between two frames of a session.
    #[arg(long, default_value_t = 2.0)]
    frame_s: f64,
    /// Share of sessions in which a camera goes away for a while, 0 to 1.
    #[arg(long, default_value_t = 0.05)]
    faulty: f64,
    /// Measure a connect storm and so many seconds of steady telling, print a table and end.
    #[arg(long, value_name = "SECONDS")]
    measure: Option<u64>,
    /// With --measure: give all of them a configuration as this manager, and measure until each has said that it uses it.
    #[arg(long, value_name = "FILE")]
    manager: Option<PathBuf>,
    /// Process id of the broker, for its part of the table.
    #[arg(long)]
    broker_pid: Option<u32>,
}

/// Runs the fleet until it is interrupted, or measured.
pub async fn perform(options: FleetSim) -> Result<u8> {
    room_for(u64::from(options.stations) + FILES_BESIDE)?;
    let cancel = CancellationToken::new();
    let mut posts = Vec::new();
    let running = FuturesUnordered::new();
    for number in 1..=options.stations {
        let station = Arc::new(light(&options, number));
        let task = member(&options, station.clone())?;
        posts.push(task.post());
        let token = cancel.clone();
        running.push(async move {
            tokio::select! {
                () = task.run(token) => {}
                () = station.run() => {}
            }
        });
    }
    let fleet = running.collect::<Vec<()>>();
    let told = async {
        match options.measure {
            Some(_) => measure(&posts, &options).await,
            None => watch(&posts).await,
        }
    };
    tokio::pin!(fleet);
    let code = tokio::select! {
        code = told => code,
        _ = &mut fleet => Ok(exit::OK),
        _ = tokio::signal::ctrl_c() => Ok(exit::OK),
    };
    cancel.cancel();
    fleet.await;
    code
}

fn light(options: &FleetSim, number: u32) -> LightStation {
    let site = format!("site-{:03}", number.div_ceil(10));
    let name = StationName { org: options.org.clone(), site, name: format!("sim-{number:04}") };
    let liveliness =
        Liveliness { pause_s: options.pause_s, frame_s: options.frame_s.max(0.01), faulty: options.faulty };
    LightStation::new(name, u64::from(number), liveliness, SystemClock::new())
}

fn member(options: &FleetSim, station: Arc<LightStation>) -> Result<FleetTask> {
    use crate::fleet::behind::Behind;
    let wrong = |why: String| Exit::new(exit::USAGE, why);
    let (host, port, tls) = Broker::parse(&options.broker).map_err(wrong)?;
    let name = station.station();
    let broker = Broker {
        host,
        port,
        client_id: format!("{}.{}.{}", name.org, name.site, name.name),
        username: options.username.clone(),
        password_file: options.password_file.clone(),
        tls: tls.then(|| Tls { ca_file: options.ca_file.clone(), identity: None }),
        keep_alive: fleet::KEEP_ALIVE,
        session_expiry: Duration::from_secs(60),
        packet_bytes_max: fleet::PACKET_BYTES_MAX,
        return_max: Duration::try_from_secs_f64(options.return_s.max(0.0)).unwrap_or(Duration::from_secs(30)),
    };
    let nobody =
        || Refusal::new("trust-none", "This simulated station trusts nobody: start it with --trust-file.");
    Ok(FleetTask::new(fleet::Parts {
        behind: station,
        broker,
        prefix: options.prefix.clone(),
        trust: options.trust_file.clone().ok_or_else(nobody),
        ledger: Ledger::in_memory(),
        folder: None,
        home_assistant: false,
        figures_every: Duration::try_from_secs_f64(options.telemetry_s.max(1.0))
            .unwrap_or(Duration::from_secs(60)),
        events_back_max: u64::MAX,
        fault: tokio::sync::watch::Sender::default(),
    }))
}

/// Each connection is a file; the limit of a process is raised as far as the system lets it be.
fn room_for(files: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    if now.maximum.is_some_and(|maximum| maximum < files) {
        let most = now.maximum.unwrap_or_default();
        let why = format!(
            "{files} open files are needed and {most} are allowed: raise it with ulimit -n, or take fewer stations"
        );
        return Err(Exit::new(exit::USAGE, why).into());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: now.maximum })?;
    Ok(())
}

fn connected(posts: &[Post]) -> usize {
    posts.iter().filter(|post| matches!(*post.state().borrow(), LinkState::Up { .. })).count()
}

/// One line every few seconds.
async fn watch(posts: &[Post]) -> Result<u8> {
    let mut every = interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        let sum = sum(posts);
        answer!(
            "{} of {} connected, {} messages told, {} wait",
            connected(posts),
            posts.len(),
            sum.acked,
            sum.waiting()
        );
    }
}

/// What all links together did.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    acked: u64,
    resent: u64,
    denied: u64,
    bytes: u64,
    latest: usize,
    deliveries: usize,
}

impl Sum {
    fn waiting(&self) -> usize {
        self.latest + self.deliveries
    }
}

fn sum(posts: &[Post]) -> Sum {
    posts.iter().map(Post::figures).fold(Sum::default(), |sum, one: Figures| Sum {
        acked: sum.acked + one.acked,
        resent: sum.resent + one.resent,
        denied: sum.denied + one.denied,
        bytes: sum.bytes + one.bytes_out + one.bytes_in,
        latest: sum.latest + one.waiting_latest,
        deliveries: sum.deliveries + one.waiting_deliveries,
    })
}

/// What a process used.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    cpu_s: f64,
    resident_bytes: u64,
}

/// Of `/proc` (proc(5)); nothing of a process that is not there.
fn used(process: &str) -> Used {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let stat = read("stat");
    // The second field is in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |nth: usize| fields.get(nth).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = resident.and_then(|text| text.trim().strip_suffix(" kB")).and_then(|kb| kb.parse::<u64>().ok());
    Used {
        // utime and stime, in the hundredths of a second that Linux shows to programs.
        cpu_s: (ticks(11) + ticks(12)) / 100.0,
        resident_bytes: kb.unwrap_or_default() * 1024,
    }
}

/// One phase: what it took.
struct Phase {
    began: Instant,
    sum: Sum,
    own: Used,
    broker: Used,
    pid: Option<u32>,
}

impl Phase {
    fn begin(posts: &[Post], pid: Option<u32>) -> Self {
        Self { began: Instant::now(), sum: sum(posts), own: used("self"), broker: broker(pid), pid }
    }

    fn end(self, what: &str, posts: &[Post]) {
        let span = self.began.elapsed().as_secs_f64().max(1e-3);
        let (now, own, broker) = (sum(posts), used("self"), broker(self.pid));
        let part = |now: Used, then: Used| 100.0 * (now.cpu_s - then.cpu_s) / span;
        let mb = |used: Used| used.resident_bytes as f64 / 1e6;
        let of_broker = match self.pid {
            Some(_) => (format!("{:.0} %", part(broker, self.broker)), format!("{:.0} MB", mb(broker))),
            None => ("-".to_owned(), "-".to_owned()),
        };
        answer!(
            "{what:<16} {span:>7.1} s {:>9.0} {:>8.0} kB/s {:>7} {:>6} {:>8.0} % {:>7.0} MB {:>8} {:>8}",
            (now.acked - self.sum.acked) as f64 / span,
            (now.bytes - self.sum.bytes) as f64 / span / 1e3,
            now.resent - self.sum.resent,
            now.denied - self.sum.denied,
            part(own, self.own),
            mb(own),
            of_broker.0,
            of_broker.1,
        );
    }
}

fn broker(pid: Option<u32>) -> Used {
    pid.map(|pid| used(&pid.to_string())).unwrap_or_default()
}

/// Connect storm, steady telling, roll-out; exit 69 where not all came to be connected or configured.
async fn measure(posts: &[Post], options: &FleetSim) -> Result<u8> {
    let (steady, pid) = (Duration::from_secs(options.measure.unwrap_or_default()), options.broker_pid);
    answer!("{} stations", posts.len());
    answer!(
        "{:<16} {:>9} {:>9} {:>13} {:>7} {:>6} {:>10} {:>10} {:>8} {:>8}",
        "phase",
        "took",
        "msgs/s",
        "traffic",
        "resent",
        "denied",
        "own CPU",
        "own RAM",
        "brk CPU",
        "brk RAM"
    );
    let phase = Phase::begin(posts, pid);
    let end = Instant::now() + STORM_LIMIT;
    // Until every station is connected and has told all that it had to.
    while connected(posts) < posts.len() || sum(posts).waiting() > posts.len() / 100 {
        if Instant::now() > end {
            let why = format!("{} of {} stations were connected in time", connected(posts), posts.len());
            return Err(Exit::new(exit::HARDWARE, why).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    phase.end("connect storm", posts);
    let phase = Phase::begin(posts, pid);
    sleep(steady).await;
    phase.end("steady", posts);
    let Some(file) = &options.manager else { return Ok(exit::OK) };
    let manager = Options::read(file).map_err(|what| Exit::new(exit::CONFIGURATION, what))?;
    let phase = Phase::begin(posts, pid);
    let code = rollout::to_all(manager, &format!("{}/*/*", options.org)).await?;
    phase.end("roll-out", posts);
    Ok(code)
}
