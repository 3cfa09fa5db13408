//! The command line; everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use turnstage::cli::{self, Cli};
use turnstage::exit::Exit;
use turnstage_cloud_sync::spool::SpoolError;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("turnstage: the runtime does not start: {e}");
            return ExitCode::from(turnstage::exit::TASK_DIED);
        }
    };
    let result = runtime.block_on(cli::perform(cli));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("turnstage: {error:#}");
            let code = match error.downcast_ref::<Exit>() {
                Some(exit) => exit.code,
                None if error.is::<SpoolError>() => turnstage::exit::STORAGE,
                None => turnstage::exit::TASK_DIED,
            };
            ExitCode::from(code)
        }
    }
}
