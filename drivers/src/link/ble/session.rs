//! One connection from its scan to its loss, on whatever stack: every call has a limit, and every attempt ends with a
//! disconnection, because a table that believes in a connection answers nobody else.
//!
//! ```text
//! scan ─► connect ─► discover ─► subscribe ─► serve ─► disconnect
//!  │         └───────────┴────────────┴─► disconnect, wait, from the start (CONNECT_TRIES)
//!  └─► not advertised: say so
//! ```
//! A session never mends itself: whoever holds the link opens another one, which scans, connects, discovers and
//! subscribes anew, and knows that the table's position is to be asked for.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::stack::{Event, Peripheral, Place, Seen, Stack, Trouble, Write};
use super::{BleKeys, parse_uuid};

/// Longest scan. A table advertises several times a second; after power-on one calibrates itself for 11 s first.
const SCAN_LIMIT: Duration = Duration::from_secs(12);
/// How often is looked at what the scan has found.
const SCAN_EVERY: Duration = Duration::from_millis(200);
/// Scan goes on for this long after the first table of the wanted name, to find out whether there is a second one.
const TWIN_WAIT: Duration = Duration::from_millis(1500);
/// Connecting takes 0.1 to 2 s; btleplug's own limits are 30 s for the call and 30 s for the services.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Some dozens of calls to bluetoothd.
const DISCOVER_LIMIT: Duration = Duration::from_secs(10);
/// BlueZ may say that services are resolved before they are all there: read them again, this often.
const DISCOVER_TRIES: u32 = 3;
/// Time for BlueZ to put the rest there.
const DISCOVER_PAUSE: Duration = Duration::from_millis(500);
/// One write of at most one packet. Longer means that the peripheral does not confirm, or that the bus is stuck.
const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// Taking a connection down.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Whatever bluetoothd answers by itself. It takes milliseconds.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// A stopped bluetoothd and a removed adapter are no events: the connection is asked after this often.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// This many calls without an answer in a row are a dead bus; one may be a busy computer.
const SILENT_CALLS_MAX: u32 = 3;
/// A connection attempt fails now and then by itself (`le-connection-abort-by-local`).
const CONNECT_TRIES: u32 = 3;
/// First wait after a failed attempt, doubled each time, with up to half as much again by chance: two stations that lost
/// their tables in the same power cut must not knock in step.
const BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Bytes of an attribute operation that are not ours.
const ATT_HEADER: usize = 3;
/// Every Bluetooth LE connection carries this much.
const MTU_MIN: usize = 23;

/// Bytes to hand over.
pub(super) struct Order {
    pub bytes: Vec<u8>,
    /// All must be handed over within this.
    pub limit: Duration,
    /// Told when it was, or why the connection is given up. Nobody waits any more if this is closed.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody holds the link any more.
    LetGo,
    /// The connection is gone, and why that is believed.
    Lost(String),
}

/// A connection that is ready to be used.
pub(super) struct Up<P> {
    peripheral: P,
    write: Place,
    chunk_gap: Duration,
}

/// Why there is no connection: what was found, what to do.
pub(super) type Down = (String, String);

fn down(trouble: &Trouble) -> Down {
    (trouble.why(), trouble.hint().to_owned())
}

/// `call` within `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    timeout(limit, call).await.unwrap_or(Err(Trouble::Late(limit.as_secs())))
}

/// Waits longer after each failed attempt; `chance` is in 0 to 1.
pub(super) fn backoff(failed: u32, chance: f64) -> Duration {
    let doubled = BACKOFF.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
    doubled.min(BACKOFF_MAX).mul_f64(1.0 + 0.5 * chance).min(BACKOFF_MAX)
}

/// A number in 0 to 1 that is another one each time and on each computer.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

/// Finds the table and makes it ready. Ends when `given_up` does, without leaving a connection behind.
pub(super) async fn establish<S: Stack>(
    stack: &S,
    keys: &BleKeys,
    given_up: impl Future<Output = ()>,
) -> Result<Up<S::Peripheral>, Down> {
    let mut held = None;
    let made = tokio::select! {
        made = attempts(stack, keys, &mut held) => made,
        () = given_up => Err(("nobody waits for it any more".to_owned(), String::new())),
    };
    match (made, held) {
        (Ok((write, chunk_gap)), Some(peripheral)) => Ok(Up { peripheral, write, chunk_gap }),
        (made, held) => {
            if let Some(peripheral) = held {
                take_down(&peripheral).await;
            }
            Err(made.err().unwrap_or_default())
        }
    }
}

