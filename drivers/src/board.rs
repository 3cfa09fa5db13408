//! Printed marks that a camera reads: their code, the board for calibrating, and the ring round a platter's rim.
//!
//! A mark is a black square of 7 by 7 cells: a black border and 5 by 5 cells that are its number. The numbers are
//! drawn by [`codes`] from a fixed seed, so that two of them differ in at least [`DISTANCE_MIN`] cells however either
//! is turned, and so does a mark from itself turned: three cells may be misread and it is still no other. A board that
//! was printed is good for ever, so the drawing must never change. The board is a chess board with a mark in every
//! white square: marks say which corner is which, corners of chess squares are where a picture can be measured best.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Cells along a side of a mark, without its border.
pub const CELLS: usize = 5;
/// Cells along a side of a mark with its black border.
pub const CELLS_WITH_BORDER: usize = CELLS + 2;
/// How many marks there are.
pub const MARKS: usize = 64;
/// Cells in which any two marks differ at least, however turned.
pub const DISTANCE_MIN: u32 = 7;
/// Chess squares along a side of the board.
pub const SQUARES: usize = 6;
/// Corners along a side of the board where four squares meet.
pub const CORNERS: usize = SQUARES - 1;
/// Side of a mark as a part of its chess square.
const MARK_PART: f64 = 0.7;
/// The first mark that is used round a rim; marks before it are the board's and those of objects.
pub const RIM_FIRST: u16 = 28;
/// Side of the usual board in millimetres: it fits a sheet of A4 with its margin.
pub const USUAL_MM: f64 = 180.0;
/// White paper round the board in millimetres.
const MARGIN_MM: f64 = 8.0;

/// A place in millimetres: to the right and up as one looks at the print.
pub type Place = [f64; 2];

/// The cells of every mark, row by row from the top left one; the first is the highest of 25 bits, 1 is white.
pub fn codes() -> &'static [u32; MARKS] {
    static CODES: OnceLock<[u32; MARKS]> = OnceLock::new();
    CODES.get_or_init(drawn)
}

/// Takes numbers of a fixed stream in turn and keeps those far enough from all that were kept.
fn drawn() -> [u32; MARKS] {
    let mut kept = [0; MARKS];
    let (mut count, mut seed) = (0, 0);
    while count < MARKS {
        seed += 1;
        let code = (mixed(seed) >> 39) as u32;
        // Neither nearly white nor nearly black: that is what stains and holes look like.
        let mixed_up = (8..=17).contains(&code.count_ones());
        let far = |other: u32| turns(other).iter().all(|turned| (turned ^ code).count_ones() >= DISTANCE_MIN);
        let unlike_itself =
            turns(code)[1..].iter().all(|turned| (turned ^ code).count_ones() >= DISTANCE_MIN);
        if mixed_up && unlike_itself && kept[..count].iter().all(|&other| far(other)) {
            kept[count] = code;
            count += 1;
        }
    }
    kept
}

/// SplitMix64's output function (Steele et al. 2014), written out here because printed boards depend on it.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A code as it is read when the mark is turned by 0, 1, 2 and 3 quarters clockwise.
pub fn turns(code: u32) -> [u32; 4] {
    let quarter = |code: u32| {
        let cell = |row: usize, column: usize| code >> (CELLS * CELLS - 1 - row * CELLS - column) & 1;
        let cells = (0..CELLS * CELLS).map(|k| cell(CELLS - 1 - k % CELLS, k / CELLS));
        cells.fold(0, |code, bit| code << 1 | bit)
    };
    let once = quarter(code);
    let twice = quarter(once);
    [code, once, twice, quarter(twice)]
}

/// Whether a mark is white at a place inside it, both from 0 to 1, to the right and *down* from its top left corner.
pub fn is_white(mark: u16, x: f64, y: f64) -> bool {
    let cell = |at: f64| (at * CELLS_WITH_BORDER as f64) as usize;
    let (column, row) = (cell(x.max(0.0)), cell(y.max(0.0)));
    let inside = (1..=CELLS).contains(&column) && (1..=CELLS).contains(&row);
    let code = codes().get(usize::from(mark)).copied().unwrap_or_default();
    inside && code >> (CELLS * CELLS - 1 - (row - 1) * CELLS - (column - 1)) & 1 == 1
}

