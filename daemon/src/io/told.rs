//! What is told of inputs and outputs: names, levels, what is wrong, and the item that was scanned.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::command::{Actor, Refusal};
use crate::config::{Does, RigConfig, Shows};
use crate::status::{Fault, Situation};

/// How a contact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Not heard of: not open yet, or lost. Of a guard as good as pressed.
    #[default]
    Unknown,
    /// At rest.
    Released,
    /// Active: a pedal is down, a stop button is in, a door is open.
    Pressed,
}

/// An input of the rig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputStatus {
    /// Name in the rig.
    pub name: String,
    /// What happens when it is pressed.
    pub does: Does,
    /// What device it is, once it is there.
    pub device: String,
    /// How it is; of a scanner always unknown.
    pub level: Level,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
    /// Why its last act was refused, if it was.
    pub refused: Option<String>,
}

/// An output of the rig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputStatus {
    /// Name in the rig.
    pub name: String,
    /// What it shows.
    pub shows: Shows,
    /// What device it is, once it is there.
    pub device: String,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Controls {
    /// In the order of their names.
    pub inputs: Vec<InputStatus>,
    /// In the order of their names.
    pub outputs: Vec<OutputStatus>,
    /// The item that was scanned for the next session.
    pub next_item: Option<String>,
    /// Flashes that were seen so far, also while that input is lost; `None` where none looks for them.
    pub flashes: Option<u64>,
}

impl Controls {
    /// Everything is configured and nothing is known.
    pub fn of(rig: &RigConfig) -> Self {
        let inputs = rig.inputs.iter().map(|(name, config)| InputStatus {
            name: name.clone(),
            does: config.does,
            device: String::new(),
            level: Level::Unknown,
            fault: None,
            refused: None,
        });
        let outputs = rig.outputs.iter().map(|(name, config)| OutputStatus {
            name: name.clone(),
            shows: config.shows,
            device: String::new(),
            fault: None,
        });
        let flashes = rig.inputs.values().any(|input| input.does == Does::Flash).then_some(0);
        Self { inputs: inputs.collect(), outputs: outputs.collect(), flashes, ..Self::default() }
    }

    /// The guard that holds the table: the emergency stop before a stop button before a door.
    pub fn held_by(&self) -> Option<&InputStatus> {
        let holds = |input: &&InputStatus| input.does.guards() && input.level != Level::Released;
        let that = |does: Does| self.inputs.iter().filter(move |input| input.does == does).find(holds);
        that(Does::EmergencyStop).or_else(|| that(Does::Stop)).or_else(|| self.inputs.iter().find(holds))
    }

    /// The guard as an actor, for a session that it halted.
    pub fn holder(&self) -> Option<Actor> {
        self.held_by().map(|input| Actor(format!("input:{}", input.name)))
    }

    /// Why nothing may move now, if so.
    pub fn refusal(&self) -> Option<Refusal> {
        let input = self.held_by()?;
        let Some(Fault { rule, what, todo, .. }) = guard_fault(input) else {
            let reason = format!("Input {} has not said yet how it is. Repeat it in a moment.", input.name);
            return Some(Refusal::new("input-unknown", reason));
        };
        Some(Refusal::new(&rule, format!("{what}. {todo}")))
    }

    /// What forbids motion and is no ordinary state of an idle station.
    pub fn faults(&self) -> Vec<Fault> {
        let (first, others): (Vec<_>, Vec<_>) = self
            .inputs
            .iter()
            .filter(|input| input.does.guards())
            .partition(|input| input.does == Does::EmergencyStop);
        let guards = first.into_iter().chain(others);
        guards.filter_map(guard_fault).filter(|fault| fault.rule != DOOR_OPEN).collect()
    }

    /// What is wrong and forbids nothing.
    pub fn notices(&self) -> Vec<Fault> {
        let others = self.inputs.iter().filter(|input| !input.does.guards());
        let inputs = others.filter_map(|input| Some(lost("input", &input.name, input.fault.as_ref()?)));
        let outputs = self.outputs.iter().filter_map(|o| Some(lost("output", &o.name, o.fault.as_ref()?)));
        inputs.chain(outputs).collect()
    }

    /// What a person should look at before going on, where nothing is being shot.
    pub fn look(&self) -> Option<Situation> {
        let Fault { what, todo, .. } = self.held_by().and_then(guard_fault)?;
        Some(Situation::Look { what, todo })
    }
}

