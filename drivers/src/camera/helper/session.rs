//! One open camera at the other end of a helper process, in the errors of a camera.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::CameraError;
use super::wire::{Answer, Event, Fault, File, Pixels, Place, Request, Setting};
use super::{Helper, HelperError, locate};
use crate::{Later, Listing};

/// Starts a helper.
pub(in super::super) type Starter =
    Box<dyn Fn() -> Later<'static, Result<Helper, HelperError>> + Send + Sync>;

/// Starts the helper at this path.
pub(in super::super) fn starter(program: PathBuf) -> Starter {
    Box::new(move || {
        let program = program.clone();
        Box::pin(async move { Helper::start(&program).await })
    })
}

/// Whether the key `helper` can be used.
pub(in super::super) fn check(helper: &str, configured: Option<&Path>) -> Result<(), String> {
    match configured {
        Some(path) if !path.is_absolute() => {
            Err(format!("helper must be a path from the root, as /usr/lib/turnstage/{helper}"))
        }
        _ => Ok(()),
    }
}

/// Starts the helper for the camera that the rig calls `name`: the configured one, or the one where it usually is.
pub(in super::super) fn starter_for(name: &str, helper: &str, configured: Option<&Path>) -> Outcome<Starter> {
    locate(helper, configured).map(starter).map_err(|error| of_helper(name, error))
}

/// The cameras of `driver` that the helper at `program`, or the one where it usually is, finds by `deadline`. Where it
/// fails, that is the one line of the list; no helper is no camera: it is an addition that most stations do without.
pub(in super::super) async fn found(
    driver: &'static str,
    helper: &str,
    program: Option<&Path>,
    deadline: Instant,
) -> Result<(Vec<Place>, Starter), Vec<Listing>> {
    let program = locate(helper, program).map_err(|_| Vec::new())?;
    let starter = starter(program.clone());
    let places = async { Session::start(driver, &starter).await?.cameras(deadline).await };
    match places.await {
        Ok(places) => Ok((places, starter)),
        Err(error) => {
            let listing =
                Listing::of(driver, &program.display().to_string(), "cameras by its helper process");
            Err(vec![Listing { problem: Some(error.to_string()), options: None, ..listing }])
        }
    }
}

/// A helper, and with it at most one open camera.
pub(in super::super) struct Session {
    helper: Helper,
    name: String,
    broken: bool,
}

/// What the library said, where the caller knows better what it means.
pub(in super::super) struct Refusal {
    pub fault: Fault,
    pub words: String,
}

type Outcome<T> = Result<T, CameraError>;

impl Session {
    /// Starts a helper for the camera that the rig calls `name`.
    pub async fn start(name: &str, starter: &Starter) -> Outcome<Session> {
        let helper = starter().await.map_err(|error| of_helper(name, error))?;
        Ok(Session { helper, name: name.to_owned(), broken: false })
    }

    /// It must not be used any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The cameras that are there.
    pub async fn cameras(&mut self, deadline: Instant) -> Outcome<Vec<Place>> {
        match self.told(&Request::List, 0, deadline).await? {
            (Answer::Cameras { cameras }, _) => Ok(cameras),
            other => Err(self.nonsense(&other.0)),
        }
    }

