//! Where profiles come from: this build's own, and files that only the administrator can write.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::model::Model;

/// Every profile of this build, as written.
pub const BUILT_IN: &[&str] = &[
    include_str!("../profiles/revopoint-dual-axis.toml"),
    include_str!("../profiles/revopoint-ta500.toml"),
    include_str!("../profiles/comxim.toml"),
    include_str!("../profiles/iconasys.toml"),
    include_str!("../profiles/marlin.toml"),
    include_str!("../profiles/photomechanics-legacy.toml"),
];

const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Whoever may write a profile moves a machine.
const OWNER: u32 = 0;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Every profile of this build, read.
pub fn built_in() -> Vec<Model> {
    // A test reads each of them.
    BUILT_IN.iter().filter_map(|text| Model::read(text).ok()).collect()
}

/// The built-in profile of this id; the error names those that there are.
pub fn by_id(id: &str) -> Result<Model, String> {
    let mut all = built_in();
    match all.iter().position(|model| model.id == id) {
        Some(at) => Ok(all.swap_remove(at)),
        None => {
            let ids: Vec<&str> = all.iter().map(|model| model.id.as_str()).collect();
            Err(format!("no such profile \"{id}\"; there are: {}", ids.join(", ")))
        }
    }
}

/// The profile in a file that belongs to root and that nobody else can write.
pub fn from_file(path: &Path) -> Result<Model, String> {
    from_file_of(path, OWNER)
}

pub(super) fn from_file_of(path: &Path, owner: u32) -> Result<Model, String> {
    let wrong = |what: String| format!("file = \"{}\": {what}", path.display());
    if !path.is_absolute() {
        return Err(wrong("the path must begin with /".to_owned()));
    }
    for guarded in [path.parent().unwrap_or(path), path] {
        let facts = std::fs::metadata(guarded).map_err(|e| wrong(e.to_string()))?;
        if facts.uid() != owner || facts.mode() & WRITABLE_BY_OTHERS != 0 {
            let name = guarded.display();
            let what = format!("{name} can be changed by others: chown root: {name}; chmod go-w {name}");
            return Err(wrong(what));
        }
    }
    let facts = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    if !facts.is_file() || facts.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("it is not a file of at most {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    Model::read(&text).map_err(wrong)
}
