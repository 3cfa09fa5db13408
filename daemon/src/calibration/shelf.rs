//! Where calibrations, clean plates and axes are kept: one small JSON file each in `DATA/calibration`.
//!
//! They belong to the station and not to a session, and `turnstage check` reads them beside a running one; so they are
//! files and not documents of the spool. A file is written whole beside its place, flushed, and put there by one
//! rename, so that a power cut leaves the old one or the new one. One that is damaged or newer than this program is
//! told and not used; nothing is captured worse for it, because the recipe's own limits hold then.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use turnstage_pipeline::qc::Limits;

use super::axis::CameraAxis;
use super::{CALIBRATION_SCHEMA, Calibration, Device, Plate};
use crate::clock::readable;

/// Name of the folder below the data folder.
const FOLDER: &str = "calibration";
const LIMITS: &str = "limits.json";
const PLATE: &str = "plate.json";
const AXIS: &str = "axis.json";

/// See the module.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

/// Everything that is kept, in the order of recipe and camera.
#[derive(Debug, Default)]
pub struct Kept {
    /// Limits.
    pub calibrations: Vec<Calibration>,
    /// Clean plates.
    pub plates: Vec<Plate>,
    /// Where cameras stand.
    pub axes: Vec<CameraAxis>,
    /// Files that cannot be used, with the reason.
    pub unreadable: Vec<String>,
}

/// Why what is kept is not used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// Damaged, or written by a newer version.
    #[error("{path}: {why}. Calibrate again, or forget it")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It is of another camera.
    #[error(
        "camera {camera} was exchanged since its {what} of {date}: calibrate again. It was {was}, now it is {is}"
    )]
    Exchanged {
        /// Name in the rig.
        camera: String,
        /// Calibration or clean plate.
        what: &'static str,
        /// When it was made.
        date: String,
        /// Then.
        was: Box<Device>,
        /// Now.
        is: Box<Device>,
    },
}

impl Shelf {
    /// That of a data folder.
    pub fn of(data: &Path) -> Self {
        Self { folder: data.join(FOLDER) }
    }

    /// Keeps limits in the place of those before.
    pub fn keep(&self, calibration: &Calibration) -> std::io::Result<()> {
        self.write(&self.path(&calibration.recipe, &calibration.camera, LIMITS), calibration)
    }

    /// Keeps a clean plate in the place of the one before.
    pub fn keep_plate(&self, plate: &Plate) -> std::io::Result<()> {
        self.write(&self.path(&plate.recipe, &plate.camera, PLATE), plate)
    }

    /// Keeps where cameras stand, in the place of what was known of them.
    pub fn keep_axes(&self, axes: &[CameraAxis]) -> std::io::Result<()> {
        axes.iter().try_for_each(|axis| self.write(&self.axis_path(&axis.camera), axis))
    }

    /// Limits for a camera as it is now; `None` where none were set.
    pub fn calibration(
        &self,
        recipe: &str,
        camera: &str,
        is: &Device,
    ) -> Result<Option<Calibration>, Unusable> {
        let Some(kept) = read_limits(&self.path(recipe, camera, LIMITS))? else { return Ok(None) };
        same(camera, "calibration", (kept.at.wall_ms, &kept.device), is).map(|()| Some(kept))
    }

    /// Clean plate for a camera as it is now; `None` where none was taken.
    pub fn plate(&self, recipe: &str, camera: &str, is: &Device) -> Result<Option<Plate>, Unusable> {
        let Some(kept) = read::<Plate>(&self.path(recipe, camera, PLATE))? else { return Ok(None) };
        same(camera, "clean plate", (kept.at.wall_ms, &kept.device), is).map(|()| Some(kept))
    }

    /// Where a camera stands, as it was calibrated; `None` where it was not.
    pub fn axis(&self, camera: &str) -> Result<Option<CameraAxis>, Unusable> {
        read(&self.axis_path(camera))
    }

    /// Whether a camera's axis is kept, good or not.
    pub fn has_axis(&self, camera: &str) -> bool {
        self.axis_path(camera).exists()
    }

    /// Whether anything is kept of a camera with a recipe, good or not.
    pub fn has(&self, recipe: &str, camera: &str) -> bool {
        [LIMITS, PLATE].iter().any(|kind| self.path(recipe, camera, kind).exists())
    }

