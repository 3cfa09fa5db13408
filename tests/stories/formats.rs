//! Cameras that do not give a whole JPEG of the usual kind: what is kept of each opens everywhere, and is judged alike.

use tempfile::TempDir;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_cloud_sync::backend::Payload;
use turnstage_tests::{Bench, quick_rig, write_recipe};

/// Keys of the simulated camera for each way to give a picture, and whether the camera's bytes are kept as they are.
const WAYS: [(&str, &str, bool); 8] = [
    ("usual", "", true),
    ("quarters", "subsampling = \"422\"", true),
    ("whole", "subsampling = \"444\"", true),
    ("grey", "subsampling = \"grey\"", true),
    ("progressive", "progressive = true", true),
    ("mjpeg", "format = \"mjpeg\"", false),
    ("yuyv", "format = \"yuyv\"", false),
    ("nv12", "format = \"nv12\"", false),
];

#[tokio::test(start_paused = true)]
async fn every_kind_of_picture_is_kept_as_a_file_that_opens_and_is_judged_like_the_usual_one() {
    let mut usual_blur = None;
    for (name, keys, untouched) in WAYS {
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "three", 3, "");
        let sized = quick_rig("").replace("size = [320, 240]", "size = [640, 480]");
        let bench = Bench::in_memory(&format!("{sized}\n{keys}\n"), data);
        let id = bench.start("three").await;
        let session = bench.settled(&id).await;
        assert_eq!((session.state, session.flagged.as_slice()), (SessionState::Review, &[][..]), "{name}");
        let records = bench.records(&id).await;
        assert_eq!(records.len(), 3, "{name}");
        for record in &records {
            let Ok(Payload::Ram(bytes)) = bench.running.spool.payload(record) else {
                panic!("{name}: in memory")
            };
            let whole = bytes.windows(2).any(|pair| pair == [0xff, 0xc4]);
            assert!(bytes.starts_with(&[0xff, 0xd8]) && whole, "{name}: a JPEG with its Huffman tables");
            assert_eq!(record.sha256 == record.facts.sha256_captured, untouched, "{name}");
            assert_eq!(
                turbojpeg::decompress(&bytes, turbojpeg::PixelFormat::RGB).expect(name).width % 64,
                0,
                "{name}"
            );
        }
        let blur = records[0].meta["qc"]["sharpness"]["blur_px"].as_f64().expect("blur is measured");
        let usual = *usual_blur.get_or_insert(blur);
        assert!((blur - usual).abs() < 0.15, "{name}: {blur} px, {usual} px as usual");
        bench.ask(Act::Abort).await.expect("the session ends");
        bench.end().await;
    }
}
