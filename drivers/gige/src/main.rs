//! Holds one machine vision camera for the station: requests come on standard input, answers go to standard output.
//!
//! It ends when standard input ends, also while the library hangs in a call. It shares the conversation, and its end of
//! it, with the helper for tethered cameras.

mod cameras;
#[path = "../../tether/src/serve.rs"]
mod serve;
// The daemon's half of the conversation is not used here.
#[allow(dead_code)]
#[path = "../../src/camera/helper/wire.rs"]
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok(library) = aravis::Aravis::initialize() else { return ExitCode::FAILURE };
    let mut cameras = cameras::Cameras::new(library);
    match serve::serve(move |request| cameras.answer(request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnstage-gige: {error}; it is started by turnstage and of no use by hand");
            ExitCode::FAILURE
        }
    }
}
