//! Keys of pedals and scanners, as the system tells them.

use std::time::Duration;

use super::*;

fn options(more: &str) -> DeviceOptions {
    toml::from_str(&format!("driver = \"evdev\"\n{more}")).unwrap()
}

fn told(more: &str) -> String {
    (INPUT.check)(&options(more)).unwrap_err()
}

const SCANNER: &str = "device = \"/dev/input/by-id/usb-scanner-event-kbd\"\nlines = true\n";

/// Types keys into a decoder at a pace; what it told.
struct Typist {
    decoder: Decoder,
    now: Instant,
    told: Vec<Signal>,
}

impl Typist {
    fn new(more: &str) -> Self {
        let keys: Keys = options(more).read().unwrap();
        keys.check().unwrap();
        Self { decoder: keys.decoder().unwrap(), now: Instant::now(), told: Vec::new() }
    }

    fn hear(&mut self, heard: Heard) {
        self.told.extend(self.decoder.hear(&heard, self.now));
    }

    fn key(&mut self, key: KeyCode, down: bool) {
        self.hear(Heard::Key { code: key.code(), down });
    }

    fn stroke(&mut self, key: KeyCode) {
        self.now += Duration::from_millis(2);
        self.key(key, true);
        self.key(key, false);
    }

    fn strokes(&mut self, keys: &[KeyCode]) {
        keys.iter().for_each(|key| self.stroke(*key));
    }
}

#[test]
fn keys_that_cannot_be_are_told_with_key_and_value() {
    assert!(told("").contains("give either device"));
    assert!(told("device = \"/dev/input/event3\"").contains("/dev/input/by-id"));
    assert!(told("device = \"pedal\"").contains("must be a path"));
    assert!(told("serial = \"1\"\nkeys = [\"B\"]").contains("there is no key \"B\"; names are like KEY_B"));
    assert!(told("serial = \"1\"\nlength_max = 0").contains("length_max = 0 is not in 1 to 4096"));
    assert!(told("serial = \"1\"\ngap_ms = 1").contains("gap_ms = 1 is not in 10 to 60000"));
    assert!(told("serial = \"1\"\nlines = true\nkeys = [\"KEY_B\"]").contains("belong to a contact"));
    assert!(told("serial = \"1\"\nnormally_closed = true").contains("needs keys"));
    assert!(told("serial = \"1\"\nindex = 3").contains("index"));
}

#[test]
fn only_a_contact_that_is_closed_at_rest_is_fail_safe() {
    let wiring = |more: &str| (INPUT.check)(&options(more)).unwrap();
    assert!(!wiring("serial = \"1\"").fail_safe);
    assert!(wiring("serial = \"1\"\nkeys = [\"KEY_B\"]\nnormally_closed = true").fail_safe);
    assert_eq!(wiring(SCANNER).gives, Gives::Lines);
}

#[test]
fn a_pedal_is_down_while_one_of_its_keys_is() {
    let mut pedal = Typist::new("serial = \"1\"\nkeys = [\"KEY_A\", \"KEY_B\"]");
    assert_eq!(pedal.decoder.level(), Some(Signal::Released));
    pedal.stroke(KeyCode::KEY_C);
    assert_eq!(pedal.told, [], "another key of the same pedal");
    pedal.key(KeyCode::KEY_A, true);
    pedal.key(KeyCode::KEY_B, true);
    pedal.key(KeyCode::KEY_A, false);
    assert_eq!(pedal.told, [Signal::Pressed]);
    pedal.key(KeyCode::KEY_B, false);
    assert_eq!(pedal.told, [Signal::Pressed, Signal::Released]);
    // Events were lost: the state of the keys says it all.
    pedal.hear(Heard::Held([KeyCode::KEY_A.code(), KeyCode::KEY_Z.code()].into()));
    assert_eq!(pedal.told.last(), Some(&Signal::Pressed));
}

#[test]
fn a_button_that_is_closed_at_rest_is_pressed_when_its_key_goes_up() {
    let mut button = Typist::new("serial = \"1\"\nkeys = [\"KEY_B\"]\nnormally_closed = true");
    button.hear(Heard::Held(BTreeSet::new()));
    assert_eq!(button.told, [Signal::Pressed], "a broken wire");
    button.key(KeyCode::KEY_B, true);
    button.key(KeyCode::KEY_B, false);
    assert_eq!(button.told, [Signal::Pressed, Signal::Released, Signal::Pressed]);
}

