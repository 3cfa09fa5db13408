//! Lines of GPIO chips: what is asked of the kernel, what is heard, and what happens when a chip vanishes.

use turnstage_drivers::io::{IoError, OUTPUTS, Signal};
use turnstage_drivers::turntable::{self, Reference};
use turnstage_drivers::{Angle, Moved, Surroundings};
use turnstage_hw_tests::fake_contacts::{Asked, Chip, Wire};
use turnstage_hw_tests::fake_v4l2::on_cameras;

use super::{hears, input, is_lost, is_silent, options, output};

const LABEL: &str = "chip = \"pinctrl-fake\"";

#[test]
fn a_cut_wire_reads_as_pressed_and_a_press_that_is_short_is_told_whole() {
    let name = "lines::a_cut_wire_reads_as_pressed_and_a_press_that_is_short_is_told_whole";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let _other = Chip::plug(&folder, 0, "soc", "");
            let chip = Chip::plug(&folder, 4, "pinctrl-fake", "name 3 GPIO3\n");
            chip.wire(3, Wire::Low);
            let keys = format!("{LABEL}\nline = 3\nbias = \"pull-up\"\ndebounce_ms = 5");
            let mut stop = input(&Surroundings::default(), "gpio", &keys).await.unwrap();
            let flags = Asked::INPUT | Asked::EDGES | Asked::PULL_UP;
            assert_eq!(chip.asked(3), Some(Asked { flags, debounce_us: 5000 }));
            assert_eq!(hears(&mut stop, 1).await, [Signal::Released]);
            chip.wire(3, Wire::Open);
            assert_eq!(hears(&mut stop, 1).await, [Signal::Pressed], "cut");
            chip.wire(3, Wire::Low);
            chip.wire(3, Wire::High);
            chip.wire(3, Wire::Low);
            let short = [Signal::Released, Signal::Pressed, Signal::Released];
            assert_eq!(hears(&mut stop, 3).await, short, "over before anybody looked");
            is_silent(&mut stop).await;
            // An edge that the kernel's queue had no room for: the level itself is looked at.
            chip.quietly(3, Wire::Open);
            assert_eq!(hears(&mut stop, 1).await, [Signal::Pressed]);
            drop(stop);
            assert_eq!(chip.asked(3), None, "given back");
        },
    );
}

#[test]
fn a_line_by_its_name_that_is_active_low_is_pressed_while_it_is_low() {
    let name = "lines::a_line_by_its_name_that_is_active_low_is_pressed_while_it_is_low";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let chip = Chip::plug(&folder, 0, "pinctrl-fake", "name 2 GPIO2\nname 3 GPIO3\n");
            let keys = "line = \"GPIO3\"\nactive_low = true\nbias = \"pull-down\"\ndebounce_ms = 0";
            chip.wire(3, Wire::High);
            let mut door = input(&Surroundings::default(), "gpio", keys).await.unwrap();
            let flags = Asked::INPUT | Asked::EDGES | Asked::PULL_DOWN | Asked::ACTIVE_LOW;
            assert_eq!(chip.asked(3), Some(Asked { flags, debounce_us: 0 }));
            assert_eq!(hears(&mut door, 1).await, [Signal::Released]);
            chip.wire(3, Wire::Open);
            chip.wire(3, Wire::High);
            assert_eq!(hears(&mut door, 2).await, [Signal::Pressed, Signal::Released]);
            let unbiased = "line = \"GPIO2\"";
            let _pedal = input(&Surroundings::default(), "gpio", unbiased).await.unwrap();
            assert_eq!(chip.asked(2).unwrap().flags, Asked::INPUT | Asked::EDGES, "as the board set it up");
        },
    );
}

#[test]
fn a_lamp_is_driven_from_the_moment_that_it_is_opened_and_an_active_low_one_upside_down() {
    let name = "lines::a_lamp_is_driven_from_the_moment_that_it_is_opened_and_an_active_low_one_upside_down";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let chip = Chip::plug(&folder, 0, "pinctrl-fake", "");
            let mut lamp = output(&format!("{LABEL}\nline = 1")).await.unwrap();
            let mut relay = output(&format!("{LABEL}\nline = 2\nactive_low = true")).await.unwrap();
            assert_eq!((chip.is_high(1), chip.is_high(2)), (false, true), "both off");
            assert_eq!(chip.asked(1).unwrap().flags, Asked::OUTPUT);
            for (level, on) in [(1.0, true), (0.4, false), (0.5, true), (0.0, false)] {
                lamp.set(level).await.unwrap();
                relay.set(level).await.unwrap();
                assert_eq!((chip.is_high(1), chip.is_high(2)), (on, !on), "at {level}");
            }
        },
    );
}

