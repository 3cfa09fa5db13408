//! Keyboards that are grabbed: pedals with several keys, scanners, plugs that are pulled.

use turnstage_drivers::Surroundings;
use turnstage_drivers::io::{INPUTS, Signal};
use turnstage_hw_tests::fake_contacts::Keyboard;
use turnstage_hw_tests::fake_v4l2::on_cameras;

use super::{hears, input, is_lost, is_silent};

const A: u16 = 30;
const B: u16 = 48;
const ONE: u16 = 2;
const TWO: u16 = 3;
const ENTER: u16 = 28;
const SHIFT: u16 = 42;
const MUTE: u16 = 113;

fn keys(path: &str, key: &str) -> String {
    format!("device = {path:?}\nkeys = [\"{key}\"]")
}

#[test]
fn two_inputs_hear_their_keys_of_one_pedal_that_is_theirs_alone_until_it_is_unplugged() {
    let name =
        "keyboards::two_inputs_hear_their_keys_of_one_pedal_that_is_theirs_alone_until_it_is_unplugged";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let pedal = Keyboard::plug(&folder, 3, "Foot Pedal", "P1", &[A, B]);
            let (path, around) = (pedal.path(), Surroundings::default());
            pedal.key(B, true);
            let mut left = input(&around, "evdev", &keys(&path, "KEY_A")).await.unwrap();
            let mut right = input(&around, "evdev", &keys(&path, "KEY_B")).await.unwrap();
            assert_eq!(left.info().label, "Foot Pedal");
            assert_eq!(hears(&mut left, 1).await, [Signal::Released]);
            assert_eq!(hears(&mut right, 1).await, [Signal::Pressed], "it was down already");
            pedal.key(B, false);
            pedal.stroke(A);
            assert_eq!(hears(&mut left, 2).await, [Signal::Pressed, Signal::Released]);
            assert_eq!(hears(&mut right, 1).await, [Signal::Released]);
            is_silent(&mut right).await;

            // A station of another process has none of it while this one lives.
            let other = input(&Surroundings::default(), "evdev", &keys(&path, "KEY_A")).await.err().unwrap();
            assert!(other.to_string().contains("grabbed"), "{other}");

            // The last stroke before the plug is pulled counts no more than the pulling does.
            drop(pedal);
            assert!(is_lost(left.next().await) && is_lost(right.next().await));
            let gone = input(&around, "evdev", &keys(&path, "KEY_A")).await.err().unwrap();
            assert!(gone.to_string().contains("plug it in"), "{gone}");

            // It comes back under another number, and both open it anew although the lost one is still held.
            let pedal = Keyboard::plug(&folder, 7, "Foot Pedal", "P1", &[A, B]);
            let mut left = input(&around, "evdev", &keys(&path, "KEY_A")).await.unwrap();
            assert_eq!(hears(&mut left, 1).await, [Signal::Released]);
            pedal.key(A, true);
            assert_eq!(hears(&mut left, 1).await, [Signal::Pressed]);
            // Whoever lets it go leaves it to others.
            drop((left, right));
            input(&Surroundings::default(), "evdev", &keys(&path, "KEY_A")).await.unwrap();
        },
    );
}

#[test]
fn a_second_input_of_a_pedal_takes_no_press_away_from_the_first() {
    let name = "keyboards::a_second_input_of_a_pedal_takes_no_press_away_from_the_first";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let pedal = Keyboard::plug(&folder, 3, "Foot Pedal", "P1", &[A, B]);
            let (path, around) = (pedal.path(), Surroundings::default());
            let mut stop = input(&around, "evdev", &keys(&path, "KEY_A")).await.unwrap();
            assert_eq!(hears(&mut stop, 1).await, [Signal::Released]);
            pedal.key(A, true);
            // Whoever asks the kernel which keys are down takes the strokes that wait out of its queue.
            let mut start = input(&around, "evdev", &keys(&path, "KEY_B")).await.unwrap();
            assert_eq!(hears(&mut start, 1).await, [Signal::Released]);
            assert_eq!(hears(&mut stop, 1).await, [Signal::Pressed]);
        },
    );
}

#[test]
fn a_scanner_is_found_by_its_number_among_its_own_media_keys_and_types_whole_lines_only() {
    let name =
        "keyboards::a_scanner_is_found_by_its_number_among_its_own_media_keys_and_types_whole_lines_only";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let _media = Keyboard::plug(&folder, 1, "Scanner Media", "S9", &[MUTE]);
            let scanner = Keyboard::plug(&folder, 2, "Scanner", "S9", &[A, ONE, TWO, ENTER, SHIFT]);
            let around = Surroundings::default();
            let mut read = input(&around, "evdev", "serial = \"S9\"\nlines = true").await.unwrap();
            assert_eq!(read.info().label, "Scanner");
            scanner.key(SHIFT, true);
            scanner.stroke(A);
            scanner.key(SHIFT, false);
            [ONE, TWO, ENTER].iter().for_each(|key| scanner.stroke(*key));
            assert_eq!(hears(&mut read, 1).await, [Signal::Line("A12".to_owned())]);
            // Events were lost in the middle: half a number is another item.
            scanner.stroke(ONE);
            scanner.drop_events();
            [TWO, ENTER].iter().for_each(|key| scanner.stroke(*key));
            assert_eq!(hears(&mut read, 1).await, [Signal::Line("2".to_owned())]);
            // What no kernel sends ends nothing.
            scanner.garbage(&[0xff; 240]);
            [ONE, ENTER].iter().for_each(|key| scanner.stroke(*key));
            assert_eq!(hears(&mut read, 1).await, [Signal::Line("1".to_owned())]);
            let other = input(&around, "evdev", "serial = \"S8\"\nlines = true").await.err().unwrap();
            assert!(other.to_string().contains("no keyboard with this serial number"), "{other}");
        },
    );
}

#[test]
fn a_button_that_is_down_at_rest_is_pressed_when_keys_were_missed() {
    let name = "keyboards::a_button_that_is_down_at_rest_is_pressed_when_keys_were_missed";
    on_cameras(
        name,
        |_| {},
        async |folder| {
            let button = Keyboard::plug(&folder, 5, "Stop", "", &[A]);
            button.quietly(A, true);
            let more = format!("{}\nnormally_closed = true", keys(&button.path(), "KEY_A"));
            let mut stop = input(&Surroundings::default(), "evdev", &more).await.unwrap();
            assert_eq!(hears(&mut stop, 1).await, [Signal::Released]);
            button.quietly(A, false);
            button.drop_events();
            assert_eq!(
                hears(&mut stop, 1).await,
                [Signal::Pressed],
                "its wire was cut while events were lost"
            );
        },
    );
}

#[test]
fn keyboards_are_listed_by_the_names_that_stay() {
    on_cameras(
        "keyboards::keyboards_are_listed_by_the_names_that_stay",
        |_| {},
        async |folder| {
            let pedal = Keyboard::plug(&folder, 3, "Foot Pedal", "P1", &[A]);
            let driver = INPUTS.iter().find(|driver| driver.name == "evdev").unwrap();
            let found = (driver.list)().await;
            let told: Vec<_> = found.iter().map(|one| (one.id.as_str(), one.label.as_str())).collect();
            assert_eq!(told, [(pedal.path().as_str(), "Foot Pedal")]);
            let options = found[0].options.as_ref().unwrap();
            assert_eq!(options.keys["device"].as_str(), Some(pedal.path().as_str()));
            drop(pedal);
            assert_eq!((driver.list)().await, []);
        },
    );
}
