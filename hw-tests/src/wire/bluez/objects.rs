//! The D-Bus objects of the simulated Bluetooth daemon: what they answer follows from its state.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zbus::message::Header;
use zbus::{OwnedObjectPath, OwnedVariant, fdo, interface};

use super::{ADAPTER, Air, Connect, Device, State, Write};
use crate::wire::peer::lock;

/// BlueZ's own errors.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.bluez.Error")]
pub(super) enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    Failed(String),
    NotConnected(String),
    NotReady(String),
    DoesNotExist(String),
}

fn failed<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::Failed(why.to_owned()))
}

fn path(text: &str) -> fdo::Result<OwnedObjectPath> {
    OwnedObjectPath::try_from(text).map_err(|e| fdo::Error::Failed(e.to_string()))
}

fn sender(header: &Header<'_>) -> String {
    header.sender().map(ToString::to_string).unwrap_or_default()
}

/// `org.bluez.Adapter1`.
pub(super) struct AdapterObject(pub Arc<Air>);

impl AdapterObject {
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut lock(&self.0.state))
    }
}

#[interface(name = "org.bluez.Adapter1")]
impl AdapterObject {
    async fn set_discovery_filter(&self, filter: HashMap<String, OwnedVariant>) {
        let mut keys: Vec<_> = filter.into_keys().collect();
        keys.sort();
        self.state(|state| state.log.push(format!("SetDiscoveryFilter {}", keys.join(","))));
    }

    async fn start_discovery(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        self.state(|state| {
            state.log.push("StartDiscovery".to_owned());
            if state.knobs.blocked {
                return Err(Refusal::NotReady("Resource Not Ready".to_owned()));
            }
            state.discovering.insert(sender(&header));
            state.discovering_since.get_or_insert_with(Instant::now);
            Ok(())
        })
    }

    async fn stop_discovery(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        self.state(|state| {
            state.log.push("StopDiscovery".to_owned());
            if state.discovering.remove(&sender(&header)) { Ok(()) } else { failed("No discovery started") }
        })
    }

    #[zbus(property)]
    fn address(&self) -> &str {
        "00:1A:7D:DA:71:13"
    }
    #[zbus(property)]
    fn address_type(&self) -> &str {
        "public"
    }
    #[zbus(property)]
    fn name(&self) -> &str {
        "station"
    }
    #[zbus(property)]
    fn alias(&self) -> &str {
        "station"
    }
    /// An adapter without this is not listed by bluez-async.
    #[zbus(property)]
    fn modalias(&self) -> &str {
        "usb:v1D6Bp0246d0542"
    }
    #[zbus(property)]
    fn powered(&self) -> bool {
        self.state(|state| state.powered)
    }
    #[zbus(property)]
    fn set_powered(&self, powered: bool) -> fdo::Result<()> {
        self.state(|state| {
            if powered && state.knobs.blocked {
                return Err(fdo::Error::Failed("Blocked through rfkill".to_owned()));
            }
            state.powered = powered;
            Ok(())
        })
    }
    #[zbus(property)]
    fn discovering(&self) -> bool {
        self.state(|state| !state.discovering.is_empty())
    }
}

/// `org.bluez.Device1` of the peripheral with this number.
pub(super) struct DeviceObject(pub Arc<Air>, pub usize);

impl DeviceObject {
    fn device<T>(&self, look: impl FnOnce(&mut Device) -> T) -> T {
        look(&mut lock(&self.0.state).devices[self.1])
    }
}

