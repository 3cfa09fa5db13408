//! Cameras, table, emergency stop and controls of the rig.

use serde::{Deserialize, Serialize};
use turnstage_drivers::Position;

use crate::arming::Armed;
use crate::status::{CameraStatus, Status};

/// The rig.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// Cameras, in the rig's order.
    pub cameras: Vec<CameraFigures>,
    /// Of these, how many cannot be used.
    pub cameras_faulty: u64,
    /// The table, if the rig has one.
    pub table: Option<TableFigures>,
    /// The wired emergency stop, if the rig has or needs one.
    pub emergency_stop: Option<EmergencyStopFigures>,
    /// Pedals, scanners, doors, lamps and horns.
    pub controls: Vec<ControlFigures>,
    /// Cameras, table and controls that cannot be used, together.
    pub devices_faulty: u64,
}

/// A camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraFigures {
    /// Name in the rig.
    pub name: String,
    /// Model.
    pub model: String,
    /// This driver was tried on such a camera by somebody.
    pub tried: bool,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
    /// Its pictures are not what they were when it was set up.
    pub drifted: bool,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFigures {
    /// Model.
    pub model: String,
    /// This driver was tried on such a table by somebody.
    pub tried: bool,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
    /// It was referenced, and nothing happened since that casts doubt on it.
    pub position_known: bool,
    /// It is under way.
    pub moving: bool,
    /// Stop is latched.
    pub stopped: bool,
    /// Whether it may move, and who lets it.
    pub armed: Armed,
}

/// The wired emergency stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmergencyStopFigures {
    /// Name of its input; `None` where the rig declares none.
    pub input: Option<String>,
    /// Nothing moves without today's self-test.
    pub needed: bool,
    /// It passed today's self-test.
    pub tested: bool,
    /// Local date of the last test that passed.
    pub tested_on: Option<String>,
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlFigures {
    /// Name in the rig.
    pub name: String,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
}

impl Devices {
    /// The rig as the station tells of it.
    pub fn of(status: &Status) -> Self {
        let camera = |camera: &CameraStatus| CameraFigures {
            name: camera.name.clone(),
            model: camera.model.clone(),
            tried: camera.tried,
            fault: camera.fault.clone(),
            drifted: status.drifts.iter().any(|drift| drift.camera == camera.name),
        };
        let cameras: Vec<_> = status.cameras.iter().map(camera).collect();
        let table = status.table.as_ref().map(|table| TableFigures {
            model: table.model.clone(),
            tried: table.tried,
            fault: table.fault.clone(),
            position_known: matches!(table.position, Position::Known(..)),
            moving: table.moving,
            stopped: table.stopped,
            armed: table.armed,
        });
        let emergency_stop = status.emergency_stop.as_ref().map(|stop| EmergencyStopFigures {
            input: stop.input.clone(),
            needed: stop.needed,
            tested: stop.tested,
            tested_on: stop.tested_on.clone(),
        });
        let inputs = status.inputs.iter().map(|one| (&one.name, &one.fault));
        let outputs = status.outputs.iter().map(|one| (&one.name, &one.fault));
        let control = |(name, fault): (&String, &Option<String>)| ControlFigures {
            name: name.clone(),
            fault: fault.clone(),
        };
        let controls: Vec<_> = inputs.chain(outputs).map(control).collect();
        let cameras_faulty = cameras.iter().filter(|camera| camera.fault.is_some()).count() as u64;
        let table_faulty = table.as_ref().is_some_and(|table| table.fault.is_some());
        let controls_faulty = controls.iter().filter(|control| control.fault.is_some()).count() as u64;
        let devices_faulty = cameras_faulty + u64::from(table_faulty) + controls_faulty;
        Self { cameras, cameras_faulty, table, emergency_stop, controls, devices_faulty }
    }
}
