//! Faults that show in the pixels, measured against the picture without them.

use super::*;

const QUIET: &str = "size = [320, 240]\nnoise = 0.0\nquality = 98\n";

fn from(frame: u64, kind: CameraFault) -> Fault {
    Fault::Camera { camera: "main".to_owned(), frame, kind }
}

async fn quiet(faults: &[Fault], keys: &str) -> Rig {
    let booth = BoothOptions { faults: faults.to_vec(), ..BoothOptions::default() };
    rig(booth, "", &format!("{QUIET}{keys}")).await
}

/// A good picture and the same one with a fault, whose settings are the usual ones.
async fn with_and_without(kind: CameraFault) -> (Picture, Picture) {
    let mut rig = quiet(&[from(2, kind)], "").await;
    let good = rig.look().await;
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    let set = rig.camera.fetch(exposed).await.unwrap();
    assert_eq!(set.frames[0].exposure, NOMINAL, "the camera reports nothing unusual");
    let bad = Picture::of(&jpeg_of(set));
    assert!(rig.look().await == good, "the next picture is good again");
    (good, bad)
}

/// Light that was linear before the tone curve's shoulder; brighter places are not asked.
fn light(level: u8) -> Option<f64> {
    let s = f64::from(level) / 255.0;
    let linear = if s < 0.04045 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) };
    (linear < 0.65).then_some(linear)
}

/// Share of the green light that is left in `bad`, over the pixels that `take` names by column and row.
fn left(good: &Picture, bad: &Picture, take: impl Fn(usize, usize) -> bool) -> f64 {
    let (mut whole, mut part) = (0.0, 0.0);
    for k in 0..good.rgb.len() / 3 {
        let lights = (light(good.rgb[k * 3 + 1]), light(bad.rgb[k * 3 + 1]));
        if let (Some(a), Some(b)) = lights
            && take(k % good.width, k / good.width)
        {
            whole += a;
            part += b;
        }
    }
    part / whole
}

fn luma(picture: &Picture) -> f64 {
    let [red, green, blue] = picture.mean();
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[tokio::test(start_paused = true)]
async fn an_under_exposed_frame_has_three_stops_less_light() {
    let (good, bad) = with_and_without(CameraFault::UnderExposed).await;
    let left = left(&good, &bad, |_, _| true);
    assert!((0.11..0.14).contains(&left), "{left} of the light is left");
}

#[tokio::test(start_paused = true)]
async fn a_lamp_less_takes_three_tenths_of_the_light() {
    let (good, bad) = with_and_without(CameraFault::Dimmed).await;
    let left = left(&good, &bad, |_, _| true);
    assert!((0.67..0.73).contains(&left), "{left} of the light is left");
}

#[tokio::test(start_paused = true)]
async fn lamps_that_change_their_colour_shift_it_and_leave_the_brightness() {
    let (good, bad) = with_and_without(CameraFault::ColourCast).await;
    let warmth = |picture: &Picture| picture.mean()[0] - picture.mean()[2];
    let shift = warmth(&bad) - warmth(&good);
    let brighter = luma(&bad) - luma(&good);
    assert!(shift > 20.0, "redder than blue by {shift} levels more");
    assert!(brighter.abs() < 5.0, "brighter by {brighter} levels");
}

#[tokio::test(start_paused = true)]
async fn a_noisy_frame_has_noise_of_twelve_levels_at_least() {
    let (good, bad) = with_and_without(CameraFault::Noisy).await;
    let gray = |rgb: &[u8]| 0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2]);
    let pairs = good.rgb.chunks_exact(3).zip(bad.rgb.chunks_exact(3));
    let squares: Vec<f64> = pairs
        .filter(|(a, _)| a.iter().all(|level| (60..190).contains(level)))
        .map(|(a, b)| (gray(a) - gray(b)).powi(2))
        .collect();
    let sigma = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    assert!((11.5..20.0).contains(&sigma), "luma scatters by {sigma} levels");
}

