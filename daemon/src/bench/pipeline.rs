//! What a frame costs beside what others take for the same work: OpenCV scripts, the `image` crate, libvips, and bare
//! decodes, all on one thread.
//!
//! Every candidate is a process of its own (`peer`), and they take turns round by round. Time is CPU time of the
//! candidate's process. One that lacks something here has a row that says what.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{Rounds, take_turns};
use super::peer::Peer;
use super::picture::Kind;
use super::table::{Row, Unmeasured};
use super::{Bench, child, own, say};

/// Where a candidate's program comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// This program.
    Own,
    /// A script for Python.
    Script(&'static str),
    /// A program of its own, built beside this one.
    Image,
}

/// Who takes part.
struct Candidate {
    key: &'static str,
    name: &'static str,
    origin: Origin,
}

const OPENCV_USUAL: &str = "opencv_usual.py";
const OPENCV_TUNED: &str = "opencv_tuned.py";
const VIPS: &str = "vips.py";
const IMAGE: &str = "image";

/// The scripts, which lie within this program so that it measures on a machine without the sources.
const SCRIPTS: [(&str, &str); 4] = [
    ("rounds.py", include_str!("peers/rounds.py")),
    (OPENCV_USUAL, include_str!("peers/opencv_usual.py")),
    (OPENCV_TUNED, include_str!("peers/opencv_tuned.py")),
    (VIPS, include_str!("peers/vips.py")),
];

/// What one candidate may cost to another, in pictures of [`PROMISED`].
struct Promise {
    what: &'static str,
    of: &'static str,
    to: &'static str,
    max: f64,
}

const ALL: [Kind; 3] = [Kind::Webcam, Kind::TwelveMegapixels, Kind::TwentyFourMegapixels];
/// The one picture for which there are limits. In a smaller one the thumbnails are most of the cost, in a larger one
/// little of it.
const PROMISED: Kind = Kind::TwelveMegapixels;

const PROMISES: [Promise; 5] = [
    Promise { what: "core record, to a bare RGB decode", of: own::CORE, to: own::RGB, max: 1.30 },
    Promise { what: "full policy, to a bare RGB decode", of: own::POLICY, to: own::RGB, max: 1.60 },
    Promise { what: "core verdict, to a decode to planes", of: own::VERDICT, to: own::PLANES, max: 1.15 },
    Promise { what: "core record, to the usual OpenCV", of: own::CORE, to: OPENCV_USUAL, max: 0.35 },
    Promise { what: "core record, to the tuned OpenCV", of: own::CORE, to: OPENCV_TUNED, max: 0.60 },
];

fn candidates() -> Vec<Candidate> {
    let own = |key, name| Candidate { key, name, origin: Origin::Own };
    let script = |key, name| Candidate { key, name, origin: Origin::Script(key) };
    let mut all: Vec<Candidate> = own::checks().into_iter().map(|(key, name, _)| own(key, name)).collect();
    all.push(own(own::VERDICT, "our verdict alone, every check off"));
    all.push(own(own::RGB, "bare decode to RGB"));
    all.push(own(own::PLANES, "bare decode to planes"));
    all.push(script(OPENCV_USUAL, "OpenCV, the usual script"));
    all.push(script(OPENCV_TUNED, "OpenCV, tuned by hand"));
    all.push(Candidate { key: IMAGE, name: "crates image, imageproc, image_hasher", origin: Origin::Image });
    all.push(script(VIPS, "libvips, the thumbnails alone"));
    all
}

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    let folder = bench.scratch.folder("pipeline")?;
    for (name, text) in SCRIPTS {
        std::fs::write(folder.join(name), text).map_err(Unmeasured::at("write a script"))?;
    }
    let mut rows = Vec::new();
    for kind in ALL {
        say(&format!("pipeline: making a picture of {}", kind.name()));
        let jpeg = bench.runtime.block_on(kind.picture())?;
        let file = folder.join(kind.file_name());
        std::fs::write(&file, &jpeg).map_err(Unmeasured::at("write the picture"))?;
        rows.extend(compare(bench, &folder, &file, kind)?);
    }
    bench.scratch.forget("pipeline");
    Ok(rows)
}

