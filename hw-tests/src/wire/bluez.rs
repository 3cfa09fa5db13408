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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, MatchRule, MessageStream};

use self::objects::{AdapterObject, CharacteristicObject, DeviceObject, ServiceObject};
use crate::wire::peer::{Card, Peer, Shared, lock};

const ADAPTER: &str = "/org/bluez/hci0";
const TICK: Duration = Duration::from_millis(2);
/// Strength of every advertisement, dBm.
const RSSI: i16 = -55;
/// Changes of its bus name that are not looked at yet.
const QUEUE: usize = 64;

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
        let live = move || runtime.block_on(live(thread_air, address, tick, ready, ended));
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

/// The life of the daemon on its thread.
async fn live(
    air: Arc<Air>,
    address: String,
    tick: watch::Sender<u64>,
    ready: oneshot::Sender<Result<(), String>>,
    mut ended: oneshot::Receiver<()>,
) {
    let (bus, mut names) = match join(&address).await {
        Ok(joined) => joined,
        Err(error) => return drop(ready.send(Err(error.to_string()))),
    };
    if let Err(error) = serve(&bus, &air).await {
        return drop(ready.send(Err(error.to_string())));
    }
    drop(ready.send(Ok(())));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut ended => break,
            Some(Ok(message)) = names.next() => {
                let body = message.body();
                if let Ok((name, _, owner)) = body.deserialize::<(String, String, String)>()
                    && owner.is_empty()
                {
                    forget(&mut lock(&air.state), &name);
                }
            }
            _ = ticks.tick() => {
                // A bus that is gone takes no signals.
                drop(step(&bus, &air).await);
                tick.send_modify(|tick| *tick += 1);
            }
        }
    }
    for device in &mut lock(&air.state).devices {
        if std::mem::take(&mut device.connected) {
            lock(&device.peer).linked(false, Instant::now());
        }
    }
    drop(bus.close().await);
}

async fn join(address: &str) -> zbus::Result<(Connection, MessageStream)> {
    let bus = zbus::connection::Builder::address(address).build().await?;
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .build()?;
    let names = MessageStream::for_match_rule(rule, &bus, NonZeroUsize::new(QUEUE)).await?;
    Ok((bus, names))
}

async fn serve(bus: &Connection, air: &Arc<Air>) -> zbus::Result<()> {
    bus.object_server().at("/", zbus::fdo::ObjectManager).await?;
    step(bus, air).await?;
    bus.request_name("org.bluez").await?;
    Ok(())
}

/// A client has left the bus.
fn forget(state: &mut State, client: &str) {
    state.discovering.remove(client);
    for device in &mut state.devices {
        device.notified.remove(client);
    }
}

/// Lets happen what is due, publishes it and tells of it.
async fn step(bus: &Connection, air: &Arc<Air>) -> zbus::Result<()> {
    adapter(bus, air).await?;
    let (count, plugged) = {
        let state = lock(&air.state);
        (state.devices.len(), state.plugged)
    };
    for number in 0..count {
        if plugged {
            advertise(bus, air, number).await?;
            connection(bus, air, number).await?;
            services(bus, air, number).await?;
            notify(bus, air, number).await?;
        }
    }
    Ok(())
}

/// Publishes the adapter, or takes it away with everything below.
async fn adapter(bus: &Connection, air: &Arc<Air>) -> zbus::Result<()> {
    let (plugged, known) = {
        let mut state = lock(&air.state);
        if state.discovering.is_empty() {
            state.discovering_since = None;
        }
        let plugged = state.plugged;
        (plugged, std::mem::replace(&mut state.adapter_known, plugged))
    };
    if plugged && !known {
        bus.object_server().at(ADAPTER, AdapterObject(air.clone())).await?;
    } else if known && !plugged {
        let count = lock(&air.state).devices.len();
        for number in 0..count {
            unpublish(bus, air, number).await?;
            let (path, was_known) = {
                let mut state = lock(&air.state);
                let device = &mut state.devices[number];
                if std::mem::take(&mut device.connected) {
                    lock(&device.peer).linked(false, Instant::now());
                }
                (device.resolved, device.told_connected, device.rssi) = (false, false, None);
                (device.path(), std::mem::take(&mut device.known))
            };
            if was_known {
                bus.object_server().remove::<DeviceObject, _>(path.as_str()).await?;
            }
        }
        bus.object_server().remove::<AdapterObject, _>(ADAPTER).await?;
        let mut state = lock(&air.state);
        state.powered = false;
        state.discovering.clear();
    }
    Ok(())
}

