//! The link to a real broker: what it survives, what it says of trouble, and in which order it speaks.

mod absences;
mod credentials;
mod fleet;
mod refusals;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::mqtt::{self, Link, LinkState, Message, Post, Received, Trouble};

/// Longest that a story waits for a state of the link; failures are quicker to read than nextest's limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// A link that runs.
struct Station {
    post: Post,
    received: mpsc::Receiver<Received>,
    state: watch::Receiver<LinkState>,
    cancel: CancellationToken,
    running: JoinHandle<()>,
}

impl Station {
    fn start(broker: mqtt::Broker, farewell: Option<Message>, filters: &[&str]) -> Self {
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let (link, post, received) = Link::new(broker, farewell, filters);
        let cancel = CancellationToken::new();
        let running = tokio::spawn(link.run(cancel.clone()));
        Self { state: post.state(), post, received, cancel, running }
    }

    /// A link that is up.
    async fn up(broker: mqtt::Broker, farewell: Option<Message>, filters: &[&str]) -> Self {
        let mut station = Self::start(broker, farewell, filters);
        station.is_up().await;
        station
    }

    async fn until(&mut self, what: &str, is: impl Fn(&LinkState) -> bool) -> LinkState {
        let waited = timeout(PATIENCE, self.state.wait_for(|state| is(state))).await;
        match waited.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(state)) => state,
            _ => panic!("the link is not {what}: {:?}", *self.state.borrow()),
        }
    }

    /// Waits until it is up; whether the broker had our session.
    async fn is_up(&mut self) -> bool {
        let up = self.until("up", |state| matches!(state, LinkState::Up { .. })).await;
        matches!(up, LinkState::Up { session_present: true })
    }

    /// Waits until it is down; why, and for how long.
    async fn is_down(&mut self) -> (Trouble, Duration) {
        match self.until("down", |state| matches!(state, LinkState::Down { .. })).await {
            LinkState::Down { trouble, again_in } => (trouble, again_in),
            state => panic!("{state:?}"),
        }
    }

    /// The next message.
    async fn hears(&mut self) -> Received {
        timeout(PATIENCE, self.received.recv()).await.expect("a message in time").expect("a link that runs")
    }

    /// Ends it as a station ends.
    async fn end(self) {
        self.cancel.cancel();
        timeout(PATIENCE, self.running).await.expect("it ends in time").expect("it does not panic");
    }
}

fn message(topic: &str, payload: &str) -> Message {
    Message { topic: topic.to_owned(), payload: Bytes::copy_from_slice(payload.as_bytes()), retain: false }
}

fn retained(topic: &str, payload: &str) -> Message {
    Message { retain: true, ..message(topic, payload) }
}

/// Delivers so many numbered messages on `topic`, all handed in at once, and waits for all of them.
async fn deliver_all(post: &Post, topic: &str, count: usize) {
    let deliveries = (0..count).map(|number| post.deliver(message(topic, &number.to_string())));
    let all = futures_util::future::try_join_all(deliveries);
    timeout(PATIENCE * 2, all).await.expect("all in time").expect("none denied");
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
}
