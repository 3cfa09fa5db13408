//! The link itself: connects, sends what the outbox gives, hands on what comes, waits, and begins again.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::outbox::Loss;
use super::post::{Post, Received, Shared};
use super::wire::{self, Ended, Heard, Listener, RECEIVE_MAX, Sender};
use super::{Broker, LinkState, Message, Trouble, TroubleKind};
use crate::backoff::Backoff;

/// The farewell and the goodbye together take so long at most.
const GOODBYE: Duration = Duration::from_secs(3);
/// Wrong credentials are tried again after a random time between these.
const CREDENTIALS_WAIT_S: std::ops::RangeInclusive<u64> = 60..=180;
/// As long as one waits for them, the files are looked at this often.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// A link to a broker. A future to run: nothing happens before [`Link::run`], and it starts no task of its own.
pub struct Link {
    broker: Broker,
    farewell: Option<Message>,
    filters: Vec<String>,
    shared: Arc<Shared>,
    received: mpsc::Sender<Received>,
    /// Came, and not yet taken. Never more than the broker may have open.
    inbox: VecDeque<Received>,
    rng: fastrand::Rng,
}

/// How a connection ended.
enum End {
    /// As asked.
    Left,
    Lost {
        trouble: Trouble,
        loss: Loss,
        was_up: bool,
    },
}

/// Of one connection.
struct Session {
    number: u64,
    up: bool,
    /// Without a sign of life until then the broker is gone.
    silent_at: Instant,
    silence_max: Duration,
    /// Set once we are leaving.
    leave_by: Option<Instant>,
    goodbye_asked: bool,
}

impl Link {
    /// A link, where messages are handed to it, and those that come. `farewell` is said, retained, when the link ends as
    /// asked, and by the broker (the last will) when the connection breaks. `filters` are subscribed at each connect.
    pub fn new(
        broker: Broker,
        farewell: Option<Message>,
        filters: Vec<String>,
    ) -> (Self, Post, mpsc::Receiver<Received>) {
        let shared = Shared::new();
        let (received, receiver) = mpsc::channel(RECEIVE_MAX.into());
        let farewell = farewell.map(|message| Message { retain: true, ..message });
        let (inbox, rng) = (VecDeque::new(), fastrand::Rng::new());
        let link = Self { broker, farewell, filters, shared: shared.clone(), received, inbox, rng };
        (link, Post::new(shared), receiver)
    }

