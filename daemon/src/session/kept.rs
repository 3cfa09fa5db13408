//! How a picture is kept: its name, whose it is, what is known about it, and what came with it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use turnstage_cloud_sync::queue::Facts;
use turnstage_cloud_sync::spool::NewFile;
use turnstage_cloud_sync::{Record, Sha256};
use turnstage_drivers::camera::Variant;
use turnstage_pipeline::{Examined, phash_to_hex};

use super::finish::Judged;
use super::shot::Reached;
use super::{PICTURE, Session, Stage};
use crate::clock;
use crate::recipe::Place;
use crate::window::thumbnails;

/// Of a name that a picture already had, so much is kept.
const NAME_BYTES_MAX: usize = 100;

/// What a frame does not know of itself.
pub(super) struct Circumstances {
    pub place: Place,
    pub reached: Option<Reached>,
    /// What the platter took to settle.
    pub settle: Option<Duration>,
    /// Later than the first camera of the shot.
    pub skew: Option<Duration>,
}

impl Session {
    pub(super) fn file(&self, stage: &Stage<'_>, how: &Circumstances, picture: &Judged) -> NewFile {
        let place = how.place;
        let slot = (place.shot, picture.camera.clone());
        let former = self.takes.get(&slot);
        let angle = place.angle.map(|angle| format!("_{:05.1}", angle.deg())).unwrap_or_default();
        let file_name = match &picture.frame.file_name {
            Some(name) => format!("{:03}_{}", place.shot + 1, plain(name)),
            None => {
                let (number, name) = (place.shot + 1, plain(&picture.camera));
                format!("{number:03}_{name}{angle}{}.{}", varied(place.variant), picture.extension)
            }
        };
        let sha256 = Sha256::from_bytes(picture.examined.sha256);
        NewFile {
            product: PICTURE.to_owned(),
            destinations: self.doc.recipe.destinations.clone(),
            extension: picture.extension.to_owned(),
            bytes: picture.bytes.clone(),
            sha256,
            facts: Facts {
                org: self.doc.org.clone(),
                site: self.doc.site.clone(),
                item: self.doc.item.clone(),
                session: self.doc.id.clone(),
                camera: picture.camera.clone(),
                shot: place.shot,
                take: former.map_or(1, |former| former.take + 1),
                angle_commanded: place.angle.map(|angle| angle.deg()),
                angle_reached: how.reached.map(|reached| reached.angle.deg()),
                capture_class: self.doc.recipe.capture_class.as_str().to_owned(),
                consent: None,
                actor: self.doc.actor.clone(),
                trace_id: self.doc.trace_id.clone(),
                file_name,
                content_type: picture.content_type.to_owned(),
                sha256_captured: Sha256::from_bytes(picture.sha256_captured),
            },
            meta: meta(stage, picture, how),
            supersedes: former.map(|former| former.sequence),
        }
    }

    /// What came with a picture, to go where the picture goes, if it is wanted there.
    pub(super) fn companions(&self, stage: &Stage<'_>, of: &NewFile, picture: &Judged) -> Vec<NewFile> {
        let slot = (of.facts.shot, picture.camera.clone());
        let former = |product: &str| {
            let take = self.takes.get(&slot)?;
            take.beside.iter().find(|one| one.product == product).map(|one| one.sequence)
        };
        let stem = of.facts.file_name.rsplit_once('.').map_or(of.facts.file_name.as_str(), |(stem, _)| stem);
        let each = picture.companions.iter().map(|companion| {
            let wants =
                |name: &String| stage.destinations.get(name).is_none_or(|one| one.takes(companion.product));
            NewFile {
                product: companion.product.to_owned(),
                destinations: of.destinations.iter().filter(|name| wants(name)).cloned().collect(),
                extension: companion.extension.clone(),
                bytes: companion.bytes.clone(),
                sha256: companion.sha256,
                facts: Facts {
                    file_name: format!("{stem}_{}.{}", companion.product, companion.extension),
                    content_type: companion.content_type.to_owned(),
                    sha256_captured: companion.sha256_captured,
                    ..of.facts.clone()
                },
                meta: json!({ "schema": 1, "belongs_to": of.facts.file_name, "more": companion.meta }),
                supersedes: former(companion.product),
            }
        });
        each.collect()
    }
}

