//! What it costs to send a session: 200 pictures of 5 MB, to `sha256sum` and `curl` that do the same from a shell.
//!
//! The pictures lie in a spool, captured. In every round a child opens a copy of it (the index copied, the media linked),
//! releases them all and runs the uploader with 360 Imaging until the last proof is durable. The yardstick reads the same
//! files: `sha256sum` for the checksums that the store wants, then one `curl` with as many connections and the same
//! headers. All of it is CPU time of whole processes, user and system; the sink's is nobody's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::backend::imaging360::{Imaging360, Imaging360Options, http_transport};
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::queue::Change;
use turnstage_cloud_sync::spool::Commit;
use turnstage_cloud_sync::uploader::{Uploader, UploaderOptions};
use turnstage_cloud_sync::{Record, Spool};

use super::measure::{Meter, alternate, quantile};
use super::sink::{self, CHECKSUM, Sink};
use super::table::{Row, Unmeasured};
use super::{Bench, child, put, say};
use crate::clock::SystemClock;

const FILES: usize = 200;
const FILE_BYTES: usize = 5_000_000;
/// Unless it is told: a round takes seconds.
const ROUNDS: usize = 3;
/// Most CPU time, to the yardstick.
const LIMIT: f64 = 1.3;
const WHAT: &str = "upload of 200 x 5 MB, to sha256sum and curl";
/// Where everything lies, below the bench's folder.
const FOLDER: &str = "upload";
const SESSION: &str = "bench";
const DESTINATION: &str = "cloud";

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    for tool in ["sha256sum", "curl"] {
        if !Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success()) {
            let why = Unmeasured(format!("install {tool}, which is half of the yardstick"));
            return Ok(vec![Row::unmeasured(WHAT, why)]);
        }
    }
    let folder = bench.scratch.folder(FOLDER)?;
    let measured = compare(bench, &folder);
    bench.scratch.forget(FOLDER);
    measured
}

fn compare(bench: &Bench, folder: &Path) -> Result<Vec<Row>, Unmeasured> {
    say("upload: writing 200 files of 5 MB");
    let pictures = bench.runtime.block_on(fill(&folder.join("spool")))?;
    let sink = Sink::start(folder)?;
    let shell = Shell::new(folder, &pictures, &sink.url())?;
    let rounds = bench.rounds_or(ROUNDS);
    say(&format!("upload: {rounds} rounds"));

    let mut told = Vec::new();
    let mut station = || {
        let copy = folder.join("round");
        link(&folder.join("spool"), &copy.join("spool")).map_err(Unmeasured::at("copy the spool"))?;
        sink::write_token(&copy.join("token"), put::OWNER, put::OWNER)?;
        let printed = child::run(&[], &copy, &format!("upload,{}", sink.url()))?;
        told.push(Told::read(&printed)?);
        fs::remove_dir_all(&copy).map_err(Unmeasured::at("remove a copy of the spool"))
    };
    let mut checksums = || shell.checksums();
    let mut transfer = || shell.transfer();
    let compared = alternate(rounds, Meter::Children, [&mut station, &mut checksums, &mut transfer])?;

    let [low, ratio, high] = compared.ratio(0, &[1, 2]);
    let seconds = [0, 1, 2].map(|which| compared.median_ms(which) / 1e3);
    let note = format!(
        "CPU {:.2} s to {:.2} s (sha256sum {:.2}, curl {:.2}); quartiles {low:.2} to {high:.2}",
        seconds[0],
        seconds[1] + seconds[2],
        seconds[1],
        seconds[2]
    );
    let [low, to_curl, high] = compared.ratio(0, &[2]);
    let middle = |of: fn(&Told) -> f64| quantile(told.iter().map(of).collect(), 0.5);
    let (cpu_s, wall_s) = (middle(|told| told.cpu_s), middle(|told| told.wall_s));
    let beside = format!(
        "quartiles {low:.2} to {high:.2}; from release to the last proof: CPU {cpu_s:.2} s, wall {wall_s:.2} s, {:.0} MB/s",
        (FILES * FILE_BYTES) as f64 / 1e6 / wall_s
    );
    Ok(vec![
        Row::limited(WHAT, (ratio, "x"), LIMIT, note),
        Row::beside("the same, to curl alone", (to_curl, "x"), beside),
    ])
}

