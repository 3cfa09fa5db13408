//! Five stations and their manager at the command line: what is bad is refused or goes back by itself, what is good is
//! used, and each station has on record who wanted what.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use turnstage_tests::broker::Broker;
use turnstage_tests::broker::watcher::{Heard, Watcher};
use turnstage_tests::headquarters::{Headquarters, body, told_of, until_over};
use turnstage_tests::service::Service;
use turnstage_tests::{Ran, quick_rig, turnstage};

const STATIONS: usize = 5;
const ROW: &str = "subject = \"object\"\nmotion = \"stop_and_shoot\"\n[[rows]]\nframes = 4\n";

fn name(nth: usize) -> String {
    format!("acme/berlin/rig-{nth}")
}

async fn five(headquarters: &Headquarters, broker: &Broker) -> Vec<Service> {
    let station = |nth: usize| async move {
        let station = format!("[station]\norg = \"acme\"\nsite = \"berlin\"\nname = \"rig-{nth}\"\n");
        let fleet = headquarters.section(broker, &name(nth)) + "trial_s = 5.0\n";
        Service::start(&format!("{station}{}{fleet}", quick_rig("")), &[]).await
    };
    futures_util::future::join_all((1..=STATIONS).map(station)).await
}

/// What the manager's command says; the file is written beside their key.
fn manager(headquarters: &Headquarters, verb: &[&str], config: &str) -> Ran {
    let folder = headquarters.folder();
    std::fs::write(folder.join("wanted.toml"), config).expect("a file");
    std::fs::write(folder.join("quick.toml"), ROW).expect("a recipe");
    let path = |file: &str| folder.join(file).display().to_string();
    let (who, wanted, recipe) = (path("manager.toml"), path("wanted.toml"), path("quick.toml"));
    let mut args = vec!["fleet", "--manager", &who];
    args.extend(verb);
    args.extend(["--config", &wanted, "--recipe", &recipe]);
    turnstage(&args)
}

fn reported(heard: &[Heard], nth: usize) -> Option<Value> {
    let topic = format!("turnstage/{}/config/reported", name(nth));
    let last = heard.iter().rfind(|heard| heard.topic == topic && !heard.payload.is_empty());
    last.map(|heard| body(&heard.payload))
}

async fn until_all(watcher: &mut Watcher, what: &str, is: impl Fn(&Value) -> bool) {
    watcher
        .until(what, |heard| (1..=STATIONS).all(|nth| reported(heard, nth).is_some_and(|body| is(&body))))
        .await;
}

/// Events of a kind in a station's log, of the manager.
async fn of_manager(service: &Service, kind: &str) -> Vec<Value> {
    let events = service.events(0).await;
    events.into_iter().filter(|event| event["kind"] == kind && event["actor"] == "fleet:hq/ana@hq").collect()
}

/// A fleet with a watcher, and a manager who may.
async fn fleet(test: &str) -> Option<(Broker, Headquarters, Watcher, Vec<Service>)> {
    let headquarters = Headquarters::new();
    let names: Vec<String> = (1..=STATIONS).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let broker = headquarters.broker(test, &names, true).await?;
    headquarters.write_manager(&broker);
    let mut watcher = broker.watch("turnstage/#").await;
    let stations = five(&headquarters, &broker).await;
    until_all(&mut watcher, "five stations", |body| body["state"] == "none").await;
    Some((broker, headquarters, watcher, stations))
}

