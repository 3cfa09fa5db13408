//! The command line at the rig, where no station runs: it checks what is wired, and lets a real table turn when whoever
//! types says that they stand beside it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use turnstage::emergency::Step;
use turnstage::status::Status;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::grbl::Controller;
use turnstage_tests::{Bench, Ran, binary, quick_rig, turnstage, write_recipe};

/// What simulated pictures of a table that is not simulated cannot show.
const LENIENT: &str =
    "[qc.policy]\n\"qc.duplicate\" = \"warn\"\n\"qc.not-moved\" = \"warn\"\n\"qc.loop\" = \"warn\"\n";

/// The binary on a data folder of its own.
#[derive(Clone)]
struct Keyboard {
    place: [String; 4],
}

impl Keyboard {
    fn new(folder: &Path, config: &str) -> Self {
        let file = folder.join("station.toml");
        let recipes = folder.join("recipes").display().to_string();
        std::fs::write(&file, format!("{config}\n[recipes]\nfolder = {recipes:?}\n"))
            .expect("a configuration");
        let [file, folder] = [file.as_path(), folder].map(|path| path.display().to_string());
        Self { place: ["--config".to_owned(), file, "--data-dir".to_owned(), folder] }
    }

    /// Runs it while this test serves the other end of the table's cable.
    async fn run(&self, args: &[&str]) -> Ran {
        let args: Vec<String> =
            args.iter().map(|arg| (*arg).to_owned()).chain(self.place.iter().cloned()).collect();
        let run = move || turnstage(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.expect("it runs")
    }
}

fn session_in(listed: &str) -> String {
    let id = listed.split_whitespace().find(|word| word.len() == 36 && word.matches('-').count() == 4);
    id.expect("a session").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_a_real_table_is_shot_resumed_and_retaken_only_by_whoever_stands_beside_it() {
    let data = TempDir::new().expect("a folder");
    let mut controller = Controller::new(1, 90.0, 400.0);
    // A board with a limit switch: each process finds its zero again by itself.
    controller.settings.insert(22, 1.0);
    let cable = Cable::new(controller);
    let mut port = Port::new(&data.path().join("usb-Arduino-if00")).expect("a pseudo-terminal");
    let name = port.name();
    let table = format!("[rig.turntable]\ndriver = \"grbl\"\nserial = {name:?}\naxis = \"x\"\nhome = true\n");
    let simulated = quick_rig("[motion]\nannounce_s = 1.0\n");
    let (before, after) = simulated.split_once("[rig.turntable]").expect("a table");
    let cameras = after.split_once("[rig.cameras.main]").expect("a camera").1;
    let config = format!("{before}{table}[rig.cameras.main]{cameras}");
    write_recipe(&data.path().join("recipes"), "turn4", 4, "retakes = 0");
    let recipe = data.path().join("recipes/turn4.toml");
    let text = std::fs::read_to_string(&recipe).expect("the recipe");
    std::fs::write(&recipe, format!("{text}\n{LENIENT}")).expect("the recipe");

    let keyboard = Keyboard::new(data.path(), &config);
    let served = cable.clone();
    let story = async {
        let capture = ["capture", "--item", "4711", "--recipe", "turn4"];
        let refused = |ran: &Ran| {
            assert!(ran.code == 77 && ran.err.contains("motion-not-armed"), "{ran:?}");
            assert_eq!(cable.with(|controller| controller.counted_deg(0)), 0.0, "nothing moved");
        };
        refused(&keyboard.run(&capture).await);
        let ran = keyboard.run(&[&capture[..], &["--armed"]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let id = session_in(&keyboard.run(&["sessions", "list"]).await.out);

        for act in [&["sessions", "retake", &id, "--frames", "2"][..], &["sessions", "resume", &id, "--anew"]]
        {
            let told = cable.with(|controller| controller.told.len());
            let ran = keyboard.run(act).await;
            assert!(ran.code == 77 && ran.err.contains("motion-not-armed"), "{act:?}: {ran:?}");
            assert_eq!(cable.with(|controller| controller.told.len()), told, "nothing moved");
            let ran = keyboard.run(&[act, &["--armed"]].concat()).await;
            assert_eq!(ran.code, 0, "{act:?}: {ran:?}");
            assert!(cable.with(|controller| controller.told.len()) > told, "{act:?}");
        }
    };
    tokio::select! {
        () = story => {}
        () = served.serve(&mut port) => panic!("the cable was pulled"),
    }
}

const WIRED: &str = r#"
[motion]
platform_m = 3.0
[rig.inputs.red]
driver = "sim"
does = "emergency-stop"
[rig.inputs.gun]
driver = "sim"
lines = true
does = "scan"
[rig.outputs.green]
driver = "sim"
shows = "tower-green"
"#;

const BROKEN: &str = r#"
[rig.inputs.pedal]
driver = "evdev"
serial = "nobody-has-this"
does = "start"
[rig.outputs.horn]
driver = "relay"
port = "/dev/serial/by-id/nobody-has-this"
shows = "horn"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn check_opens_every_input_and_output_and_asks_a_running_station_about_its_own() {
    let data = TempDir::new().expect("a folder");
    std::fs::create_dir(data.path().join("recipes")).expect("a folder");
    let keyboard = Keyboard::new(data.path(), &quick_rig(WIRED));
    let ran = keyboard.run(&["check"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in ["input red", "input gun", "output green", "emergency stop"] {
        assert!(ran.out.lines().any(|told| told.starts_with(&format!("ok   {line} "))), "{line}: {ran:?}");
    }
    assert!(ran.out.contains("simulated contact, at rest"), "{ran:?}");
    assert!(ran.out.contains("turnstage selftest emergency-stop"), "{ran:?}");

    let keyboard = Keyboard::new(data.path(), &quick_rig(&format!("{WIRED}{BROKEN}")));
    let ran = keyboard.run(&["check"]).await;
    assert_eq!(ran.code, 69, "{ran:?}");
    let line = |what: &str| ran.out.lines().find(|line| line.contains(what)).expect(what).to_owned();
    assert!(line("input pedal").starts_with("FAIL"), "{ran:?}");
    assert!(
        line("output horn").starts_with("FAIL") && line("output horn").contains("nobody-has-this"),
        "{ran:?}"
    );

    let undeclared = quick_rig("[motion]\nplatform_m = 3.0");
    let ran = Keyboard::new(data.path(), &undeclared).run(&["check"]).await;
    let told = "FAIL emergency stop";
    assert!(ran.code == 69 && ran.out.contains(told), "{ran:?}");

    // Of a running station they are its own: nobody else may open them.
    let keyboard = Keyboard::new(data.path(), &quick_rig(&format!("{WIRED}{BROKEN}")));
    let mut bench = Bench::on_disk(&quick_rig(&format!("{WIRED}{BROKEN}")), data).await;
    let folder = bench.data.path().to_owned();
    let mut found = bench.running.open(&folder);
    drop(found.wait_for(|found| found.address.is_some()).await.expect("the panel opens"));
    bench.running.around.booth.clone().expect("a booth").press("red");
    let pressed = |status: &Status| {
        let lost = status.outputs.iter().any(|output| output.fault.is_some());
        lost && status.faults.iter().any(|fault| fault.rule == "emergency-stop-pressed")
    };
    drop(bench.running.status.clone().wait_for(pressed).await.expect("the station lives"));
    let ran = keyboard.run(&["check"]).await;
    assert!(ran.out.contains("simulated contact, pressed"), "{ran:?}");
    assert!(ran.out.lines().any(|line| line.starts_with("FAIL output horn")), "{ran:?}");
    bench.end().await;
}

#[tokio::test]
async fn the_command_line_refuses_guides_through_the_test_and_shoots_afterwards() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn4", 4, "retakes = 0");
    let config = quick_rig(WIRED);
    let keyboard = Keyboard::new(data.path(), &config);
    let capture = ["capture", "--item", "4711", "--recipe", "turn4", "--armed"];
    let ran = keyboard.run(&capture).await;
    assert_eq!(ran.code, 77, "{ran:?}");
    assert!(ran.err.contains("turnstage selftest emergency-stop") && ran.err.contains("3 m"), "{ran:?}");

    // Somebody stands at this station; the command line speaks to it.
    let mut bench = Bench::on_disk(&config, data).await;
    let folder = bench.data.path().to_owned();
    let mut found = bench.running.open(&folder);
    drop(found.wait_for(|found| found.address.is_some()).await.expect("the panel opens"));
    let booth = bench.running.around.booth.clone().expect("a booth");
    let mut status = bench.running.status.clone();
    let person = async {
        let step = |status: &Status| status.emergency_stop.as_ref().map(|stop| stop.step);
        drop(status.wait_for(|now| step(now) == Some(Step::Press)).await.expect("the station lives"));
        booth.press("red");
        drop(status.wait_for(|now| step(now) == Some(Step::Release)).await.expect("the station lives"));
        booth.release("red");
    };
    let (ran, ()) = tokio::join!(keyboard.run(&["selftest", "emergency-stop"]), person);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Press the emergency stop now."), "{ran:?}");
    assert!(ran.out.contains("Passed: the emergency stop opened and closed."), "{ran:?}");
    let _data = bench.end().await;
    let ran = keyboard.run(&capture).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// A station that runs in this process, with another table.
async fn stops_with(table: &str) -> Ran {
    let data = TempDir::new().expect("a folder");
    let simulated = quick_rig("");
    let (before, after) = simulated.split_once("[rig.turntable]").expect("a table");
    let cameras = after.split_once("[rig.cameras.main]").expect("a camera").1;
    let mut bench = Bench::on_disk(&format!("{before}{table}\n[rig.cameras.main]{cameras}"), data).await;
    let mut found = bench.running.open(bench.data.path());
    drop(found.wait_for(|found| found.address.is_some()).await.expect("the panel opens"));
    let folder = bench.data.path().display().to_string();
    let run = move || turnstage(&["stop", "--data-dir", &folder]);
    let ran = tokio::task::spawn_blocking(run).await.expect("it runs");
    bench.end().await;
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_stopped_nothing_is_told_as_that() {
    let ran = stops_with("[rig.turntable]\ndriver = \"sim\"").await;
    assert!(ran.code == 0 && ran.out.starts_with("Stopped: the table"), "{ran:?}");
    let ran = stops_with("").await;
    assert!(ran.code == 0 && ran.out.starts_with("This rig has no table."), "{ran:?}");
    let absent =
        "[rig.turntable]\ndriver = \"profile\"\nprofile = \"comxim\"\nserial = \"/dev/serial/by-id/none\"";
    let ran = stops_with(absent).await;
    assert!(ran.code == 69 && ran.err.contains("the table may not have stopped"), "{ran:?}");
}

#[test]
fn a_reader_that_has_read_enough_is_no_fault() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let data = TempDir::new().expect("a folder");
    let devices = Command::new(binary()).arg("devices").current_dir(data.path()).stdout(writer).output();
    let ran = devices.expect("it runs");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && !told.contains("panicked"), "{told}");
}
