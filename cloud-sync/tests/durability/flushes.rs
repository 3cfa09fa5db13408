//! What a durable put costs, counted by strace.

use super::support::skip;
use super::writer::{Model, Writer};

#[test]
fn a_put_of_one_frame_costs_four_flushes() {
    let name = "a_put_of_one_frame_costs_four_flushes";
    if !std::process::Command::new("strace").arg("-V").output().is_ok_and(|strace| strace.status.success()) {
        return skip(name, "strace is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut flushes = Vec::new();
    for steps in [10, 40] {
        let trace = dir.path().join(format!("trace-{steps}"));
        let strace = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", trace.to_str().unwrap()];
        let spool = dir.path().join(format!("spool-{steps}"));
        let seen = Writer::start_below(&strace, &spool, 1, steps).finish(&mut Model::default());
        if seen == 0 {
            return skip(name, "strace may not trace here");
        }
        assert_eq!(seen, steps);
        let trace = std::fs::read_to_string(trace).unwrap();
        flushes.push(
            trace.lines().filter(|line| line.contains("fsync(") || line.contains("fdatasync(")).count(),
        );
    }
    // The difference leaves out what opening and closing cost.
    let each = (flushes[1] - flushes[0]) as f64 / 30.0;
    println!("{each:.2} flushes a put");
    assert!((3.9..=4.0).contains(&each), "{each} flushes a put, {flushes:?}");
}