#[test]
fn a_line_that_somebody_has_is_told_with_its_user_and_one_that_is_not_there_by_its_number() {
    let name =
        "lines::a_line_that_somebody_has_is_told_with_its_user_and_one_that_is_not_there_by_its_number";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let _chip = Chip::plug(&folder, 0, "pinctrl-fake", "used 4 spi0 CS1\n");
            let around = Surroundings::default();
            let line = |number: u32| format!("{LABEL}\nline = {number}");
            let told = input(&around, "gpio", &line(4)).await.err().unwrap().to_string();
            assert!(told.contains("pinctrl-fake line 4: it is used by spi0 CS1"), "{told}");
            let told = input(&around, "gpio", &line(8)).await.err().unwrap().to_string();
            assert!(told.contains("line 8") && told.contains("correct line"), "{told}");
            let told = input(&around, "gpio", "line = \"GPIO9\"").await.err().unwrap().to_string();
            assert!(told.contains("no such line on pinctrl-fake"), "{told}");
            let twice = Chip::plug(&folder, 1, "pinctrl-fake", "");
            let told = output(&line(5)).await.err().unwrap().to_string();
            assert!(told.contains("several chips have it"), "{told}");
            drop(twice);
            let mine = output(&line(5)).await.unwrap();
            let told = output(&line(5)).await.err().unwrap().to_string();
            assert!(told.contains("it is used by turnstage"), "{told}");
            drop(mine);
            output(&line(5)).await.unwrap();
        },
    );
}

#[test]
fn a_chip_that_vanishes_is_lost_to_all_its_lines_and_found_again_under_another_number() {
    let name = "lines::a_chip_that_vanishes_is_lost_to_all_its_lines_and_found_again_under_another_number";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let chip = Chip::plug(&folder, 2, "usb-gpio", "");
            let keys = |line: u32| format!("chip = \"usb-gpio\"\nline = {line}");
            let mut pedal = input(&Surroundings::default(), "gpio", &keys(0)).await.unwrap();
            let mut lamp = output(&keys(1)).await.unwrap();
            assert_eq!(hears(&mut pedal, 1).await, [Signal::Released]);
            lamp.set(1.0).await.unwrap();
            drop(chip);
            assert!(is_lost(pedal.next().await));
            assert!(matches!(lamp.set(1.0).await, Err(IoError::Lost { .. })));
            drop((pedal, lamp));
            let told = output(&keys(1)).await.err().unwrap().to_string();
            assert!(told.contains("no GPIO chip is called usb-gpio; there are: none"), "{told}");

            let chip = Chip::plug(&folder, 5, "usb-gpio", "");
            let mut pedal = input(&Surroundings::default(), "gpio", &keys(0)).await.unwrap();
            assert_eq!(hears(&mut pedal, 1).await, [Signal::Released]);
            chip.wire(0, Wire::High);
            assert_eq!(hears(&mut pedal, 1).await, [Signal::Pressed]);
            let driver = OUTPUTS.iter().find(|driver| driver.name == "gpio").unwrap();
            let listed = (driver.list)().await;
            assert_eq!((listed[0].id.as_str(), listed[0].label.as_str()), ("usb-gpio", "8 lines"));
        },
    );
}

#[test]
fn a_platform_behind_lines_is_switched_one_way_at_a_time_counted_by_its_index_and_lost_with_the_chip() {
    let name = "lines::a_platform_behind_lines_is_switched_one_way_at_a_time_counted_by_its_index_and_lost_with_the_chip";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let chip = Chip::plug(&folder, 0, "pinctrl-fake", "");
            chip.wire(3, Wire::Low);
            let keys = format!(
                "via = \"gpio\"\n{LABEL}\nactive_low = true\nforward = 1\nbackward = 2\ndeg_per_s = 45.0\nrest_ms = 100\n\
             index_line = 3\nindex_chip = \"pinctrl-fake\"\npulses = 12"
            );
            let options = options("relay", &keys);
            let mut table = turntable::open(&options, &Surroundings::default()).await.unwrap();
            let on = || (!chip.is_high(1), !chip.is_high(2));
            assert_eq!(on(), (false, false), "off when it is opened");
            table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
            // Both switch on low: forward and backward at once would short a contactor.
            let passes = async {
                let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
                while on() != (true, false) {
                    look.tick().await;
                }
                chip.wire(3, Wire::High);
                chip.wire(3, Wire::Low);
                std::future::pending::<()>().await;
            };
            let moved = tokio::select! {
                moved = table.move_by(30.0) => moved,
                () = passes => unreachable!(),
            };
            assert!(matches!(moved, Ok(Moved::Done(_))), "{moved:?}");
            assert_eq!(on(), (false, false));
            drop(chip);
            let lost = table.move_by(30.0).await;
            assert!(!matches!(lost, Ok(Moved::Done(_))), "{lost:?}");
        },
    );
}