    /// Opens one; says whether it can give a picture for the eye.
    pub async fn open(&mut self, place: &Place, deadline: Instant) -> Outcome<Result<bool, Refusal>> {
        let request = Request::Open { place: place.clone() };
        match self.asked(&request, 0, deadline).await? {
            Ok((Answer::Opened { preview }, _)) => Ok(Ok(preview)),
            Ok(other) => Err(self.nonsense(&other.0)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// A setting, if the camera has it.
    pub async fn read(&mut self, setting: &str, deadline: Instant) -> Outcome<Option<Setting>> {
        let request = Request::Read { setting: setting.to_owned() };
        match self.asked(&request, 0, deadline).await? {
            Ok((Answer::Setting { setting }, _)) => Ok(Some(setting)),
            Ok(other) => Err(self.nonsense(&other.0)),
            Err(Refusal { fault: Fault::Unsupported, .. }) => Ok(None),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Writes a setting; what the camera then says must be read.
    pub async fn write(
        &mut self,
        setting: &str,
        value: &str,
        deadline: Instant,
    ) -> Outcome<Result<(), Refusal>> {
        let request = Request::Write { setting: setting.to_owned(), value: value.to_owned() };
        Ok(self.asked(&request, 0, deadline).await?.map(drop))
    }

    /// Releases the shutter.
    pub async fn expose(&mut self, deadline: Instant) -> Outcome<Result<(), Refusal>> {
        Ok(self.asked(&Request::Expose, 0, deadline).await?.map(drop))
    }

    /// What the camera tells next, within `wait`.
    pub async fn event(&mut self, wait: Duration, deadline: Instant) -> Outcome<Event> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        match self.told(&Request::Event { wait_ms }, 0, deadline).await? {
            (Answer::Event { event }, _) => Ok(event),
            other => Err(self.nonsense(&other.0)),
        }
    }

    /// The bytes of a file, with their layout if they are uncompressed.
    pub async fn fetch(
        &mut self,
        file: &File,
        keep: bool,
        bytes_max: usize,
        deadline: Instant,
    ) -> Outcome<(Option<Pixels>, Bytes)> {
        match self.asked(&Request::Fetch { file: file.clone(), keep }, bytes_max, deadline).await? {
            Ok((Answer::File { pixels }, bytes)) if !bytes.is_empty() => Ok((pixels, bytes)),
            Ok(other) => Err(self.nonsense(&other.0)),
            Err(Refusal { fault: Fault::Other | Fault::Unsupported, words }) => {
                let what = format!("{} could not be fetched from the camera: {words}", file.name);
                Err(CameraError::Corrupt { id: self.name.clone(), what })
            }
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// A picture for the eye, if the camera gives one now.
    pub async fn preview(&mut self, bytes_max: usize, deadline: Instant) -> Outcome<Option<Bytes>> {
        match self.asked(&Request::Preview, bytes_max, deadline).await? {
            Ok((Answer::File { pixels: None }, bytes)) => Ok(Some(bytes)),
            Ok(other) => Err(self.nonsense(&other.0)),
            Err(_) => Ok(None),
        }
    }

    /// What a refusal means wherever nothing better is known.
    pub fn refused(&mut self, Refusal { fault, words }: Refusal) -> CameraError {
        let id = self.name.clone();
        match fault {
            Fault::NotPresent => CameraError::NotPresent { id, hint: words },
            Fault::Busy => CameraError::Busy { id, holder: format!("another program ({words})") },
            Fault::Unsupported => {
                CameraError::Unsupported { id, what: format!("it cannot do this: {words}") }
            }
            Fault::Full => full(id),
            Fault::Damaged => CameraError::Corrupt { id, what: words },
            Fault::Lost => {
                self.broken = true;
                CameraError::Disconnected { id }
            }
            Fault::Silent | Fault::Other => {
                self.broken = true;
                tracing::warn!(camera = id, words, "the camera failed; it is opened anew");
                CameraError::Poisoned { id }
            }
        }
    }

    async fn told(&mut self, request: &Request, bytes: usize, deadline: Instant) -> Outcome<(Answer, Bytes)> {
        let answer = self.asked(request, bytes, deadline).await?;
        answer.map_err(|refusal| self.refused(refusal))
    }

    async fn asked(
        &mut self,
        request: &Request,
        bytes_max: usize,
        deadline: Instant,
    ) -> Outcome<Result<(Answer, Bytes), Refusal>> {
        // A call that is dropped half-way leaves it so.
        self.broken = true;
        let answer = self.helper.ask(request, bytes_max, deadline).await;
        match answer.map_err(|error| of_helper(&self.name, error))? {
            (Answer::Failed { fault, words }, _) => {
                self.broken = false;
                Ok(Err(Refusal { fault, words }))
            }
            answer => {
                self.broken = false;
                Ok(Ok(answer))
            }
        }
    }

    /// An answer to another question: the helper is not to be trusted.
    fn nonsense(&mut self, answer: &Answer) -> CameraError {
        tracing::warn!(camera = self.name, ?answer, "the helper process answered another question");
        self.broken = true;
        CameraError::Poisoned { id: self.name.clone() }
    }
}

/// No room for another picture.
pub(in super::super) fn full(id: String) -> CameraError {
    let what = "its card or memory is full; empty the card, or set target = \"memory\"".to_owned();
    CameraError::Attention { id, what }
}

/// What a failed helper means for its camera.
pub(in super::super) fn of_helper(name: &str, error: HelperError) -> CameraError {
    let id = name.to_owned();
    match error {
        HelperError::Unusable { program, why } => CameraError::LibraryMissing { id, library: program, why },
        HelperError::Hung { waited } => CameraError::Timeout { id, waited },
        HelperError::Gone => CameraError::Disconnected { id },
        HelperError::Garbled(what) => {
            tracing::warn!(camera = name, %what, "the helper process is not to be understood");
            CameraError::Poisoned { id }
        }
    }
}
