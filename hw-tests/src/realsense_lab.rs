//! The real librealsense for tests: where the library and the recordings come from, and the process that a test goes on in.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use turnstage_drivers::DeviceOptions;
use turnstage_drivers::optics::Intrinsics;

/// The version that realsense-rust was made for, and the first that records and reports otherwise; as `./dev` pins
/// them.
pub const VERSIONS: [&str; 2] = ["2.56.5", "2.59.1"];
/// Tells a test that it runs in a process of its own.
const INSIDE: &str = "TURNSTAGE_REALSENSE_LAB";
/// Brings the symbols that the wheel's file wants; Python itself never runs in the process.
const INTERPRETER: &str = "libpython3.11.so.1.0";

/// A librealsense, and a folder for recordings.
pub struct Lab {
    folder: PathBuf,
    version: &'static str,
    recordings: tempfile::TempDir,
}

impl Lab {
    /// The lab, or why there is none.
    pub fn find(version: &'static str) -> Result<Lab, String> {
        let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/lab");
        let folder = std::env::var_os("TURNSTAGE_LAB").map_or_else(|| PathBuf::from(usual), PathBuf::from);
        let lab = Lab { folder, version, recordings: tempfile::tempdir().unwrap() };
        for file in [lab.library(), lab.module(VERSIONS[0]).join("__init__.py"), lab.python()] {
            if !file.exists() {
                return Err(format!("no {}; ./dev test fetches it", file.display()));
            }
        }
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];
        if !folders.iter().any(|folder| Path::new(folder).join(INTERPRETER).exists()) {
            return Err(format!("no {INTERPRETER}; Debian has it in libpython3.11"));
        }
        Ok(lab)
    }

    fn module(&self, version: &str) -> PathBuf {
        self.folder.join(format!("realsense-{version}/pyrealsense2"))
    }

    fn library(&self) -> PathBuf {
        self.module(self.version).join("pyrealsense2.cpython-311-x86_64-linux-gnu.so")
    }

    fn python(&self) -> PathBuf {
        self.folder.join("python/bin/python")
    }

    /// What the library says of itself.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// A recording of so many sets, made by the older library: what it makes plays in both.
    pub fn recording(&self, sets: usize) -> PathBuf {
        self.record(sets, "in-time")
    }

    /// The same, with each colour exposed 30 ms after its depth.
    pub fn late_recording(&self, sets: usize) -> PathBuf {
        self.record(sets, "late")
    }

    /// The same, through a colour camera whose lens bends lines much, in the way that the library calls inverse.
    pub fn bent_recording(&self, sets: usize) -> PathBuf {
        self.record(sets, "bent")
    }

    fn record(&self, sets: usize, manner: &str) -> PathBuf {
        let bag = self.recordings.path().join(format!("{sets}-{manner}.bag"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/realsense_lab/recording.py");
        let mut python = Command::new(self.python());
        python.arg(script).arg(&bag).arg(sets.to_string()).arg(manner);
        python.env("PYTHONPATH", self.module(VERSIONS[0]).parent().unwrap()).env_remove("LD_PRELOAD");
        let made = python.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        bag
    }

    /// Where the library itself says that each pixel's ray is one metre ahead, row by row.
    pub fn rays(&self, lens: &Intrinsics) -> Vec<[f64; 2]> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/realsense_lab/rays.py");
        let mut python = Command::new(self.python());
        python.arg(script).arg(serde_json::to_string(lens).unwrap()).envs(self.environment());
        python.env("PYTHONPATH", self.module(self.version).parent().unwrap()).env_remove("LD_PRELOAD");
        let told = python.output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        serde_json::from_slice(&told.stdout).unwrap()
    }

    /// What a program must be started with to load it. The newer library keeps a record in the home folder of whoever makes
    /// a context.
    pub fn environment(&self) -> [(&'static str, OsString); 3] {
        let home = self.recordings.path().as_os_str().to_owned();
        [("LD_PRELOAD", INTERPRETER.into()), ("HOME", home), ("RS2_RUM_CLOUD_ENABLED", "0".into())]
    }

    /// A library with a live camera on a plug, which is in as long as the file behind [`Plug::pull`] is there: the real
    /// library, with what the kernel would do in between. Needs a C compiler.
    pub fn plug(&self, bag: &Path) -> Plug {
        let (folder, source) =
            (self.recordings.path(), concat!(env!("CARGO_MANIFEST_DIR"), "/src/realsense_lab/plug.c"));
        let plug = Plug { library: folder.join("librealsense2.so"), file: folder.join("plugged-in") };
        // The loader looks for it by the name that it gives itself, with the minor version at its end.
        let name = self.library().file_name().unwrap().to_string_lossy().into_owned();
        let minor = self.version.rsplit_once('.').unwrap().0;
        std::os::unix::fs::symlink(self.library(), folder.join(format!("{name}.{minor}"))).unwrap();
        let means = |name: &str, text: &Path| format!("-D{name}=\"{}\"", text.display());
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,--no-as-needed"]);
        compiler.args([means("LIBRARY", &self.library()), means("BAG", bag), means("PLUG", &plug.file)]);
        compiler.arg(format!("-Wl,-rpath,{}", folder.display()));
        compiler.arg(means("SERIAL", Path::new(Plug::SERIAL))).arg("-o").arg(&plug.library).arg(source);
        let built = compiler.arg(self.library()).arg("-ldl").env_remove("LD_PRELOAD").output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        plug.put();
        plug
    }

    /// Keys of a camera that plays `bag` with this library.
    pub fn keys(&self, bag: &Path) -> String {
        format!("library = \"{}\"\nbag = \"{}\"", self.library().display(), bag.display())
    }
}

/// The plug of a camera that is not there.
pub struct Plug {
    library: PathBuf,
    file: PathBuf,
}

impl Plug {
    /// What the camera tells, by its recording.
    pub const SERIAL: &str = "000000000042";

    /// Keys of the camera at this plug.
    pub fn keys(&self) -> String {
        let library = self.library.display();
        format!(
            "library = \"{library}\"\nserial = \"{}\"\nsize = [320, 240]\ndepth_size = [320, 240]",
            Self::SERIAL
        )
    }

    /// Pulls it.
    pub fn pull(&self) {
        std::fs::remove_file(&self.file).unwrap();
    }

    /// Puts it in.
    pub fn put(&self) {
        std::fs::write(&self.file, b"").unwrap();
    }
}

/// Options of a RealSense with these keys.
pub fn options(keys: &str) -> DeviceOptions {
    DeviceOptions { driver: "realsense".to_owned(), keys: toml::from_str(keys).unwrap() }
}

/// Runs `test` with the reference library, in a process of its own; `name` is that of the test around it.
pub fn in_lab(name: &str, test: impl AsyncFnOnce(Lab)) {
    within(name, VERSIONS[0], &[], test);
}

/// The same with the newer library and more of an environment.
pub fn in_next_lab(name: &str, environment: &[(&str, &str)], test: impl AsyncFnOnce(Lab)) {
    within(name, VERSIONS[1], environment, test);
}

fn within(name: &str, version: &'static str, environment: &[(&str, &str)], test: impl AsyncFnOnce(Lab)) {
    let lab = match Lab::find(version) {
        Ok(lab) => lab,
        Err(reason) => return skip(name, &reason),
    };
    if std::env::var_os(INSIDE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        return runtime.enable_all().build().unwrap().block_on(test(lab));
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    child.envs(lab.environment()).envs(environment.iter().copied());
    let ran = child.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", ran.status);
}

/// A prerequisite is missing: a failure where `CI=true`, a line for the list of skips elsewhere.
pub fn skip(name: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} cannot run here: {reason}");
    println!("SKIP {name}: {reason}");
}
