//! Logs reach the journal with their fields, each queryable by name (F-17).

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::time::Duration;
use turnstage_tests::{binary, quick_rig, skip, write_recipe};

/// The fields of one datagram in the journal's native format; long values come with their length.
fn fields(datagram: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        match line.split_once('=') {
            Some((name, value)) => found.push((name.to_owned(), value.to_owned())),
            None => {
                let Some((length, after)) = rest.split_first_chunk::<8>() else { break };
                let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
                found.push((line, String::from_utf8_lossy(&after[..length]).into_owned()));
                rest = &after[length + 1..];
            }
        }
    }
    found
}

#[test]
fn a_captured_frame_is_found_in_the_journal_by_session_camera_and_hash() {
    let name = "a_captured_frame_is_found_in_the_journal_by_session_camera_and_hash";
    let folder = TempDir::new().expect("a folder");
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).expect("a folder");
    let socket = UnixDatagram::bind(journal.join("socket")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    // In a mount namespace of its own the process finds our socket where the journal's is.
    let inside = "mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
    let tried = Command::new("unshare").args(["-m", "sh", "-c", inside]).arg(&journal).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        return skip(name, "a mount namespace cannot be made (root?)");
    }
    write_recipe(&folder.path().join("recipes"), "turn4", 4, "");
    let config = folder.path().join("station.toml");
    let recipes = folder.path().join("recipes").display().to_string();
    let text = format!("{}\n[recipes]\nfolder = \"{recipes}\"\n", quick_rig(""));
    std::fs::write(&config, text).expect("a configuration");
    let log = std::fs::File::create(folder.path().join("stderr")).expect("a file");
    let identity = log.metadata().expect("its identity");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", inside]).arg(&journal).arg(binary());
    command.args(["capture", "--item", "a", "--recipe", "turn4", "--config"]).arg(&config);
    command.arg("--data-dir").arg(folder.path().join("data")).env("TURNSTAGE__LOG__LEVEL", "info");
    command.env("JOURNAL_STREAM", format!("{}:{}", identity.dev(), identity.ino()));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it runs");

    let mut entries = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => entries.push(fields(&buffer[..length])),
            Err(_) if child.try_wait().expect("a child").is_some() => break,
            Err(_) => {}
        }
    }
    let value = |entry: &[(String, String)], field: &str| {
        entry.iter().find(|(name, _)| name == field).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let frames: Vec<_> = entries.iter().filter(|entry| value(entry, "MESSAGE") == "frame captured").collect();
    assert_eq!(frames.len(), 4, "{entries:#?}");
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(value(frame, "FRAME"), (index + 1).to_string());
        assert_eq!(value(frame, "CAMERA"), "main");
        assert_eq!(value(frame, "SHA256").len(), 64);
        assert_eq!(value(frame, "SESSION").len(), 36);
        assert_eq!(value(frame, "SYSLOG_IDENTIFIER"), "turnstage");
    }
}
