//! Scenario 1: the plug is pulled at any instant of a 72-frame session. What was acknowledged is there, with its hash;
//! the angle is unknown afterwards, and no frame ever lands at a wrong one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_cloud_sync::Sha256;
use turnstage_pipeline::{Examiner, InputLimits, qc};
use turnstage_tests::{Bench, PATIENCE, Ran, binary, pictures, quick_rig, turnstage, write_recipe};

const KILLS: usize = 50;

/// Sequence and hash of every frame that the binary said is safe.
type Promised = BTreeMap<u64, String>;

struct Rig {
    data: TempDir,
    config: String,
}

impl Rig {
    fn new() -> Self {
        let data = TempDir::new().expect("a folder");
        let recipes = data.path().join("recipes");
        write_recipe(&recipes, "turn72", 72, "");
        let config = data.path().join("station.toml");
        let text = quick_rig(&format!("[recipes]\nfolder = \"{}\"\n", recipes.display()));
        std::fs::write(&config, text).expect("a configuration");
        let config = config.display().to_string();
        Self { data, config }
    }

    fn args<'a>(&'a self, verb: &[&'a str]) -> Vec<&'a str> {
        let data = self.data.path().to_str().expect("a plain path");
        [verb, &["--config", &self.config, "--data-dir", data]].concat()
    }

    fn run(&self, verb: &[&str]) -> Ran {
        turnstage(&self.args(verb))
    }

    fn spawn(&self, verb: &[&str]) -> Child {
        let mut command = Command::new(binary());
        command.args(self.args(verb)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().expect("the binary runs")
    }

    /// The unfinished session, if there is one.
    fn open_session(&self) -> Option<String> {
        let ran = self.run(&["sessions", "list", "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let sessions =
            ran.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let open =
            sessions.filter(|s| !["released", "aborted"].contains(&s["state"].as_str().unwrap_or_default()));
        open.max_by_key(|s| s["session"].to_string())
            .map(|session| session["session"].as_str().expect("an id").to_owned())
    }
}

/// Lets the child shoot, pulls the plug after `after` (or lets it end), and collects what it promised.
fn until_killed(mut child: Child, after: Duration) -> Promised {
    let out = child.stdout.take().expect("its output");
    let (sender, lines) = mpsc::sync_channel(1024);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut promised = Promised::new();
    // The first line means that the process is up; the plug is pulled some time after that.
    if let Ok(line) = lines.recv_timeout(PATIENCE) {
        promise(&line, &mut promised);
    }
    let end = Instant::now() + after;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        promise(&line, &mut promised);
    }
    child.kill().expect("kill -9");
    child.wait().expect("its end");
    for line in lines.iter() {
        promise(&line, &mut promised);
    }
    reader.join().expect("the reader ends");
    promised
}

fn promise(line: &str, promised: &mut Promised) {
    // A line cut by the kill promised nothing.
    let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { return };
    if event["kind"] == "frame.captured" {
        let sequence = event["data"]["sequence"].as_u64().expect("a sequence");
        promised.insert(sequence, event["data"]["sha256"].as_str().expect("a hash").to_owned());
    }
}

/// After the next start everything that was promised is on the disk with its hash, and the spool is whole.
fn assert_kept(rig: &Rig, promised: &Promised, round: usize) -> Option<String> {
    let open = rig.open_session();
    let ran = rig.run(&["queue", "check"]);
    assert_eq!(ran.code, 0, "round {round}: {ran:?}");
    let media: BTreeMap<u64, Sha256> = pictures(&rig.data.path().join("spool/media"))
        .into_iter()
        .map(|(path, hash)| {
            (path.file_stem().expect("a name").to_string_lossy().parse().expect("a sequence"), hash)
        })
        .collect();
    for (sequence, hash) in promised {
        let kept = media.get(sequence).unwrap_or_else(|| panic!("round {round}: frame {sequence} is lost"));
        assert_eq!(&kept.to_string(), hash, "round {round}: frame {sequence} changed");
    }
    open
}

#[test]
fn fifty_kills_lose_no_acknowledged_frame_and_the_session_is_finished_and_delivered() {
    let rig = Rig::new();
    let mut promised = Promised::new();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut sessions = 0;
    let mut open: Option<String> = None;
    for round in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = Duration::from_millis((random >> 33) % 700);
        let child = match &open {
            Some(id) => rig.spawn(&["sessions", "resume", id, "--json", "--release"]),
            None => {
                sessions += 1;
                rig.spawn(&["capture", "--item", "kill", "--recipe", "turn72", "--release", "--json"])
            }
        };
        promised.extend(until_killed(child, after));
        open = assert_kept(&rig, &promised, round);
    }
    assert!(promised.len() > KILLS, "the kills left too little time: {} frames", promised.len());
    if let Some(id) = open {
        let ran = rig.run(&["sessions", "resume", &id, "--release"]);
        assert!([0, 77].contains(&ran.code), "{ran:?}");
    }
    let ran = rig.run(&["queue", "send"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let delivered = pictures(&rig.data.path().join("delivered"));
    assert_eq!(delivered.len() % 72, 0, "only whole sessions are delivered");
    assert!(!delivered.is_empty() && delivered.len() <= 72 * sessions);
    let kept = pictures(&rig.data.path().join("spool/media"));
    for (path, hash) in &delivered {
        assert!(kept.values().any(|known| known == hash), "{} is not what was captured", path.display());
    }
    println!(
        "{KILLS} kills, {} frames promised, {sessions} sessions, {} delivered",
        promised.len(),
        delivered.len()
    );
}

/// Mean difference of two pictures of the same view, in grey levels of a small version.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let mut examiner = Examiner::new(InputLimits::default()).expect("an examiner");
    let mut look = |bytes: &[u8]| {
        examiner.examine(bytes, &qc::Limits::default()).picture.expect("a readable picture").signature
    };
    look(a).difference(&look(b))
}

fn media(data: &Path, records: &[turnstage_cloud_sync::Record]) -> Vec<Vec<u8>> {
    let read = |r: &turnstage_cloud_sync::Record| std::fs::read(data.join("spool/media").join(&r.media));
    records.iter().map(|record| read(record).expect("a picture")).collect()
}

/// Shoots a part of a turn, goes off, and comes back with the platter pushed to another place.
async fn interrupted_and_back(turned_deg: f64, table: &str) -> (Bench, String) {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn36", 36, "");
    let rig =
        |start: &str| quick_rig("").replace("start_deg = 33.0", &format!("start_deg = {start}\n{table}"));
    let bench = Bench::on_disk(&rig("0.0"), data).await;
    let id = bench.start("turn36").await;
    let mut status = bench.running.status.clone();
    let some = |s: &turnstage::status::Status| s.session.as_ref().is_some_and(|s| s.taken >= 10);
    drop(status.wait_for(some).await.expect("frames arrive"));
    let data = bench.end().await;
    // Somebody pushed the platter by 7 degrees, or much further, while the station was off.
    let bench = Bench::on_disk(&rig(&format!("{:.1}", turned_deg + 7.0)), data).await;
    let mut status = bench.running.status.clone();
    let found = |s: &turnstage::status::Status| s.session.is_some();
    let session = status.wait_for(found).await.expect("the station lives").session.clone().expect("it");
    assert_eq!((session.id.as_str(), session.state), (id.as_str(), SessionState::Interrupted));
    assert!(
        !bench
            .running
            .around
            .booth
            .as_ref()
            .expect("a booth")
            .commands()
            .iter()
            .any(|told| told.command.is_motion()),
        "nothing moves before a person says so"
    );
    (bench, id)
}

/// Every frame looks like the same frame of an undisturbed turn, and like no neighbour of it.
async fn assert_right_angles(bench: &Bench, id: &str) {
    let undisturbed = TempDir::new().expect("a folder");
    write_recipe(&undisturbed.path().join("recipes"), "turn36", 36, "");
    let other = Bench::on_disk(&quick_rig(""), undisturbed).await;
    let reference_id = other.start("turn36").await;
    other.settled(&reference_id).await;
    let reference = media(other.data.path(), &other.records(&reference_id).await);
    let current: Vec<_> =
        bench.records(id).await.into_iter().filter(|record| record.superseded_by.is_none()).collect();
    let since = bench.running.spool.document(id).await.expect("a store").expect("it").value["since"].as_u64();
    let current: Vec<_> = current.into_iter().filter(|r| r.key.sequence >= since.unwrap_or(0)).collect();
    assert_eq!(current.len(), 36);
    let shots: Vec<u32> = current.iter().map(|record| record.facts.shot).collect();
    for (picture, shot) in media(bench.data.path(), &current).iter().zip(shots) {
        let shot = shot as usize;
        let same = difference(picture, &reference[shot]);
        for neighbour in [(shot + 1) % 36, (shot + 35) % 36] {
            let beside = difference(picture, &reference[neighbour]);
            assert!(
                same < 0.3 * beside,
                "frame {}: {same:.2} from its own angle, {beside:.2} from the next",
                shot + 1
            );
        }
    }
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_at_the_right_angles_after_the_platter_was_pushed() {
    let (bench, id) = interrupted_and_back(0.0, "").await;
    bench
        .ask(Act::Resume { session: Some(id.clone()), anew: false, confirm: false })
        .await
        .expect("it goes on");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    assert_right_angles(&bench, &id).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_home_switch_fresh_frames_tell_the_offset_and_a_person_confirms_it() {
    let (bench, id) = interrupted_and_back(0.0, "home = false").await;
    let before = bench.records(&id).await.len();
    bench
        .ask(Act::Resume { session: Some(id.clone()), anew: false, confirm: false })
        .await
        .expect("it compares");
    assert_eq!(bench.settled(&id).await.state, SessionState::Paused);
    let fault = bench.running.status.borrow().faults[0].clone();
    assert_eq!(fault.rule, "position-match", "{fault:?}");
    let digits = fault.what.trim_end_matches('°').rsplit(' ').next().expect("an angle");
    let offset: f64 = digits.parse().expect("degrees");
    assert!((offset - 7.0).abs() < 0.5, "pushed by 7 degrees, found {offset}");
    assert_eq!(bench.records(&id).await.len(), before, "the comparison keeps no frame");
    bench
        .ask(Act::Resume { session: Some(id.clone()), anew: false, confirm: true })
        .await
        .expect("it goes on");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    assert_right_angles(&bench, &id).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_to_no_frame_is_shot_anew_and_old_frames_are_history() {
    let (bench, id) = interrupted_and_back(180.0, "home = false").await;
    // Turned by half a turn and a push: no frame taken shows this side.
    bench
        .ask(Act::Resume { session: Some(id.clone()), anew: false, confirm: false })
        .await
        .expect("it tries");
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert_eq!(bench.running.status.borrow().faults[0].rule, "position-unknown");
    // Agreeing to nothing moves nothing: it is compared once more.
    let before = bench.records(&id).await.len();
    bench.ask(Act::Resume { session: Some(id.clone()), anew: false, confirm: true }).await.expect("it tries");
    bench.settled(&id).await;
    assert_eq!(bench.records(&id).await.len(), before);
    bench.ask(Act::Resume { session: Some(id.clone()), anew: true, confirm: false }).await.expect("anew");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    assert_eq!(bench.records(&id).await.len(), before + 36, "what was taken stays as history");
    bench.end().await;
}