/// What an exposure did otherwise, for a file's name.
fn varied(variant: Variant) -> String {
    let ev = match variant.ev {
        0.0 => String::new(),
        ev if ev > 0.0 => format!("_over{ev:.1}"),
        ev => format!("_under{:.1}", -ev),
    };
    let focus = variant.focus.map(|focus| format!("_focus{focus:.2}")).unwrap_or_default();
    format!("{focus}{ev}")
}

/// Versioned metadata of a frame, as the record carries it.
fn meta(stage: &Stage<'_>, picture: &Judged, how: &Circumstances) -> serde_json::Value {
    let time = picture.frame.time;
    let shape = picture.examined.picture.as_ref();
    let exposed_at_ms = stage.clock.wall_ms_at(time.start);
    json!({
        "schema": 1,
        "software": concat!("Turnstage ", env!("CARGO_PKG_VERSION")),
        "width": shape.map(|p| p.width),
        "height": shape.map(|p| p.height),
        "phash": shape.map(|p| phash_to_hex(p.phash)),
        "camera": {
            "applied": picture.applied,
            "exposed_with": picture.frame.exposure,
            "frame": picture.frame.seq,
            "lost_before": picture.frame.lost_before,
            "more": picture.frame.meta,
            "driver": picture.device.as_ref().map(|(driver, _)| driver),
            "model": picture.device.as_ref().map(|(_, model)| model),
            "from_file": picture.frame.file_name.is_some(),
        },
        "time": {
            "exposed_at_ms": exposed_at_ms,
            "utc_offset_min": clock::utc_offset_min(exposed_at_ms),
            "uncertainty_ms": time.uncertainty.as_secs_f64() * 1000.0,
            "source": time.source,
            "skew_ms": how.skew.map(|skew| skew.as_secs_f64() * 1000.0),
        },
        "lens": picture.frame.intrinsics,
        "place": {
            "tilt_deg": how.place.tilt_deg,
            "settle_ms": how.settle.map(|settle| settle.as_secs_f64() * 1000.0),
            "angle_error_deg": how.reached.and_then(|reached| reached.error_deg),
            "variant": (!how.place.variant.is_plain()).then_some(how.place.variant),
        },
        "qc": {
            "findings": picture.findings,
            "sharpness": shape.map(|p| p.sharpness),
            "exposure": shape.map(|p| p.exposure),
            "noise_levels": shape.map(|p| p.noise_levels),
            "border": shape.and_then(|p| p.cells.border()),
        },
        "exif": picture.examined.exif,
    })
}

/// Thumbnails are a cache: made again when they are missing, so a failure here is told and nothing more.
pub(super) async fn keep_thumbnails(folder: Option<&Path>, record: &Record, examined: &Examined) {
    let Some(picture) = &examined.picture else { return };
    let Some(folder) = folder else { return };
    let files: Vec<_> = picture
        .thumbnails
        .iter()
        .map(|thumb| (thumbnails::path(folder, record, thumb.side_max), thumb.jpeg.clone()))
        .collect();
    let written = tokio::task::spawn_blocking(move || {
        files.iter().try_for_each(|(path, jpeg)| thumbnails::keep(path, jpeg))
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "thumbnails are not kept"),
        Err(e) => tracing::warn!(error = %e, "thumbnails are not kept"),
    }
}

/// Only characters that every file system takes.
fn plain(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' });
    let kept = kept.collect::<String>();
    // The end of a name tells more: number and extension.
    let long = kept.len().saturating_sub(NAME_BYTES_MAX);
    kept[long..].trim_start_matches('.').to_owned()
}
