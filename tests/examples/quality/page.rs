//! The page: tables of what was found, with the text around them.

use std::fmt::Write;

use turnstage_pipeline::qc::Limits;

use crate::Judged;
use crate::spoil::Blur;
use crate::turns::{Named, OBJECTS};

/// Whether a picture is one of a set.
type Belongs = dyn Fn(&&Judged) -> bool;

/// Everything as Markdown.
pub(crate) fn write(
    judged: &[Judged],
    (frames, false_alarms): (u32, &[String]),
    named: &[Named],
) -> Result<String, std::fmt::Error> {
    let limit = Limits::default().blur_px_max;
    let mut page = String::new();
    page.write_str(include_str!("head.md"))?;
    writeln!(page, "\n## Blur\n\nThe default limit is {limit} px (`blur_px_max`).\n")?;
    blur_table(&mut page, judged, limit)?;
    by_kind(&mut page, judged, limit)?;
    good(&mut page, judged, limit, frames, false_alarms)?;
    confusion(&mut page, named)?;
    Ok(page)
}

fn is_good(picture: &&Judged) -> bool {
    picture.blur == Blur::None
}

fn is_bad(picture: &&Judged) -> bool {
    picture.blur.is_bad()
}

/// The part of pairs of a good and a bad picture that `score` orders rightly (larger is blurrier); ties count half.
fn auc(good: &[f64], bad: &[f64]) -> f64 {
    let mut sorted = good.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |value: f64| sorted.partition_point(|&other| other < value) as f64;
    let upto = |value: f64| sorted.partition_point(|&other| other <= value) as f64;
    let pairs: f64 = bad.iter().map(|&value| (below(value) + upto(value)) / 2.0).sum();
    pairs / (good.len() * bad.len()) as f64
}

fn blur_table(page: &mut String, judged: &[Judged], limit: f64) -> std::fmt::Result {
    writeln!(
        page,
        "| pictures | sharp | blurred | AUC, blur in px | AUC, Laplacian variance at half size | at full size | blurred ones found | sharp ones flagged |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    let sets: [(&str, &Belongs); 5] = [
        ("photographs, one half", &|p| p.source == "photographs" && p.chosen_on),
        ("photographs, the other half", &|p| p.source == "photographs" && !p.chosen_on),
        ("rendered, limit chosen on", &|p| p.source == "rendered" && p.chosen_on),
        ("rendered, objects seen after", &|p| p.source == "rendered" && !p.chosen_on),
        ("all", &|_| true),
    ];
    for (name, belongs) in sets {
        let good: Vec<&Judged> = judged.iter().filter(belongs).filter(is_good).collect();
        let bad: Vec<&Judged> = judged.iter().filter(belongs).filter(is_bad).collect();
        let area = |score: &dyn Fn(&Judged) -> f64| {
            let of = |set: &[&Judged]| set.iter().map(|picture| score(picture)).collect::<Vec<f64>>();
            auc(&of(&good), &of(&bad))
        };
        let found = bad.iter().filter(|picture| picture.blur_px > limit).count();
        let flagged = good.iter().filter(|picture| picture.blur_px > limit).count();
        writeln!(
            page,
            "| {name} | {} | {} | {:.4} | {:.4} | {:.4} | {found} ({:.1} %) | {flagged} |",
            good.len(),
            bad.len(),
            area(&|picture| picture.blur_px),
            area(&|picture| -picture.lapvar[1]),
            area(&|picture| -picture.lapvar[0]),
            100.0 * found as f64 / bad.len().max(1) as f64
        )?;
    }
    let mut flagged: Vec<&str> =
        judged.iter().filter(is_good).filter(|p| p.blur_px > limit).map(|p| p.name.as_str()).collect();
    flagged.dedup();
    writeln!(page, "\nSharp ones that were flagged: {}.", listed(&flagged))
}

fn by_kind(page: &mut String, judged: &[Judged], limit: f64) -> std::fmt::Result {
    writeln!(
        page,
        "\n| spoilt by | pictures | blur in px: 2nd percentile, median, 98th | flagged |\n|---|---|---|---|"
    )?;
    for blur in crate::BLURS {
        let mut widths: Vec<f64> = judged.iter().filter(|p| p.blur == blur).map(|p| p.blur_px).collect();
        widths.sort_by(f64::total_cmp);
        let at = |part: f64| widths[((widths.len() - 1) as f64 * part).round() as usize];
        let flagged = widths.iter().filter(|&&width| width > limit).count();
        writeln!(
            page,
            "| {} | {} | {:.2}, {:.2}, {:.2} | {:.1} % |",
            blur.name(),
            widths.len(),
            at(0.02),
            at(0.5),
            at(0.98),
            100.0 * flagged as f64 / widths.len() as f64
        )?;
    }
    let missed = judged.iter().filter(is_bad).filter(|p| p.blur_px <= limit);
    let missed: Vec<String> = missed
        .map(|p| {
            format!(
                "{} ({}, noise {}, quality {}: {:.2} px)",
                p.name,
                p.blur.name(),
                p.noise,
                p.quality,
                p.blur_px
            )
        })
        .collect();
    let missed: Vec<&str> = missed.iter().map(String::as_str).take(40).collect();
    writeln!(page, "\nBlurred ones that were missed (at most 40 are named): {}.", listed(&missed))
}

fn good(
    page: &mut String,
    judged: &[Judged],
    limit: f64,
    frames: u32,
    false_alarms: &[String],
) -> std::fmt::Result {
    let mut real: Vec<&str> =
        judged.iter().filter(|p| p.source == "photographs").map(|p| p.name.as_str()).collect();
    real.dedup();
    let soft =
        judged.iter().filter(|p| p.source == "photographs" && p.blur == Blur::None && p.blur_px > limit);
    let mut soft: Vec<&str> = soft.map(|p| p.name.as_str()).collect();
    soft.dedup();
    writeln!(
        page,
        "\n## False alarms\n\n{frames} frames of good turns of {} objects ({}), every check on: {} with a finding{}{}\n\n\
         Of {} photographs as taken, {} above the limit: {}.",
        OBJECTS.len(),
        OBJECTS.join(", "),
        false_alarms.len(),
        if false_alarms.is_empty() { "." } else { ": " },
        false_alarms.join("; "),
        real.len(),
        soft.len(),
        listed(&soft)
    )
}

fn confusion(page: &mut String, named: &[Named]) -> std::fmt::Result {
    writeln!(
        page,
        "\n## Which check names which fault\n\nOnce for each of {} objects.\n\n| fault | should be named by | named first by | followed by |\n|---|---|---|---|",
        OBJECTS.len()
    )?;
    let counts = |counts: &std::collections::BTreeMap<String, u32>| {
        let each: Vec<String> = counts.iter().map(|(rule, times)| format!("`{rule}` {times}")).collect();
        each.join(", ")
    };
    let (mut right, mut all) = (0, 0);
    for fault in named {
        let (good, of) = fault.right();
        right += good;
        all += of;
        writeln!(
            page,
            "| {} | `{}` | {} | {} |",
            fault.fault,
            fault.rule,
            counts(&fault.first),
            counts(&fault.followers)
        )?;
    }
    writeln!(page, "\n{right} of {all} were named first by the right check.")
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
