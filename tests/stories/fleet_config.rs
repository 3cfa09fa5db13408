//! A manager's configuration on a station that runs: it waits for the open session, restarts the service, and goes back by
//! itself where the link to the broker does not come back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage::clock::SystemClock;
use turnstage::command::{Act, Actor};
use turnstage::fleet::desired::validation::Base;
use turnstage::fleet::desired::{Desired, Keeper, Offered, State};
use turnstage::restart::Step;
use turnstage_cloud_sync::Spool;
use turnstage_tests::service::Service;
use turnstage_tests::{Bench, quick_rig, turnstage, write_recipe};

const ROW: &str = "subject = \"object\"\nmotion = \"stop_and_shoot\"\n[[rows]]\nframes = 4\n";

fn wants(version: u64, camera_wait_s: f64) -> Desired {
    let config = json!({ "capture": { "camera_wait_s": camera_wait_s } });
    let Value::Object(config) = config else { unreachable!("an object") };
    let recipes = BTreeMap::from([("of-the-fleet".to_owned(), ROW.to_owned())]);
    Desired { version, config, recipes }
}

fn manager() -> Actor {
    Actor("fleet:ops".to_owned())
}

/// What arrived before the service was ended.
fn offered(data: &Path, config: &Path) {
    let keeper = Keeper::open(data, Base::new(Some(config), data.join("last-good.toml")));
    assert_eq!(keeper.offer(wants(1, 7.0), &manager()), Offered::Taken);
}

/// A station in this process, in paused time, with what keeps its configuration.
fn station() -> (Bench, Arc<Keeper>) {
    let data = TempDir::new().expect("a folder");
    let recipes = data.path().join("recipes");
    write_recipe(&recipes, "two", 2, "");
    let file = data.path().join("station.toml");
    let rig = quick_rig(&format!("[recipes]\nfolder = {recipes:?}\n"));
    std::fs::write(&file, rig).expect("a configuration");
    let keeper =
        Arc::new(Keeper::open(data.path(), Base::new(Some(&file), data.path().join("last-good.toml"))));
    let config = keeper.begin().expect("a good configuration");
    let clock = SystemClock::new();
    let spool = Spool::in_memory(Arc::new(clock.clone()));
    let backends = turnstage::run::backends(&config, data.path());
    let mut bench = Bench::on(spool, clock, backends, config, data);
    bench.running.keep_configured(keeper.clone());
    (bench, keeper)
}

fn shown(service: &Service) -> Value {
    let data = service.data().display().to_string();
    let ran = turnstage(&["settings", "show", "--json", "--data-dir", &data]);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Kinds of the audit log that tell of configuration.
async fn on_record(service: &Service) -> Vec<String> {
    let events = service.get("/api/v1/events?after=0&limit=1000").await;
    let kinds = events.as_array().expect("events").iter().filter_map(|event| event["kind"].as_str());
    kinds.filter(|kind| kind.starts_with("config.")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_configuration_without_its_link_is_rolled_back_by_the_service_itself() {
    let rig = quick_rig("[fleet]\ntrial_s = 15.0\n");
    let mut service = Service::start_on(&rig, &[], offered);
    // It takes the version up, and asks its service manager for a restart.
    service.comes_back_after(75).await;
    let now = shown(&service);
    assert_eq!((&now["version"], &now["state"]), (&json!(1), &json!("trial")), "{now}");
    assert_eq!(now["restart_keys"], json!(["capture.camera_wait_s"]));
    let recipes = service.get("/api/v1/recipes").await;
    assert!(recipes.to_string().contains("\"of-the-fleet\""), "{recipes}");
    // Nobody brings a link.
    service.comes_back_after(75).await;
    let now = shown(&service);
    assert_eq!(
        (&now["version"], &now["state"], &now["wanted"]),
        (&json!(0), &json!("rolled-back"), &json!(1))
    );
    let is_told = |status: &Value| {
        status["kind"] != "busy" && status["faults"].to_string().contains("fleet-config-rolled-back")
    };
    let status = service.until("told", is_told).await;
    let fault = status["faults"][0]["what"].as_str().expect("a sentence");
    assert!(fault.contains("version 1") && fault.contains("15 seconds"), "{fault}");
    assert_eq!(
        (&status["kind"], &status["safe_mode"]),
        (&json!("ready"), &json!(false)),
        "it forbids nothing"
    );
    assert_eq!(on_record(&service).await, ["config.offered", "config.applied", "config.rolled-back"]);
    let recipes = service.get("/api/v1/recipes").await;
    assert!(!recipes.to_string().contains("of-the-fleet"), "{recipes}");
}

#[tokio::test]
async fn a_service_that_is_killed_in_every_start_of_a_trial_comes_back_with_what_it_had() {
    let rig = quick_rig("[fleet]\ntrial_s = 600.0\n");
    let mut service = Service::start_on(&rig, &[], offered);
    service.comes_back_after(75).await;
    for _ in 0..2 {
        assert_eq!(shown(&service)["state"], "trial");
        service.restart().await;
    }
    assert_eq!(shown(&service)["state"], "trial", "the third start");
    service.restart().await;
    let now = shown(&service);
    assert_eq!((&now["version"], &now["state"]), (&json!(0), &json!("rolled-back")), "{now}");
    assert!(now["reason"].as_str().expect("a sentence").contains("3 starts"), "{now}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_the_open_session_and_lets_none_begin() {
    let (bench, keeper) = station();
    let id = bench.start("two").await;
    bench.settled(&id).await;
    assert_eq!(keeper.offer(wants(1, 7.0), &manager()), Offered::Taken);
    let mut step = bench.running.window.restart().watch();
    step.wait_for(|step| *step == Step::Asked).await.expect("it is asked for");
    // Whatever the station does meanwhile, the session is in review and stays open.
    bench.ask(Act::Requeue { session: None }).await.expect("it serves");
    assert_eq!(
        (bench.running.window.restart().step(), keeper.reported().state),
        (Step::Asked, State::Pending)
    );
    bench.ask(Act::Abort).await.expect("aborted");
    step.wait_for(|step| *step == Step::Due).await.expect("granted");
    assert_eq!(keeper.reported().state, State::Trial);
    let refused = bench.ask(Act::Start { item: "i".to_owned(), recipe: Some("two".to_owned()) }).await;
    assert_eq!(refused.expect_err("too late").rule, "station-restarts");
    let kinds: Vec<String> =
        bench.running.spool.events(0, 1000).await.expect("events").into_iter().map(|e| e.kind).collect();
    let position =
        |kind: &str| kinds.iter().position(|one| one == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}"));
    assert!(position("config.offered") < position("config.applied"));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn recipes_and_limits_roll_out_to_a_running_station_without_a_restart() {
    let (bench, keeper) = station();
    let limits = format!("{ROW}\n[qc]\nblur_px_max = 1.5\n");
    let recipes = BTreeMap::from([("spin36".to_owned(), limits)]);
    let wanted = Desired { version: 1, config: Default::default(), recipes };
    assert_eq!(keeper.offer(wanted, &manager()), Offered::Taken);
    let mut reported = keeper.watch();
    reported.wait_for(|reported| reported.state == State::InUse).await.expect("it is used");
    assert_eq!(bench.running.window.restart().step(), Step::None);
    let id = bench.start("spin36").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.wanted, 4, "the fleet's goes before the built-in one");
    let sessions = bench.sessions().await;
    assert_eq!(sessions[0].value["recipe"]["qc"]["blur_px_max"], 1.5);
    bench.end().await;
}
