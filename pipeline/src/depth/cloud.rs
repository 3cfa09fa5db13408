//! Distances as points in space, with the colours that they are seen in.

use turbojpeg::Image;
use turnstage_drivers::frame::{Codec, FrameData, PixelFormat};
use turnstage_drivers::optics::{Distortion, Intrinsics};

use super::{DepthError, Distances};
use crate::raw::check_rows;

/// Steps of the search for the ideal point; each takes off most of what is left.
const STEPS: usize = 20;

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
            let (right, down) = ray(lens, x as f64, y as f64);
            for value in [right * z, down * z, z] {
                file.extend_from_slice(&(value as f32).to_le_bytes());
            }
            file.extend_from_slice(&colors.at(x, y));
        }
    }

    Ok(file)
}

/// Where the ray through a pixel's centre is, one metre ahead.
fn ray(lens: &Intrinsics, x: f64, y: f64) -> (f64, f64) {
    let bent = ((x - lens.cx) / lens.fx, (y - lens.cy) / lens.fy);
    if lens.distortion == Distortion::None {
        return bent;
    }
    // What the lens does to a point is given, what it undid is sought: the error is taken off until it is nothing.
    let mut ideal = bent;
    for _ in 0..STEPS {
        let (x, y) = bend(lens, ideal);
        ideal = (ideal.0 + bent.0 - x, ideal.1 + bent.1 - y);
    }
    ideal
}

/// Where a lens shows an ideal point; both one metre ahead. Brown and Conrady's formula as OpenCV has it. What
/// librealsense calls inverse is the same with the tangential part of the point as the radial part left it: so
/// computed by versions 2.56.5 and 2.59.1, whose results were compared with this.
fn bend(lens: &Intrinsics, (x, y): (f64, f64)) -> (f64, f64) {
    let [k1, k2, p1, p2, k3] = lens.coefficients;
    let r2 = x * x + y * y;
    let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
    let (far_x, far_y) = (x * radial, y * radial);
    let (x, y) = if lens.distortion == Distortion::InverseBrown { (far_x, far_y) } else { (x, y) };
    (far_x + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x), far_y + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y)
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
