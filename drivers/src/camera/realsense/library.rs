//! librealsense, looked for and loaded when the first camera is opened, and never unloaded.
//!
//! A station without a depth camera needs no library: whoever opens one without it is told what was tried. Nothing of
//! a library is called before all of it was found and its version was accepted.
// Calls into a library that the compiler knows nothing of, in this file only.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use libloading::os::unix;
use tokio::time::Instant;

use super::shim;
use crate::CameraError;

/// What people call it.
const NAME: &str = "librealsense2";
/// Looked for in this order; the file's name carries the minor version. 2.56 is what realsense-rust was made for.
const CANDIDATES: &[&str] = &[
    "librealsense2.so.2.56",
    "librealsense2.so.2.57",
    "librealsense2.so.2.58",
    "librealsense2.so.2.59",
    "librealsense2.so.2.55",
    "librealsense2.so.2.54",
    "librealsense2.so.2.53",
    "librealsense2.so.2.51",
    "librealsense2.so.2.50",
    "librealsense2.so",
];
const MAJOR: i32 = 2;
/// Older ones were never tried with what realsense-rust expects.
const MINOR_MIN: i32 = 50;

/// The library in use: proof that its functions can be called.
#[derive(Debug)]
pub(super) struct Library {
    /// As it was asked for.
    pub(super) path: PathBuf,
    /// As it says.
    pub(super) version: Version,
}

/// `2.56.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    major: i32,
    minor: i32,
    patch: i32,
}

impl Version {
    /// From the library's own number, `major * 10000 + minor * 100 + patch`.
    fn of(number: c_int) -> Version {
        Version { major: number / 10_000, minor: number / 100 % 100, patch: number % 100 }
    }

    fn check(self) -> Result<(), String> {
        if self.major == MAJOR && self.minor >= MINOR_MIN {
            return Ok(());
        }
        Err(format!("it is version {self}; {MAJOR}.{MINOR_MIN} and later {MAJOR}.x can be used, best 2.56.5"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// Held while a pipeline starts or stops: librealsense crashed at random when two threads did so at once.
static PIPELINES: Mutex<()> = Mutex::new(());
/// Starting or stopping takes a second or two; a camera that takes longer hangs, and may do so for ever.
const TURN_LIMIT: Duration = Duration::from_secs(6);
/// Between two looks whether it is our turn.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Does what no two cameras may do at the same time, for the camera `id`.
///
/// # Errors
///
/// [`CameraError::Attention`] when another camera hangs in it. Nothing was done then, and no thread is left waiting.
pub(super) fn alone<T>(id: &str, work: impl FnOnce() -> T) -> Result<T, CameraError> {
    let Some(_guard) = turn(TURN_LIMIT) else {
        let what = "another RealSense camera hangs while it starts or stops; unplug that one, then restart the station";
        return Err(CameraError::Attention { id: id.to_owned(), what: what.to_owned() });
    };
    Ok(work())
}

/// The lock, once it is free, or nothing within `limit`.
fn turn(limit: Duration) -> Option<MutexGuard<'static, ()>> {
    let until = Instant::now() + limit;
    loop {
        match PIPELINES.try_lock() {
            Ok(guard) => return Some(guard),
            // What a panic left behind is the library's; the lock itself guards nothing.
            Err(TryLockError::Poisoned(left)) => return Some(left.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOOK_EVERY),
        }
    }
}

/// The library at `configured`, or the first of those that are usual. All cameras of a process share one.
///
/// # Errors
///
/// [`CameraError::LibraryMissing`] with what was tried, what was wrong with each that is there, and what to do.
pub(super) fn load(id: &str, configured: Option<&Path>) -> Result<&'static Library, CameraError> {
    let missing = |why| CameraError::LibraryMissing { id: id.to_owned(), library: NAME.to_owned(), why };
    let same = |library: &'static Library| match configured {
        Some(path) if path != library.path => Err(missing(format!(
            "{} is in use already, and a process can have one only; name the same for every camera",
            library.path.display()
        ))),
        _ => Ok(library),
    };
    // Once it is there, nobody waits for a camera that hangs.
    if let Some(library) = LIBRARY.get() {
        return same(library);
    }
    alone(id, || {
        if let Some(library) = LIBRARY.get() {
            return same(library);
        }
        let library = find(configured).map_err(missing)?;
        tracing::info!("librealsense {} from {}", library.version, library.path.display());
        Ok(LIBRARY.get_or_init(|| library))
    })?
}

fn find(configured: Option<&Path>) -> Result<Library, String> {
    if let Some(path) = configured {
        return open(path).map_err(|why| match why {
            Refusal::NotThere => {
                format!("there is no {}; correct `library`, or leave it out", path.display())
            }
            Refusal::Unusable(what) => format!("{}: {what}", path.display()),
        });
    }
    let mut unusable = Vec::new();
    for name in CANDIDATES {
        match open(Path::new(name)) {
            Ok(library) => return Ok(library),
            Err(Refusal::NotThere) => {}
            Err(Refusal::Unusable(what)) => unusable.push(format!("{name}: {what}")),
        }
    }
    Err(match unusable.as_slice() {
        [] => format!(
            "none of {} is on this machine; install librealsense 2.56, or name its file with `library = \"/…\"`",
            CANDIDATES.join(", ")
        ),
        some => some.join("; "),
    })
}

enum Refusal {
    NotThere,
    Unusable(String),
}

fn open(path: &Path) -> Result<Library, Refusal> {
    // SAFETY: runs the initialisers of a library that the station's owner installed or named.
    let opened = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL) };
    let opened = opened.map_err(|error| {
        // The loader's own words name the file that is missing, which may be another one that this one needs.
        let words = match &error {
            libloading::Error::DlOpen { source } => source.to_string(),
            other => other.to_string(),
        };
        let itself = format!("{}: cannot open shared object file: No such file", path.display());
        if words.starts_with(&itself) { Refusal::NotThere } else { Refusal::Unusable(words) }
    })?;
    let checked = check(&opened);
    // Never unloaded: its threads and callbacks would be left without code, and so would those of a refused one that
    // its initialisers may have started.
    std::mem::forget(opened);
    let (addresses, version) = checked.map_err(Refusal::Unusable)?;
    shim::fill(&addresses);
    Ok(Library { path: path.to_owned(), version })
}

