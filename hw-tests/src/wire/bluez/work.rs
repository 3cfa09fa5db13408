//! The daemon's own work: every tick it lets happen what is due, publishes objects and tells of changes.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, MatchRule, MessageStream};

use super::objects::{AdapterObject, CharacteristicObject, DeviceObject, ServiceObject};
use super::{ADAPTER, Air, State};
use crate::wire::peer::lock;

const TICK: Duration = Duration::from_millis(2);
/// Strength of every advertisement, dBm.
const RSSI: i16 = -55;
/// Changes of bus names that are not looked at yet.
const QUEUE: usize = 64;

/// The life of the daemon on its thread.
pub(super) async fn live(
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
        (plugged, state.adapter_known)
    };
    if plugged && !known {
        bus.object_server().at(ADAPTER, AdapterObject(air.clone())).await?;
        lock(&air.state).adapter_known = true;
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
        state.adapter_known = false;
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
