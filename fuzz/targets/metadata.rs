//! Any bytes, or a good JPEG with damage, to which metadata are written and from which they are taken away.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turnstage_fuzz::rewrite(bytes));
