//! The page for contributors is followed to the letter: its profile and its transcript are played.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use turnstage_drivers::DeviceOptions;
use turnstage_drivers::link::script::Mismatch;
use turnstage_drivers::turntable::profile::model::Model;
use turnstage_drivers::turntable::profile::speak_as;
use turnstage_drivers::turntable::transcript::play_with;

/// The block of this language in the walk-through.
fn block(language: &str) -> &'static str {
    let page = include_str!("../../CONTRIBUTING.md");
    let (_, walk) = page.split_once("## Adding a new ASCII turntable").unwrap();
    let (_, begun) = walk.split_once(&format!("```{language}\n")).unwrap();
    begun.split_once("```").unwrap().0
}

async fn play(profile: &str, transcript: &str) -> Result<(), Mismatch> {
    let model = Model::read(profile).unwrap();
    let options = DeviceOptions::new("profile");
    play_with(transcript, &options, |options, link| Box::pin(speak_as(model.clone(), options, link))).await
}

#[tokio::test(start_paused = true)]
async fn the_walk_through_for_a_new_turntable_works_as_it_stands() {
    play(block("toml"), block("transcript")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_either_half_is_found_with_its_line() {
    let wrong = block("toml").replace("T{dir:+|-}", "T{dir:|-}");
    let told = play(&wrong, block("transcript")).await.unwrap_err().to_string();
    // The very words of the page.
    let page = include_str!("../../CONTRIBUTING.md");
    assert!(page.contains(&format!("lazy-susan/ordinary.txt: {told}")), "{told}");
    let wrong = block("transcript").replacen("= Done 30", "= Done 31", 1);
    let told = play(block("toml"), &wrong).await.unwrap_err().to_string();
    assert!(told.contains("Done(31.0)") && told.contains("Angle(30.0)"), "{told}");
}
