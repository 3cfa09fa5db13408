//! Calibrated limits and clean plates at the beginning of a session, once the cameras are locked.
//!
//! Limits are taken up while nothing is shot and stored with the session: all of its frames are held to the same ones,
//! whatever is calibrated meanwhile. A plate only helps to find the subject, so it is taken up at every run.

use std::collections::BTreeMap;

use turnstage_pipeline::Cells;

use super::{Outcome, Session, Stage, finish, keep};
use crate::calibration::shelf::{Shelf, Unusable};
use crate::calibration::{Device, InForce};

/// What the shelf has for a camera.
struct Found {
    camera: String,
    limits: Result<Option<InForce>, Unusable>,
    plate: Result<Option<Cells>, Unusable>,
}

impl Session {
    /// Takes up what was calibrated for the cameras as they are now; the log says what is not used, and why.
    pub(super) async fn calibrate(&mut self, stage: &mut Stage<'_>) -> Result<(), Outcome> {
        let cameras = stage.rig.cameras.iter().filter(|camera| self.doc.cameras.contains(&camera.name));
        let devices: Vec<(String, Device)> =
            cameras.filter_map(|camera| Some((camera.name.clone(), camera.device()?))).collect();
        let (shelf, recipe) = (stage.shelf.clone(), self.doc.recipe.name.clone());
        let look = move || devices.into_iter().map(|(name, is)| look(&shelf, &recipe, name, &is)).collect();
        let found: Vec<Found> = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let mut calibrated = BTreeMap::new();
        for Found { camera, limits, plate } in found {
            self.use_plate(&camera, plate);
            match limits {
                Ok(Some(limits)) => drop(calibrated.insert(camera, limits)),
                Ok(None) => {}
                Err(why) => tracing::warn!(camera, %why, "the recipe's own limits hold"),
            }
        }
        if !self.takes.is_empty() || calibrated == self.doc.calibrated {
            return Ok(());
        }
        self.doc.calibrated = calibrated;
        keep(stage.spool, &self.doc, Vec::new()).await.map_err(|error| finish::not_stored(&error))
    }

    fn use_plate(&mut self, camera: &str, plate: Result<Option<Cells>, Unusable>) {
        if !self.doc.recipe.clean_plate {
            return;
        }
        match plate {
            Ok(Some(cells)) => self.seen.clean_plate(camera, cells),
            Ok(None) => tracing::warn!(camera, "no clean plate was taken: turnstage calibrate plate"),
            Err(why) => tracing::warn!(camera, %why, "the clean plate is not used"),
        }
    }
}

fn look(shelf: &Shelf, recipe: &str, camera: String, is: &Device) -> Found {
    let limits = shelf.calibration(recipe, &camera, is).map(|found| found.map(InForce::from));
    let plate = shelf.plate(recipe, &camera, is).map(|found| found.map(|plate| plate.cells));
    Found { camera, limits, plate }
}
