//! Photographs of another camera, imported by the real binary and delivered to the cloud byte for byte.

use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::TempDir;
use turnstage_cloud_sync::Sha256;
use turnstage_tests::cloud::{Cloud, Mode, Options};
use turnstage_tests::delivering::{ORG, SITE, good_token, put_token};
use turnstage_tests::{photos, pictures, turnstage};

#[tokio::test(flavor = "multi_thread")]
async fn thirteen_real_photographs_are_imported_and_lie_in_the_cloud_unchanged() {
    let Some(photos) = photos("thirteen_real_photographs_are_imported_and_lie_in_the_cloud_unchanged") else {
        return;
    };
    let folder = photos.join("buddha");
    let cloud = Cloud::start(Options::default()).await;
    let data = TempDir::new().expect("a folder");
    put_token(data.path(), &good_token(&cloud, ORG));
    let config = data.path().join("station.toml");
    let text = format!(
        "[station]\norg = \"{ORG}\"\nsite = \"{SITE}\"\n\
         [destinations.cloud]\nbackend = \"imaging360\"\nurl = \"{}\"\ntoken_file = \"token\"\n\
         metadata = \"keep\"\n",
        cloud.url
    );
    std::fs::write(&config, text).expect("a configuration");
    let shown = |path: &std::path::Path| path.display().to_string();
    let (from, config, dir) = (shown(&folder), shown(&config), shown(data.path()));
    let ran = tokio::task::spawn_blocking(move || {
        turnstage(&["import", &from, "--config", &config, "--data-dir", &dir, "--json"])
    });
    let ran = ran.await.expect("it runs");
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary: Value = serde_json::from_str(ran.out.lines().last().expect("a summary")).expect("JSON");
    assert_eq!(summary["delivery"]["confirmed"], 13, "{summary}");

    let originals: BTreeSet<Sha256> = pictures(&folder).into_values().collect();
    let stored = cloud.objects();
    assert_eq!((originals.len(), stored.len()), (13, 13));
    assert_eq!(stored.values().copied().collect::<BTreeSet<_>>(), originals);
    let sessions = cloud.sessions();
    assert_eq!(
        (sessions.len(), sessions[0].asked.mode, sessions[0].asked.item.as_str()),
        (1, Mode::Stills, "buddha")
    );
    cloud.stop().await;
}
