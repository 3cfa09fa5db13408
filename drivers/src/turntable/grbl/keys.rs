//! What a person may say of a GRBL table, checked before anything is opened.

use serde::Deserialize;

use super::line::AXES;
use crate::DeviceOptions;

/// The driver's own keys; those of the link are [`crate::link::LinkKeys`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keys {
    axis: String,
    /// Positive turns clockwise seen from above.
    pub(super) reverse: bool,
    /// Slower than the controller allows; without, as fast as it allows.
    pub(super) speed_deg_s: Option<f64>,
    /// Beside its target it still stands there.
    pub(super) tolerance_deg: f64,
    /// Use `$H`; without, if the controller has homing.
    pub(super) home: Option<bool>,
    /// Angle at which `$H` leaves the table.
    pub(super) home_deg: f64,
    /// Turned from zero no further than this, for tables with a cable.
    pub(super) limits_deg: Option<(f64, f64)>,
    tilt_axis: Option<String>,
    pub(super) tilt_reverse: bool,
    /// Lowest and highest tilt.
    pub(super) tilt_deg: Option<(f64, f64)>,
    /// Tilt at which `$H` leaves the platter.
    pub(super) tilt_home_deg: f64,
    /// How long a board may take to start after its port was opened.
    pub(super) boot_ms: Option<u64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            axis: "x".to_owned(),
            reverse: false,
            speed_deg_s: None,
            tolerance_deg: 0.1,
            home: None,
            home_deg: 0.0,
            limits_deg: None,
            tilt_axis: None,
            tilt_reverse: false,
            tilt_deg: None,
            tilt_home_deg: 0.0,
            boot_ms: None,
        }
    }
}

impl Keys {
    /// Reads and checks them.
    pub(super) fn read(options: &DeviceOptions) -> Result<Self, String> {
        let keys: Self = options.read()?;
        let within = |key: &str, value: f64, low: f64, high: f64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err(format!("{key} = {value} is not in {low} to {high}")),
        };
        keys.axis()?;
        within("speed_deg_s", keys.speed_deg_s.unwrap_or(1.0), 0.01, 3600.0)?;
        within("tolerance_deg", keys.tolerance_deg, 0.001, 5.0)?;
        within("home_deg", keys.home_deg, -360.0, 360.0)?;
        within("boot_ms", keys.boot_ms.unwrap_or(0) as f64, 0.0, 30_000.0)?;
        if let Some((low, high)) = keys.limits_deg {
            within("limits_deg[0]", low, -36_000.0, 0.0)?;
            within("limits_deg[1]", high, 0.0, 36_000.0)?;
        }
        let Some(tilt) = keys.tilt_axis()? else {
            return match keys.tilt_deg {
                Some(_) => Err("tilt_deg is given without tilt_axis; name the axis that tilts".to_owned()),
                None => Ok(keys),
            };
        };
        if tilt == keys.axis()? {
            return Err(format!("tilt_axis = \"{}\" is the axis that turns; name another", AXES[tilt]));
        }
        let Some((low, high)) = keys.tilt_deg else {
            return Err("tilt_axis is given without tilt_deg = [lowest, highest]".to_owned());
        };
        within("tilt_deg[0]", low, -180.0, 180.0)?;
        within("tilt_deg[1]", high, low, 180.0)?;
        within("tilt_home_deg", keys.tilt_home_deg, low, high)?;
        Ok(keys)
    }

    /// Index of the axis that turns.
    pub(super) fn axis(&self) -> Result<usize, String> {
        index("axis", &self.axis)
    }

    /// Index of the axis that tilts, if one does.
    pub(super) fn tilt_axis(&self) -> Result<Option<usize>, String> {
        self.tilt_axis.as_ref().map(|name| index("tilt_axis", name)).transpose()
    }
}

fn index(key: &str, name: &str) -> Result<usize, String> {
    let found = AXES.iter().position(|axis| name.eq_ignore_ascii_case(&axis.to_string()));
    found.ok_or_else(|| format!("{key} = \"{name}\" is not one of x, y, z, a, b, c"))
}
