//! Runs the suite on a bench: the simulated one, or the one that `TURNSTAGE_BENCH` names.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;

use turnstage_hw_tests::bench::Bench;
use turnstage_hw_tests::{Outcome, Report};

fn run(bench: &Bench) -> Vec<Report> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(bench.is_simulated()).build().unwrap();
    runtime.block_on(bench.run()).unwrap()
}

fn bench(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches").join(file)
}

fn sim() -> PathBuf {
    bench("sim.toml")
}

#[test]
fn every_device_of_the_bench_keeps_its_promises() {
    let path = std::env::var_os("TURNSTAGE_BENCH").map_or_else(sim, PathBuf::from);
    let bench = Bench::read(&path).unwrap();
    println!("{}", bench.name);
    for report in run(&bench) {
        println!("{report}");
        assert_eq!(report.broken(), [""; 0], "{report}");
    }
}

#[test]
fn the_simulated_bench_tries_every_promise() {
    let reports = run(&Bench::read(&sim()).unwrap());
    let devices: Vec<&str> = reports.iter().map(|r| r.device.as_str()).collect();
    assert_eq!(devices, ["turntable sim sim", "camera sim front", "camera sim top"]);
    for report in reports {
        assert!(report.checks.len() >= 8, "{report}");
        assert!(report.checks.iter().all(|check| check.outcome == Outcome::Passed), "{report}");
    }
}

#[test]
fn a_simulated_table_that_tilts_keeps_its_promises_too() {
    let reports = run(&Bench::read(&bench("sim-tilt.toml")).unwrap());
    let [report] = reports.as_slice() else { panic!("one table") };
    assert!(report.checks.iter().all(|check| check.outcome == Outcome::Passed), "{report}");
    let seen = report.checks.iter().filter(|check| check.name.contains("tilt")).count();
    assert_eq!(seen, 3, "{report}");
}

#[test]
fn a_real_motor_is_not_moved_without_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.toml");
    std::fs::write(&path, "name = \"real\"\n[turntable]\ndriver = \"grbl\"\n").unwrap();
    let error = Bench::read(&path).unwrap_err();
    assert!(error.contains("attended = true") && error.contains("bench.toml"), "{error}");
    std::fs::write(&path, "name = \"real\"\nattended = true\n[turntable]\ndriver = \"grbl\"\n").unwrap();
    assert!(!Bench::read(&path).unwrap().is_simulated());
}
