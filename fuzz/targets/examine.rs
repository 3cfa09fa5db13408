//! Any bytes at all, as a camera, a card or an upload may bring them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turnstage_fuzz::examine(bytes));