/// The board for calibrating.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Side of the chess pattern in millimetres, without the paper round it.
    pub size_mm: f64,
    /// How far the print lies above the platter in millimetres.
    pub thickness_mm: f64,
}

impl Board {
    /// A board of paper, if its size can be used: 40 to 5000 mm.
    pub fn new(size_mm: f64, thickness_mm: f64) -> Result<Self, String> {
        if !(40.0..=5000.0).contains(&size_mm) {
            return Err(format!(
                "a board of {size_mm} mm cannot be used: its chess pattern must be 40 to 5000 mm wide"
            ));
        }
        if !(0.0..=200.0).contains(&thickness_mm) {
            return Err(format!("a thickness of {thickness_mm} mm cannot be used: it must be 0 to 200 mm"));
        }
        Ok(Self { size_mm, thickness_mm })
    }

    /// Side of a chess square.
    pub fn square_mm(&self) -> f64 {
        self.size_mm / SQUARES as f64
    }

    /// Where four squares meet, from the middle of the board: corner `index` of `CORNERS * CORNERS`, row by row from
    /// the top left one.
    pub fn corner(&self, index: usize) -> Place {
        let along = |k: usize| (k as f64 + 1.0) * self.square_mm() - 0.5 * self.size_mm;
        [along(index % CORNERS), -along(index / CORNERS)]
    }

    /// Corners of a mark from the middle of the board: top left, top right, bottom right, bottom left. `None` of a mark
    /// that is not the board's.
    pub fn mark(&self, mark: u16) -> Option<[Place; 4]> {
        let (row, column) = square_of(mark)?;
        let half = 0.5 * MARK_PART * self.square_mm();
        let middle = |k: usize| (k as f64 + 0.5) * self.square_mm() - 0.5 * self.size_mm;
        let (x, y) = (middle(column), -middle(row));
        Some([[x - half, y + half], [x + half, y + half], [x + half, y - half], [x - half, y - half]])
    }

    /// Whether the print is white at a place from the middle of the board; beyond the pattern it is.
    pub fn is_white(&self, x: f64, y: f64) -> bool {
        let (across, down) =
            ((x / self.size_mm + 0.5) * SQUARES as f64, (0.5 - y / self.size_mm) * SQUARES as f64);
        let reach = 0.0..SQUARES as f64;
        if !reach.contains(&across) || !reach.contains(&down) {
            return true;
        }
        let (row, column) = (down as usize, across as usize);
        let Some(mark) = mark_in(row, column) else { return false };
        let within = |at: f64| (at.fract() - 0.5) / MARK_PART + 0.5;
        let (x, y) = (within(across), within(down));
        let in_mark = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y);
        !in_mark || is_white(mark, x, y)
    }

    /// The board as a page to print, one unit a millimetre: print it at 100 %, and measure it.
    pub fn svg(&self) -> String {
        let (size, page) = (self.size_mm, self.size_mm + 2.0 * MARGIN_MM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{page}mm\" height=\"{page}mm\" viewBox=\"0 0 {page} \
             {page}\">\n<rect width=\"{page}\" height=\"{page}\" fill=\"#fff\"/>\n<g shape-rendering=\"crispEdges\">\n"
        );
        let cell = MARK_PART * self.square_mm() / CELLS_WITH_BORDER as f64;
        let mut black = |x: f64, y: f64, wide: f64| {
            svg += &format!("<rect x=\"{x:.4}\" y=\"{y:.4}\" width=\"{wide:.4}\" height=\"{wide:.4}\"/>\n");
        };
        for square in 0..SQUARES * SQUARES {
            let (row, column) = (square / SQUARES, square % SQUARES);
            let [left, top] = [column, row].map(|k| MARGIN_MM + k as f64 * self.square_mm());
            let Some(mark) = mark_in(row, column) else {
                black(left, top, self.square_mm());
                continue;
            };
            let inset = 0.5 * (1.0 - MARK_PART) * self.square_mm();
            for [x, y] in black_cells(mark) {
                black(left + inset + x * cell, top + inset + y * cell, cell);
            }
        }
        let foot = page - 0.25 * MARGIN_MM;
        svg += &format!(
            "</g>\n<text x=\"{MARGIN_MM}\" y=\"{foot}\" font-family=\"sans-serif\" font-size=\"3\">Turnstage board {size} mm \
             - print at 100 %; the chess pattern must measure {size} mm</text>\n</svg>\n"
        );
        svg
    }
}

