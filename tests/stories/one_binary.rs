//! One binary for rigs with a depth camera and without: librealsense is not there, is the right one, or is something else.
//! Whatever it is, the program says what is wrong and what to do, and everything else goes on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use turnstage_hw_tests::realsense_lab::{Lab, VERSIONS};
use turnstage_tests::service::Service;
use turnstage_tests::{Ran, binary, pictures, quick_rig, skip, write_recipe};

/// Every function that a library must have is named here.
const SHIM: &str = include_str!("../../drivers/src/camera/realsense/shim.rs");

/// Of pictures, not of cameras.
const RULES: [&str; 10] = [
    "sharpness",
    "motion",
    "noise",
    "clipped",
    "dark",
    "light-drift",
    "colour-drift",
    "duplicate",
    "not-moved",
    "size",
];

/// A station whose second camera is a RealSense with these keys.
struct Case {
    data: TempDir,
    environment: Vec<(&'static str, OsString)>,
}

impl Case {
    fn new(keys: &str) -> Self {
        let data = TempDir::new().expect("a folder");
        let recipes = data.path().join("recipes");
        // What the recording shows is drawn by a script, and dark.
        let lenient: String = RULES.iter().map(|rule| format!("\"qc.{rule}\" = \"warn\"\n")).collect();
        write_recipe(&recipes, "turn2", 2, &format!("[qc.policy]\n{lenient}"));
        let case = Self { data, environment: Vec::new() };
        std::fs::write(case.config(), case.text(keys)).expect("a configuration");
        case
    }

    fn text(&self, keys: &str) -> String {
        let rig = quick_rig(&format!("[rig.cameras.depth]\ndriver = \"realsense\"\n{keys}"));
        format!("{rig}\n[recipes]\nfolder = {:?}\n", self.data.path().join("recipes"))
    }

    fn config(&self) -> PathBuf {
        self.data.path().join("station.toml")
    }

