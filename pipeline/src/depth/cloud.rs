//! Distances as points in space, with the colours that they are seen in.

use turbojpeg::Image;
use turnstage_drivers::frame::{Codec, FrameData, PixelFormat};
use turnstage_drivers::optics::Intrinsics;

use super::{DepthError, Distances};
use crate::raw::check_rows;

/// Every measured point as PLY, binary little endian: `float x y z` and `uchar red green blue`.
///
/// Metres, as the colour camera sees them: its optical centre is the origin, x goes right, y down and z forward. The
/// distance of a sample is z, not the length of the ray. Points are in order of rows; where nothing was measured,
/// there is none. `color` and `distances` are aligned to each other and have the size of `lens`. `color` is RGB or a
/// JPEG file, as the camera gave it or as it was stored.
///
/// # Errors
///
/// Sizes that differ, a lens without a focal length, a colour picture of another kind or whose shape does not fit, a JPEG that cannot be read.
pub fn ply(color: &FrameData, distances: &Distances, lens: &Intrinsics) -> Result<Vec<u8>, DepthError> {
    let size = (distances.width, distances.height);
    if (lens.width, lens.height) != size {
        let (width, height) = (lens.width, lens.height);
        let what =
            format!("the lens is for {width} by {height} pixels, the distances are {} by {}", size.0, size.1);
        return Err(DepthError::Kind(what));
    }
    if ![lens.fx, lens.fy].iter().all(|focal| focal.is_finite() && *focal > 0.0) {
        return Err(DepthError::Kind(format!(
            "a lens of {} by {} pixels focal length is none",
            lens.fx, lens.fy
        )));
    }
    let colors = Colors::of(color, size)?;
    let measured = distances.steps.iter().filter(|steps| **steps > 0).count();
    let mut file = Vec::with_capacity(400 + 15 * measured);
    let header = format!(
        "ply\nformat binary_little_endian 1.0\n\
         comment metres, seen from the colour camera: x right, y down, z forward\n\
         element vertex {measured}\nproperty float x\nproperty float y\nproperty float z\n\
         property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    );
    file.extend_from_slice(header.as_bytes());
    for y in 0..size.1 as usize {
        for x in 0..size.0 as usize {
            let Some(z) = distances.metres(x, y) else { continue };
            let [right, down] = lens.ray([x as f64, y as f64]);
            for value in [right * z, down * z, z] {
                file.extend_from_slice(&(value as f32).to_le_bytes());
            }
            file.extend_from_slice(&colors.at(x, y));
        }
    }

    Ok(file)
}

/// Red, green and blue of a picture.
enum Colors<'a> {
    Camera { stride: usize, bytes: &'a [u8] },
    File(Image<Vec<u8>>),
}

impl Colors<'_> {
    fn of(data: &FrameData, size: (u32, u32)) -> Result<Colors<'_>, DepthError> {
        let other = |width: u64, height: u64| {
            let what = format!(
                "the colour picture has {width} by {height} pixels, the distances {} by {}",
                size.0, size.1
            );
            DepthError::Kind(what)
        };
        match data {
            FrameData::Pixels { format: PixelFormat::Rgb8, width, height, stride, bytes } => {
                check_rows(PixelFormat::Rgb8, (*width, *height), *stride, bytes.len())
                    .map_err(DepthError::Shape)?;
                if (*width, *height) != size {
                    return Err(other(u64::from(*width), u64::from(*height)));
                }
                Ok(Colors::Camera { stride: *stride as usize, bytes })
            }
            FrameData::Encoded { codec: Codec::Jpeg, bytes } => {
                // Before anything is decoded: a file may claim to be of any size.
                let header = turbojpeg::read_header(bytes)?;
                let (width, height) = (header.width as u64, header.height as u64);
                if (width, height) != (u64::from(size.0), u64::from(size.1)) {
                    return Err(other(width, height));
                }
                Ok(Colors::File(turbojpeg::decompress(bytes, turbojpeg::PixelFormat::RGB)?))
            }
            FrameData::Pixels { format, .. } => {
                Err(DepthError::Kind(format!("colours come as RGB or JPEG, not as {format:?}")))
            }
            FrameData::Encoded { codec, .. } => {
                Err(DepthError::Kind(format!("colours come as RGB or JPEG, not as {codec:?}")))
            }
        }
    }

    /// At a column and a row, both inside.
    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let (stride, bytes) = match self {
            Colors::Camera { stride, bytes } => (*stride, *bytes),
            Colors::File(image) => (image.pitch, image.pixels.as_slice()),
        };
        let at = y * stride + 3 * x;
        [bytes[at], bytes[at + 1], bytes[at + 2]]
    }
}

#[cfg(test)]
mod tests;
