//! The interface as machines, browsers and strangers meet it.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage::access::accounts::Accounts;
use turnstage::access::{ENDPOINTS, Role};
use turnstage::session::SessionState;
use turnstage_tests::web::Client;
use turnstage_tests::{Bench, quick_rig, write_recipe};

const PASSWORD: &str = "correct horse battery";

fn bench(more: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, "retakes = 0");
    Bench::in_memory(&quick_rig(more), data)
}

fn people(bench: &Bench, all: &[(&str, Role)]) {
    let accounts = Accounts::of(bench.data.path());
    all.iter().for_each(|(name, role)| accounts.set(name, *role, PASSWORD).expect("an account"));
}

fn start(item: &str) -> Value {
    json!({ "item": item, "recipe": "turn12" })
}

#[test]
fn every_endpoint_is_documented_and_has_its_line_of_access() {
    let document = serde_json::to_value(turnstage::api::document()).expect("a document");
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::from([("GET".to_owned(), "/api/openapi.json".to_owned())]);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        documented.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    let page = |path: &str| !path.starts_with("/api") && !["/healthz", "/readyz", "/metrics"].contains(&path);
    let listed: BTreeSet<(String, String)> = ENDPOINTS
        .iter()
        .filter(|endpoint| !page(endpoint.path))
        .map(|endpoint| (endpoint.method.to_owned(), endpoint.path.to_owned()))
        .collect();
    assert_eq!(documented, listed);
}

