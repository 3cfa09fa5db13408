//! Facts about the machine that the station runs on. None of its network, and no serial number.

use std::path::Path;

use serde_json::{Value, json};
use turnstage_cloud_sync::Stamp;

/// See the module.
pub(super) fn facts(now: &Stamp) -> Value {
    json!({
        "model": text("/proc/device-tree/model").map(|model| model.trim_matches('\0').to_owned()),
        "architecture": std::env::consts::ARCH,
        "system": field("/etc/os-release", "PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned()),
        "kernel": text("/proc/sys/kernel/osrelease"),
        "processors": std::thread::available_parallelism().ok().map(usize::from),
        "memory_total": field("/proc/meminfo", "MemTotal:"),
        "memory_available": field("/proc/meminfo", "MemAvailable:"),
        "load": text("/proc/loadavg"),
        "station_memory": field("/proc/self/status", "VmRSS:"),
        "station_threads": field("/proc/self/status", "Threads:"),
        "temperatures_c": temperatures(),
        "clock": now,
    })
}

/// Versions that a report needs.
pub(super) fn versions() -> Value {
    json!({
        "turnstage": env!("CARGO_PKG_VERSION"),
        "session_schema": crate::session::SESSION_SCHEMA,
        "record_schema": turnstage_cloud_sync::queue::RECORD_SCHEMA,
        "event_schema": turnstage_cloud_sync::event::EVENT_SCHEMA,
        "calibration_schema": crate::calibration::CALIBRATION_SCHEMA,
        "message_schema": crate::fleet::message::MESSAGE_SCHEMA,
    })
}

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn field(path: &str, begin: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(begin)).map(|rest| rest.trim().to_owned())
}

/// By the name of each zone.
fn temperatures() -> Vec<(String, f64)> {
    let zones = std::fs::read_dir("/sys/class/thermal").into_iter().flatten().flatten();
    let read = |zone: &Path| {
        let name = std::fs::read_to_string(zone.join("type")).ok()?;
        let milli = std::fs::read_to_string(zone.join("temp")).ok()?.trim().parse::<f64>().ok()?;
        Some((name.trim().to_owned(), milli / 1000.0))
    };
    let mut all: Vec<_> = zones.filter_map(|zone| read(&zone.path())).collect();
    all.sort_by(|one, two| one.0.cmp(&two.0));
    all
}
