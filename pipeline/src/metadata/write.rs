//! Metadata of a picture that is delivered: added to, or taken out.

use bytes::Bytes;

use super::segments::Segments;
use super::tiff::{Directory, Field, Tiff, Value};
use super::{CaptureFacts, EXIF_PREFIX, MetadataError, SEGMENT_MAX, read, xmp};

/// Tags of EXIF 2.32: table 4 (first directory), table 7 (EXIF directory).
mod tag {
    pub const MAKE: u16 = 0x010f;
    pub const MODEL: u16 = 0x0110;
    pub const ORIENTATION: u16 = 0x0112;
    pub const X_RESOLUTION: u16 = 0x011a;
    pub const Y_RESOLUTION: u16 = 0x011b;
    pub const RESOLUTION_UNIT: u16 = 0x0128;
    pub const SOFTWARE: u16 = 0x0131;
    pub const YCBCR_POSITIONING: u16 = 0x0213;
    pub const EXIF: u16 = 0x8769;
    pub const EXPOSURE_TIME: u16 = 0x829a;
    pub const F_NUMBER: u16 = 0x829d;
    pub const SENSITIVITY: u16 = 0x8827;
    pub const EXIF_VERSION: u16 = 0x9000;
    pub const DATE_TIME_ORIGINAL: u16 = 0x9003;
    pub const OFFSET_TIME_ORIGINAL: u16 = 0x9011;
    pub const COMPONENTS: u16 = 0x9101;
    pub const FLASHPIX_VERSION: u16 = 0xa000;
    pub const COLOR_SPACE: u16 = 0xa001;
    pub const WIDTH: u16 = 0xa002;
    pub const HEIGHT: u16 = 0xa003;
    pub const LENS_MODEL: u16 = 0xa434;
}

/// The first version with an offset from UTC; a lens came one before.
const VERSION_WITH_OFFSET: [u8; 4] = *b"0231";

/// `jpeg` with `facts` in it: see [`super`]. Writing the same facts again changes nothing.
pub fn write(jpeg: &Bytes, facts: &CaptureFacts) -> Result<Bytes, MetadataError> {
    let mut segments = Segments::open(jpeg)?;
    let blocks = segments.app1(EXIF_PREFIX);
    let (at, block) = blocks.first().map_or((None, None), |(at, block)| (Some(*at), Some(block.as_ref())));
    // A block in several segments is one that only its maker knows how to put together.
    let enriched = if blocks.len() < 2 { enriched(block, facts, &segments) } else { None };
    if let Some(block) = enriched {
        segments.put_app1(at, "EXIF block", EXIF_PREFIX, &block)?;
    }
    let packets = segments.app1(xmp::PREFIX);
    let (at, packet) =
        packets.first().map_or((None, None), |(at, packet)| (Some(*at), Some(packet.as_ref())));
    let packet = xmp::written(packet, &fields(facts))?;
    segments.put_app1(at, "XMP packet", xmp::PREFIX, &packet)?;
    Ok(segments.close())
}

/// `jpeg` without anything that tells of it: no EXIF, XMP, IPTC, comments, maker's segments, nor what lies behind the
/// image. The colour profile stays, and of a picture that is stored lying the orientation: it would be seen so.
pub fn strip(jpeg: &Bytes) -> Result<Bytes, MetadataError> {
    let mut segments = Segments::open(jpeg)?;
    let blocks = segments.app1(EXIF_PREFIX);
    let orientation = blocks.first().and_then(|(_, block)| read::summary(block)?.orientation);
    segments.strip();
    segments.cut_trailer(jpeg)?;
    if let Some(orientation) = orientation.filter(|orientation| *orientation != 1) {
        let mut tiff = Tiff::default();
        let mut directory = Directory::default();
        tiff.extend(&mut directory, vec![Field(tag::ORIENTATION, Value::Short(orientation.into()))]);
        let at = tiff.append(&directory);
        tiff.begin_with(at);
        segments.put_app1(None, "EXIF block", EXIF_PREFIX, &tiff.into_bytes())?;
    }
    Ok(segments.close())
}

/// An EXIF block with what it lacks; `None` when it is to stay as it is.
fn enriched(block: Option<&[u8]>, facts: &CaptureFacts, segments: &Segments) -> Option<Vec<u8>> {
    let mut tiff = block.map_or_else(|| Some(Tiff::default()), Tiff::read)?;
    let mut main = tiff.first()?;
    let mut main_fields = of_camera(facts);
    if main.is_empty() {
        main_fields.extend(required_of_main());
    }
    let (mut exif, exif_fields) = match tiff.below(&main, tag::EXIF)? {
        Some(exif) => {
            let version = tiff.inside(&exif, tag::EXIF_VERSION).unwrap_or(*b"0210");
            let mut fields = of_exposure(facts, &exif);
            // What its version does not know would make it an invalid one.
            fields.retain(|Field(tag, _)| {
                let new = [tag::LENS_MODEL, tag::DATE_TIME_ORIGINAL, tag::OFFSET_TIME_ORIGINAL].contains(tag);
                !new || version >= VERSION_WITH_OFFSET
            });
            (exif, fields)
        }
        None => {
            let exif = Directory::default();
            let fields = of_exposure(facts, &exif).into_iter().chain(required_of_exif(segments)).collect();
            (exif, fields)
        }
    };
    let more = tiff.extend(&mut exif, exif_fields);
    if more {
        let at = tiff.append(&exif);
        tiff.point(&mut main, tag::EXIF, at);
    }
    if !tiff.extend(&mut main, main_fields) && !more {
        return None;
    }
    let at = tiff.append(&main);
    tiff.begin_with(at);
    let block = tiff.into_bytes();
    (EXIF_PREFIX.len() + block.len() <= SEGMENT_MAX).then_some(block)
}