/// Columns and rows of the cells of a mark, its border included, that are printed black.
fn black_cells(mark: u16) -> impl Iterator<Item = [f64; 2]> {
    let all =
        (0..CELLS_WITH_BORDER * CELLS_WITH_BORDER).map(|k| [k % CELLS_WITH_BORDER, k / CELLS_WITH_BORDER]);
    let middle = |at: f64| (at + 0.5) / CELLS_WITH_BORDER as f64;
    let places = all.map(|cell| cell.map(|at| at as f64));
    places.filter(move |[x, y]| !is_white(mark, middle(*x), middle(*y)))
}

/// The mark in a square; `None` in a black one.
fn mark_in(row: usize, column: usize) -> Option<u16> {
    (row + column).is_multiple_of(2).then(|| ((row * SQUARES + column) / 2) as u16)
}

fn square_of(mark: u16) -> Option<(usize, usize)> {
    let row = usize::from(mark) * 2 / SQUARES;
    let column = usize::from(mark) * 2 % SQUARES + row % 2;
    (row < SQUARES).then_some((row, column))
}

/// Marks round a platter's rim, evenly spread, to be read from the side. Mark [`RIM_FIRST`] faces along the platter's
/// own x axis, the next ones follow counter-clockwise seen from above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rim {
    /// From the axis to the print in millimetres.
    pub radius_mm: f64,
    /// How many marks, 3 to 36.
    pub marks: u16,
    /// Side of a mark in millimetres.
    pub mark_mm: f64,
    /// Height of the middle of the marks over the platter's top in millimetres; below it is negative.
    pub height_mm: f64,
}

impl Rim {
    /// Corners of a mark in the platter's frame, in millimetres: top left, top right, bottom right, bottom left as one
    /// looks at it from outside. `None` of a mark that is not on this rim.
    pub fn mark(&self, mark: u16) -> Option<[[f64; 3]; 4]> {
        let nth = mark.checked_sub(RIM_FIRST).filter(|nth| *nth < self.marks)?;
        let middle = std::f64::consts::TAU * f64::from(nth) / f64::from(self.marks);
        let half = 0.5 * self.mark_mm;
        let corner = |right: f64, up: f64| {
            let (sin, cos) = (middle + right * half / self.radius_mm).sin_cos();
            [self.radius_mm * cos, self.radius_mm * sin, self.height_mm + up * half]
        };
        Some([corner(-1.0, 1.0), corner(1.0, 1.0), corner(1.0, -1.0), corner(-1.0, -1.0)])
    }

