//! A picture as small cells of light and colour: what frames of one camera are compared by.
//!
//! The cells are the samples of the smallest thumbnail before it is coded, the way a person sees the picture: about
//! 150 across, so that sensor noise is averaged away and a shift by one step of the table is not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::plane::Plane;
use crate::thumbnail::SIDES_PX;

/// Cells darker or brighter than this are near clipping and say little about a ratio of light.
const RATIO_LUMA: std::ops::RangeInclusive<u8> = 20..=235;

/// Light and colour of a picture. Stored as its size and three planes in base64, about 35 kB; what is read is checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Cells {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    /// Blue and red difference, two cells across and two down share one.
    chroma: [Vec<u8>; 2],
}

impl Cells {
    pub(crate) fn new([luma, blue, red]: [Plane<'_>; 3]) -> Self {
        let copy = |plane: Plane<'_>| (0..plane.height).flat_map(|y| plane.row(y).iter().copied()).collect();
        Self { width: luma.width, height: luma.height, luma: copy(luma), chroma: [copy(blue), copy(red)] }
    }

    /// Cells across and down.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Row-major luma, 0 to 255.
    pub fn luma(&self) -> &[u8] {
        &self.luma
    }

    /// Blue and red difference at cell `k`, 0 to 255, 128 = none.
    pub fn colour(&self, k: usize) -> [u8; 2] {
        let at = k / self.width / 2 * self.width.div_ceil(2) + k % self.width / 2;
        [0, 1].map(|plane| self.chroma[plane].get(at).copied().unwrap_or(128))
    }

    /// Median luma and median blue and red difference, in levels, of the outer tenth at the left, the right and the
    /// top: the backdrop in a booth, whatever stands before it. The bottom is left out, for there the table turns.
    /// `None` of a picture of fewer than 16 such cells.
    pub fn border(&self) -> Option<[f64; 3]> {
        let (side, top) = (self.width.div_ceil(10), self.height.div_ceil(10));
        let is_outer = |k: usize| {
            let (x, y) = (k % self.width, k / self.width);
            y < top || x < side || x + side >= self.width
        };
        let outer: Vec<usize> = (0..self.luma.len()).filter(|&k| is_outer(k)).collect();
        let of =
            |value: &dyn Fn(usize) -> u8| median(outer.iter().map(|&k| f64::from(value(k))).collect(), 16);
        Some([of(&|k| self.luma[k])?, of(&|k| self.colour(k)[0])?, of(&|k| self.colour(k)[1])?])
    }

    /// Whether two pictures can be compared cell by cell.
    pub fn is_like(&self, other: &Cells) -> bool {
        self.size() == other.size()
    }

    /// How much brighter this picture is than `other` where `counts` says that nothing moved: the median of the
    /// ratios, so that up to half of the cells may have changed. `None` where too few cells are left.
    pub fn gain_over(&self, other: &Cells, counts: impl Fn(usize) -> bool) -> Option<f64> {
        let pairs = self.luma.iter().zip(&other.luma).enumerate();
        let ratios = pairs
            .filter(|&(k, (a, b))| RATIO_LUMA.contains(a) && RATIO_LUMA.contains(b) && counts(k))
            .map(|(_, (&a, &b))| f64::from(a) / f64::from(b));
        median(ratios.collect(), self.luma.len() / 20)
    }

    /// How much bluer and redder this picture is than `other`, in levels; medians as in [`gain_over`](Self::gain_over).
    pub fn tint_over(&self, other: &Cells, counts: impl Fn(usize) -> bool) -> Option<[f64; 2]> {
        let of = |plane: usize| {
            let cells = (0..self.luma.len()).filter(|&k| counts(k));
            let shifts =
                cells.map(|k| f64::from(self.colour(k)[plane]) - f64::from(other.colour(k)[plane])).collect();
            median(shifts, self.luma.len() / 20)
        };
        Some([of(0)?, of(1)?])
    }

    /// Absolute difference of each cell's luma to `other` with its light taken times `gain`.
    pub fn differences<'a>(&'a self, other: &'a Cells, gain: f64) -> impl Iterator<Item = f64> + 'a {
        self.luma.iter().zip(&other.luma).map(move |(&a, &b)| (f64::from(a) - gain * f64::from(b)).abs())
    }
}

/// [`Cells`] in a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    width: usize,
    height: usize,
    luma: String,
    blue: String,
    red: String,
}

