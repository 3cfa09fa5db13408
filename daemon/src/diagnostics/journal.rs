//! What the service manager knows: the service's journal, and how the service ended before.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Name of the service, where this process is none.
const UNIT: &str = "turnstage";
/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(15);

/// The last `lines` lines of the journal, or why there are none. `more` are further options.
pub(super) async fn lines(lines: usize, more: &[String]) -> Result<String, String> {
    let count = lines.to_string();
    let unit = unit();
    let mut asked = vec!["-u", &unit, "-o", "short-iso", "--utc", "-q", "--no-pager", "-n", &count];
    asked.extend(more.iter().map(String::as_str));
    let told = ask("journalctl", &asked).await?;
    if told.trim().is_empty() {
        return Err(format!(
            "the journal shows nothing of {unit}: it may not run as a service, or not be for this user"
        ));
    }
    Ok(told)
}

/// How often the service was started again, and how it ended last, or why that is not known.
pub(super) async fn last_exit() -> Result<String, String> {
    let properties = "--property=ActiveState,SubState,Result,NRestarts,ExecMainStartTimestamp,ExecMainExitTimestamp,\
                      ExecMainCode,ExecMainStatus";
    ask("systemctl", &["show", &unit(), "--no-pager", properties]).await
}

/// The service that this process is: one of several on a machine has a name of its own, `turnstage@NAME.service`.
fn unit() -> String {
    unit_of(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

fn unit_of(groups: &str) -> String {
    let mut parts = groups.lines().flat_map(|line| line.rsplit('/'));
    let own = parts.find(|part| part.starts_with(UNIT) && part.ends_with(".service"));
    own.unwrap_or(UNIT).to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_stations_reads_its_own_journal() {
        assert_eq!(
            unit_of("0::/system.slice/system-turnstage.slice/turnstage@two.service\n"),
            "turnstage@two.service"
        );
        assert_eq!(unit_of("0::/user.slice/session-1.scope\n"), "turnstage");
        assert_eq!(unit_of(""), "turnstage");
    }
}