#[tokio::test(start_paused = true)]
async fn a_program_starts_a_session_follows_it_and_releases_it() {
    let bench = bench("");
    let client = bench.client();
    let answer = client.post("/api/v1/commands/start", start("WBA8E9C56GK646123")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let id = answer.json()["session"].as_str().expect("an id").to_owned();
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);

    let status = client.get("/api/v1/status").await.json();
    assert_eq!(status["situation"], json!({ "is": "complete", "frames": 12 }));
    assert_eq!((&status["sentence"], &status["kind"]), (&json!("All 12 frames passed"), &json!("ready")));
    let session = client.get(&format!("/api/v1/sessions/{id}")).await.json();
    let places = session["places"].as_array().expect("places");
    assert_eq!(places.len(), 12);
    assert_eq!((&places[4]["angle_deg"], &places[4]["state"]), (&json!(120.0), &json!("passed")));
    let thumbnail = format!(
        "/api/v1/frames/{}/thumbnail?side=150&v={}",
        places[4]["sequence"],
        &places[4]["sha256"].as_str().expect("a hash")[..16]
    );
    let thumbnail = client.get(&thumbnail).await;
    assert!(thumbnail.bytes.starts_with(&[0xFF, 0xD8]), "a JPEG");
    assert!(thumbnail.headers["cache-control"].to_str().expect("text").contains("immutable"));

    let released = client.post("/api/v1/commands/release", json!({ "accept": null })).await;
    assert_eq!(released.json()["count"], 12);
    let list = client.get("/api/v1/sessions?item=gk646").await.json();
    assert_eq!((list.as_array().map(Vec::len), &list[0]["session"]), (Some(1), &json!(id)));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_command_id_is_obeyed_once() {
    let bench = bench("");
    let client = bench.client();
    let command = json!({ "id": "one", "item": "a", "recipe": "turn12" });
    let first = client.post("/api/v1/commands/start", command.clone()).await.json();
    let again = client.post("/api/v1/commands/start", command).await.json();
    assert_eq!(first, again);
    let id = first["session"].as_str().expect("an id");
    bench.settled(id).await;
    let other = client.post("/api/v1/commands/start", start("b")).await;
    assert_eq!((other.status, other.rule().as_str()), (StatusCode::CONFLICT, "session-open"));
    assert_eq!(client.get("/api/v1/sessions").await.json().as_array().map(Vec::len), Some(1));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_site_cannot_command_the_station() {
    let bench = bench("");
    let client = bench.client();
    let foreign = client.clone().with("origin", "https://evil.example");
    let answer = foreign.post("/api/v1/commands/start", start("a")).await;
    assert_eq!((answer.status, answer.rule().as_str()), (StatusCode::FORBIDDEN, "origin-not-allowed"));
    let hidden = client.clone().with("sec-fetch-site", "cross-site");
    assert_eq!(hidden.post("/api/v1/commands/stop", json!({})).await.rule(), "origin-not-allowed");
    let form = client.clone().with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.post("/api/v1/commands/stop", json!({})).await.rule(), "content-type-not-json");
    let rebound = client.clone().with("host", "evil.example:8360");
    let answer = rebound.get("/api/v1/status").await;
    assert_eq!((answer.status.as_u16(), answer.rule().as_str()), (421, "host-not-allowed"));
    let own = client.clone().with("origin", "http://127.0.0.1:8360").with("sec-fetch-site", "same-origin");
    assert_eq!(own.post("/api/v1/commands/stop", json!({})).await.status, StatusCode::OK);

    // A stranger who goes on is refused, but does not fill the disk.
    for _ in 0..20 {
        foreign.post("/api/v1/commands/start", start("a")).await;
    }
    let events = client.get("/api/v1/events").await.json();
    let refused = |event: &&Value| event["kind"] == "access.refused";
    assert_eq!(
        events.as_array().expect("events").iter().filter(refused).count(),
        10,
        "refused acts are on record, some a minute"
    );
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_by_a_get() {
    let bench = bench("");
    let client = bench.client();
    let reads = |path: &str| ENDPOINTS.iter().any(|one| one.method == "GET" && one.path == path);
    let acts = ENDPOINTS.iter().filter(|endpoint| endpoint.method == "POST" && !reads(endpoint.path));
    for endpoint in acts {
        let answer = client.get(endpoint.path).await;
        assert_eq!(answer.rule(), "method-not-allowed", "{}", endpoint.path);
    }
    assert_eq!(client.get("/api/v1/nothing").await.rule(), "not-found");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn with_accounts_nobody_is_let_in_without_one() {
    let bench = bench("");
    people(&bench, &[("ana", Role::Operator), ("rea", Role::Reviewer), ("tom", Role::Technician)]);
    let client = bench.client();
    let answer = client.get("/api/v1/status").await;
    assert_eq!((answer.status, answer.rule().as_str()), (StatusCode::UNAUTHORIZED, "sign-in-required"));
    let wrong = client.post("/api/v1/sign-in", json!({ "name": "ana", "password": "wrong" })).await;
    assert_eq!(wrong.rule(), "name-or-password");
    let nobody = client.post("/api/v1/sign-in", json!({ "name": "nobody", "password": "wrong" })).await;
    assert_eq!(
        (nobody.status, nobody.json()["detail"].clone()),
        (wrong.status, wrong.json()["detail"].clone())
    );

    let ana = client.clone().signed_in("ana", PASSWORD).await;
    let rea = client.clone().signed_in("rea", PASSWORD).await;
    let tom = client.clone().signed_in("tom", PASSWORD).await;
    assert_eq!(rea.post("/api/v1/commands/start", start("a")).await.rule(), "role-not-allowed");
    let id = ana.post("/api/v1/commands/start", start("a")).await.json()["session"].clone();
    let id = id.as_str().expect("an id").to_owned();
    bench.settled(&id).await;
    let accept = json!({ "accept": { "name": "ana", "reason": "fine" } });
    assert_eq!(ana.post("/api/v1/commands/release", accept).await.rule(), "role-not-allowed");
    assert_eq!(
        ana.post("/api/v1/commands/requeue", json!({ "session": null })).await.rule(),
        "role-not-allowed"
    );
    assert_eq!(ana.post("/api/v1/commands/release", json!({ "accept": null })).await.status, StatusCode::OK);

    // Another operator's sessions are not theirs to see, nor to open, nor to read of; a technician sees all.
    people(&bench, &[("bob", Role::Operator)]);
    let bob = client.clone().signed_in("bob", PASSWORD).await;
    assert_eq!(bob.get("/api/v1/sessions").await.json(), json!([]));
    assert_eq!(bob.get(&format!("/api/v1/sessions/{id}")).await.rule(), "role-not-allowed");
    assert_eq!(bob.post("/api/v1/commands/open", json!({ "session": id })).await.rule(), "role-not-allowed");
    let told = String::from_utf8(bob.get("/api/v1/events?limit=1000").await.bytes.to_vec()).expect("text");
    assert!(!told.contains(&id) && !told.contains("ana") && told.contains("operator:bob"), "{told}");
    let tom_again = client.clone().signed_in("tom", PASSWORD).await;
    assert_eq!(tom_again.get("/api/v1/sessions").await.json().as_array().map(Vec::len), Some(1));
    let records = bench.records(&id).await;
    assert_eq!(records[0].facts.actor, "operator:ana", "the name behind every picture");

    assert_eq!(tom.post("/api/v1/sign-out", json!({ "id": "x" })).await.status, StatusCode::NO_CONTENT);
    assert_eq!(tom.get("/api/v1/status").await.rule(), "sign-in-required");
    // Whoever was let in and sees the table move can stop it still, and nothing else.
    assert_eq!(tom.post("/api/v1/commands/stop", json!({})).await.status, StatusCode::OK);
    assert_eq!(tom.post("/api/v1/commands/pause", json!({})).await.rule(), "sign-in-required");
    assert_eq!(client.post("/api/v1/commands/stop", json!({})).await.rule(), "sign-in-required");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_accounts_only_this_machine_is_let_in() {
    let bench = bench("");
    let client = bench.client().with("host", "192.0.2.7:8360");
    assert_eq!(client.clone().get("/api/v1/status").await.status, StatusCode::OK);
    assert_eq!(client.from([192, 0, 2, 9]).get("/api/v1/status").await.rule(), "sign-in-required");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_organisation_s_sessions_are_neither_listed_nor_shown_nor_told_of() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, "");
    let config = quick_rig("[station]\norg = \"a\"\nsite = \"s\"\nname = \"n\"\n");
    let clock = turnstage::clock::SystemClock::new();
    let spool = turnstage_cloud_sync::Spool::in_memory(std::sync::Arc::new(clock.clone()));
    let parsed = turnstage_tests::read(&config, data.path());
    let first = Bench::on(spool, clock.clone(), Vec::new(), parsed, data);
    let id = first.start("turn12").await;
    first.settled(&id).await;
    let sequence = first.records(&id).await[0].key.sequence;
    let Bench { running, data } = first;
    let spool = running.end().await;

    let moved = turnstage_tests::read(&config.replace("org = \"a\"", "org = \"b\""), data.path());
    let second = Bench::on(spool, clock, Vec::new(), moved, data);
    let client = second.client();
    assert_eq!(client.get("/api/v1/sessions").await.json(), json!([]));
    assert_eq!(client.get(&format!("/api/v1/sessions/{id}")).await.rule(), "session-unknown");
    assert_eq!(
        client.get(&format!("/api/v1/frames/{sequence}/thumbnail?side=150")).await.rule(),
        "picture-unknown"
    );
    let events = client.get("/api/v1/events").await;
    let told = String::from_utf8_lossy(&events.bytes);
    for former in [id.as_str(), "item-1", "operator:test"] {
        assert!(!told.contains(former), "{former} is told of: {told}");
    }
    second.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_comes_back_misses_no_event() {
    let bench = bench("");
    let client = bench.client();
    let id = bench.start("turn12").await;
    bench.settled(&id).await;
    let all = client.get("/api/v1/events?limit=1000").await.json();
    let all = all.as_array().expect("events").clone();
    let middle = all[all.len() / 2]["sequence"].as_u64().expect("a sequence");

    let request = axum::http::Request::get("/api/v1/stream")
        .header("host", "127.0.0.1")
        .header("last-event-id", middle.to_string())
        .body(axum::body::Body::empty())
        .expect("a request");
    let response = client.raw(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let (mut text, wanted) = (String::new(), all.len() - all.len() / 2 - 1);
    while text.matches("\nid: ").count() + usize::from(text.starts_with("id: ")) < wanted {
        let chunk = stream.next().await.expect("more").expect("a chunk");
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    assert!(text.contains(&format!("id: {}", middle + 1)) && !text.contains(&format!("id: {middle}\n")));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn probes_and_metrics_tell_no_item() {
    let bench = bench("");
    let client = bench.client();
    let id = client.post("/api/v1/commands/start", start("SECRETITEM")).await.json()["session"].clone();
    bench.settled(id.as_str().expect("an id")).await;
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    let text = String::from_utf8(client.get("/metrics").await.bytes.to_vec()).expect("text");
    assert!(text.contains("turnstage_queue_pictures{state=\"captured\"} 12"), "{text}");
    assert!(text.contains("turnstage_http_requests_total{method=\"POST\",endpoint=\"/api/v1/commands/start\",status=\"200\"} 1"), "{text}");
    assert!(text.ends_with("# EOF\n") && !text.contains("SECRETITEM"), "{text}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_bytes_come_the_answer_is_a_problem_and_the_station_lives() {
    let bench = bench("");
    let client = bench.client();
    let mut rng = fastrand::Rng::with_seed(8360);
    let good = json!({ "item": "a", "recipe": "turn12", "which": "flagged", "accept": { "name": "n", "reason": "r" }, "session": "x" });
    let good = good.to_string().into_bytes();
    // An empty object is what these take.
    let plain = |path: &str| {
        ["stop", "pause", "abort", "sign-out", "turn", "plate", "arm", "cancel", "mark-good", "rollback"]
            .iter()
            .any(|name| path.ends_with(name))
    };
    for endpoint in ENDPOINTS.iter().filter(|e| e.method == "POST" && !plain(e.path)) {
        for _ in 0..40 {
            let mut bytes = good.clone();
            for _ in 0..rng.usize(1..6) {
                let at = rng.usize(..bytes.len());
                match rng.u8(..3) {
                    0 => bytes[at] = rng.u8(..),
                    1 => drop(bytes.drain(at..)),
                    _ => bytes.insert(at, rng.u8(..)),
                }
                bytes.push(b'}');
            }
            let answer = client.send(Method::POST, endpoint.path, bytes).await;
            assert!(answer.status.is_client_error(), "{} {answer:?}", endpoint.path);
            answer.rule();
        }
    }
    let long = client.send(Method::POST, "/api/v1/commands/start", vec![b' '; 100_000]).await;
    assert_eq!((long.status, long.rule().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
    for path in [
        "/api/v1/sessions/%ff%00",
        "/api/v1/sessions?limit=-1",
        "/api/v1/frames/x/thumbnail?side=150",
        "/api/v1/frames/1/thumbnail?side=151",
    ] {
        assert!(client.get(path).await.status.is_client_error(), "{path}");
    }
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    bench.end().await;
}

/// A station whose table must be armed: a person turns it.
async fn by_hand(panel: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, "");
    let config =
        quick_rig("").replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:0\"\n{panel}"));
    let (before, rest) = config.split_once("[rig.turntable]").expect("a table");
    let after = rest.split_once("[rig.cameras.main]").expect("a camera").1;
    let manual = "[rig.turntable]\ndriver = \"manual\"\n[rig.cameras.main]";
    let bench = Bench::in_memory(&format!("{before}{manual}{after}"), data);
    bench.running.status.clone().wait_for(|status| status.sentence == "Ready").await.expect("a station");
    bench
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_halted_goes_on_by_whoever_is_at_the_rig_and_by_nobody_elsewhere() {
    let bench = by_hand("").await;
    people(&bench, &[("Ana", Role::Technician)]);
    let sign_in = async |client: Client| client.signed_in("Ana", PASSWORD).await;
    let display = sign_in(bench.client()).await;
    let tablet = sign_in(bench.client().from([10, 0, 0, 7])).await;
    let office = sign_in(bench.client().from([10, 0, 0, 7])).await;
    let command = async |client: &Client, name: &str, body: Value| {
        let answer = client.post(&format!("/api/v1/commands/{name}"), body).await;
        if answer.status == StatusCode::OK { Ok(answer.json()) } else { Err(answer.rule()) }
    };
    let rule = |rule: &str| Err(rule.to_owned());
    command(&display, "arm", json!({})).await.expect("armed");
    let begun = command(&office, "start", start("4711")).await.expect("armed at the rig");
    let id = begun["session"].as_str().expect("an id").to_owned();
    let halt = async || {
        command(&office, "stop", json!({})).await.expect("anybody may");
        assert_eq!(bench.settled(&id).await.state, SessionState::Paused);
    };
    halt().await;
    assert_eq!(command(&office, "resume", json!({})).await, rule("motion-not-armed"));

    // Somebody at the rig arms it. That lets them go on, and nobody else.
    command(&display, "arm", json!({})).await.expect("armed");
    let anew = json!({ "which": { "frames": [1] } });
    for who in [&tablet, &office] {
        assert_eq!(command(who, "resume", json!({})).await, rule("motion-not-at-rig"));
        assert_eq!(command(who, "retake", anew.clone()).await, rule("motion-not-at-rig"));
        let page = who.get("/").await.text();
        assert!(page.contains("sheet=arm") && !page.contains("data-act=\"resume\""), "{page}");
    }
    let code = bench.running.commands.arming().code();
    assert!(display.get("/").await.text().contains(&code), "whoever is there can read it");
    command(&tablet, "arm", json!({ "code": code })).await.expect("it was read there");
    assert!(tablet.get("/").await.text().contains("data-act=\"resume\""));
    assert_eq!(command(&office, "resume", json!({})).await, rule("motion-not-at-rig"), "another sign-in");
    command(&tablet, "resume", json!({})).await.expect("this one was there");

    // The next halt ends what it has proven.
    halt().await;
    command(&display, "arm", json!({})).await.expect("armed");
    assert_eq!(command(&tablet, "resume", json!({})).await, rule("motion-not-at-rig"));
    command(&display, "resume", json!({})).await.expect("at the rig");
    bench.end().await;
}

/// A tunnel that ends on the station, or a shell there, looks like the rig's own display.
#[tokio::test(start_paused = true)]
async fn a_station_without_a_display_of_its_own_is_armed_by_nobody_on_this_machine() {
    let arm = "/api/v1/commands/arm";

    let with = by_hand("").await;
    let display = with.client();
    let page = display.get("/").await.text();
    let code = with.running.commands.arming().code();
    assert!(page.contains(&code), "the rig's own display shows it");
    assert_eq!(display.post(arm, json!({ "code": null })).await.status, StatusCode::OK);
    let proxied = with.client().with("x-forwarded-for", "10.0.0.7");
    assert_eq!(proxied.post(arm, json!({ "code": null })).await.rule(), "arm-code-missing");
    with.end().await;

    let without = by_hand("own_display = false").await;
    let tunnel = without.client();
    let code = without.running.commands.arming().code();
    assert!(!tunnel.get("/").await.text().contains(&code), "it is shown nowhere");
    assert_eq!(tunnel.post(arm, json!({ "code": null })).await.rule(), "arm-no-display");
    assert_eq!(tunnel.post(arm, json!({ "code": code })).await.rule(), "arm-no-display");
    without.end().await;
}
