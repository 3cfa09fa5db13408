//! A Jetson laid out as files, a machine that tells nothing, and files that say nonsense.

use super::*;

fn lay(root: &Path, files: &[(&str, &str)]) {
    for (file, text) in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

const STAT: &str = "proc/stat";

/// What an Orin's kernel shows; its camera's zone sleeps.
const ORIN: &[(&str, &str)] = &[
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "48500\n"),
    ("sys/class/thermal/thermal_zone2/type", "cv0-thermal\n"),
    ("sys/class/thermal/thermal_zone2/temp", "-256000\n"),
    ("sys/class/thermal/thermal_zone10/type", "tj-thermal\n"),
    ("sys/class/thermal/thermal_zone10/temp", "51250\n"),
    ("sys/class/thermal/thermal_zone3/type", "cv1-thermal\n"),
    ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
    ("sys/class/thermal/cooling_device0/cur_state", "2\n"),
    ("sys/class/thermal/cooling_device1/type", "cpufreq-cpu0\n"),
    ("sys/class/thermal/cooling_device1/cur_state", "0\n"),
    ("sys/class/thermal/cooling_device2/type", "gpu-throttle-alert\n"),
    ("sys/class/thermal/cooling_device2/cur_state", "0\n"),
    ("sys/class/devfreq/15340000.vic/cur_freq", "115200000\n"),
    ("sys/class/devfreq/17000000.gpu/cur_freq", "306000000\n"),
    ("sys/class/devfreq/17000000.gpu/max_freq", "624750000\n"),
    ("sys/class/devfreq/17000000.gpu/device/load", "437\n"),
    ("proc/loadavg", "1.52 0.90 0.40 2/312 4711\n"),
    ("proc/uptime", "86412.37 300000.12\n"),
    (
        "proc/meminfo",
        "MemTotal:        7802344 kB\nMemFree:          312000 kB\nMemAvailable:    5100000 kB\n",
    ),
    (STAT, "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\n"),
];

#[test]
fn a_jetson_tells_of_its_zones_its_gpu_and_its_memory() {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), ORIN);
    let figures = Machine::new(root.path().to_owned()).read();
    let zones: Vec<_> = figures.temperatures.iter().map(|zone| (zone.zone.as_str(), zone.celsius)).collect();
    assert_eq!(
        zones,
        [
            ("cpu-thermal", Some(48.5)),
            ("cv0-thermal", None),
            ("cv1-thermal", None),
            ("tj-thermal", Some(51.25))
        ]
    );
    assert_eq!(figures.temperature_max_c, Some(51.25));
    let gpu = Gpu { load: Some(0.437), frequency_hz: Some(306_000_000), frequency_max_hz: Some(624_750_000) };
    assert_eq!(figures.gpu, Some(gpu));
    assert_eq!(figures.throttled, Some(false), "a fan that turns slows nothing down");
    assert_eq!((figures.load_1m, figures.uptime_s), (Some(1.52), Some(86_412.37)));
    assert_eq!(figures.memory_total_bytes, Some(7_802_344 * 1024));
    assert_eq!(figures.memory_available_bytes, Some(5_100_000 * 1024));
}

#[test]
fn an_older_jetson_keeps_its_gpu_elsewhere_and_an_alert_says_that_it_is_slowed_down() {
    let root = tempfile::tempdir().unwrap();
    lay(
        root.path(),
        &[
            ("sys/devices/gpu.0/load", "1000\n"),
            ("sys/class/devfreq/57000000.gpu/cur_freq", "76800000\n"),
            ("sys/class/thermal/cooling_device4/type", "cpu-throttle-alert\n"),
            ("sys/class/thermal/cooling_device4/cur_state", "1\n"),
        ],
    );
    let figures = Machine::new(root.path().to_owned()).read();
    let gpu = Gpu { load: Some(1.0), frequency_hz: Some(76_800_000), frequency_max_hz: None };
    assert_eq!((figures.gpu, figures.throttled), (Some(gpu), Some(true)));
}

#[test]
fn load_is_that_between_two_readings() {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), ORIN);
    let mut machine = Machine::new(root.path().to_owned());
    assert_eq!(machine.read().cpu_load, None, "one reading tells of no time between");
    lay(root.path(), &[(STAT, "cpu  130 0 70 830 70 0 0 0 0 0\n")]);
    assert_eq!(machine.read().cpu_load, Some(0.5));
    assert_eq!(machine.read().cpu_load, None, "no time passed");
}

#[test]
fn what_a_machine_does_not_tell_is_none_and_nonsense_is_no_panic() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(Machine::new(root.path().to_owned()).read(), Figures::default());
    let nonsense: Vec<_> =
        ORIN.iter().map(|(file, _)| (*file, "cpu  \u{1F980} 99999999999999999999 NaN")).collect();
    lay(root.path(), &nonsense);
    let mut machine = Machine::new(root.path().to_owned());
    machine.read();
    let figures = machine.read();
    assert_eq!((figures.temperature_max_c, figures.gpu, figures.cpu_load), (None, None, None));
    assert_eq!((figures.load_1m, figures.memory_total_bytes), (None, None));
}