/// Finds every function and only then calls the first: the one that tells the version.
fn check(library: &unix::Library) -> Result<(Vec<*mut c_void>, Version), String> {
    let find = |name: &str| address(library, name);
    let addresses: Result<Vec<_>, String> = shim::NAMES
        .iter()
        .map(|name| find(name).ok_or_else(|| format!("it is no librealsense of this kind: it lacks {name}")))
        .collect();
    let addresses = addresses?;
    let number = find("rs2_get_api_version").ok_or("it is no librealsense: it lacks rs2_get_api_version")?;
    let version = Version::of(ask(number)?);
    version.check()?;
    if let Some(reports) = find("rs2_rum_is_cloud_enabled")
        && ask(reports)? != 0
    {
        let cure = "start the station with RS2_RUM_CLOUD_ENABLED=0 in its environment";
        return Err(format!("version {version} is set to report usage to its maker; {cure}"));
    }
    Ok((addresses, version))
}

fn address(library: &unix::Library, name: &str) -> Option<*mut c_void> {
    // SAFETY: only the address is taken; what it is used as is decided where it is used.
    let symbol = unsafe { library.get::<*mut c_void>(name) };
    symbol.ok().map(|symbol| symbol.as_raw_ptr()).filter(|address| !address.is_null())
}

/// Calls a function that takes a place for an error and returns a number.
fn ask(function: *mut c_void) -> Result<c_int, String> {
    let mut error: *mut c_void = std::ptr::null_mut();
    // SAFETY: `int rs2_get_api_version(rs2_error**)` and `int rs2_rum_is_cloud_enabled(rs2_error**)` by the library's
    // headers rs.h and rs_rum.h; every other function of it was found too, so it is a librealsense.
    let answer = unsafe {
        let function: extern "C" fn(*mut *mut c_void) -> c_int = std::mem::transmute(function);
        function(&mut error)
    };
    if error.is_null() { Ok(answer) } else { Err("it does not tell its version".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_camera_that_hangs_while_it_starts_keeps_no_other_waiting_for_ever() {
        let ((started, begins), (go, hangs)) = (channel(), channel::<()>());
        let hanging = std::thread::spawn(move || {
            alone("hangs", || {
                started.send(()).unwrap();
                hangs.recv().unwrap_or_default();
            })
        });
        begins.recv().unwrap();
        assert!(turn(Duration::from_millis(20)).is_none());
        // What it leaves behind does not stay locked.
        drop(go);
        hanging.join().unwrap().unwrap();
        assert_eq!(alone("other", || 7).unwrap(), 7);
    }

    #[test]
    fn old_and_unknown_versions_are_refused_by_number() {
        for (number, text, good) in [
            (25_605, "2.56.5", true),
            (25_901, "2.59.1", true),
            (25_000, "2.50.0", true),
            (24_902, "2.49.2", false),
            (30_001, "3.0.1", false),
            (0, "0.0.0", false),
        ] {
            let version = Version::of(number);
            assert_eq!((version.to_string(), version.check().is_ok()), (text.to_owned(), good));
        }
        let error = Version::of(24_902).check().unwrap_err();
        assert!(error.contains("2.49.2") && error.contains("2.50"), "{error}");
    }

    #[test]
    fn another_library_is_refused_by_the_function_that_it_lacks() {
        let error = find(Some(Path::new("libm.so.6"))).unwrap_err();
        assert_eq!(
            error,
            format!("libm.so.6: it is no librealsense of this kind: it lacks {}", shim::NAMES[0])
        );
    }

    #[test]
    fn a_library_that_is_not_there_or_is_none_is_told_apart() {
        let error = find(Some(Path::new("/nowhere/librealsense2.so"))).unwrap_err();
        assert!(error.starts_with("there is no /nowhere/librealsense2.so; correct `library`"), "{error}");
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "not a library").unwrap();
        let error = find(Some(text.path())).unwrap_err();
        assert!(error.contains("file too short") || error.contains("invalid ELF header"), "{error}");
    }
}
