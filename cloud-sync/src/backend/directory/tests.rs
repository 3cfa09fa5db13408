use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use rustix::fs::Mode;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::Value;

use super::*;
use crate::queue::Record;
use crate::spool::test_support::{SmallDisk, record as any_record, skip};

fn backend(root: &Path) -> DirectoryBackend {
    backend_with(root, |_| ())
}

fn backend_with(root: &Path, change: impl FnOnce(&mut DirectoryOptions)) -> DirectoryBackend {
    let mut options =
        DirectoryOptions { name: "stick".into(), root: root.to_owned(), create: false, require_mount: false };
    change(&mut options);
    DirectoryBackend::new(options)
}

fn record(name: &str, bytes: &[u8]) -> Record {
    let mut record = any_record(7, "s-1");
    record.facts.file_name = name.to_owned();
    record.sha256 = Sha256::of(bytes);
    record.length = bytes.len() as u64;
    record
}

fn delivery(name: &str, bytes: &[u8]) -> Delivery {
    Delivery { files: vec![Parcel::stored(record(name, bytes), Payload::Ram(Bytes::copy_from_slice(bytes)))] }
}

fn session(root: &Path) -> std::path::PathBuf {
    root.join("org/org/site/site/session/s-1")
}

fn manifest(root: &Path) -> Value {
    serde_json::from_slice(&fs::read(session(root).join("manifest.json")).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn rule(outcome: Result<Vec<Receipt>, PutError>) -> (&'static str, &'static str) {
    let (kind, rule) = match outcome.unwrap_err() {
        PutError::Offline { rule, .. } => ("offline", rule),
        PutError::Later { rule, .. } => ("later", rule),
        PutError::Never { rule, .. } => ("never", rule),
    };
    let Cow::Borrowed(rule) = rule else { panic!("a rule of someone else: {rule}") };
    (kind, rule)
}

#[tokio::test]
async fn a_delivered_file_is_there_with_its_line_in_the_manifest() {
    let root = tempfile::tempdir().unwrap();
    let local = root.path().join("local.jpg");
    fs::write(&local, b"picture").unwrap();
    let from_file =
        Delivery { files: vec![Parcel::stored(record("b.jpg", b"picture"), Payload::File(local.clone()))] };
    let receipts = backend(root.path()).deliver(&from_file).await.unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"other")).await.unwrap();
    let expected = Receipt {
        proof: Proof::Readback,
        location: "org/org/site/site/session/s-1/b.jpg".into(),
        sha256: Sha256::of(b"picture"),
        derived: None,
    };
    assert_eq!(receipts, [expected]);
    assert_eq!(names(&session(root.path())), ["a.jpg", "b.jpg", "manifest.json"]);
    assert_eq!(fs::read(session(root.path()).join("b.jpg")).unwrap(), b"picture");
    let manifest = manifest(root.path());
    assert_eq!((&manifest["schema"], &manifest["session"]), (&1.into(), &"s-1".into()));
    let files: Vec<_> = manifest["files"].as_array().unwrap().iter().map(|file| &file["file"]).collect();
    assert_eq!(files, ["a.jpg", "b.jpg"]);
    assert_eq!(manifest["files"][1]["sha256"], Sha256::of(b"picture").to_string());
    assert_eq!(manifest["files"][1]["angle_reached"], 15.1);
}

