//! Small linear algebra of the geometry: systems of equations, rotations, and planes seen in perspective.
//!
//! Systems here have at most a hundred unknowns, so a dense solver in one page serves, and nothing has to be compiled
//! for it.

use turnstage_drivers::optics::Pose;

/// A place or a direction in space.
pub(crate) type V3 = [f64; 3];
/// Rows of a 3 by 3 matrix.
pub(crate) type M3 = [[f64; 3]; 3];
/// A place in a picture or on a plane.
pub(crate) type V2 = [f64; 2];

pub(crate) const IDENTITY: M3 = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

pub(crate) fn dot(a: V3, b: V3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(crate) fn scaled(a: V3, k: f64) -> V3 {
    a.map(|lane| lane * k)
}

pub(crate) fn plus(a: V3, b: V3) -> V3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// Length 1; `None` of what has no direction.
pub(crate) fn unit(a: V3) -> Option<V3> {
    let length = dot(a, a).sqrt();
    (length.is_finite() && length > 1e-300).then(|| scaled(a, 1.0 / length))
}

pub(crate) fn apply(m: &M3, v: V3) -> V3 {
    m.map(|row| dot(row, v))
}

pub(crate) fn product(a: &M3, b: &M3) -> M3 {
    let column = transposed(b);
    a.map(|row| column.map(|column| dot(row, column)))
}

pub(crate) fn transposed(m: &M3) -> M3 {
    [0, 1, 2].map(|k| [m[0][k], m[1][k], m[2][k]])
}

/// Turns counter-clockwise about z.
pub(crate) fn about_z(radians: f64) -> M3 {
    let (sin, cos) = radians.sin_cos();
    [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
}

/// Turns about a vector by its length in radians (Rodrigues).
pub(crate) fn about(turn: V3) -> M3 {
    let angle = dot(turn, turn).sqrt();
    let Some([x, y, z]) = unit(turn) else { return IDENTITY };
    let (sin, cos) = angle.sin_cos();
    let rest = 1.0 - cos;
    [
        [cos + x * x * rest, x * y * rest - z * sin, x * z * rest + y * sin],
        [y * x * rest + z * sin, cos + y * y * rest, y * z * rest - x * sin],
        [z * x * rest - y * sin, z * y * rest + x * sin, cos + z * z * rest],
    ]
}

/// Where a point of `here` is `there`.
pub(crate) fn carried(pose: &Pose, point: V3) -> V3 {
    plus(apply(&pose.rotation, point), pose.translation)
}

/// The way back.
pub(crate) fn inverse(pose: &Pose) -> Pose {
    let rotation = transposed(&pose.rotation);
    Pose { rotation, translation: scaled(apply(&rotation, pose.translation), -1.0) }
}

/// Solves `n` equations, rows of `matrix`, for the right sides in `sides`, by elimination with pivots. `None` if they
/// do not determine the unknowns.
pub(crate) fn solved(mut matrix: Vec<f64>, mut sides: Vec<f64>) -> Option<Vec<f64>> {
    let n = sides.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| matrix[a * n + k].abs().total_cmp(&matrix[b * n + k].abs()))?;
        let largest = matrix[pivot * n + k];
        if !largest.is_finite() || largest.abs() < 1e-300 {
            return None;
        }
        if pivot != k {
            (0..n).for_each(|column| matrix.swap(k * n + column, pivot * n + column));
            sides.swap(k, pivot);
        }
        for row in k + 1..n {
            let factor = matrix[row * n + k] / largest;
            if factor != 0.0 {
                (k..n).for_each(|column| matrix[row * n + column] -= factor * matrix[k * n + column]);
                sides[row] -= factor * sides[k];
            }
        }
    }
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|column| matrix[k * n + column] * sides[column]).sum();
        sides[k] = (sides[k] - known) / matrix[k * n + k];
    }
    sides.iter().all(|value| value.is_finite()).then_some(sides)
}

/// Sums of least squares: what many weighted equations `row * x = side` say together.
pub(crate) struct Squares {
    n: usize,
    matrix: Vec<f64>,
    sides: Vec<f64>,
}

impl Squares {
    pub(crate) fn new(n: usize) -> Self {
        Self { n, matrix: vec![0.0; n * n], sides: vec![0.0; n] }
    }

    pub(crate) fn add(&mut self, row: &[f64], side: f64) {
        for (a, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            self.sides[a] += value * side;
            let line = &mut self.matrix[a * self.n..][..self.n];
            line.iter_mut().zip(row).for_each(|(sum, &other)| *sum += value * other);
        }
    }

    /// The unknowns; each diagonal is first raised by `damping` of itself (Marquardt 1963).
    pub(crate) fn solved(&self, damping: f64) -> Option<Vec<f64>> {
        let mut matrix = self.matrix.clone();
        (0..self.n).for_each(|k| matrix[k * self.n + k] += damping * matrix[k * self.n + k] + 1e-300);
        solved(matrix, self.sides.clone())
    }

