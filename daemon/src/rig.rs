//! The rig: the cameras of this station, each with the examiner that judges its pictures.
//!
//! A camera that is missing or failed is a state, not an end: it keeps its reason and is opened again before the next
//! session or resume. Only a camera that the configuration calls required can stop a session.

mod eye;

use std::time::Duration;

use futures_util::future::join_all;
use turnstage_drivers::camera::{self, Applied, Settings};
use turnstage_drivers::frame::Exposure;
use turnstage_drivers::turntable::external::Watched;
use turnstage_drivers::turntable::{Hand, Sightings};
use turnstage_drivers::{Camera, CameraError, DeviceOptions, Surroundings, sim};
use turnstage_pipeline::{Examiner, InputLimits};

use crate::calibration::Device;
use crate::config::{CameraConfig, Config};
use crate::status::CameraStatus;

pub use eye::{Eye, Look};

/// One camera of the rig.
pub struct RigCamera {
    /// Name in the rig.
    pub name: String,
    /// Its failure stops a session.
    pub required: bool,
    config: CameraConfig,
    /// Open, unless `fault` says why not.
    pub camera: Option<Box<dyn Camera>>,
    /// Lent to a worker thread while it judges.
    pub examiner: Option<Examiner>,
    /// What was read back when the settings were locked.
    pub applied: Option<Applied>,
    /// What was read back before it went away.
    pub former: Option<Applied>,
    /// Why it cannot be used.
    pub fault: Option<String>,
    /// Whoever reads the rim looks through it.
    eye: Option<Eye>,
}

/// All cameras, and what simulated devices share.
pub struct Rig {
    /// In the order of their names.
    pub cameras: Vec<RigCamera>,
    around: Surroundings,
    input: InputLimits,
    /// What is to be seen of a table that somebody else turns, and who looks.
    watched: Option<(Watched, Eye)>,
}

/// A camera has so long to become ready.
const WARM_UP: Duration = Duration::from_secs(10);

impl Rig {
    /// The configured cameras, not opened yet.
    pub fn new(config: &Config, around: Surroundings) -> Self {
        let watched =
            config.rig.turntable.as_ref().and_then(Watched::of).map(|watched| (watched, Eye::default()));
        let eye = |name: &str| {
            watched.as_ref().filter(|(watched, _)| watched.ring.camera == name).map(|(_, eye)| eye.clone())
        };
        let cameras = config.rig.cameras.iter().map(|(name, camera)| RigCamera {
            name: name.clone(),
            required: camera.required,
            config: camera.clone(),
            camera: None,
            examiner: None,
            applied: None,
            former: None,
            fault: None,
            eye: eye(name),
        });
        Self { cameras: cameras.collect(), around, input: config.input, watched }
    }

    /// Opens what is not open, without touching the others.
    pub async fn open(&mut self) {
        let (around, input) = (&self.around, &self.input);
        let closed = self.cameras.iter_mut().filter(|camera| camera.camera.is_none());
        // Together: one that hangs must not keep the others waiting.
        join_all(closed.map(|camera| camera.open(around, input))).await;
    }

    /// Locks the settings of a session on the cameras that it uses; the reason of the first required one that fails. What
    /// neither recipe nor configuration sets a camera meters itself.
    pub async fn lock(&mut self, names: &[String], over: &Settings) -> Result<(), String> {
        self.cameras.iter_mut().for_each(|camera| (camera.applied, camera.former) = (None, None));
        self.lock_as_before(names, over).await
    }

    /// The same in the middle of a session: what was in force before is set, because a camera would meter something else at
    /// another angle.
    pub async fn lock_as_before(&mut self, names: &[String], over: &Settings) -> Result<(), String> {
        if let Some(gone) = names.iter().find(|name| !self.cameras.iter().any(|camera| camera.name == **name))
        {
            return Err(format!(
                "this rig has no camera \"{gone}\" any more; call one so, or begin a new session"
            ));
        }
        for camera in self.cameras.iter_mut().filter(|camera| names.contains(&camera.name)) {
            let chosen = layered(&camera.config.settings, over);
            let former = camera.applied.as_ref().or(camera.former.as_ref());
            let settings = former.map_or(chosen, |former| layered(&in_force(former), &chosen));
            let again = settings != chosen;
            let mut result = camera.apply(&settings).await;
            if result.is_err() && camera.camera.is_none() {
                // It went away while nobody looked, and may be back: once more, from the beginning.
                camera.open(&self.around, &self.input).await;
                result = camera.apply(&settings).await;
            }
            if again && result.is_err() && camera.camera.is_some() {
                // What it metered it may not let anybody set: it meters again, and what came of it is compared.
                result = camera.apply(&chosen).await;
            }
            match result {
                Ok(applied) => camera.applied = Some(applied),
                Err(reason) if camera.required => return Err(format!("{}: {reason}", camera.name)),
                Err(reason) => {
                    tracing::warn!(camera = camera.name, reason, "goes on without this camera");
                    camera.camera = None;
                    camera.applied = None;
                    camera.fault = Some(reason);
                }
            }
        }
        Ok(())
    }