#[tokio::test]
async fn the_same_delivery_twice_has_the_effect_of_one() {
    let root = tempfile::tempdir().unwrap();
    let first = backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await.unwrap();
    let file = session(root.path()).join("a.jpg");
    let written = fs::metadata(&file).unwrap();
    let second = backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(fs::metadata(&file).unwrap().ino(), written.ino(), "it was written again");
    assert_eq!(manifest(root.path())["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_made_of_a_picture_is_proven_and_listed_by_its_own_hash_beside_the_originals() {
    let root = tempfile::tempdir().unwrap();
    let made = || Parcel::derived(record("a.jpg", b"picture"), Bytes::from_static(b"enriched picture"));
    let receipts = backend(root.path()).deliver(&Delivery { files: vec![made()] }).await.unwrap();
    let original = Sha256::of(b"picture");
    assert_eq!((receipts[0].sha256, receipts[0].stands_for()), (Sha256::of(b"enriched picture"), original));
    assert_eq!(fs::read(session(root.path()).join("a.jpg")).unwrap(), b"enriched picture");
    let listed = manifest(root.path())["files"][0].clone();
    assert_eq!(listed["sha256"], Sha256::of(b"enriched picture").to_string());
    assert_eq!((&listed["length"], &listed["sha256_original"]), (&16.into(), &original.to_string().into()));
    assert_eq!(backend(root.path()).deliver(&Delivery { files: vec![made()] }).await.unwrap(), receipts);
    // Not derived: written as manifests always were.
    backend(root.path()).deliver(&delivery("b.jpg", b"other")).await.unwrap();
    assert_eq!(manifest(root.path())["files"][1].get("sha256_original"), None);
}

#[tokio::test]
async fn our_own_file_is_replaced_and_a_strangers_is_not() {
    let root = tempfile::tempdir().unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"old")).await.unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"new")).await.unwrap();
    assert_eq!(fs::read(session(root.path()).join("a.jpg")).unwrap(), b"new");
    assert_eq!(manifest(root.path())["files"][0]["sha256"], Sha256::of(b"new").to_string());
    fs::write(session(root.path()).join("b.jpg"), b"a stranger's").unwrap();
    let outcome = backend(root.path()).deliver(&delivery("b.jpg", b"ours")).await;
    assert_eq!(rule(outcome), ("never", "destination-conflict"));
    assert_eq!(fs::read(session(root.path()).join("b.jpg")).unwrap(), b"a stranger's");
}

#[tokio::test]
async fn a_file_without_its_line_gets_it_after_a_crash_in_between() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(session(root.path())).unwrap();
    fs::write(session(root.path()).join("a.jpg"), b"picture").unwrap();
    fs::write(session(root.path()).join(".turnstage-a.jpg.tmp"), b"pic").unwrap();
    fs::write(session(root.path()).join(".turnstage-manifest.json.tmp"), b"{").unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await.unwrap();
    assert_eq!(manifest(root.path())["files"][0]["file"], "a.jpg");
    backend(root.path()).deliver(&delivery("a.jpg", b"again")).await.unwrap();
    assert_eq!(names(&session(root.path())), ["a.jpg", "manifest.json"], "what was half-written is gone");
}

