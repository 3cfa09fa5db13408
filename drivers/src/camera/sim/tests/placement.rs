//! Where things stand: what is on the platter, how large it is, where cameras aim.

use super::*;

const QUIET: &str = "size = [320, 240]\nnoise = 0.0\n";

async fn standing(options: BoothOptions, keys: &str) -> Rig {
    rig(options, "", &format!("{QUIET}{keys}")).await
}

/// Columns and rows where two pictures differ clearly: first and last of each.
fn change(a: &Picture, b: &Picture) -> (usize, usize, usize, usize) {
    let far = |k: &usize| (0..3).any(|lane| a.rgb[k * 3 + lane].abs_diff(b.rgb[k * 3 + lane]) > 40);
    let places: Vec<usize> = (0..a.rgb.len() / 3).filter(far).collect();
    let columns = || places.iter().map(|k| k % a.width);
    let rows = || places.iter().map(|k| k / a.width);
    (columns().min().unwrap(), columns().max().unwrap(), rows().min().unwrap(), rows().max().unwrap())
}

/// Where the object is seen against a clean plate.
async fn outline(object_scale: f64, keys: &str) -> (usize, usize, usize, usize) {
    let mut rig =
        standing(BoothOptions { object: Object::Toy, object_scale, ..BoothOptions::default() }, keys).await;
    let with = rig.look().await;
    rig.booth.put(Object::Empty);
    change(&with, &rig.look().await)
}

#[tokio::test(start_paused = true)]
async fn a_clean_plate_differs_from_the_picture_by_the_object_alone() {
    let mut rig = standing(BoothOptions { object: Object::Empty, ..BoothOptions::default() }, "").await;
    let plate = rig.look().await;
    rig.booth.put(Object::Toy);
    let toy = rig.look().await;
    let (left, right, top, bottom) = change(&plate, &toy);
    assert!(left > 60 && right < 260 && top > 5 && bottom < 220, "{left} to {right}, {top} to {bottom}");
    for corner in [0, 319, 239 * 320, 240 * 320 - 1] {
        assert_eq!(plate.rgb[corner * 3..][..3], toy.rgb[corner * 3..][..3]);
    }
    rig.booth.put(Object::Empty);
    assert!(rig.look().await == plate);
}

#[tokio::test(start_paused = true)]
async fn an_exposure_shows_what_stood_there_when_it_began() {
    let mut rig = standing(BoothOptions::default(), "").await;
    let vase = rig.look().await;
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    rig.booth.put(Object::Car);
    assert!(Picture::of(&jpeg_of(rig.camera.fetch(exposed).await.unwrap())) == vase);
    assert!(rig.look().await.difference(&vase) > 3.0);
}

#[tokio::test(start_paused = true)]
async fn kept_pictures_are_of_what_stands_there() {
    let mut rig = standing(BoothOptions::default(), "cache_frames = true").await;
    let vase = rig.look().await;
    rig.booth.put(Object::Toy);
    assert!(rig.look().await != vase);
    rig.booth.put(Object::Vase);
    assert!(rig.look().await == vase);
}

#[tokio::test(start_paused = true)]
async fn a_scaled_object_is_small_on_its_platter_or_touches_the_border() {
    let (left, right, top, bottom) = outline(1.0, "").await;
    let (l, r, t, b) = outline(0.25, "").await;
    let share = (r - l) as f64 / (right - left) as f64;
    assert!((0.18..0.35).contains(&share), "a quarter of the size is {share} of the width");
    assert!(b - t < (bottom - top) / 3 && l > left && r < right);
    let (_, _, top, _) = outline(2.0, "").await;
    assert_eq!(top, 0, "twice the size does not fit");
}

#[tokio::test(start_paused = true)]
async fn panning_and_tilting_move_the_object_the_other_way() {
    let (left, _, top, _) = outline(1.0, "").await;
    let (panned, ..) = outline(1.0, "pan_deg = 5.0").await;
    let (_, _, tilted, _) = outline(1.0, "tilt_deg = -2.0").await;
    // Half of 320 pixels is the tangent of half of 32 degrees.
    let px = |deg: f64| 160.0 / 16f64.to_radians().tan() * deg.to_radians().tan();
    let moved = left as f64 - panned as f64;
    assert!((moved - px(5.0)).abs() < 4.0, "to the left by {moved}, not {}", px(5.0));
    let moved = top as f64 - tilted as f64;
    assert!((moved - px(2.0)).abs() < 4.0 || tilted == 0, "up by {moved}, not {}", px(2.0));
}

#[test]
fn a_scale_out_of_range_is_named() {
    for object_scale in [0.0, 4.0, f64::NAN] {
        let error = Booth::new(BoothOptions { object_scale, ..BoothOptions::default() }).err().unwrap();
        assert!(error.contains("object_scale"), "{error}");
    }
}