/// Who is in reach during a scan becomes an object with a signal strength; without a scan nobody has one.
async fn advertise(bus: &Connection, air: &Arc<Air>, number: usize) -> zbus::Result<()> {
    let now = Instant::now();
    let (path, is_new, has_rssi) = {
        let mut state = lock(&air.state);
        let after = Duration::from_millis(state.knobs.advertise_ms);
        let scanned = state.discovering_since.is_some_and(|since| now >= since + after);
        let device = &mut state.devices[number];
        let heard = scanned && !device.connected && lock(&device.peer).in_reach(now);
        let has_rssi = heard && device.rssi.is_none();
        device.rssi = heard.then_some(RSSI);
        let is_there = heard || device.connected;
        let is_new = is_there && !std::mem::replace(&mut device.known, true);
        (device.path(), is_new, has_rssi)
    };
    let object = DeviceObject(air.clone(), number);
    if is_new {
        bus.object_server().at(path, object).await?;
    } else if has_rssi {
        object.r_s_s_i_changed(&SignalEmitter::new(bus, path)?).await?;
    }
    Ok(())
}

/// Breaks what is to break, and tells whether the peripheral is connected.
async fn connection(bus: &Connection, air: &Arc<Air>, number: usize) -> zbus::Result<()> {
    let now = Instant::now();
    let broken = {
        let mut state = lock(&air.state);
        let device = &mut state.devices[number];
        let cut = device.cut_at.is_some_and(|at| now >= at);
        let broken = device.connected && (cut || !lock(&device.peer).in_reach(now));
        if cut {
            device.cut_at = None;
        }
        if broken {
            device.connected = false;
            (device.resolved_at, device.objects_at) = (None, None);
            device.notified.clear();
            lock(&device.peer).linked(false, now);
        }
        broken
    };
    if broken {
        unpublish(bus, air, number).await?;
    }
    let (path, connected, was_connected, was_resolved) = {
        let mut state = lock(&air.state);
        let device = &mut state.devices[number];
        let connected = device.connected;
        let was_resolved = !connected && std::mem::take(&mut device.resolved);
        let was_connected = std::mem::replace(&mut device.told_connected, connected);
        (device.path(), connected, was_connected, was_resolved)
    };
    let (object, emitter) = (DeviceObject(air.clone(), number), SignalEmitter::new(bus, path)?);
    if connected != was_connected {
        if was_resolved {
            object.services_resolved_changed(&emitter).await?;
        }
        object.connected_changed(&emitter).await?;
    }
    Ok(())
}

/// Publishes what a connected peripheral offers, when its time has come.
async fn services(bus: &Connection, air: &Arc<Air>, number: usize) -> zbus::Result<()> {
    let now = Instant::now();
    let due = |at: &mut Option<Instant>| at.take_if(|at| now >= *at).is_some();
    let (paths, path, resolved) = {
        let mut state = lock(&air.state);
        let device = &mut state.devices[number];
        let objects = due(&mut device.objects_at);
        let resolved = due(&mut device.resolved_at);
        if objects {
            device.published = Some(device.handle);
        }
        device.resolved |= resolved;
        let count = device.card.characteristics.len();
        let paths = objects.then(|| {
            let below = (0..count).map(|k| device.characteristic_path(k)).collect::<Vec<_>>();
            (device.service_path(), below)
        });
        (paths, device.path(), resolved)
    };
    if let Some((service, below)) = paths {
        bus.object_server().at(service, ServiceObject(air.clone(), number)).await?;
        for (k, path) in below.into_iter().enumerate() {
            bus.object_server().at(path, CharacteristicObject(air.clone(), number, k)).await?;
        }
    }
    if resolved {
        let object = DeviceObject(air.clone(), number);
        object.services_resolved_changed(&SignalEmitter::new(bus, path)?).await?;
    }
    Ok(())
}

async fn unpublish(bus: &Connection, air: &Arc<Air>, number: usize) -> zbus::Result<()> {
    let (service, below) = {
        let mut state = lock(&air.state);
        let device = &mut state.devices[number];
        if device.published.is_none() {
            return Ok(());
        }
        let count = device.card.characteristics.len();
        let below: Vec<_> = (0..count).map(|k| device.characteristic_path(k)).collect();
        let service = device.service_path();
        device.published = None;
        (service, below)
    };
    for path in below {
        bus.object_server().remove::<CharacteristicObject, _>(path).await?;
    }
    bus.object_server().remove::<ServiceObject, _>(service).await?;
    Ok(())
}

/// Every notification is a signal, also one with the same value as before. Without a subscription it is lost.
async fn notify(bus: &Connection, air: &Arc<Air>, number: usize) -> zbus::Result<()> {
    loop {
        let (path, characteristic) = {
            let mut state = lock(&air.state);
            let device = &mut state.devices[number];
            let Some(said) = lock(&device.peer).say(Instant::now()) else { return Ok(()) };
            let Some(characteristic) = device.notified.values().next().copied() else { continue };
            device.value = said;
            (device.characteristic_path(characteristic), characteristic)
        };
        let object = CharacteristicObject(air.clone(), number, characteristic);
        object.value_changed(&SignalEmitter::new(bus, path)?).await?;
    }
}
