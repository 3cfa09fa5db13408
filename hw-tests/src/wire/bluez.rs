//! A Bluetooth daemon without a radio: `org.bluez` on a private bus, with simulated peripherals behind it.
//!
//! An unmodified Bluetooth stack talks to it. Its objects, properties, signals and errors are those of BlueZ that
//! btleplug uses. It knows its clients: scans and notifications of one that has left the bus end, its connections stay.
//! Not modelled: the radio, the exchange of an MTU, pairing, descriptors, and BlueZ's own races but for the one that a
//! knob makes (services that are late).
//!
//! ```text
//! Bluez ── thread "bluetoothd" ── every 2 ms: state ─► objects, signals
//!   │            │                              ▲
//!   knobs        D-Bus methods ─────────────────┘        Peer: the table behind the radio
//! ```

mod objects;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::wire::peer::{Card, Peer, Shared, lock};

const ADAPTER: &str = "/org/bluez/hci0";

/// How a call to `Connect` ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// With a connection.
    Well,
    /// With `org.bluez.Error.Failed` and this text.
    Fails(String),
    /// Not at all.
    Hangs,
    /// Well, but the connection breaks before the services are known.
    DropsWhileResolving,
}

/// How a write fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// With `org.bluez.Error.Failed` and this text.
    Fails(String),
    /// It never ends.
    Hangs,
}

/// What the daemon and its radio are like.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// How the next calls to `Connect` end; then all end well.
    pub connects: VecDeque<Connect>,
    /// How the next writes fail; then all end well.
    pub writes: VecDeque<Write>,
    /// From the begin of a scan to the first advertisement.
    pub advertise_ms: u64,
    /// Duration of a connection attempt.
    pub connect_ms: u64,
    /// From the connection to `ServicesResolved`.
    pub resolve_ms: u64,
    /// The services' objects come this long after `ServicesResolved`.
    pub services_late_ms: u64,
    /// Every connection has its GATT objects under handles that are this much higher.
    pub handle_step: u16,
    /// The adapter is switched off by `rfkill`.
    pub blocked: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            connects: VecDeque::new(),
            writes: VecDeque::new(),
            advertise_ms: 20,
            connect_ms: 10,
            resolve_ms: 20,
            services_late_ms: 0,
            handle_step: 0,
            blocked: false,
        }
    }
}

/// One peripheral as the daemon knows it, and what of that it has told.
struct Device {
    peer: Shared<dyn Peer>,
    card: Card,
    rssi: Option<i16>,
    connected: bool,
    resolved: bool,
    resolved_at: Option<Instant>,
    objects_at: Option<Instant>,
    cut_at: Option<Instant>,
    /// Number in the paths of its GATT objects.
    handle: u16,
    /// Handle under which they are published.
    published: Option<u16>,
    /// Clients that are notified, and of which characteristic.
    notified: BTreeMap<String, usize>,
    value: Vec<u8>,
    known: bool,
    told_connected: bool,
}

impl Device {
    fn path(&self) -> String {
        format!("{ADAPTER}/dev_{}", self.card.address.replace(':', "_"))
    }

    fn service_path(&self) -> String {
        format!("{}/service{:04x}", self.path(), self.published.unwrap_or(self.handle))
    }

    fn characteristic_path(&self, number: usize) -> String {
        let handle = usize::from(self.published.unwrap_or(self.handle)) + 1 + 2 * number;
        format!("{}/char{handle:04x}", self.service_path())
    }
}

struct State {
    knobs: Knobs,
    devices: Vec<Device>,
    /// The adapter is plugged in, and whether it is published.
    plugged: bool,
    adapter_known: bool,
    powered: bool,
    /// Clients that scan.
    discovering: BTreeSet<String>,
    discovering_since: Option<Instant>,
    log: Vec<String>,
}

/// What objects, thread and test share.
struct Air {
    state: Mutex<State>,
}

