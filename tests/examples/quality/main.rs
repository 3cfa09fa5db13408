//! How well quality control tells good pictures from bad ones: a study, as a page.
//!
//! `quality PHOTOGRAPHS [PAGE] [--only unseen|blur|turns]`: PHOTOGRAPHS is a folder with `buddha/*.jpg`; the page goes to
//! PAGE or to the screen. Three parts: blur told from sharpness, on photographs and on rendered frames that are spoilt by
//! formula; false alarms on good turns; and which check names each fault of a picture or of a step. Pictures on
//! which the limit was chosen are kept apart from those it is judged on; `unseen` are the photographs that nobody had
//! measured before. Everything follows from seeds, so a run can be repeated.

mod page;
mod spoil;
mod unseen;

use std::path::{Path, PathBuf};

use spoil::{Blur, Grey};
use tokio::time::{Duration, Instant};
use turnstage_drivers::camera::{self, ExposeRequest, Variant};
use turnstage_drivers::frame::FrameData;
use turnstage_drivers::sim::{Booth, BoothOptions};
use turnstage_drivers::{DeviceOptions, Surroundings};
use turnstage_pipeline::{Examiner, InputLimits, qc};
use turnstage_tests::turns;

const BLURS: [Blur; 9] = [
    Blur::None,
    Blur::Defocus(0.7),
    Blur::Defocus(1.0),
    Blur::Defocus(1.5),
    Blur::Defocus(2.5),
    Blur::Defocus(5.0),
    Blur::Motion(7.0),
    Blur::Motion(10.0),
    Blur::Motion(15.0),
];
/// Noise that is added to each colour, in grey levels, and quality of the coder.
const CODINGS: [(f64, i32); 4] = [(1.5, 92), (1.5, 80), (4.0, 92), (4.0, 80)];
/// Views of each object, and sizes.
const VIEWS: u32 = 8;
const SIZES: [(i64, i64); 2] = [(1152, 864), (2000, 1500)];

/// One judged picture.
struct Judged {
    source: &'static str,
    /// The limit was chosen on pictures like this.
    chosen_on: bool,
    name: String,
    blur: Blur,
    noise: f64,
    quality: i32,
    /// `None`: no edge could be measured, so that nothing is found.
    blur_px: Option<f64>,
    /// Laplacian variance at full and at half size, for comparison.
    lapvar: [f64; 2],
}

/// What was asked for.
struct Asked {
    photographs: PathBuf,
    page: Option<PathBuf>,
    only: Option<String>,
}

impl Asked {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut paths, mut only) = (Vec::new(), None);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--only" => only = Some(args.next().unwrap_or_default()),
                _ => paths.push(PathBuf::from(arg)),
            }
        }
        if only.as_deref().is_some_and(|part| !["unseen", "blur", "turns"].contains(&part)) {
            return Err("--only takes unseen, blur or turns".to_owned());
        }
        let mut paths = paths.into_iter();
        let photographs = paths.next().ok_or("say where the photographs are")?;
        Ok(Self { photographs, page: paths.next(), only })
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;

    let mut judged = Vec::new();
    if asked.wants("blur") {
        let mut sources = read_photographs(&asked.photographs.join("buddha"))?;
        eprintln!("{} photographs; rendering", sources.len());
        sources.extend(runtime.block_on(render())?);
        judged.extend(judge(&sources)?);
    }
    let mut missing = Vec::new();
    if asked.wants("unseen") || asked.wants("blur") {
        let sources;
        (sources, missing) = unseen::read()?;
        // Judged apart, so that they come out the same whatever else is judged.
        judged.extend(judge(&sources)?);
    }
    let turns = if asked.wants("turns") {
        let good = runtime.block_on(async {
            vec![turns::good(&turns::CHOSEN_ON, 100).await, turns::good(&turns::UNSEEN, 100).await]
        });
        let objects = [&turns::CHOSEN_ON[..], &turns::UNSEEN[..]].concat();
        Some((good, runtime.block_on(turns::faults(&objects))))
    } else {
        None
    };
    let text = page::write(&judged, &missing, turns.as_ref())?;
    match asked.page {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}

