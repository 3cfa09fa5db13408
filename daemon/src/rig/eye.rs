//! The camera that reads the rim: the station takes its pictures, and between them whoever reads the rim looks through it.
//!
//! A call waits for the one before it, in order, so that a look never falls into an exposure. The camera stays the
//! station's: when it closes its half, the other one is blind.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;
use turnstage_drivers::camera::{Applied, CameraInfo, ExposeRequest, Exposed, Settings};
use turnstage_drivers::{Camera, CameraError, Frame, FrameSet};

type Open = Mutex<Box<dyn Camera>>;

/// Who looks. Clones look through the same camera.
#[derive(Clone, Default)]
pub struct Eye(Arc<std::sync::Mutex<Weak<Open>>>);

/// A live picture.
pub struct Look {
    /// Of which camera.
    pub info: CameraInfo,
    /// The picture.
    pub frame: Frame,
    /// How long nobody else could use the camera.
    pub held: Duration,
}

impl Eye {
    /// Opens the eye on a camera, and returns the station's half of it.
    pub fn share(&self, camera: Box<dyn Camera>) -> Box<dyn Camera> {
        let info = camera.info();
        let open = Arc::new(Mutex::new(camera));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&open);
        Box::new(Half { open, info })
    }

    /// The newest live picture; `Err` with a clause where there is none.
    pub async fn look(&self) -> Result<Look, String> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let open = open.ok_or("is not there")?;
        let mut camera = open.lock().await;
        let began = Instant::now();
        match camera.preview().await {
            Ok(Some(frame)) => Ok(Look { info: camera.info(), frame, held: began.elapsed() }),
            Ok(None) => Err("gives no live picture".to_owned()),
            Err(error) => Err(format!("gives no live picture: {error}")),
        }
    }
}

/// The station's half.
struct Half {
    open: Arc<Open>,
    info: CameraInfo,
}

#[async_trait]
impl Camera for Half {
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError> {
        let mut camera = self.open.lock().await;
        let applied = camera.apply(settings).await;
        self.info = camera.info();
        applied
    }

    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError> {
        self.open.lock().await.warm_up(limit).await
    }

    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let mut camera = self.open.lock().await;
        let exposed = camera.expose(request).await;
        self.info = camera.info();
        exposed
    }

    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        self.open.lock().await.fetch(exposed).await
    }

    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        self.open.lock().await.preview().await
    }

    fn info(&self) -> CameraInfo {
        self.info.clone()
    }
}
