//! What it costs to know everything about a frame: decode, sharpness at three sizes, light, hashes, thumbnails.
//!
//! The yardstick is a bare decode of the same bytes to RGB by the same library, with handle and buffer reused, as a
//! program has it that does nothing with the picture.

use turbojpeg::{Decompressor, Image, PixelFormat};
use turnstage_pipeline::{Examiner, InputLimits, qc};

use super::measure::{Meter, alternate};
use super::table::{Row, Unmeasured};
use super::{Bench, picture, say};

/// Most that the record may cost, to the bare decode.
const LIMIT: f64 = 1.30;

pub fn measure(bench: &Bench) -> Result<Vec<Row>, Unmeasured> {
    say("record: making a picture of 12 megapixels");
    let jpeg = bench.runtime.block_on(picture::of_the_booth(picture::SIZE))?;
    let mut examiner = Examiner::new(InputLimits::default()).map_err(Unmeasured::at("start the examiner"))?;
    let mut bare = BareDecode::new(&jpeg).map_err(Unmeasured::at("start the bare decode"))?;
    let limits = qc::Limits::default();

    say(&format!("record: {} rounds", bench.rounds()));
    let mut examine = || match examiner.examine(&jpeg, &limits).picture {
        Some(_) => Ok(()),
        None => Err(Unmeasured("the picture cannot be examined".to_owned())),
    };
    let mut decode = || bare.decode(&jpeg).map_err(Unmeasured::at("decode the picture"));
    let rounds = alternate(bench.rounds(), Meter::Cpu, [&mut examine, &mut decode])?;
    let [low, ratio, high] = rounds.ratio(0, &[1]);
    let note = format!(
        "CPU {:.1} ms to {:.1} ms; quartiles {low:.2} to {high:.2}; 4000 x 3000, {:.2} MB",
        rounds.median_ms(0),
        rounds.median_ms(1),
        jpeg.len() as f64 / 1e6
    );
    Ok(vec![Row::limited("core record, to a bare RGB decode", (ratio, "x"), LIMIT, note)])
}

/// A decode to RGB with handle and buffer reused.
struct BareDecode {
    handle: Decompressor,
    image: Image<Vec<u8>>,
}

impl BareDecode {
    fn new(jpeg: &[u8]) -> turbojpeg::Result<Self> {
        let mut handle = Decompressor::new()?;
        let header = handle.read_header(jpeg)?;
        let image = Image {
            pixels: vec![0; 3 * header.width * header.height],
            width: header.width,
            pitch: 3 * header.width,
            height: header.height,
            format: PixelFormat::RGB,
        };
        Ok(Self { handle, image })
    }

    fn decode(&mut self, jpeg: &[u8]) -> turbojpeg::Result<()> {
        self.handle.decompress(jpeg, self.image.as_deref_mut())
    }
}
