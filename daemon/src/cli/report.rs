//! What is printed of a session: a table for people, one object for scripts.

use anyhow::Result;
use serde::Serialize;

use super::answer::answer;
use super::desk::Desk;
use crate::window::views::{SessionDetail, SessionSummary};

/// A session in numbers, for scripts.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    session: &'a SessionSummary,
    timing: &'a crate::session::Timing,
    /// What rules found on pictures that are there.
    findings: Vec<String>,
    /// Where the first one lies.
    location: Option<&'a str>,
}

/// Prints the session; its numbers.
pub async fn session(desk: &Desk, id: &str, json: bool) -> Result<SessionSummary> {
    let detail = desk.session(id).await?;
    if json {
        let summary = Summary {
            session: &detail.summary,
            timing: &detail.timing,
            findings: findings(&detail),
            location: detail.location.as_deref(),
        };
        answer!("{}", serde_json::to_string(&summary)?);
    } else {
        print(&detail);
    }
    Ok(detail.summary)
}

fn findings(detail: &SessionDetail) -> Vec<String> {
    let each = detail.places.iter().flat_map(|place| place.findings.iter().map(move |found| (place, found)));
    each.map(|(place, f)| format!("frame {} of {}: {} ({})", place.frame, place.camera, f.message, f.rule))
        .collect()
}

fn print(detail: &SessionDetail) {
    let row = |name: &str, value: String| answer!("  {name:<10} {value}");
    let summary = &detail.summary;
    answer!("Session {} of {}: {:?}", summary.session, summary.item, summary.state);
    if let Some(reason) = &summary.reason {
        row("reason", reason.clone());
    }
    row("recipe", summary.recipe.clone());
    row("frames", format!("{} of {}", summary.frames, summary.wanted));
    row("flagged", summary.flagged.to_string());
    row("retaken", summary.retaken.to_string());
    row("bytes", format!("{:.1} MB", summary.bytes as f64 / 1e6));
    let timing = &detail.timing;
    if timing.motion_s > 0.0 {
        let floor = timing.floor_s();
        row(
            "spin",
            format!(
                "{:.1} s; motion {:.1} + settle {:.1} + exposure {:.1} = {floor:.1} s, overhead {:+.1} %",
                timing.spin_s,
                timing.motion_s,
                timing.settle_s,
                timing.exposure_s,
                100.0 * (timing.spin_s / floor - 1.0)
            ),
        );
    }
    for (state, count) in &summary.delivery {
        row(&state.to_string(), count.to_string());
    }
    if let Some(location) = &detail.location {
        row("first at", location.clone());
    }
    for finding in findings(detail) {
        answer!("  {finding}");
    }
    for waiting in &summary.waiting {
        answer!("  {} not delivered: {} ({})", waiting.pictures, waiting.reason, waiting.rule);
    }
}
