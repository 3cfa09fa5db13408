//! Bytes over Bluetooth LE: to one characteristic of a table, and back as notifications of one.
//!
//! Each open link has a thread of its own, with a runtime that ends with it, so that nothing of the Bluetooth stack is
//! shared, moved between threads or left behind: see `ble/plug.rs` for what goes wrong otherwise. The link talks
//! to its thread by bounded channels. A link that is lost stays lost; open another one, which builds everything anew.
//!
//! | file | what |
//! |---|---|
//! | `ble.rs` | the link, its thread, and that no two threads are at one table |
//! | `ble/session.rs` | what is done in which order within which limit |
//! | `ble/stack.rs` | what is needed of a Bluetooth stack |
//! | `ble/plug.rs` | btleplug as that stack |

mod plug;
mod session;
mod stack;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use self::session::{Down, End, Order};
use self::stack::Trouble;
use super::{Link, LinkError};

/// Opening: three scans, three connections and the waits between take no longer. It is the last resort if the thread
/// itself is stuck; the session's own limits come first.
const OPEN_LIMIT: Duration = Duration::from_secs(150);
/// A link that was dropped disconnects before the next one to the same table connects: a late disconnection would hit
/// the new one.
const CLAIM_LIMIT: Duration = Duration::from_secs(10);
/// The session ends a late write itself; a thread that does not even do that is stuck.
const STUCK: Duration = Duration::from_secs(5);
/// Finding the adapter: a few calls.
const ADAPTER_LIMIT: Duration = Duration::from_secs(10);
/// So many openings in a row at which nothing of the Bluetooth stack answered are no busy computer.
const UNANSWERED_MAX: u32 = 3;
/// Notifications that wait to be read; a table that talks each second is heard for a quarter of an hour.
const ARRIVED_MAX: usize = 1024;
/// One command is under way and one may wait: a protocol asks and waits for the answer.
const ORDERS_MAX: usize = 1;
/// The last part of every UUID that the Bluetooth SIG gives out.
const SIG_BASE: &str = "-0000-1000-8000-00805f9b34fb";

/// Which table, and where it takes and gives bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BleKeys {
    /// The exact name that it advertises, or its address, `E4:8F:80:46:12:43`. Two tables of one name that are near are
    /// refused: then the address is needed.
    pub name: String,
    /// Adapter of this computer, `hci0` or its address; `None` takes the first.
    pub adapter: Option<String>,
    /// UUID of the service: 36 characters, or the 4 that the Bluetooth SIG gives out.
    pub service: String,
    /// UUID of the characteristic that is written to.
    pub write: String,
    /// UUID of the characteristic that notifies; may be the same.
    pub notify: String,
    /// Milliseconds between two packets of one command; of some tables 10.
    pub chunk_gap_ms: u64,
}

impl BleKeys {
    /// Whether the keys can be used; the sentence names key and value.
    pub fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("name is empty; give the name that the table advertises, or its address".to_owned());
        }
        for (key, value) in [("service", &self.service), ("write", &self.write), ("notify", &self.notify)] {
            parse_uuid(value).map_err(|what| format!("{key}: {what}"))?;
        }
        if self.chunk_gap_ms > 1000 {
            return Err(format!("chunk_gap_ms = {} is not in 0 to 1000", self.chunk_gap_ms));
        }
        Ok(())
    }
}

fn parse_uuid(text: &str) -> Result<Uuid, String> {
    let short = text.len() == 4;
    let whole = if short { format!("0000{text}{SIG_BASE}") } else { text.to_owned() };
    Uuid::parse_str(&whole).map_err(|_| {
        format!("\"{text}\" is no UUID; write 36 characters, or the 4 of a short one, for example ffe0")
    })
}