/// The daemon; it leaves the bus when dropped, and every connection to a peripheral breaks.
pub struct Bluez {
    air: Arc<Air>,
    ticks: watch::Receiver<u64>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bluez {
    /// Starts it on the bus at `address`; it has its name when this returns.
    pub async fn start(address: &str, knobs: Knobs, peers: Vec<Shared<dyn Peer>>) -> Result<Self, String> {
        let devices = peers.into_iter().map(device).collect();
        let state = State {
            knobs,
            devices,
            plugged: true,
            adapter_known: false,
            powered: false,
            discovering: BTreeSet::new(),
            discovering_since: None,
            log: Vec::new(),
        };
        let air = Arc::new(Air { state: Mutex::new(state) });
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let (tick, ticks) = watch::channel(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let (thread_air, address) = (air.clone(), address.to_owned());
        let live = move || runtime.block_on(work::live(thread_air, address, tick, ready, ended));
        let thread = std::thread::Builder::new().name("bluetoothd".to_owned()).spawn(live);
        let thread = Some(thread.map_err(|e| e.to_string())?);
        is_ready.await.map_err(|_| "its thread has ended".to_owned())??;
        Ok(Self { air, ticks, end: Some(end), thread })
    }

    /// Turns knobs.
    pub fn knobs(&self, turn: impl FnOnce(&mut Knobs)) {
        turn(&mut lock(&self.air.state).knobs);
    }

    /// Calls of its methods in order, such as `Connect E4:8F:80:46:12:43` and `WriteValue +CT,STOP; command`.
    pub fn log(&self) -> Vec<String> {
        lock(&self.air.state).log.clone()
    }

    /// How many calls in the log begin like this.
    pub fn counted(&self, beginning: &str) -> usize {
        lock(&self.air.state).log.iter().filter(|call| call.starts_with(beginning)).count()
    }

    /// Whether the peripheral is connected.
    pub fn is_connected(&self, address: &str) -> bool {
        self.device(address, |device| device.connected)
    }

    /// Whether anybody scans.
    pub fn is_discovering(&self) -> bool {
        !lock(&self.air.state).discovering.is_empty()
    }

    /// Breaks the connection to a peripheral, as a wall or an empty battery does.
    pub fn cut(&self, address: &str) {
        self.device(address, |device| device.cut_at = Some(Instant::now()));
    }

    /// The same without a signal to anybody: only who asks learns of it.
    pub fn cut_silently(&self, address: &str) {
        self.device(address, |device| {
            device.told_connected = false;
            device.cut_at = Some(Instant::now());
        });
    }

    /// Connects a peripheral as a program did that was killed since: BlueZ keeps its connections.
    pub fn leave_connected(&self, address: &str) {
        self.device(address, |device| {
            let now = Instant::now();
            device.connected = true;
            (device.resolved_at, device.objects_at) = (Some(now), Some(now));
            lock(&device.peer).linked(true, now);
        });
    }

    /// Pulls the adapter out: its objects vanish, and no property changes before.
    pub fn unplug(&self) {
        lock(&self.air.state).plugged = false;
    }

    /// Puts it back.
    pub fn plug(&self) {
        lock(&self.air.state).plugged = true;
    }

    /// Whether clients find the adapter.
    pub fn has_adapter(&self) -> bool {
        lock(&self.air.state).adapter_known
    }

    /// Waits for a state; `what` is said if it does not come within 10 s.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let mut ticks = self.ticks.clone();
        let waited =
            timeout(Duration::from_secs(10), async { while !is(self) && ticks.changed().await.is_ok() {} });
        assert!(waited.await.is_ok() && is(self), "waited for: {what}");
    }

    fn device<T>(&self, address: &str, look: impl FnOnce(&mut Device) -> T) -> T {
        let mut state = lock(&self.air.state);
        let found = state.devices.iter_mut().find(|device| device.card.address == address);
        look(found.unwrap_or_else(|| panic!("no peripheral {address}")))
    }
}

impl Drop for Bluez {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

fn device(peer: Shared<dyn Peer>) -> Device {
    let card = lock(&peer).card();
    Device {
        peer,
        card,
        rssi: None,
        connected: false,
        resolved: false,
        resolved_at: None,
        objects_at: None,
        cut_at: None,
        handle: 0x10,
        published: None,
        notified: BTreeMap::new(),
        value: Vec::new(),
        known: false,
        told_connected: false,
    }
}
