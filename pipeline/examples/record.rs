//! Prints what the examiner knows about picture files, one JSON object a line: to choose limits by.
//!
//! `cargo run --example record -- photos/*.jpg`

use turnstage_pipeline::{Examiner, InputLimits, qc};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut examiner = Examiner::new(InputLimits::default())?;
    let limits = qc::Limits::default();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).map_err(|error| format!("reading {path}: {error}"))?;
        let mut record = serde_json::to_value(examiner.examine(&bytes, &limits))?;
        record["file"] = path.into();
        println!("{record}");
    }
    Ok(())
}
