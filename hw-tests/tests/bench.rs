//! Runs the suite on a bench: the simulated one, or the one that `TURNSTAGE_BENCH` names.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;

use turnstage_drivers::turntable::Hand;
use turnstage_hw_tests::bench::Bench;
use turnstage_hw_tests::people::{Platter, turns_when_asked};
use turnstage_hw_tests::{OPENS_AGAIN, Outcome, Report};

fn run(bench: &Bench) -> Vec<Report> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(bench.is_simulated()).build().unwrap();
    runtime.block_on(bench.run(Hand::default())).unwrap()
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
    let bench = Bench::read(&path).unwrap();
    assert!(!bench.is_simulated() && !bench.asks_a_person());
}

#[tokio::test(start_paused = true)]
async fn a_table_that_a_person_turns_passes_on_a_bench_with_a_person_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.toml");
    std::fs::write(&path, "name = \"hand\"\nattended = true\n[turntable]\ndriver = \"manual\"\n").unwrap();
    let bench = Bench::read(&path).unwrap();
    assert!(bench.asks_a_person());
    let hand = Hand::default();
    let reports = tokio::select! {
        reports = bench.run(hand.clone()) => reports.unwrap(),
        () = turns_when_asked(hand, Platter::at_rest(12.0)) => panic!("the person went away"),
    };
    let [report] = reports.as_slice() else { panic!("one table") };
    assert_eq!(report.broken(), [""; 0], "{report}");
    assert!(report.passed("stops on the way and says so") && report.passed(OPENS_AGAIN), "{report}");
    // A bench has no calibrated camera that reads a rim.
    std::fs::write(&path, "name = \"other\"\nattended = true\n[turntable]\ndriver = \"external\"\n").unwrap();
    let error = Bench::read(&path).unwrap_err();
    assert!(error.contains("a calibrated camera of a station, and a bench has none"), "{error}");
}

#[test]
fn an_attended_bench_is_not_touched_until_it_is_said_who_stands_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.toml");
    std::fs::write(&path, "name = \"booth\"\nattended = true\n[booth]\n[cameras.main]\ndriver = \"sim\"\n")
        .unwrap();
    let (bench, report, key) = (path.display(), folder.path().join("report.json"), folder.path().join("key"));
    let run = |by: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_turnstage-bench"));
        command.arg("run").arg(bench.to_string()).arg("--to").arg(&report).arg("--key").arg(&key).args(by);
        command.output().unwrap()
    };
    for by in [&[][..], &["--by", "nobody"], &["--by", " "]] {
        let refused = run(by);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains("run it with --by NAME"), "{told}");
        assert!(refused.stdout.is_empty() && !report.exists(), "nothing was tried");
    }
    let ran = run(&["--by", "a tester"]);
    assert!(ran.status.success() && report.exists(), "{ran:?}");
}
