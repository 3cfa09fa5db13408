//! What can be made to go wrong in the simulated booth, and when.
//!
//! A fault is written in a configuration as `{ camera = "main", frame = 17, kind = "blurred" }` or
//! `{ kind = "jam", at_deg = 170.0 }`. Keys that do not belong to the kind are refused, because a fault that is
//! silently ignored makes a test that proves nothing.

use serde::Deserialize;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Keys")]
pub enum Fault {
    /// Something wrong with one exposure of one camera.
    Camera {
        /// The camera's name in the rig.
        camera: String,
        /// The camera's n-th exposure, counted from 1 over the life of the booth.
        frame: u64,
        /// What goes wrong.
        kind: CameraFault,
    },
    /// The platter is blocked where its true angle is this. It can still be turned away from there.
    Jam {
        /// True angle in degrees.
        at_deg: f64,
    },
    /// The link breaks in the middle of a move, which the platter finishes by itself.
    LinkLoss {
        /// The table's n-th move, counted from 1 over the life of the booth.
        nth_move: u64,
    },
    /// The motor halts in the middle of a move and never says so.
    Stall {
        /// The table's n-th move, counted from 1 over the life of the booth.
        nth_move: u64,
    },
    /// The motor loses steps during a move and does not know it.
    LostSteps {
        /// The table's n-th move, counted from 1 over the life of the booth.
        nth_move: u64,
        /// By how much the platter falls behind in the direction of that move; negative: how far it runs ahead.
        deg: f64,
    },
}

/// What can be wrong with one exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraFault {
    /// Out of focus, as behind a wet lens.
    Blurred,
    /// Two stops and more too bright, while the camera reports its usual settings.
    OverExposed,
    /// The file breaks off in the middle.
    CorruptJpeg,
    /// Exactly the bytes of the frame before.
    StuckPicture,
    /// The bytes never come.
    Stall,
    /// Pulled out; the camera is back after [`Booth::replug`](super::Booth::replug) and a new open.
    Unplug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Blurred,
    OverExposed,
    CorruptJpeg,
    StuckPicture,
    Stall,
    Unplug,
    Jam,
    LinkLoss,
    LostSteps,
}

/// The keys as written. Flat, because `stall` befalls a camera or the table, whichever the other keys name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    kind: Kind,
    camera: Option<String>,
    frame: Option<u64>,
    #[serde(rename = "move")]
    nth_move: Option<u64>,
    at_deg: Option<f64>,
    deg: Option<f64>,
}

impl TryFrom<Keys> for Fault {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let kind = keys.kind;
        match (kind, keys.camera, keys.frame, keys.nth_move, keys.at_deg, keys.deg) {
            (Kind::Jam, None, None, None, Some(at_deg), None) if at_deg.is_finite() => {
                Ok(Fault::Jam { at_deg })
            }
            (Kind::LinkLoss, None, None, Some(nth_move @ 1..), None, None) => {
                Ok(Fault::LinkLoss { nth_move })
            }
            (Kind::Stall, None, None, Some(nth_move @ 1..), None, None) => Ok(Fault::Stall { nth_move }),
            (Kind::LostSteps, None, None, Some(nth_move @ 1..), None, Some(deg)) if deg.is_finite() => {
                Ok(Fault::LostSteps { nth_move, deg })
            }
            (_, Some(camera), Some(frame @ 1..), None, None, None) if kind.of_camera().is_some() => {
                let kind = kind.of_camera().ok_or("not a camera's fault")?;
                Ok(Fault::Camera { camera, frame, kind })
            }
            _ => Err(format!("a fault of this kind is written {}", kind.example())),
        }
    }
}

impl Kind {
    fn of_camera(self) -> Option<CameraFault> {
        match self {
            Kind::Blurred => Some(CameraFault::Blurred),
            Kind::OverExposed => Some(CameraFault::OverExposed),
            Kind::CorruptJpeg => Some(CameraFault::CorruptJpeg),
            Kind::StuckPicture => Some(CameraFault::StuckPicture),
            Kind::Stall => Some(CameraFault::Stall),
            Kind::Unplug => Some(CameraFault::Unplug),
            Kind::Jam | Kind::LinkLoss | Kind::LostSteps => None,
        }
    }

