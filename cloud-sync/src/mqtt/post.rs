//! What others hold of a link: where messages are handed in, and those that came.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::outbox::Outbox;
use super::{Denied, Figures, LinkState, Message, Trouble};

/// Most deliveries that wait in the link; further ones wait with their callers.
const DELIVERIES_MAX: usize = 256;

/// Hands messages to the link. Cheap to clone; usable before the link runs and while it is not connected.
#[derive(Clone)]
pub struct Post {
    shared: Arc<Shared>,
}

/// What the link and its posts share.
pub(super) struct Shared {
    held: Mutex<Held>,
    /// Something to send, or to acknowledge.
    pub wake: Notify,
    room: Semaphore,
    pub state: watch::Sender<LinkState>,
    pub objection: watch::Sender<Option<Trouble>>,
}

struct Held {
    outbox: Outbox,
    answers: HashMap<u64, oneshot::Sender<Result<(), Denied>>>,
    /// Which connection is the present one.
    connection: u64,
    /// Packet ids of the present connection that are to be acknowledged.
    done: VecDeque<u16>,
}

impl Shared {
    pub fn new() -> Arc<Self> {
        let held =
            Held { outbox: Outbox::default(), answers: HashMap::new(), connection: 0, done: VecDeque::new() };
        Arc::new(Self {
            held: Mutex::new(held),
            wake: Notify::new(),
            room: Semaphore::new(DELIVERIES_MAX),
            state: watch::Sender::new(LinkState::Connecting),
            objection: watch::Sender::new(None),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the outbox, and answers those whose deliveries that settled.
    pub fn outbox<T>(&self, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut held = self.held();
        let result = change(&mut held.outbox);
        for (id, outcome) in held.outbox.settled() {
            if let Some(answer) = held.answers.remove(&id) {
                // Whoever asked may have gone.
                drop(answer.send(outcome));
            }
        }
        result
    }

    /// A connection begins: what was received on an earlier one is not acknowledged any more. Its number.
    pub fn begin(&self) -> u64 {
        let mut held = self.held();
        held.connection += 1;
        held.done.clear();
        held.connection
    }

    /// The next packet id to acknowledge on the present connection.
    pub fn done(&self) -> Option<u16> {
        self.held().done.pop_front()
    }
}

impl Post {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Live state: the newest message of a topic replaces an older one that was not sent, and goes before all
    /// deliveries. Retained ones are said anew at each connect, so a broker never shows old ones. 256 topics at most; a message on a further
    /// one, or on a topic that cannot be, is dropped with a warning and counted.
    pub fn latest(&self, message: Message) {
        self.shared.outbox(|outbox| outbox.latest(message));
        self.shared.wake.notify_one();
    }

    /// At least once up to the broker's acknowledgement, over any number of connections; returns then. Sent in the order
    /// in which they are handed in, several on their way at a time. 256 wait in the link, further ones here, so a caller
    /// that awaits is slowed down as it should be.
    ///
    /// The caller keeps the message durable: nothing is written here. Dropped before the end, the message may or may
    /// not arrive. Once the link ended this never returns: wait for your own end beside it.
    ///
    /// # Errors
    /// [`Denied`] where the broker or its limits do not take this message; sending it again would end the same way.
    pub async fn deliver(&self, message: Message) -> Result<(), Denied> {
        let Ok(_room) = self.shared.room.acquire().await else { return std::future::pending().await };
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut held = self.shared.held();
            let id = held.outbox.deliver(message);
            held.answers.insert(id, answer);
            id
        };
        let _waiting = Waiting { shared: &self.shared, id };
        // A topic that cannot be is answered at once.
        self.shared.outbox(|_| ());
        self.shared.wake.notify_one();
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) => std::future::pending().await,
        }
    }

    /// Where the link stands, now and whenever it changes.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.shared.state.subscribe()
    }

    /// What the broker minds while the link is up: a subscription that it denies (rule `broker-denies`). `None` when it
    /// took all of them.
    pub fn objection(&self) -> watch::Receiver<Option<Trouble>> {
        self.shared.objection.subscribe()
    }

    /// Counters now.
    pub fn figures(&self) -> Figures {
        self.shared.outbox(|outbox| outbox.figures())
    }
}

/// A delivery whose caller waits; gone with them.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        if held.answers.remove(&self.id).is_some() {
            held.outbox.withdraw(self.id);
        }
    }
}

/// A message from the broker.
pub struct Received {
    /// Its topic.
    pub topic: String,
    /// What is said.
    pub payload: Bytes,
    /// Whether the broker had kept it, so that it may be old.
    pub retained: bool,
    receipt: Option<Receipt>,
}

/// By which the broker learns that a message is safe.
struct Receipt {
    shared: Arc<Shared>,
    connection: u64,
    packet_id: u16,
}

impl Received {
    /// One that no broker waits for: at QoS 0, or a test's own.
    pub fn new(topic: String, payload: Bytes, retained: bool) -> Self {
        Self { topic, payload, retained, receipt: None }
    }

    pub(super) fn at_least_once(mut self, shared: &Arc<Shared>, connection: u64, packet_id: u16) -> Self {
        self.receipt = Some(Receipt { shared: shared.clone(), connection, packet_id });
        self
    }

    /// The message is safe: the broker may forget it. Without this, or when the connection ends first, the broker sends
    /// it again on the next connection, so receivers tell repetitions by the message's own id. A broker sends 16 ahead, so
    /// a receiver that forgets this may hear nothing any more.
    pub fn done(self) {
        let Some(Receipt { shared, connection, packet_id }) = self.receipt else { return };
        let mut held = shared.held();
        if held.connection == connection {
            held.done.push_back(packet_id);
            drop(held);
            shared.wake.notify_one();
        }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({}, {} bytes, retained: {})", self.topic, self.payload.len(), self.retained)
    }
}
