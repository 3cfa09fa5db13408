//! A camera that lives in a process of its own, because its library hangs or its licence must not be linked.
//!
//! [`Helper::ask`] is the whole conversation: one question, one answer, one deadline. A helper that misses it is killed,
//! with everything that it started; so is one that was asked something and not heard to the end.

pub(super) mod session;
pub mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use wire::{Answer, Malformed, PROTOCOL, Request};

/// What a helper that keeps to its deadline may be late.
const GRACE: Duration = Duration::from_millis(250);
/// Time to start and say hello.
const START: Duration = Duration::from_secs(5);
/// Where packages put helpers.
const INSTALLED: &str = "/usr/lib/turnstage";
/// Exit code of the system's loader when a shared library is missing.
const NO_LIBRARY: i32 = 127;

/// What went wrong with a helper, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// There is none, or it is of another version: a person must install it.
    #[error("{program} cannot be used: {why}")]
    Unusable {
        /// The program.
        program: String,
        /// What was tried and what would be right.
        why: String,
    },
    /// It did not answer in time and was killed.
    #[error("no answer within {waited:?}")]
    Hung {
        /// How long was waited.
        waited: Duration,
    },
    /// It ended by itself.
    #[error("the helper process ended")]
    Gone,
    /// It said what is no answer, and was killed.
    #[error("the helper process said what is no answer: {0}")]
    Garbled(#[from] Malformed),
}

/// A running helper. Dropping it kills it.
pub struct Helper {
    into: Box<dyn AsyncWrite + Send + Unpin>,
    from: Box<dyn AsyncRead + Send + Unpin>,
    process: Option<Process>,
    /// A question was not heard to the end: what comes next would be taken for another's answer.
    torn: bool,
    library: String,
}

/// The helper's process group.
struct Process(Child);

/// Where the helper `name` is: `configured`, else beside our own program, else where packages put it.
pub fn locate(name: &str, configured: Option<&Path>) -> Result<PathBuf, HelperError> {
    if let Some(path) = configured {
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().ok();
    let beside = own.iter().filter_map(|own| own.parent()).map(Path::to_owned);
    let folders: Vec<PathBuf> = beside.chain([PathBuf::from(INSTALLED)]).collect();
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let why =
            format!("it is not in {}; install it, or say helper = \"/its/path\"", folders.join(" nor in "));
        HelperError::Unusable { program: name.to_owned(), why }
    })
}

impl Helper {
    /// Starts a helper and makes sure that it understands us.
    pub async fn start(program: &Path) -> Result<Helper, HelperError> {
        let unusable = |why: String| HelperError::Unusable { program: program.display().to_string(), why };
        let mut command = Command::new(program);
        // A group of its own: a terminal's Ctrl-C is the station's to act on, and what it starts dies with it.
        command.process_group(0).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| unusable(format!("it cannot be started: {e}")))?;
        let (Some(into), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(unusable("it has no standard input and output".to_owned()));
        };
        let mut helper = Helper::over(Box::new(into), Box::new(from));
        helper.process = Some(Process(child));
        match helper.greet().await {
            Ok(()) => Ok(helper),
            Err(Greeting::Other { protocol, version }) => Err(unusable(format!(
                "it is version {version} and speaks protocol {protocol}, not {PROTOCOL}; install the one that came \
                 with this turnstage"
            ))),
            Err(Greeting::Failed(HelperError::Gone)) => Err(unusable(helper.end().await)),
            Err(Greeting::Failed(error)) => Err(unusable(format!("{error}; is this path right?"))),
        }
    }

    /// A helper at the other end of these, which has not been greeted.
    pub(crate) fn over(
        into: Box<dyn AsyncWrite + Send + Unpin>,
        from: Box<dyn AsyncRead + Send + Unpin>,
    ) -> Helper {
        Helper { into, from, process: None, torn: false, library: String::new() }
    }

    /// The library that it drives cameras with, and its version.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// Asks and waits for the answer until `deadline`; no more than `body_bytes_max` bytes may come with it.
    ///
    /// After an error other than an answer, and after the call was dropped half-way, the helper is of no more use.
    pub async fn ask(
        &mut self,
        request: &Request,
        body_bytes_max: usize,
        deadline: Instant,
    ) -> Result<(Answer, Bytes), HelperError> {
        if self.torn {
            return Err(HelperError::Gone);
        }
        self.torn = true;
        let begun = Instant::now();
        let exchange = exchange(&mut self.into, &mut self.from, request, body_bytes_max);
        let result = match tokio::time::timeout_at(deadline + GRACE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(HelperError::Hung { waited: begun.elapsed() }),
        };
        match &result {
            Ok(_) => self.torn = false,
            // Its exit code is still wanted.
            Err(HelperError::Gone) => {}
            Err(_) => drop(self.process.take()),
        }
        result
    }

    async fn greet(&mut self) -> Result<(), Greeting> {
        let hello = Request::Hello { protocol: PROTOCOL };
        let asked = self.ask(&hello, 0, Instant::now() + START).await;
        match asked.map_err(Greeting::Failed)?.0 {
            Answer::Hello { protocol: PROTOCOL, library, .. } => {
                self.library = library;
                Ok(())
            }
            Answer::Hello { protocol, version, .. } => Err(Greeting::Other { protocol, version }),
            _ => Err(Greeting::Other { protocol: 0, version: "unknown".to_owned() }),
        }
    }

    /// Why it ended before it said anything.
    async fn end(&mut self) -> String {
        let Some(Process(child)) = &mut self.process else { return "it ended".to_owned() };
        match tokio::time::timeout(GRACE, child.wait()).await {
            Ok(Ok(status)) if status.code() == Some(NO_LIBRARY) => {
                "a shared library that it needs is not installed; its log says which".to_owned()
            }
            Ok(Ok(status)) => format!("it ended without a word, {status}; its log may say why"),
            _ => "it closed its output without a word".to_owned(),
        }
    }
}

/// Why a helper is not the one that we need.
enum Greeting {
    Other { protocol: u32, version: String },
    Failed(HelperError),
}

impl Drop for Process {
    fn drop(&mut self) {
        // No id: it has ended and was waited for, and the number may be another's by now.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = id {
            // It may have ended a moment ago, which is as good.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
    }
}

async fn exchange(
    into: &mut (dyn AsyncWrite + Send + Unpin),
    from: &mut (dyn AsyncRead + Send + Unpin),
    request: &Request,
    body_bytes_max: usize,
) -> Result<(Answer, Bytes), HelperError> {
    let gone = |_: io::Error| HelperError::Gone;
    into.write_all(&wire::message(request, 0)?).await.map_err(gone)?;
    into.flush().await.map_err(gone)?;
    let mut lengths = [0; wire::LENGTHS];
    from.read_exact(&mut lengths).await.map_err(gone)?;
    let (head, body) = wire::lengths(lengths, body_bytes_max)?;
    let json = take(from, head).await?;
    let body = take(from, body).await?;
    Ok((wire::head(&json)?, body.into()))
}

/// So many bytes. Room is made as they come, so that a length alone costs nothing.
async fn take(from: &mut (dyn AsyncRead + Send + Unpin), length: usize) -> Result<Vec<u8>, HelperError> {
    let mut bytes = Vec::new();
    let read = from.take(length as u64).read_to_end(&mut bytes).await;
    match read {
        Ok(read) if read == length => Ok(bytes),
        _ => Err(HelperError::Gone),
    }
}

#[cfg(test)]
mod tests;
