//! Pictures of the booth: what a lens sees of the object at a true angle and tilt, developed and coded.
//!
//! The object stays where it is and the camera and the lights go round it, which is the same and spares moving the
//! mesh. A moving platter is seen at several angles whose light is added up: that is motion blur. The backdrop does
//! not change, so it is kept as a coarse grid a camera.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::coding::{self, Coding};
use super::develop::{Curve, Develop, blur, grain};
use super::flaw::{Veil, kill, smear};
use super::light::Tent;
use super::model::{Model, RADIUS, Spot};
use super::raster::{BAND_ROWS, Band, Eye, Flat, LOOKS, NOTHING, OFFSETS, Seen};
use super::shadow::Shadow;
use super::stance::{Stance, Turn};
use super::vector::{V3, v3};
use crate::frame::FrameData;
use crate::optics::{Distortion, Intrinsics, Pose};

/// Renderings of one exposure at most; more only when the platter moves.
const MOMENTS_MAX: u32 = 16;
/// Looks at the platter over an exposure, to find out how far it moves.
const SURVEY: u32 = 65;
/// Pixels between two knots of the backdrop's grid.
const KNOT: usize = 16;
/// Sine of the angle above the platter below which a light is not counted for shadows.
const LOW_LIGHT: f32 = 0.05;
/// Looks at print across a pixel, and as many down.
const PRINT_LOOKS: usize = 5;
/// Pictures kept for `cache_frames`, in bytes.
const KEPT_BYTES_MAX: usize = 512 << 20;

/// Where a camera stands and how wide it looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lens {
    pub(crate) elevation_deg: f64,
    pub(crate) azimuth_deg: f64,
    /// In the models' millimetres, for a platter of radius [`RADIUS`].
    pub(crate) distance_mm: f64,
    /// Across the width of the picture.
    pub(crate) fov_deg: f64,
    /// How far it is turned away from the object, to the right and up.
    pub(crate) pan_deg: f64,
    pub(crate) tilt_deg: f64,
}

/// One exposure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shot {
    /// What stood there.
    pub(crate) model: Arc<Model>,
    /// How the platter truly stood over the exposure; at least one.
    pub(crate) stances: Vec<Stance>,
    pub(crate) size: (u32, u32),
    pub(crate) develop: Develop,
    pub(crate) coding: Coding,
}

/// One camera's view of the booth.
pub(crate) struct Studio {
    /// Height above the platter that the camera is put up to look at.
    aim: f32,
    tent: Tent,
    lens: Lens,
    kept: Mutex<VecDeque<(Shot, FrameData)>>,
}

/// The object as it is seen at one angle.
struct View {
    model: Arc<Model>,
    eye: Eye,
    seen: Seen,
    shadow: Arc<Shadow>,
    /// From the object's frame to the room's.
    turn: Turn,
}

/// The backdrop at the knots of a coarse grid.
struct Backdrop {
    across: usize,
    knots: Vec<V3>,
}

impl Studio {
    pub(crate) fn new(aim: f32, lens: Lens) -> Studio {
        Studio { aim, tent: Tent::new(), lens, kept: Mutex::default() }
    }

    /// Stances that are worth rendering for an exposure: one if the platter stands, more the farther it moves.
    /// `stances` gives so many, evenly spread.
    pub(crate) fn moments(&self, stances: impl Fn(u32) -> Vec<Stance>, width: u32) -> Vec<Stance> {
        let survey = stances(SURVEY);
        let way = |of: fn(&Stance) -> f64| {
            let low = survey.iter().map(of).fold(f64::INFINITY, f64::min);
            survey.iter().map(of).fold(f64::NEG_INFINITY, f64::max) - low
        };
        let moved_deg = way(|stance| stance.turn_deg) + way(|stance| stance.tilt_deg);
        let across = 2.0 * self.lens.distance_mm * (self.lens.fov_deg.to_radians() * 0.5).tan();
        let rim_px = moved_deg.to_radians() * f64::from(RADIUS) * f64::from(width) / across;
        stances((rim_px * 1.5).ceil().clamp(1.0, f64::from(MOMENTS_MAX)) as u32)
    }

