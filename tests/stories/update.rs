//! Updates of the system with the real program, a stand-in for RAUC's interface, and a bootloader that counts.

use std::ffi::OsString;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage_tests::rauc::Rauc;
use turnstage_tests::service::Service;
use turnstage_tests::{quick_rig, turnstage, write_recipe};

/// A station that updates at any hour.
const ANY_HOUR: &str = "[update]\nwindow = \"\"\nprove_s = 10.0\n";

async fn station(rauc: &Rauc, config: &str) -> Service {
    Service::start(config, &[("DBUS_SYSTEM_BUS_ADDRESS", OsString::from(rauc.address()))]).await
}

fn request(rauc: &Rauc, version: &str) -> Value {
    let (url, sha256) = rauc.bundle(version, true);
    json!({ "id": "c-1", "url": url, "sha256": sha256, "version": version })
}

async fn install(service: &Service, request: Value) {
    service.post("/api/v1/update/install", request).await.unwrap_or_else(|problem| panic!("{problem}"));
}

/// Waits until the update is in a phase; the phase.
async fn until(service: &Service, phase: &str) -> Value {
    let view = service.until_at("/api/v1/update", phase, |view| view["phase"]["is"] == phase).await;
    view["phase"].clone()
}

fn rule(answer: Result<Value, Value>) -> String {
    let problem = answer.expect_err("refused");
    problem["type"].as_str().expect("a rule").rsplit(':').next().expect("a rule").to_owned()
}

