use turnstage_drivers::Angle;

use super::duplicate::{Other, Seen, near};
use super::*;
use crate::cells::Cells;
use crate::metadata::ExifSummary;
use crate::phash;
use crate::plane::Plane;
use crate::{Examined, Examiner, InputLimits, Picture};

/// What is wrong with a picture by itself.
fn judge(picture: &Picture, limits: &Limits) -> Vec<Finding> {
    super::judge(&picture.sharpness, &picture.exposure, picture.noise_levels, limits)
}

fn picture(sharpness_half: f64, exposure: Exposure) -> Picture {
    Picture {
        width: 4,
        height: 3,
        orientation: 1,
        phash: 0,
        sharpness: Sharpness { full: 500.0, half: sharpness_half, quarter: 500.0, ..Sharpness::default() },
        exposure,
        noise_levels: 1.0,
        thumbnails: Vec::new(),
        signature: phash::measure(Plane::tight(&[0; 12], 4, 3)).1,
        cells: Cells::new([
            Plane::tight(&[0; 12], 4, 3),
            Plane::tight(&[128; 4], 2, 2),
            Plane::tight(&[128; 4], 2, 2),
        ]),
        points: Vec::new(),
    }
}

fn good_light() -> Exposure {
    Exposure { mean: 120.0, clipped_low: 0.0, clipped_high: 0.0 }
}

fn messages(picture: &Picture, limits: &Limits) -> Vec<String> {
    judge(picture, limits).into_iter().map(|finding| finding.message).collect()
}

#[test]
fn a_recipe_can_demand_a_least_sharpness_at_half_size() {
    let limits = Limits { sharpness_half_min: 40.0, ..Limits::default() };
    assert_eq!(messages(&picture(40.0, good_light()), &limits), [""; 0]);
    let findings = judge(&picture(12.34, good_light()), &limits);
    assert_eq!(
        findings,
        [Finding {
            rule: "qc.sharpness".into(),
            verdict: Verdict::Block,
            nature: Nature::Systematic,
            value: 12.34,
            limit: 40.0,
            unit: "squared grey levels".into(),
            message: "Frame is not sharp: 12.3 at half size, at least 40 is needed. \
                      Wipe the lens, then retake."
                .into(),
        }]
    );
}

#[test]
fn blur_in_all_directions_is_focus_and_in_one_direction_is_motion() {
    let blurred = |widest: f64, across: f64| {
        let mut picture = picture(99.0, good_light());
        picture.sharpness.blur_px = Some(widest);
        picture.sharpness.blur_across_px = Some(across);
        judge(&picture, &Limits::default())
    };
    assert_eq!(blurred(0.8, 0.2), []);
    let focus = blurred(2.01, 1.8).remove(0);
    assert_eq!(
        (focus.rule.as_str(), focus.nature, focus.unit.as_str()),
        ("qc.sharpness", Nature::Systematic, "px")
    );
    assert!(focus.message.contains("over 2.1 pixels, at most 0.8"), "{}", focus.message);
    let motion = blurred(2.01, 0.7).remove(0);
    assert_eq!((motion.rule.as_str(), motion.nature), ("qc.motion", Nature::Transient));
    assert!(motion.message.contains("in one direction"), "{}", motion.message);
}

#[test]
fn what_spoils_other_measurements_is_told_first() {
    let finding = |rule: &Rule| Limits::default().finding(rule, (0.0, 0.0, ""), String::new());
    let mut findings: Vec<Finding> =
        [&DIRT, &MOTION, &NOISE, &LIGHT_DRIFT, &CORRUPT].into_iter().filter_map(finding).collect();
    in_order(&mut findings);
    let rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(rules, ["qc.corrupt", "qc.light-drift", "qc.noise", "qc.motion", "qc.dirt"]);
}