/// Connects to the table: scans until it advertises, connects, looks for its characteristics, subscribes. Takes 2 to 4 s
/// if all is well, and minutes at worst; dropping the future ends the attempt.
///
/// The table may still be turning from before, and its position is to be asked for: the first command is a stop.
/// Dropping the link disconnects.
///
/// # Errors
/// [`LinkError::Unavailable`] with what a technician does about it.
pub async fn open(keys: &BleKeys) -> Result<Box<dyn Link>, LinkError> {
    let unavailable = |(why, hint): Down| LinkError::Unavailable { link: keys.name.clone(), why, hint };
    keys.check().map_err(|what| unavailable((what, "this is a fault of the configuration".to_owned())))?;
    let claim = Claim::of(&keys.name).await.map_err(unavailable)?;
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let (arriving, arrived) = mpsc::channel(ARRIVED_MAX);
    let (ready, is_ready) = oneshot::channel();
    let fate = Arc::new(OnceLock::new());
    let ends = Ends { ordered, arriving, fate: fate.clone() };
    let thread_keys = keys.clone();
    on_own_thread(claim, move || hold(thread_keys, ready, ends)).map_err(unavailable)?;
    let connected = timeout(OPEN_LIMIT, is_ready).await.ok().and_then(Result::ok).ok_or_else(|| {
        UNANSWERED.fetch_add(1, Ordering::Relaxed);
        unavailable(("the Bluetooth thread is stuck".to_owned(), "restart this service".to_owned()))
    })?;
    connected.map_err(unavailable)?;
    Ok(Box::new(BleLink { _used: Used::of(&keys.name), name: keys.name.clone(), orders, arrived, fate }))
}

