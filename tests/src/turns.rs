//! Whole turns on the simulated rig: good ones, which should have no finding, and ones with a fault, which the right
//! check should name first.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::{Bench, STATION};

/// What stands on the platter: objects that were looked at when checks and limits were chosen.
pub const CHOSEN_ON: [&str; 6] = ["vase", "car", "chrome", "toy", "carton", "plush"];
/// Objects that nothing was chosen on.
pub const UNSEEN: [&str; 2] = ["shoe", "bottle"];
/// Frames of a turn that has faults.
const FRAMES: u32 = 36;

/// A fault, the frame from which on it shows, and the rule that should name it.
struct Case {
    fault: &'static str,
    rule: &'static str,
    frame: u32,
    /// It may be named by any later frame.
    lasts: bool,
}

/// A turn with faults: what is written for the booth and the camera, and what should be found.
struct Setup {
    booth: &'static str,
    camera: &'static str,
    cases: &'static [Case],
}

const fn once(fault: &'static str, rule: &'static str, frame: u32) -> Case {
    Case { fault, rule, frame, lasts: false }
}

const fn from(fault: &'static str, rule: &'static str, frame: u32) -> Case {
    Case { fault, rule, frame, lasts: true }
}

const SETUPS: &[Setup] = &[
    Setup {
        booth: r#"faults = [
            { camera = "main", frame = 5, kind = "blurred" }, { camera = "main", frame = 8, kind = "shaken" },
            { camera = "main", frame = 11, kind = "over-exposed" }, { camera = "main", frame = 14, kind = "under-exposed" },
            { camera = "main", frame = 17, kind = "noisy" }, { camera = "main", frame = 20, kind = "banding" },
            { camera = "main", frame = 23, kind = "dimmed" }, { camera = "main", frame = 26, kind = "colour-cast" },
            { camera = "main", frame = 29, kind = "small-picture" }, { camera = "main", frame = 32, kind = "corrupt-jpeg" },
            { camera = "main", frame = 35, kind = "stuck-picture" } ]"#,
        camera: "",
        cases: &[
            once("blurred", "qc.sharpness", 5),
            once("shaken", "qc.motion", 8),
            once("over-exposed", "qc.clipped", 11),
            once("under-exposed", "qc.dark or qc.light-drift", 14),
            once("noisy", "qc.noise", 17),
            once("banding", "qc.banding", 20),
            once("dimmed", "qc.light-drift", 23),
            once("colour-cast", "qc.colour-drift", 26),
            once("small-picture", "qc.size", 29),
            once("corrupt-jpeg", "qc.corrupt", 32),
            once("stuck-picture", "qc.duplicate", 35),
        ],
    },
    Setup {
        booth: r#"faults = [{ camera = "main", frame = 9, kind = "dirt" }]"#,
        camera: "",
        cases: &[from("dirt", "qc.dirt", 9)],
    },
    Setup {
        booth: r#"faults = [{ camera = "main", frame = 1, kind = "dirt" }]"#,
        camera: "",
        cases: &[from("dirt from the first frame on", "qc.dirt", 1)],
    },
    Setup {
        booth: r#"faults = [{ camera = "main", frame = 9, kind = "dead-pixels" }]"#,
        camera: "",
        cases: &[from("dead-pixels", "qc.dead-pixels", 9)],
    },
    Setup {
        booth: r#"faults = [{ kind = "lost-steps", move = 12, deg = 10.0 }]"#,
        camera: "",
        cases: &[from("lost-steps, a whole step", "qc.not-moved", 10)],
    },
    Setup {
        booth: r#"faults = [{ kind = "lost-steps", move = 20, deg = -10.0 }]"#,
        camera: "",
        // The last frame looks like the first then, and the turn does not close.
        cases: &[from("lost-steps, one step too many", "qc.moved-twice or qc.near-duplicate or qc.loop", 18)],
    },
    Setup {
        booth: r#"faults = [{ kind = "lost-steps", move = 20, deg = 7.0 }]"#,
        camera: "",
        cases: &[from("lost-steps, 7 degrees", "qc.loop", 1)],
    },
    // A chrome pot this near is burnt out as well.
    Setup { booth: "", camera: "fov_deg = 18.0", cases: &[from("too near", "qc.framing or qc.clipped", 1)] },
    Setup {
        booth: "",
        camera: "fov_deg = 88.0\ndistance_mm = 1500.0",
        cases: &[from("too far", "qc.framing", 1)],
    },
    Setup { booth: "", camera: "pan_deg = 9.0", cases: &[from("turned away", "qc.framing", 1)] },
];

/// Rules of each frame of a turn, in their order, by frame from 1; what the closing frame says is frame 0.
pub type Turn = BTreeMap<u32, Vec<String>>;

