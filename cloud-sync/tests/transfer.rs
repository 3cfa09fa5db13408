//! Transfers over real sockets on this machine: what is sent, what is resumed, and what is not taken.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use turnstage_cloud_sync::{Sha256, Transfer, TransferError};

/// What was asked.
struct Asked {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn offset(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// A server that answers every connection once: the bytes of the answer, after which it hangs up.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn new(answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a working machine");
        let url = format!(
            "http://{}/file?X-Amz-Signature=secret",
            listener.local_addr().expect("a working machine")
        );
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let heard = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a working machine");
                let Some(question) = read(&mut stream) else { continue };
                let bytes = answer(&question);
                heard.lock().expect("no test panicked in it").push(question);
                let _gone = stream.write_all(&bytes);
            }
        });
        Self { url, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().expect("no test panicked in it").len()
    }
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines.next()?;
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a working machine"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line, headers, body })
}

fn head(status: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n")
        .into_bytes()
}

/// The file from where it is asked for, or all of it; at most `cut` bytes of it.
fn ranged(content: &[u8], asked: &Asked, tag: &str, cut: usize) -> Vec<u8> {
    let same = asked.header("if-range").is_none_or(|known| known == tag);
    let etag = if tag.is_empty() { String::new() } else { format!("etag: {tag}\r\n") };
    let (mut answer, rest) = match asked.offset().filter(|_| same) {
        Some(offset) if offset >= content.len() => return head("416 Range Not Satisfiable", "", 0),
        Some(offset) => {
            let range = format!("content-range: bytes {offset}-{}/{}\r\n", content.len() - 1, content.len());
            (head("206 Partial Content", &(range + &etag), content.len() - offset), &content[offset..])
        }
        None => (head("200 OK", &etag, content.len()), content),
    };
    answer.extend_from_slice(&rest[..cut.min(rest.len())]);
    answer
}

fn content() -> Vec<u8> {
    (0..97_u8).map(|nth| nth.wrapping_mul(37)).collect()
}

async fn fetch(url: &str, to: &Path, sha256: Sha256, bytes_max: u64) -> Result<(), TransferError> {
    Transfer::new(None).expect("a working machine").fetch(url, to, sha256, bytes_max, &|_| {}).await
}

fn rule(outcome: Result<(), TransferError>) -> &'static str {
    outcome.map_or_else(|error| told(&error), |()| "good")
}

/// The rule of an error that names the host and keeps the secret.
fn told(error: &TransferError) -> &'static str {
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(error.reason().contains("127.0.0.1") || error.rule() == "transfer-address", "{error}");
    error.rule()
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir)
        .expect("a working machine")
        .map(|entry| entry.expect("a working machine").file_name().into_string().expect("a working machine"));
    names.collect()
}

#[tokio::test]
async fn a_file_that_is_cut_after_any_number_of_bytes_goes_on_where_it_was_cut() {
    let content = content();
    for cut in 1..=content.len() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("update");
        let served = content.clone();
        let server = Server::new(move |asked| ranged(&served, asked, "\"v1\"", cut));
        let most = AtomicU64::new(0);
        let transfer = Transfer::new(None).unwrap();
        let needed = content.len().div_ceil(cut);
        for nth in 1..=needed {
            let progress = |bytes| {
                most.fetch_max(bytes, Ordering::Relaxed);
            };
            let hash = Sha256::of(&content);
            let outcome = transfer.fetch(&server.url, &to, hash, 97, &progress).await;
            assert_eq!(most.load(Ordering::Relaxed), (nth * cut).min(97) as u64, "every byte came once");
            if nth < needed {
                assert_eq!(rule(outcome), "transfer-interrupted", "cut after {cut}");
                assert!(!to.exists(), "half a file is no file");
            } else {
                outcome.unwrap();
            }
        }
        assert_eq!(server.count(), needed);
        assert_eq!(std::fs::read(&to).unwrap(), content);
        assert_eq!(names(dir.path()), ["update"]);
        let second = server.asked.lock().unwrap().pop().unwrap();
        assert_eq!(second.header("if-range"), (needed > 1).then_some("\"v1\""));
    }
}

