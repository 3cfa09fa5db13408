//! The booth as its operator meets it: a browser on the panel, the simulated rig, and pictures that provably arrive.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use turnstage::access::Role;
use turnstage::access::accounts::Accounts;
use turnstage_cloud_sync::queue::State;
use turnstage_cloud_sync::{Record, Sha256};
use turnstage_tests::browser::{Browser, DESKTOP, PHONE, Screen};
use turnstage_tests::cloud::{Cloud, Options, TOKEN_LIFE, real_clock};
use turnstage_tests::{Bench, PATIENCE, binary, quick_rig, turnstage, write_recipe};

/// A station with its panel open, a cloud, and a person in front of it.
struct Booth {
    bench: Bench,
    cloud: Cloud,
    person: Browser,
    panel: String,
}

impl Booth {
    async fn open(test: &str, screen: Screen, more: &str, issued_days_ago: i64) -> Option<Self> {
        let person = Browser::open(test, screen).await?;
        let cloud = Cloud::start(Options::default()).await;
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "turn36", 36, "retakes = 0\nabout = \"Product 36\"");
        let issued_s = real_clock()() / 1000 - issued_days_ago * 86_400;
        std::fs::write(data.path().join("token"), cloud.token("demo", &["booth"], issued_s, TOKEN_LIFE))
            .expect("a token");
        let local = "[destinations.local]\nbackend = \"directory\"\nroot = \"delivered\"\ncreate = true\n";
        let imaging = format!(
            "[destinations.imaging360]\nbackend = \"imaging360\"\nurl = \"{}\"\ntoken_file = \"token\"\n",
            cloud.url
        );
        let config = quick_rig(more).replace(local, &imaging);
        let mut bench = Bench::on_disk(&config, data).await;
        let mut found = bench.running.open(bench.data.path());
        let address = found.wait_for(|found| found.address.is_some()).await.expect("it lives").address;
        let panel = format!("http://{}/", address.expect("an address"));
        Some(Self { bench, cloud, person, panel })
    }

    /// Scans an item, starts, and waits for the end of the turn.
    async fn shoot(&self, item: &str) {
        self.person.goto(&self.panel).await;
        self.person.find("#scan").await.send_keys(item).await.expect("typed");
        let recipe = self.person.find("#recipe").await;
        recipe.select_by_value("turn36").await.expect("the recipe is offered");
        self.person.press("#item button[type=submit]").await;
        self.person.until_text("#status", "Stand clear, then start.").await;
        self.person.press("#act [data-act=start]").await;
        self.person.find("#act [data-act=stop]").await;
        // Every frame has its verdict once nothing can be stopped any more.
        self.person.until_count("#act [data-act=stop]", 0).await;
    }

    async fn records(&self) -> Vec<Record> {
        let documents = self.bench.sessions().await;
        self.bench.records(&documents.last().expect("a session").id).await
    }

    /// Waits until so many pictures are confirmed.
    async fn confirmed(&self, wanted: usize) -> Vec<Record> {
        let mut changed = self.bench.running.spool.changed();
        let wait = async {
            loop {
                let mut records = self.records().await;
                records.retain(|record| record.state == State::Confirmed);
                if records.len() == wanted {
                    return records;
                }
                changed.changed().await.expect("the spool lives");
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("everything is confirmed in time")
    }

    async fn end(self) {
        self.person.close().await;
        self.bench.end().await;
        self.cloud.stop().await;
    }
}

const WET_LENS: &str = r#"
[booth]
faults = [
  { camera = "main", frame = 12, kind = "blurred" },
  { camera = "main", frame = 30, kind = "over-exposed" },
]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_start_button_to_36_pictures_proven_at_the_cloud() {
    let Some(booth) = Booth::open("from_the_start_button", DESKTOP, WET_LENS, 0).await else { return };
    let person = &booth.person;
    booth.shoot("2000104820014").await;
    person.until_text("#status h1", "2 frames need a retake").await;
    person.until_count(".ring .fr-ok", 34).await;
    assert_eq!(person.count(".ring .fr-flag").await, 2);

    // The reason, for the person in front of it.
    person.press("#f12-main").await;
    person.until_text("#aside", "Frame 12 is not sharp").await;
    assert!(person.text("#aside").await.contains("Wipe the lens of camera main, then retake."));
    person.until_text("#act", "Release").await;
    assert_eq!(person.count("#act [data-act=release]:not([aria-disabled])").await, 0, "not yet");

    person.press("#act [data-act=retake]").await;
    person.until_text("#status h1", "All 36 frames passed").await;
    person.until_count(".ring .fr-re", 2).await;
    person.press("#act [data-act=release]").await;
    let confirmed = booth.confirmed(36).await;
    person.until_text("#status h1", "Ready").await;
    person.find("#scan").await;
    assert_eq!(person.count(".ring image").await, 0, "nobody sees the last customer's pictures");

    let arrived: BTreeSet<Sha256> = booth.cloud.objects().into_values().collect();
    let receipts = || confirmed.iter().filter_map(|record| record.receipt.as_ref());
    let promised: BTreeSet<Sha256> = receipts().map(|receipt| receipt.sha256).collect();
    assert_eq!(arrived.len(), 36);
    assert_eq!(arrived, promised, "the bytes on the cloud's disk are the bytes that were promised");
    for (record, receipt) in confirmed.iter().zip(receipts()) {
        assert_eq!(receipt.stands_for(), record.sha256);
        let here = std::fs::read(booth.bench.running.spool.media_path(record)).expect("kept here");
        assert_eq!(Sha256::of(&here), record.sha256);
    }
    booth.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_keeps_flagged_frames_by_name_and_reason() {
    let Some(booth) = Booth::open("a_person_signs_in", DESKTOP, WET_LENS, 0).await else { return };
    let accounts = Accounts::of(booth.bench.data.path());
    accounts.set("Rea M.", Role::Technician, "correct horse battery").expect("an account");
    let person = &booth.person;
    // Whoever is not signed in is led to the door.
    person.goto(&booth.panel).await;
    person.find("input[type=password]").await.send_keys("wrong horse battery").await.expect("typed");
    person.find("input[name=name]").await.send_keys("Rea M.").await.expect("typed");
    person.press("button[type=submit]").await;
    person.until_text("body", "Name or password is wrong.").await;
    let password = person.find("input[type=password]").await;
    password.clear().await.expect("emptied");
    password.send_keys("correct horse battery").await.expect("typed");
    person.press("button[type=submit]").await;
    person.until_text(".menu summary", "Rea M.").await;

    booth.shoot("4711").await;
    person.press("#f12-main").await;
    person.press("#aside a[href*=keep]").await;
    person.find("#aside [name=reason]").await.send_keys("Customer agrees").await.expect("typed");
    person.press("#aside [data-act=release], #aside button[type=submit]").await;
    let confirmed = booth.confirmed(36).await;
    assert!(confirmed.iter().all(|record| record.facts.actor == "technician:Rea M."));
    let documents = booth.bench.sessions().await;
    let accepted = &documents[0].value["accepted"];
    assert_eq!((&accepted["name"], &accepted["reason"]), (&"Rea M.".into(), &"Customer agrees".into()));

    // With a new password the open page is at the door again by itself; with the button, too.
    accounts.set("Rea M.", Role::Technician, "another battery staple").expect("a new password");
    person.find("input[type=password]").await.send_keys("another battery staple").await.expect("typed");
    person.find("input[name=name]").await.send_keys("Rea M.").await.expect("typed");
    person.press("button[type=submit]").await;
    person.press(".menu summary").await;
    person.press("[data-act=sign-out]").await;
    person.find("input[type=password]").await;
    booth.end().await;
}

/// A platform for cars, which must have a wired emergency stop.
const PLATFORM: &str = r#"
[motion]
platform_m = 4.5

[rig.inputs.red]
driver = "sim"
does = "emergency-stop"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn before_a_platform_turns_the_panel_has_its_emergency_stop_tested() {
    let Some(booth) = Booth::open("before_a_platform_turns", DESKTOP, PLATFORM, 0).await else { return };
    let (person, rig) = (&booth.person, booth.bench.running.around.booth.clone().expect("a booth"));
    person.goto(&format!("{}?item=4711", booth.panel)).await;
    person.until_text("#status h1", "Emergency stop not tested today").await;
    assert_eq!(person.count("#act [data-act=start]").await, 0, "nothing turns before");
    person.press("#act [data-act=test-emergency-stop]").await;
    person.until_text("#act", "Press it now").await;
    rig.press("red");
    person.until_text("#act", "Release it now").await;
    rig.release("red");
    // What was scanned before still waits.
    person.press("#act [data-act=start]").await;
    person.find("#act [data-act=stop]").await;
    rig.press("red");
    person.until_text("#status h1", "The emergency stop is pressed").await;
    person.press("#act [data-act=resume]").await;
    person.until_text("body", "emergency-stop-pressed").await;
    rig.release("red");
    person.until_text("#status h1", "Stopped by red").await;
    person.press("#act [data-act=resume]").await;
    person.find("#act [data-act=stop]").await;
    booth.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_on_the_panel_halts_the_table_and_continue_finishes_the_turn() {
    let slow = "[booth]\nobject = \"vase\"\n";
    let Some(booth) = Booth::open("a_stop_on_the_panel", PHONE, slow, 0).await else { return };
    let person = &booth.person;
    person.goto(&booth.panel).await;
    person.find("#scan").await.send_keys("4711").await.expect("typed");
    person.find("#recipe").await.select_by_value("turn36").await.expect("the recipe is offered");
    person.press("#item button[type=submit]").await;
    person.press("#act [data-act=start]").await;
    person.press("#act [data-act=stop]").await;
    person.until_text("#status h1", "Stopped by local").await;
    assert!(person.text("#status").await.contains("Continue when the table is clear."));
    assert!(booth.bench.running.status.borrow().table.as_ref().is_some_and(|table| table.stopped));
    person.press("#act [data-act=resume]").await;
    person.until_text("#status h1", "All 36 frames passed").await;
    booth.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_network_an_expired_token_and_a_wrong_tenant_are_each_said_in_words() {
    let Some(booth) = Booth::open("said_in_words", DESKTOP, "", 31).await else { return };
    let person = &booth.person;
    booth.shoot("1").await;
    person.press("#act [data-act=release]").await;
    person.until_text("#status h1", "This station is not signed in to the cloud").await;
    person.until_text("#status", "36 pictures are safe on this device.").await;

    // A new token: everything goes by itself. Then the network is gone.
    let now_s = real_clock()() / 1000;
    let token = booth.cloud.token("demo", &["booth"], now_s, TOKEN_LIFE);
    std::fs::write(booth.bench.data.path().join("token"), token).expect("a token");
    booth.confirmed(36).await;
    booth.cloud.set_down(true).await;
    booth.shoot("2").await;
    person.press("#act [data-act=release]").await;
    person.until_text("#status h1", "Ready, no network").await;
    person.until_text("#status", "36 pictures are safe on this device. Carry on.").await;
    booth.cloud.set_down(false).await;
    booth.bench.running.wake.reconnected();
    booth.confirmed(36).await;
    person.until_text("#status h1", "Ready").await;

    // The service says that a session is somebody else's: parked, said, and why it is in the queue.
    booth.shoot("3").await;
    let documents = booth.bench.sessions().await;
    booth.cloud.service().give_session(&documents.last().expect("a session").id, "somebody-else");
    person.press("#act [data-act=release]").await;
    person.until_text("#status h1", "36 pictures were refused").await;
    person.until_text("#status", "They are safe. See why under Sessions.").await;
    person.goto(&format!("{}sessions", booth.panel)).await;
    person.until_text("main", "session-not-owned").await;
    assert!(booth.records().await.iter().all(|record| record.state == State::Failed && record.attempts == 1));
    booth.end().await;
}

#[test]
fn a_port_in_use_is_said_and_the_socket_serves_meanwhile() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let data = TempDir::new().expect("a folder");
    let folder = data.path().join("data").display().to_string();
    let file = data.path().join("station.toml");
    std::fs::write(&file, quick_rig("").replace("127.0.0.1:0", &format!("127.0.0.1:{port}")))
        .expect("a file");

    let ran = turnstage(&["demo", "--port", &port.to_string(), "--data-dir", &folder]);
    assert_eq!(ran.code, 69, "{ran:?}");
    assert!(ran.err.contains(&format!("port {port} is in use")) && ran.err.contains("--port"), "{ran:?}");

    let mut service = Command::new(binary())
        .args(["run", "--config", &file.display().to_string(), "--data-dir", &folder])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let ran = turnstage(&["status", "--data-dir", &folder]);
        if ran.code == 0 && ran.out.contains(&format!("The panel cannot open: port {port} is in use")) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{ran:?}");
    }
    // The other program ends: the panel opens by itself.
    drop(taken);
    loop {
        let ran = turnstage(&["status", "--data-dir", &folder]);
        if ran.code == 0 && ran.out.starts_with("Ready") {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{ran:?}");
    }
    service.kill().expect("it is ended");
    service.wait().expect("an end");
}