    fn run(&self, verb: &[&str]) -> Ran {
        let mut command = Command::new(binary());
        command.args(verb).arg("--config").arg(self.config());
        command.arg("--data-dir").arg(self.data.path().join("data"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(Stdio::null()).output().expect("the binary runs");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The depth camera cannot be used, and it is said why; the other one shoots all the same.
    fn goes_on_without(&self, words: &[&str]) {
        let ran = self.run(&["devices"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains("sim"), "{}", ran.out);
        let ran = self.run(&["check"]);
        assert_eq!(ran.code, 69, "{ran:?}");
        let told = ran.out.lines().find(|line| line.contains("camera depth")).expect("a line of the camera");
        assert!(told.starts_with("FAIL"), "{told}");
        for word in words {
            assert!(told.contains(word), "\"{word}\" in {told}");
        }
        let good = ran.out.lines().any(|line| line.starts_with("ok") && line.contains("camera main"));
        assert!(good, "{}", ran.out);
        let ran = self.run(&["capture", "--item", "a", "--recipe", "turn2", "--release"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(pictures(&self.data.path().join("data/delivered")).len(), 2, "{ran:?}");
    }
}

/// Keys of a camera that a session can do without.
fn optional(library: &Path) -> String {
    format!("required = false\nlibrary = {library:?}")
}

/// A shared object made of this C.
fn compiled(folder: &Path, c: &str) -> PathBuf {
    let (source, library) = (folder.join("stub.c"), folder.join("librealsense2.so"));
    std::fs::write(&source, c).expect("its source");
    let mut cc = Command::new("cc");
    let made =
        cc.args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(&source).output().expect("cc runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}

/// A library that has every function and says that it is of this version. Calling any other ends the program.
fn of_version(folder: &Path, number: u32) -> PathBuf {
    let words = SHIM.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let mut names: Vec<&str> = words.filter(|word| word.starts_with("rs2_")).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name != "rs2_get_api_version");
    assert!(names.len() > 100, "{names:?}");
    let mut c = format!("void abort(void);\nint rs2_get_api_version(void **error) {{ return {number}; }}\n");
    names.iter().for_each(|name| c += &format!("void {name}(void) {{ abort(); }}\n"));
    compiled(folder, &c)
}

#[test]
fn without_librealsense_a_station_says_what_to_install_and_everything_else_works() {
    let installed = ["/usr/lib", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let found = installed.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut found = found.filter(|entry| entry.file_name().to_string_lossy().starts_with("librealsense2.so"));
    if found.next().is_some() {
        return skip("without_librealsense", "this machine has a librealsense");
    }
    let case = Case::new("required = false");
    case.goes_on_without(&["librealsense2.so.2.56", "is on this machine; install librealsense 2.56"]);
}

#[test]
fn a_library_that_is_not_where_it_was_named_is_told_by_its_path() {
    let case = Case::new(&optional(Path::new("/nowhere/librealsense2.so")));
    case.goes_on_without(&["there is no /nowhere/librealsense2.so; correct `library`, or leave it out"]);
}

#[test]
fn a_file_that_is_no_library_is_told_and_everything_else_works() {
    let folder = TempDir::new().expect("a folder");
    let text = folder.path().join("librealsense2.so");
    std::fs::write(&text, "not a library, however long it may be: ".repeat(100)).expect("a file");
    let path = text.display().to_string();
    Case::new(&optional(&text)).goes_on_without(&[&path, "invalid ELF header"]);
}

#[test]
fn a_library_without_the_functions_is_told_by_one_that_it_lacks() {
    let folder = TempDir::new().expect("a folder");
    let library = compiled(folder.path(), "int rs2_get_api_version(void **error) { return 25605; }\n");
    Case::new(&optional(&library)).goes_on_without(&["it is no librealsense of this kind: it lacks rs2_"]);
}

#[test]
fn a_library_of_a_version_that_is_too_old_or_too_new_is_told_by_its_number() {
    for (number, version) in [(24_900, "2.49.0"), (30_001, "3.0.1"), (0, "0.0.0")] {
        let folder = TempDir::new().expect("a folder");
        let library = of_version(folder.path(), number);
        let words = format!("it is version {version}; 2.50 and later 2.x can be used, best 2.56.5");
        Case::new(&optional(&library)).goes_on_without(&[&words]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_a_wrong_library_says_so_and_runs_on() {
    let folder = TempDir::new().expect("a folder");
    let case = Case::new("");
    let keys = format!("library = {:?}", of_version(folder.path(), 24_900));
    let service = Service::start(&case.text(&keys), &[]).await;
    let told = |status: &serde_json::Value| status["cameras"].as_array().is_some_and(|all| all.len() == 2);
    let status = service.until("told of both cameras", told).await;
    let cameras = status["cameras"].as_array().expect("cameras");
    let camera = |name: &str| cameras.iter().find(|camera| camera["name"] == name).expect("a camera");
    assert!(camera("main")["fault"].is_null(), "{status:#}");
    let fault = camera("depth")["fault"].as_str().expect("a fault");
    assert!(fault.contains("it is version 2.49.0"), "{fault}");
    let start = serde_json::json!({ "item": "a", "recipe": "turn2" });
    let refused = service.ask("start", start).await.expect_err("it is required");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("depth")), "{refused}");
    assert_eq!(service.status().await["station"]["name"], "station-1", "it answers on");
}

#[test]
fn with_librealsense_of_either_generation_the_same_binary_shoots_colour_and_depth() {
    for version in VERSIONS {
        let lab = match Lab::find(version) {
            Ok(lab) => lab,
            Err(why) => return skip("with_librealsense", &why),
        };
        let bag = lab.recording(30);
        let mut case = Case::new(&format!("loop = true\n{}", lab.keys(&bag)));
        case.environment = lab.environment().into();
        let ran = case.run(&["devices"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let ran = case.run(&["check"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains("Synthetic D435"), "{}", ran.out);
        let ran = case.run(&["capture", "--item", "a", "--recipe", "turn2", "--json"]);
        assert_eq!(ran.code, 0, "{version}: {ran:?}");
        let media = case.data.path().join("data/spool/media");
        let count = |ending: &str| files(&media).iter().filter(|name| name.ends_with(ending)).count();
        assert_eq!(count(".png"), 2, "{version}: a picture of distances for each frame: {:?}", files(&media));
    }
}

/// Names of all files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let each = entries.flatten().map(|entry| entry.path());
    each.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] })
        .collect()
}
