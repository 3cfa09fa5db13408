//! What a camera delivers: kinds of JPEG files, and pixels that are not compressed.

use super::*;
use crate::frame::PixelFormat;

const QUIET: &str = "size = [320, 240]\nnoise = 0.0\n";

async fn shot(keys: &str) -> FrameData {
    shot_with(keys, &[]).await
}

async fn shot_with(keys: &str, faults: &[Fault]) -> FrameData {
    let booth = BoothOptions { faults: faults.to_vec(), ..BoothOptions::default() };
    let mut rig = rig(booth, "", &format!("{QUIET}{keys}")).await;
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    rig.camera.fetch(exposed).await.unwrap().frames.remove(0).data
}

/// Markers of the segments before the first scan.
fn markers(jpeg: &[u8]) -> Vec<u8> {
    let (mut at, mut found) = (2, Vec::new());
    while jpeg[at + 1] != 0xda {
        assert_eq!(jpeg[at], 0xff);
        found.push(jpeg[at + 1]);
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn jpeg_files_are_subsampled_as_asked_and_all_show_the_same() {
    use turbojpeg::Subsamp;
    let usual = Picture::of(coding::bytes(&shot("").await));
    for (keys, want, within) in [
        ("subsampling = \"420\"", Subsamp::Sub2x2, 0.0),
        ("subsampling = \"422\"", Subsamp::Sub2x1, 3.0),
        ("subsampling = \"444\"", Subsamp::None, 4.0),
        ("subsampling = \"grey\"", Subsamp::Gray, 30.0),
        ("progressive = true", Subsamp::Sub2x2, 0.0),
    ] {
        let data = shot(keys).await;
        let bytes = coding::bytes(&data);
        assert_eq!(turbojpeg::read_header(bytes).unwrap().subsamp, want, "{keys}");
        let progressive = markers(bytes).contains(&0xc2);
        assert_eq!(progressive, keys.starts_with("progressive"), "{keys}");
        let off = Picture::of(bytes).difference(&usual);
        assert!(off <= within, "{keys} differs by {off} levels");
    }
}

#[tokio::test(start_paused = true)]
async fn a_film_of_jpeg_files_leaves_the_standard_tables_out() {
    let (film, file) = (shot("format = \"mjpeg\"").await, shot("subsampling = \"422\"").await);
    let (film, file) = (coding::bytes(&film), coding::bytes(&file));
    const TABLES: u8 = 0xc4;
    assert!(markers(file).contains(&TABLES) && !markers(film).contains(&TABLES));
    assert!(film.len() + 400 < file.len());
    assert_eq!(turbojpeg::read_header(film).unwrap().subsamp, turbojpeg::Subsamp::Sub2x1);
    assert!(Picture::of(film) == Picture::of(file), "a decoder that knows the tables sees the same");
}

/// Red, green and blue of BT.601 over the full range, as JFIF has it.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f64::from(y), f64::from(cb) - 128.0, f64::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round() as u8)
}

/// Pixels of a picture that is not compressed.
fn unpacked(data: &FrameData) -> (PixelFormat, Picture) {
    let FrameData::Pixels { format, width, height, stride, bytes } = data else { panic!("compressed") };
    let (w, h, stride) = (*width as usize, *height as usize, *stride as usize);
    let pixel = |k: usize| {
        let (x, y) = (k % w, k / w);
        match format {
            PixelFormat::Yuyv => {
                let pair = &bytes[y * stride + x / 2 * 4..][..4];
                rgb(pair[x % 2 * 2], pair[1], pair[3])
            }
            PixelFormat::Nv12 => {
                let chroma = &bytes[h * stride + y / 2 * stride + x / 2 * 2..][..2];
                rgb(bytes[y * stride + x], chroma[0], chroma[1])
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bytes.len(), if *format == PixelFormat::Nv12 { h * stride * 3 / 2 } else { h * stride });
    (*format, Picture { width: w, rgb: (0..w * h).flat_map(pixel).collect() })
}

#[tokio::test(start_paused = true)]
async fn uncompressed_pixels_show_what_a_fine_jpeg_shows() {
    for (keys, format, alike) in [
        ("format = \"yuyv\"", PixelFormat::Yuyv, "subsampling = \"422\"\nquality = 100"),
        ("format = \"nv12\"", PixelFormat::Nv12, "subsampling = \"420\"\nquality = 100"),
    ] {
        let (got, pixels) = unpacked(&shot(keys).await);
        assert_eq!(got, format);
        let off = pixels.difference(&Picture::of(coding::bytes(&shot(alike).await)));
        assert!(off < 2.0, "{keys} differs from {alike} by {off} levels");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_befall_uncompressed_pixels_as_well() {
    let fault = |kind| [Fault::Camera { camera: "main".to_owned(), frame: 1, kind }];
    let (_, small) = unpacked(&shot_with("format = \"nv12\"", &fault(CameraFault::SmallPicture)).await);
    assert_eq!((small.width, small.rgb.len()), (160, 160 * 120 * 3));
    let broken = shot_with("format = \"yuyv\"", &fault(CameraFault::CorruptJpeg)).await;
    assert_eq!(coding::bytes(&broken).len(), 320 * 240);
}

#[tokio::test(start_paused = true)]
async fn a_preview_is_a_plain_jpeg_whatever_the_camera_delivers() {
    for keys in ["format = \"yuyv\"", "format = \"mjpeg\""] {
        let mut rig = rig(BoothOptions::default(), "", &format!("{QUIET}{keys}")).await;
        let preview = rig.camera.preview().await.unwrap().unwrap().data;
        assert!(markers(coding::bytes(&preview)).contains(&0xc4), "{keys}");
    }
}