/// Does something with each station beside the others, in threads that may block.
fn each(
    stations: Vec<Service>,
    what: impl Fn(&mut Service, &Handle) + Clone + Send + 'static,
) -> impl Future<Output = Vec<Service>> {
    let all: Vec<_> = stations
        .into_iter()
        .map(|mut service| {
            let what = what.clone();
            tokio::task::spawn_blocking(move || {
                what(&mut service, &Handle::current());
                service
            })
        })
        .collect();
    async move {
        let done = futures_util::future::join_all(all).await;
        done.into_iter().map(|service| service.expect("it did")).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_cannot_be_is_refused_by_the_first_and_never_reaches_the_others() {
    let Some((_broker, headquarters, mut watcher, stations)) = fleet("what_cannot_be_is_refused").await
    else {
        return;
    };
    let bad = "[uploader]\nparalel = 3\n[panel]\nlisten = \"0.0.0.0:80\"\n[motion]\narm_minutes = 60.0\n";
    let ran = manager(&headquarters, &["rollout", "acme/*/*", "--first", "2"], bad);
    assert_eq!(ran.code, 77, "{ran:?}");
    for wrong in ["uploader.paralel", "panel.listen", "motion.arm_minutes", "is set at the station only"] {
        assert!(ran.out.contains(wrong), "{wrong}: {ran:?}");
    }
    assert!(ran.out.contains("the other 3 stations were not configured"), "{ran:?}");
    let refused = |heard: &[Heard]| {
        (1..=STATIONS)
            .filter(|nth| reported(heard, *nth).is_some_and(|body| body["state"] == "refused"))
            .count()
    };
    let heard = watcher.until("two refusals", |heard| refused(heard) == 2).await;
    for (nth, service) in stations.iter().enumerate() {
        let now = reported(&heard, nth + 1).expect("reported");
        assert_eq!(now["version"], 0, "nothing of it is in use: {now}");
        let noted = of_manager(service, "config.refused").await;
        assert_eq!(noted.len(), usize::from(now["state"] == "refused"), "{noted:?}");
    }

    // What every station can be is used by all, without a restart.
    let good = "[log]\nlevel = \"warn\"\n";
    let ran = manager(&headquarters, &["rollout", "acme/*/*", "--first", "2", "--wait-s", "60"], good);
    assert_eq!(ran.code, 0, "{ran:?}");
    until_all(&mut watcher, "version 2", |body| body["state"] == "in-use" && body["version"] == 2).await;
    for service in &stations {
        assert!(!of_manager(service, "config.offered").await.is_empty(), "who wanted it is on record");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_configuration_after_which_the_link_is_dead_goes_back_by_itself_on_all_five() {
    let Some((broker, headquarters, mut watcher, stations)) = fleet("a_configuration_after_which").await
    else {
        return;
    };
    let restarted = each(stations, |service, handle| handle.block_on(service.comes_back_after(75)));
    let parallel = "[uploader]\nparallel = 3\n";
    let ran = manager(&headquarters, &["set", "acme/*/*", "--wait-s", "60"], parallel);
    assert_eq!(ran.code, 0, "{ran:?}");
    let stations = restarted.await;
    until_all(&mut watcher, "version 1", |body| body["state"] == "in-use" && body["version"] == 1).await;

    // The network goes while they restart into the next one: each hears nothing, and goes back by another restart.
    let ended = each(stations, |service, _| service.ends_with(75));
    let wanted = manager(&headquarters, &["set", "acme/*/*", "--wait-s", "1"], "[uploader]\nparallel = 4\n");
    assert_eq!(wanted.code, 69, "nobody uses it yet: {wanted:?}");
    let stations = ended.await;
    broker.partition();
    let stations = each(stations, |service, handle| {
        handle.block_on(service.start_again());
        handle.block_on(service.comes_back_after(75));
    })
    .await;
    broker.heal();
    until_all(&mut watcher, "all went back", |body| body["state"] == "rolled-back" && body["version"] == 1)
        .await;
    for service in &stations {
        let events = service.events(0).await;
        let back = |event: &&Value| event["kind"] == "config.rolled-back" && event["data"]["version"] == 2;
        assert_eq!(events.iter().filter(back).count(), 1, "on record");
        assert_eq!(of_manager(service, "config.offered").await.len(), 2, "with who wanted it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn doubles_late_ones_and_replays_are_answered_by_all_five_and_obeyed_by_none() {
    let Some((broker, headquarters, mut watcher, stations)) = fleet("doubles_late_ones_and_replays").await
    else {
        return;
    };
    for (nth, service) in stations.iter().enumerate() {
        let station = name(nth + 1);
        let order = headquarters.order(&station, "set-flag", flag("lens"));
        headquarters.send(&broker, &order);
        assert_eq!(until_over(&mut watcher, &order).await["state"], "succeeded");
        headquarters.send(&broker, &order);
        let twice = |heard: &[Heard]| {
            told_of(heard, &order).iter().filter(|body| body["state"] == "succeeded").count() >= 2
        };
        watcher.until("the same answer", twice).await;
        let mut late = headquarters.order(&station, "set-flag", flag("late"));
        late.claims["issued_ms"] = json!(1);
        late.claims["expires_ms"] = json!(60_001);
        headquarters.send(&broker, &late);
        assert_eq!(until_over(&mut watcher, &late).await["state"], "expired");
        let mut replay = headquarters.order(&station, "set-flag", flag("replay"));
        replay.claims["counter"] = order.claims["counter"].clone();
        headquarters.send(&broker, &replay);
        assert_eq!(until_over(&mut watcher, &replay).await["rule"], "command-replayed");

        let obeyed = of_manager(service, "station.flag").await;
        assert_eq!(obeyed.len(), 1, "{obeyed:?}");
        let steps = of_manager(service, "fleet.command").await;
        let of = |id: &str| steps.iter().filter(|step| step["data"]["command"] == id).count();
        assert!(of(&order.id) >= 2 && of(&late.id) >= 1 && of(&replay.id) >= 1, "every step: {steps:?}");
    }
}

fn flag(reason: &str) -> Value {
    json!({ "flag": "out-of-service", "on": true, "reason": reason })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_manager_at_the_command_line_sees_and_commands_them() {
    let Some((_broker, headquarters, _watcher, stations)) = fleet("a_manager_at_the_command_line").await
    else {
        return;
    };
    let who = headquarters.folder().join("manager.toml").display().to_string();
    let fleet = |args: &[&str]| turnstage(&[&["fleet", "--manager", &who], args].concat());
    let table = fleet(&["watch", "--once"]);
    assert!(table.code == 0 && table.out.contains("5 stations, 5 of them online"), "{table:?}");
    let got = fleet(&["get", "acme/berlin/rig-3"]);
    let got: Value = serde_json::from_str(&got.out).unwrap_or_else(|error| panic!("{error}: {got:?}"));
    assert_eq!(got["seen"]["status"]["body"]["online"], true);
    assert!(got["seen"]["telemetry"]["storage"]["body"]["free_bytes"].is_u64(), "{got}");
    let blink = fleet(&["run", "acme/*/*", "identify", "seconds=30", "--json"]);
    assert_eq!(blink.code, 0, "{blink:?}");
    assert_eq!(blink.out.matches("\"succeeded\"").count(), STATIONS, "{blink:?}");
    for service in &stations {
        assert!(!service.status().await["identify"].is_null(), "it shows itself");
    }
    let unknown = fleet(&["run", "acme/*/*", "arm"]);
    assert!(unknown.code == 2 && unknown.err.contains("command-unknown"), "{unknown:?}");
    let nobody = fleet(&["get", "acme/berlin/rig-9"]);
    assert_eq!(nobody.code, 66, "{nobody:?}");
    let alone = turnstage(&["fleet", "--manager", &missing(&headquarters).display().to_string(), "watch"]);
    assert_eq!(alone.code, 78, "{alone:?}");
}

fn missing(headquarters: &Headquarters) -> PathBuf {
    headquarters.folder().join("nobody.toml")
}