impl From<Cells> for Stored {
    fn from(Cells { width, height, luma, chroma: [blue, red] }: Cells) -> Self {
        let [luma, blue, red] = [luma, blue, red].map(|plane| STANDARD.encode(plane));
        Self { width, height, luma, blue, red }
    }
}

impl TryFrom<Stored> for Cells {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { width, height, luma, blue, red } = stored;
        let side_max = SIDES_PX[0] as usize;
        if !(1..=side_max).contains(&width) || !(1..=side_max).contains(&height) {
            return Err(format!("{width} x {height} cells: a side has 1 to {side_max}"));
        }
        let read = |name: &str, text: String, cells: usize| {
            let plane = STANDARD.decode(text).map_err(|e| format!("the plane {name} is not base64: {e}"))?;
            match plane.len() == cells {
                true => Ok(plane),
                false => Err(format!("the plane {name} has {} cells instead of {cells}", plane.len())),
            }
        };
        let halved = width.div_ceil(2) * height.div_ceil(2);
        let luma = read("luma", luma, width * height)?;
        Ok(Self { width, height, luma, chroma: [read("blue", blue, halved)?, read("red", red, halved)?] })
    }
}

/// The middle value; `None` of fewer than `least` values, or none at all.
pub(crate) fn median(mut values: Vec<f64>, least: usize) -> Option<f64> {
    if values.len() < least.max(1) {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Where the photographed thing is, in cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    width: usize,
    height: usize,
    cells: Vec<bool>,
}

/// Without a subject, this part of the picture at each edge does not count.
const RIM: f64 = 0.1;

impl Subject {
    /// From one answer a cell, row-major; `None` where the answer is no everywhere.
    pub fn new((width, height): (usize, usize), cells: Vec<bool>) -> Option<Self> {
        cells.contains(&true).then_some(Self { width, height, cells })
    }

    /// Whether cell `k` belongs to it.
    pub fn has(&self, k: usize) -> bool {
        self.cells.get(k).copied().unwrap_or(false)
    }

    /// Part of the picture that it covers, 0 to 1.
    pub fn part(&self) -> f64 {
        self.cells.iter().filter(|&&cell| cell).count() as f64 / self.cells.len().max(1) as f64
    }

    /// Left, top, right and bottom edge, 0 to 1, leaving out what single cells stick out.
    pub fn bounds(&self) -> Option<[f64; 4]> {
        const CELLS_MIN: usize = 2;
        let column =
            |x: usize| (0..self.height).filter(|y| self.cells[y * self.width + x]).count() >= CELLS_MIN;
        let row =
            |y: usize| self.cells[y * self.width..][..self.width].iter().filter(|&&c| c).count() >= CELLS_MIN;
        let ends = |len: usize, full: &dyn Fn(usize) -> bool| {
            let (first, last) = ((0..len).find(|&i| full(i))?, (0..len).rfind(|&i| full(i))?);
            Some((first as f64 / len as f64, (last + 1) as f64 / len as f64))
        };
        let ((left, right), (top, bottom)) = (ends(self.width, &column)?, ends(self.height, &row)?);
        Some([left, top, right, bottom])
    }

    /// Whether most of an area belongs to it; edges as in [`bounds`](Self::bounds).
    fn covers(&self, [left, top, right, bottom]: [f64; 4]) -> bool {
        let points = [(0.5, 0.5), (0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)];
        let at = |u: f64, v: f64| {
            let x = ((left + u * (right - left)) * self.width as f64) as usize;
            let y = ((top + v * (bottom - top)) * self.height as f64) as usize;
            self.has(y.min(self.height - 1) * self.width + x.min(self.width - 1))
        };
        points.iter().filter(|&&(u, v)| at(u, v)).count() > points.len() / 2
    }
}

/// Whether a part of the stored picture counts for its sharpness: what lies on the subject, or the middle of the
/// picture while the subject is not known. `orientation` is EXIF's, edges are of the stored picture, 0 to 1.
pub(crate) fn counts(subject: Option<&Subject>, orientation: u8, edges: [f64; 4]) -> bool {
    let [left, top, right, bottom] = edges;
    let Some(subject) = subject else {
        let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0);
        return [x, y].iter().all(|at| (RIM..=1.0 - RIM).contains(at));
    };
    let ((x1, y1), (x2, y2)) = (seen(orientation, left, top), seen(orientation, right, bottom));
    subject.covers([x1.min(x2), y1.min(y2), x1.max(x2), y1.max(y2)])
}

