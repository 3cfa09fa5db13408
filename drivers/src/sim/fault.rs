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

/// What can be wrong with one exposure, or from one exposure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraFault {
    /// Out of focus, as behind a wet lens.
    Blurred,
    /// Two stops and more too bright, while the camera reports its usual settings.
    OverExposed,
    /// Three stops too dark, while the camera reports its usual settings.
    UnderExposed,
    /// The camera moved along a straight line during the exposure, by half a percent of the picture's width.
    Shaken,
    /// Noise of 18 levels more a colour, as at far too high a gain, while the camera reports its usual settings.
    Noisy,
    /// The lamps flicker and the shutter rolls: five dark bands across the picture, a quarter of the light less.
    Banding,
    /// One lamp less: 0.7 of the light.
    Dimmed,
    /// The lamps turn to 3600 K, and the white balance stays.
    ColourCast,
    /// Half the width and height that was asked for.
    SmallPicture,
    /// From this frame on: 8 to 12 soft dark spots that stay in their places of the picture.
    Dirt,
    /// From this frame on: 40 pixels and one column that are always black or white, in their places of the picture.
    DeadPixels,
    /// The bytes break off in the middle.
    CorruptJpeg,
    /// Exactly the bytes of the frame before.
    StuckPicture,
    /// The bytes never come.
    Stall,
    /// Pulled out; the camera is back after [`Booth::replug`](super::Booth::replug) and a new open.
    Unplug,
}

impl CameraFault {
    /// Whether it befalls every exposure from the named one on, until
    /// [`Booth::clear_faults`](super::Booth::clear_faults).
    pub fn lasts(self) -> bool {
        matches!(self, CameraFault::Dirt | CameraFault::DeadPixels)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Blurred,
    OverExposed,
    UnderExposed,
    Shaken,
    Noisy,
    Banding,
    Dimmed,
    ColourCast,
    SmallPicture,
    Dirt,
    DeadPixels,
    CorruptJpeg,
    StuckPicture,
    Stall,
    Unplug,
    Jam,
    LinkLoss,
    LostSteps,
}

/// Kinds that befall a camera, as they are written.
const OF_CAMERAS: [(Kind, CameraFault, &str); 15] = [
    (Kind::Blurred, CameraFault::Blurred, "blurred"),
    (Kind::OverExposed, CameraFault::OverExposed, "over-exposed"),
    (Kind::UnderExposed, CameraFault::UnderExposed, "under-exposed"),
    (Kind::Shaken, CameraFault::Shaken, "shaken"),
    (Kind::Noisy, CameraFault::Noisy, "noisy"),
    (Kind::Banding, CameraFault::Banding, "banding"),
    (Kind::Dimmed, CameraFault::Dimmed, "dimmed"),
    (Kind::ColourCast, CameraFault::ColourCast, "colour-cast"),
    (Kind::SmallPicture, CameraFault::SmallPicture, "small-picture"),
    (Kind::Dirt, CameraFault::Dirt, "dirt"),
    (Kind::DeadPixels, CameraFault::DeadPixels, "dead-pixels"),
    (Kind::CorruptJpeg, CameraFault::CorruptJpeg, "corrupt-jpeg"),
    (Kind::StuckPicture, CameraFault::StuckPicture, "stuck-picture"),
    (Kind::Stall, CameraFault::Stall, "stall"),
    (Kind::Unplug, CameraFault::Unplug, "unplug"),
];

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
        OF_CAMERAS.iter().find(|(kind, ..)| *kind == self).map(|(_, fault, _)| *fault)
    }

    fn example(self) -> String {
        let table = match self {
            Kind::Jam => r#"{ kind = "jam", at_deg = 170.0 }"#,
            Kind::LinkLoss => r#"{ kind = "link-loss", move = 3 }, moves counted from 1"#,
            Kind::LostSteps => r#"{ kind = "lost-steps", move = 3, deg = 7.0 }, moves counted from 1"#,
            Kind::Stall => {
                r#"{ camera = "main", frame = 17, kind = "stall" } or { kind = "stall", move = 3 }, both from 1"#
            }
            _ => "",
        };
        match OF_CAMERAS.iter().find(|(kind, ..)| *kind == self) {
            Some((_, fault, name)) if table.is_empty() => {
                let lasts = if fault.lasts() { "; it stays from that frame on" } else { "" };
                format!(r#"{{ camera = "main", frame = 17, kind = "{name}" }}, frames counted from 1{lasts}"#)
            }
            _ => table.to_owned(),
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
            (r#"{ kind = "jam", at_deg = 170.0 }"#, Fault::Jam { at_deg: 170.0 }),
            (r#"{ kind = "link-loss", move = 3 }"#, Fault::LinkLoss { nth_move: 3 }),
            (r#"{ kind = "stall", move = 3 }"#, Fault::Stall { nth_move: 3 }),
            (r#"{ kind = "lost-steps", move = 3, deg = 7.0 }"#, Fault::LostSteps { nth_move: 3, deg: 7.0 }),
        ] {
            assert_eq!(read(text), Ok(want), "{text}");
        }
        for (kind, want) in [
            ("blurred", CameraFault::Blurred),
            ("over-exposed", CameraFault::OverExposed),
            ("under-exposed", CameraFault::UnderExposed),
            ("shaken", CameraFault::Shaken),
            ("noisy", CameraFault::Noisy),
            ("banding", CameraFault::Banding),
            ("dimmed", CameraFault::Dimmed),
            ("colour-cast", CameraFault::ColourCast),
            ("small-picture", CameraFault::SmallPicture),
            ("dirt", CameraFault::Dirt),
            ("dead-pixels", CameraFault::DeadPixels),
            ("corrupt-jpeg", CameraFault::CorruptJpeg),
            ("stuck-picture", CameraFault::StuckPicture),
            ("stall", CameraFault::Stall),
            ("unplug", CameraFault::Unplug),
        ] {
            let text = format!(r#"{{ camera = "main", frame = 17, kind = "{kind}" }}"#);
            assert_eq!(read(&text), Ok(camera(want)), "{text}");
        }
    }

    #[test]
    fn a_fault_of_a_camera_without_its_keys_is_refused_with_an_example_that_can_be_read() {
        for (_, fault, name) in OF_CAMERAS {
            let error = read(&format!("{{ kind = \"{name}\" }}")).unwrap_err();
            let example = error.split("written ").nth(1).unwrap();
            let example = &example[..=example.find('}').unwrap()];
            let want = Fault::Camera { camera: "main".to_owned(), frame: 17, kind: fault };
            assert_eq!(read(example), Ok(want), "{error}");
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
