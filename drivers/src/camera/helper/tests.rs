use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{DuplexStream, duplex};

use super::*;
use wire::{Event, Fault};

/// A helper, and what it says and hears.
fn pair() -> (Helper, DuplexStream, DuplexStream) {
    let ((into, heard), (says, from)) = (duplex(1 << 12), duplex(1 << 12));
    (Helper::over(Box::new(into), Box::new(from)), says, heard)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

fn framed(json: &[u8], body: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length(json)[..], &length(body), json, body].concat()
}

#[tokio::test]
async fn a_question_gets_its_answer_with_its_bytes() {
    let (mut helper, mut says, mut heard) = pair();
    let answer = Answer::File { pixels: None };
    says.write_all(&wire::message(&answer, 5).unwrap()).await.unwrap();
    says.write_all(b"bytes").await.unwrap();
    let request = Request::Write { setting: "iso".to_owned(), value: "400".to_owned() };
    assert_eq!(helper.ask(&request, 5, soon()).await.unwrap(), (answer, Bytes::from_static(b"bytes")));
    let mut lengths = [0; wire::LENGTHS];
    heard.read_exact(&mut lengths).await.unwrap();
    let (head, body) = wire::lengths(lengths, 0).unwrap();
    let mut json = vec![0; head];
    heard.read_exact(&mut json).await.unwrap();
    assert_eq!((wire::head::<Request>(&json).unwrap(), body), (request, 0));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (mut helper, _says, _heard) = pair();
    let begun = Instant::now();
    let error = helper.ask(&Request::List, 0, soon()).await.unwrap_err();
    assert!(matches!(error, HelperError::Hung { .. }), "{error}");
    assert_eq!(begun.elapsed(), Duration::from_secs(2) + GRACE);
    let after = helper.ask(&Request::List, 0, soon()).await.unwrap_err();
    assert!(matches!(after, HelperError::Gone), "what it may say later is not another's answer: {after}");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_dropped_is_not_answered_to_the_next() {
    let (mut helper, mut says, _heard) = pair();
    let dropped = tokio::time::timeout(Duration::from_millis(1), helper.ask(&Request::List, 0, soon()));
    assert!(dropped.await.is_err());
    says.write_all(&wire::message(&Answer::Done, 0).unwrap()).await.unwrap();
    assert!(helper.ask(&Request::Expose, 0, soon()).await.is_err());
}

#[tokio::test]
async fn lengths_beyond_the_limits_are_refused_and_cost_nothing() {
    for (lengths, words) in
        [(*b"\xff\xff\xff\xff\0\0\0\0", "a head of"), (*b"\0\0\0\x02\x7f\0\0\0", "bytes, where 9 is")]
    {
        let (mut helper, mut says, _heard) = pair();
        says.write_all(&lengths).await.unwrap();
        let error = helper.ask(&Request::List, 9, soon()).await.unwrap_err();
        assert!(matches!(error, HelperError::Garbled(_)) && error.to_string().contains(words), "{error}");
    }
    // A length within the limits of which hardly anything comes.
    let (mut helper, mut says, _heard) = pair();
    says.write_all(b"\0\0\0\x02\x10\0\0\0{}half").await.unwrap();
    drop(says);
    let error = helper.ask(&Request::List, 1 << 30, soon()).await.unwrap_err();
    assert!(matches!(error, HelperError::Gone), "{error}");
}

#[test]
fn a_fault_that_a_newer_helper_knows_is_still_a_fault() {
    let answer: Answer =
        wire::head(br#"{"answer":"failed","fault":"on-fire","words":"hot","more":1}"#).unwrap();
    assert_eq!(answer, Answer::Failed { fault: Fault::Other, words: "hot".to_owned() });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #[test]
    fn whatever_a_helper_says_is_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let from = std::io::Cursor::new(bytes);
        let mut helper = Helper::over(Box::new(tokio::io::sink()), Box::new(from));
        runtime().block_on(async { while helper.ask(&Request::List, 64, soon()).await.is_ok() {} });
    }

    #[test]
    fn whatever_stands_in_a_head_is_an_answer_or_an_error(
        tag in "hello|cameras|opened|setting|done|event|file|failed|x",
        rest in r#"(,"(protocol|cameras|preview|setting|event|pixels|fault|words)":([0-9]{1,12}|"[a-z]{0,6}"|\[\]|\{\}|null)){0,4}"#,
        body in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let said = framed(format!("{{\"answer\":\"{tag}\"{rest}}}").as_bytes(), &body);
        let mut helper = Helper::over(Box::new(tokio::io::sink()), Box::new(std::io::Cursor::new(said)));
        runtime().block_on(async { while helper.ask(&Request::List, 64, soon()).await.is_ok() {} });
    }

    #[test]
    fn what_one_end_writes_the_other_reads(name in ".{0,30}", value in ".{0,30}", wait_ms in any::<u32>()) {
        for request in [
            Request::Write { setting: name.clone(), value: value.clone() },
            Request::Event { wait_ms },
            Request::Fetch { file: wire::File { folder: value.clone(), name: name.clone() }, keep: true },
        ] {
            let message = wire::message(&request, 3).unwrap();
            let (lengths, json) = message.split_at(wire::LENGTHS);
            prop_assert_eq!(wire::lengths(lengths.try_into().unwrap(), 3).unwrap(), (json.len(), 3));
            prop_assert_eq!(wire::head::<Request>(json).unwrap(), request);
        }
        let answer = Answer::Event { event: Event::Other { words: value } };
        let message = wire::message(&answer, 0).unwrap();
        prop_assert_eq!(wire::head::<Answer>(&message[wire::LENGTHS..]).unwrap(), answer);
    }
}

/// A helper that is a shell script with this text, `$1` being the folder it lies in.
fn script(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("helper");
    let hello = Answer::Hello { protocol: PROTOCOL, version: "1".to_owned(), library: "none".to_owned() };
    std::fs::write(folder.path().join("hello"), wire::message(&hello, 0).unwrap()).unwrap();
    let other = Answer::Hello { protocol: 99, version: "7.0".to_owned(), library: "none".to_owned() };
    std::fs::write(folder.path().join("other"), wire::message(&other, 0).unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", folder.path().display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

async fn refused(path: &Path) -> String {
    match Helper::start(path).await {
        Ok(_) => panic!("{} was taken for a helper", path.display()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_helper_that_is_none_is_refused_with_what_to_do() {
    assert!(
        refused(Path::new("/nowhere/helper"))
            .await
            .contains("/nowhere/helper cannot be used: it cannot be started")
    );
    let (_folder, other) = script("cat other; exec cat");
    let said = refused(&other).await;
    assert!(said.contains("version 7.0 and speaks protocol 99, not 1; install the one"), "{said}");
    let (_folder, chatty) = script("echo Hello, I am a camera; exec cat");
    let said = refused(&chatty).await;
    assert!(said.contains("is this path right?"), "{said}");
    let (_folder, short) = script("exit 3");
    assert!(refused(&short).await.contains("exit status: 3"));
    let (_folder, unlinked) = script("exit 127");
    assert!(refused(&unlinked).await.contains("a shared library that it needs is not installed"));
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed_with_what_it_started() {
    // Each process of the group holds the pipe open, so that it ends when the last one is gone.
    let (folder, path) = script("exec 3>alive; cat hello; sleep 600 & sleep 600");
    let alive = folder.path().join("alive");
    rustix::fs::mknodat(rustix::fs::CWD, &alive, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let gone = tokio::task::spawn_blocking(move || std::fs::read(alive).unwrap());
    let mut helper = Helper::start(&path).await.unwrap();
    assert_eq!(helper.library(), "none");
    let error = helper.ask(&Request::List, 0, Instant::now() + Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, HelperError::Hung { .. }), "{error}");
    assert_eq!(gone.await.unwrap(), b"");
}

#[test]
fn a_helper_is_looked_for_beside_our_program_and_where_packages_put_it() {
    let error = locate("no-such-helper", None).unwrap_err().to_string();
    assert!(error.contains("/deps nor in /usr/lib/turnstage") && error.contains("helper ="), "{error}");
    assert_eq!(locate("x", Some(Path::new("/a/b"))).unwrap(), Path::new("/a/b"));
}
