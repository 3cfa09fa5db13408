//! The page: tables of what was found, with the text around them.

use std::fmt::Write;

use turnstage_pipeline::qc::Limits;
use turnstage_tests::turns::{Good, Named};

use crate::Judged;
use crate::spoil::Blur;
use crate::unseen;

/// Whether a picture is one of a set.
type Belongs = dyn Fn(&&Judged) -> bool;

/// Good turns, and what named each fault.
type Turns = (Vec<Good>, Vec<Named>);

/// Everything that was looked at, as Markdown; `missing` are photographs that could not be fetched.
pub(crate) fn write(
    judged: &[Judged],
    missing: &[String],
    turns: Option<&Turns>,
) -> Result<String, std::fmt::Error> {
    let limit = Limits::default().blur_px_max;
    let (unseen, seen): (Vec<&Judged>, Vec<&Judged>) = judged.iter().partition(|p| p.source == unseen::KIND);
    let mut page = String::new();
    page.write_str(include_str!("head.md"))?;
    if !judged.is_empty() {
        writeln!(page, "\n## Blur\n\nThe default limit is {limit} px (`blur_px_max`).\n")?;
        blur_table(&mut page, judged, limit)?;
    }
    if !missing.is_empty() {
        writeln!(
            page,
            "\n**Not all unseen photographs could be fetched**, so these were not judged: {}.",
            missing.join(", ")
        )?;
    }
    if !seen.is_empty() {
        writeln!(page, "\n### Photographs and rendered pictures")?;
        by_kind(&mut page, &seen, limit)?;
    }
    if !unseen.is_empty() {
        writeln!(page, "\n### Photographs, unseen")?;
        by_kind(&mut page, &unseen, limit)?;
    }
    if let Some((turns, named)) = turns {
        good(&mut page, turns)?;
        confusion(&mut page, named)?;
    }
    Ok(page)
}

impl Judged {
    fn is_flagged(&self, limit: f64) -> bool {
        self.width_px() > limit
    }

    /// As it is judged: what cannot be measured passes.
    fn width_px(&self) -> f64 {
        self.blur_px.unwrap_or(0.0)
    }
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
        ("photographs, limit chosen on", &|p| p.source == "photographs"),
        ("rendered, limit chosen on", &|p| p.source == "rendered" && p.chosen_on),
        ("rendered, unseen objects", &|p| p.source == "rendered" && !p.chosen_on),
        ("all of these", &|p| p.source != unseen::KIND),
        (unseen::KIND, &|p| p.source == unseen::KIND),
    ];
    for (name, belongs) in sets {
        let good: Vec<&Judged> = judged.iter().filter(belongs).filter(is_good).collect();
        let bad: Vec<&Judged> = judged.iter().filter(belongs).filter(is_bad).collect();
        if good.is_empty() {
            continue;
        }
        let area = |score: &dyn Fn(&Judged) -> f64| {
            let of = |set: &[&Judged]| set.iter().map(|picture| score(picture)).collect::<Vec<f64>>();
            auc(&of(&good), &of(&bad))
        };
        let found = bad.iter().filter(|picture| picture.is_flagged(limit)).count();
        let flagged = good.iter().filter(|picture| picture.is_flagged(limit)).count();
        writeln!(
            page,
            "| {name} | {} | {} | {:.4} | {:.4} | {:.4} | {found} ({:.1} %) | {flagged} |",
            good.len(),
            bad.len(),
            area(&|picture| picture.width_px()),
            area(&|picture| -picture.lapvar[1]),
            area(&|picture| -picture.lapvar[0]),
            100.0 * found as f64 / bad.len().max(1) as f64
        )?;
    }
    Ok(())
}

fn by_kind(page: &mut String, judged: &[&Judged], limit: f64) -> std::fmt::Result {
    writeln!(
        page,
        "\n| spoilt by | pictures | blur in px: 2nd percentile, median, 98th | flagged |\n|---|---|---|---|"
    )?;
    for blur in crate::BLURS {
        let mut widths: Vec<f64> = judged.iter().filter(|p| p.blur == blur).map(|p| p.width_px()).collect();
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
    let flagged = judged.iter().filter(|p| is_good(p) && p.is_flagged(limit));
    writeln!(page, "\nSharp ones that were flagged: {}.", listed(flagged))?;
    let missed = judged.iter().filter(|p| is_bad(p) && !p.is_flagged(limit));
    writeln!(page, "\nBlurred ones that were missed: {}.", listed(missed))
}

fn good(page: &mut String, turns: &[Good]) -> std::fmt::Result {
    writeln!(page, "\n## False alarms\n\nFrames of good turns, every check on:\n")?;
    for Good { objects, frames, false_alarms } in turns {
        writeln!(
            page,
            "- {frames} frames of {}: {} with a finding{}{}",
            objects.join(", "),
            false_alarms.len(),
            if false_alarms.is_empty() { "." } else { ": " },
            false_alarms.join("; ")
        )?;
    }
    Ok(())
}

fn confusion(page: &mut String, named: &[Named]) -> std::fmt::Result {
    writeln!(
        page,
        "\n## Which check names which fault\n\nOnce for each object, those of the good turns.\n\n| fault | should be named by | named first by | followed by | named by another |\n|---|---|---|---|---|"
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
            "| {} | `{}` | {} | {} | {} |",
            fault.fault,
            fault.rule,
            counts(&fault.first),
            counts(&fault.followers),
            fault.wrong.join(", ")
        )?;
    }
    writeln!(page, "\n{right} of {all} were named first by the right check.")
}

/// Pictures by name, each with what was done to it and what was measured.
fn listed<'a>(pictures: impl Iterator<Item = &'a &'a Judged>) -> String {
    let mut names: Vec<(&str, Vec<String>)> = Vec::new();
    for picture in pictures {
        let width = picture.blur_px.map_or_else(|| "not measured".to_owned(), |px| format!("{px:.2} px"));
        let each =
            format!("{}, noise {}, quality {}: {width}", picture.blur.name(), picture.noise, picture.quality);
        match names.last_mut().filter(|(name, _)| *name == picture.name) {
            Some((_, all)) => all.push(each),
            None => names.push((&picture.name, vec![each])),
        }
    }
    let told = names.iter().map(|(name, all)| format!("**{name}** ({})", all.join("; ")));
    if names.is_empty() { "none".to_owned() } else { told.collect::<Vec<_>>().join(", ") }
}
