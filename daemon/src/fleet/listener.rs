//! Hears commands: judges them, puts them on record, has them obeyed side by side, and tells what became of each.
//!
//! The broker hears that a message arrived only after it is on record, so a crash before that brings it once more. What
//! was being obeyed when the program ended is never begun again: it is told as failed, or found out
//! ([`Behind::after_restart`]).

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use turnstage_cloud_sync::Sha256;
use turnstage_cloud_sync::mqtt::{Denied, LinkState, Message, Post, Received};

use super::behind::{Behind, Obeyed};
use super::commands::{self, Claims, Order};
use super::ledger::{CommandState, End, Heard, Ledger, Recorded, Unheard};
use super::message::{self, Writer};
use super::signed::{self, Trust, TrustedKey};
use super::topics::{Below, Topics};
use crate::audit;
use crate::command::{Actor, Refusal};

/// Commands that are obeyed at a time; a stop is obeyed whatever else is.
const AT_A_TIME: usize = 8;
/// Commands on record that wait for others to end.
const WAITING_MAX: usize = 64;

/// Answers to commands that are not on record, at a time.
const ASIDES_MAX: usize = 32;

/// What became of a command, as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub state: CommandState,
    /// Rule that refused it or by which it failed.
    pub rule: Option<String>,
    /// The same as a sentence.
    pub reason: Option<String>,
    /// Key and name of the sender; unknown where the signature does not fit.
    pub sender: Option<String>,
    /// What came of it.
    pub result: Option<Value>,
}

impl From<&Recorded> for CommandBody {
    fn from(recorded: &Recorded) -> Self {
        let Recorded { id, kind, state, rule, reason, sender, result, .. } = recorded.clone();
        Self { id, kind, state, rule, reason, sender: Some(sender), result }
    }
}

/// Which state was told, and whether the broker took it.
type ToldState = (String, CommandState, Result<(), Denied>);

/// See the module.
pub struct Listener {
    behind: Arc<dyn Behind>,
    post: Post,
    topics: Topics,
    writer: Arc<Writer>,
    trust: Result<PathBuf, Refusal>,
    ledger: Ledger,
    obeying: FuturesUnordered<BoxFuture<'static, (String, Obeyed)>>,
    /// Accepted, in the order they came.
    waiting: VecDeque<Recorded>,
    telling: FuturesUnordered<BoxFuture<'static, ToldState>>,
    /// The state of each command that is being told at this moment.
    on_the_way: BTreeMap<String, CommandState>,
    /// Messages about commands that are not on record, or no more.
    asides: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// What a listener stands on.
pub struct Parts {
    /// The station.
    pub behind: Arc<dyn Behind>,
    /// Where messages are handed in.
    pub post: Post,
    /// Names.
    pub topics: Topics,
    /// Envelopes.
    pub writer: Arc<Writer>,
    /// The file of those whose commands are obeyed, or why nobody's are.
    pub trust: Result<PathBuf, Refusal>,
    /// What came before.
    pub ledger: Ledger,
}

impl Listener {
    /// A listener that has heard nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { behind, post, topics, writer, trust, ledger } = parts;
        let (obeying, telling) = (FuturesUnordered::new(), FuturesUnordered::new());
        Self {
            behind,
            post,
            topics,
            writer,
            trust,
            ledger,
            obeying,
            waiting: VecDeque::new(),
            telling,
            on_the_way: BTreeMap::new(),
            asides: FuturesUnordered::new(),
        }
    }

