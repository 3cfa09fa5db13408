//! A secret is exchanged from afar: fetched, held against this station, kept for the service alone, and taken back.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tempfile::TempDir;
use turnstage::command::Actor;
use turnstage::secrets::{self, SecretName};
use turnstage_cloud_sync::{Sha256, Transfer};
use turnstage_tests::{Bench, quick_rig};

/// A server that gives one answer, whatever it is asked; its address.
fn serve(content: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/secret?sig=QUERYMARKER", listener.local_addr().expect("its address"));
    let answer =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{content}", content.len());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let head = BufReader::new(&stream).lines();
            head.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    url
}

fn token(org: &str, sub: &str) -> String {
    let claims = json!({
        "sub": sub, "org_id": org, "site_ids": ["my-site"], "role": "device", "iat": 0, "exp": 9_999_999_999_i64,
    });
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2ln", part("{}".to_owned()), part(claims.to_string()))
}

#[track_caller]
fn holds(file: &Path, wanted: &str) {
    assert_eq!(std::fs::read_to_string(file).expect("a secret"), wanted);
    assert_eq!(std::fs::metadata(file).expect("a file").mode() & 0o777, 0o600, "{}", file.display());
}

#[tokio::test]
async fn a_secret_is_exchanged_if_it_fits_and_taken_back_and_is_never_told() {
    let more = "[station]\norg = \"my-org\"\nsite = \"my-site\"\nname = \"booth\"\n\
                [fleet]\npassword_file = \"broker-password\"\n\
                [destinations.cloud]\nbackend = \"imaging360\"\nurl = \"https://127.0.0.1:1/v1\"\n\
                token_file = \"device-token\"\n";
    let data = TempDir::new().expect("a folder");
    let (password, device) = (data.path().join("broker-password"), data.path().join("device-token"));
    std::fs::write(&password, "old password\n").expect("a password");
    let bench = Bench::in_memory(&quick_rig(more), data);
    let window = &bench.running.window;
    let (transfer, actor) = (Transfer::new(None).expect("a client"), Actor("fleet:head".to_owned()));
    let rotate = async |secret: &SecretName, content: &str| {
        let what = (serve(content), Sha256::of(content.as_bytes()));
        secrets::rotate(window, &transfer, &actor, secret, (&what.0, what.1)).await
    };
    let broker = SecretName::BrokerPassword;
    assert!(rotate(&broker, "PASSWORDMARKER\n").await.expect("exchanged").can_go_back);
    holds(&password, "PASSWORDMARKER");
    holds(&password.with_extension("previous"), "old password\n");
    for unfit in ["", "two\nlines", &"x".repeat(1025)] {
        assert_eq!(rotate(&broker, unfit).await.unwrap_err().rule, "secret-unfit");
    }
    holds(&password, "PASSWORDMARKER");
    secrets::go_back(window, &actor, &broker).await.expect("the one before");
    holds(&password, "old password\n");
    secrets::go_back(window, &actor, &broker).await.expect("and back again");
    holds(&password, "PASSWORDMARKER");

    // A token must be this station's; one that is not is told with why.
    let cloud = SecretName::DestinationToken("cloud".to_owned());
    assert_eq!(secrets::go_back(window, &actor, &cloud).await.unwrap_err().rule, "secret-none-before");
    assert!(!rotate(&cloud, &token("my-org", "one")).await.expect("the first").can_go_back);
    let foreign = rotate(&cloud, &token("other", "two")).await.unwrap_err();
    assert!(foreign.rule == "secret-unfit" && foreign.reason.contains("\"other\""), "{foreign}");
    assert_eq!(rotate(&cloud, "nonsense").await.unwrap_err().rule, "secret-unfit");
    holds(&device, &token("my-org", "one"));
    let away = secrets::renew(window, &actor, &cloud).await.unwrap_err();
    assert!(away.reason.starts_with("The token is not renewed"), "{away}");
    holds(&device, &token("my-org", "one"));

    let (url, wrong) = (serve("PASSWORDMARKER"), Sha256::of(b"else"));
    let refused = secrets::rotate(window, &transfer, &actor, &broker, (&url, wrong)).await.unwrap_err();
    assert_eq!(refused.rule, "transfer-wrong-hash");
    for (name, rule) in [("local", "secret-unknown"), ("nowhere", "secret-unknown")] {
        let secret = SecretName::DestinationToken(name.to_owned());
        assert_eq!(secrets::renew(window, &actor, &secret).await.unwrap_err().rule, rule);
    }
    assert_eq!(secrets::renew(window, &actor, &broker).await.unwrap_err().rule, "secret-not-renewed");

    let events = bench.running.spool.events(0, 1_000).await.expect("events");
    let log = serde_json::to_string(&events).expect("JSON");
    assert_eq!(log.matches("station.secret-rotated").count(), 2, "{log}");
    assert_eq!(log.matches("station.secret-restored").count(), 2, "{log}");
    assert!(log.contains("destination-token:cloud"), "{log}");
    for marker in ["PASSWORDMARKER", "QUERYMARKER", "old password", &token("my-org", "one")] {
        assert!(!log.contains(marker) && !format!("{refused:?} {foreign:?} {away:?}").contains(marker));
    }
    bench.end().await;
}

#[test]
fn a_secret_is_named_by_what_it_is_for() {
    for name in ["broker-password", "destination-token:cloud"] {
        assert_eq!(name.parse::<SecretName>().expect("a name").to_string(), name);
    }
    for name in ["", "password", "destination-token:", "../etc/shadow"] {
        assert!(name.parse::<SecretName>().is_err(), "{name}");
    }
}
