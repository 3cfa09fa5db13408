//! The link itself: connects, sends what the outbox gives, hands on what comes, waits, and begins again.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::outbox::Loss;
use super::post::{Post, Received, Shared};
use super::wire::{self, ACKNOWLEDGEMENTS, Ended, Heard, Listener, RECEIVE_MAX, Sender};
use super::{Broker, LinkState, Message, Trouble, TroubleKind};
use crate::backoff::Backoff;

/// The farewell and the goodbye together take so long at most.
const GOODBYE: Duration = Duration::from_secs(3);
/// Wrong credentials are tried again after a random time between these.
const CREDENTIALS_WAIT_S: std::ops::RangeInclusive<u64> = 60..=180;
/// Most messages that wait for the receiver, because a broker does not keep to the number that it may send ahead.
const INBOX_MAX: usize = 256;
/// A connection that the broker closes without a word so many times in a row, each time this soon, is another's: so does
/// Mosquitto 2.0.11 where two clients have one name.
const PUSHED_OUT_MAX: u32 = 4;
const SHORT_LIFE: Duration = Duration::from_secs(300);
/// As long as one waits for them, the files are looked at this often.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// A link to a broker. A future to run: nothing happens before [`Link::run`], and it starts no task of its own.
pub struct Link {
    broker: Broker,
    farewell: Option<Message>,
    filters: Vec<String>,
    shared: Arc<Shared>,
    received: mpsc::Sender<Received>,
    /// Came, and not yet taken.
    inbox: VecDeque<Received>,
    rng: fastrand::Rng,
}

/// How the files looked.
type Look = Vec<Option<(SystemTime, u64)>>;

/// How a connection ended.
enum End {
    /// As asked.
    Left,
    Lost(Lost),
}

struct Lost {
    trouble: Trouble,
    loss: Loss,
    was_up: bool,
    /// See [`PUSHED_OUT_MAX`].
    pushed_out: bool,
}

/// Of one connection.
struct Session {
    number: u64,
    up: bool,
    began: Instant,
    /// Acknowledgements on their way.
    acknowledging: usize,
    session_present: bool,
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
    /// disconnects. Without a connection it ends at once: the broker said the last will already. The state that the
    /// posts see stays as it was last.
    pub async fn run(mut self, cancel: CancellationToken) {
        let (mut failed, mut pushed_out) = (0, 0);
        let mut told = "";
        loop {
            let looked = self.broker.look();
            self.shared.state.send_replace(LinkState::Connecting);
            let End::Lost(mut lost) = self.connection(&cancel).await else { return };
            self.inbox.clear();
            self.shared.outbox(|outbox| outbox.lost(lost.loss));
            failed = if lost.was_up && lost.loss == Loss::Broken { 0 } else { failed + 1 };
            pushed_out = if lost.pushed_out { pushed_out + 1 } else { 0 };
            if pushed_out == PUSHED_OUT_MAX {
                pushed_out = 0;
                lost.trouble = wire::taken_over(&format!(
                    "the broker {} ends each connection soon and without a word, most likely because another client \
                     uses this station's name",
                    self.address()
                ));
            }
            // An outage is told once, not with every try.
            let (rule, reason) = (lost.trouble.rule, &lost.trouble.reason);
            match rule == told && !lost.was_up {
                true => tracing::debug!(rule, "{reason}"),
                false => tracing::warn!(rule, "{reason}"),
            }
            told = rule;
            let wait = self.wait(&lost.trouble, lost.loss, failed);
            if !self.pause(lost.trouble, wait, looked, &cancel).await {
                return;
            }
        }
    }

    /// Waits before the next try; false where there is none.
    async fn pause(
        &self,
        trouble: Trouble,
        wait: Duration,
        looked: Look,
        cancel: &CancellationToken,
    ) -> bool {
        let fixable = trouble.kind == TroubleKind::Credentials;
        self.shared.state.send_replace(LinkState::Down { trouble, again_in: wait });
        let waited = async {
            match fixable {
                true => self.wait_for_files(looked, wait).await,
                false => tokio::time::sleep(wait).await,
            }
        };
        tokio::select! {
            () = waited => true,
            () = cancel.cancelled() => false,
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.broker.host, self.broker.port)
    }