    /// Holds the connection until `cancel`; then says the farewell, waits a short while for the broker to take it, and
    /// disconnects. Without a connection it ends at once: the broker said the last will already.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut failed = 0;
        loop {
            let looked = self.broker.look();
            self.shared.state.send_replace(LinkState::Connecting);
            let (trouble, wait) = match self.connection(&cancel).await {
                End::Left => return,
                End::Lost { trouble, loss, was_up } => {
                    self.inbox.clear();
                    self.shared.outbox(|outbox| outbox.lost(loss));
                    failed = if was_up && loss == Loss::Broken { 0 } else { failed + 1 };
                    let wait = self.wait(&trouble, failed);
                    (trouble, wait)
                }
            };
            tracing::warn!(rule = trouble.rule, again_in_ms = wait.as_millis() as u64, "{}", trouble.reason);
            let fixable = trouble.kind == TroubleKind::Credentials;
            self.shared.state.send_replace(LinkState::Down { trouble, again_in: wait });
            let waited = async {
                match fixable {
                    true => self.wait_for_files(looked, wait).await,
                    false => tokio::time::sleep(wait).await,
                }
            };
            tokio::select! {
                () = waited => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// How long to wait after a connection was lost (`failed` is 0) or could not be made for the `failed`th time.
    fn wait(&mut self, trouble: &Trouble, failed: u32) -> Duration {
        let return_max = self.broker.return_max;
        let slow = trouble.kind == TroubleKind::Credentials || trouble.rule == "broker-taken-over";
        if slow {
            return Duration::from_secs(self.rng.u64(CREDENTIALS_WAIT_S));
        }
        if failed == 0 {
            return return_max.mul_f64(self.rng.f64());
        }
        let base = (return_max / 15).max(Duration::from_millis(50));
        let backoff = Backoff::new(base, (return_max * 4).max(base)).unwrap_or_default();
        backoff.delay(failed, &mut self.rng)
    }

    /// Until one of the files differs from when it was `looked` at, or `wait` is over.
    async fn wait_for_files(&self, looked: Vec<Option<(std::time::SystemTime, u64)>>, wait: Duration) {
        let changed = async {
            while self.broker.look() == looked {
                tokio::time::sleep(FILES_EVERY).await;
            }
        };
        // Either is reason enough to try again.
        drop(timeout(wait, changed).await);
    }

    /// One connection from its beginning to its end.
    async fn connection(&mut self, cancel: &CancellationToken) -> End {
        let (sender, mut listener) = match wire::open(&self.broker, self.farewell.as_ref()) {
            Ok(opened) => opened,
            Err(trouble) => return End::Lost { trouble, loss: Loss::Broken, was_up: false },
        };
        let far = Duration::from_secs(3600);
        let mut session = Session {
            number: self.shared.begin(),
            up: false,
            silent_at: Instant::now() + far,
            silence_max: far,
            leave_by: None,
            goodbye_asked: false,
        };
        loop {
            let heard = match self.hear(&mut session, &sender, &mut listener, cancel).await {
                ControlFlow::Continue(heard) => heard,
                ControlFlow::Break(end) => return end,
            };
            let (bytes_out, bytes_in) = listener.bytes();
            self.shared.outbox(|outbox| outbox.count(bytes_out, bytes_in));
            if let Heard::Left = heard {
                return End::Left;
            }
            self.take(&mut session, &sender, heard);
        }
    }

    /// The next event. Until then: sends, hands on, and watches the clock. The listener is driven to its end once begun.
    async fn hear(
        &mut self,
        session: &mut Session,
        sender: &Sender,
        listener: &mut Listener,
        cancel: &CancellationToken,
    ) -> ControlFlow<End, Heard> {
        let was_up = session.up;
        let shared = self.shared.clone();
        let lost = |trouble, loss| ControlFlow::Break(End::Lost { trouble, loss, was_up });
        let broker = format!("{}:{}", self.broker.host, self.broker.port);
        let mut next = pin!(listener.next());
        loop {
            if session.up && !self.send(session, sender) {
                return lost(wire::unreachable(&broker, "it takes nothing any more"), Loss::Broken);
            }
            let leaving = session.leave_by;
            tokio::select! {
                heard = &mut next => {
                    return match heard {
                        Ok(heard) => ControlFlow::Continue(heard),
                        Err(_) if leaving.is_some() => ControlFlow::Break(End::Left),
                        Err(Ended { trouble, loss }) => lost(trouble, loss),
                    };
                }
                () = shared.wake.notified() => {}
                // A receiver that is gone takes nothing; what came stays with the broker.
                Ok(permit) = self.received.reserve(), if !self.inbox.is_empty() => {
                    if let Some(received) = self.inbox.pop_front() {
                        permit.send(received);
                    }
                }
                () = cancel.cancelled(), if leaving.is_none() => {
                    if !session.up {
                        return ControlFlow::Break(End::Left);
                    }
                    session.leave_by = Some(Instant::now() + GOODBYE);
                    if let Some(farewell) = &self.farewell {
                        shared.outbox(|outbox| outbox.leave(farewell.clone()));
                    }
                }
                () = sleep_until(session.silent_at) => {
                    return lost(wire::unreachable(&broker, "it stopped answering"), Loss::Broken);
                }
                () = sleep_until(leaving.unwrap_or(session.silent_at)), if leaving.is_some() => {
                    return ControlFlow::Break(End::Left);
                }
            }
        }
    }

    /// Hands the connection what may go now. False where it takes nothing, which it always should.
    fn send(&self, session: &mut Session, sender: &Sender) -> bool {
        let done = self.shared.done().into_iter().all(|packet_id| sender.acknowledge(packet_id));
        if session.leave_by.is_some() && !session.goodbye_asked {
            let told = self.farewell.is_none() || self.shared.outbox(|outbox| outbox.has_left());
            session.goodbye_asked = told && sender.leave();
        }
        let mut sent = done;
        while sent
            && !session.goodbye_asked
            && let Some(message) = self.shared.outbox(|outbox| outbox.next())
        {
            sent = sender.publish(message);
        }
        sent
    }

    fn take(&mut self, session: &mut Session, sender: &Sender, heard: Heard) {
        match heard {
            Heard::Up { session_present, window, packet_bytes_max, keep_alive } => {
                session.up = true;
                session.silence_max = keep_alive.mul_f64(2.5);
                let will = self.farewell.as_ref().map(|farewell| farewell.topic.as_str());
                let subscribed = self.filters.is_empty() || sender.subscribe(&self.filters);
                let trouble =
                    (!subscribed).then(|| denied(&format!("one of {:?} is no filter", self.filters)));
                self.shared.objection.send_replace(trouble);
                self.shared
                    .outbox(|outbox| outbox.connected(window, packet_bytes_max, session_present, will));
                self.shared.state.send_replace(LinkState::Up { session_present });
            }
            Heard::Sent(packet_id) => return self.shared.outbox(|outbox| outbox.left(packet_id)),
            Heard::Answered(packet_id, answer) => {
                self.shared.outbox(|outbox| outbox.answered(packet_id, answer));
            }
            // More than a broker may have open: what it does not send again is dropped rather than queued without end.
            Heard::Message(..) if self.inbox.len() >= RECEIVE_MAX.into() => {}
            Heard::Message(received, None) => self.inbox.push_back(received),
            Heard::Message(received, Some(packet_id)) => {
                self.inbox.push_back(received.at_least_once(&self.shared, session.number, packet_id));
            }
            Heard::Subscribed(denials) => self.subscribed(&denials),
            Heard::Nothing | Heard::Left => return,
        }
        session.silent_at = Instant::now() + session.silence_max;
    }

    fn subscribed(&self, denials: &[(usize, String)]) {
        let named = denials.iter().map(|(place, why)| {
            format!("\"{}\" ({why})", self.filters.get(*place).map_or("?", String::as_str))
        });
        let trouble = (!denials.is_empty()).then(|| denied(&named.collect::<Vec<_>>().join(", ")));
        if let Some(trouble) = &trouble {
            tracing::warn!(rule = trouble.rule, "{}", trouble.reason);
        }
        self.shared.objection.send_replace(trouble);
    }
}

fn denied(what: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Refused,
        rule: "broker-denies",
        reason: format!(
            "the broker does not let this station listen to {what}: add it to the broker's access rules"
        ),
    }
}
