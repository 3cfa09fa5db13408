//! Whether a table can do what a recipe asks of it, before a session begins.

use turnstage_drivers::turntable::TurntableInfo;

use crate::command::Refusal;
use crate::recipe::Recipe;

/// Whether the table can do what the recipe asks of it.
pub(super) fn fits(recipe: &Recipe, info: &TurntableInfo) -> Result<(), Refusal> {
    let wrong = |rule: &str, what: String| Err(Refusal::new(rule, format!("Recipe {}: {what}", recipe.name)));
    for tilt_deg in recipe.rows.iter().filter_map(|row| row.tilt_deg) {
        match info.tilt {
            None => return wrong("motion-no-tilt", "tilt_deg, but this table does not tilt.".to_owned()),
            Some((low, high)) if !(low..=high).contains(&tilt_deg) => {
                return wrong("motion-tilt-range", format!("tilt_deg {tilt_deg} is not in {low} to {high}."));
            }
            Some(_) => {}
        }
    }
    match recipe.continuous {
        Some(_) if !info.sweeps => {
            let what =
                "this table does not tell where it is while it turns; use motion = \"stop_and_shoot\".";
            wrong("motion-no-sweep", what.to_owned())
        }
        Some(how) if how.speed_deg_s > info.speed_max => wrong(
            "motion-too-fast",
            format!("{} degrees a second; this table turns at most {}.", how.speed_deg_s, info.speed_max),
        ),
        _ => Ok(()),
    }
}
