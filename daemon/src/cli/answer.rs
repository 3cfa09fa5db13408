//! What a command prints. A reader that closed the pipe (`| head`) has read enough: what the command does goes on.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints one line, as `println!` does, which would panic on a closed pipe.
macro_rules! answer {
    ($($line:tt)*) => { $crate::cli::answer::line(format_args!($($line)*)) };
}
pub(super) use answer;

pub(super) fn line(line: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("turnstage: nothing can be printed: {error}");
        }
        _ => {}
    }
}
