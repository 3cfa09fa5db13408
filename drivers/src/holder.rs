//! Who holds a device node: the answer to "busy", for the person who must end that program.

use std::path::Path;

/// Programs that have `node` open, as `name (pid 123)`. Empty when nobody has, or when we may not look into theirs.
pub fn holders(node: &Path) -> Vec<String> {
    let Ok(wanted) = node.canonicalize() else { return Vec::new() };
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let found = processes.filter_map(|process| {
        let pid =
            process.file_name().into_string().ok().filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))?;
        let files = std::fs::read_dir(process.path().join("fd")).ok()?;
        let open = files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == wanted));
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        (open && pid != own).then(|| format!("{} (pid {pid})", name.trim()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn names_the_program_that_has_a_file_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holders(file.path()), Vec::<String>::new(), "our own do not count");
        let script = "exec 3<\"$0\"; echo open; read -r end";
        let mut other = Command::new("sh");
        other.arg("-c").arg(script).arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut other = other.spawn().unwrap();
        let mut told = String::new();
        BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(holders(file.path()), [format!("sh (pid {})", other.id())]);
        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!(holders(file.path()), Vec::<String>::new());
    }
}
