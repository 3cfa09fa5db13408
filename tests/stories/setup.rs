//! `setup` writes what is found, and a person says what only a person can know: the file then passes `check`, on drivers of
//! the kernel's interfaces and a table that speaks its own wire.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use turnstage_hw_tests::fake_contacts::{Chip, Keyboard};
use turnstage_hw_tests::fake_v4l2::Cameras;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::comxim::{Knobs, Table};
use turnstage_tests::view::View;
use turnstage_tests::{Ran, binary};

/// Runs the binary where these devices are, while this test serves the table's cable.
async fn run(environment: [(&'static str, OsString); 2], args: &[&str]) -> Ran {
    let mut command = Command::new(binary());
    command.args(args).envs(environment).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs");
    let output = output.expect("it runs");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The file without the marks before the section that begins so.
fn chosen(text: &str, section: &str) -> String {
    let mut inside = false;
    let lines = text.lines().map(|line| {
        inside = line == format!("# {section}") || (inside && !line.trim().is_empty());
        if inside { line.trim_start_matches("# ") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn written(cameras: &Cameras, folder: &Path) -> String {
    let file = folder.join("found.toml").display().to_string();
    let ran = run(cameras.environment(), &["setup", "--to", &file]).await;
    assert!(ran.code == 0 && ran.out.contains("turnstage check --config"), "{ran:?}");
    let text = std::fs::read_to_string(&file).expect("the file");
    let again = run(cameras.environment(), &["setup", "--to", &file]).await;
    assert!(again.code == 2 && again.err.contains("exists already"), "{again:?}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_setup_writes_passes_check_once_a_person_said_what_each_plug_is() {
    let folder = TempDir::new().expect("a folder");
    let cameras = Cameras::in_folder(&folder.path().join("devices"));
    cameras.add("front", "1-2", "SN-1", "card Fake\nformats MJPG\nsize 320x240\nfps 30\n");
    cameras.show("front", &View::new((320, 240)).await.jpeg(0.0).await);
    cameras.plug("front", 0);
    let pedal = Keyboard::plug(&cameras, 3, "Foot Pedal", "P1", &[30, 48]);
    let _chip = Chip::plug(&cameras, 0, "pinctrl-fake", "");
    let cable = Cable::new(Table::new(Knobs::default()));
    let mut port =
        Port::new(&folder.path().join("usb-1a86_USB_Serial-if00-port0")).expect("a pseudo-terminal");
    let serial = port.name();

    let text = written(&cameras, folder.path()).await;
    // A camera is what it is; what a pedal is for nobody can guess, and a line is known to whoever wired it.
    assert!(text.contains("\n[rig.cameras.") && text.contains("\nserial = \"SN-1\""), "{text}");
    let section = "[rig.inputs.foot-pedal]";
    assert!(text.contains(&format!("\n# {section}\n# driver = \"evdev\"\n")), "{text}");
    assert!(
        text.contains(&pedal.path()) && text.contains("# driver = \"gpio\" needs keys that only you know"),
        "{text}"
    );
    assert!(text.contains("No turntable was found for certain"), "{text}");

    let table = format!(
        "[rig.turntable]\ndriver = \"profile\"\nprofile = \"comxim\"\nserial = {serial:?}\nsettle_ms = 50\n"
    );
    let file = folder.path().join("station.toml");
    std::fs::write(&file, format!("{}\n{table}", chosen(&text, section))).expect("the file");
    let [file, data] = [file, folder.path().join("data")].map(|path| path.display().to_string());
    let check = ["check", "--config", &file, "--data-dir", &data];
    let story = async {
        let ran = run(cameras.environment(), &check).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let good = |what: &str| ran.out.lines().any(|line| line.starts_with("ok") && line.contains(what));
        for what in ["camera ", "turntable", "input foot-pedal", "Foot Pedal, at rest"] {
            assert!(good(what), "{what}: {ran:?}");
        }

        // Somebody else has the table's port: the answer names whom to end.
        let script = "exec 9<>\"$0\"; flock -n 9 || exit 1; echo held; read -r end";
        let mut other = Command::new("bash");
        other.args(["-c", script, &serial]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut other = other.spawn().expect("bash");
        let mut told = String::new();
        let out = other.stdout.take().expect("its words");
        BufReader::new(out).read_line(&mut told).expect("a word");
        assert_eq!(told.trim(), "held", "this test needs flock");
        let ran = run(cameras.environment(), &check).await;
        let holder = format!("held by bash (pid {})", other.id());
        let line = ran.out.lines().find(|line| line.contains("turntable")).expect("a line of the table");
        assert!(ran.code == 69 && line.starts_with("FAIL") && line.contains(&holder), "{ran:?}");
        drop(other.stdin.take());
        other.wait().expect("it ends");
    };
    tokio::select! {
        () = story => {}
        () = cable.serve(&mut port) => panic!("the cable was pulled"),
    }
}
