//! Everything at once, until the corners lie as near as they can to where they are seen (Levenberg 1944, Marquardt 1963).
//!
//! The angles of the platter are unknowns too, so that a table that is not exact does not bend the rest; a thread of a
//! weight holds them near what the table said, because the whole room could turn with them.

use turnstage_drivers::board::Board;
use turnstage_drivers::optics::{Intrinsics, Pose};

use super::View;
use crate::algebra::{Squares, V2, V3, about, about_z, apply, plus, product};
use crate::lens;

/// Pixels a radian: a thousandth of what a corner at the rim says, and enough to take the freedom away.
const HOLD: f64 = 1.0;
const ROUNDS: usize = 60;
/// Step of the differences, in the unit of each unknown; errors of both kinds are below a millionth of the result.
const STEP: f64 = 1e-6;
/// Farther than this a corner does not fit: so many times the root mean square, and pixels.
const BESIDE: (f64, f64) = (4.0, 0.75);
/// The first coefficient of distortion is kept if it takes away this many times the variance.
const EVIDENCE: f64 = 25.0;
/// Unknowns before the platter's angles and after those of the lens: camera, board.
const PLACES: usize = 10;

/// Everything that is looked for. Lengths in millimetres.
#[derive(Debug, Clone)]
pub(super) struct Rig {
    pub(super) lens: Intrinsics,
    /// From the room, whose z is the axis and whose x is the platter's at angle 0, to the camera.
    pub(super) room: Pose,
    /// Where the board's middle lies on the platter, and its tilts about x and y in radians.
    pub(super) board: [f64; 4],
    /// Where the platter was at each view in radians.
    pub(super) angles: Vec<f64>,
}

impl Rig {
    pub(super) fn tilt_rad(&self) -> f64 {
        (self.board[2].cos() * self.board[3].cos()).clamp(-1.0, 1.0).acos()
    }

    /// Where a place of the board is seen in a view.
    fn seen(&self, view: usize, [u, v]: V2) -> Option<V2> {
        let [x, y, about_x, about_y] = self.board;
        let lie = product(&about([about_x, 0.0, 0.0]), &about([0.0, about_y, 0.0]));
        let on_platter = plus(apply(&lie, [u, v, 0.0]), [x, y, 0.0]);
        let in_room = apply(&about_z(self.angles[view]), on_platter);
        lens::seen(&self.lens, plus(apply(&self.room.rotation, in_room), self.room.translation))
    }

    /// With each unknown changed by so much.
    fn moved(&self, free: Free, by: &[f64]) -> Self {
        let mut moved = self.clone();
        let (of_lens, rest) = by.split_at(free.count());
        if let Some(grown) = of_lens.first() {
            moved.lens.fx *= grown.exp();
            moved.lens.fy *= grown.exp();
        }
        if let Some(bent) = of_lens.get(1) {
            moved.lens.coefficients[0] += bent;
        }
        let turn: V3 = [rest[0], rest[1], rest[2]];
        moved.room.rotation = product(&about(turn), &self.room.rotation);
        let shift = [rest[3], rest[4], rest[5]].map(|metres| metres * LENGTH);
        moved.room.translation = plus(self.room.translation, shift);
        let unit = [LENGTH, LENGTH, 1.0, 1.0];
        moved.board.iter_mut().zip(unit).zip(&rest[6..]).for_each(|((value, unit), by)| *value += unit * by);
        moved.angles.iter_mut().zip(&rest[PLACES..]).for_each(|(angle, by)| *angle += by);
        moved
    }
}

/// Millimetres of one step of an unknown length, so that all unknowns are of the size of an angle.
const LENGTH: f64 = 100.0;

/// What of the lens is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Free {
    Nothing,
    Focal,
    FocalAndBend,
}

impl Free {
    fn count(self) -> usize {
        self as usize
    }
}

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    /// Of each view: places on the board and in the picture.
    views: Vec<Vec<(V2, V2)>>,
    targets: Vec<f64>,
}

/// The best that there is.
pub(super) struct Fitted {
    pub(super) rig: Rig,
    pub(super) rms_px: f64,
    pub(super) corners: usize,
    pub(super) left_out: usize,
    pub(super) focal_error: f64,
}

impl Bench {
    pub(super) fn of(views: &[&View], board: &Board, targets: Vec<f64>) -> Self {
        let pairs = |view: &&View| {
            view.corners.iter().map(|corner| (board.corner(corner.index), corner.at)).collect()
        };
        Self { views: views.iter().map(pairs).collect(), targets }
    }

    fn corners(&self) -> usize {
        self.views.iter().map(Vec::len).sum()
    }

    /// Pixels by which the corners of a view lie beside where they are calculated.
    fn beside<'a>(&'a self, rig: &'a Rig, view: usize) -> impl Iterator<Item = Option<V2>> + 'a {
        self.views[view].iter().map(move |&(place, at)| {
            rig.seen(view, place).map(|calculated| [calculated[0] - at[0], calculated[1] - at[1]])
        })
    }

