//! How large the program is and how soon it is there, without librealsense and with it.
//!
//! Nothing of librealsense is linked, and it is looked for when a depth camera is opened. So there are two stations: one
//! whose camera is simulated, and the same with a depth camera that plays a recording. Their programs take turns. A service
//! is there when it tells its manager the status that an operator reads as ready: by then every camera was opened.

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::measure::{Meter, Rounds, take_turns};
use super::table::{Row, Unmeasured};
use super::{Bench, say};

/// Unless it is told.
const ROUNDS: usize = 11;
/// A service that is not there by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// What is started, and how its row is called.
const STARTS: [(&str, &[&str]); 3] = [
    ("turnstage --version", &["--version"]),
    ("turnstage check", &["check"]),
    ("turnstage devices", &["devices"]),
];

/// A station that is started over and over.
struct Side {
    name: &'static str,
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let mut sides = vec![Side::new(bench, "without librealsense", "", Vec::new())?];
    let with = bench.realsense.as_deref().map(|folder| with_realsense(bench, folder)).transpose();
    let missing = match with {
        Ok(Some(side)) => {
            sides.push(side);
            None
        }
        Ok(None) => Some(Unmeasured("--realsense FOLDER was not given".to_owned())),
        Err(why) => Some(why),
    };
    let mut rows = vec![size()?];
    say("start: programs that end, and a service until it is ready");
    let count = STARTS.len() + 1;
    let rounds = take_turns(bench.rounds_or(ROUNDS), sides.len() * count, |which| {
        let (side, what) = (&sides[which / count], which % count);
        let begun = Meter::Wall.now();
        match STARTS.get(what) {
            Some((_, words)) => side.ends(words)?,
            None => return side.serves(),
        }
        Ok((Meter::Wall.now().saturating_sub(begun)).as_secs_f64())
    })?;
    for what in 0..count {
        rows.extend(sides.iter().enumerate().map(|(at, side)| row(&rounds, (at, what), count, side)));
    }
    rows.extend(missing.map(|why| Row::unmeasured("start, with librealsense", why)));
    sides.iter().for_each(|side| bench.scratch.forget(side.name));
    Ok(rows)
}

fn row(rounds: &Rounds, (at, what): (usize, usize), count: usize, side: &Side) -> Row {
    let name = STARTS.get(what).map_or("service until it is ready", |(name, _)| name);
    let which = at * count + what;
    let note = match at {
        0 => String::new(),
        _ => format!("{:+.1} ms to the one without", rounds.median_ms(which) - rounds.median_ms(what)),
    };
    Row::beside(&format!("{name}, {}", side.name), (rounds.median_ms(which), "ms"), note)
}

/// Size of this program, and what the loader brings to it.
fn size() -> Result<Row, Unmeasured> {
    let own = std::env::current_exe().map_err(Unmeasured::at("find its own program"))?;
    let bytes = own.metadata().map_err(Unmeasured::at("read its own size"))?.len();
    let note = match Command::new("ldd").arg(&own).output() {
        Ok(told) => {
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            let names = libraries(&told);
            format!("{} dynamic libraries: {}", names.len(), names.join(", "))
        }
        Err(error) => format!("its dynamic libraries are not known: ldd: {error}"),
    };
    Ok(Row::beside("size of the program", (bytes as f64 / 1e6, "MB"), note))
}

/// Libraries of `ldd`'s answer, but for the loader itself and what the kernel lends.
fn libraries(told: &str) -> Vec<&str> {
    told.lines().filter_map(|line| Some(line.split_once(" => ")?.0.trim())).collect()
}

/// The station with a depth camera: `folder` has the library, a recording, and what must be loaded before if it is needed.
fn with_realsense(bench: &Bench, folder: &Path) -> Result<Side, Unmeasured> {
    let [library, bag, before] = ["librealsense2.so", "turn.bag", "preload.so"].map(|name| folder.join(name));
    for file in [&library, &bag] {
        file.metadata().map_err(Unmeasured::at(&format!("find {}", file.display())))?;
    }
    let camera = format!(
        "[rig.cameras.depth]\ndriver = \"realsense\"\nlibrary = {library:?}\nbag = {bag:?}\nloop = true\n"
    );
    let mut environment = vec![("RS2_RUM_CLOUD_ENABLED", "0".into())];
    if before.exists() {
        environment.push(("LD_PRELOAD", before.into_os_string()));
    }
    Side::new(bench, "with librealsense", &camera, environment)
}

