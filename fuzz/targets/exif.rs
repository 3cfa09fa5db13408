//! Any TIFF block, within a JPEG that is good: what a camera writes about its picture.

#![no_main]

use turnstage_fuzz::picture;

libfuzzer_sys::fuzz_target!(|tiff: &[u8]| turnstage_fuzz::examine(&picture::with_exif(
    picture::small(),
    tiff
)));