    /// The variance of one unknown for errors of variance 1 in the sides.
    pub(crate) fn variance(&self, unknown: usize) -> Option<f64> {
        let mut sides = vec![0.0; self.n];
        *sides.get_mut(unknown)? = 1.0;
        solved(self.matrix.clone(), sides).map(|column| column[unknown])
    }
}

/// How a plane is seen: from its own places to those of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Homography(pub(crate) M3);

impl Homography {
    /// From at least four pairs, by least squares. `None` where they lie on a line.
    pub(crate) fn of(pairs: &[(V2, V2)]) -> Option<Self> {
        let (from, to) =
            (Scale::of(pairs.iter().map(|pair| pair.0))?, Scale::of(pairs.iter().map(|pair| pair.1))?);
        let mut squares = Squares::new(8);
        for &(a, b) in pairs {
            let ([x, y], [u, v]) = (from.to_unit(a), to.to_unit(b));
            squares.add(&[x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y], u);
            squares.add(&[0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y], v);
        }
        let h = squares.solved(0.0)?;
        let unit = [[h[0], h[1], h[2]], [h[3], h[4], h[5]], [h[6], h[7], 1.0]];
        let back = [[to.size, 0.0, to.middle[0]], [0.0, to.size, to.middle[1]], [0.0, 0.0, 1.0]];
        let k = 1.0 / from.size;
        let forth = [[k, 0.0, -from.middle[0] * k], [0.0, k, -from.middle[1] * k], [0.0, 0.0, 1.0]];
        Some(Self(product(&back, &product(&unit, &forth))))
    }

    /// `None` of a place that is not in front of the camera.
    pub(crate) fn seen(&self, [x, y]: V2) -> Option<V2> {
        let [u, v, w] = apply(&self.0, [x, y, 1.0]);
        let middle = self.0[2][2];
        (w * middle > 0.0 && (u / w).is_finite() && (v / w).is_finite()).then(|| [u / w, v / w])
    }
}

/// Middle and extent of places, so that numbers in equations are near 1.
struct Scale {
    middle: V2,
    size: f64,
}

impl Scale {
    fn of(places: impl Iterator<Item = V2> + Clone) -> Option<Self> {
        let count = places.clone().count();
        if count < 4 {
            return None;
        }
        let sum = places.clone().fold([0.0, 0.0], |sum, at| [sum[0] + at[0], sum[1] + at[1]]);
        let middle = sum.map(|lane| lane / count as f64);
        let far = |at: V2| (at[0] - middle[0]).abs().max((at[1] - middle[1]).abs());
        let size = places.map(far).fold(0.0, f64::max);
        (size.is_finite() && size > 1e-9).then_some(Self { middle, size })
    }

    fn to_unit(&self, at: V2) -> V2 {
        [(at[0] - self.middle[0]) / self.size, (at[1] - self.middle[1]) / self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_seen_aslant_is_seen_where_its_homography_says() {
        let truth = Homography([[1.2, 0.1, 300.0], [-0.05, 0.4, 200.0], [1e-4, 2e-3, 1.0]]);
        let places = [[-90.0, 80.0], [90.0, 80.0], [90.0, -80.0], [-90.0, -80.0], [10.0, 5.0]];
        let pairs: Vec<_> = places.iter().map(|&at| (at, truth.seen(at).unwrap())).collect();
        let found = Homography::of(&pairs).unwrap();
        let (is, was) = (found.seen([40.0, -30.0]).unwrap(), truth.seen([40.0, -30.0]).unwrap());
        assert!((is[0] - was[0]).abs() < 1e-6 && (is[1] - was[1]).abs() < 1e-6, "{is:?} {was:?}");
        let line = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]].map(|at| (at, at));
        assert!(Homography::of(&line).is_none_or(|h| h.0.iter().flatten().all(|k| k.is_finite())));
        assert!(Homography::of(&pairs[..3]).is_none());
    }

    #[test]
    fn a_rotation_turns_by_its_length_and_back() {
        let turn = about([0.3, -1.2, 0.7]);
        let back = product(&turn, &transposed(&turn));
        for (row, want) in back.iter().zip(IDENTITY) {
            row.iter().zip(want).for_each(|(is, want)| assert!((is - want).abs() < 1e-12));
        }
        let quarter = apply(&about([0.0, 0.0, std::f64::consts::FRAC_PI_2]), [1.0, 0.0, 0.0]);
        assert!((quarter[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equations_that_say_too_little_have_no_solution() {
        assert_eq!(solved(vec![1.0, 2.0, 2.0, 4.0], vec![1.0, 3.0]), None);
        let x = solved(vec![0.0, 2.0, 3.0, 1.0], vec![4.0, 5.0]).unwrap();
        assert_eq!(x, [1.0, 2.0]);
    }
}
