//! What the pictures show: the true angle, its errors, its motion, and the camera's settings.

use super::*;

const QUIET: &str = "size = [288, 216]\nnoise = 0.0\n";

/// Everything that can stand there.
const OBJECTS: [Object; 8] = [
    Object::Vase,
    Object::Car,
    Object::Chrome,
    Object::Toy,
    Object::Carton,
    Object::Plush,
    Object::Shoe,
    Object::Bottle,
];

async fn quiet(table: &str) -> Rig {
    rig(BoothOptions::default(), table, QUIET).await
}

/// Two frames at one angle differ by their noise; anything that is to be seen must exceed it clearly.
async fn noise_of(rig: &mut Rig) -> f64 {
    rig.look().await.difference(&rig.look().await)
}

#[tokio::test(start_paused = true)]
async fn every_object_looks_different_from_every_side() {
    for object in OBJECTS {
        let mut rig = rig(BoothOptions { object, ..BoothOptions::default() }, "", SMALL).await;
        let noise = noise_of(&mut rig).await;
        // Of a bottle little more than its label turns, and the platter.
        let clear = if object == Object::Bottle { noise } else { 2.0 * noise };
        let mut turn = Vec::new();
        for k in 0..36 {
            rig.turn_to(f64::from(k) * 10.0, Direction::Forward).await;
            turn.push(rig.look().await);
        }
        for k in 0..36 {
            let nearest = (0..36).filter(|other| *other != k).map(|other| turn[k].difference(&turn[other]));
            let nearest = nearest.fold(f64::INFINITY, f64::min);
            assert!(nearest > clear + 0.5, "{object:?} at {} looks like another side: {nearest}", k * 10);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_object_stands_clear_of_the_border_and_is_exposed_well() {
    for object in OBJECTS {
        let empty = BoothOptions { object: Object::Empty, ..BoothOptions::default() };
        let mut rig = rig(empty, "", QUIET).await;
        for deg in [0.0, 60.0, 120.0, 180.0, 240.0, 300.0] {
            rig.turn_to(deg, Direction::Forward).await;
            rig.booth.put(Object::Empty);
            let plate = rig.look().await;
            rig.booth.put(object);
            let seen = rig.look().await;
            let (width, height) = (seen.width, seen.rgb.len() / 3 / seen.width);
            let far = |k: &usize| (0..3).any(|c| seen.rgb[k * 3 + c].abs_diff(plate.rgb[k * 3 + c]) > 40);
            let places: Vec<usize> = (0..width * height).filter(far).collect();
            let border =
                |k: &usize| (k % width).min(width - 1 - k % width).min(k / width).min(height - 1 - k / width);
            let nearest = places.iter().map(border).min().unwrap();
            assert!(nearest >= 6, "{object:?} at {deg} comes as near to the border as {nearest} pixels");
            let share = places.len() as f64 / (width * height) as f64;
            assert!((0.04..0.3).contains(&share), "{object:?} at {deg} covers {share} of the picture");
            assert!(seen.clipped() < 0.03, "{object:?} at {deg} is clipped over {}", seen.clipped());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_mirror_image_of_the_lamps_stays_put_while_a_bottle_turns() {
    // Parts of the bottle alone: the glass between label and cap, and the label.
    let part = |picture: &Picture, from: usize, rows: usize| {
        let rows = picture.rgb.chunks_exact(picture.width * 3).skip(from).take(rows);
        Picture { width: 20, rgb: rows.flat_map(|row| row[134 * 3..][..20 * 3].to_vec()).collect() }
    };
    let bottle = BoothOptions { object: Object::Bottle, ..BoothOptions::default() };
    let mut rig = rig(bottle, "", QUIET).await;
    let first = rig.look().await;
    let (glass, label) = (part(&first, 60, 15), part(&first, 100, 30));
    let (darkest, brightest) = (glass.rgb.iter().min().unwrap(), glass.rgb.iter().max().unwrap());
    assert!(*darkest < 60 && *brightest > 130, "lamps on dark glass give {darkest} to {brightest}");
    for deg in [130.0, 180.0, 230.0] {
        rig.turn_to(deg, Direction::Forward).await;
        let turned = rig.look().await;
        let change = glass.difference(&part(&turned, 60, 15));
        assert!(change < 6.0, "at {deg} the glass looks different by {change}");
        let change = label.difference(&part(&turned, 100, 30));
        assert!(change > 60.0, "at {deg} the label looks different by {change} only");
    }
}

#[tokio::test(start_paused = true)]
async fn leather_is_darker_than_its_sole_and_of_little_contrast() {
    let shoe = BoothOptions { object: Object::Shoe, ..BoothOptions::default() };
    let mut rig = rig(shoe, "", "size = [576, 432]\nnoise = 0.0\n").await;
    // Its outer side, seen at right angles.
    rig.turn_to(270.0, Direction::Forward).await;
    let picture = rig.look().await;
    let patch = |x: usize, y: usize| {
        let rows = picture.rgb.chunks_exact(picture.width * 3).skip(y).take(24);
        rows.flat_map(|row| row[x * 3..][..40 * 3].iter().skip(1).step_by(3).map(|v| f64::from(*v)))
            .collect::<Vec<f64>>()
    };
    let mean = |levels: &[f64]| levels.iter().sum::<f64>() / levels.len() as f64;
    let leather = patch(280, 190);
    let scatter = leather.iter().map(|v| (v - mean(&leather)).powi(2)).sum::<f64>() / leather.len() as f64;
    assert!((15.0..70.0).contains(&mean(&leather)), "leather has a mean of {}", mean(&leather));
    assert!(scatter.sqrt() < 12.0, "leather scatters by {} levels", scatter.sqrt());
    let sole = patch(280, 265);
    assert!(mean(&sole) > 2.0 * mean(&leather), "the sole has {}", mean(&sole));
}

/// The middle of a picture: a twelfth of its width and height each way.
fn middle(picture: &Picture) -> Picture {
    let (width, height) = (picture.width, picture.rgb.len() / 3 / picture.width);
    let (from, columns) = (width * 5 / 12 * 3, width / 6);
    let rows = picture.rgb.chunks_exact(width * 3).skip(height * 5 / 12).take(height / 6);
    Picture { width: columns, rgb: rows.flat_map(|row| row[from..][..columns * 3].to_vec()).collect() }
}

#[tokio::test(start_paused = true)]
async fn fur_has_detail_as_fine_as_the_picture_and_of_little_contrast() {
    let look = async |object, size: &str, defocus: f64| {
        let keys = format!("size = {size}\nnoise = 0.0\ndefocus_px = {defocus}");
        middle(&rig(BoothOptions { object, ..BoothOptions::default() }, "", &keys).await.look().await)
    };
    for size in ["[320, 240]", "[960, 720]"] {
        let (fur, soft) = (look(Object::Plush, size, 0.0).await, look(Object::Plush, size, 1.0).await);
        let print = look(Object::Carton, size, 0.0).await.sharpness();
        let (sharp, soft) = (fur.sharpness(), soft.sharpness());
        assert!(soft < 0.3 * sharp, "{size}: out of focus by a pixel it has {soft} instead of {sharp}");
        assert!(sharp < 0.2 * print, "{size}: fur has {sharp}, print {print}");
        let mean = fur.mean()[1];
        let square = fur.rgb.iter().skip(1).step_by(3).map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
        let contrast = (square * 3.0 / fur.rgb.len() as f64).sqrt();
        assert!((2.0..14.0).contains(&contrast), "{size}: fur scatters by {contrast} levels");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let shots = |seed| async move {
        let mut rig = rig(BoothOptions { seed, ..BoothOptions::default() }, "", SMALL).await;
        let first = rig.shoot().await;
        rig.turn_to(20.0, Direction::Forward).await;
        [first, rig.shoot().await]
    };
    let (one, again, other) = (shots(1).await, shots(1).await, shots(2).await);
    assert_eq!(one, again);
    assert_ne!(one[0], other[0]);
    assert_ne!(one[1], other[1]);
}

#[tokio::test(start_paused = true)]
async fn no_two_exposures_give_the_same_file() {
    let mut rig = quiet("").await;
    let (first, second) = (rig.shoot().await, rig.shoot().await);
    assert_ne!(first, second);
    assert!(Picture::of(&first) == Picture::of(&second), "without noise the pixels are the same");
}

#[tokio::test(start_paused = true)]
async fn lost_steps_show_where_the_table_says_otherwise() {
    let mut honest = quiet("").await;
    honest.turn_to(33.0, Direction::Forward).await;
    let at_33 = honest.look().await;
    honest.turn_to(40.0, Direction::Forward).await;
    let at_40 = honest.look().await;

    let mut slipped = quiet("").await;
    slipped.booth.inject(Fault::LostSteps { nth_move: 1, deg: 7.0 });
    slipped.turn_to(40.0, Direction::Forward).await;
    let seen = slipped.look().await;
    assert!(seen.difference(&at_33) < 0.01, "it stands at 33 degrees: {}", seen.difference(&at_33));
    assert!(seen.difference(&at_40) > 2.0, "and not at 40: {}", seen.difference(&at_40));
}

#[tokio::test(start_paused = true)]
async fn backlash_shows_unless_every_angle_is_approached_from_the_same_side() {
    let mut rig =
        quiet("start_deg = 0.0\nbacklash_deg = 1.0\nvibration_deg = 0.0\neccentricity_deg = 0.0").await;
    rig.turn_to(50.0, Direction::Forward).await;
    let first = rig.look().await;
    rig.turn_to(80.0, Direction::Forward).await;
    rig.turn_to(50.0, Direction::Backward).await;
    let from_behind = rig.look().await;
    rig.turn_to(40.0, Direction::Backward).await;
    rig.turn_to(50.0, Direction::Forward).await;
    let again = rig.look().await;
    assert!(first.difference(&again) < 0.01, "the same side: {}", first.difference(&again));
    assert!(first.difference(&from_behind) > 0.5, "the other side: {}", first.difference(&from_behind));
}

#[tokio::test(start_paused = true)]
async fn an_angle_error_of_a_tenth_of_a_degree_shows() {
    let mut rig = rig(BoothOptions::default(), "", "noise = 0.0").await;
    let first = rig.look().await;
    rig.booth.push(0.1);
    let off = first.difference(&rig.look().await);
    assert!(off > 0.1, "a tenth of a degree changes {off} levels");
}

#[tokio::test(start_paused = true)]
async fn a_picture_taken_before_the_table_has_settled_is_blurred() {
    let ringing = "start_deg = 0.0\nvibration_deg = 1.0\nvibration_decay_ms = 80.0";
    let keys = "noise = 0.0\nlatency_ms = 0.0";
    let mut rig = rig(BoothOptions::default(), ringing, keys).await;
    let slow = Settings { exposure_us: Some(60_000.0), gain: Some(0.25), ..Settings::default() };
    rig.camera.apply(&slow).await.unwrap();
    rig.turn_to(30.0, Direction::Forward).await;
    let at_once = rig.look().await.sharpness();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let settled = rig.look().await.sharpness();
    assert!(at_once < 0.8 * settled, "at once {at_once}, settled {settled}");
}

#[tokio::test(start_paused = true)]
async fn a_turning_table_smears_the_picture_along_its_motion() {
    let mut rig = quiet("").await;
    let still = rig.look().await;
    rig.table.rotate(30.0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let slow = Settings { exposure_us: Some(160_000.0), gain: Some(0.25), ..Settings::default() };
    rig.camera.apply(&slow).await.unwrap();
    let moving = rig.look().await;
    // 4.8 degrees within the exposure.
    assert!(moving.sharpness() < 0.4 * still.sharpness(), "{} of {}", moving.sharpness(), still.sharpness());
}

#[tokio::test(start_paused = true)]
async fn the_picture_is_of_the_exposure_not_of_the_transfer() {
    let mut rig = quiet("").await;
    let here = rig.look().await;
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    rig.turn_to(90.0, Direction::Forward).await;
    let late = Picture::of(&jpeg_of(rig.camera.fetch(exposed).await.unwrap()));
    assert!(late == here);
}

#[tokio::test(start_paused = true)]
async fn exposure_and_gain_trade_off_and_gain_costs_noise() {
    let mut rig = plain().await;
    let noise = noise_of(&mut rig).await;
    let nominal = rig.look().await.mean()[1];
    let set = |exposure_us, gain| Settings {
        exposure_us: Some(exposure_us),
        gain: Some(gain),
        ..Settings::default()
    };
    rig.camera.apply(&set(2000.0, 4.0)).await.unwrap();
    let traded = rig.look().await.mean()[1];
    let grain = noise_of(&mut rig).await;
    assert!((traded - nominal).abs() < 1.0, "{nominal} became {traded}");
    assert!(grain > 1.5 * noise, "noise {noise} became {grain}");
    rig.camera.apply(&set(4000.0, 1.0)).await.unwrap();
    assert!(rig.look().await.mean()[1] < nominal - 30.0);
    rig.camera.apply(&set(32_000.0, 1.0)).await.unwrap();
    assert!(rig.look().await.clipped() > 0.3);
}

#[tokio::test(start_paused = true)]
async fn white_balance_warms_and_cools() {
    let mut rig = plain().await;
    let mut warmth = async |kelvin| {
        rig.camera.apply(&Settings { wb_kelvin: Some(kelvin), ..Settings::default() }).await.unwrap();
        let [red, _, blue] = rig.look().await.mean();
        red - blue
    };
    let (cold, neutral, warm) = (warmth(3200.0).await, warmth(5000.0).await, warmth(7500.0).await);
    assert!(neutral.abs() < 15.0, "the booth is neutral at 5000 K: {neutral}");
    assert!(cold < neutral - 20.0 && warm > neutral + 20.0, "{cold} {neutral} {warm}");
}

#[tokio::test(start_paused = true)]
async fn a_lens_out_of_focus_is_softer_the_further_it_is_off() {
    let mut sharpness = Vec::new();
    for defocus in ["0.0", "0.6", "1.5", "4.0"] {
        let keys = format!("{QUIET}defocus_px = {defocus}");
        sharpness.push(rig(BoothOptions::default(), "", &keys).await.look().await.sharpness());
    }
    assert!(sharpness.windows(2).all(|w| w[1] < 0.8 * w[0]), "{sharpness:?}");
}

#[tokio::test(start_paused = true)]
async fn cameras_round_the_table_see_different_sides() {
    let mut front = quiet("").await;
    let mut side =
        rig(BoothOptions::default(), "", &format!("{QUIET}azimuth_deg = 90.0\nelevation_deg = 40.0")).await;
    assert!(front.look().await.difference(&side.look().await) > 5.0);
}

#[tokio::test(start_paused = true)]
async fn kept_pictures_are_rendered_once_and_still_are_files_of_their_own() {
    let mut rig = rig(BoothOptions::default(), "", &format!("{SMALL}cache_frames = true")).await;
    let first = rig.shoot().await;
    rig.turn_to(90.0, Direction::Forward).await;
    let other = rig.shoot().await;
    rig.turn_to(0.0, Direction::Forward).await;
    let again = rig.shoot().await;
    assert!(Picture::of(&first) == Picture::of(&again), "noise and all");
    assert!(Picture::of(&first) != Picture::of(&other));
    assert_ne!(first, again, "the frame's number is in the file");
}