/// Where a place of the stored picture is for a person; EXIF 2.3, 4.6.4 A.
fn seen(orientation: u8, u: f64, v: f64) -> (f64, f64) {
    match orientation {
        2 => (1.0 - u, v),
        3 => (1.0 - u, 1.0 - v),
        4 => (u, 1.0 - v),
        5 => (v, u),
        6 => (1.0 - v, u),
        7 => (1.0 - v, 1.0 - u),
        8 => (v, 1.0 - u),
        _ => (u, v),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Examiner, InputLimits, samples};

    fn cells() -> Cells {
        let mut examiner = Examiner::new(InputLimits::default()).unwrap();
        examiner.examine(&samples::scene(301, 201).jpeg(), &Default::default()).picture.unwrap().cells
    }

    #[test]
    fn cells_come_back_from_a_file_as_they_were() {
        let cells = cells();
        let text = serde_json::to_string(&cells).unwrap();
        assert!(text.len() < 40_000, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<Cells>(&text).unwrap(), cells);
    }

    #[test]
    fn planes_that_do_not_fit_the_size_are_told_by_name() {
        let read = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = serde_json::to_value(cells()).unwrap();
            change(&mut value);
            serde_json::from_value::<Cells>(value).unwrap_err().to_string()
        };
        assert!(read(&|value| value["red"] = "AAAA".into()).contains("the plane red has 3 cells"));
        assert!(read(&|value| value["luma"] = "?".into()).contains("the plane luma is not base64"));
        assert!(read(&|value| value["width"] = 0.into()).contains("0 x "));
        assert!(read(&|value| value["height"] = 4_000_000_000_u64.into()).contains("1 to 150"));
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in ".*", width in 0usize..400, luma in "[A-Za-z0-9+/=]{0,40}") {
            drop(serde_json::from_str::<Cells>(&text));
            let value = serde_json::json!({ "width": width, "height": 3, "luma": luma, "blue": luma, "red": luma });
            drop(serde_json::from_value::<Cells>(value));
        }
    }

    #[test]
    fn the_border_is_the_backdrop_whatever_stands_before_it() {
        let picture = |object: u8| {
            // A backdrop of 120 that the object covers in the middle, down to the lower edge.
            let luma = |k: usize| if (30..70).contains(&(k % 100)) && k / 100 > 5 { object } else { 120 };
            let luma: Vec<u8> = (0..100 * 80).map(luma).collect();
            let colour = |level: u8| vec![level; 50 * 40];
            let (blue, red) = (colour(126), colour(131));
            let plane = |samples, width, height| Plane { samples, stride: width, width, height };
            Cells::new([plane(&luma, 100, 80), plane(&blue, 50, 40), plane(&red, 50, 40)])
        };
        for object in [0, 120, 255] {
            assert_eq!(picture(object).border(), Some([120.0, 126.0, 131.0]), "{object}");
        }
        let tiny = [Plane { samples: &[9; 4], stride: 2, width: 2, height: 2 }; 3];
        assert_eq!(Cells::new(tiny).border(), None);
    }
}
