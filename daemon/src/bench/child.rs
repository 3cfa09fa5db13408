//! Work that a row has done in a process of its own, because it counts what belongs to a whole process.
//!
//! The child is this program again, told by a hidden option what to do. Its data folder is the row's scratch folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::runtime::Handle;

use super::table::Unmeasured;
use super::{memory, own, put, sink, upload};

/// Does what a child was started for.
pub fn work(words: &[String], data: &Path, runtime: &Handle) -> Result<(), Unmeasured> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let strange = || Unmeasured(format!("a child has no work {words:?}"));
    let number = |word: &str| word.parse::<usize>().map_err(|_| strange());
    match words[..] {
        ["candidate", key, file] => own::in_child(key, &data.join(file)),
        ["memory", frames] => memory::in_child(number(frames)?, data, runtime),
        ["put", bytes, puts] => put::in_child(number(bytes)?, number(puts)?, data, runtime),
        ["sink"] => sink::in_child(runtime),
        ["upload", url] => upload::in_child(url, data, runtime),
        _ => Err(strange()),
    }
}

/// Runs a child to its end, below the command `under` if there is one; what it printed.
pub fn run(under: &[&str], data: &Path, words: &str) -> Result<String, Unmeasured> {
    let own = std::env::current_exe().map_err(Unmeasured::at("find its own program"))?;
    let mut command = match under {
        [] => Command::new(&own),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&own);
            command
        }
    };
    let output = told(&mut command, data, words)
        .stdin(Stdio::null())
        .output()
        .map_err(Unmeasured::at("start a child"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(Unmeasured(format!("a child for {words} ended with {}: {complaint}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts a child that serves until its input is closed; what it prints can be read.
pub fn start(data: &Path, words: &str) -> Result<Child, Unmeasured> {
    let mut command = command(data, words)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(Unmeasured::at("start a child"))
}

/// A child that is not started yet.
pub fn command(data: &Path, words: &str) -> Result<Command, Unmeasured> {
    let own = std::env::current_exe().map_err(Unmeasured::at("find its own program"))?;
    let mut command = Command::new(own);
    told(&mut command, data, words);
    Ok(command)
}

fn told<'a>(command: &'a mut Command, data: &Path, words: &str) -> &'a mut Command {
    command.arg("--data-dir").arg(data).args(["bench", "--child", words])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_no_row_gives_is_refused_by_its_name() {
        let words = ["put".to_owned(), "many".to_owned(), "1".to_owned()];
        let error = work(&words, Path::new("nowhere"), &Handle::current()).unwrap_err();
        assert!(error.0.contains("many"), "{error}");
    }
}
