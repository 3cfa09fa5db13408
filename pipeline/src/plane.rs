//! One plane of 8-bit samples, borrowed: what every measuring step reads.

/// Row-major samples; row `y` begins at `y * stride` and has `width` samples.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a> {
    /// At least `(height - 1) * stride + width` samples.
    pub samples: &'a [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl<'a> Plane<'a> {
    /// Samples without gaps between the rows.
    pub fn tight(samples: &'a [u8], width: usize, height: usize) -> Self {
        Self { samples, stride: width, width, height }
    }

    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.samples[y * self.stride..][..self.width]
    }
}