#[tokio::test]
async fn a_damaged_manifest_is_kept_and_begun_anew_and_a_foreign_one_left_alone() {
    let root = tempfile::tempdir().unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await.unwrap();
    let path = session(root.path()).join("manifest.json");
    fs::write(&path, b"{\"schema\": 1, half").unwrap();
    backend(root.path()).deliver(&delivery("b.jpg", b"picture")).await.unwrap();
    assert_eq!(
        fs::read(session(root.path()).join("manifest.damaged.json")).unwrap(),
        b"{\"schema\": 1, half"
    );
    let mut foreign = manifest(root.path());
    foreign["org"] = "another".into();
    fs::write(&path, foreign.to_string()).unwrap();
    let outcome = backend(root.path()).deliver(&delivery("c.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("never", "destination-conflict"));
    assert_eq!(manifest(root.path())["org"], "another");
    let mut newer = foreign;
    (newer["org"], newer["schema"]) = ("org".into(), 2.into());
    fs::write(&path, newer.to_string()).unwrap();
    let outcome = backend(root.path()).deliver(&delivery("c.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("never", "destination-conflict"), "a newer version wrote it");
}

#[tokio::test]
async fn no_symbolic_link_is_followed_wherever_it_stands() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("precious"), b"do not touch").unwrap();
    for at in ["org", "org/org", "org/org/site/site", "org/org/site/site/session/s-1"] {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join(at);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(elsewhere.path(), &link).unwrap();
        let outcome = backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await;
        assert_eq!(rule(outcome), ("never", "destination-symlink"), "{at}");
        assert_eq!(names(elsewhere.path()), ["precious"], "{at}");
    }
    for name in ["a.jpg", "manifest.json"] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(session(root.path())).unwrap();
        symlink(elsewhere.path().join("precious"), session(root.path()).join(name)).unwrap();
        let outcome = backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await;
        assert_eq!(rule(outcome), ("never", "destination-symlink"), "{name}");
    }
    let root = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), root.path().join("link")).unwrap();
    let outcome = backend(&root.path().join("link")).deliver(&delivery("a.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("never", "destination-symlink"));
    assert_eq!(fs::read(elsewhere.path().join("precious")).unwrap(), b"do not touch");
    assert_eq!(names(elsewhere.path()), ["precious"]);
}

#[tokio::test]
async fn a_temporary_name_that_is_a_link_is_removed_and_not_written_through() {
    let elsewhere = tempfile::tempdir().unwrap();
    let precious = elsewhere.path().join("precious");
    fs::write(&precious, b"do not touch").unwrap();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(session(root.path())).unwrap();
    symlink(&precious, session(root.path()).join(".turnstage-a.jpg.tmp")).unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await.unwrap();
    assert_eq!(fs::read(&precious).unwrap(), b"do not touch");
}

#[tokio::test]
async fn what_stands_in_the_way_is_a_conflict_and_not_a_hang() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(session(root.path()).join("folder.jpg")).unwrap();
    let pipe = session(root.path()).join("pipe.jpg");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
    for name in ["folder.jpg", "pipe.jpg"] {
        let outcome = backend(root.path()).deliver(&delivery(name, b"picture")).await;
        assert_eq!(rule(outcome), ("never", "destination-conflict"), "{name}");
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("org"), b"a file").unwrap();
    let outcome = backend(root.path()).deliver(&delivery("a.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("never", "destination-conflict"));
}

#[tokio::test]
async fn a_missing_root_is_offline_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("stick");
    let stick = backend(&root);
    assert!(matches!(stick.ready().await, Err(PutError::Offline { .. })));
    let outcome = stick.deliver(&delivery("a.jpg", b"picture")).await;
    assert!(outcome.as_ref().unwrap_err().to_string().contains("plug the stick in"), "{outcome:?}");
    assert_eq!(rule(outcome), ("offline", "destination-missing"));
    assert!(!root.exists(), "nobody asked for it to be made");
    fs::create_dir(&root).unwrap();
    stick.ready().await.unwrap();
    stick.deliver(&delivery("a.jpg", b"picture")).await.unwrap();
    let made = dir.path().join("made/on/demand");
    backend_with(&made, |options| options.create = true).deliver(&delivery("a.jpg", b"x")).await.unwrap();
    assert!(session(&made).join("a.jpg").exists());
}

#[tokio::test]
async fn an_empty_mount_point_is_no_destination() {
    let root = tempfile::tempdir().unwrap();
    let stick = backend_with(root.path(), |options| options.require_mount = true);
    let outcome = stick.deliver(&delivery("a.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("offline", "destination-missing"));
    assert_eq!(names(root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn local_damage_is_not_sent_and_not_blamed_on_the_destination() {
    let root = tempfile::tempdir().unwrap();
    backend(root.path()).deliver(&delivery("a.jpg", b"good")).await.unwrap();
    let record = record("a.jpg", b"new picture");
    let local = root.path().join("local.jpg");
    let payloads = [
        Payload::Ram(Bytes::from_static(b"new picturf")),
        Payload::Ram(Bytes::from_static(b"new")),
        Payload::File(local.clone()),
        Payload::File(root.path().join("gone.jpg")),
    ];
    fs::write(&local, b"new pictur").unwrap();
    for payload in payloads {
        let shown = format!("{payload:?}");
        let outcome = backend(root.path())
            .deliver(&Delivery { files: vec![Parcel::stored(record.clone(), payload)] })
            .await;
        assert_eq!(rule(outcome), ("never", "media-damaged"), "{shown}");
        assert!(names(&session(root.path())).iter().all(|name| !name.contains(".tmp")));
    }
}

#[tokio::test]
async fn names_that_a_destination_cannot_have_are_refused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../x", "a/b", ".hidden", "manifest.json", "ü.jpg", "a b.jpg"] {
        let outcome = backend(root.path()).deliver(&delivery(name, b"picture")).await;
        assert_eq!(rule(outcome), ("never", "destination-name"), "{name:?}");
    }
    let outcome = backend(root.path()).deliver(&delivery(&"x".repeat(300), b"picture")).await;
    assert_eq!(rule(outcome), ("never", "destination-name"));
}

#[tokio::test]
async fn hostile_organisations_and_sites_stay_below_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut record = record("a.jpg", b"picture");
    record.facts.org = "../../etc".into();
    record.facts.site = "Über/Straße\0".into();
    let payload = Payload::Ram(Bytes::from_static(b"picture"));
    let receipts =
        backend(&root).deliver(&Delivery { files: vec![Parcel::stored(record, payload)] }).await.unwrap();
    let location = "org/%2E.%2F..%2Fetc/site/%C3%9Cber%2FStra%C3%9Fe%00/session/s-1/a.jpg";
    assert_eq!(receipts[0].location, location);
    assert!(root.join(location).is_file());
    assert_eq!(names(dir.path()), ["root"]);
}

proptest! {
    #[test]
    fn no_two_names_share_a_component_and_none_is_special(one: String, two: String) {
        prop_assert_eq!(one == two, escape(&one) == escape(&two));
        let escaped = escape(&one);
        prop_assert!(!escaped.is_empty() && !escaped.contains('/') && !escaped.starts_with('.'));
        prop_assert!(escaped.is_ascii() && !escaped.contains('\0'));
    }
}

#[tokio::test]
async fn a_full_stick_says_so_and_holds_no_half_picture() {
    let name = "a_full_stick_says_so_and_holds_no_half_picture";
    let dir = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&dir.path().join("stick"), "1m") {
        Ok(disk) => disk,
        Err(reason) => return skip(name, &reason),
    };
    let stick = backend_with(&disk.0, |options| options.require_mount = true);
    stick.deliver(&delivery("small.jpg", b"picture")).await.unwrap();
    let outcome = stick.deliver(&delivery("large.jpg", &vec![7; 2 << 20])).await;
    assert_eq!(rule(outcome), ("later", "destination-full"));
    assert_eq!(names(&session(&disk.0)), ["manifest.json", "small.jpg"]);
    stick.deliver(&delivery("other.jpg", b"fits")).await.unwrap();
}

/// The reader pulls the stick after the first piece, so the rest is written into nothing.
struct PullsTheStick {
    mount: std::path::PathBuf,
    pieces: u32,
}

impl Read for PullsTheStick {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.pieces += 1;
        if self.pieces == 2 {
            // The file system lives on while the file is open, as a pulled stick's does in memory.
            rustix::mount::unmount(&self.mount, UnmountFlags::DETACH)?;
        }
        piece.fill(1);
        Ok(if self.pieces > 3 { 0 } else { piece.len() })
    }
}

#[tokio::test]
async fn a_stick_pulled_in_mid_write_is_offline_and_keeps_no_half_picture() {
    let name = "a_stick_pulled_in_mid_write_is_offline_and_keeps_no_half_picture";
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("stick");
    for require_mount in [true, false] {
        match SmallDisk::mount(&mount, "8m") {
            // The reader unmounts it.
            Ok(disk) => std::mem::forget(disk),
            Err(reason) => return skip(name, &reason),
        }
        let stick = backend_with(&mount, |options| options.require_mount = require_mount);
        let picture = Bytes::from(vec![1; 3 * (256 << 10)]);
        let parcel = Parcel::stored(record("a.jpg", &picture), Payload::Ram(picture));
        let pulls = PullsTheStick { mount: mount.clone(), pieces: 0 };
        let fault = stick.shelf.put_source(&parcel, Source(Box::new(pulls))).unwrap_err();
        assert!(matches!(fault, Fault::Missing(_)), "{fault:?}");
        assert!(matches!(stick.shelf.explain(fault), PutError::Offline { .. }));
    }
    assert_eq!(names(&mount), Vec::<String>::new(), "something fell through into the mount point");
    let stick = backend_with(&mount, |options| options.require_mount = true);
    let outcome = stick.deliver(&delivery("a.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("offline", "destination-missing"));
}

#[test]
fn what_the_system_says_becomes_a_rule_and_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let (here, gone) = (backend(dir.path()), backend(&dir.path().join("gone")));
    let cases = [
        (&here, Errno::NOSPC, ("later", "destination-full")),
        (&here, Errno::DQUOT, ("later", "destination-full")),
        (&here, Errno::FBIG, ("later", "destination-full")),
        (&here, Errno::ROFS, ("later", "destination-read-only")),
        (&here, Errno::ACCESS, ("later", "destination-forbidden")),
        (&here, Errno::NAMETOOLONG, ("never", "destination-name")),
        (&here, Errno::IO, ("later", "destination-failed")),
        // A pulled stick: no attempt.
        (&gone, Errno::IO, ("offline", "destination-missing")),
        (&gone, Errno::NODEV, ("offline", "destination-missing")),
    ];
    for (stick, errno, expected) in cases {
        let error = stick.shelf.explain(Fault::from(errno));
        assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
        assert_eq!(rule(Err(error)), expected, "{errno:?}");
    }
}

#[tokio::test]
async fn a_write_protected_stick_says_so() {
    let name = "a_write_protected_stick_says_so";
    let dir = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&dir.path().join("stick"), "1m") {
        Ok(disk) => disk,
        Err(reason) => return skip(name, &reason),
    };
    rustix::mount::mount_remount(&disk.0, MountFlags::RDONLY, "").unwrap();
    let outcome = backend(&disk.0).deliver(&delivery("a.jpg", b"picture")).await;
    assert_eq!(rule(outcome), ("later", "destination-read-only"));
}
