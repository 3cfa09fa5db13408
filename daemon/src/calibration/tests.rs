use super::*;

fn range(least: f64, median: f64, largest: f64) -> Option<Range> {
    Some(Range { least, median, p98: largest, largest })
}

fn spread() -> Spread {
    Spread {
        frames: 36,
        blur_px: range(0.3, 0.4, 0.45),
        mean: range(100.0, 110.0, 120.0),
        clipped_high: range(0.0, 0.01, 0.02),
        clipped_low: range(0.0, 0.0, 0.0),
        noise_levels: range(0.8, 1.0, 1.2),
    }
}

#[test]
fn limits_are_the_spread_of_a_good_turn_with_a_margin() {
    assert_eq!(
        CameraLimits::of(&spread()),
        CameraLimits {
            blur_px_max: Some(0.7),
            noise_levels_max: Some(2.2),
            mean_min: Some(85.0),
            mean_max: Some(138.0),
            clipped_high_max: Some(0.04),
            clipped_low_max: Some(0.01),
        }
    );
}

#[test]
fn margins_have_a_least_width_and_never_leave_what_is_possible() {
    let even = Spread {
        blur_px: range(0.1, 0.1, 0.1),
        mean: range(5.0, 5.0, 5.0),
        clipped_high: range(0.9, 0.9, 0.9),
        ..spread()
    };
    let limits = CameraLimits::of(&even);
    assert_eq!((limits.blur_px_max, limits.mean_min, limits.mean_max), (Some(0.5), Some(0.0), Some(15.0)));
    assert_eq!(limits.clipped_high_max, Some(1.0));
    let soft = Spread {
        blur_px: range(2.0, 2.2, 2.5),
        mean: range(240.0, 250.0, 254.0),
        noise_levels: range(9.0, 10.0, 12.0),
        ..spread()
    };
    let limits = CameraLimits::of(&soft);
    assert_eq!((limits.blur_px_max, limits.mean_max), (Some(2.5), Some(255.0)));
    assert_eq!(limits.noise_levels_max, Some(19.2));
    for spread in [even, soft] {
        assert_eq!(CameraLimits::of(&spread).over(&Limits::default()).check(), [""; 0]);
    }
}

#[test]
fn what_was_not_measured_stays_as_the_recipe_says() {
    let nothing = Spread { blur_px: None, noise_levels: None, ..spread() };
    let recipe = Limits { blur_px_max: 1.7, subject_part_min: 0.4, ..Limits::default() };
    let limits = CameraLimits::of(&nothing).over(&recipe);
    assert_eq!((limits.blur_px_max, limits.noise_levels_max), (1.7, recipe.noise_levels_max));
    assert_eq!((limits.mean_max, limits.subject_part_min), (138.0, 0.4));
}

#[test]
fn a_range_has_the_middle_one_and_98_of_100() {
    let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
    let range = Range::of(values).unwrap();
    assert_eq!((range.least, range.median, range.p98, range.largest), (1.0, 50.0, 98.0, 100.0));
    assert_eq!(Range::of(vec![3.0]).unwrap().p98, 3.0);
    assert_eq!(Range::of(Vec::new()), None);
}
