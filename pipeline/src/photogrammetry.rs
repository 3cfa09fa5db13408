//! What programs of photogrammetry read: where each picture was taken from, as COLMAP text and `transforms.json`.
//!
//! | | COLMAP | transforms.json (nerfstudio) |
//! |---|---|---|
//! | pose | world to camera: quaternion w x y z, then translation | camera to world: 4 by 4 matrix |
//! | axes of the camera | right, down, ahead | right, up, back (OpenGL) |
//! | centre of the first pixel | (0.5, 0.5) | (0.5, 0.5) |
//!
//! The world is the object's frame: metres, origin in the middle of the platter, z up. Here and in the drivers the
//! centre of the first pixel is (0, 0), so half a pixel is added on the way out. Both formats have OpenCV's lens; one
//! that librealsense calls inverse is written as that as far as the two show the same.
//! Sources: colmap.github.io/format.html, docs.nerf.studio/quickstart/data_conventions.html.

use serde_json::{Value, json};
use turnstage_drivers::optics::{Intrinsics, Pose};

use crate::algebra::{M3, inverse};
use crate::lens;

/// So far may OpenCV's formula show a place beside where the lens does: a tenth of what corners of a board are measured
/// within.
const OPENCV_PX_MAX: f64 = 0.05;

/// A picture and how it was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Its file below the folder of pictures, without blanks: COLMAP reads a name up to the first one.
    pub file: String,
    /// The lens.
    pub lens: Intrinsics,
    /// From the camera's axes (right, down, ahead) to the object's frame, in metres.
    pub pose: Pose,
}

/// A model as COLMAP reads it: the texts of three files.
#[derive(Debug, Clone, PartialEq)]
pub struct Colmap {
    /// `cameras.txt`.
    pub cameras: String,
    /// `images.txt`.
    pub images: String,
    /// `points3D.txt`: no point is known yet; `point_triangulator` adds them.
    pub points: String,
}

/// Why pictures cannot be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unwritable {
    /// None of these formats has such a lens.
    #[error(
        "the lens of {file} is librealsense's inverse Brown-Conrady with radial and tangential coefficients; this format \
         has OpenCV's formula, which shows places up to {px:.2} px beside it, of {max} px that are allowed. The form \
         folder has the lens as JSON",
        max = OPENCV_PX_MAX
    )]
    OtherLens {
        /// The first such picture.
        file: String,
        /// How far OpenCV's formula is beside it, in pixels.
        px: f64,
    },
    /// A lens or a pose that is no number, or a name with blanks.
    #[error("{file:?} has a name, lens or pose that cannot be")]
    Impossible {
        /// The first such picture.
        file: String,
    },
}

/// The pictures as a COLMAP model with known poses.
pub fn colmap(pictures: &[Picture]) -> Result<Colmap, Unwritable> {
    check(pictures)?;
    let lenses = lenses(pictures);
    let mut cameras = "# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n".to_owned();
    let mut images =
        "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n# POINTS2D[] as (X, Y, POINT3D_ID)\n"
            .to_owned();
    for (k, lens) in lenses.iter().enumerate() {
        cameras += &format!("{} {}\n", k + 1, model(lens));
    }
    for (k, picture) in pictures.iter().enumerate() {
        let camera = lenses.iter().position(|lens| **lens == picture.lens).unwrap_or_default() + 1;
        let Pose { rotation, translation: [x, y, z] } = inverse(&picture.pose);
        let [qw, qx, qy, qz] = quaternion(&rotation);
        images += &format!("{} {qw} {qx} {qy} {qz} {x} {y} {z} {camera} {}\n\n", k + 1, picture.file);
    }
    Ok(Colmap { cameras, images, points: "# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[]\n".to_owned() })
}

/// The pictures as `transforms.json`; their files lie in `folder` beside it.
pub fn transforms(pictures: &[Picture], folder: &str) -> Result<Value, Unwritable> {
    check(pictures)?;
    let frame = |picture: &Picture| {
        let Pose { rotation: r, translation: t } = picture.pose;
        let row = |k: usize| json!([r[k][0], -r[k][1], -r[k][2], t[k]]);
        json!({
            "file_path": format!("{folder}/{}", picture.file),
            "transform_matrix": [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]],
        })
    };
    let mut frames: Vec<Value> = pictures.iter().map(frame).collect();
    let mut all = json!({ "camera_model": "OPENCV" });
    // What holds for all pictures is said once.
    match lenses(pictures)[..] {
        [lens] => extend(&mut all, &optics(lens)),
        _ => {
            frames.iter_mut().zip(pictures).for_each(|(frame, picture)| extend(frame, &optics(&picture.lens)))
        }
    }
    all["frames"] = frames.into();
    Ok(all)
}