    /// Renders an exposure, or gives an equal one again.
    pub(crate) fn picture_once(&self, shot: &Shot) -> Result<FrameData, String> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().iter().find(|(other, _)| other == shot).map(|(_, data)| data.clone());
        if let Some(data) = known {
            return Ok(data);
        }
        let data = self.picture(shot)?;
        let mut kept = kept();
        kept.push_back((shot.clone(), data.clone()));
        while kept.iter().map(|(_, data)| coding::bytes(data).len()).sum::<usize>() > KEPT_BYTES_MAX {
            kept.pop_front();
        }
        Ok(data)
    }

    /// Renders an exposure.
    pub(crate) fn picture(&self, shot: &Shot) -> Result<FrameData, String> {
        let size = (shot.size.0 as usize, shot.size.1 as usize);
        // The shadow turns with the platter, and hardly changes within one exposure.
        let mean =
            |of: fn(&Stance) -> f64| shot.stances.iter().map(of).sum::<f64>() / shot.stances.len() as f64;
        let (turn_deg, tilt_deg) = (mean(|stance| stance.turn_deg), mean(|stance| stance.tilt_deg));
        let middle = Stance { turn_deg, tilt_deg, ..shot.stances.first().copied().unwrap_or_default() };
        let shadow = Arc::new(self.shadow(&shot.model, middle));
        let views: Vec<View> = shot.stances.iter().map(|&stance| self.view(shot, stance, &shadow)).collect();
        let backdrop = self.backdrop(size);
        let curve = Curve::new(&shot.develop);
        let flaws = &shot.develop.flaws;
        let veil = Veil::new(flaws, size);
        let mut rgb = vec![0u8; size.0 * size.1 * 3];
        let mut behind = vec![V3::default(); size.0 * BAND_ROWS];
        let mut light = behind.clone();
        let mut band = Band::new(size.0);
        for (number, rows) in rgb.chunks_mut(size.0 * 3 * BAND_ROWS).enumerate() {
            let top = number * BAND_ROWS;
            let pixels = rows.len() / 3;
            backdrop.paint(&mut behind[..pixels], size.0, top);
            light.copy_from_slice(&behind);
            for view in &views {
                band.draw(&view.seen, top);
                self.paint(&mut light[..pixels], &behind, view, &band, top, 1.0 / views.len() as f32);
            }
            if let Some(veil) = &veil {
                veil.dim(&mut light[..pixels], top);
            }
            for (pixel, light) in rows.chunks_exact_mut(3).zip(light.iter()) {
                pixel.copy_from_slice(&curve.rgb(*light));
            }
        }
        blur(&mut rgb, size.0, shot.develop.blur_px);
        smear(&mut rgb, size.0, flaws.shake_px);
        grain(&mut rgb, shot.develop.noise, shot.develop.seed);
        if let Some(seed) = flaws.dead {
            kill(&mut rgb, size.0, seed);
        }
        shot.coding.code(&rgb, size)
    }

    /// The eye in the frame of an object that stands so; the room's, of one that is neither turned nor tilted.
    fn eye(&self, stance: Stance, size: (usize, usize)) -> Eye {
        if stance.tilt_deg == 0.0 {
            return self.turned_eye(stance.turn_deg, size);
        }
        let (room, turn) = (self.turned_eye(0.0, size), stance.turn());
        let [right, up, ahead] = [room.right, room.up, room.ahead].map(|axis| turn.into_object(axis));
        Eye { at: stance.place_in_object(room.at), right, up, ahead, ..room }
    }

    /// The eye in the frame of an object turned by `deg`.
    fn turned_eye(&self, deg: f64, size: (usize, usize)) -> Eye {
        let lens = &self.lens;
        let (elevation, around) = (lens.elevation_deg.to_radians(), (lens.azimuth_deg - deg).to_radians());
        let (sin_e, cos_e) = elevation.sin_cos();
        let (sin_a, cos_a) = around.sin_cos();
        let back = v3((cos_e * cos_a) as f32, (cos_e * sin_a) as f32, sin_e as f32);
        let level = v3(-sin_a as f32, cos_a as f32, 0.0);
        let turned = |first: V3, second: V3, deg: f64| {
            let (sin, cos) = deg.to_radians().sin_cos();
            (first * cos as f32 + second * sin as f32, second * cos as f32 - first * sin as f32)
        };
        let (ahead, right) = turned(-back, level, lens.pan_deg);
        let (ahead, up) = turned(ahead, back.cross(level), lens.tilt_deg);
        Eye {
            at: v3(0.0, 0.0, self.aim) + back * lens.distance_mm as f32,
            right,
            up,
            ahead,
            focal: (size.0 as f64 * 0.5 / (lens.fov_deg.to_radians() * 0.5).tan()) as f32,
            size,
        }
    }

    /// The lens, and the way from the camera's axes (right, down, ahead) to those of an object that is not turned, in
    /// metres; a model's millimetre is `scale` of the room's.
    pub(crate) fn optics(&self, size: (u32, u32), scale: f64) -> (Intrinsics, Pose) {
        let eye = self.turned_eye(0.0, (size.0 as usize, size.1 as usize));
        let focal = f64::from(size.0) * 0.5 / (self.lens.fov_deg.to_radians() * 0.5).tan();
        let middle = |length: u32| f64::from(length) * 0.5 - 0.5;
        let lens = Intrinsics {
            width: size.0,
            height: size.1,
            fx: focal,
            fy: focal,
            cx: middle(size.0),
            cy: middle(size.1),
            distortion: Distortion::None,
            coefficients: [0.0; 5],
        };
        let row = |of: fn(V3) -> f32| [of(eye.right), -of(eye.up), of(eye.ahead)].map(f64::from);
        let metres = [eye.at.x, eye.at.y, eye.at.z].map(|lane| f64::from(lane) * scale / 1000.0);
        (lens, Pose { rotation: [row(|v| v.x), row(|v| v.y), row(|v| v.z)], translation: metres })
    }

    fn shadow(&self, model: &Model, stance: Stance) -> Shadow {
        let turn = stance.turn();
        let points = self.tent.points();
        let turned = points.iter().map(|&(d, share)| (turn.into_object(d), share));
        // A light that a tilted platter turns its back on throws nothing on it.
        let level = stance.tilt_deg == 0.0;
        let lights: Vec<(V3, f32)> = turned.filter(|(d, _)| level || d.z > LOW_LIGHT).collect();
        Shadow::thrown(&model.mesh, &lights)
    }

    fn view(&self, shot: &Shot, stance: Stance, shadow: &Arc<Shadow>) -> View {
        let eye = self.eye(stance, (shot.size.0 as usize, shot.size.1 as usize));
        let (model, shadow) = (shot.model.clone(), shadow.clone());
        View { eye, seen: Seen::new(&model.mesh, &eye), model, shadow, turn: stance.turn() }
    }

    fn backdrop(&self, size: (usize, usize)) -> Backdrop {
        let eye = self.turned_eye(0.0, size);
        let (across, down) = (size.0.div_ceil(KNOT) + 1, size.1.div_ceil(KNOT) + 1);
        let at = |k: usize| {
            let ray = eye.ray((k % across * KNOT) as f32, (k / across * KNOT) as f32);
            self.tent.backdrop(eye.at, ray.unit())
        };
        Backdrop { across, knots: (0..across * down).map(at).collect() }
    }

    /// Adds what a band sees, in place of what lies behind, with a share of `share`.
    fn paint(&self, light: &mut [V3], behind: &[V3], view: &View, band: &Band, top: usize, share: f32) {
        let width = view.eye.size.0;
        let lines = light.chunks_exact_mut(width).zip(behind.chunks_exact(width)).enumerate();
        for (row, (line, behind)) in lines {
            for (x, (pixel, behind)) in line.iter_mut().zip(behind).enumerate() {
                let (flats, near) = band.looks(x, row);
                let [first, ..] = *flats;
                let alike = *flats == [first; LOOKS];
                if alike && first == NOTHING {
                    continue;
                }
                let centre = (x as f32 + 0.5, (top + row) as f32 + 0.5);
                let change = if alike {
                    self.lit(view, first, centre) - *behind
                } else {
                    self.edge(view, flats, near, centre, *behind)
                };
                *pixel = *pixel + change * share;
            }
        }
    }

    /// What the looks into one pixel see together, less what lies behind. Looks at the same skin share one sample.
    fn edge(
        &self,
        view: &View,
        flats: &[u32; LOOKS],
        near: &[f32; LOOKS],
        centre: (f32, f32),
        behind: V3,
    ) -> V3 {
        let mut change = V3::default();
        let mut left = flats.map(|flat| flat != NOTHING);
        for look in 0..LOOKS {
            if !left[look] {
                continue;
            }
            let mut same = 0;
            for other in look..LOOKS {
                if left[other] && self.same_skin(view, (flats[look], near[look]), (flats[other], near[other]))
                {
                    left[other] = false;
                    same += 1;
                }
            }
            let (dx, dy) = if same == LOOKS { (0.0, 0.0) } else { OFFSETS[look] };
            let lit = self.lit(view, flats[look], (centre.0 + dx, centre.1 + dy));
            change = change + (lit - behind) * (same as f32 / LOOKS as f32);
        }
        change
    }

    /// Whether two looks, given as triangle and nearness, see the same part of the model at about the same depth.
    fn same_skin(&self, view: &View, (a, near_a): (u32, f32), (b, near_b): (u32, f32)) -> bool {
        const DEPTH_STEP: f32 = 0.01;
        let part = |k: u32| {
            let id = view.seen.flats[k as usize].id;
            view.model.mesh.triangles[id as usize].part
        };
        a == b || part(a) == part(b) && (near_a - near_b).abs() < DEPTH_STEP * near_a
    }

    /// Light from a place of a triangle.
    fn lit(&self, view: &View, flat: u32, at: (f32, f32)) -> V3 {
        let flat = &view.seen.flats[flat as usize];
        let (spot, toward_eye) = spot(view, flat, at);
        let mut finish = view.model.finish(&spot);
        if view.model.is_print(spot.part) {
            let looks = (0..PRINT_LOOKS * PRINT_LOOKS).map(|k| {
                let beside = |k: usize| (k as f32 + 0.5) / PRINT_LOOKS as f32 - 0.5;
                let at = (at.0 + beside(k % PRINT_LOOKS), at.1 + beside(k / PRINT_LOOKS));
                view.model.finish(&self::spot(view, flat, at).0).color
            });
            let sum = looks.fold(V3::default(), |sum, color| sum + color);
            finish.color = sum * (1.0 / (PRINT_LOOKS * PRINT_LOOKS) as f32);
        }
        self.tent.lit(&spot, &finish, toward_eye, view.turn, &view.shadow)
    }
}

