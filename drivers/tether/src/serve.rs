//! The helper's end of the conversation: requests come on standard input, answers go to standard output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::wire::{self, Answer, Request};

/// Time to end the camera's session properly once the station is gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// An answer, and the bytes that go with some.
pub type Answered = (Answer, Box<[u8]>);

/// Answers until standard input ends. Then `answer` is dropped, which lets go of the camera.
pub fn serve(mut answer: impl FnMut(Request) -> Answered) -> io::Result<()> {
    let mut answers = own_standard_output()?;
    // One request at a time: the station waits for the answer.
    let (into, requests) = sync_channel(1);
    let (ended, end) = sync_channel(0);
    std::thread::Builder::new().name("requests".to_owned()).spawn(move || listen(into, &end))?;
    let outcome = requests.iter().try_for_each(|request: io::Result<Request>| {
        let (answer, body) = answer(request?);
        let head = wire::message(&answer, body.len()).map_err(io::Error::other)?;
        answers.write_all(&head)?;
        answers.write_all(&body)?;
        answers.flush()
    });
    drop(answer);
    drop(ended);
    outcome
}

/// Standard output for answers alone: whatever the library or a camera's driver prints goes to standard error.
fn own_standard_output() -> io::Result<File> {
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr().as_fd())?;
    Ok(output.into())
}

/// Reads requests until standard input ends, and then the process, even if the camera does not let go.
fn listen(into: SyncSender<io::Result<Request>>, end: &Receiver<()>) {
    let mut input = io::stdin().lock();
    while let Some(request) = request(&mut input).transpose() {
        let broken = request.is_err();
        if into.send(request).is_err() || broken {
            return;
        }
    }
    // The camera is let go of properly, but not waited for without end.
    drop(into);
    if end.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
        eprintln!("the camera does not answer, ended without it");
    }
    std::process::exit(0);
}

/// The next request, or none at the end of the input.
fn request(input: &mut impl Read) -> io::Result<Option<Request>> {
    let mut lengths = [0; wire::LENGTHS];
    if input.read(&mut lengths[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut lengths[1..])?;
    let (head, _) = wire::lengths(lengths, 0).map_err(io::Error::other)?;
    let mut json = vec![0; head];
    input.read_exact(&mut json)?;
    wire::head(&json).map(Some).map_err(io::Error::other)
}

/// Nothing but a head.
pub fn bare(answer: Answer) -> Answered {
    (answer, Box::default())
}
