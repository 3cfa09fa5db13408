//! The fake cloud to play with: prints its URL and a device's token, then obeys `down`, `up`, `objects` and `requests`
//! from its input, and ends with it.

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;
use turnstage_tests::cloud::{Cloud, Options, TOKEN_LIFE, real_clock};

fn main() -> Result<()> {
    let runtime = Runtime::new()?;
    let cloud = runtime.block_on(Cloud::start(Options::default()));
    println!("url {}", cloud.url);
    println!("token {}", cloud.token("org-demo", &["site-demo"], real_clock()() / 1000, TOKEN_LIFE));
    for line in std::io::stdin().lines() {
        match line?.trim() {
            "down" => runtime.block_on(cloud.set_down(true)),
            "up" => runtime.block_on(cloud.set_down(false)),
            "objects" => cloud.objects().iter().for_each(|(key, hash)| println!("{hash} {key}")),
            "requests" => cloud.requests().iter().for_each(|asked| println!("{asked:?}")),
            "" => {}
            other => println!("\"{other}\" is none of down, up, objects, requests"),
        }
    }
    runtime.block_on(cloud.stop());
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}
