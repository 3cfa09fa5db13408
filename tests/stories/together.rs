//! Cameras of one rig shoot together: how much later than the first each began is on record, and the self-test says so.

use tempfile::TempDir;
use turnstage::session::SessionState;
use turnstage_tests::{Bench, lenient_policy, quick_rig, turnstage, write_recipe};

/// A second camera whose shutter opens later.
fn two(latency_ms: f64) -> String {
    quick_rig(&format!(
        "[rig.cameras.slow]\ndriver = \"sim\"\nsize = [320, 240]\nazimuth_deg = 40.0\nlatency_ms = {latency_ms:.1}\n\
         transfer_ms = 0.0\nsettings = {{ exposure_us = 8000.0, gain = 1.0, wb_kelvin = 5000.0 }}\n"
    ))
}

fn skew_ms(record: &turnstage_cloud_sync::Record) -> f64 {
    record.meta["time"]["skew_ms"].as_f64().expect("a skew")
}

#[tokio::test(start_paused = true)]
async fn what_one_camera_begins_later_than_the_first_stands_in_the_records_of_both() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn3", 3, &lenient_policy());
    let bench = Bench::in_memory(&two(150.0), data);
    let id = bench.start("turn3").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.flagged.len()), (SessionState::Review, 0));
    let records = bench.records(&id).await;
    assert_eq!(records.len(), 6);
    for record in &records {
        let late = if record.facts.camera == "slow" { 150.0 } else { 0.0 };
        assert!((skew_ms(record) - late).abs() < 1.5, "{}: {}", record.facts.camera, skew_ms(record));
    }
    bench.end().await;
}

#[test]
fn a_camera_that_begins_far_too_late_does_not_pass_the_self_test() {
    let data = TempDir::new().expect("a folder");
    let config = data.path().join("station.toml");
    let run = |latency_ms: f64| {
        std::fs::write(&config, two(latency_ms)).expect("a configuration");
        let folder = data.path().join(format!("data-{latency_ms}"));
        let [config, folder] = [config.as_path(), &folder].map(|path| path.display().to_string());
        turnstage(&["selftest", "--config", &config, "--data-dir", &folder])
    };
    let ran = run(400.0);
    let late: Vec<&str> =
        ran.out.lines().filter(|line| line.contains("after the first camera of the shot")).collect();
    assert!(ran.code == 69 && !late.is_empty(), "{ran:?}");
    assert!(late.iter().all(|line| line.starts_with("FAIL") && line.contains(" of slow ")), "{late:?}");
}