async fn attempts<S: Stack>(
    stack: &S,
    keys: &BleKeys,
    held: &mut Option<S::Peripheral>,
) -> Result<(Place, Duration), Down> {
    let mut failed = 0;
    loop {
        let peripheral = held.insert(find(stack, &keys.name).await?);
        let trouble = match ready(peripheral, keys).await {
            Ok(write) => return Ok((write, Duration::from_millis(keys.chunk_gap_ms))),
            Err(Unready::Other(down)) => return Err(down),
            Err(Unready::Trouble(trouble)) => trouble,
        };
        failed += 1;
        tracing::warn!(table = keys.name, failed, "cannot connect: {}", trouble.why());
        if failed >= CONNECT_TRIES {
            let why = format!("{failed} attempts to connect failed, the last one: {}", trouble.why());
            return Err((why, trouble.hint().to_owned()));
        }
        take_down(peripheral).await;
        sleep(backoff(failed, chance())).await;
    }
}

async fn take_down<P: Peripheral>(peripheral: &P) {
    if let Err(trouble) = within(DISCONNECT_LIMIT, peripheral.disconnect()).await {
        tracing::debug!("cannot disconnect: {}", trouble.why());
    }
}

/// Listens until the one wanted table advertises. The scan has ended when this returns: BlueZ connects badly during one.
async fn find<S: Stack>(stack: &S, wanted: &str) -> Result<S::Peripheral, Down> {
    within(CALL_LIMIT, stack.start_scan()).await.map_err(|t| down(&t))?;
    let found = timeout(SCAN_LIMIT, listen(stack, wanted)).await;
    // Another program may have ended it already; a second end is an error that says nothing.
    drop(within(CALL_LIMIT, stack.stop_scan()).await);
    let address = found.unwrap_or_else(|_| {
        let why = format!("it did not advertise within {} s", SCAN_LIMIT.as_secs());
        let hint = "is it switched on and near? The phone app may hold it: close it";
        Err((why, hint.to_owned()))
    })?;
    within(CALL_LIMIT, stack.take(&address)).await.map_err(|t| down(&t))
}

/// The address of the wanted table, once it has advertised. A table that this computer remembers is not there yet.
async fn listen<S: Stack>(stack: &S, wanted: &str) -> Result<String, Down> {
    let by_address = |seen: &Seen| seen.address.eq_ignore_ascii_case(wanted);
    let mut first_at: Option<Instant> = None;
    let mut freed = Vec::new();
    loop {
        let all = within(CALL_LIMIT, stack.seen()).await.map_err(|t| down(&t))?;
        let ours: Vec<_> = all
            .iter()
            .filter(|seen| by_address(seen) || seen.names.iter().any(|name| name == wanted))
            .collect();
        let near: Vec<_> = ours.iter().filter(|seen| seen.rssi.is_some()).collect();
        match near.as_slice() {
            [] => {}
            [one] if by_address(one) => return Ok(one.address.clone()),
            [one] if first_at.get_or_insert_with(Instant::now).elapsed() >= TWIN_WAIT => {
                return Ok(one.address.clone());
            }
            [_] => {}
            several => {
                let all = several.iter().map(|seen| seen.address.as_str()).collect::<Vec<_>>().join(" and ");
                let hint = format!("give the address of the right one instead of its name: {all}");
                return Err((format!("{} tables of this name are near", several.len()), hint));
            }
        }
        // What a killed program left connected does not advertise. It is asked for once: another program may hold it.
        for seen in ours.iter().filter(|seen| seen.rssi.is_none()) {
            if !freed.contains(&seen.address) {
                freed.push(seen.address.clone());
                free(stack, &seen.address).await;
            }
        }
        sleep(SCAN_EVERY).await;
    }
}

async fn free<S: Stack>(stack: &S, address: &str) {
    let Ok(peripheral) = within(CALL_LIMIT, stack.take(address)).await else { return };
    if within(CALL_LIMIT, peripheral.connected()).await == Ok(true) {
        tracing::warn!(address, "still connected from before: disconnecting");
        take_down(&peripheral).await;
    }
}

enum Unready {
    /// Worth another attempt.
    Trouble(Trouble),
    /// Will be the same next time.
    Other(Down),
}

/// Connects, looks for the characteristics and subscribes: all of it each time, because handles move and BlueZ forgets
/// subscriptions with the connection.
async fn ready<P: Peripheral>(peripheral: &mut P, keys: &BleKeys) -> Result<Place, Unready> {
    within(CONNECT_LIMIT, peripheral.connect()).await.map_err(Unready::Trouble)?;
    let wrong = |why: String| Unready::Other((why, "this is a fault of the profile".to_owned()));
    let uuid = |text: &str| parse_uuid(text).map_err(wrong);
    let (service, write, notify) = (uuid(&keys.service)?, uuid(&keys.write)?, uuid(&keys.notify)?);
    for tried in 1.. {
        let places = within(DISCOVER_LIMIT, peripheral.discover()).await.map_err(Unready::Trouble)?;
        let place = |wanted: Uuid| {
            places.iter().find(|place| place.service == service && place.characteristic == wanted).copied()
        };
        if let (Some(write), Some(notify)) = (place(write), place(notify)) {
            if !(write.write || write.write_without_response) {
                return Err(wrong(format!("nothing can be written to {}", write.characteristic)));
            }
            if !notify.notify {
                return Err(wrong(format!("{} notifies of nothing", notify.characteristic)));
            }
            within(CALL_LIMIT, peripheral.subscribe(&notify)).await.map_err(Unready::Trouble)?;
            return Ok(write);
        }
        if tried == DISCOVER_TRIES {
            break;
        }
        sleep(DISCOVER_PAUSE).await;
    }
    let why = format!("it has no service {service} with the characteristics {write} and {notify}");
    let hint = "another kind of table with this name, or another firmware: is the profile the right one?";
    Err(Unready::Other((why, hint.to_owned())))
}