#[tokio::test]
async fn a_server_without_ranges_or_with_another_file_than_before_makes_it_begin_anew() {
    let content = content();
    let hash = Sha256::of(&content);
    let other = vec![1; 60];
    // What the server does from the second question on, and the questions that it takes.
    type Later = fn(&[u8], &Asked) -> Vec<u8>;
    let ways: [(&str, Later, usize); 4] = [
        ("ignores ranges", |content, _| [head("200 OK", "", content.len()), content.to_vec()].concat(), 2),
        ("has a new version", |content, asked| ranged(content, asked, "\"v2\"", 97), 2),
        (
            "hides the new version",
            |content, asked| {
                let honest = Asked { line: String::new(), headers: asked.headers.clone(), body: Vec::new() };
                ranged(content, &honest, "\"v1\"", 97)
            },
            3,
        ),
        (
            "has a shorter one",
            |content, asked| match asked.offset() {
                Some(_) => head("416 Range Not Satisfiable", "", 0),
                None => ranged(content, asked, "", 97),
            },
            3,
        ),
    ];
    for (way, later, questions) in ways {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("update");
        let (content, other) = (content.clone(), other.clone());
        let first = AtomicU64::new(0);
        let served = content.clone();
        let server = Server::new(move |asked| match first.fetch_add(1, Ordering::Relaxed) {
            0 => ranged(&other, asked, "\"v1\"", 50),
            _ => later(&served, asked),
        });
        assert_eq!(rule(fetch(&server.url, &to, hash, 100).await), "transfer-interrupted", "{way}");
        fetch(&server.url, &to, hash, 100).await.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), content, "{way}");
        assert_eq!(server.count(), questions, "{way}");
    }
}

#[tokio::test]
async fn what_was_begun_of_one_file_is_not_gone_on_with_for_another() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("update");
    let served = content.clone();
    let server = Server::new(move |asked| ranged(&served, asked, "", 97));
    std::fs::write(dir.path().join("update.part"), b"of something else").unwrap();
    std::fs::write(dir.path().join("update.part.of"), format!("{}\n\n", Sha256::of(b"else"))).unwrap();
    fetch(&server.url, &to, Sha256::of(&content), 97).await.unwrap();
    assert_eq!(server.asked.lock().unwrap()[0].offset(), None);
    fetch(&server.url, &to, Sha256::of(&content), 97).await.unwrap();
    assert_eq!(server.count(), 1, "what is there is not fetched again");
}

#[tokio::test]
async fn bytes_that_were_not_announced_are_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("update");
    let server = Server::new(|asked| ranged(&content(), asked, "", 97));
    let wanted = Sha256::of(b"something else");
    assert_eq!(rule(fetch(&server.url, &to, wanted, 97).await), "transfer-wrong-hash");
    assert_eq!(rule(fetch(&server.url, &to, Sha256::of(&content()), 96).await), "transfer-too-large");
    assert!(!to.exists());
    assert_eq!(std::fs::metadata(dir.path().join("update.part")).unwrap().len(), 0);
    let endless = Server::new(|_| {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        [head, vec![b'x'; 300_000]].concat()
    });
    assert_eq!(rule(fetch(&endless.url, &to, wanted, 200_000).await), "transfer-too-large");
}

#[tokio::test]
async fn answers_are_told_apart_by_whether_waiting_helps() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("update");
    for (status, rule_wanted, waits) in [
        ("503 Busy", "transfer-not-now", true),
        ("429 Slow Down", "transfer-not-now", true),
        ("403 Forbidden", "transfer-refused", false),
        ("404 Not Found", "transfer-refused", false),
        ("302 Found", "transfer-redirect", false),
    ] {
        let server = Server::new(move |_| head(status, "location: http://127.0.0.1:1/\r\n", 0));
        let error = fetch(&server.url, &to, Sha256::of(b""), 9).await.unwrap_err();
        assert_eq!(told(&error), rule_wanted, "{error}");
        assert!(error.reason().contains(&status[..3]), "{error}");
        assert_eq!(matches!(error, TransferError::Later { .. }), waits, "{error}");
        assert_eq!(server.count(), 1);
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{closed}/?X-Amz-Signature=secret");
    assert_eq!(rule(fetch(&nowhere, &to, Sha256::of(b""), 9).await), "transfer-unreachable");
}

#[tokio::test]
async fn nothing_is_asked_without_encryption_beyond_this_machine() {
    let transfer = Transfer::new(None).unwrap();
    for url in
        ["http://updates.example/file?secret", "ftp://updates.example/secret", "secret", "file:///etc/secret"]
    {
        let error = transfer.fetch_small(url, Sha256::of(b""), 9).await.unwrap_err();
        assert!(matches!(error, TransferError::Never { rule: "transfer-address", .. }), "{error:?}");
        told(&error);
        let put = transfer.put(url, bytes::Bytes::new(), "text/plain", Sha256::of(b"")).await;
        assert_eq!(rule(put), "transfer-address");
    }
}