/// A place of a triangle, and the direction from there to the eye.
fn spot(view: &View, flat: &Flat, (x, y): (f32, f32)) -> (Spot, V3) {
    let mesh = &view.model.mesh;
    let triangle = &mesh.triangles[flat.id as usize];
    let ([a, b, c], depth) = flat.place(x, y);
    let [va, vb, vc] = triangle.corners.map(|k| &mesh.vertices[k as usize]);
    let p = va.p * a + vb.p * b + vc.p * c;
    let n = (va.n * a + vb.n * b + vc.n * c).unit();
    let toward_eye = (view.eye.at - p).unit();
    // A slanted surface shows more of itself in one pixel.
    let slant = n.dot(toward_eye).clamp(0.25, 1.0);
    let spot = Spot {
        p,
        n,
        u: va.u * a + vb.u * b + vc.u * c,
        v: va.v * a + vb.v * b + vc.v * c,
        part: triangle.part,
        px: depth / view.eye.focal / slant.sqrt(),
    };
    (spot, toward_eye)
}

impl Backdrop {
    /// Fills the rows of a band by interpolation.
    fn paint(&self, light: &mut [V3], width: usize, top: usize) {
        for (row, line) in light.chunks_exact_mut(width).enumerate() {
            let y = top + row;
            let (j, t) = (y / KNOT, (y % KNOT) as f32 / KNOT as f32);
            let knot =
                |i: usize| self.knots[j * self.across + i].mix(self.knots[(j + 1) * self.across + i], t);
            let mut next = knot(0);
            for (i, run) in line.chunks_mut(KNOT).enumerate() {
                let here = next;
                next = knot(i + 1);
                let step = (next - here) * (1.0 / KNOT as f32);
                let mut value = here;
                for pixel in run {
                    *pixel = value;
                    value = value + step;
                }
            }
        }
    }
}
