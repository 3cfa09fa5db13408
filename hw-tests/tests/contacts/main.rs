//! Pedals, scanners, contacts and lamps on devices of the kernel's kind that are not there: requests go through the
//! kernel's own structures, and every story runs in a process of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod keyboards;
mod lines;

use turnstage_drivers::io::{self, Input, IoError, OpenedInput, OpenedOutput, Signal};
use turnstage_drivers::{DeviceOptions, Surroundings};

fn options(driver: &str, keys: &str) -> DeviceOptions {
    toml::from_str(&format!("driver = \"{driver}\"\n{keys}")).unwrap()
}

async fn input(around: &Surroundings, driver: &str, keys: &str) -> OpenedInput {
    io::open_input("left", &options(driver, keys), around).await
}

async fn output(keys: &str) -> OpenedOutput {
    io::open_output("lamp", &options("gpio", keys), &Surroundings::default()).await
}

/// So many signals, one after the other.
async fn hears(input: &mut Box<dyn Input>, count: usize) -> Vec<Signal> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(input.next().await.unwrap());
    }
    heard
}

/// Nothing waits to be heard.
async fn is_silent(input: &mut Box<dyn Input>) {
    let heard = tokio::time::timeout(std::time::Duration::from_millis(250), input.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

fn is_lost(told: Result<Signal, IoError>) -> bool {
    matches!(told, Err(IoError::Lost { .. }))
}