    /// How long to wait after a connection was lost (`failed` is 0) or could not be made for the `failed`th time.
    fn wait(&mut self, trouble: &Trouble, loss: Loss, failed: u32) -> Duration {
        let return_max = self.broker.return_max;
        let slow = trouble.kind == TroubleKind::Credentials || trouble.rule == "broker-taken-over";
        // What the broker objects to is looked for on the next connections.
        if slow && loss == Loss::Broken {
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
    async fn wait_for_files(&self, looked: Look, wait: Duration) {
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
            Err(trouble) => {
                return End::Lost(Lost { trouble, loss: Loss::Broken, was_up: false, pushed_out: false });
            }
        };
        let far = Duration::from_secs(3600);
        let mut session = Session {
            number: self.shared.begin(),
            up: false,
            began: Instant::now(),
            acknowledging: 0,
            session_present: false,
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
            if self.inbox.len() > INBOX_MAX {
                let trouble = wire::refused(format!(
                    "the broker {} sends faster than its messages are taken: they are asked for again",
                    self.address()
                ));
                return End::Lost(Lost { trouble, loss: Loss::Broken, was_up: true, pushed_out: false });
            }
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
        let soon = session.began.elapsed() < SHORT_LIFE;
        let lost = |Ended { trouble, loss, silently }| {
            let pushed_out = silently && soon;
            ControlFlow::Break(End::Lost(Lost { trouble, loss, was_up, pushed_out }))
        };
        let broken = |what: &str| {
            let trouble = wire::network(&format!("{}:{}", self.broker.host, self.broker.port), what);
            lost(Ended { trouble, loss: Loss::Broken, silently: false })
        };
        let mut next = pin!(listener.next());
        loop {
            if session.up && !self.send(session, sender) {
                return broken("it takes nothing any more");
            }
            let leaving = session.leave_by;
            tokio::select! {
                heard = &mut next => {
                    return match heard {
                        Ok(heard) => ControlFlow::Continue(heard),
                        Err(_) if leaving.is_some() => ControlFlow::Break(End::Left),
                        Err(ended) => lost(ended),
                    };
                }
                () = shared.wake.notified() => {}
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
                    return broken("it stopped answering");
                }
                () = sleep_until(leaving.unwrap_or(session.silent_at)), if leaving.is_some() => {
                    return ControlFlow::Break(End::Left);
                }
            }
        }
    }

    /// Hands the connection what may go now. False where it takes nothing, which it always should.
    fn send(&self, session: &mut Session, sender: &Sender) -> bool {
        while session.acknowledging < ACKNOWLEDGEMENTS
            && let Some(packet_id) = self.shared.done()
        {
            if !sender.acknowledge(packet_id) {
                return false;
            }
            session.acknowledging += 1;
        }
        if session.leave_by.is_some() && !session.goodbye_asked {
            let told = self.farewell.is_none() || self.shared.outbox(|outbox| outbox.has_left());
            session.goodbye_asked = told && sender.leave();
        }
        while !session.goodbye_asked
            && let Some(message) = self.shared.outbox(|outbox| outbox.next())
        {
            if !sender.publish(message) {
                return false;
            }
        }
        true
    }

    fn take(&mut self, session: &mut Session, sender: &Sender, heard: Heard) {
        match heard {
            Heard::Up { session_present, window, packet_bytes_max, keep_alive } => {
                (session.up, session.session_present) = (true, session_present);
                session.silence_max = keep_alive.mul_f64(2.5);
                self.shared.outbox(|outbox| outbox.connected(window, packet_bytes_max));
                if self.filters.is_empty() {
                    self.announce(session, None);
                } else if !sender.subscribe(&self.filters) {
                    let objection = denied(&format!("{:?}: one of them is no filter", self.filters));
                    self.announce(session, Some(objection));
                }
            }
            Heard::Sent(packet_id) => return self.shared.outbox(|outbox| outbox.left(packet_id)),
            Heard::Answered(packet_id, answer) => {
                self.shared.outbox(|outbox| outbox.answered(packet_id, answer));
            }
            Heard::Acknowledged => {
                session.acknowledging = session.acknowledging.saturating_sub(1);
                return;
            }
            // The broker keeps it for a receiver that comes with the next process.
            Heard::Message(..) if self.received.is_closed() => {}
            // Nobody repeats it, so it is dropped rather than queued without end.
            Heard::Message(_, None) if self.inbox.len() >= INBOX_MAX => {}
            Heard::Message(received, None) => self.inbox.push_back(received),
            Heard::Message(received, Some(packet_id)) => {
                self.inbox.push_back(received.at_least_once(&self.shared, session.number, packet_id));
            }
            Heard::Subscribed(denials) => self.announce(session, self.objection(&denials)),
            Heard::Alive => {}
            Heard::Nothing | Heard::Left => return,
        }
        session.silent_at = Instant::now() + session.silence_max;
    }

    /// The broker accepted us, and listens for us: what is sent to us from now on arrives.
    fn announce(&self, session: &Session, objection: Option<Trouble>) {
        if let Some(trouble) = &objection {
            tracing::warn!(rule = trouble.rule, "{}", trouble.reason);
        }
        self.shared.objection.send_replace(objection);
        let session_present = session.session_present;
        tracing::info!(session_present, "connected to the broker");
        self.shared.state.send_replace(LinkState::Up { session_present });
    }

    fn objection(&self, denials: &[(usize, String)]) -> Option<Trouble> {
        let named = denials.iter().map(|(place, why)| {
            format!("\"{}\" ({why})", self.filters.get(*place).map_or("?", String::as_str))
        });
        (!denials.is_empty()).then(|| denied(&named.collect::<Vec<_>>().join(", ")))
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
