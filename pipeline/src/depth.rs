//! Distances as a picture file: PNG with 16 bits a sample, which any viewer opens and which loses nothing.

use bytes::Bytes;
use turnstage_drivers::frame::PixelFormat;

use crate::raw::check_rows;

/// Why distances could not become a file.
#[derive(Debug, thiserror::Error)]
pub enum DepthError {
    /// Size, stride and length do not make a picture; says which.
    #[error("{0}. Check the camera's driver.")]
    Shape(String),
    /// The coder's own words; not expected of a picture whose shape fits.
    #[error("the distances cannot be stored as PNG: {0}")]
    Encode(#[from] png::EncodingError),
}

/// Codes distances as a grey PNG of 16 bits a sample, bit for bit.
///
/// `z16` is `height` rows of `stride` bytes, of which the first `2 * width` are little-endian samples in the device's
/// unit of depth, usually 1 mm; 0 means that nothing was measured there. The unit is not in the file.
///
/// Filtering by the left neighbour and coding in one pass take a fraction of the time of the coder's usual settings,
/// for files that are hardly larger: distances are noisy.
///
/// # Errors
///
/// No pixels, a stride shorter than a row, or another length than `height * stride`.
pub fn png(width: u32, height: u32, stride: u32, z16: &[u8]) -> Result<Bytes, DepthError> {
    check_rows(PixelFormat::Z16, (width, height), stride, z16.len()).map_err(DepthError::Shape)?;
    let row_len = 2 * width as usize;
    // PNG has the high byte first.
    let mut samples = Vec::with_capacity(row_len * height as usize);
    for row in z16.chunks_exact(stride as usize) {
        samples.extend(row[..row_len].as_chunks().0.iter().flat_map(|&[low, high]| [high, low]));
    }
    let mut file = Vec::new();
    let mut coder = png::Encoder::new(&mut file, width, height);
    coder.set_color(png::ColorType::Grayscale);
    coder.set_depth(png::BitDepth::Sixteen);
    coder.set_compression(png::Compression::Fast);
    coder.set_filter(png::Filter::Sub);
    let mut writer = coder.write_header()?;
    writer.write_image_data(&samples)?;
    writer.finish()?;
    Ok(Bytes::from(file))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::noise;

    /// Size and samples of a file.
    fn decode(file: &[u8]) -> (u32, u32, Vec<u16>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Sixteen));
        bytes.truncate(info.buffer_size());
        (info.width, info.height, bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect())
    }

    #[test]
    fn every_distance_comes_back_bit_for_bit() {
        for (width, height, gap) in [(1, 1, 0), (3, 5, 0), (7, 2, 3), (848, 480, 0), (641, 33, 64)] {
            let mut noise = noise(3);
            let mut distance = |at: usize| match at % 7 {
                0 => 0,
                6 => u16::from_le_bytes([noise(), noise()]),
                _ => 700 + (at % width as usize) as u16 + u16::from(noise() % 4),
            };
            let want: Vec<u16> = (0..(width * height) as usize).map(&mut distance).collect();
            let rows = want.chunks_exact(width as usize);
            let row = |row: &[u16]| -> Vec<u8> {
                let samples = row.iter().flat_map(|sample| sample.to_le_bytes());
                samples.chain(std::iter::repeat_n(0xee, gap)).collect()
            };
            let z16: Vec<u8> = rows.flat_map(row).collect();
            let file = png(width, height, 2 * width + gap as u32, &z16).unwrap();
            assert!(decode(&file) == (width, height, want), "{width} by {height}, {gap} bytes between rows");
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_is_named() {
        for (shape, len, want) in [
            ((0, 4, 8), 32, "a depth picture of 0 by 4 pixels is empty. Check the camera's driver."),
            (
                (4, 2, 7),
                14,
                "a depth picture that is 4 pixels wide has at least 8 bytes a row, not 7. Check the camera's driver.",
            ),
            (
                (4, 2, 8),
                15,
                "a depth picture of 4 by 2 pixels with 8 bytes a row has 16 bytes, not 15. Check the camera's driver.",
            ),
        ] {
            let (width, height, stride) = shape;
            assert_eq!(png(width, height, stride, &vec![0; len]).unwrap_err().to_string(), want);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_shape_panics(
            width in prop_oneof![0..40u32, any::<u32>()],
            height in prop_oneof![0..40u32, any::<u32>()],
            stride in prop_oneof![0..90u32, any::<u32>()],
            len in 0..4000usize,
        ) {
            let fits = width > 0
                && height > 0
                && u64::from(stride) >= 2 * u64::from(width)
                && u128::from(height) * u128::from(stride) == len as u128;
            prop_assert_eq!(png(width, height, stride, &vec![7; len]).is_ok(), fits);
        }

        #[test]
        fn every_shape_that_fits_is_coded(width in 1..40u32, height in 1..40u32, gap in 0..9u32) {
            let stride = 2 * width + gap;
            let file = png(width, height, stride, &vec![7; (stride * height) as usize]).unwrap();
            prop_assert_eq!(decode(&file), (width, height, vec![0x0707; (width * height) as usize]));
        }
    }
}