fn check(pictures: &[Picture]) -> Result<(), Unwritable> {
    for picture in pictures {
        let file = || picture.file.clone();
        let numbers = picture.pose.rotation.as_flattened().iter().chain(&picture.pose.translation);
        let broken =
            picture.file.is_empty() || picture.file.contains(|c: char| c.is_control() || c.is_whitespace());
        if broken || !lens::is_possible(&picture.lens) || !numbers.into_iter().all(|k| k.is_finite()) {
            return Err(Unwritable::Impossible { file: file() });
        }
        let (_, px) = lens::opencv(&picture.lens);
        if !px.is_finite() {
            return Err(Unwritable::Impossible { file: file() });
        }
        if px > OPENCV_PX_MAX {
            return Err(Unwritable::OtherLens { file: file(), px });
        }
    }
    Ok(())
}

/// Each lens once, in the order of its first picture.
fn lenses(pictures: &[Picture]) -> Vec<&Intrinsics> {
    let mut lenses: Vec<&Intrinsics> = Vec::new();
    for picture in pictures {
        if !lenses.contains(&&picture.lens) {
            lenses.push(&picture.lens);
        }
    }
    lenses
}

/// Model, size and parameters of a line of `cameras.txt`.
fn model(lens: &Intrinsics) -> String {
    let Intrinsics { width, height, fx, fy, .. } = lens;
    let (cx, cy) = (lens.cx + 0.5, lens.cy + 0.5);
    let (coefficients, _) = lens::opencv(lens);
    let [k1, k2, p1, p2, k3] = coefficients;
    if coefficients == [0.0; 5] {
        format!("PINHOLE {width} {height} {fx} {fy} {cx} {cy}")
    } else if k3 == 0.0 {
        format!("OPENCV {width} {height} {fx} {fy} {cx} {cy} {k1} {k2} {p1} {p2}")
    } else {
        format!("FULL_OPENCV {width} {height} {fx} {fy} {cx} {cy} {k1} {k2} {p1} {p2} {k3} 0 0 0")
    }
}

fn optics(lens: &Intrinsics) -> Value {
    let ([k1, k2, p1, p2, k3], _) = lens::opencv(lens);
    json!({
        "w": lens.width, "h": lens.height,
        "fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx + 0.5, "cy": lens.cy + 0.5,
        "k1": k1, "k2": k2, "k3": k3, "p1": p1, "p2": p2,
    })
}