    /// The ring as a strip to print, one unit a millimetre: as long as it goes round, from left to right as one looks at it
    /// from outside. It may be cut between the marks; each has its number below it.
    pub fn svg(&self) -> String {
        let (long, high) = (std::f64::consts::TAU * self.radius_mm, 1.6 * self.mark_mm);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{long:.2}mm\" height=\"{high:.2}mm\" viewBox=\"0 0 \
             {long:.2} {high:.2}\">\n<rect width=\"{long:.2}\" height=\"{high:.2}\" fill=\"#fff\"/>\n<g \
             shape-rendering=\"crispEdges\" font-family=\"sans-serif\">\n"
        );
        let cell = self.mark_mm / CELLS_WITH_BORDER as f64;
        for nth in 0..self.marks {
            let middle = (f64::from(nth) + 0.5) * long / f64::from(self.marks);
            let (left, top) = (middle - 0.5 * self.mark_mm, 0.25 * self.mark_mm);
            for [x, y] in black_cells(RIM_FIRST + nth) {
                let (x, y) = (left + x * cell, top + y * cell);
                svg +=
                    &format!("<rect x=\"{x:.4}\" y=\"{y:.4}\" width=\"{cell:.4}\" height=\"{cell:.4}\"/>\n");
            }
            let (foot, size, number) = (1.58 * self.mark_mm, 0.08 * self.mark_mm, RIM_FIRST + nth);
            svg +=
                &format!("<text x=\"{left:.2}\" y=\"{foot:.2}\" font-size=\"{size:.2}\">{number}</text>\n");
        }
        svg + "</g>\n</svg>\n"
    }

    /// Whether the ring is white at an azimuth in radians and a height over the platter's top.
    pub fn is_white(&self, azimuth: f64, height_mm: f64) -> bool {
        let turn = (azimuth / std::f64::consts::TAU).rem_euclid(1.0) * f64::from(self.marks);
        let nth = turn.round();
        let arc_mm = (turn - nth) / f64::from(self.marks) * std::f64::consts::TAU * self.radius_mm;
        let (x, y) = (arc_mm / self.mark_mm + 0.5, 0.5 - (height_mm - self.height_mm) / self.mark_mm);
        let in_mark = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y);
        !in_mark || is_white(RIM_FIRST + nth as u16 % self.marks, x, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_printed_today_is_read_for_ever() {
        let sum = codes().iter().fold(0u64, |sum, code| mixed(sum ^ u64::from(*code)));
        assert_eq!((codes()[0], codes()[63], sum), (29_638_992, 14_946_009, 166_184_560_734_288_613));
    }

    #[test]
    fn no_mark_is_taken_for_another_or_for_itself_turned_with_three_cells_misread() {
        for (a, &one) in codes().iter().enumerate() {
            for (b, &other) in codes().iter().enumerate() {
                for (turn, turned) in turns(other).into_iter().enumerate() {
                    let same = a == b && turn == 0;
                    assert!(same || (one ^ turned).count_ones() >= DISTANCE_MIN, "{a} {b} {turn}");
                }
            }
        }
        assert_eq!(turns(turns(codes()[5])[3])[1], codes()[5]);
    }

    #[test]
    fn marks_and_corners_lie_where_the_print_has_them() {
        let board = Board::new(180.0, 0.0).unwrap();
        assert_eq!((board.corner(0), board.corner(24)), ([-60.0, 60.0], [60.0, -60.0]));
        for mark in 0..18 {
            let [top_left, top_right, bottom_right, _] = board.mark(mark).unwrap();
            let (wide, high) = (top_right[0] - top_left[0], top_right[1] - bottom_right[1]);
            assert!((wide - 21.0).abs() < 1e-9 && (high - 21.0).abs() < 1e-9);
            assert!(!board.is_white(top_left[0] + 1.0, top_left[1] - 1.0), "border of {mark}");
            assert!(board.is_white(top_left[0] - 1.0, top_left[1] + 1.0), "paper round {mark}");
        }
        assert_eq!(board.mark(18), None);
    }

    #[test]
    fn the_page_has_millimetres_and_every_black_cell_once() {
        let board = Board::new(180.0, 0.0).unwrap();
        let svg = board.svg();
        assert!(svg.contains("width=\"196mm\"") && svg.contains("viewBox=\"0 0 196 196\""), "{svg}");
        let white: u32 = codes()[..18].iter().map(|code| code.count_ones()).sum();
        assert_eq!(svg.matches("<rect x=").count() as u32, 18 + 18 * 49 - white);
        let wrong = Board::new(10.0, 0.0).unwrap_err();
        assert!(wrong.contains("10 mm") && wrong.contains("40 to 5000"), "{wrong}");
    }

    #[test]
    fn a_mark_on_the_rim_is_printed_where_its_corners_are() {
        let rim = Rim { radius_mm: 150.0, marks: 24, mark_mm: 9.0, height_mm: -7.0 };
        let [corner, ..] = rim.mark(RIM_FIRST + 6).unwrap();
        assert!(corner[0] > 4.0 && (corner[1] - 150.0).abs() < 0.1 && (corner[2] + 2.5).abs() < 1e-9);
        let azimuth = corner[1].atan2(corner[0]);
        let (inward, outward) = (azimuth + 0.5 / 150.0, azimuth - 0.5 / 150.0);
        assert!(!rim.is_white(inward, -3.0) && rim.is_white(outward, -3.0) && rim.is_white(inward, -2.0));
        assert_eq!((rim.mark(RIM_FIRST + 24), rim.mark(3)), (None, None));
        let svg = rim.svg();
        assert!(svg.contains("width=\"942.48mm\" height=\"14.40mm\"") && svg.contains(">51</text>"), "{svg}");
        let white: u32 = codes()[28..52].iter().map(|code| code.count_ones()).sum();
        assert_eq!(svg.matches("<rect x=").count() as u32, 24 * 49 - white);
    }
}