    /// Takes up what was left, then hears until it is dropped. Messages that are no commands are handed on.
    pub async fn run(mut self, mut received: mpsc::Receiver<Received>, others: mpsc::Sender<Received>) {
        self.take_up().await;
        let mut link = self.post.state();
        loop {
            tokio::select! {
                Some(message) = received.recv() => match self.topics.below(&message.topic) {
                    Some(Below::Command(kind, id)) => self.hear(&kind, &id, message).await,
                    // Nobody listens any more only when the station ends.
                    _ => drop(others.send(message).await),
                },
                Some((id, obeyed)) = self.obeying.next() => self.end(&id, obeyed).await,
                Some(()) = self.asides.next() => {}
                Some((id, state, outcome)) = self.telling.next() => self.told(&id, state, outcome),
                changed = link.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    if matches!(*link.borrow_and_update(), LinkState::Up { .. }) {
                        self.tell_untold();
                    }
                }
            }
        }
    }

    /// After a start: what was accepted is obeyed, what was being obeyed is found out.
    async fn take_up(&mut self) {
        let boot_id = self.behind.clock().now().boot_id;
        for recorded in self.ledger.open_ends() {
            match recorded.state {
                CommandState::Accepted => self.begin(&recorded).await,
                CommandState::Executing => {
                    let same_boot = recorded.boot_id == boot_id;
                    match Order::read(&recorded.kind, &recorded.arguments) {
                        Ok(order) => {
                            let (behind, id) = (self.behind.clone(), recorded.id.clone());
                            self.obeying.push(Box::pin(async move {
                                let obeyed = behind.after_restart(&id, &order, same_boot).await;
                                (id, obeyed)
                            }));
                        }
                        Err(refusal) => self.end(&recorded.id, Obeyed::Failed(refusal)).await,
                    }
                }
                _ => self.tell(&recorded),
            }
        }
    }

    async fn hear(&mut self, kind: &str, id: &str, message: Received) {
        // An empty message takes a retained command back.
        if message.payload.is_empty() {
            return message.done();
        }
        let (claims, key) = match self.verified(kind, id, &message.payload) {
            Ok(verified) => verified,
            Err(refusal) => {
                self.answer_stranger(kind, id, refusal).await;
                return message.done();
            }
        };
        let digest = Sha256::of(&message.payload).to_string();
        match self.record(&claims, &key, digest) {
            Ok(Heard::New(recorded)) => {
                message.done();
                self.note(&recorded).await;
                match recorded.state {
                    CommandState::Accepted => self.begin(&recorded).await,
                    _ => self.tell(&recorded),
                }
            }
            Ok(Heard::Known(recorded)) => {
                message.done();
                self.tell(&recorded);
            }
            Err(Unheard::Refused(refusal)) => {
                message.done();
                let actor = actor(&sender(&key, &claims));
                let data = told(&claims.id, &claims.kind, CommandState::Rejected, Some(&refusal));
                self.behind.record(audit::entry("fleet.command", &actor, None, data)).await;
                self.answer(kind, id, CommandState::Rejected, Some(sender(&key, &claims)), refusal);
            }
            // Not acknowledged: the broker brings it again.
            Err(Unheard::Disk(error)) => {
                tracing::error!(%error, id, "a command is not on record, so it is not obeyed")
            }
        }
    }

    /// A command whose signature fits and whose form can be put on record.
    fn verified(&self, kind: &str, id: &str, payload: &[u8]) -> Result<(Claims, TrustedKey), Refusal> {
        let trust = trust(&self.trust)?;
        let (claims, key) = trust.verify::<Claims>(signed::COMMAND, payload)?;
        let station = self.behind.station();
        let station = format!("{}/{}/{}", station.org, station.site, station.name);
        commands::well_formed(&claims, (kind, id), &station)?;
        Ok((claims, key.clone()))
    }

    fn record(&mut self, claims: &Claims, key: &TrustedKey, digest: String) -> Result<Heard, Unheard> {
        let now = self.behind.clock().now();
        let mut judged = commands::judge(claims, key, &now, self.ledger.known_ms()).map(|_| ());
        if self.waiting.len() >= WAITING_MAX && claims.kind != "stop" {
            judged = judged.and(Err(Refusal::new(
                "station-busy",
                "Too many commands are being obeyed. Repeat it later.",
            )));
        }
        let refusal = judged.err();
        let state = match &refusal {
            None => CommandState::Accepted,
            Some(refusal) if refusal.rule == "command-expired" => CommandState::Expired,
            Some(_) => CommandState::Rejected,
        };
        let (rule, reason) =
            refusal.map_or((None, None), |refusal| (Some(refusal.rule), Some(refusal.reason)));
        let recorded = Recorded {
            schema: 0,
            id: claims.id.clone(),
            kind: claims.kind.clone(),
            sender: sender(key, claims),
            digest,
            arguments: claims.arguments.clone(),
            expires_ms: claims.expires_ms,
            order: 0,
            boot_id: now.boot_id.clone(),
            state,
            rule,
            reason,
            result: None,
            told: false,
        };
        self.ledger.hear(recorded, claims.counter, commands::proven_ms(claims, &now))
    }

    /// Obeys what is accepted, now or when others have ended.
    async fn begin(&mut self, recorded: &Recorded) {
        if self.obeying.len() >= AT_A_TIME && recorded.kind != "stop" {
            return self.waiting.push_back(recorded.clone());
        }
        self.obey(recorded).await;
    }

    /// Obeys a command, unless it expired meanwhile.
    async fn obey(&mut self, recorded: &Recorded) {
        let now_ms = self.behind.clock().now().wall_ms.max(self.ledger.known_ms());
        if now_ms >= recorded.expires_ms {
            let refusal = Refusal::new("command-expired", "The station was away until its validity ended.");
            self.put(&recorded.id, CommandState::Expired, refusal.into()).await;
            return;
        }
        let order = match Order::read(&recorded.kind, &recorded.arguments) {
            Ok(order) => order,
            Err(refusal) => {
                self.put(&recorded.id, CommandState::Rejected, refusal.into()).await;
                return;
            }
        };
        if !self.put(&recorded.id, CommandState::Executing, End::default()).await {
            return;
        }
        let (behind, id) = (self.behind.clone(), recorded.id.clone());
        let actor = actor(&recorded.sender);
        self.obeying.push(Box::pin(async move {
            let obeyed = behind.obey(&id, &actor, &order).await;
            (id, obeyed)
        }));
    }

    async fn end(&mut self, id: &str, obeyed: Obeyed) {
        let (state, end) = match obeyed {
            Obeyed::Done(result) => (CommandState::Succeeded, End { refusal: None, result: Some(result) }),
            Obeyed::Rejected(refusal) => (CommandState::Rejected, refusal.into()),
            Obeyed::Failed(refusal) => (CommandState::Failed, refusal.into()),
        };
        self.put(id, state, end).await;
        while self.obeying.len() < AT_A_TIME
            && let Some(next) = self.waiting.pop_front()
        {
            self.obey(&next).await;
        }
    }

    /// Puts a state on record, in the ledger and in the log, and tells it; false if it could not be.
    async fn put(&mut self, id: &str, state: CommandState, end: End) -> bool {
        match self.ledger.put(id, state, end) {
            Ok(Some(recorded)) => {
                self.note(&recorded).await;
                self.tell(&recorded);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, id, ?state, "the state of a command is not on record");
                false
            }
        }
    }

    /// Puts a state of a command into the station's log.
    async fn note(&mut self, recorded: &Recorded) {
        let refusal = match (&recorded.rule, &recorded.reason) {
            (Some(rule), Some(reason)) => Some(Refusal::new(rule, reason.clone())),
            _ => None,
        };
        let data = told(&recorded.id, &recorded.kind, recorded.state, refusal.as_ref());
        self.behind.record(audit::entry("fleet.command", &actor(&recorded.sender), None, data)).await;
    }

    /// Tells the state of a command; one at a time each, so that they arrive in their order.
    fn tell(&mut self, recorded: &Recorded) {
        if self.on_the_way.contains_key(&recorded.id) {
            return;
        }
        let (id, state) = (recorded.id.clone(), recorded.state);
        let message = self.message(&recorded.kind, &id, Some(&CommandBody::from(recorded)), true);
        self.on_the_way.insert(id.clone(), state);
        let post = self.post.clone();
        self.telling.push(Box::pin(async move { (id, state, post.deliver(message).await) }));
    }

    fn told(&mut self, id: &str, state: CommandState, outcome: Result<(), Denied>) {
        self.on_the_way.remove(id);
        if let Err(denied) = outcome {
            // Told again when the link comes up the next time.
            tracing::warn!(%denied, "what became of a command is not told");
            return;
        }
        match self.ledger.told(id, state) {
            Ok(gone) => {
                for one in gone {
                    self.aside(self.message(&one.kind, &one.id, None, true));
                }
            }
            Err(error) => tracing::warn!(%error, id, "that a command was told is not noted"),
        }
        if let Some(recorded) = self.ledger.get(id).filter(|one| one.state != state).cloned() {
            self.tell(&recorded);
        }
    }

    fn tell_untold(&mut self) {
        for recorded in self.ledger.open_ends() {
            if !recorded.told {
                self.tell(&recorded);
            }
        }
    }

    /// Answers somebody whose command is not on record, as often as they send it.
    fn answer(&self, kind: &str, id: &str, state: CommandState, sender: Option<String>, refusal: Refusal) {
        let Refusal { rule, reason } = refusal;
        let (rule, reason) = (Some(rule), Some(reason));
        let body = CommandBody {
            id: id.to_owned(),
            kind: kind.to_owned(),
            state,
            rule,
            reason,
            sender,
            result: None,
        };
        // Not retained: it must not take the place of what became of the command that has this id.
        self.aside(self.message(kind, id, Some(&body), false));
    }

    /// Whoever reaches the broker can cause such messages: of too many at a time the newest are left out.
    fn aside(&self, message: Message) {
        if self.asides.len() < ASIDES_MAX {
            let post = self.post.clone();
            self.asides.push(Box::pin(async move {
                if let Err(denied) = post.deliver(message).await {
                    tracing::warn!(%denied, "an answer is not told");
                }
            }));
        }
    }

    async fn answer_stranger(&mut self, kind: &str, id: &str, refusal: Refusal) {
        let data = told(id, kind, CommandState::Rejected, Some(&refusal));
        let entry = audit::entry("fleet.command", &Actor("fleet:unknown".to_owned()), None, data);
        self.behind.record_stranger("the fleet's broker", entry).await;
        self.answer(kind, id, CommandState::Rejected, None, refusal);
    }

    fn message(&self, kind: &str, id: &str, body: Option<&CommandBody>, retain: bool) -> Message {
        let topic = self.topics.topic(&Below::CommandStatus(kind.to_owned(), id.to_owned()));
        let payload = body.map(|body| message::bytes(&self.writer.now(body))).unwrap_or_default();
        Message { topic, payload, retain }
    }
}

/// Whose messages are obeyed.
pub(super) fn trust(file: &Result<PathBuf, Refusal>) -> Result<Trust, Refusal> {
    let file = file.as_ref().map_err(Clone::clone)?;
    Trust::read(file)
        .map_err(|why| Refusal::new("trust-unreadable", format!("The trust file cannot be used: {why}.")))
}

fn sender(key: &TrustedKey, claims: &Claims) -> String {
    format!("{}/{}", key.id, claims.sender)
}

/// For the audit log.
pub(super) fn actor(sender: &str) -> Actor {
    Actor(format!("fleet:{sender}"))
}

fn told(id: &str, kind: &str, state: CommandState, refusal: Option<&Refusal>) -> Value {
    json!({
        "command": id,
        "type": kind,
        "state": state,
        "rule": refusal.map(|refusal| &refusal.rule),
        "reason": refusal.map(|refusal| &refusal.reason),
    })
}
