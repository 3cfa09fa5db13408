//! What is printed of a session: a table for people, one object for scripts.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use turnstage_cloud_sync::queue::State;

use super::deliver::Desk;
use crate::session::{Session, SessionState, Timing};

/// A session in numbers.
#[derive(Debug, Serialize)]
pub struct Summary {
    session: String,
    item: String,
    recipe: String,
    state: SessionState,
    reason: Option<String>,
    /// Pictures that the recipe asks for.
    wanted: usize,
    /// Pictures that are there.
    frames: usize,
    /// Of these, flagged by a rule.
    flagged: usize,
    /// Pictures that took the place of others.
    retaken: usize,
    bytes: u64,
    /// Let go, by state.
    delivery: BTreeMap<State, usize>,
    timing: Timing,
    /// What rules found on pictures that are there.
    findings: Vec<String>,
    /// Why pictures are not confirmed, with how many.
    waiting: BTreeMap<String, usize>,
    /// Where the first one lies.
    location: Option<String>,
}

impl Summary {
    /// Pictures that were let go and are not proven.
    pub fn undelivered(&self) -> usize {
        self.delivery.iter().filter(|(state, _)| **state != State::Confirmed).map(|(_, count)| count).sum()
    }
}

/// Prints the session; its numbers.
pub async fn session(desk: &Desk, id: &str, json: bool) -> Result<Summary> {
    let doc = desk.session(id).await?;
    let records = desk.running.spool.session_records(id).await?;
    let timing = doc.timing;
    let session = Session::new(doc, &records, &desk.running.spool);
    let takes = session.takes();
    let present: Vec<u64> = takes.values().map(|take| take.sequence).collect();
    let current = records.iter().filter(|record| present.contains(&record.key.sequence));
    let mut summary = Summary {
        session: id.to_owned(),
        item: session.doc.item.clone(),
        recipe: session.doc.recipe.name.clone(),
        state: session.doc.state,
        reason: session.doc.reason.clone(),
        wanted: session.status().wanted,
        frames: takes.len(),
        flagged: takes.values().filter(|take| take.is_flagged()).count(),
        retaken: takes.values().map(|take| take.take as usize - 1).sum(),
        bytes: current.clone().map(|record| record.length).sum(),
        delivery: BTreeMap::new(),
        timing,
        findings: Vec::new(),
        waiting: BTreeMap::new(),
        location: current.clone().find_map(|record| record.receipt.as_ref().map(|r| r.location.clone())),
    };
    for ((shot, camera), take) in takes {
        let told = take
            .findings
            .iter()
            .map(|f| format!("frame {} of {camera}: {} ({})", shot + 1, f.message, f.rule));
        summary.findings.extend(told);
    }
    for record in current.filter(|record| record.state != State::Captured) {
        *summary.delivery.entry(record.state).or_default() += 1;
        if record.state != State::Confirmed
            && let Some(why) = desk.why_waiting(record)
        {
            *summary.waiting.entry(why).or_default() += 1;
        }
    }
    if json {
        println!("{}", serde_json::to_string(&summary)?)
    } else {
        print(&summary)
    }
    Ok(summary)
}

fn print(summary: &Summary) {
    let row = |name: &str, value: String| println!("  {name:<10} {value}");
    println!("Session {} of {}: {:?}", summary.session, summary.item, summary.state);
    if let Some(reason) = &summary.reason {
        row("reason", reason.clone());
    }
    row("recipe", summary.recipe.clone());
    row("frames", format!("{} of {}", summary.frames, summary.wanted));
    row("flagged", summary.flagged.to_string());
    row("retaken", summary.retaken.to_string());
    row("bytes", format!("{:.1} MB", summary.bytes as f64 / 1e6));
    let timing = &summary.timing;
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
        row(&format!("{state:?}").to_lowercase(), count.to_string());
    }
    if let Some(location) = &summary.location {
        row("first at", location.clone());
    }
    for finding in &summary.findings {
        println!("  {finding}");
    }
    for (reason, count) in &summary.waiting {
        println!("  {count} not delivered: {reason}");
    }
}