#[tokio::test(start_paused = true)]
async fn flickering_lamps_draw_five_bands_of_a_quarter_less_light() {
    let (good, bad) = with_and_without(CameraFault::Banding).await;
    let rows: Vec<f64> = (0..240).map(|row| left(&good, &bad, |_, y| y == row)).collect();
    let (low, high) = rows.iter().fold((1.0f64, 0.0f64), |(low, high), r| (low.min(*r), high.max(*r)));
    assert!((low - 0.75).abs() < 0.03 && (high - 1.0).abs() < 0.03, "rows keep {low} to {high}");
    let wave = |periods: f64| {
        let turn = |y: usize| y as f64 / 240.0 * periods * std::f64::consts::TAU;
        let along = |of: fn(f64) -> f64| rows.iter().enumerate().map(|(y, r)| r * of(turn(y))).sum::<f64>();
        along(f64::cos).hypot(along(f64::sin)) / 120.0
    };
    assert!((wave(5.0) - 0.125).abs() < 0.02, "five bands of half depth {}", wave(5.0));
    assert!(wave(3.0) < 0.02 && wave(7.0) < 0.02, "and no others: {} {}", wave(3.0), wave(7.0));
}

#[tokio::test(start_paused = true)]
async fn a_shaken_frame_is_smeared_along_one_direction_only() {
    let faults = vec![from(2, CameraFault::Shaken)];
    let keys = "size = [960, 720]\nnoise = 0.0";
    let mut rig = rig(BoothOptions { faults, ..BoothOptions::default() }, "", keys).await;
    let (good, bad) = (rig.look().await, rig.look().await);
    assert!(bad.sharpness() < 0.4 * good.sharpness(), "{} of {}", bad.sharpness(), good.sharpness());
    let kept = |turn: u32| {
        let direction = f64::from(turn) * std::f64::consts::PI / 36.0;
        steepness(&bad, direction) / steepness(&good, direction)
    };
    let kept: Vec<f64> = (0..36).map(kept).collect();
    let (low, high) = kept.iter().fold((1.0f64, 0.0f64), |(low, high), r| (low.min(*r), high.max(*r)));
    assert!(low < 0.7 * high, "edges keep {low} of their steepness in one direction, {high} in another");
}

/// Mean square of the slope of green along a direction, clockwise from the right.
fn steepness(picture: &Picture, direction: f64) -> f64 {
    let (sin, cos) = direction.sin_cos();
    let at = |x: usize, y: usize| f64::from(picture.rgb[(y * picture.width + x) * 3 + 1]);
    let height = picture.rgb.len() / 3 / picture.width;
    let mut sum = 0.0;
    for y in 1..height - 1 {
        for x in 1..picture.width - 1 {
            let slope = (at(x + 1, y) - at(x - 1, y)) * cos + (at(x, y + 1) - at(x, y - 1)) * sin;
            sum += slope * slope;
        }
    }
    sum
}

#[tokio::test(start_paused = true)]
async fn a_stand_that_trembles_smears_every_picture_the_more_the_farther() {
    let mut sharpness = Vec::new();
    for shake in ["0.0", "1.5", "4.0", "12.0"] {
        sharpness.push(quiet(&[], &format!("shake_px = {shake}")).await.look().await.sharpness());
    }
    assert!(sharpness.windows(2).all(|w| w[1] < 0.8 * w[0]), "{sharpness:?}");
}

#[tokio::test(start_paused = true)]
async fn a_small_picture_has_half_the_sides_that_were_asked_for() {
    let mut rig = quiet(&[from(2, CameraFault::SmallPicture)], "").await;
    let sizes =
        [rig.look().await, rig.look().await, rig.look().await].map(|p| (p.width, p.rgb.len() / 3 / p.width));
    assert_eq!(sizes, [(320, 240), (160, 120), (320, 240)]);
}

/// Light that is left in every pixel where both pictures tell, 1 elsewhere; taken from a mean of 3 x 3 pixels.
fn veil(good: &Picture, bad: &Picture) -> Vec<f64> {
    let place = |k: usize| {
        let (x, y) = (k % good.width, k / good.width);
        let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
        let rows = y.saturating_sub(1)..(y + 2).min(240);
        let (mut whole, mut part) = (0.0, 0.0);
        for (col, row) in rows.flat_map(|row| (0..good.width).filter(|c| near(*c, x)).map(move |c| (c, row)))
        {
            let at = (row * good.width + col) * 3 + 1;
            if let (Some(a), Some(b)) = (light(good.rgb[at]), light(bad.rgb[at])) {
                whole += a;
                part += b;
            }
        }
        if whole > 0.5 { part / whole } else { 1.0 }
    };
    (0..good.rgb.len() / 3).map(place).collect()
}