/// A candidate with what it took, or why it did not take part.
struct Entrant {
    candidate: Candidate,
    /// Its place among the rounds.
    ran: Result<usize, Unmeasured>,
}

fn compare(bench: &Bench, folder: &Path, file: &Path, kind: Kind) -> Result<Vec<Row>, Unmeasured> {
    let (mut entrants, mut peers) = (Vec::new(), Vec::new());
    for candidate in candidates() {
        let started =
            command(bench, &candidate, folder, file).and_then(|mut command| Peer::start(&mut command));
        let ran = started.map(|peer| {
            peers.push(peer);
            peers.len() - 1
        });
        entrants.push(Entrant { candidate, ran });
    }
    say(&format!("pipeline: {} rounds of {} candidates, {}", bench.rounds(), peers.len(), kind.name()));
    let rounds = take_turns(bench.rounds(), peers.len(), |which| peers[which].round_s())?;
    let mut rows = promised(&entrants, &rounds, kind);
    rows.extend(entrants.iter().map(|entrant| taken(entrant, &entrants, &rounds, kind)));
    if kind == PROMISED {
        for entrant in &entrants {
            rows.push(grown(entrant, &mut peers, kind)?);
        }
    }
    Ok(rows)
}

fn command(bench: &Bench, candidate: &Candidate, folder: &Path, file: &Path) -> Result<Command, Unmeasured> {
    let mut command = match candidate.origin {
        Origin::Own => {
            return child::command(folder, &format!("candidate,{},{}", candidate.key, name_of(file)));
        }
        Origin::Script(name) => {
            let mut python = Command::new(&bench.python);
            python.arg(folder.join(name));
            python
        }
        Origin::Image => Command::new(bench.image_peer.clone().map_or_else(beside_this_program, Ok)?),
    };
    command.arg(file).env("VIPS_CONCURRENCY", "1").env("OPENBLAS_NUM_THREADS", "1");
    Ok(command)
}

fn name_of(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}

fn beside_this_program() -> Result<PathBuf, Unmeasured> {
    let own = std::env::current_exe().map_err(Unmeasured::at("find its own program"))?;
    let beside = own.with_file_name("image-peer");
    match beside.exists() {
        true => Ok(beside),
        false => {
            Err(Unmeasured("its program is built by ./dev bench pipeline; or give --image-peer PATH".into()))
        }
    }
}

/// Ratios with their limits.
fn promised(entrants: &[Entrant], rounds: &Rounds, kind: Kind) -> Vec<Row> {
    PROMISES
        .iter()
        .map(|promise| {
            let what = format!("{}: {}", kind.name(), promise.what);
            match place(entrants, promise.of).and_then(|of| Ok((of, place(entrants, promise.to)?))) {
                Err(why) => Row::unmeasured(&what, why),
                Ok((of, to)) => {
                    let [low, ratio, high] = rounds.ratio(of, &[to]);
                    let (of_ms, to_ms) = (rounds.median_ms(of), rounds.median_ms(to));
                    let note = format!("CPU {of_ms:.1} ms to {to_ms:.1} ms; quartiles {low:.2} to {high:.2}");
                    match kind == PROMISED {
                        true => Row::limited(&what, (ratio, "x"), promise.max, note),
                        false => Row::beside(&what, (ratio, "x"), note),
                    }
                }
            }
        })
        .collect()
}

/// Where a candidate stands among the rounds, or why it does not.
fn place(entrants: &[Entrant], key: &str) -> Result<usize, Unmeasured> {
    let found = entrants.iter().find(|entrant| entrant.candidate.key == key);
    match found {
        Some(entrant) => {
            entrant.ran.clone().map_err(|why| Unmeasured(format!("{}: {why}", entrant.candidate.name)))
        }
        None => Err(Unmeasured(format!("there is no candidate {key}"))),
    }
}

