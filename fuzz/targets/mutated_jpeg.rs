//! A good JPEG of some kind that was damaged in some places, so that the decoder itself is reached.

#![no_main]

use turnstage_fuzz::damage;

libfuzzer_sys::fuzz_target!(|recipe: &[u8]| turnstage_fuzz::examine(&damage::follow(recipe)));