/// Kinds of the events about updates, each by the one who asked.
async fn told(service: &Service) -> Vec<String> {
    let events = service.get("/api/v1/events?after=0&limit=500").await;
    let events = events.as_array().expect("events").iter();
    let updates = events.filter(|event| event["kind"].as_str().expect("a kind").starts_with("update."));
    updates
        .map(|event| {
            assert_eq!(
                (&event["actor"], &event["data"]["command"]),
                (&json!("panel:local"), &json!("c-1")),
                "{event}"
            );
            event["kind"].as_str().expect("a kind").to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_fetched_installed_booted_and_proven_and_no_session_begins_meanwhile_kill() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let mut service = station(&rauc, &quick_rig(ANY_HOUR)).await;
    let before = service.get("/api/v1/update").await;
    assert_eq!(before["phase"]["is"], "idle");
    rauc.hold_at(Some(40));
    install(&service, request(&rauc, "2")).await;
    service.until_at("/api/v1/update", "at 40 %", |view| view["phase"]["percent"] == 40).await;
    let start = service.ask("start", json!({ "item": "item-1" })).await;
    assert_eq!(rule(start), "update-underway");
    let status = service.status().await;
    assert_eq!(
        (&status["situation"]["is"], &status["kind"]),
        (&json!("updating"), &json!("busy")),
        "{status:#}"
    );
    assert_eq!(rule(service.post("/api/v1/update/cancel", json!({})).await), "update-underway");
    let reboot = service.post("/api/v1/update/reboot", json!({ "reason": "test" })).await;
    assert_eq!(rule(reboot), "update-underway");
    // The same request again has no second effect, another one is refused.
    install(&service, request(&rauc, "2")).await;
    let other =
        json!({ "id": "c-2", "url": "https://u.example/3", "sha256": "0".repeat(64), "version": "3" });
    assert_eq!(rule(service.post("/api/v1/update/install", other).await), "update-other");
    rauc.hold_at(None);
    rauc.rebooted(1).await;
    assert_eq!((rauc.slots().0, rauc.slots().1[1].good), (1, false));
    service.restart().await;
    until(&service, "good").await;
    let (booted, slots) = rauc.slots();
    assert_eq!((booted, slots[1].version.as_str(), slots[1].good), (1, "2", true));
    assert_eq!(told(&service).await, ["update.asked", "update.fetched", "update.installed", "update.proven"]);
    let data = service.data().display().to_string();
    let ran = turnstage(&["update", "status", "--data-dir", &data]);
    assert!(ran.out.contains("Update 2 works.") && ran.out.contains("rootfs.1"), "{ran:?}");
    assert_eq!(rauc.begun(), 1);
    let left = std::fs::read_dir(service.data().join("updates")).expect("a folder").count();
    assert_eq!(left, 0, "the bundle is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_lost_a_camera_is_left_for_the_one_before_kill() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let config = quick_rig(ANY_HOUR);
    let mut service = station(&rauc, &config).await;
    service.until("ready", |status| status["kind"] == "ready").await;
    install(&service, request(&rauc, "2")).await;
    rauc.rebooted(1).await;
    let lost = config.replace(
        "driver = \"sim\"\nsize = [320, 240]\nlatency_ms = 0.0\ntransfer_ms = 0.0",
        "driver = \"replay\"\nfolder = \"/nowhere\"",
    );
    service.restart_with(&lost).await;
    rauc.rebooted(2).await;
    assert_eq!(rauc.slots().0, 0, "the bootloader went back");
    service.restart_with(&config).await;
    let phase = service
        .until_at("/api/v1/update", "rolled back", |view| view["phase"]["pending"] == false)
        .await["phase"]
        .clone();
    assert!(phase["reasons"][0].as_str().expect("a reason").contains("camera main"), "{phase}");
    let status = service.until("told", |status| status["faults"][0]["rule"] == "update-rolled-back").await;
    assert_eq!(status["kind"], "ready", "it forbids nothing: {status:#}");
    let told = told(&service).await;
    assert_eq!(told[3..], ["update.failed", "update.rolled-back"], "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_system_that_does_not_boot_is_told_as_rolled_back_kill() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let mut service = station(&rauc, &quick_rig(ANY_HOUR)).await;
    install(&service, request(&rauc, "2")).await;
    rauc.rebooted(1).await;
    service.kill();
    rauc.boots_in_vain();
    service.start_again().await;
    let phase = until(&service, "rolled-back").await;
    assert_eq!(phase["reasons"][0], "the bootloader went back to rootfs.0");
    // Nothing is under way any more: the next one may be asked for.
    let again = json!({ "id": "c-2", "url": "file:///nowhere", "sha256": "0".repeat(64), "version": "3" });
    install(&service, again).await;
    assert_eq!(until(&service, "failed").await["rule"], "update-file-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_session_is_waited_for_and_nothing_reboots_under_it() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let recipes = TempDir::new().expect("a folder");
    write_recipe(recipes.path(), "turn2", 2, "");
    let folder = format!("[recipes]\nfolder = \"{}\"\n", recipes.path().display());
    let service = station(&rauc, &quick_rig(&format!("{ANY_HOUR}{folder}"))).await;
    service.start_session("turn2").await;
    service.settled().await;
    install(&service, request(&rauc, "2")).await;
    let waits = |view: &Value| view["phase"]["rule"] == "update-waits-session";
    service.until_at("/api/v1/update", "waiting", waits).await;
    let told = |status: &Value| {
        status["faults"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["rule"] == "update-waits-session"))
    };
    let status = service.until("told", told).await;
    assert_eq!(status["session"]["state"], "review", "it goes on undisturbed");
    for (path, body) in [("rollback", json!({})), ("reboot", json!({ "reason": "test" }))] {
        let refused = service.post(&format!("/api/v1/update/{path}"), body).await;
        assert_eq!(rule(refused), "session-open", "{path}");
    }
    assert_eq!(rauc.begun(), 0);
    service.ask("abort", json!({})).await.expect("it ends");
    rauc.rebooted(1).await;
    assert_eq!(rauc.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_its_hours_an_update_is_fetched_and_waits_until_it_is_cancelled() {
    let Some(rauc) = Rauc::start("update").await else { return };
    // A minute that is long over or far away, whenever this runs; or a clock that nobody set.
    let service =
        station(&rauc, &quick_rig("[update]\nwindow = \"00:00-00:01\"\ntime_zone = \"UTC\"\n")).await;
    install(&service, request(&rauc, "2")).await;
    let waits = |view: &Value| {
        let rule = view["phase"]["rule"].as_str().unwrap_or_default();
        ["update-waits-window", "update-waits-clock"].contains(&rule)
    };
    service.until_at("/api/v1/update", "waiting", waits).await;
    let held = || std::fs::read_dir(service.data().join("updates")).expect("a folder").count();
    assert_eq!((held(), rauc.begun()), (1, 0));
    service.post("/api/v1/update/cancel", json!({})).await.expect("cancelled");
    until(&service, "idle").await;
    assert_eq!(held(), 0);
    assert_eq!(rule(service.post("/api/v1/update/cancel", json!({})).await), "update-idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_killed_while_rauc_writes_installs_nothing_twice_kill() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let mut service = station(&rauc, &quick_rig(ANY_HOUR)).await;
    rauc.hold_at(Some(40));
    install(&service, request(&rauc, "2")).await;
    let at_40 = |view: &Value| view["phase"]["percent"] == 40;
    service.until_at("/api/v1/update", "at 40 %", at_40).await;
    // Once while it is still written, once after it ended unheard.
    service.restart().await;
    service.until_at("/api/v1/update", "at 40 % again", at_40).await;
    assert_eq!(rule(service.ask("start", json!({ "item": "item-1" })).await), "update-underway");
    service.kill();
    rauc.finish().await;
    service.start_again().await;
    rauc.rebooted(1).await;
    assert_eq!(rauc.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_killed_while_it_fetched_goes_on_where_it_was_kill() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let config = quick_rig(ANY_HOUR);
    let mut service = station(&rauc, &config).await;
    let request = request(&rauc, "2");
    service.kill();
    // What a kill leaves in the middle of a fetch.
    let (url, sha256) =
        (request["url"].as_str().expect("a url"), request["sha256"].as_str().expect("a hash"));
    let bytes = std::fs::read(url.trim_start_matches("file://")).expect("a bundle");
    let updates = service.data().join("updates");
    std::fs::create_dir_all(&updates).expect("a folder");
    std::fs::write(updates.join(format!("{sha256}.raucb.part")), &bytes[..7]).expect("a part");
    let mut asked = request.clone();
    asked["actor"] = json!("panel:local");
    asked["command"] = json!("c-1");
    asked["size_bytes"] = json!(bytes.len());
    let kept = json!({ "schema": 1, "phase": { "is": "fetching", "bytes": 7, "of": bytes.len() }, "request": asked });
    std::fs::write(service.data().join("update.json"), kept.to_string()).expect("a state");
    service.start_again().await;
    rauc.rebooted(1).await;
    assert_eq!(rauc.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_rauc_refuses_is_told_in_its_words() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let service = station(&rauc, &quick_rig(ANY_HOUR)).await;
    let (url, sha256) = rauc.bundle("2", false);
    install(&service, json!({ "id": "c-1", "url": url, "sha256": sha256, "version": "2" })).await;
    let failed = until(&service, "failed").await;
    assert_eq!(failed["rule"], "update-bundle");
    assert!(failed["reason"].as_str().expect("words").contains("signature verification failed"), "{failed}");
    assert_eq!(rauc.begun(), 0);

    let (url, sha256) = rauc.bundle("3", true);
    install(&service, json!({ "id": "c-2", "url": url, "sha256": sha256, "version": "4" })).await;
    service
        .until_at("/api/v1/update", "wrong version", |view| view["phase"]["rule"] == "update-version")
        .await;

    rauc.fail_with("Failed writing image: No space left on device");
    install(&service, json!({ "id": "c-3", "url": url, "sha256": sha256, "version": "3" })).await;
    let of_install = |view: &Value| view["phase"]["rule"] == "update-install";
    let view = service.until_at("/api/v1/update", "failed", of_install).await;
    assert_eq!(view["phase"]["reason"], "Failed writing image: No space left on device");
    let status = service.until("ready", |status| status["kind"] == "ready").await;
    assert_eq!(status["faults"][0]["rule"], "update-install", "told, and forbids nothing: {status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rauc_an_update_is_refused_and_nothing_else_is_said() {
    let Some(rauc) = Rauc::start("update").await else { return };
    rauc.leave().await;
    let service = station(&rauc, &quick_rig("")).await;
    let request = request(&rauc, "2");
    assert_eq!(rule(service.post("/api/v1/update/install", request).await), "update-none");
    let status = service.until("ready", |status| status["kind"] == "ready").await;
    assert_eq!(status["faults"], json!([]));
    assert!(!service.log().contains("RAUC"), "{}", service.log());
    let data = service.data().display().to_string();
    let ran = turnstage(&["update", "status", "--data-dir", &data]);
    assert!(ran.out.contains("not updated by RAUC"), "{ran:?}");
    let rollback = turnstage(&["update", "rollback", "--data-dir", &data]);
    assert_eq!(rollback.code, 69, "{rollback:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_technician_goes_back_to_the_other_system_kill() {
    let Some(rauc) = Rauc::start("update").await else { return };
    let mut service = station(&rauc, &quick_rig(ANY_HOUR)).await;
    let data = service.data().display().to_string();
    let ran = turnstage(&["update", "rollback", "--data-dir", &data]);
    assert_eq!(ran.code, 0, "{ran:?}");
    rauc.rebooted(1).await;
    assert_eq!(rauc.slots().0, 1);
    service.restart().await;
    let view =
        service.until_at("/api/v1/update", "rolled back", |view| view["phase"]["pending"] == false).await;
    assert!(
        view["phase"]["reasons"][0].as_str().expect("a reason").contains("went back to rootfs.1"),
        "{view}"
    );
}