    /// Sum of squares over all corners; infinite where one cannot be seen.
    fn squares(&self, rig: &Rig) -> f64 {
        let of = |off: Option<V2>| off.map_or(f64::INFINITY, |[x, y]| x * x + y * y);
        (0..self.views.len()).map(|view| self.beside(rig, view).map(of).sum::<f64>()).sum()
    }

    fn held(&self, rig: &Rig) -> f64 {
        rig.angles.iter().zip(&self.targets).map(|(is, said)| (HOLD * (is - said)).powi(2)).sum()
    }

    /// The equations round a rig: how every pixel changes with every unknown.
    fn equations(&self, rig: &Rig, free: Free) -> Option<Squares> {
        let shared = free.count() + PLACES;
        let count = shared + self.views.len();
        let mut squares = Squares::new(count);
        let step = |k: usize, by: f64| {
            let mut all = vec![0.0; count];
            all[k] = by;
            rig.moved(free, &all)
        };
        let near: Vec<(Rig, Rig)> = (0..shared).map(|k| (step(k, STEP), step(k, -STEP))).collect();
        for view in 0..self.views.len() {
            let own = shared + view;
            let turned = (step(own, STEP), step(own, -STEP));
            for &(place, at) in &self.views[view] {
                let here = rig.seen(view, place)?;
                let mut rows = [vec![0.0; count], vec![0.0; count]];
                for (k, (after, before)) in (0..shared).zip(&near).chain([(own, &turned)]) {
                    let (after, before) = (after.seen(view, place)?, before.seen(view, place)?);
                    (0..2).for_each(|lane| rows[lane][k] = (after[lane] - before[lane]) / (2.0 * STEP));
                }
                (0..2).for_each(|lane| squares.add(&rows[lane], at[lane] - here[lane]));
            }
            let mut hold = vec![0.0; count];
            hold[own] = HOLD;
            squares.add(&hold, HOLD * (self.targets[view] - rig.angles[view]));
        }
        Some(squares)
    }

    /// The nearest rig, from one that is near.
    fn nearest(&self, mut rig: Rig, free: Free) -> Option<Rig> {
        let cost = |rig: &Rig| self.squares(rig) + self.held(rig);
        let (mut now, mut damping) = (cost(&rig), 1e-3);
        for _ in 0..ROUNDS {
            let equations = self.equations(&rig, free)?;
            let (mut next, mut least) = (None, now);
            while damping < 1e9 {
                let moved = equations.solved(damping).map(|by| rig.moved(free, &by));
                let reached = moved.as_ref().map_or(f64::INFINITY, cost);
                if reached < now {
                    (next, least) = (moved, reached);
                    damping = (damping / 10.0).max(1e-12);
                    break;
                }
                damping *= 10.0;
            }
            let Some(found) = next else { break };
            let gained = now - least;
            (rig, now) = (found, least);
            if gained < 1e-12 * now + 1e-15 {
                break;
            }
        }
        now.is_finite().then_some(rig)
    }

    /// Without the corners that do not fit a rig.
    fn sorted_out(&self, rig: &Rig) -> Self {
        let rms = (self.squares(rig) / self.corners() as f64).sqrt();
        let limit = (BESIDE.0 * rms).max(BESIDE.1);
        let fits = |off: Option<V2>| off.is_some_and(|[x, y]| x.hypot(y) <= limit);
        let of_view = |view: usize| {
            let all = self.views[view].iter().copied().zip(self.beside(rig, view));
            all.filter(|(_, off)| fits(*off)).map(|(pair, _)| pair).collect()
        };
        Self { views: (0..self.views.len()).map(of_view).collect(), targets: self.targets.clone() }
    }
}

/// Fits once, leaves out what does not fit, and fits again.
pub(super) fn fitted(bench: Bench, begun: Rig, unknown_lens: bool) -> Option<Fitted> {
    let free = if unknown_lens { Free::Focal } else { Free::Nothing };
    let first = bench.nearest(begun, free)?;
    let kept = bench.sorted_out(&first);
    let mut free = free;
    let mut rig = kept.nearest(first, free)?;
    let unknowns = (PLACES + rig.angles.len() + free.count()) as f64;
    let spare = (2.0 * kept.corners() as f64 - unknowns).max(1.0);
    if unknown_lens && let Some(bent) = kept.nearest(rig.clone(), Free::FocalAndBend) {
        let (straight, curved) = (kept.squares(&rig), kept.squares(&bent));
        if straight - curved > EVIDENCE * curved / spare {
            (rig, free) = (bent, Free::FocalAndBend);
        }
    }
    let squares = kept.squares(&rig);
    let focal_error = match free {
        Free::Nothing => 0.0,
        _ => (kept.equations(&rig, free)?.variance(0)? * squares / spare).sqrt(),
    };
    let corners = kept.corners();
    Some(Fitted {
        rms_px: (squares / corners.max(1) as f64).sqrt(),
        left_out: bench.corners() - corners,
        rig,
        corners,
        focal_error,
    })
}
