//! Pictures for tests: made from formulas and a seed, so no binary file is kept.

use turbojpeg::{Colorspace, Compressor, Decompressor, Image, PixelFormat, Subsamp};

/// Interleaved 8-bit samples.
#[derive(Clone)]
pub struct Raster {
    pub width: usize,
    pub height: usize,
    pub format: PixelFormat,
    pub samples: Vec<u8>,
}

/// Red, green, blue and yellow quarters (top left, top right, bottom left, bottom right), with detail everywhere.
pub fn scene(width: usize, height: usize) -> Raster {
    let mut noise = noise(7);
    Raster::from_fn(width, height, |x, y| {
        let colour = match (2 * x < width, 2 * y < height) {
            (true, true) => [170, 50, 50],
            (false, true) => [50, 150, 50],
            (true, false) => [50, 50, 170],
            (false, false) => [160, 160, 40],
        };
        let detail = if ((x / 5) ^ (y / 7)) & 1 == 0 { 30 } else { 0 } + i32::from(noise() % 9);
        colour.map(|channel: i32| (channel + detail) as u8)
    })
}

/// A seeded stream of bytes.
pub fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    }
}

impl Raster {
    pub fn from_fn(width: usize, height: usize, mut pixel: impl FnMut(usize, usize) -> [u8; 3]) -> Self {
        let samples = (0..width * height).flat_map(|i| pixel(i % width, i / width)).collect();
        Self { width, height, format: PixelFormat::RGB, samples }
    }

    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let start = 3 * (y * self.width + x);
        [self.samples[start], self.samples[start + 1], self.samples[start + 2]]
    }

    /// Quality 90, 4:2:0.
    pub fn jpeg(&self) -> Vec<u8> {
        self.jpeg_as(Subsamp::Sub2x2, |_| {})
    }

    pub fn jpeg_as(&self, subsamp: Subsamp, set: impl FnOnce(&mut Compressor)) -> Vec<u8> {
        let mut compressor = Compressor::new().unwrap();
        compressor.set_quality(90).unwrap();
        compressor.set_subsamp(subsamp).unwrap();
        set(&mut compressor);
        let (width, height) = (self.width, self.height);
        let pitch = width * self.format.size();
        let image = Image { pixels: &self.samples[..], width, pitch, height, format: self.format };
        compressor.compress_to_vec(image).unwrap()
    }

    /// Four samples a pixel, stored as they are or turned into YCCK.
    pub fn cmyk_jpeg(&self, colorspace: Colorspace) -> Vec<u8> {
        let samples = self.samples.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 200]).collect();
        let cmyk = Raster { format: PixelFormat::CMYK, samples, ..*self };
        cmyk.jpeg_as(Subsamp::None, |compressor| compressor.set_colorspace(colorspace).unwrap())
    }
}

/// The decoded picture.
pub fn decode(jpeg: &[u8], format: PixelFormat) -> Raster {
    let mut decompressor = Decompressor::new().unwrap();
    let header = decompressor.read_header(jpeg).unwrap();
    let pitch = header.width * format.size();
    let mut image = Image {
        pixels: vec![0; pitch * header.height],
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    decompressor.decompress(jpeg, image.as_deref_mut()).unwrap();
    Raster { width: header.width, height: header.height, format, samples: image.pixels }
}

/// `jpeg` with an EXIF segment right after its first marker.
pub fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let length = u16::try_from(2 + 6 + tiff.len()).unwrap();
    let mut out = jpeg[..2].to_vec();
    out.extend([0xff, 0xe1]);
    out.extend(length.to_be_bytes());
    out.extend(b"Exif\0\0");
    out.extend(tiff);
    out.extend(&jpeg[2..]);
    out
}

/// A TIFF block that says nothing but the orientation.
pub fn orientation_tiff(orientation: u16) -> Vec<u8> {
    let mut out = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    out.extend(orientation.to_be_bytes());
    out.extend([0; 6]);
    out
}

/// Where the frame header (SOF) of a baseline or progressive JPEG begins, at its 0xff.
pub fn frame_header_at(jpeg: &[u8]) -> usize {
    jpeg.windows(2).position(|pair| pair[0] == 0xff && (0xc0..=0xc2).contains(&pair[1])).unwrap()
}

/// `jpeg` with another size written into its frame header.
pub fn claiming(mut jpeg: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
    let at = frame_header_at(&jpeg);
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}