fn extend(value: &mut Value, with: &Value) {
    if let (Some(value), Some(with)) = (value.as_object_mut(), with.as_object()) {
        value.extend(with.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// w, x, y, z of a rotation, w not negative: by the largest of the four, so that nothing small is divided by
/// (Shepperd 1978).
fn quaternion(r: &M3) -> [f64; 4] {
    let trace = r[0][0] + r[1][1] + r[2][2];
    let squares = [trace, r[0][0], r[1][1], r[2][2]];
    let largest = (0..4).max_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap_or_default();
    let sums = [[r[0][1], r[1][0]], [r[0][2], r[2][0]], [r[1][2], r[2][1]]].map(|[a, b]| a + b);
    let turns = [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]];
    let q = match largest {
        0 => [1.0 + trace, turns[0], turns[1], turns[2]],
        1 => [turns[0], 1.0 + 2.0 * r[0][0] - trace, sums[0], sums[1]],
        2 => [turns[1], sums[0], 1.0 + 2.0 * r[1][1] - trace, sums[2]],
        _ => [turns[2], sums[1], sums[2], 1.0 + 2.0 * r[2][2] - trace],
    };
    let length = q.iter().map(|lane| lane * lane).sum::<f64>().sqrt();
    let sign = if q[0] < 0.0 { -1.0 } else { 1.0 };
    q.map(|lane| sign * lane / length)
}

#[cfg(test)]
mod tests {
    use turnstage_drivers::optics::Distortion;

    use super::*;
    use crate::algebra::{about, product};

    fn lens(coefficients: [f64; 5]) -> Intrinsics {
        let distortion = Distortion::Brown;
        Intrinsics {
            width: 640,
            height: 480,
            fx: 600.0,
            fy: 601.0,
            cx: 319.5,
            cy: 239.5,
            distortion,
            coefficients,
        }
    }

    fn picture(file: &str, lens: Intrinsics) -> Picture {
        let rotation = product(&about([0.3, 2.5, -1.0]), &about([0.0, 0.0, 1.0]));
        Picture { file: file.to_owned(), lens, pose: Pose { rotation, translation: [0.6, -0.1, 0.4] } }
    }

    #[test]
    fn half_a_pixel_is_added_and_the_simplest_model_is_named() {
        let told = |coefficients| colmap(&[picture("a.jpg", lens(coefficients))]).unwrap().cameras;
        assert!(told([0.0; 5]).ends_with("1 PINHOLE 640 480 600 601 320 240\n"));
        assert!(told([0.1, 0.0, 0.0, 0.0, 0.0]).ends_with("1 OPENCV 640 480 600 601 320 240 0.1 0 0 0\n"));
        assert!(told([0.1, 0.0, 0.0, 0.0, 0.2]).contains("FULL_OPENCV"));
    }

    #[test]
    fn a_quaternion_is_the_rotation_that_it_came_from() {
        for turn in [[0.1, 0.2, 0.3], [3.1, 0.0, 0.1], [0.0, 3.1, -0.2], [0.1, 0.2, 3.1], [-2.0, 1.0, 0.5]] {
            let r = about(turn);
            let [w, x, y, z] = quaternion(&r);
            let first = [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)];
            let last = [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)];
            for k in 0..3 {
                assert!((first[k] - r[0][k]).abs() < 1e-12 && (last[k] - r[2][k]).abs() < 1e-12, "{turn:?}");
            }
        }
    }

    #[test]
    fn lenses_are_told_once_and_shared_where_they_are_alike() {
        let two = [picture("a.jpg", lens([0.0; 5])), picture("b.jpg", lens([0.1, 0.0, 0.0, 0.0, 0.0]))];
        let three = [two[0].clone(), two[1].clone(), picture("c.jpg", lens([0.0; 5]))];
        let model = colmap(&three).unwrap();
        assert_eq!(model.cameras.lines().count(), 1 + 2);
        assert!(model.images.contains(" 1 c.jpg\n"), "{}", model.images);
        let one = transforms(&two[..1], "images").unwrap();
        assert_eq!((&one["fl_x"], &one["frames"][0]["file_path"]), (&600.0.into(), &"images/a.jpg".into()));
        assert!(transforms(&three, "images").unwrap()["frames"][1]["k1"] == 0.1);
    }

    #[test]
    fn an_inverse_lens_is_written_as_opencvs_where_both_show_the_same() {
        let inverse = |coefficients| {
            let lens = Intrinsics { distortion: Distortion::InverseBrown, ..lens(coefficients) };
            colmap(&[picture("a.jpg", lens)]).map(|model| model.cameras)
        };
        let told = inverse([0.1, -0.05, 0.0, 0.0, 0.0]).unwrap();
        assert!(told.ends_with("1 OPENCV 640 480 600 601 320 240 0.1 -0.05 0 0\n"), "{told}");
        // As a D455 tells of itself: 0.01 px in a corner.
        assert!(inverse([-0.0565, 0.0682, 0.000_37, 0.000_69, -0.0218]).unwrap().contains("FULL_OPENCV"));
        let refused = inverse([0.3, 0.0, 0.003, 0.004, 0.0]).unwrap_err();
        assert!(matches!(&refused, Unwritable::OtherLens { file, px } if file == "a.jpg" && *px > 0.05));
        // In that corner librealsense's own two formulas are 0.509 px apart.
        let words = refused.to_string();
        assert!(words.contains("up to 0.51 px beside it, of 0.05 px that are allowed"), "{words}");
    }

    #[test]
    fn what_no_format_can_say_is_refused_by_its_file() {
        let mut broken = picture("b.jpg", lens([0.1, 0.0, 0.0, 0.0, 0.0]));
        broken.pose.translation[1] = f64::NAN;
        let told = colmap(&[picture("a.jpg", lens([0.0; 5])), broken.clone()]).unwrap_err();
        assert_eq!(told, Unwritable::Impossible { file: "b.jpg".to_owned() });
        assert!(transforms(&[broken], "images").is_err());
        assert!(colmap(&[picture("a b.jpg", lens([0.0; 5]))]).is_err());
    }
}