/// Tables near by that advertise one of `names`, as name, address and signal strength in dBm. One that this computer is
/// connected to does not advertise and has no strength. Takes `scan` and a little; 3 s find whatever is switched on.
///
/// Empty where there is no Bluetooth: a list of devices is no place to complain of it.
pub async fn list(names: &[&str], scan: Duration) -> Vec<(String, String, Option<i16>)> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (tell, told) = oneshot::channel();
    let look = move || async move {
        let listed = match session::within(ADAPTER_LIMIT, plug::Radio::open(None)).await {
            Ok(radio) => session::listing(&radio, &names, scan).await,
            Err(trouble) => Err(trouble),
        };
        let found = listed.unwrap_or_else(|trouble| {
            tracing::debug!("no Bluetooth tables listed: {} ({})", trouble.why(), trouble.hint());
            Vec::new()
        });
        // Nobody may wait for it any more.
        drop(tell.send(found));
    };
    match on_own_thread((), look) {
        Ok(()) => timeout(scan + OPEN_LIMIT, told).await.ok().and_then(Result::ok).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// Openings in a row at which the thread or the system bus did not answer.
static UNANSWERED: AtomicU32 = AtomicU32::new(0);

/// Why only a new process can use Bluetooth again, if so: its threads are stuck, and everything was built anew in vain.
/// What is switched off, missing or forbidden is no such reason, because it would be the same for a new process.
pub fn stuck() -> Option<String> {
    let times = UNANSWERED.load(Ordering::Relaxed);
    (times >= UNANSWERED_MAX).then(|| {
        format!("Bluetooth is stuck: it did not answer {times} times in a row, built anew each time")
    })
}

/// The adapter was asked for anew: whether anything answered.
fn heard<T>(told: &Result<T, Trouble>) {
    match told {
        Err(Trouble::Late(_)) => UNANSWERED.fetch_add(1, Ordering::Relaxed),
        _ => UNANSWERED.swap(0, Ordering::Relaxed),
    };
}

/// A table that a thread of this program is at, by its configured name.
struct Claim(String);

/// Tables that threads are at, and whether somebody uses the link: then a claim that does not end is nobody's fault.
static CLAIMED: LazyLock<watch::Sender<BTreeMap<String, bool>>> = LazyLock::new(watch::Sender::default);

/// A claim whose link is in use.
struct Used(String);

impl Used {
    fn of(name: &str) -> Self {
        let used = Self(name.to_owned());
        used.tell(true);
        used
    }

    fn tell(&self, used: bool) {
        CLAIMED.send_if_modified(|claimed| {
            // The thread may have ended already.
            claimed.get_mut(&self.0).is_some_and(|was| std::mem::replace(was, used) != used)
        });
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl Claim {
    async fn of(name: &str) -> Result<Self, Down> {
        let mut changes = CLAIMED.subscribe();
        let claimed = async {
            while !CLAIMED.send_if_modified(|claimed| {
                let free = !claimed.contains_key(name);
                if free {
                    claimed.insert(name.to_owned(), false);
                }
                free
            }) {
                // The sender is never dropped.
                drop(changes.wait_for(|claimed| !claimed.contains_key(name)).await);
            }
        };
        timeout(CLAIM_LIMIT, claimed).await.map_err(|_| {
            if CLAIMED.borrow().get(name) != Some(&true) {
                UNANSWERED.fetch_add(1, Ordering::Relaxed);
            }
            let why = "this program is connected to it already, or its Bluetooth thread is stuck".to_owned();
            (why, "end the other connection, or restart this service".to_owned())
        })?;
        Ok(Self(name.to_owned()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.send_if_modified(|claimed| claimed.remove(&self.0).is_some());
    }
}

/// Runs `work` to its end on a thread and runtime of its own. `claim` is released when nothing of it is left.
fn on_own_thread<F: Future<Output = ()>>(
    claim: impl Send + 'static,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<(), Down> {
    let failed = |error: io::Error| {
        (format!("cannot start a thread for Bluetooth: {error}"), "restart this service".to_owned())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let run = move || {
        runtime.block_on(work());
        // Ends the connection to the bus, and tasks of the stack that would otherwise wait for it for ever.
        drop(runtime);
        drop(claim);
    };
    std::thread::Builder::new().name("bluetooth".to_owned()).spawn(run).map(|_| ()).map_err(failed)
}

/// The thread's ends of a link.
struct Ends {
    ordered: mpsc::Receiver<Order>,
    arriving: mpsc::Sender<Vec<u8>>,
    /// Why the link was lost, before `arriving` is closed.
    fate: Arc<OnceLock<String>>,
}

/// The life of a link on its thread.
async fn hold(keys: BleKeys, mut ready: oneshot::Sender<Result<(), Down>>, mut ends: Ends) {
    let radio = session::within(ADAPTER_LIMIT, plug::Radio::open(keys.adapter.as_deref())).await;
    heard(&radio);
    let radio = match radio {
        Ok(radio) => radio,
        // If nobody waits for the answer any more, there is nothing left to do.
        Err(trouble) => return drop(ready.send(Err((trouble.why(), trouble.hint().to_owned())))),
    };
    let mut up = match session::establish(&radio, &keys, ready.closed()).await {
        Ok(up) => up,
        Err(down) => return drop(ready.send(Err(down))),
    };
    // If nobody takes it, the orders are closed, and carrying ends at once.
    drop(ready.send(Ok(())));
    if let End::Lost(why) = session::carry(&mut up, &mut ends.ordered, &ends.arriving).await {
        tracing::warn!(table = keys.name, "Bluetooth link lost: {why}");
        // It is set once, here.
        drop(ends.fate.set(why));
    }
    // The user is told before the disconnection, which a dead bus delays.
    drop(ends);
    up.take_down().await;
}

/// The user's end of a link.
struct BleLink {
    name: String,
    orders: mpsc::Sender<Order>,
    arrived: mpsc::Receiver<Vec<u8>>,
    fate: Arc<OnceLock<String>>,
    _used: Used,
}

impl BleLink {
    fn lost(&self) -> LinkError {
        let why = self.fate.get().cloned();
        lost(&self.name, why.unwrap_or_else(|| "the Bluetooth thread does not answer".to_owned()))
    }
}

fn lost(name: &str, why: String) -> LinkError {
    LinkError::Lost { link: name.to_owned(), cause: io::Error::new(io::ErrorKind::NotConnected, why) }
}

#[async_trait]
impl Link for BleLink {
    async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), LinkError> {
        let (done, is_done) = oneshot::channel();
        let order = Order { bytes: bytes.to_vec(), limit, done };
        let handed_over = async {
            self.orders.send(order).await.map_err(|_| self.lost())?;
            is_done.await.map_err(|_| self.lost())?.map_err(|why| lost(&self.name, why))
        };
        timeout(limit + STUCK, handed_over).await.unwrap_or_else(|_| Err(self.lost()))
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let Ok(first) = timeout(limit, self.arrived.recv()).await else {
            return Err(LinkError::Silent { link: self.name.clone(), limit });
        };
        let Some(first) = first else { return Err(self.lost()) };
        let before = into.len();
        into.extend_from_slice(&first);
        while let Ok(more) = self.arrived.try_recv() {
            into.extend_from_slice(&more);
        }
        Ok(into.len() - before)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests;