/// A sharp picture to spoil.
struct Source {
    kind: &'static str,
    chosen_on: bool,
    name: String,
    /// Noise and coding of photographs are their own, to which the study's come.
    jpeg: Vec<u8>,
    /// Whether it is judged at half its size or less.
    reduced: bool,
}

fn read_photographs(folder: &Path) -> Result<Vec<Source>, Box<dyn std::error::Error>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let jpeg = std::fs::read(path)?;
        sources.push(Source { kind: "photographs", chosen_on: true, name, jpeg, reduced: false });
    }
    Ok(sources)
}

async fn render() -> Result<Vec<Source>, Box<dyn std::error::Error>> {
    let mut sources = Vec::new();
    for object in turns::CHOSEN_ON.into_iter().chain(turns::UNSEEN) {
        for size in SIZES {
            for view in 0..VIEWS {
                let jpeg = picture(object, size, 360.0 * f64::from(view) / f64::from(VIEWS) + 7.0).await?;
                let name = format!("{object} {} {view}", size.0);
                let chosen_on = turns::CHOSEN_ON.contains(&object);
                sources.push(Source { kind: "rendered", chosen_on, name, jpeg, reduced: false });
            }
        }
    }
    Ok(sources)
}

/// A picture of the booth without noise and with hardly any loss.
async fn picture(
    object: &str,
    size: (i64, i64),
    azimuth_deg: f64,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let booth: BoothOptions = toml::from_str(&format!("object = \"{object}\"\nseed = 5\n"))?;
    let around = Surroundings { booth: Some(Booth::new(booth)?), ..Surroundings::default() };
    let mut options = DeviceOptions::new("sim");
    options.keys.insert("size".to_owned(), toml::Value::from(vec![size.0, size.1]));
    for (key, value) in [("noise", 0.0), ("azimuth_deg", azimuth_deg)] {
        options.keys.insert(key.to_owned(), toml::Value::Float(value));
    }
    options.keys.insert("quality".to_owned(), toml::Value::Integer(98));
    let mut camera = camera::open("study", &options, &around).await?;
    let now = Instant::now();
    let exposed = camera
        .expose(&ExposeRequest {
            not_before: now,
            deadline: now + Duration::from_secs(600),
            variant: Variant::default(),
        })
        .await?;
    let set = camera.fetch(exposed).await?;
    match set.frames.into_iter().next().map(|frame| frame.data) {
        Some(FrameData::Encoded { bytes, .. }) => Ok(bytes.to_vec()),
        _ => Err("the simulated camera gave no JPEG".into()),
    }
}

fn judge(sources: &[Source]) -> Result<Vec<Judged>, Box<dyn std::error::Error>> {
    let mut examiner = Examiner::new(InputLimits::default())?;
    let mut random = fastrand::Rng::with_seed(7);
    let mut judged = Vec::new();
    for (k, source) in sources.iter().enumerate() {
        let grey = if source.reduced { Grey::reduced(&source.jpeg)? } else { Grey::read(&source.jpeg)? };
        for blur in BLURS {
            for (noise, quality) in CODINGS {
                let jpeg = grey.spoilt(blur, noise, quality, &mut random)?;
                let sharpness = examiner.judge(&jpeg, &qc::Limits::default()).sharpness;
                judged.push(Judged {
                    source: source.kind,
                    chosen_on: source.chosen_on,
                    name: source.name.clone(),
                    blur,
                    noise,
                    quality,
                    blur_px: sharpness.blur_px,
                    lapvar: [sharpness.full, sharpness.half],
                });
            }
        }
        eprintln!("judged {} of {}: {}", k + 1, sources.len(), source.name);
    }
    Ok(judged)
}
