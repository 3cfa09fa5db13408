//! What the service manager knows: the service's journal, and how the service ended before.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Name of the service.
const UNIT: &str = "turnstage";
/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(15);

/// The last `lines` lines of the journal, or why there are none. `more` are further options.
pub(super) async fn lines(lines: usize, more: &[String]) -> Result<String, String> {
    let count = lines.to_string();
    let mut asked = vec!["-u", UNIT, "-o", "short-iso", "--utc", "-q", "--no-pager", "-n", &count];
    asked.extend(more.iter().map(String::as_str));
    let told = ask("journalctl", &asked).await?;
    if told.trim().is_empty() {
        return Err(format!(
            "the journal shows nothing of {UNIT}: it may not run as a service, or not be for this user"
        ));
    }
    Ok(told)
}

/// How often the service was started again, and how it ended last, or why that is not known.
pub(super) async fn last_exit() -> Result<String, String> {
    let properties = "--property=ActiveState,SubState,Result,NRestarts,ExecMainStartTimestamp,ExecMainExitTimestamp,\
                      ExecMainCode,ExecMainStatus";
    ask("systemctl", &["show", UNIT, "--no-pager", properties]).await
}

async fn ask(program: &str, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(words).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let asked = tokio::time::timeout(LIMIT, command.output()).await;
    let Output { status, stdout, stderr } = asked
        .map_err(|_| format!("{program} did not answer within {} s", LIMIT.as_secs()))?
        .map_err(|error| format!("{program}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&stderr);
    Err(format!("{program}: {}", why.lines().next().unwrap_or("it gave no reason")))
}