    /// Forgets limits and plate of a camera with a recipe, and `with_axis` where it stands, which is the same for every
    /// recipe; how many there were.
    pub fn forget(&self, recipe: &str, camera: &str, with_axis: bool) -> std::io::Result<usize> {
        let mut paths = vec![self.path(recipe, camera, LIMITS), self.path(recipe, camera, PLATE)];
        paths.extend(with_axis.then(|| self.axis_path(camera)));
        let mut count = 0;
        for path in paths {
            match fs::remove_file(path) {
                Ok(()) => count += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Everything.
    pub fn all(&self) -> Kept {
        let mut kept = Kept::default();
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let failed = if name.ends_with(LIMITS) {
                read_limits(&path).map(|limits| kept.calibrations.extend(limits)).err()
            } else if name.ends_with(PLATE) {
                read(&path).map(|plate| kept.plates.extend(plate)).err()
            } else if name.ends_with(AXIS) {
                read(&path).map(|axis| kept.axes.extend(axis)).err()
            } else {
                None
            };
            kept.unreadable.extend(failed.map(|error| error.to_string()));
        }
        kept
    }

    fn path(&self, recipe: &str, camera: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{}.{kind}", plain(recipe), plain(camera)))
    }

    /// Where a camera stands is the same whatever the recipe.
    fn axis_path(&self, camera: &str) -> PathBuf {
        self.folder.join(format!("{}.{AXIS}", plain(camera)))
    }

    fn write(&self, path: &Path, what: &impl Serialize) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(what)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// No dot is left in a name, so that its parts can be told; nothing leads out of the folder.
fn plain(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    name.chars().map(|c| if keep(c) { c.to_string() } else { format!("={:x}=", c as u32) }).collect()
}

/// Kept for a camera like the one that is there.
fn same(
    camera: &str,
    what: &'static str,
    (wall_ms, was): (i64, &Device),
    is: &Device,
) -> Result<(), Unusable> {
    if was.is_like(is) {
        return Ok(());
    }
    let (camera, date) = (camera.to_owned(), readable(wall_ms));
    Err(Unusable::Exchanged { camera, what, date, was: was.clone().into(), is: is.clone().into() })
}

/// Limits that make sense, whoever wrote them.
fn read_limits(path: &Path) -> Result<Option<Calibration>, Unusable> {
    let Some(read) = read::<Calibration>(path)? else { return Ok(None) };
    match read.limits.over(&Limits::default()).check().into_iter().next() {
        None => Ok(Some(read)),
        Some(why) => Err(Unusable::Unreadable { path: path.to_owned(), why }),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Unusable> {
    let failed = |why: String| Unusable::Unreadable { path: path.to_owned(), why };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64).unwrap_or_default();
    if schema > u64::from(CALIBRATION_SCHEMA) {
        return Err(failed(format!("written by a newer version (schema {schema})")));
    }
    serde_json::from_value(value).map(Some).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {

    use super::super::{CameraLimits, Range, Spread};
    use super::*;
    use crate::clock::SystemClock;

    fn device(width: u32) -> Device {
        Device { driver: "sim".to_owned(), model: "m".to_owned(), width, height: 240 }
    }

    fn calibration(recipe: &str, camera: &str) -> Calibration {
        let range = Some(Range { least: 1.0, median: 1.0, p98: 1.0, largest: 1.0 });
        let spread = Spread {
            frames: 12,
            blur_px: range,
            mean: range,
            clipped_high: range,
            clipped_low: range,
            noise_levels: range,
        };
        Calibration {
            schema: CALIBRATION_SCHEMA,
            recipe: recipe.to_owned(),
            camera: camera.to_owned(),
            device: device(320),
            lens: None,
            at: SystemClock::new().now(),
            session: "s".to_owned(),
            actor: "cli:me".to_owned(),
            limits: CameraLimits { blur_px_max: Some(0.7), ..CameraLimits::default() },
            spread,
        }
    }

    #[test]
    fn what_is_kept_is_found_again_by_recipe_and_camera_and_for_that_camera_only() {
        let data = tempfile::TempDir::new().unwrap();
        let shelf = Shelf::of(data.path());
        let kept = calibration("spin36", "main");
        shelf.keep(&kept).unwrap();
        shelf.keep(&calibration("spin36", "../top.down")).unwrap();
        let turned = Device { width: 240, height: 320, ..device(0) };
        assert_eq!(shelf.calibration("spin36", "main", &turned), Ok(Some(kept)));
        assert_eq!(shelf.calibration("other", "main", &device(320)), Ok(None));
        assert!(shelf.calibration("spin36", "../top.down", &device(320)).unwrap().is_some());
        let exchanged = shelf.calibration("spin36", "main", &device(640)).unwrap_err().to_string();
        assert!(exchanged.starts_with("camera main was exchanged since its calibration of 2"), "{exchanged}");
        assert_eq!(shelf.all().calibrations.len(), 2);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing beside the folder");
        assert_eq!((shelf.forget("spin36", "main", true).unwrap(), shelf.all().calibrations.len()), (1, 1));
    }

    #[test]
    fn a_newer_file_is_refused_one_with_more_fields_is_read_and_a_damaged_one_is_told() {
        let data = tempfile::TempDir::new().unwrap();
        let shelf = Shelf::of(data.path());
        let kept = calibration("r", "main");
        let path = shelf.path("r", "main", LIMITS);
        let with = |key: &str, value: serde_json::Value| {
            let mut written = serde_json::to_value(&kept).unwrap();
            written[key] = value;
            shelf.write(&path, &written).unwrap();
            shelf.calibration("r", "main", &device(320)).map_err(|e| e.to_string())
        };
        assert_eq!(with("a_field_of_the_future", 1.into()), Ok(Some(kept.clone())));
        assert!(with("schema", 2.into()).unwrap_err().contains("newer version"));
        let told = with("limits", serde_json::json!({ "blur_px_max": 1e9 })).unwrap_err();
        assert!(told.contains("blur_px_max = 1000000000"), "{told}");
        fs::write(&path, b"{\"schema\": 1, \"rec").unwrap();
        let told = shelf.calibration("r", "main", &device(320)).unwrap_err().to_string();
        assert!(told.contains("r.main.limits.json") && told.contains("Calibrate again"), "{told}");
        assert_eq!(shelf.all().unreadable.len(), 1);
        shelf.keep(&kept).unwrap();
        assert!(shelf.calibration("r", "main", &device(320)).is_ok());
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_what_was_there() {
        let data = tempfile::TempDir::new().unwrap();
        let shelf = Shelf::of(data.path());
        let kept = calibration("r", "main");
        shelf.keep(&kept).unwrap();
        fs::write(shelf.path("r", "main", LIMITS).with_extension("new"), b"{ half").unwrap();
        assert_eq!(shelf.calibration("r", "main", &device(320)), Ok(Some(kept)));
        let all = shelf.all();
        assert_eq!((all.calibrations.len(), all.unreadable.len()), (1, 0));
    }
}
