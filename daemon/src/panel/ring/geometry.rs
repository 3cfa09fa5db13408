//! Where the parts of the ring lie, in units of its view box: 1000 wide, the centre at 500, 0° at the top, clockwise.

use std::fmt::Write;

/// Centre of the ring in both directions.
pub(super) const CENTRE: f64 = 500.0;
/// Radius of the plate below the frames.
pub(super) const PLATE: f64 = 498.0;

/// The ring that one row of frames fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Annulus {
    /// Outer radius of the pictures.
    pub outer: f64,
    /// Inner radius of the pictures; the band of the verdict lies inside of it.
    pub inner: f64,
    /// Width of the gap between two frames, the same from the inside to the outside.
    pub gap: f64,
}

/// Where a picture lies: its left upper corner and its side.
pub(super) struct Square {
    pub x: f64,
    pub y: f64,
    pub side: f64,
}

impl Annulus {
    /// The only row, with so many frames.
    pub fn single(frames: usize) -> Self {
        let (inner, gap) = match frames {
            ..=16 => (334.0, 5.0),
            17..=36 => (356.0, 5.0),
            _ => (372.0, 3.0),
        };
        Self { outer: 484.0, inner, gap }
    }

    /// Row 1 outside, row 2 inside.
    pub fn of_two(row: u32, frames: usize) -> Self {
        let gap = if frames > 36 { 3.0 } else { 5.0 };
        let (outer, inner) = if row == 1 { (484.0, 404.0) } else { (376.0, 296.0) };
        Self { outer, inner, gap }
    }

    /// Middle of the pictures.
    pub fn middle(&self) -> f64 {
        f64::midpoint(self.outer, self.inner)
    }

    /// Half of the angle that a frame of `span` degrees fills at `radius`; never nothing, however narrow it is.
    fn half_deg(&self, radius: f64, span: f64) -> f64 {
        // A gap wider than a third of a frame would hide frames that are there.
        let gap = self.gap.min(radius * span.to_radians() / 3.0);
        (span / 2.0 - (gap / 2.0 / radius).asin().to_degrees()).clamp(0.01, 179.99)
    }

    /// Outline of the frame at `deg`.
    pub fn sector(&self, deg: f64, span: f64) -> String {
        let (out, inn) = (self.half_deg(self.outer, span), self.half_deg(self.inner, span));
        format!(
            "M{}{}L{}{}Z",
            point(self.outer, deg - out),
            arc(self.outer, deg + out, out, 1),
            point(self.inner, deg + inn),
            arc(self.inner, deg - inn, inn, 0),
        )
    }

    /// The line of the verdict, inside the frame at `deg`.
    pub fn band(&self, deg: f64, span: f64) -> String {
        let radius = self.inner - 11.0;
        let half = self.half_deg(self.inner, span);
        format!("M{}{}", point(radius, deg - half), arc(radius, deg + half, half, 1))
    }

    /// The upright picture of the frame at `deg`: large enough to fill the outline from corner to corner.
    pub fn picture(&self, deg: f64, span: f64) -> Square {
        let depth = self.outer - self.inner;
        let chord = 2.0 * self.outer * (span.min(180.0) / 2.0).to_radians().sin();
        let side = depth.hypot(chord) * 1.03;
        let (x, y) = place(self.middle(), deg);
        Square { x: x - side / 2.0, y: y - side / 2.0, side }
    }
}

/// Where a radius and an angle lead.
pub(super) fn place(radius: f64, deg: f64) -> (f64, f64) {
    let (sin, cos) = deg.to_radians().sin_cos();
    (CENTRE + radius * sin, CENTRE - radius * cos)
}

/// The same as `x y` of a path.
pub(super) fn point(radius: f64, deg: f64) -> String {
    let (x, y) = place(radius, deg);
    format!("{x:.1} {y:.1}")
}

fn arc(radius: f64, to_deg: f64, half_deg: f64, sweep: u8) -> String {
    let large = u8::from(half_deg > 90.0);
    format!("A{radius} {radius} 0 {large} {sweep} {}", point(radius, to_deg))
}

/// An arc outside the plate, for the frames of a row that is not shown.
pub(super) fn outside(nth: u32, deg: f64, span: f64) -> String {
    let radius = PLATE + 10.0 + 12.0 * f64::from(nth);
    let half = (span / 2.0 - 0.3).clamp(0.01, 179.99);
    format!("M{}{}", point(radius, deg - half), arc(radius, deg + half, half, 1))
}

/// The scale inside a row whose inner radius is `inner`, without what `taken` says stands there.
pub(super) fn scale(inner: f64, taken: &[f64]) -> String {
    let near = |deg: f64, limit: f64| taken.iter().any(|other| apart(deg, *other) < limit);
    let mut drawn = String::new();
    for step in 0..36 {
        let deg = f64::from(step) * 10.0;
        if step % 9 == 0 && !near(deg, 12.0) {
            let (x, y) = place(inner - 51.0, deg);
            // Writing to a string does not fail.
            let _written =
                write!(drawn, r#"<text class="deg deg-{deg}" x="{x:.1}" y="{y:.1}">{deg}°</text>"#);
        } else if !near(deg, 7.0) {
            let (class, length) = if step % 3 == 0 { ("tick major", 10.0) } else { ("tick", 5.0) };
            let (from, to) = (point(inner - 24.0, deg), point(inner - 24.0 - length, deg));
            let _written = write!(drawn, r#"<path class="{class}" d="M{from}L{to}"/>"#);
        }
    }
    drawn
}

/// Degrees between two directions, 0 to 180.
pub(super) fn apart(one: f64, other: f64) -> f64 {
    let between = (one - other).rem_euclid(360.0);
    between.min(360.0 - between)
}
