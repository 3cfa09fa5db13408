//! A light station of the simulated fleet: what stands behind its link lives in a few kilobytes.
//!
//! It opens sessions, takes frames, fails and recovers at random times from a seed, and obeys commands as a station whose
//! rig is armed by itself. Everything on the way to the broker is the code of real stations.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::mqtt::Figures;
use turnstage_cloud_sync::spool::{self, Limits, SpoolError};
use turnstage_cloud_sync::{Event, Sha256};

use super::behind::{Behind, Obeyed};
use super::commands::Order;
use super::desired::{Desired, Offered, Reported, State};
use super::telemetry::devices::Devices;
use super::telemetry::quality::Quality;
use super::telemetry::queue::Queue;
use super::telemetry::storage::{Room, Storage, Trend};
use super::telemetry::versions::{System, Versions};
use super::telemetry::{ClockState, Group, Link};
use crate::audit;
use crate::clock::SystemClock;
use crate::command::{Actor, Refusal};
use crate::session::SessionState;
use crate::status::{Delivery, Fault, SessionStatus, Situation, StationName, Status};
use crate::window::{Recent, Told};

/// Events that are kept; a broker that was away for longer is not told the older ones.
const EVENTS_MAX: usize = 500;
/// Frames of a session.
const FRAMES: u32 = 36;
/// Bytes of a frame, for what is told of the disk.
const FRAME_BYTES: u64 = 5_000_000;
/// Room of its disk.
const DISK_BYTES: u64 = 200_000_000_000;

/// How lively a station is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Liveliness {
    /// Mean seconds between two sessions.
    pub pause_s: f64,
    /// Seconds between two frames.
    pub frame_s: f64,
    /// Of so many sessions, the share in which a camera goes away for a while, 0 to 1.
    pub faulty: f64,
}

/// See the module.
pub struct LightStation {
    clock: SystemClock,
    liveliness: Liveliness,
    status: watch::Sender<Status>,
    newest: watch::Sender<u64>,
    held: Mutex<Held>,
    /// What a command asked of the session at hand.
    asked: watch::Sender<Asked>,
    reported: watch::Sender<Reported>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Asked {
    #[default]
    Nothing,
    Start,
    Stop,
    Abort,
}

struct Held {
    rng: fastrand::Rng,
    events: VecDeque<Event>,
    waiting: u64,
    confirmed: u64,
    item: Option<String>,
    out_of_service: Option<String>,
}

impl LightStation {
    /// A station with a seed of its own.
    pub fn new(name: StationName, seed: u64, liveliness: Liveliness, clock: SystemClock) -> Self {
        let held = Held {
            rng: fastrand::Rng::with_seed(seed),
            events: VecDeque::new(),
            waiting: 0,
            confirmed: 0,
            item: None,
            out_of_service: None,
        };
        let mut status = Status::starting(name, true);
        status.tell(Situation::Ready);
        Self {
            clock,
            liveliness,
            status: watch::Sender::new(status),
            newest: watch::Sender::new(0),
            held: Mutex::new(held),
            asked: watch::Sender::default(),
            reported: watch::Sender::default(),
        }
    }

