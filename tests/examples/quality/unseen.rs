//! Photographs that nobody had measured when the limits were chosen: those of `unseen.txt`, as `./dev study` fetched them.

use std::path::Path;

use crate::Source;

/// Their kind, as the page calls it.
pub const KIND: &str = "photographs, unseen";
/// Where `./dev study` unpacks each package, in a folder of its name.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/study");

/// What is there, and the names of the others.
///
/// # Errors
///
/// A photograph is there and cannot be read, or the table has a line that is none.
pub fn read() -> Result<(Vec<Source>, Vec<String>), Box<dyn std::error::Error>> {
    let (mut sources, mut missing) = (Vec::new(), Vec::new());
    let lines = include_str!("unseen.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let [package, _version, name, file] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("unseen.txt: \"{line}\" is not package, version, name and file").into());
        };
        match std::fs::read(Path::new(FOLDER).join(package).join(file)) {
            Ok(jpeg) => sources.push(Source {
                kind: KIND,
                chosen_on: false,
                name: name.to_owned(),
                jpeg,
                reduced: true,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.push(format!("{name} ({package})"))
            }
            Err(error) => return Err(format!("{package}/{file}: {error}").into()),
        }
    }
    Ok((sources, missing))
}