    /// Names of the cameras that a recipe uses; `Err` names one that the rig lacks.
    pub fn names(&self, wanted: &[String]) -> Result<Vec<String>, String> {
        if let Some(missing) = wanted.iter().find(|name| !self.cameras.iter().any(|c| &c.name == *name)) {
            return Err(missing.clone());
        }
        let chosen = self.cameras.iter().filter(|c| wanted.is_empty() || wanted.contains(&c.name));
        Ok(chosen.map(|camera| camera.name.clone()).collect())
    }

    /// The person beside a manual table.
    pub fn hand(&self) -> &Hand {
        &self.around.hand
    }

    /// What is to be seen of a table that somebody else turns, who looks and where it is told.
    pub fn watched(&self) -> Option<(&Watched, &Eye, &Sightings)> {
        self.watched.as_ref().map(|(watched, eye)| (watched, eye, &self.around.sightings))
    }

    /// Limits of what is decoded.
    pub fn input(&self) -> InputLimits {
        self.input
    }

    /// For the status.
    pub fn status(&self) -> Vec<CameraStatus> {
        let each = self.cameras.iter().map(|camera| CameraStatus {
            name: camera.name.clone(),
            model: camera.camera.as_ref().map(|open| open.info().model).unwrap_or_default(),
            tried: camera.camera.as_ref().is_none_or(|open| open.info().tried),
            fault: camera.fault.clone(),
        });
        each.collect()
    }
}

impl RigCamera {
    async fn open(&mut self, around: &Surroundings, input: &InputLimits) {
        match self.try_open(around, input).await {
            Ok(()) => self.fault = None,
            Err(e) => self.fault = Some(e.to_string()),
        }
    }

    async fn try_open(&mut self, around: &Surroundings, input: &InputLimits) -> Result<(), CameraError> {
        let mut camera = camera::open(&self.name, &self.config.device, around).await?;
        camera.warm_up(WARM_UP).await?;
        if self.examiner.is_none() {
            let examiner = Examiner::new(*input).map_err(|e| CameraError::Unsupported {
                id: self.name.clone(),
                what: format!("its pictures cannot be examined: {e}"),
            })?;
            self.examiner = Some(examiner);
        }
        if let Some(eye) = &self.eye {
            // What it sees before a session is measured with the lens as it is calibrated.
            camera.apply(&self.config.settings).await?;
            camera = eye.share(camera);
        }
        self.camera = Some(camera);
        Ok(())
    }

    /// Locks settings; a camera that went away is closed.
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, String> {
        let Some(open) = self.camera.as_mut() else {
            return Err(self.fault.clone().unwrap_or_else(|| "not open".to_owned()));
        };
        open.apply(settings).await.map_err(|error| {
            self.failed(&error);
            error.to_string()
        })
    }

    /// What it is, once its settings were locked.
    pub fn device(&self) -> Option<Device> {
        let (info, applied) = (self.camera.as_ref()?.info(), self.applied.as_ref()?);
        let (width, height) = applied.size;
        Some(Device { driver: info.driver.to_owned(), model: info.model, width, height })
    }

    /// Remembers a failure; a camera that must be opened again is closed.
    pub fn failed(&mut self, error: &CameraError) {
        self.fault = Some(error.to_string());
        if error.needs_reopen() {
            self.camera = None;
            self.former = self.applied.take().or(self.former.take());
        }
    }
}

/// `over` where it says something, `base` elsewhere.
fn layered(base: &Settings, over: &Settings) -> Settings {
    Settings {
        exposure_us: over.exposure_us.or(base.exposure_us),
        gain: over.gain.or(base.gain),
        wb_kelvin: over.wb_kelvin.or(base.wb_kelvin),
        focus: over.focus.or(base.focus),
        size: over.size.or(base.size),
        quality: over.quality.or(base.quality),
    }
}

fn in_force(applied: &Applied) -> Settings {
    let Exposure { exposure_us, gain, wb_kelvin, focus } = applied.exposure;
    Settings { exposure_us, gain, wb_kelvin, focus, ..Settings::default() }
}

fn devices(config: &Config) -> impl Iterator<Item = &DeviceOptions> {
    config.rig.turntable.iter().chain(config.rig.cameras.values().map(|camera| &camera.device))
}

/// Cameras without which no session is shot.
pub fn required(config: &Config) -> Vec<String> {
    let required = config.rig.cameras.iter().filter(|(_, camera)| camera.required);
    required.map(|(name, _)| name.clone()).collect()
}

/// Nothing of the rig is real, so nobody can be hurt.
pub fn is_simulated(config: &Config) -> bool {
    devices(config).all(|device| device.driver == "sim")
}

/// The booth that simulated devices share, if any device is simulated.
pub fn surroundings(config: &Config) -> Result<Surroundings, String> {
    let inputs = config.rig.inputs.values().map(|input| &input.device);
    let outputs = config.rig.outputs.values().map(|output| &output.device);
    let simulated = devices(config).chain(inputs).chain(outputs).any(|device| device.driver == "sim");
    let booth = simulated.then(|| sim::Booth::new(config.booth.clone())).transpose()?;
    Ok(Surroundings { booth, ..Surroundings::default() })
}
