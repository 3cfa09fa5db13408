//! Holds one stills camera for the station: requests come on standard input, answers go to standard output.
//!
//! It ends when standard input ends, also while the library hangs in a call, so that no camera stays held after the
//! station. What hangs while the station lives is the station's to kill.

mod cameras;
mod serve;
// The daemon's half of the conversation is not used here.
#[allow(dead_code)]
#[path = "../../src/camera/helper/wire.rs"]
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut cameras = cameras::Cameras::default();
    match serve::serve(move |request| cameras.answer(request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnstage-tether: {error}; it is started by turnstage and of no use by hand");
            ExitCode::FAILURE
        }
    }
}