/// Puts the pictures into a new spool.
async fn fill(dir: &Path) -> Result<Vec<Record>, Unmeasured> {
    let spool = put::open_spool(dir)?;
    let mut pictures = Vec::with_capacity(FILES);
    for nth in 0..FILES {
        let (media, sha256) = put::frame(FILE_BYTES, nth as u64);
        let mut file = put::new_file(media, sha256);
        file.destinations = vec![DESTINATION.to_owned()];
        file.facts.shot = nth as u32;
        file.facts.file_name = format!("{nth:03}_main.jpg");
        pictures.extend(spool.put(vec![file], Vec::new()).await.map_err(Unmeasured::at("put a picture"))?);
    }
    spool.close().await;
    Ok(pictures)
}

/// A spool that is opened as its own: media are only ever replaced whole, so links to them do.
fn link(spool: &Path, copy: &Path) -> io::Result<()> {
    each(&spool.join("media").join(SESSION), &copy.join("media").join(SESSION), &|from, to| {
        fs::hard_link(from, to)
    })?;
    each(&spool.join("index"), &copy.join("index"), &|from, to| fs::copy(from, to).map(drop))
}

fn each(from: &Path, to: &Path, act: &dyn Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => each(&entry.path(), &target, act)?,
            false => act(&entry.path(), &target)?,
        }
    }
    Ok(())
}

/// What a child prints of its upload alone, without its start and the opening of its spool.
struct Told {
    cpu_s: f64,
    wall_s: f64,
}

impl Told {
    fn read(printed: &str) -> Result<Self, Unmeasured> {
        let read = |text: &str| text.parse::<f64>().ok();
        let both = printed.split_once(' ').and_then(|(cpu, wall)| Some((read(cpu)?, read(wall)?)));
        let (cpu_s, wall_s) = both.ok_or_else(|| Unmeasured(format!("a child printed {printed:?}")))?;
        Ok(Self { cpu_s, wall_s })
    }
}

/// Releases what lies in `data` and delivers it; prints CPU and wall seconds of that.
pub fn in_child(url: &str, data: &Path, runtime: &Handle) -> Result<(), Unmeasured> {
    let spool = put::open_spool(&data.join("spool"))?;
    let clock = Arc::new(SystemClock::new());
    let options = Imaging360Options::new(DESTINATION, url, put::OWNER, put::OWNER, data.join("token"));
    let backend = Arc::new(Imaging360::new(options, clock.clone(), http_transport()));
    let options = UploaderOptions { org: put::OWNER.to_owned(), ..UploaderOptions::default() };
    let uploader = Uploader::new(spool.clone(), vec![backend], clock, options);
    let meters = [Meter::Cpu, Meter::Wall];
    let begun = meters.map(Meter::now);
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let delivered = async {
            let outcome = deliver(&spool).await;
            cancel.cancel();
            outcome
        };
        let (ended, delivered) = tokio::join!(uploader.run(cancel.clone()), delivered);
        ended.map_err(Unmeasured::at("run the uploader"))?;
        delivered
    })?;
    let [cpu, wall] = [0, 1].map(|nth| meters[nth].now().saturating_sub(begun[nth]).as_secs_f64());
    println!("{cpu} {wall}");
    runtime.block_on(spool.close());
    Ok(())
}