impl Side {
    fn new(
        bench: &Bench,
        name: &'static str,
        camera: &str,
        mut environment: Vec<(&'static str, OsString)>,
    ) -> Result<Self, Unmeasured> {
        let folder = bench.scratch.folder(name)?;
        let text = format!(
            "[panel]\nlisten = \"127.0.0.1:0\"\n\
             [storage]\nfree_bytes_soft = 2_000_000\nfree_bytes_hard = 1_000_000\n\
             [destinations.local]\nbackend = \"directory\"\nroot = \"delivered\"\ncreate = true\n\
             [rig.turntable]\ndriver = \"sim\"\n\
             [rig.cameras.main]\ndriver = \"sim\"\nsize = [640, 480]\n{camera}"
        );
        std::fs::write(folder.join("station.toml"), text).map_err(Unmeasured::at("write a configuration"))?;
        // The newer librealsense keeps a record in the home folder.
        environment.push(("HOME", folder.clone().into_os_string()));
        Ok(Self { name, folder, environment })
    }

    fn command(&self, words: &[&str]) -> Result<Command, Unmeasured> {
        let own = std::env::current_exe().map_err(Unmeasured::at("find its own program"))?;
        let mut command = Command::new(own);
        command.args(words).stdin(Stdio::null());
        if words != ["--version"] {
            command.arg("--config").arg(self.folder.join("station.toml"));
            command.arg("--data-dir").arg(self.folder.join("data"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs the program to its good end.
    fn ends(&self, words: &[&str]) -> Result<(), Unmeasured> {
        let output = self.command(words)?.output().map_err(Unmeasured::at("start the program"))?;
        if output.status.success() {
            return Ok(());
        }
        let [out, err] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let told = format!("{out}{err}").trim().replace('\n', "; ");
        Err(Unmeasured(format!("{words:?} {} ended with {}: {told}", self.name, output.status)))
    }

    /// Seconds from the start of the service to its being ready; then it is killed, as a power cut does.
    fn serves(&self) -> Result<f64, Unmeasured> {
        let tried = "open a service manager's socket";
        let path = self.folder.join("notify");
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).map_err(Unmeasured::at(tried))?;
        socket.set_read_timeout(Some(READY_LIMIT)).map_err(Unmeasured::at(tried))?;
        let mut command = self.command(&["run"])?;
        command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Meter::Wall.now();
        let _service = Killed(command.spawn().map_err(Unmeasured::at("start the service"))?);
        let mut told = [0; 4096];
        loop {
            let length = socket.recv(&mut told).map_err(Unmeasured::at("hear that the service is ready"))?;
            if is_ready(&String::from_utf8_lossy(&told[..length])) {
                return Ok((Meter::Wall.now().saturating_sub(begun)).as_secs_f64());
            }
        }
    }
}

/// What the service tells its manager means that one could shoot.
fn is_ready(told: &str) -> bool {
    told.lines().any(|line| {
        line.strip_prefix("STATUS=Ready").is_some_and(|rest| rest.starts_with([' ', '\0']) || rest.is_empty())
    })
}

/// Ends with whoever started it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_its_status_says_so_and_not_when_it_only_runs() {
        assert!(is_ready("STATUS=Ready Scan or type the item, then start.\n"));
        assert!(!is_ready("READY=1\n") && !is_ready("STATUS=Starting\n") && !is_ready("STATUS=Readying\n"));
    }

    #[test]
    fn the_loader_and_the_kernels_own_are_no_libraries() {
        let told = "\tlinux-vdso.so.1 (0x1)\n\tlibm.so.6 => /lib/libm.so.6 (0x2)\n\tlibc.so.6 => /lib/libc.so.6 (0x3)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x4)\n";
        assert_eq!(libraries(told), ["libm.so.6", "libc.so.6"]);
    }
}