/// One candidate's time, and how it stands to the bare decode and to ours.
fn taken(entrant: &Entrant, all: &[Entrant], rounds: &Rounds, kind: Kind) -> Row {
    let what = format!("{}: {}", kind.name(), entrant.candidate.name);
    match &entrant.ran {
        Err(why) => Row::unmeasured(&what, why.clone()),
        Ok(which) => {
            let to = |key: &str, name: &str| {
                let [_, ratio, _] = rounds.ratio(*which, &[place(all, key).ok()?]);
                Some(format!("{ratio:.2} x {name}"))
            };
            let ratios = [to(own::RGB, "the bare RGB decode"), to(own::CORE, "our frame without checks")];
            let note = ratios.into_iter().flatten().collect::<Vec<_>>().join(", ");
            Row::beside(&what, (rounds.median_ms(*which), "ms"), note)
        }
    }
}

/// One candidate's memory.
fn grown(entrant: &Entrant, peers: &mut [Peer], kind: Kind) -> Result<Row, Unmeasured> {
    let what = format!("{}: memory, {}", kind.name(), entrant.candidate.name);
    Ok(match &entrant.ran {
        Err(why) => Row::unmeasured(&what, why.clone()),
        Ok(which) => {
            let (peak, grown) = peers[*which].peak_bytes()?;
            let note = format!("added by the frames; the process at its peak: {:.0} MB", peak as f64 / 1e6);
            Row::beside(&what, (grown as f64 / 1e6, "MB"), note)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrant(key: &'static str, ran: Result<usize, &str>) -> Entrant {
        let candidate = Candidate { key, name: key, origin: Origin::Own };
        Entrant { candidate, ran: ran.map_err(|why| Unmeasured(why.to_owned())) }
    }

    #[test]
    fn every_promise_is_about_candidates_that_take_part() {
        let keys: Vec<_> = candidates().iter().map(|candidate| candidate.key).collect();
        for promise in PROMISES {
            assert!(keys.contains(&promise.of) && keys.contains(&promise.to), "{}", promise.what);
        }
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{key} twice");
        }
    }

    #[test]
    fn a_candidate_that_is_missing_leaves_rows_that_say_why_and_the_others_their_figures() {
        let entrants = [
            entrant(own::CORE, Ok(0)),
            entrant(own::RGB, Ok(1)),
            entrant(OPENCV_USUAL, Err("No module named 'cv2'")),
        ];
        let rounds = take_turns(2, 2, |which| Ok([0.026, 0.020][which])).unwrap();
        let rows = promised(&entrants, &rounds, Kind::TwelveMegapixels);
        let row = |what: &str| rows.iter().find(|row| row.what.ends_with(what)).unwrap();
        assert_eq!(row("core record, to a bare RGB decode").value.map(|x| (x * 100.0).round()), Some(130.0));
        let missing = row("core record, to the usual OpenCV");
        assert!(missing.value.is_none() && missing.note.contains("cv2"), "{missing:?}");
        let row = taken(&entrants[2], &entrants, &rounds, Kind::Webcam);
        assert!(row.note.contains("cv2"), "{row:?}");
    }

    #[test]
    fn only_pictures_of_12_megapixels_have_limits() {
        let keys = [own::CORE, own::POLICY, own::VERDICT, own::RGB, own::PLANES, OPENCV_USUAL, OPENCV_TUNED];
        let entrants: Vec<_> = keys.iter().enumerate().map(|(which, key)| entrant(key, Ok(which))).collect();
        let rounds = take_turns(2, keys.len(), |_| Ok(0.02)).unwrap();
        let limits = |kind| -> Vec<_> {
            promised(&entrants, &rounds, kind).iter().map(|row| (row.limit, row.value)).collect()
        };
        for kind in ALL {
            let expected = match kind {
                Kind::TwelveMegapixels => [1.30, 1.60, 1.15, 0.35, 0.60].map(Some),
                Kind::Webcam | Kind::TwentyFourMegapixels => [None; 5],
            };
            assert_eq!(limits(kind), expected.map(|limit| (limit, Some(1.0))), "{}", kind.name());
        }
    }
}
