//! A network that comes up is noticed at once: in a network namespace of its own, with the kernel's own messages.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use turnstage::clock::SystemClock;
use turnstage::network;
use turnstage_cloud_sync::backend::{Backend, Delivery, PutError, Receipt, Unit, Wants};
use turnstage_cloud_sync::queue::Proof;
use turnstage_cloud_sync::uploader::{Uploader, UploaderOptions};
use turnstage_cloud_sync::{Spool, spool::SpoolError};
use turnstage_tests::{PATIENCE, skip};

/// Set in the copy of this test that runs inside the namespace.
const INSIDE: &str = "TURNSTAGE_TEST_NETWORK_NAMESPACE";
const NAME: &str = "a_network_that_comes_up_wakes_the_uploader";

/// Counts how often it was told that the network is back.
struct Counting {
    wants: Wants,
    returns: watch::Sender<u32>,
}

#[async_trait::async_trait]
impl Backend for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn wants(&self) -> &Wants {
        &self.wants
    }

    async fn deliver(&self, _: &Delivery) -> Result<Vec<Receipt>, PutError> {
        Ok(Vec::new())
    }

    fn reconnected(&self) {
        self.returns.send_modify(|returns| *returns += 1);
    }
}

#[test]
fn a_network_that_comes_up_wakes_the_uploader() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(inside()).expect("the uploader lives");
    }
    let possible = Command::new("unshare").args(["-rn", "ip", "link", "set", "lo", "up"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        return skip(NAME, "a network namespace cannot be made (unshare and ip are needed)");
    }
    let test = std::env::current_exe().expect("this test's path");
    let mut command = Command::new("unshare");
    command.arg("-rn").arg(test).args([format!("network::{NAME}").as_str(), "--exact", "--nocapture"]);
    let output = command.env(INSIDE, "1").output().expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("1 passed"), "{shown}");
}

async fn inside() -> Result<(), SpoolError> {
    let (returns, mut told) = watch::channel(0);
    let wants = Wants {
        products: Vec::new(),
        content_types: Vec::new(),
        capture_classes: Vec::new(),
        unit: Unit::File,
        proof: Proof::ServerAck,
    };
    let clock = Arc::new(SystemClock::new());
    let backends = vec![Arc::new(Counting { wants, returns }) as Arc<dyn Backend>];
    let spool = Spool::in_memory(clock.clone());
    let uploader = Uploader::new(spool, backends, clock, UploaderOptions::default());
    let cancel = CancellationToken::new();
    let (wake, token) = (uploader.wake(), cancel.clone());
    let story = async {
        // A link that begins to run, then an address on it that comes, stays, and comes again.
        ip("link set lo up");
        told.wait_for(|returns| *returns > 0).await.expect("a return");
        let quiet = settled(&mut told).await;
        ip("addr add 10.9.8.7/24 dev lo");
        told.wait_for(|returns| *returns > quiet).await.expect("a return");
        let quiet = settled(&mut told).await;
        ip("addr change 10.9.8.7/24 dev lo preferred_lft 900 valid_lft 900");
        assert_eq!(settled(&mut told).await, quiet, "it was only prolonged");
        ip("route add default via 10.9.8.1 dev lo");
        told.wait_for(|returns| *returns > quiet).await.expect("a return");
        cancel.cancel();
    };
    let story = async { tokio::time::timeout(PATIENCE, story).await.expect("the kernel's messages") };
    // The watch listens from its first step on, which comes before the story's.
    let (ended, (), ()) =
        tokio::join!(biased; uploader.run(cancel.clone()), network::watch(wake, token), story);
    ended
}

/// The count, once it has not changed for longer than messages are gathered.
async fn settled(told: &mut watch::Receiver<u32>) -> u32 {
    let limit = Duration::from_millis(1500);
    while matches!(tokio::time::timeout(limit, told.changed()).await, Ok(Ok(()))) {}
    *told.borrow_and_update()
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}