#[test]
fn a_value_just_beyond_its_limit_never_reads_as_if_it_kept_it() {
    let limits = Limits { sharpness_half_min: 40.0, ..Limits::default() };
    let said = messages(&picture(39.999, good_light()), &limits);
    assert!(said[0].contains("39.9 at half size, at least 40"), "{said:?}");
    let burnt = Exposure { clipped_high: 0.050_001, ..good_light() };
    let said = messages(&picture(99.0, burnt), &limits);
    assert!(said[0].contains("5.1 % of it is burnt out, at most 5 %"), "{said:?}");
}

#[test]
fn too_much_and_too_little_light_are_told_apart_once_each() {
    let cases = [
        (
            Exposure { clipped_high: 0.4, mean: 250.0, ..good_light() },
            "qc.clipped",
            "40.0 % of it is burnt out",
        ),
        (Exposure { mean: 250.0, ..good_light() }, "qc.clipped", "mean brightness 250.0 of 255, at most 240"),
        (Exposure { mean: 7.25, clipped_low: 0.9, ..good_light() }, "qc.dark", "mean brightness 7.2 of 255"),
        (Exposure { clipped_low: 0.9, ..good_light() }, "qc.dark", "90.0 % of it is black, at most 25 %"),
    ];
    for (exposure, rule, words) in cases {
        let findings = judge(&picture(99.0, exposure), &Limits::default());
        let [finding] = &findings[..] else { panic!("{exposure:?}: {findings:?}") };
        assert_eq!((finding.rule.as_str(), finding.nature), (rule, Nature::Systematic));
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

#[test]
fn a_recipe_can_soften_or_silence_a_rule() {
    let dull = picture(1.0, Exposure { mean: 3.0, ..good_light() });
    let policy = |word: &str| {
        let written = format!("sharpness_half_min = 12\npolicy.\"qc.sharpness\" = \"{word}\"");
        toml::from_str::<Limits>(&written).unwrap()
    };
    let verdicts = |limits: &Limits| -> Vec<_> {
        judge(&dull, limits).iter().map(|finding| (finding.rule.clone(), finding.verdict)).collect()
    };
    let dark = ("qc.dark".to_owned(), Verdict::Block);
    assert_eq!(verdicts(&policy("warn")), [dark.clone(), ("qc.sharpness".into(), Verdict::Warn)]);
    assert_eq!(verdicts(&policy("off")), [dark]);
}

#[test]
fn limits_are_read_from_a_recipe_and_unknown_keys_are_refused() {
    let limits: Limits = toml::from_str("sharpness_half_min = 30\nsymmetric = true").unwrap();
    assert_eq!(limits, Limits { sharpness_half_min: 30.0, symmetric: true, ..Limits::default() });
    assert!(toml::from_str::<Limits>("sharpness_min = 30").is_err());
    assert!(toml::from_str::<Limits>("policy.\"qc.dark\" = \"maybe\"").is_err());
}

#[test]
fn every_impossible_limit_is_named_with_its_key() {
    assert_eq!(Limits::default().check(), [""; 0]);
    let written = "sharpness_half_min = nan\nclipped_high_max = 1.5\nclipped_low_max = -0.1\nmean_min = 200\n\
                   mean_max = 100\nnear_duplicate_bits_max = 65\n\
                   policy = { \"qc.sharp\" = \"off\", \"qc.corrupt\" = \"off\", \"qc.near-duplicate\" = \"block\", \
                   \"qc.dark\" = \"block\" }";
    let problems = toml::from_str::<Limits>(written).unwrap().check();
    let named = [
        "sharpness_half_min = NaN",
        "clipped_high_max = 1.5: must be between 0 and 1",
        "clipped_low_max = -0.1",
        "near_duplicate_bits_max = 65",
        "mean_min = 200 is not below mean_max = 100",
        "policy.\"qc.corrupt\" = \"off\": can only be block or warn",
        "policy.\"qc.near-duplicate\" = \"block\": can only be warn or off",
        "policy.\"qc.sharp\": there is no such rule; there are qc.corrupt,",
    ];
    assert_eq!(problems.len(), named.len(), "{problems:#?}");
    for name in named {
        assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name}: {problems:#?}");
    }
}

#[test]
fn a_frame_that_cannot_be_read_is_told_even_by_a_recipe_that_was_never_checked() {
    let silenced =
        Limits { policy: BTreeMap::from([("qc.corrupt".to_owned(), Policy::Off)]), ..Limits::default() };
    let mut examiner = Examiner::new(InputLimits::default()).unwrap();
    let examined = examiner.examine(b"not a picture", &silenced);
    assert_eq!((examined.findings.len(), examined.findings[0].verdict), (1, Verdict::Warn));
}

#[test]
fn findings_are_stored_as_written_and_read_back() {
    let dark = Exposure { mean: 3.0, ..good_light() };
    let finding = judge(&picture(1.0, dark), &Limits::default()).remove(0);
    let written = serde_json::to_string(&finding).unwrap();
    assert!(written.contains(r#""verdict":"block","nature":"systematic""#), "{written}");
    assert_eq!(serde_json::from_str::<Finding>(&written).unwrap(), finding);
}

fn frame(byte: u8, phash: u64) -> Examined {
    Examined {
        sha256: [byte; 32],
        length: 1,
        picture: Some(Picture { phash, ..picture(99.0, good_light()) }),
        findings: Vec::new(),
        exif: Some(ExifSummary::default()),
    }
}

#[test]
fn the_same_bytes_again_are_a_fault_of_the_rig() {
    let mut seen = Seen::default();
    let limits = Limits { symmetric: true, ..Limits::default() };
    seen.remember("11", [1; 32]);
    seen.remember("12", [2; 32]);
    assert_eq!(seen.check("13", [3; 32], &limits), None);
    let finding = seen.check("13", [2; 32], &limits).unwrap();
    assert_eq!(
        (finding.rule.as_str(), finding.verdict, finding.nature),
        ("qc.duplicate", Verdict::Block, Nature::Transient)
    );
    assert_eq!(
        finding.message,
        "Frame is the same picture as 12. The camera hung or the table stood still. Retake."
    );
}

#[test]
fn a_frame_is_not_its_own_duplicate_and_one_that_was_retaken_is_nobodys() {
    let mut seen = Seen::default();
    let limits = Limits::default();
    seen.remember("12", [2; 32]);
    assert_eq!(seen.check("12", [2; 32], &limits), None, "examined again after a restart");
    seen.remember("12", [4; 32]);
    assert_eq!(seen.check("13", [2; 32], &limits), None, "12 was retaken");
    assert!(seen.check("13", [4; 32], &limits).is_some());
}

#[test]
fn a_frame_that_looks_like_another_is_mentioned_and_the_nearest_is_named() {
    let picture = |phash| frame(1, phash).picture.unwrap();
    let (still, changed) = (picture(0).cells, with_square(6).picture.unwrap().cells);
    let other = |label, phash, cells| Other { label, phash, cells };
    let others = || [other("1", 0b11, &still), other("2", 0b1, &still), other("3", 0, &changed)];
    let limits = Limits::default();
    let finding = near(&picture(0), others().into_iter(), &limits).unwrap();
    assert_eq!((finding.rule.as_str(), finding.verdict), ("qc.near-duplicate", Verdict::Warn));
    assert_eq!((finding.value, finding.limit), (1.0, 2.0));
    assert!(finding.message.contains("looks like 2: 1 of 64"), "{}", finding.message);
    assert_eq!(near(&picture(0b111_0000_0000), others().into_iter(), &limits), None, "four bits and more");
    let (square, larger) = (with_square(6).picture.unwrap(), with_square(20).picture.unwrap());
    let same_hash = [other("1", square.phash, &larger.cells)];
    assert_eq!(near(&square, same_hash.into_iter(), &limits), None, "its cells have changed");
    let bottle = Limits { symmetric: true, ..limits };
    let alike = near(&picture(0), others().into_iter(), &bottle);
    assert_eq!(alike, None, "a bottle looks the same from all sides");
}

/// A grey picture of 60 x 40 cells with a bright square of so many cells in its middle.
fn with_square(side: usize) -> Examined {
    let inside = |at: usize, of: usize| (of / 2 - side / 2..of / 2 - side / 2 + side).contains(&at);
    let luma: Vec<u8> =
        (0..60 * 40).map(|k| if inside(k % 60, 60) && inside(k / 60, 40) { 180 } else { 90 }).collect();
    let grey = [128; 30 * 20];
    let planes = [Plane::tight(&luma, 60, 40), Plane::tight(&grey, 30, 20), Plane::tight(&grey, 30, 20)];
    let mut examined = frame(side as u8, side as u64 * 0x0F0F_0F0F);
    examined.picture = examined.picture.map(|picture| Picture { cells: Cells::new(planes), ..picture });
    examined
}

#[test]
fn with_a_clean_plate_the_object_is_found_from_the_first_frame_on() {
    let place = Place { camera: "main", shot: 0, label: "frame 1", angle: Some(Angle::new(0.0)) };
    let mut turn = Turn::default();
    let small = with_square(6);
    assert_eq!(turn.judge(&place, &small, &Limits::default()), [], "nothing is known of the first frame");

    turn.clean_plate("main", with_square(0).picture.unwrap().cells);
    let findings = turn.judge(&place, &small, &Limits::default());
    assert_eq!((findings.len(), findings[0].rule.as_str()), (1, "qc.framing"), "{findings:?}");
    assert!(findings[0].message.contains("small in the picture"), "{findings:?}");
    assert_eq!(turn.judge(&place, &with_square(20), &Limits::default()), []);

    assert_eq!(turn.subject("main"), None, "of no frame yet");
    turn.remember(&place, &small, &Limits::default());
    assert_eq!(turn.subject("main").unwrap().part(), 36.0 / 2400.0, "that of the frame accepted last");
}

#[test]
fn a_plate_of_another_size_is_as_good_as_none() {
    let place = Place { camera: "main", shot: 0, label: "frame 1", angle: Some(Angle::new(0.0)) };
    let mut turn = Turn::default();
    turn.clean_plate("main", picture(500.0, good_light()).cells);
    assert_eq!(turn.judge(&place, &with_square(6), &Limits::default()), []);
    turn.remember(&place, &with_square(6), &Limits::default());
    assert_eq!(turn.subject("main"), None);
}

/// The cells of each row of the table in `docs/quality.md` that begins with a rule.
fn documented() -> BTreeMap<String, Vec<String>> {
    let page = include_str!("../../../docs/quality.md");
    let rows = page.lines().filter(|line| line.starts_with("| `qc."));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).map(|row: Vec<String>| (row[0].trim_matches('`').to_owned(), row)).collect()
}

#[test]
fn every_rule_is_documented_with_its_default_policy() {
    let documented = documented();
    let known: BTreeMap<String, &str> = RULES.map(|rule| (rule.id.to_owned(), word(&rule.policy))).into();
    let told = documented.iter().map(|(id, row)| (id.clone(), row[4].as_str())).collect();
    assert_eq!(known, told, "docs/quality.md says otherwise");
    assert!(documented.values().all(|row| row.len() == 6 && row.iter().all(|cell| !cell.is_empty())));
}

#[test]
fn every_default_in_the_document_is_the_one_in_force_and_none_is_missing() {
    let defaults = toml::Table::try_from(Limits::default()).unwrap();
    let mut told = std::collections::BTreeSet::new();
    for (id, row) in documented() {
        for code in row[3].split('`').skip(1).step_by(2).filter(|code| code.contains(" = ")) {
            let (key, value) = code.split_once(" = ").unwrap();
            told.insert(key.to_owned());
            if key == "symmetric" {
                continue;
            }
            let known = &defaults[key];
            let known = known.as_float().or(known.as_integer().map(|n| n as f64)).unwrap();
            assert_eq!(known, value.parse::<f64>().unwrap(), "{id}: {key}");
        }
    }
    let missing: Vec<_> = defaults.keys().filter(|key| *key != "policy" && !told.contains(*key)).collect();
    assert_eq!(missing, [""; 0], "limits that no rule of docs/quality.md has");
}