#[tokio::test]
async fn a_secret_comes_whole_or_not_at_all() {
    let server = Server::new(|asked| ranged(b"s3cret", asked, "", 6));
    let transfer = Transfer::new(None).unwrap();
    let fetched = transfer.fetch_small(&server.url, Sha256::of(b"s3cret"), 6).await.unwrap();
    assert_eq!(fetched, b"s3cret");
    let error = transfer.fetch_small(&server.url, Sha256::of(b"other"), 6).await.unwrap_err();
    assert_eq!(told(&error), "transfer-wrong-hash");
    let error = transfer.fetch_small(&server.url, Sha256::of(b"s3cret"), 5).await.unwrap_err();
    assert_eq!(told(&error), "transfer-too-large");
    let cut = Server::new(|asked| ranged(b"s3cret", asked, "", 3));
    let error = transfer.fetch_small(&cut.url, Sha256::of(b"s3cret"), 6).await.unwrap_err();
    assert_eq!(told(&error), "transfer-interrupted");
}

#[tokio::test]
async fn what_is_sent_carries_its_checksum_only_where_the_address_signs_it() {
    let server = Server::new(|_| head("201 Created", "", 0));
    let transfer = Transfer::new(None).unwrap();
    let (body, hash) = (bytes::Bytes::from_static(b"bundle"), Sha256::of(b"bundle"));
    let signing = format!("{}&X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-checksum-sha256", server.url);
    for url in [&server.url, &signing] {
        transfer.put(url, body.clone(), "application/gzip", hash).await.unwrap();
    }
    let asked = server.asked.lock().unwrap();
    let (plain, signed) = (&asked[0], &asked[1]);
    assert!(plain.line.starts_with("PUT /file?X-Amz-Signature=secret HTTP/1.1"), "{}", plain.line);
    assert_eq!((plain.header("content-type"), &plain.body[..]), (Some("application/gzip"), &b"bundle"[..]));
    assert_eq!(plain.header("transfer-encoding"), None, "S3 takes no chunks");
    assert_eq!(plain.header("x-amz-checksum-sha256"), None);
    assert_eq!(signed.header("x-amz-checksum-sha256"), Some("Hm7WXXfWNk7q7Vp0W6XEmFritwDdhdfPfwJ73ylKM/w="));
}

/// Ends with the test.
struct Openssl(Child);

impl Drop for Openssl {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A certificate of its own for this machine's address, in `cert.pem` and `key.pem`; false without openssl.
fn certify(dir: &Path) -> bool {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=station", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .output();
    made.is_ok_and(|made| made.status.success())
}

/// A server that says only `answer`, over TLS.
fn encrypted(dir: &Path, answer: &[u8]) -> (Openssl, String) {
    std::fs::write(dir.join("secret"), answer).expect("a working machine");
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem", "-HTTP"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a working machine");
    let told = BufReader::new(server.stdout.take().expect("a working machine")).lines();
    let accepts = told.map_while(Result::ok).find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
    let url = format!("https://{}/secret", accepts.expect("openssl says where it listens"));
    (Openssl(server), url)
}

#[tokio::test]
async fn a_certificate_is_believed_if_its_root_is_trusted_and_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    if !certify(dir.path()) {
        assert!(std::env::var("CI").is_err(), "openssl is needed");
        println!("SKIP a_certificate_is_believed: no openssl");
        return;
    }
    let answer = [head("200 OK", "", 6), b"s3cret".to_vec()].concat();
    let (_server, url) = encrypted(dir.path(), &answer);
    let error = Transfer::new(None).unwrap().fetch_small(&url, Sha256::of(b"s3cret"), 6).await.unwrap_err();
    assert_eq!(told(&error), "transfer-unreachable", "{error}");
    let trusting = Transfer::new(Some(&dir.path().join("cert.pem"))).unwrap();
    assert_eq!(trusting.fetch_small(&url, Sha256::of(b"s3cret"), 6).await.unwrap(), b"s3cret");
}

#[test]
fn trust_roots_that_cannot_be_read_are_told_with_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    for content in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, content).unwrap();
        let error = Transfer::new(Some(&file)).err().unwrap();
        assert_eq!(error.rule(), "transfer-trust-root", "{content:?}");
        assert!(error.reason().contains("roots.pem"), "{error}");
    }
    assert_eq!(Transfer::new(Some(&dir.path().join("none"))).err().unwrap().rule(), "transfer-trust-root");
}
