//! A clean plate: what every camera sees while nothing is on the table, at the angle where it stands.

use turnstage_drivers::CameraError;
use turnstage_pipeline::Cells;

use super::expose;
use super::finish::fetch_and_judge;
use crate::calibration::Device;
use crate::command::Refusal;
use crate::recipe::{Place, Recipe};
use crate::rig::Rig;

/// Rules by which a picture is no clean plate.
const NO_PLATE: [&str; 4] = ["qc.corrupt", "qc.size", "qc.dark", "qc.too-large"];

/// A camera with its picture of the empty table.
pub type Empty = (String, Device, Cells);

/// Exposes every camera of `names` once; they are locked to the recipe's settings. A camera whose failure only warns is
/// left out when it fails.
pub async fn take(rig: &mut Rig, recipe: &Recipe, names: &[String]) -> Result<Vec<Empty>, Refusal> {
    rig.lock(names, &recipe.camera).await.map_err(|reason| {
        Refusal::new("camera-missing", format!("No plate was taken: {reason}. Check its cable and power."))
    })?;
    let shot = expose(rig, Place::plain(0, None), None, names, 1).await;
    let mut plates = Vec::new();
    for (name, exposed) in shot.exposures {
        let Some(camera) = rig.cameras.iter_mut().find(|camera| camera.name == name) else { continue };
        let nothing = || CameraError::Disconnected { id: name.clone() };
        let judged = match exposed.into_iter().next().unwrap_or_else(|| Err(nothing())) {
            Ok(exposed) => fetch_and_judge(camera, exposed, recipe.capture_class, &recipe.qc, None).await,
            Err(error) => Err(error),
        };
        let examined = match judged {
            Ok(judged) => judged.examined,
            Err(error) => {
                camera.failed(&error);
                if !camera.required {
                    tracing::warn!(camera = name, %error, "no clean plate of this camera");
                    continue;
                }
                let reason = format!("No plate was taken: {error}. Check its cable and power.");
                return Err(Refusal::new("camera-failed", reason));
            }
        };
        let bad = examined.findings.iter().find(|finding| NO_PLATE.contains(&finding.rule.as_str()));
        match (bad, examined.picture, camera.device()) {
            (None, Some(picture), Some(device)) => plates.push((name, device, picture.cells)),
            (bad, ..) => {
                let why = bad.map_or("It cannot be measured.", |finding| &finding.message);
                let reason = format!("The picture of camera {name} is no clean plate. {why}");
                return Err(Refusal::new("plate-not-good", reason));
            }
        }
    }
    Ok(plates)
}