    fn example(self) -> &'static str {
        match self {
            Kind::Blurred => r#"{ camera = "main", frame = 17, kind = "blurred" }, frames counted from 1"#,
            Kind::OverExposed => {
                r#"{ camera = "main", frame = 17, kind = "over-exposed" }, frames counted from 1"#
            }
            Kind::CorruptJpeg => {
                r#"{ camera = "main", frame = 17, kind = "corrupt-jpeg" }, frames counted from 1"#
            }
            Kind::StuckPicture => {
                r#"{ camera = "main", frame = 17, kind = "stuck-picture" }, frames counted from 1"#
            }
            Kind::Unplug => r#"{ camera = "main", frame = 17, kind = "unplug" }, frames counted from 1"#,
            Kind::Stall => {
                r#"{ camera = "main", frame = 17, kind = "stall" } or { kind = "stall", move = 3 }, both from 1"#
            }
            Kind::Jam => r#"{ kind = "jam", at_deg = 170.0 }"#,
            Kind::LinkLoss => r#"{ kind = "link-loss", move = 3 }, moves counted from 1"#,
            Kind::LostSteps => r#"{ kind = "lost-steps", move = 3, deg = 7.0 }, moves counted from 1"#,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fault, String> {
        #[derive(Debug, Deserialize)]
        struct One {
            fault: Fault,
        }
        toml::from_str::<One>(&format!("fault = {text}")).map(|one| one.fault).map_err(|e| e.to_string())
    }

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        let camera = |kind| Fault::Camera { camera: "main".to_owned(), frame: 17, kind };
        for (text, want) in [
            (r#"{ camera = "main", frame = 17, kind = "blurred" }"#, camera(CameraFault::Blurred)),
            (r#"{ camera = "main", frame = 17, kind = "over-exposed" }"#, camera(CameraFault::OverExposed)),
            (r#"{ camera = "main", frame = 17, kind = "corrupt-jpeg" }"#, camera(CameraFault::CorruptJpeg)),
            (r#"{ camera = "main", frame = 17, kind = "stuck-picture" }"#, camera(CameraFault::StuckPicture)),
            (r#"{ camera = "main", frame = 17, kind = "stall" }"#, camera(CameraFault::Stall)),
            (r#"{ camera = "main", frame = 17, kind = "unplug" }"#, camera(CameraFault::Unplug)),
            (r#"{ kind = "jam", at_deg = 170.0 }"#, Fault::Jam { at_deg: 170.0 }),
            (r#"{ kind = "link-loss", move = 3 }"#, Fault::LinkLoss { nth_move: 3 }),
            (r#"{ kind = "stall", move = 3 }"#, Fault::Stall { nth_move: 3 }),
            (r#"{ kind = "lost-steps", move = 3, deg = 7.0 }"#, Fault::LostSteps { nth_move: 3, deg: 7.0 }),
        ] {
            assert_eq!(read(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn a_fault_with_the_wrong_keys_is_refused_with_the_right_ones() {
        for (text, says) in [
            (r#"{ kind = "jam" }"#, "at_deg = 170.0"),
            (r#"{ kind = "jam", at_deg = inf }"#, "at_deg = 170.0"),
            (r#"{ kind = "jam", at_deg = 1.0, frame = 3 }"#, "at_deg = 170.0"),
            (r#"{ kind = "blurred", frame = 3 }"#, r#"camera = "main""#),
            (r#"{ kind = "blurred", camera = "main", frame = 0 }"#, "counted from 1"),
            (r#"{ kind = "stall", camera = "main" }"#, "move = 3"),
            (r#"{ kind = "melted" }"#, "unknown variant"),
            (r#"{ kind = "jam", at_deg = 1.0, at = 3 }"#, "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
