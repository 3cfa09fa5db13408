//! The whole way on a real disk: captured, released, a stick that comes late, read back, confirmed.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::backend::directory::{DirectoryBackend, DirectoryOptions};
use turnstage_cloud_sync::queue::{Proof, State};
use turnstage_cloud_sync::uploader::{Uploader, UploaderOptions};
use turnstage_cloud_sync::{Backend, Sha256, Spool};

use super::support::{TestClock, file, open, release};

async fn until(spool: &Spool, done: impl Fn(&turnstage_cloud_sync::spool::Counts) -> bool) {
    let mut changed = spool.changed();
    let waiting = async {
        while !done(&spool.counts().await.unwrap()) {
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it never came");
}

#[tokio::test]
async fn frames_wait_for_the_stick_and_arrive_with_their_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let stick = dir.path().join("stick");
    let (spool, _) = open(&dir.path().join("spool"));
    let mut sequences = Vec::new();
    for shot in 0..12 {
        let put = spool.put(vec![file("s-1", shot, &[shot as u8; 50_000])], vec![]).await.unwrap();
        sequences.push(put[0].key.sequence);
    }
    release(&spool, "s-1", &sequences).await;
    let backend: Arc<dyn Backend> = Arc::new(DirectoryBackend::new(DirectoryOptions {
        name: "stick".to_owned(),
        root: stick.clone(),
        create: false,
        require_mount: false,
    }));
    let options = UploaderOptions { org: "org".to_owned(), ..UploaderOptions::default() };
    let uploader = Uploader::new(spool.clone(), vec![backend], Arc::new(TestClock::default()), options);
    let (wake, cancel) = (uploader.wake(), CancellationToken::new());
    let running = tokio::spawn(uploader.run(cancel.clone()));
    let mut changed = spool.changed();
    while spool.events(0, usize::MAX).await.unwrap().iter().all(|event| event.kind != "destination.offline") {
        changed.changed().await.unwrap();
    }
    fs::create_dir(&stick).unwrap();
    wake.reconnected();
    until(&spool, |counts| counts.confirmed == 12).await;
    cancel.cancel();
    running.await.unwrap().unwrap();

    for record in spool.session_records("s-1").await.unwrap() {
        let receipt = record.receipt.as_ref().unwrap();
        assert_eq!((record.state, receipt.proof, record.attempts), (State::Confirmed, Proof::Readback, 0));
        assert_eq!(Sha256::of(&fs::read(stick.join(&receipt.location)).unwrap()), record.sha256);
    }
    let manifest = fs::read(stick.join("org/org/site/site/session/s-1/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["files"].as_array().unwrap().len(), 12);
    spool.close().await;
}