    /// Lives until it is dropped.
    pub async fn run(&self) {
        // A fleet does not begin its day in one second.
        let first = self.random_s(self.liveliness.pause_s);
        self.idle(first).await;
        loop {
            if self.held().out_of_service.is_none() {
                self.session().await;
            }
            let pause = self.random_s(2.0 * self.liveliness.pause_s);
            self.idle(pause).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random_s(&self, most: f64) -> Duration {
        Duration::from_secs_f64(self.held().rng.f64() * most.max(0.0))
    }

    /// Delivers what waits, until so long is over or a session is asked for.
    async fn idle(&self, long: Duration) {
        let end = Instant::now() + long;
        let mut asked = self.asked.subscribe();
        while Instant::now() < end {
            if *asked.borrow_and_update() == Asked::Start {
                break;
            }
            let delivered = self.deliver_one();
            if !delivered {
                tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    changed = asked.changed() => drop(changed),
                }
            } else {
                sleep(Duration::from_secs_f64(self.liveliness.frame_s)).await;
            }
        }
    }

    fn deliver_one(&self) -> bool {
        let waiting = {
            let mut held = self.held();
            if held.waiting == 0 {
                return false;
            }
            held.waiting -= 1;
            held.confirmed += 1;
            held.waiting
        };
        let situation = match waiting {
            0 => Situation::Ready,
            pictures => Situation::Sending { pictures },
        };
        self.tell(situation, None);
        true
    }

    async fn session(&self) {
        let id = uuid::Uuid::now_v7().to_string();
        let (item, broken_at) = {
            let mut held = self.held();
            let broken = held.rng.f64() < self.liveliness.faulty;
            let broken_at = broken.then(|| held.rng.u32(1..=FRAMES));
            let number = held.rng.u32(..);
            (held.item.take().unwrap_or_else(|| format!("item-{number}")), broken_at)
        };
        self.asked.send_replace(Asked::Nothing);
        self.append("session.started", Some(&id), json!({ "item": item, "recipe": "spin36" }));
        for frame in 1..=FRAMES {
            sleep(Duration::from_secs_f64(self.liveliness.frame_s)).await;
            let (session, asked) = (session(&id, &item, frame), *self.asked.borrow());
            match asked {
                Asked::Abort => {
                    self.append("session.aborted", Some(&id), json!({ "frames": frame }));
                    return self.tell(Situation::Ready, None);
                }
                Asked::Stop => self.stopped(&id, session.clone(), frame).await,
                Asked::Nothing | Asked::Start => {}
            }
            if broken_at == Some(frame) {
                self.broken(session.clone(), frame).await;
            }
            let shooting = Situation::Shooting { frame, total: FRAMES, left_s: None, flagged: None };
            self.tell(shooting, Some(session));
            self.held().waiting += 1;
            self.append("frame.captured", Some(&id), json!({ "frame": frame }));
        }
        self.append("session.released", Some(&id), json!({ "frames": FRAMES }));
        self.tell(Situation::Complete { frames: FRAMES }, None);
    }

    /// A person looks and goes on after a while.
    async fn stopped(&self, id: &str, session: SessionStatus, taken: u32) {
        let who = "fleet".to_owned();
        self.tell(Situation::StoppedBy { who, taken, wanted: FRAMES }, Some(session));
        self.append("session.paused", Some(id), json!({ "frames": taken }));
        sleep(Duration::from_secs_f64(20.0 * self.liveliness.frame_s)).await;
        self.asked.send_replace(Asked::Nothing);
    }

    async fn broken(&self, session: SessionStatus, frame: u32) {
        let camera = "main".to_owned();
        let fault = Fault::new(
            "camera-missing",
            "Camera main is not there",
            "The session waits for it.",
            "Look at its cable.",
        );
        self.status.send_modify(|status| status.faults.push(fault));
        self.tell(Situation::CameraAwaited { camera, frame, left_s: 60 }, Some(session));
        sleep(Duration::from_secs_f64(20.0 * self.liveliness.frame_s)).await;
        self.status.send_modify(|status| status.faults.clear());
    }

    fn tell(&self, situation: Situation, session: Option<SessionStatus>) {
        let newest_event = *self.newest.borrow();
        let delivery = self.delivery();
        self.status.send_modify(|status| {
            status.session = session;
            status.newest_event = newest_event;
            status.delivery = delivery;
            status.tell(situation);
        });
    }

    fn delivery(&self) -> Delivery {
        let held = self.held();
        let used = (held.waiting + held.confirmed).saturating_mul(FRAME_BYTES);
        let free_bytes = DISK_BYTES.saturating_sub(used % (DISK_BYTES / 2));
        Delivery {
            waiting: held.waiting,
            confirmed: held.confirmed,
            free_bytes,
            sessions_left: free_bytes / (FRAME_BYTES * u64::from(FRAMES)),
            ..Delivery::default()
        }
    }

    fn append(&self, kind: &str, session: Option<&str>, data: Value) {
        self.put(audit::entry(kind, &Actor("station".to_owned()), session, data));
    }

    fn put(&self, event: NewEvent) {
        let mut held = self.held();
        let event = Event::append(held.events.back(), event, self.clock.now());
        let sequence = event.sequence;
        held.events.push_back(event);
        if held.events.len() > EVENTS_MAX {
            held.events.pop_front();
        }
        drop(held);
        self.newest.send_replace(sequence);
    }

    fn ask(&self, what: Asked) -> Obeyed {
        let open = self.status.borrow().session.is_some();
        match (what, open) {
            (Asked::Start, true) => rejected("session-open", "A session is open."),
            (Asked::Abort, false) => rejected("nothing-running", "No session is open."),
            _ => {
                self.asked.send_replace(what);
                Obeyed::Done(Value::Null)
            }
        }
    }
}

fn session(id: &str, item: &str, frame: u32) -> SessionStatus {
    SessionStatus {
        id: id.to_owned(),
        item: item.to_owned(),
        recipe: "spin36".to_owned(),
        state: SessionState::Shooting,
        wanted: FRAMES as usize,
        missing: Vec::new(),
        taken: frame as usize,
        flagged: Vec::new(),
        retaken: 0,
        frame: Some(frame),
        checking: None,
        left_s: None,
    }
}

fn rejected(rule: &str, reason: &str) -> Obeyed {
    Obeyed::Rejected(Refusal::new(rule, reason))
}

#[async_trait]
impl Behind for LightStation {
    fn station(&self) -> StationName {
        self.status.borrow().station.clone()
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    async fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let next = |mut status: watch::Receiver<Status>| async move {
            status.changed().await.ok().map(|()| ((), status))
        };
        Box::pin(stream::unfold(self.status.subscribe(), next))
    }