fn rig(object: &str, booth: &str, camera: &str) -> String {
    format!(
        r#"
{STATION}
[booth]
object = "{object}"
{booth}

[rig.turntable]
driver = "sim"

[rig.cameras.main]
driver = "sim"
settings = {{ exposure_us = 8000.0, gain = 1.0, wb_kelvin = 5000.0, size = [1152, 864] }}
{camera}
"#
    )
}

/// Shoots one turn and reads what was found.
async fn shoot(config: &str, frames: u32) -> Turn {
    let data = TempDir::new().expect("a folder");
    let recipes = data.path().join("recipes");
    std::fs::create_dir_all(&recipes).expect("a folder for recipes");
    let recipe = format!(
        "subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 600\nclosing = true\n[[rows]]\nframes = {frames}\n"
    );
    std::fs::write(recipes.join("turn.toml"), recipe).expect("a recipe");
    let bench = Bench::in_memory(config, data);
    let id = bench.start("turn").await;
    let session = bench.settled(&id).await;
    let rules = |findings: &serde_json::Value| -> Vec<String> {
        let each = findings.as_array().into_iter().flatten();
        each.filter_map(|finding| Some(finding["rule"].as_str()?.to_owned())).collect()
    };
    let mut turn = Turn::new();
    for record in bench.records(&id).await {
        turn.insert(record.facts.shot + 1, rules(&record.meta["qc"]["findings"]));
    }
    let status = bench.running.status.borrow().clone();
    if status.faults.iter().any(|fault| fault.rule == "qc.loop") {
        turn.insert(0, vec!["qc.loop".to_owned()]);
    }
    if session.missing.len() > 1 {
        eprintln!("a turn ended early: {}. {}", status.sentence, status.detail);
    }
    bench.end().await;
    turn
}

/// Good turns of some objects.
pub struct Good {
    /// What was shot.
    pub objects: &'static [&'static str],
    /// How many frames there were.
    pub frames: u32,
    /// Each frame that had a finding.
    pub false_alarms: Vec<String>,
}

/// What was found on good turns of so many frames each.
pub async fn good(objects: &'static [&'static str], frames: u32) -> Good {
    let (mut count, mut false_alarms) = (0, Vec::new());
    for object in objects {
        let turn = shoot(&rig(object, "seed = 11", ""), frames).await;
        // The closing frame is judged as well, and none of the turn's.
        count += turn.range(1..).count() as u32;
        let found = turn.iter().filter(|(_, rules)| !rules.is_empty());
        false_alarms.extend(found.map(|(frame, rules)| format!("{object} {frame}: {}", rules.join(", "))));
        eprintln!("good turn of {object}: {} frames, {} findings so far", turn.len(), false_alarms.len());
    }
    Good { objects, frames: count, false_alarms }
}

/// How one fault was named over all objects.
pub struct Named {
    /// The fault.
    pub fault: &'static str,
    /// The rule that should name it, or several, any of which is right.
    pub rule: &'static str,
    /// How often each rule was the first one; `none` where nothing was found.
    pub first: BTreeMap<String, u32>,
    /// Rules that followed.
    pub followers: BTreeMap<String, u32>,
    /// Objects with which another rule came first, and which.
    pub wrong: Vec<String>,
}

impl Named {
    /// How often a right rule came first, of how often.
    pub fn right(&self) -> (usize, usize) {
        let all = self.first.values().sum::<u32>() as usize;
        (all - self.wrong.len(), all)
    }
}

/// Every fault on each of some objects.
pub async fn faults(objects: &[&str]) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    for setup in SETUPS {
        let each = setup.cases.iter().map(|case| Named {
            fault: case.fault,
            rule: case.rule,
            first: BTreeMap::new(),
            followers: BTreeMap::new(),
            wrong: Vec::new(),
        });
        let start = named.len();
        named.extend(each);
        for object in objects {
            let turn = shoot(&rig(object, setup.booth, setup.camera), FRAMES).await;
            for (case, named) in setup.cases.iter().zip(&mut named[start..]) {
                count(case, object, &turn, named);
            }
            eprintln!("{} of {object}: {:?}", setup.cases[0].fault, named[start].first);
        }
    }
    named
}

fn count(case: &Case, object: &str, turn: &Turn, named: &mut Named) {
    let found = match case.lasts {
        false => turn.get(&case.frame).filter(|rules| !rules.is_empty()),
        // The closing frame comes last, whatever its number.
        true => {
            let later = turn.range(case.frame..).chain(turn.range(..1));
            later.map(|(_, rules)| rules).find(|rules| !rules.is_empty())
        }
    };
    let none = "none".to_owned();
    let (first, others) = found.and_then(|rules| rules.split_first()).unwrap_or((&none, &[]));
    if !case.rule.split(" or ").any(|rule| rule == first) {
        named.wrong.push(format!("{object}: `{first}`"));
    }
    *named.first.entry(first.clone()).or_default() += 1;
    for other in others {
        *named.followers.entry(other.clone()).or_default() += 1;
    }
}