/// Releases all and waits until all are confirmed.
async fn deliver(spool: &Spool) -> Result<(), Unmeasured> {
    let records = spool.session_records(SESSION).await.map_err(Unmeasured::at("read the session"))?;
    let changes: Vec<_> = records.into_iter().map(|record| (record.key, Change::Release)).collect();
    let (mut changed, count) = (spool.changed(), changes.len());
    let released = NewEvent {
        kind: "session.released".to_owned(),
        actor: "bench".to_owned(),
        session: Some(SESSION.to_owned()),
        data: serde_json::Value::Null,
    };
    let begun = *changed.borrow();
    let commit = Commit { changes, events: vec![released], ..Commit::default() };
    spool.commit(commit).await.map_err(Unmeasured::at("release the session"))?;
    // Every picture has an event; asking the spool before that would cost what is measured.
    let mut wanted = begun + count as u64;
    loop {
        let waited = changed.wait_for(|newest| *newest > wanted).await;
        wanted = *waited.map_err(|_| Unmeasured("the spool ended".to_owned()))?;
        let counts = spool.counts().await.map_err(Unmeasured::at("read the queue"))?;
        if counts.failed > 0 {
            return Err(Unmeasured(format!("{} pictures were refused by the sink", counts.failed)));
        }
        if counts.confirmed as usize == count {
            return Ok(());
        }
    }
}

/// What a shell script would do.
struct Shell {
    files: Vec<PathBuf>,
    config: PathBuf,
}

impl Shell {
    fn new(folder: &Path, pictures: &[Record], url: &str) -> Result<Self, Unmeasured> {
        let path = |picture: &Record| folder.join("spool").join("media").join(&picture.media);
        let files = pictures.iter().map(path).collect();
        let config = folder.join("curl.conf");
        let parts: Vec<_> = pictures.iter().map(|picture| transfer(picture, &path(picture), url)).collect();
        fs::write(&config, parts.join("next\n")).map_err(Unmeasured::at("write curl's configuration"))?;
        Ok(Self { files, config })
    }

    fn checksums(&self) -> Result<(), Unmeasured> {
        run("sha256sum", Command::new("sha256sum").args(&self.files))
    }

    fn transfer(&self) -> Result<(), Unmeasured> {
        let lanes = UploaderOptions::default().parallel.to_string();
        let options = ["--silent", "--show-error", "--fail", "--parallel", "--parallel-immediate"];
        run(
            "curl",
            Command::new("curl").args(options).args(["--parallel-max", &lanes, "--config"]).arg(&self.config),
        )
    }
}

/// One PUT of curl's configuration. Without `Expect` it does not wait before it sends, as the station does not.
fn transfer(picture: &Record, path: &Path, url: &str) -> String {
    format!(
        "url = \"{url}/store/shell/{}\"\nupload-file = \"{}\"\noutput = \"/dev/null\"\nheader = \"Expect:\"\n\
         header = \"content-type: {}\"\nheader = \"{CHECKSUM}: {}\"\n",
        picture.facts.file_name,
        path.display(),
        picture.facts.content_type,
        STANDARD.encode(picture.sha256.as_bytes())
    )
}

fn run(name: &str, command: &mut Command) -> Result<(), Unmeasured> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(Unmeasured::at(&format!("run {name}")))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(Unmeasured(format!("{name} ended with {}: {complaint}", output.status)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_spool_opens_with_all_pictures_and_leaves_the_first_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let spool = put::open_spool(&from).unwrap();
            let (media, sha256) = put::frame(1000, 1);
            spool.put(vec![put::new_file(media, sha256)], Vec::new()).await.unwrap();
            spool.close().await;
            link(&from, &to).unwrap();
            let copy = put::open_spool(&to).unwrap();
            let records = copy.session_records(SESSION).await.unwrap();
            let changes = vec![(records[0].key.clone(), Change::Release)];
            copy.commit(Commit { changes, ..Commit::default() }).await.unwrap();
            copy.close().await;
            let spool = put::open_spool(&from).unwrap();
            assert_eq!(spool.counts().await.unwrap().captured, 1);
        });
    }

    #[test]
    fn what_a_child_prints_is_read_or_told() {
        let told = Told::read("0.5 1.25").unwrap();
        assert_eq!((told.cpu_s, told.wall_s), (0.5, 1.25));
        assert!(Told::read("0.5").is_err_and(|why| why.0.contains("0.5")));
    }
}
