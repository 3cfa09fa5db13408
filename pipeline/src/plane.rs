//! One plane of 8-bit samples, borrowed: what every measuring step reads.

/// Row-major samples; row `y` begins at `y * stride` and has `width` samples.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// At least `(height - 1) * stride + width` samples.
    pub(crate) samples: &'a [u8],
    pub(crate) stride: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl<'a> Plane<'a> {
    /// `height` rows of `width` samples, each `stride` after the one before. `None` where a row overlaps the next one
    /// or `samples` are too few.
    pub fn new(samples: &'a [u8], stride: usize, width: usize, height: usize) -> Option<Self> {
        let needed = match height {
            0 => 0,
            _ => (height - 1).checked_mul(stride)?.checked_add(width)?,
        };
        (stride >= width && samples.len() >= needed).then_some(Self { samples, stride, width, height })
    }

    /// Samples without gaps between the rows.
    pub(crate) fn tight(samples: &'a [u8], width: usize, height: usize) -> Self {
        Self { samples, stride: width, width, height }
    }

    pub(crate) fn row(&self, y: usize) -> &'a [u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// The sample of a pixel that lies in the plane.
    pub(crate) fn at(&self, x: usize, y: usize) -> u8 {
        self.samples[y * self.stride + x]
    }

    /// Between the centres of four pixels, each taken through `level`; the centre of the first pixel is at (0, 0).
    /// `None` outside.
    pub(crate) fn between(&self, [x, y]: [f64; 2], level: impl Fn(u8) -> f64) -> Option<f64> {
        if !(x >= 0.0 && y >= 0.0) || self.width < 2 || self.height < 2 {
            return None;
        }
        let (i, j) = (x as usize, y as usize);
        if i + 1 >= self.width || j + 1 >= self.height {
            return None;
        }
        let (s, t) = (x - i as f64, y - j as f64);
        let row = |j: usize| {
            let (left, right) = (level(self.at(i, j)), level(self.at(i + 1, j)));
            left + (right - left) * s
        };
        let (upper, lower) = (row(j), row(j + 1));
        Some(upper + (lower - upper) * t)
    }
}