impl<P: Peripheral> Up<P> {
    /// Disconnects.
    pub async fn take_down(self) {
        take_down(&self.peripheral).await;
    }
}

/// Carries bytes there and back until the link is let go or lost.
pub(super) async fn carry<P: Peripheral>(
    up: &mut Up<P>,
    orders: &mut mpsc::Receiver<Order>,
    arrived: &mpsc::Sender<Vec<u8>>,
) -> End {
    let mut alive = interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent_calls = 0;
    loop {
        tokio::select! {
            // A stop must not wait behind what a chatty table says.
            biased;
            order = orders.recv() => {
                let Some(order) = order else { return End::LetGo };
                if order.done.is_closed() {
                    continue;
                }
                let handed_over = hand_over(up, &order).await;
                let end = handed_over.clone().err().map(End::Lost);
                // Whoever gave up waiting is not told.
                drop(order.done.send(handed_over));
                if let Some(end) = end {
                    return end;
                }
            }
            event = up.peripheral.next() => match event {
                Event::Gone => return End::Lost("the connection broke".to_owned()),
                Event::Value(bytes) => match arrived.try_send(bytes) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        tracing::warn!("nobody reads what the table says: thrown away");
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return End::LetGo,
                },
            },
            _ = alive.tick() => match within(CALL_LIMIT, up.peripheral.connected()).await {
                Ok(true) => silent_calls = 0,
                Ok(false) => return End::Lost("the connection broke".to_owned()),
                Err(Trouble::Late(_)) => {
                    silent_calls += 1;
                    if silent_calls >= SILENT_CALLS_MAX {
                        let why = format!("{silent_calls} calls without an answer; is the bus alive?");
                        return End::Lost(why);
                    }
                    alive.reset_immediately();
                }
                Err(trouble) => return End::Lost(format!("{} ({})", trouble.why(), trouble.hint())),
            },
        }
    }
}

/// Hands bytes over in pieces that fit into one packet. Nothing is ever handed over twice, and what was begun is ended,
/// because half a command would swallow the stop that follows it.
async fn hand_over<P: Peripheral>(up: &Up<P>, order: &Order) -> Result<(), String> {
    let until = Instant::now() + order.limit;
    let write = if up.write.write_without_response { Write::Unconfirmed } else { Write::Confirmed };
    let size = up.peripheral.mtu().max(MTU_MIN) - ATT_HEADER;
    for (number, chunk) in order.bytes.chunks(size).enumerate() {
        if number > 0 {
            sleep(up.chunk_gap).await;
        }
        let left = until.saturating_duration_since(Instant::now()).min(WRITE_LIMIT);
        // A write that came late may still arrive: only a new connection makes sure that it does not.
        timeout(left, up.peripheral.write(&up.write, chunk, write))
            .await
            .map_err(|_| format!("a write took more than {left:?}"))?
            .map_err(|trouble| format!("{} ({})", trouble.why(), trouble.hint()))?;
    }
    Ok(())
}

/// Tables that advertise one of `names`, or are connected to this computer, after `scan`.
pub(super) async fn listing<S: Stack>(
    stack: &S,
    names: &[String],
    scan: Duration,
) -> Result<Vec<(String, String, Option<i16>)>, Trouble> {
    within(CALL_LIMIT, stack.start_scan()).await?;
    sleep(scan).await;
    let all = within(DISCOVER_LIMIT, stack.seen()).await;
    drop(within(CALL_LIMIT, stack.stop_scan()).await);
    let mut found = Vec::new();
    for seen in all? {
        let Some(name) = seen.names.iter().find(|name| names.contains(name)) else { continue };
        let is_here = match seen.rssi {
            Some(_) => true,
            None => match within(CALL_LIMIT, stack.take(&seen.address)).await {
                Ok(peripheral) => within(CALL_LIMIT, peripheral.connected()).await == Ok(true),
                Err(_) => false,
            },
        };
        if is_here {
            found.push((name.clone(), seen.address.clone(), seen.rssi));
        }
    }
    Ok(found)
}