const DOOR_OPEN: &str = "door-open";

/// What a guard that is not at rest says.
fn guard_fault(input: &InputStatus) -> Option<Fault> {
    let InputStatus { name, does, level, fault, .. } = input;
    let why = "The table is halted, and nothing moves.";
    let fault = match (does, fault, level) {
        (Does::EmergencyStop, Some(fault), _) => Fault::new(
            "emergency-stop-lost",
            format!("The emergency stop {name} is not heard of: {fault}"),
            "Nobody knows whether it works, so nothing moves.",
            "Check its cable; it is tried again by itself. Then continue.",
        ),
        (Does::EmergencyStop, None, Level::Pressed) => Fault::new(
            "emergency-stop-pressed",
            format!("The emergency stop {name} is pressed, or its wire is cut"),
            why,
            "See that nobody is in danger. Release it, then continue.",
        ),
        (Does::Stop, Some(fault), _) => Fault::new(
            "stop-lost",
            format!("Stop button {name} is not there: {fault}"),
            "Nobody could halt the table with it, so nothing moves.",
            "Check its cable; it is tried again by itself. Then continue.",
        ),
        (_, Some(fault), _) => Fault::new(
            "door-lost",
            format!("Door contact {name} is not there: {fault}"),
            "Nobody knows whether the door is open, so nothing moves.",
            "Check its cable; it is tried again by itself. Then continue.",
        ),
        (Does::Stop, None, Level::Pressed) => Fault::new(
            "stop-pressed",
            format!("Stop button {name} is pressed"),
            why,
            "See that nobody is in danger. Release the button, then continue.",
        ),
        (_, None, Level::Pressed) => {
            Fault::new(DOOR_OPEN, format!("Door {name} is open"), why, "Close it, then continue.")
        }
        (_, None, _) => return None,
    };
    Some(fault)
}

fn lost(kind: &str, name: &str, fault: &str) -> Fault {
    Fault::new(
        &format!("{kind}-lost"),
        format!("The {kind} {name} is not there: {fault}"),
        "Everything else works without it.",
        "Check its cable; it is tried again by itself.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls() -> Controls {
        let rig = toml::from_str(
            "[inputs]\ndoor = { driver = \"sim\", does = \"door\" }\nhalt = { driver = \"sim\", does = \"stop\" }\n\
             pedal = { driver = \"sim\", does = \"start\" }\n[outputs]\ngreen = { driver = \"sim\", shows = \"ready\" }",
        );
        Controls::of(&rig.unwrap())
    }

    fn level(controls: &mut Controls, name: &str, level: Level) {
        controls.inputs.iter_mut().find(|input| input.name == name).unwrap().level = level;
    }

    #[test]
    fn the_table_is_held_until_every_guard_is_known_to_be_at_rest() {
        let mut controls = controls();
        assert_eq!(controls.refusal().unwrap().rule, "input-unknown");
        assert_eq!(controls.faults(), [], "nothing is wrong with what was not asked yet");
        level(&mut controls, "halt", Level::Released);
        assert_eq!(controls.held_by().unwrap().name, "door");
        level(&mut controls, "door", Level::Released);
        assert_eq!((controls.held_by(), controls.refusal()), (None, None));
        level(&mut controls, "door", Level::Pressed);
        assert_eq!(controls.refusal().unwrap().reason, "Door door is open. Close it, then continue.");
        assert_eq!(controls.faults(), [], "somebody puts the next item on the table");
        level(&mut controls, "halt", Level::Pressed);
        assert_eq!(controls.holder().unwrap().0, "input:halt");
        assert_eq!(controls.faults()[0].rule, "stop-pressed");
    }

    #[test]
    fn a_lost_guard_forbids_motion_and_a_lost_pedal_does_not() {
        let mut controls = controls();
        for input in &mut controls.inputs {
            (input.level, input.fault) = (Level::Unknown, Some("unplugged".to_owned()));
        }
        let rules = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.rule).collect::<Vec<_>>();
        assert_eq!(rules(controls.faults()), ["door-lost", "stop-lost"]);
        assert_eq!(rules(controls.notices()), ["input-lost"]);
        assert_eq!(controls.refusal().unwrap().rule, "stop-lost");
    }
}
