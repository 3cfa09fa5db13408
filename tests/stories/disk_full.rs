//! Scenario 5: the disk is full. Nothing that is not delivered is deleted; a session is refused beforehand.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_tests::{Bench, quick_rig, skip, write_recipe};

/// A small disk of its own.
struct SmallDisk {
    at: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let at = folder.path().to_path_buf();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { at, _folder: folder })
    }

    fn fill(&self, leave_bytes: u64) -> PathBuf {
        let disk = free(&self.at);
        let filler = self.at.join("filler");
        let bytes = usize::try_from(disk.saturating_sub(leave_bytes)).expect("a size");
        std::fs::write(&filler, vec![1; bytes]).expect("a filler");
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.at).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.at.display());
    }
}

fn free(at: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(at).output().expect("df runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().nth(1).expect("a line").trim().parse().expect("a number")
}

async fn bench(disk: &SmallDisk, frame_bytes: u32) -> Bench {
    let data = TempDir::new_in(&disk.at).expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn36", 36, "");
    let rig = quick_rig("").replace("frame_bytes = 200_000", &format!("frame_bytes = {frame_bytes}"));
    Bench::on_disk(&rig, data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refused_before_it_begins_and_accepted_once_there_is_room() {
    let name = "a_session_is_refused_before_it_begins_and_accepted_once_there_is_room";
    let Some(disk) = SmallDisk::mount(40) else {
        return skip(name, "a small disk cannot be mounted (root?)");
    };
    let bench = bench(&disk, 200_000).await;
    let filler = disk.fill(4_000_000);
    let start = || Act::Start { item: "a".to_owned(), recipe: Some("turn36".to_owned()) };
    let refusal = bench.ask(start()).await.expect_err("no room");
    assert_eq!(refusal.rule, "disk-room");
    assert!(refusal.reason.starts_with("Room for 0 sessions"), "{}", refusal.reason);
    std::fs::remove_file(filler).expect("room is made");
    let accepted = bench.ask(start()).await.expect("it recovers by itself");
    let session = bench.settled(&accepted.session.expect("an id")).await;
    assert_eq!(session.state, SessionState::Review);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_in_mid_session_pauses_it_and_loses_nothing() {
    let name = "a_disk_that_fills_in_mid_session_pauses_it_and_loses_nothing";
    let Some(disk) = SmallDisk::mount(40) else {
        return skip(name, "a small disk cannot be mounted (root?)");
    };
    // The estimate is far too small, so the start is not refused.
    let bench = bench(&disk, 1).await;
    let filler = disk.fill(1_300_000);
    let id = bench.start("turn36").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused, "{:?}", bench.running.status.borrow().sentence);
    assert_eq!(bench.running.status.borrow().faults[0].rule, "disk-full");
    let kept = bench.records(&id).await;
    assert!(!kept.is_empty() && kept.len() < 36, "{}", kept.len());
    std::fs::remove_file(filler).expect("room is made");
    bench.ask(Act::Resume { session: None, anew: false, confirm: false }).await.expect("it goes on");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 36));
    let all = bench.records(&id).await;
    assert!(kept.iter().all(|record| all.iter().any(|other| other.sha256 == record.sha256)));
    let data = bench.end().await;
    let report = turnstage_cloud_sync::spool::repair::check(&data.path().join("spool")).expect("a report");
    assert!(report.healthy(), "{:?}", report.findings);
}
