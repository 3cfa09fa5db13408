//! Any uncompressed frame, whatever it says about its format, size and rows.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turnstage_fuzz::develop(bytes));