/// Numbers of connected places where `dark` holds.
fn spots(dark: &[bool], width: usize) -> usize {
    let mut left = dark.to_vec();
    let mut count = 0;
    while let Some(first) = left.iter().position(|dark| *dark) {
        count += 1;
        let mut edge = vec![first];
        while let Some(k) = edge.pop() {
            if std::mem::take(&mut left[k]) {
                let beside = [k.wrapping_sub(1), k + 1, k.wrapping_sub(width), k + width];
                edge.extend(beside.into_iter().filter(|k| left.get(*k) == Some(&true)));
            }
        }
    }
    count
}

#[tokio::test(start_paused = true)]
async fn dirt_darkens_the_same_places_from_its_frame_on_until_it_is_wiped_off() {
    let mut clean = quiet(&[], "").await;
    let mut dirty = quiet(&[from(2, CameraFault::Dirt)], "").await;
    assert!(clean.look().await == dirty.look().await, "not before its frame");
    let here = veil(&clean.look().await, &dirty.look().await);
    clean.turn_to(70.0, Direction::Forward).await;
    dirty.turn_to(70.0, Direction::Forward).await;
    let there = veil(&clean.look().await, &dirty.look().await);
    let dark = |veil: &[f64]| veil.iter().map(|left| *left < 0.9).collect::<Vec<bool>>();
    let (a, b) = (dark(&here), dark(&there));
    let count = spots(&a, 320);
    assert!((8..=12).contains(&count), "{count} spots");
    let both = a.iter().zip(&b).filter(|(a, b)| **a && **b).count();
    let either = a.iter().zip(&b).filter(|(a, b)| **a || **b).count();
    assert!(both * 10 > either * 7, "{both} of {either} dark pixels are in the same place after a turn");
    let darkest = here.iter().copied().fold(1.0, f64::min);
    assert!((0.68..0.84).contains(&darkest), "{darkest} of the light comes through in the middle");

    dirty.booth.clear_faults();
    assert!(dirty.look().await == clean.look().await, "wiped off");
}

#[tokio::test(start_paused = true)]
async fn dead_pixels_and_a_dead_column_stay_in_their_places() {
    let mut clean = quiet(&[], "").await;
    let mut dead = quiet(&[from(2, CameraFault::DeadPixels)], "").await;
    assert!(clean.look().await == dead.look().await, "not before their frame");
    let mut stuck = vec![true; 320 * 240];
    for deg in [0.0, 50.0, 100.0] {
        clean.turn_to(deg, Direction::Forward).await;
        dead.turn_to(deg, Direction::Forward).await;
        let (good, bad) = (clean.look().await, dead.look().await);
        let far = |k: usize| good.rgb[k * 3 + 1].abs_diff(bad.rgb[k * 3 + 1]) > 35;
        stuck.iter_mut().enumerate().for_each(|(k, stuck)| *stuck &= far(k));
    }
    let in_column = |x: usize| (0..240).filter(|y| stuck[y * 320 + x]).count();
    let column = (0..320).max_by_key(|x| in_column(*x)).unwrap();
    assert!(in_column(column) > 180, "{} rows of column {column}", in_column(column));
    let single = (0..320 * 240).filter(|k| stuck[*k] && (k % 320).abs_diff(column) > 2).count();
    assert!((20..=45).contains(&single), "{single} single pixels");
}

#[tokio::test(start_paused = true)]
async fn dirt_shows_in_the_preview_too() {
    let mut rig = quiet(&[from(1, CameraFault::Dirt)], "").await;
    let preview = async |rig: &mut Rig| rig.camera.preview().await.unwrap().unwrap().data;
    let before = Picture::of(coding::bytes(&preview(&mut rig).await));
    rig.shoot().await;
    assert!(Picture::of(coding::bytes(&preview(&mut rig).await)) != before);
}

#[tokio::test(start_paused = true)]
async fn faults_of_later_frames_change_no_byte_of_earlier_ones() {
    let later = [
        CameraFault::UnderExposed,
        CameraFault::Shaken,
        CameraFault::Noisy,
        CameraFault::Banding,
        CameraFault::Dimmed,
        CameraFault::ColourCast,
        CameraFault::SmallPicture,
        CameraFault::Dirt,
        CameraFault::DeadPixels,
    ];
    let mut faulty = with_faults(&later.map(|kind| from(2, kind))).await;
    let mut plain = plain().await;
    assert_eq!(faulty.shoot().await, plain.shoot().await);
    assert_ne!(faulty.shoot().await, plain.shoot().await);
}