fn of_camera(facts: &CaptureFacts) -> Vec<Field> {
    let software = Some(&facts.software);
    let each =
        [(tag::MAKE, facts.make.as_ref()), (tag::MODEL, facts.model.as_ref()), (tag::SOFTWARE, software)];
    each.into_iter().filter_map(|(tag, text)| ascii(tag, text?)).collect()
}

fn of_exposure(facts: &CaptureFacts, there: &Directory) -> Vec<Field> {
    let mut fields = Vec::new();
    fields.extend(facts.exposure_s.and_then(|value| rational(tag::EXPOSURE_TIME, value, 1_000_000)));
    fields.extend(facts.f_number.and_then(|value| rational(tag::F_NUMBER, value, 100)));
    fields.extend(facts.iso.map(|iso| Field(tag::SENSITIVITY, Value::Short(iso))));
    fields.extend(facts.lens.as_ref().and_then(|lens| ascii(tag::LENS_MODEL, lens)));
    // The camera's own time is of another clock: our offset would be wrong beside it.
    let dated = there.has(tag::DATE_TIME_ORIGINAL) || there.has(tag::OFFSET_TIME_ORIGINAL);
    if let Some((date, offset)) = facts.exposed_at.as_deref().and_then(date_and_offset).filter(|_| !dated) {
        fields.push(Field(tag::DATE_TIME_ORIGINAL, Value::Ascii(date)));
        fields.push(Field(tag::OFFSET_TIME_ORIGINAL, Value::Ascii(offset)));
    }
    fields
}

/// Without these a reader may call the block invalid (EXIF 2.32, 4.6.8).
fn required_of_main() -> [Field; 4] {
    [
        Field(tag::X_RESOLUTION, Value::Rational(72, 1)),
        Field(tag::Y_RESOLUTION, Value::Rational(72, 1)),
        Field(tag::RESOLUTION_UNIT, Value::Short(2)),
        Field(tag::YCBCR_POSITIONING, Value::Short(1)),
    ]
}

fn required_of_exif(segments: &Segments) -> Vec<Field> {
    const SRGB: u16 = 1;
    const UNCALIBRATED: u16 = 0xffff;
    let mut fields = vec![
        Field(tag::EXIF_VERSION, Value::Undefined(*b"0232")),
        // Y, Cb, Cr.
        Field(tag::COMPONENTS, Value::Undefined([1, 2, 3, 0])),
        Field(tag::FLASHPIX_VERSION, Value::Undefined(*b"0100")),
        Field(tag::COLOR_SPACE, Value::Short(if segments.has_profile() { UNCALIBRATED } else { SRGB })),
    ];
    if let Some((width, height)) = segments.size() {
        fields.push(Field(tag::WIDTH, Value::Long(width.into())));
        fields.push(Field(tag::HEIGHT, Value::Long(height.into())));
    }
    fields
}

/// EXIF text is ASCII.
fn ascii(tag: u16, text: &str) -> Option<Field> {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let text: String = text.trim().chars().map(plain).take(read::TEXT_MAX).collect();
    (!text.is_empty()).then_some(Field(tag, Value::Ascii(text)))
}

/// `value` in steps of 1 / `under`, reduced; `None` when it is none of that size.
fn rational(tag: u16, value: f64, under: u32) -> Option<Field> {
    let over = (value * f64::from(under)).round();
    if !(1.0..=f64::from(u32::MAX)).contains(&over) {
        return None;
    }
    let over = over as u32;
    let (mut divisor, mut rest) = (over, under);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    Some(Field(tag, Value::Rational(over / divisor, under / divisor)))
}

/// `2026-11-27T10:55:03.120+01:00` as EXIF has it: `2026:11:27 10:55:03` and `+01:00`.
fn date_and_offset(moment: &str) -> Option<(String, String)> {
    let (local, rest) = (moment.get(..19)?, moment.get(19..)?);
    let offset = rest.get(rest.len().checked_sub(6)?..).filter(|offset| read::is_offset(offset))?;
    let (date, time) = local.split_once('T')?;
    let written = format!("{} {time}", date.replace('-', ":"));
    read::date_time(&written).is_some().then(|| (written, offset.to_owned()))
}

/// Everything that is known, by the names of [`xmp::FIELDS`] and in their order.
fn fields(facts: &CaptureFacts) -> Vec<(&'static str, String)> {
    let number = |value: Option<f64>| value.filter(|value| value.is_finite()).map(|value| value.to_string());
    let exposed_at = facts.exposed_at.clone().filter(|moment| date_and_offset(moment).is_some());
    let values = [
        Some(facts.session.clone()),
        Some(facts.item.clone()),
        Some(facts.camera.clone()),
        Some(facts.shot.to_string()),
        Some(facts.take.to_string()),
        number(facts.angle_commanded),
        number(facts.angle_reached),
        exposed_at,
        number(facts.exposure_s),
        number(facts.f_number),
        facts.iso.map(|iso| iso.to_string()),
        facts.make.clone(),
        facts.model.clone(),
        facts.lens.clone(),
        Some(facts.software.clone()),
    ];
    xmp::FIELDS.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
}