#[interface(name = "org.bluez.Device1")]
impl DeviceObject {
    async fn connect(&self) -> Result<(), Refusal> {
        let (how, wait) = {
            let mut state = lock(&self.0.state);
            let address = state.devices[self.1].card.address.clone();
            state.log.push(format!("Connect {address}"));
            let how = state.knobs.connects.pop_front().unwrap_or(Connect::Well);
            (how, Duration::from_millis(state.knobs.connect_ms))
        };
        match how {
            Connect::Fails(why) => return failed(&why),
            Connect::Hangs => pending::<()>().await,
            Connect::Well | Connect::DropsWhileResolving => sleep(wait).await,
        }
        let now = Instant::now();
        let resolve_after = {
            let mut state = lock(&self.0.state);
            let knobs = &state.knobs;
            let (resolve, late) = (knobs.resolve_ms, knobs.services_late_ms);
            let step = knobs.handle_step;
            let device = &mut state.devices[self.1];
            if !device.connected && !lock(&device.peer).in_reach(now) {
                return failed("le-connection-abort-by-local");
            }
            device.handle = device.handle.wrapping_add(step);
            (Duration::from_millis(resolve), Duration::from_millis(late))
        };
        self.device(|device| {
            device.connected = true;
            device.rssi = None;
            match how {
                Connect::DropsWhileResolving => device.cut_at = Some(now + resolve_after.0),
                _ => {
                    device.resolved_at = Some(now + resolve_after.0);
                    device.objects_at = Some(now + resolve_after.0 + resolve_after.1);
                }
            }
            lock(&device.peer).linked(true, now);
        });
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Refusal> {
        let mut state = lock(&self.0.state);
        let address = state.devices[self.1].card.address.clone();
        state.log.push(format!("Disconnect {address}"));
        let device = &mut state.devices[self.1];
        if !device.connected {
            return Err(Refusal::NotConnected("Not Connected".to_owned()));
        }
        device.cut_at = Some(Instant::now());
        Ok(())
    }

    #[zbus(property)]
    fn address(&self) -> String {
        self.device(|device| device.card.address.clone())
    }
    #[zbus(property)]
    fn address_type(&self) -> &str {
        "public"
    }
    #[zbus(property)]
    fn name(&self) -> String {
        self.device(|device| device.card.name.clone())
    }
    #[zbus(property)]
    fn alias(&self) -> String {
        self.device(|device| device.card.name.clone())
    }
    #[zbus(property)]
    fn paired(&self) -> bool {
        false
    }
    #[zbus(property)]
    fn bonded(&self) -> bool {
        false
    }
    #[zbus(property)]
    fn trusted(&self) -> bool {
        false
    }
    #[zbus(property)]
    fn blocked(&self) -> bool {
        false
    }
    #[zbus(property)]
    fn legacy_pairing(&self) -> bool {
        false
    }
    #[zbus(property)]
    pub fn connected(&self) -> bool {
        self.device(|device| device.connected)
    }
    #[zbus(property)]
    pub fn services_resolved(&self) -> bool {
        self.device(|device| device.resolved)
    }
    /// A property that is not there is one that cannot be read.
    #[zbus(property, name = "RSSI")]
    pub fn rssi(&self) -> fdo::Result<i16> {
        self.device(|device| device.rssi)
            .ok_or_else(|| fdo::Error::InvalidArgs("No such property".to_owned()))
    }
    #[zbus(property, name = "UUIDs")]
    fn uuids(&self) -> Vec<String> {
        self.device(|device| vec![device.card.service.clone()])
    }
    #[zbus(property)]
    fn adapter(&self) -> fdo::Result<OwnedObjectPath> {
        path(ADAPTER)
    }
}

/// `org.bluez.GattService1` of a peripheral.
pub(super) struct ServiceObject(pub Arc<Air>, pub usize);

#[interface(name = "org.bluez.GattService1")]
impl ServiceObject {
    #[zbus(property, name = "UUID")]
    fn uuid(&self) -> String {
        lock(&self.0.state).devices[self.1].card.service.clone()
    }
    #[zbus(property)]
    fn primary(&self) -> bool {
        true
    }
    #[zbus(property)]
    fn device(&self) -> fdo::Result<OwnedObjectPath> {
        path(&lock(&self.0.state).devices[self.1].path())
    }
}

/// `org.bluez.GattCharacteristic1`: number of the peripheral, number of the characteristic.
pub(super) struct CharacteristicObject(pub Arc<Air>, pub usize, pub usize);

impl CharacteristicObject {
    fn device<T>(&self, look: impl FnOnce(&mut Device) -> T) -> T {
        look(&mut lock(&self.0.state).devices[self.1])
    }
}

#[interface(name = "org.bluez.GattCharacteristic1")]
impl CharacteristicObject {
    async fn read_value(&self, _options: HashMap<String, OwnedVariant>) -> Vec<u8> {
        self.device(|device| device.value.clone())
    }

    async fn write_value(
        &self,
        value: Vec<u8>,
        options: HashMap<String, OwnedVariant>,
    ) -> Result<(), Refusal> {
        let fault = {
            let mut state = lock(&self.0.state);
            let kind = options.get("type").and_then(|kind| String::try_from(kind.clone()).ok());
            let text = String::from_utf8_lossy(&value).into_owned();
            state.log.push(format!("WriteValue {text} {}", kind.unwrap_or_default()));
            state.knobs.writes.pop_front()
        };
        match fault {
            Some(Write::Fails(why)) => return failed(&why),
            Some(Write::Hangs) => pending::<()>().await,
            None => {}
        }
        self.device(|device| {
            let size = usize::from(device.card.mtu) - 3;
            if !device.connected {
                return Err(Refusal::NotConnected("Not Connected".to_owned()));
            }
            if value.len() > size {
                return failed("the value is longer than a packet");
            }
            lock(&device.peer).hear(&value, Instant::now());
            Ok(())
        })
    }

    async fn start_notify(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        let mut state = lock(&self.0.state);
        state.log.push("StartNotify".to_owned());
        state.devices[self.1].notified.insert(sender(&header), self.2);
        Ok(())
    }

    async fn stop_notify(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Refusal> {
        match self.device(|device| device.notified.remove(&sender(&header))) {
            Some(_) => Ok(()),
            None => failed("No notify session started"),
        }
    }

    #[zbus(property, name = "UUID")]
    fn uuid(&self) -> String {
        self.device(|device| device.card.characteristics[self.2].uuid.clone())
    }
    #[zbus(property)]
    fn service(&self) -> fdo::Result<OwnedObjectPath> {
        path(&self.device(|device| device.service_path()))
    }
    #[zbus(property)]
    fn flags(&self) -> Vec<String> {
        self.device(|device| device.card.characteristics[self.2].flags.clone())
    }
    #[zbus(property)]
    pub fn value(&self) -> Vec<u8> {
        self.device(|device| device.value.clone())
    }
    #[zbus(property)]
    fn notifying(&self) -> bool {
        self.device(|device| device.notified.values().any(|number| *number == self.2))
    }
    #[zbus(property, name = "MTU")]
    fn mtu(&self) -> u16 {
        self.device(|device| device.card.mtu)
    }
}
