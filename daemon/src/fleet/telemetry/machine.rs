//! The computer: temperatures, load, memory and, on a Jetson, its GPU, out of `/proc` and `/sys`.
//!
//! Read below a root that the caller names. What is not there, or not readable now, is `None`: zones of a Jetson whose
//! part sleeps answer with an error or with -256 °C, and no kernel but a Jetson's tells a GPU's load.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A zone that says less than this, in degrees Celsius, says nothing: its sensor sleeps.
const CELSIUS_MIN: f64 = -60.0;
/// Longest file of one figure.
const BYTES_MAX: u64 = 4096;
/// Beginnings of the names of devices that slow the machine down when it is hot. Fans cool it without.
const SLOWING: [&str; 3] = ["cpufreq", "devfreq", "Processor"];
/// End of the names of a Jetson's alerts that slow it down in hardware.
const SLOWING_ALERT: &str = "-throttle-alert";
/// Parts of the names of a Jetson's GPU among its frequencies, by generation: Orin and Nano, Orin, Xavier, TX2, TX1.
const GPU_NAMES: [&str; 5] = [".gpu", ".ga10b", ".gv11b", ".gp10b", ".gm20b"];

/// The computer now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Temperatures by zone, in order of the zones' numbers.
    pub temperatures: Vec<Zone>,
    /// The hottest of them, in degrees Celsius.
    pub temperature_max_c: Option<f64>,
    /// It is slowed down now because it is hot.
    pub throttled: Option<bool>,
    /// Part of the processors' time that was used since the figures before, 0 to 1.
    pub cpu_load: Option<f64>,
    /// Tasks that want a processor, mean of the last minute.
    pub load_1m: Option<f64>,
    /// Bytes of memory.
    pub memory_total_bytes: Option<u64>,
    /// Of these, what programs could still have.
    pub memory_available_bytes: Option<u64>,
    /// The GPU, where the kernel tells of one.
    pub gpu: Option<Gpu>,
    /// Seconds since the machine was started.
    pub uptime_s: Option<f64>,
}

/// A temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Name that the kernel gives it: `cpu-thermal`.
    pub zone: String,
    /// Degrees Celsius; `None` where its sensor does not answer.
    pub celsius: Option<f64>,
}

/// A Jetson's GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Part of its time that is used, 0 to 1.
    pub load: Option<f64>,
    /// Its clock now, in hertz.
    pub frequency_hz: Option<u64>,
    /// The fastest that it may run now, in hertz.
    pub frequency_max_hz: Option<u64>,
}

/// Reads the figures; keeps what load is reckoned from.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    /// Processor time since boot: used, all.
    before: Option<(u64, u64)>,
}

impl Machine {
    /// Files lie below `root`, which is `/` but in tests.
    pub fn new(root: PathBuf) -> Self {
        Self { root, before: None }
    }

    /// Where its files lie.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The figures now; reads files.
    pub fn read(&mut self) -> Figures {
        let temperatures = self.temperatures();
        let celsius = temperatures.iter().filter_map(|zone| zone.celsius);
        let word = |path: &str| first_number(&self.root.join(path));
        Figures {
            temperature_max_c: celsius.reduce(f64::max),
            temperatures,
            throttled: self.throttled(),
            load_1m: word("proc/loadavg"),
            memory_total_bytes: self.memory("MemTotal:"),
            memory_available_bytes: self.memory("MemAvailable:"),
            gpu: self.gpu(),
            uptime_s: word("proc/uptime"),
            cpu_load: self.cpu_load(),
        }
    }

    fn temperatures(&self) -> Vec<Zone> {
        let zone = |folder: &PathBuf| {
            let milli = number(&folder.join("temp"));
            let celsius = milli.map(|milli| milli / 1000.0).filter(|celsius| *celsius > CELSIUS_MIN);
            Some(Zone { zone: line(&folder.join("type"))?, celsius })
        };
        folders(&self.root.join("sys/class/thermal"), "thermal_zone").iter().filter_map(zone).collect()
    }

    fn throttled(&self) -> Option<bool> {
        let state = |folder: &PathBuf| {
            let name = line(&folder.join("type"))?;
            let slows = SLOWING.iter().any(|part| name.starts_with(part)) || name.ends_with(SLOWING_ALERT);
            slows.then(|| number(&folder.join("cur_state"))).flatten()
        };
        let folders = folders(&self.root.join("sys/class/thermal"), "cooling_device");
        folders.iter().filter_map(state).map(|state| state > 0.0).reduce(|one, other| one || other)
    }

    fn memory(&self, key: &str) -> Option<u64> {
        let text = text(&self.root.join("proc/meminfo"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = value.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    }

    fn gpu(&self) -> Option<Gpu> {
        let frequencies = folders(&self.root.join("sys/class/devfreq"), "");
        let is_gpu = |folder: &&PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            GPU_NAMES.iter().any(|part| name.ends_with(part))
        };
        let frequency = frequencies.iter().find(is_gpu);
        let hertz = |name: &str| frequency.and_then(|folder| number(&folder.join(name))).map(|hz| hz as u64);
        // Where its load stands has changed with the kernels.
        let load = frequency.map(|folder| folder.join("device/load"));
        let loads = load.into_iter().chain(
            ["sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load"].map(|path| self.root.join(path)),
        );
        let gpu = Gpu {
            load: loads.filter_map(|path| number(&path)).next().map(|permille| permille / 1000.0),
            frequency_hz: hertz("cur_freq"),
            frequency_max_hz: hertz("max_freq"),
        };
        (gpu != Gpu::default()).then_some(gpu)
    }

    fn cpu_load(&mut self) -> Option<f64> {
        let text = text(&self.root.join("proc/stat"));
        let now = text.as_deref().and_then(|text| text.lines().next()).and_then(processor_time);
        let before = std::mem::replace(&mut self.before, now);
        let ((used, all), (used_before, all_before)) = (now?, before?);
        let passed = all.checked_sub(all_before).filter(|passed| *passed > 0)?;
        Some((used.saturating_sub(used_before) as f64 / passed as f64).min(1.0))
    }
}

/// Used and all time out of the line `cpu  USER NICE SYSTEM IDLE IOWAIT …`; guests are within user.
fn processor_time(line: &str) -> Option<(u64, u64)> {
    let numbers = line.strip_prefix("cpu ")?.split_whitespace().take(8);
    let times: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    let all = times.iter().try_fold(0_u64, |sum, time| sum.checked_add(*time))?;
    let idle = times.get(3)?.checked_add(times.get(4).copied().unwrap_or_default())?;
    Some((all.saturating_sub(idle), all))
}

/// Folders whose names begin so, in order of the number behind it, then of the name.
fn folders(of: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let numbered = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix(beginning)?.to_owned();
        Some((name.parse().unwrap_or(u32::MAX), name, path))
    };
    let mut found: Vec<_> = entries.filter_map(|entry| numbered(entry.path())).collect();
    found.sort();
    found.into_iter().map(|(.., path)| path).collect()
}

fn text(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The text of a small file without what stands around it, if it has any.
pub(super) fn line(path: &Path) -> Option<String> {
    let text = text(path)?;
    let line = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!line.is_empty()).then(|| line.to_owned())
}

fn number(path: &Path) -> Option<f64> {
    line(path)?.parse().ok().filter(|number: &f64| number.is_finite())
}

fn first_number(path: &Path) -> Option<f64> {
    line(path)?.split_whitespace().next()?.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests;
