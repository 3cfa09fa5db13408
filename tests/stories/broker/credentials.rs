//! Passwords and certificates: wrong ones are told from a bad network, in words, and noticed when they are put right.

use std::time::Duration;

use tempfile::TempDir;
use turnstage_cloud_sync::mqtt::{Trouble, TroubleKind};
use turnstage_tests::broker::authority::Authority;
use turnstage_tests::broker::{Broker, BrokerTls, Setup};

use super::{Station, message, write};

/// A broker that wants certificates of `authority`, of which number 7 is revoked.
async fn secured(test: &str, authority: &Authority, host: &str) -> Option<Broker> {
    let server = authority.server("server", &[host]);
    let revoked = Some(authority.revoked(&[7]));
    let tls = Some(BrokerTls { clients: authority.file.clone(), server, revoked });
    Broker::start(test, Setup { tls, ..Setup::default() }).await
}

#[track_caller]
fn is_credentials(trouble: &Trouble, rule: &str, word: &str) {
    assert_eq!((trouble.kind, trouble.rule), (TroubleKind::Credentials, rule), "{}", trouble.reason);
    assert!(trouble.reason.contains(word), "{}", trouble.reason);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_corrected_file_is_noticed_at_once() {
    let test = "a_wrong_password_is_told_and_a_corrected_file_is_noticed_at_once";
    let users = vec![("acme.north.station-1".to_owned(), "right".to_owned())];
    let Some(broker) = Broker::start(test, Setup { users, ..Setup::default() }).await else { return };
    let told = broker.client("acme.north.station-1");
    let file = told.password_file.clone().expect("a password file");
    write(&file, "wrong-one");
    let mut station = Station::start(told, None, &[]);
    let (trouble, again_in) = station.is_down().await;
    is_credentials(&trouble, "broker-credentials", "password");
    assert!(!trouble.reason.contains("wrong-one"), "a secret is told: {}", trouble.reason);
    assert!(again_in >= Duration::from_secs(60), "wrong credentials are tried slowly, not in {again_in:?}");
    write(&file, "right\n");
    // Far sooner than `again_in`.
    station.is_up().await;
    station.end().await;
}

#[tokio::test]
async fn a_password_file_that_is_missing_is_named() {
    let test = "a_password_file_that_is_missing_is_named";
    let users = vec![("station".to_owned(), "right".to_owned())];
    let Some(broker) = Broker::start(test, Setup { users, ..Setup::default() }).await else { return };
    let told = broker.client("station");
    let file = told.password_file.clone().expect("a password file");
    std::fs::remove_file(&file).expect("it goes");
    let mut station = Station::start(told, None, &[]);
    let (trouble, _) = station.is_down().await;
    is_credentials(&trouble, "broker-file", file.to_str().expect("text"));
    assert_eq!(broker.relay().accepted(), 0, "nothing was tried");
    write(&file, "right");
    station.is_up().await;
    station.end().await;
}

#[tokio::test]
async fn a_client_certificate_opens_a_secure_connection() {
    let test = "a_client_certificate_opens_a_secure_connection";
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new(folder.path(), "fleet");
    let Some(broker) = secured(test, &authority, "localhost").await else { return };
    let own = authority.client("station", 3);
    let station = Station::up(broker.secure_client("station", &authority, Some(&own)), None, &[]).await;
    station.post.deliver(message("event", "x")).await.expect("taken");
    station.end().await;
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_expired_or_revoked_is_told_apart_from_a_bad_network() {
    let test = "a_client_certificate_that_is_missing_expired_or_revoked_is_told_apart_from_a_bad_network";
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new(folder.path(), "fleet");
    let Some(broker) = secured(test, &authority, "localhost").await else { return };
    let expired = authority.expired_client("expired");
    let revoked = authority.client("revoked", 7);
    for (own, word) in
        [(None, "certificate"), (Some(&expired), "certificate"), (Some(&revoked), "certificate")]
    {
        let mut station = Station::start(broker.secure_client("station", &authority, own), None, &[]);
        let (trouble, again_in) = station.is_down().await;
        println!("{}", trouble.reason);
        is_credentials(&trouble, "broker-credentials", word);
        assert!(again_in >= Duration::from_secs(60), "{again_in:?}");
        station.end().await;
    }
}

#[tokio::test]
async fn a_renewed_client_certificate_is_used_without_a_restart() {
    let test = "a_renewed_client_certificate_is_used_without_a_restart";
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new(folder.path(), "fleet");
    let Some(broker) = secured(test, &authority, "localhost").await else { return };
    let own = authority.expired_client("station");
    let mut station = Station::start(broker.secure_client("station", &authority, Some(&own)), None, &[]);
    station.is_down().await;
    // Into the same files.
    authority.client("station", 4);
    station.is_up().await;
    station.end().await;
}

#[tokio::test]
async fn a_broker_with_a_certificate_of_somebody_else_is_not_trusted() {
    let test = "a_broker_with_a_certificate_of_somebody_else_is_not_trusted";
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new(folder.path(), "fleet");
    let other = Authority::new(folder.path(), "other");
    let Some(broker) = secured(test, &authority, "localhost").await else { return };
    let own = authority.client("station", 5);
    let mut station = Station::start(broker.secure_client("station", &other, Some(&own)), None, &[]);
    let (trouble, _) = station.is_down().await;
    is_credentials(&trouble, "broker-tls", "authority");
    station.end().await;
}

#[tokio::test]
async fn a_broker_with_a_certificate_for_another_name_is_not_trusted() {
    let test = "a_broker_with_a_certificate_for_another_name_is_not_trusted";
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new(folder.path(), "fleet");
    let Some(broker) = secured(test, &authority, "broker.example").await else { return };
    let own = authority.client("station", 5);
    let mut station = Station::start(broker.secure_client("station", &authority, Some(&own)), None, &[]);
    let (trouble, _) = station.is_down().await;
    is_credentials(&trouble, "broker-tls", "another name");
    station.end().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_a_matter_of_the_network() {
    let test = "a_broker_that_is_not_there_is_a_matter_of_the_network";
    let Some(mut broker) = Broker::start(test, Setup::default()).await else { return };
    let mut told = broker.client("station");
    told.port = broker.port();
    broker.stop();
    let mut station = Station::start(told, None, &[]);
    let (trouble, again_in) = station.is_down().await;
    assert_eq!((trouble.kind, trouble.rule), (TroubleKind::Network, "network-unreachable"));
    assert!(again_in <= Duration::from_secs(1), "{again_in:?}");
    broker.restart();
    station.is_up().await;
    station.end().await;
}
