//! `cameras`: how the cameras' pictures are against their baselines, and a new baseline after cleaning.

use anyhow::Result;
use clap::Subcommand;

use super::Place;
use super::answer::answer;
use super::desk::Desk;
use crate::command::Act;
use crate::constancy::{CameraHealth, Measured};
use crate::exit;

/// What to do with cameras.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Tells sharpness, light and noise of each camera now, against its baseline.
    Health {
        /// Print one JSON object a line and camera.
        #[arg(long)]
        json: bool,
    },
    /// Begins a new baseline: the lens was cleaned, or the camera or a lamp exchanged.
    Reset {
        /// Name of the camera in the rig.
        name: String,
    },
}

/// Does it.
pub async fn perform(place: &Place, what: What) -> Result<u8> {
    let desk = Desk::open(place, || place.config_of_data(), true).await?;
    match what {
        What::Health { json } => {
            let cameras: Vec<CameraHealth> = desk.get("/api/v1/cameras/health").await?;
            match json {
                true => cameras.iter().try_for_each(|camera| {
                    answer!("{}", serde_json::to_string(camera)?);
                    anyhow::Ok(())
                })?,
                false => table(&cameras).iter().for_each(|line| answer!("{line}")),
            }
        }
        What::Reset { name } => {
            desk.ask(Act::ResetCamera { camera: name.clone() }).await?;
            answer!("Camera {name} begins a new baseline with its next turn.");
        }
    }
    desk.close().await;
    Ok(exit::OK)
}

/// One line a camera, then what is wrong in sentences.
fn table(cameras: &[CameraHealth]) -> Vec<String> {
    let title = line(["camera", "blur px", "backdrop luma", "noise levels", "frames"]);
    let each = cameras.iter().map(|camera| {
        let frames = format!("{} > {}", camera.baseline_frames, camera.today_frames);
        let figures = [camera.blur_px, camera.luma, camera.noise_levels].map(then_and_now);
        let [blur, luma, noise] = figures;
        line([&camera.camera, &blur, &luma, &noise, &frames])
    });
    let sentences = cameras.iter().flat_map(|camera| camera.sentences.iter().cloned());
    std::iter::once(title).chain(each).chain(sentences).collect()
}

fn line([camera, blur, luma, noise, frames]: [&str; 5]) -> String {
    format!("{camera:<12} {blur:<14} {luma:<16} {noise:<14} {frames}")
}

/// `0.42 > 0.61`: of the baseline, and now.
fn then_and_now(measured: Option<Measured>) -> String {
    measured.map_or("-".to_owned(), |one| format!("{:.2} > {:.2}", one.baseline, one.today))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_without_figures_has_a_line_too_and_sentences_come_last() {
        let mut low = CameraHealth::of_none("low".to_owned());
        low.blur_px = Some(Measured { baseline: 0.42, today: 0.61 });
        low.sentences.push("Camera low lost 31 % sharpness since Monday. Clean the lens.".to_owned());
        let lines = table(&[low, CameraHealth::of_none("high".to_owned())]);
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("0.42 > 0.61") && lines[1].ends_with("0 > 0"), "{}", lines[1]);
        assert!(lines[2].starts_with("high         -"), "{}", lines[2]);
        assert!(lines[3].starts_with("Camera low lost"));
    }
}
