//! Keys are checked before anything is opened, and numbers become words.

use super::*;

fn checked(keys: &str) -> Result<(), String> {
    check(&toml::from_str(&format!("driver = \"grbl\"\nserial = \"/dev/table\"\n{keys}")).unwrap())
}

#[test]
fn a_wrong_key_is_told_with_its_value_and_what_would_be_right() {
    for (keys, told) in [
        ("axis = \"q\"", "axis = \"q\" is not one of x, y, z, a, b, c"),
        ("tolerance_deg = 9.0", "tolerance_deg = 9 is not in 0.001 to 5"),
        ("speed_deg_s = -1.0", "speed_deg_s = -1 is not in 0.01 to 3600"),
        ("limits_deg = [10.0, 20.0]", "limits_deg[0] = 10"),
        ("boot_ms = 60000", "boot_ms = 60000 is not in 0 to 30000"),
        ("tilt_deg = [0.0, 10.0]", "without tilt_axis"),
        ("tilt_axis = \"y\"", "without tilt_deg"),
        ("tilt_axis = \"x\"\ntilt_deg = [0.0, 10.0]", "is the axis that turns"),
        ("tilt_axis = \"y\"\ntilt_deg = [10.0, 0.0]", "tilt_deg[1] = 0"),
        ("speed = 3.0", "speed"),
    ] {
        let what = checked(keys).unwrap_err();
        assert!(what.contains(told), "{keys}: {what}");
    }
    checked("axis = \"A\"\ntilt_axis = \"b\"\ntilt_deg = [-10.0, 30.0]\nreverse = true\nhome = false")
        .unwrap();
    assert!(check(&DeviceOptions::new(NAME)).unwrap_err().contains("exactly one of serial"));
}

#[test]
fn whatever_adapter_it_hangs_on_it_is_listed_as_what_it_may_be() {
    let port = |usb: &str, product: &str| serial::Port {
        path: format!("/dev/serial/by-id/usb-{product}"),
        usb: usb.to_owned(),
        product: product.to_owned(),
        serial: None,
        problem: (usb == "0403:6001").then(|| "held by cheese (pid 7)".to_owned()),
    };
    let ports = vec![port("1a86:7523", "CH340"), port("0403:6001", "FT232R"), port("2341:0043", "Uno")];
    let found = list(ports);
    assert_eq!(found.len(), 3);
    for listing in &found {
        assert!(listing.guess && listing.label.contains("may be a GRBL controller"), "{listing:?}");
        assert_eq!(check(listing.options.as_ref().unwrap()), Ok(()));
    }
    assert!(found[1].problem.as_ref().unwrap().contains("cheese"));
}

#[test]
fn every_number_has_words_and_a_lock_says_what_to_do() {
    for code in 0..=u16::from(u8::MAX) {
        assert!(words::alarm(code).starts_with(&format!("ALARM:{code}: ")));
        assert!(words::alarm(code).contains("unlock it at the controller"));
        assert!(words::error(code).starts_with(&format!("error:{code}: ")));
    }
}

#[test]
fn a_motion_line_leaves_nothing_to_what_was_said_before() {
    let axis = Axis { index: 3, sign: -1.0, speed: 10.0, acceleration: 5.0, step_deg: 0.01 };
    assert_eq!(axis.line(12.3456, 10.0), "G21 G91 G94 G1 A-12.346 F600.0");
    // GRBL takes lines of 80 bytes, and two of ours fit into its inbox of 128.
    assert!(axis.line(-3600.0, 3600.0).len() + "G4 P0.01".len() < 80);
}