    async fn figures(&self, link: Figures) -> Vec<(Group, Value)> {
        let (status, now) = (self.status.borrow().clone(), self.clock.now());
        let delivery = self.delivery();
        let limits = Limits { free_bytes_soft: 0, free_bytes_hard: 0, keep_confirmed: Duration::MAX };
        let room = Room {
            room: spool::Room { free_bytes: delivery.free_bytes, limits },
            sessions_left: delivery.sessions_left,
        };
        let recent = Recent::default();
        let oldest = BTreeMap::new();
        let versions = Versions::of(System::default(), BTreeMap::new(), None);
        let figures = [
            (Group::Queue, json!(Queue::of(&delivery, &oldest, &now))),
            (Group::Storage, json!(Storage::of(&room, &recent, &mut Trend::default(), &now))),
            (Group::Devices, json!(Devices::of(&status))),
            (Group::Quality, json!(Quality::of(&[], &recent))),
            (Group::Clock, json!(ClockState::of(&now))),
            (Group::Versions, json!(versions)),
            (Group::Link, json!(Link::from(link))),
        ];
        figures.into()
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Told, SpoolError> {
        let held = self.held();
        let events: Vec<Event> =
            held.events.iter().filter(|event| event.sequence > after).take(limit).cloned().collect();
        let through = events.last().map_or(after, |event| event.sequence);
        Ok(Told { events, through })
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    async fn record(&self, event: NewEvent) {
        self.put(event);
    }

    async fn record_stranger(&self, _from: &str, event: NewEvent) {
        self.put(event);
    }

    async fn offer(&self, desired: Desired, _actor: &Actor) -> Offered {
        let Reported { version, .. } = *self.reported.borrow();
        if desired.version <= version {
            return Offered::Known(State::InUse);
        }
        let problems = desired.problems_on_defaults();
        if !problems.is_empty() {
            let (wanted, told) = (Some(desired.version), problems.clone());
            self.reported.send_modify(|reported| {
                *reported = Reported { state: State::Refused, wanted, problems: told, ..reported.clone() };
            });
            let reason = "The configuration is wrong.".to_owned();
            return Offered::Refused { rule: "config-invalid", reason, problems };
        }
        let recipes = desired.recipes.iter().map(|(name, text)| (name.clone(), Sha256::of(text.as_bytes())));
        self.reported.send_replace(Reported {
            version: desired.version,
            state: State::InUse,
            recipes: recipes.collect(),
            config: desired.config,
            ..Reported::default()
        });
        Offered::Taken
    }

    fn reported(&self) -> watch::Receiver<Reported> {
        self.reported.subscribe()
    }

    fn link_is_up(&self) {}

    async fn obey(&self, _id: &str, _actor: &Actor, order: &Order) -> Obeyed {
        match order {
            Order::Start { item, .. } => {
                if let Some(reason) = self.held().out_of_service.clone() {
                    return rejected("out-of-service", &reason);
                }
                self.held().item = Some(item.clone());
                self.ask(Asked::Start)
            }
            Order::Stop {} => self.ask(Asked::Stop),
            Order::Abort {} => self.ask(Asked::Abort),
            Order::SetFlag { flag, on, reason } if flag == "out-of-service" => {
                self.held().out_of_service = on.then(|| reason.clone());
                Obeyed::Done(Value::Null)
            }
            Order::Identify { .. } | Order::Requeue { .. } | Order::Retake { .. } => {
                Obeyed::Done(Value::Null)
            }
            _ => rejected("simulated", "A simulated station has no such part."),
        }
    }

    async fn after_restart(&self, _id: &str, _order: &Order, _same_boot: bool) -> Obeyed {
        // Nothing of a light station survives its process.
        rejected("simulated", "A simulated station does not restart.")
    }
}