#[test]
fn a_scanner_types_a_vehicle_number_with_shift_and_enter() {
    use KeyCode as K;
    let mut scanner = Typist::new(SCANNER);
    for key in [K::KEY_W, K::KEY_V, K::KEY_W, K::KEY_Z, K::KEY_Z, K::KEY_Z] {
        scanner.key(K::KEY_LEFTSHIFT, true);
        scanner.stroke(key);
        scanner.key(K::KEY_LEFTSHIFT, false);
    }
    scanner.strokes(&[K::KEY_1, K::KEY_KP2, K::KEY_MINUS, K::KEY_X]);
    assert_eq!(scanner.told, []);
    scanner.stroke(K::KEY_ENTER);
    assert_eq!(scanner.told, [Signal::Line("WVWZZZ12-x".to_owned())]);
    scanner.stroke(K::KEY_ENTER);
    assert_eq!(scanner.told.len(), 1, "an empty line is no item");
}

#[test]
fn half_a_line_and_one_that_is_too_long_are_dropped_whole() {
    use KeyCode as K;
    let mut scanner = Typist::new(&format!("{SCANNER}length_max = 3\ngap_ms = 500"));
    scanner.strokes(&[K::KEY_1, K::KEY_2]);
    scanner.now += Duration::from_millis(501);
    scanner.strokes(&[K::KEY_3, K::KEY_4, K::KEY_ENTER]);
    assert_eq!(scanner.told, [Signal::Line("34".to_owned())]);
    scanner.strokes(&[K::KEY_1, K::KEY_2, K::KEY_3, K::KEY_4, K::KEY_ENTER]);
    assert_eq!(scanner.told.len(), 1, "a part of a number is another item");
    scanner.strokes(&[K::KEY_1, K::KEY_2]);
    scanner.hear(Heard::Held(BTreeSet::new()));
    scanner.strokes(&[K::KEY_3, K::KEY_ENTER]);
    assert_eq!(scanner.told.last(), Some(&Signal::Line("3".to_owned())), "keys were missed in between");
    // Control characters of GS1 codes are typed as Ctrl and a key.
    scanner.key(K::KEY_LEFTCTRL, true);
    scanner.stroke(K::KEY_RIGHTBRACE);
    scanner.key(K::KEY_LEFTCTRL, false);
    scanner.strokes(&[K::KEY_7, K::KEY_ENTER]);
    assert_eq!(scanner.told.last(), Some(&Signal::Line("7".to_owned())));
}

proptest::proptest! {
    #[test]
    fn no_sequence_of_keys_breaks_a_decoder(keys in proptest::collection::vec((0u16..800, 0u8..3), 0..200)) {
        let contact = "serial = \"1\"\nkeys = [\"KEY_B\"]\nnormally_closed = true";
        for more in [SCANNER, "serial = \"1\"", contact] {
            let mut typist = Typist::new(more);
            for (code, what) in &keys {
                typist.now += Duration::from_millis(u64::from(*code));
                typist.hear(match what {
                    2 => Heard::Held([*code].into()),
                    down => Heard::Key { code: *code, down: *down == 1 },
                });
            }
            let is_line = |signal: &Signal| matches!(signal, Signal::Line(line) if line.chars().count() <= 128);
            assert!(more != SCANNER || typist.told.iter().all(is_line), "{:?}", typist.told);
        }
    }
}

#[tokio::test]
async fn a_device_that_is_not_there_says_where_to_look() {
    let around = Surroundings::default();
    let open = |more: &'static str| {
        let around = around.clone();
        async move { open("pedal", &options(more), &around).await.err().unwrap().to_string() }
    };
    let error = open("device = \"/dev/input/by-id/usb-none-event-kbd\"").await;
    assert!(error.contains("usb-none") && error.contains("ls -l /dev/input/by-id"), "{error}");
    let error = open("serial = \"no such number\"").await;
    assert!(error.contains("no keyboard with this serial number"), "{error}");
}
