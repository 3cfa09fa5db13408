//! Which rigs need a wired emergency stop, by what their configuration says of table and platform.

use turnstage_drivers::{DeviceOptions, turntable};

/// A platform of more metres across is a machine that can crush somebody.
pub const PLATFORM_M_MAX: f64 = 1.0;

/// Why a rig needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The platform is over 1 m, or is taken for it.
    Platform,
    /// Nothing else ends a turn whose link is lost.
    RunsOn,
    /// A person stands on the table.
    Person,
}

/// Whether a platform must be taken for one of over 1 m. Where its size is not declared: what drives car platforms is
/// one, and so is a table by a profile of the site's own, of which nothing is known here. Tables by the other drivers
/// are table-tops unless a vehicle stands on them; those of `external` and `manual` are not moved by this station.
pub(super) fn is_large(platform_m: Option<f64>, table: &DeviceOptions) -> bool {
    match platform_m {
        Some(metres) => metres > PLATFORM_M_MAX,
        None => table.driver == "relay" || (table.driver == "profile" && table.keys.contains_key("file")),
    }
}

/// Why a rig needs one whatever stands on its table.
pub(super) fn need(platform_m: Option<f64>, table: &DeviceOptions) -> Option<Need> {
    match is_large(platform_m, table) {
        true => Some(Need::Platform),
        false => turntable::runs_on(table).then_some(Need::RunsOn),
    }
}

/// Boards for stepper motors turn cups and cars alike: what stands on them says which. Every other table that is not taken
/// for a large one is a make of table-tops, simulated, or not moved by this station.
pub(super) fn may_carry_car(table: &DeviceOptions) -> bool {
    let is_profile = |id| table.keys.get("profile").and_then(toml::Value::as_str) == Some(id);
    table.driver == "grbl" || (table.driver == "profile" && is_profile("marlin"))
}
