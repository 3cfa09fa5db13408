//! btleplug as the stack: BlueZ over D-Bus.
//!
//! Its streams start a task when they are dropped, and its connection to the bus lives as long as its runtime: all of
//! this must stay in one runtime of one thread, which ends with it. On several threads bluez-async 0.9.0 panics while
//! it drops a stream and leaves a match rule in the bus each time.

use std::pin::Pin;

use btleplug::api::{
    Central, CentralEvent, CharPropFlags, Characteristic, Manager as _, Peripheral as _, ScanFilter,
    ValueNotification, WriteType,
};
use btleplug::platform;
use futures_util::{Stream, StreamExt};

use super::stack::{Event, Peripheral, Place, Seen, Stack, Trouble, Write};

/// An adapter, over a connection to the bus of its own.
pub(super) struct Radio(platform::Adapter);

impl Radio {
    /// The adapter of that name or address; without one, the first. Blocks for a moment while it connects to the bus.
    pub async fn open(wanted: Option<&str>) -> Result<Self, Trouble> {
        let manager = platform::Manager::new().await.map_err(|e| Trouble::Bus(e.to_string()))?;
        let mut named = Vec::new();
        for adapter in manager.adapters().await.map_err(trouble)? {
            // "hci0 (usb:v1D6Bp0246d0542)"
            let info = adapter.adapter_info().await.map_err(trouble)?;
            let address = adapter.adapter_address().await.map_err(trouble)?;
            let name = info.split(' ').next().unwrap_or_default().to_owned();
            named.push((name, address.map(|a| a.to_string()).unwrap_or_default(), adapter));
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let is_wanted = |name: &str, address: &str| {
            wanted.is_none_or(|wanted| wanted == name || wanted.eq_ignore_ascii_case(address))
        };
        let names = named.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ");
        let none = match (wanted, names.as_str()) {
            (_, "") => "no Bluetooth adapter".to_owned(),
            (Some(wanted), names) => format!("no Bluetooth adapter {wanted}; there are: {names}"),
            (None, names) => format!("no Bluetooth adapter among: {names}"),
        };
        let found = named.into_iter().find(|(name, address, _)| is_wanted(name, address));
        found.map(|(.., adapter)| Self(adapter)).ok_or(Trouble::Adapter(none))
    }
}

impl Stack for Radio {
    type Peripheral = Plugged;

    async fn start_scan(&self) -> Result<(), Trouble> {
        self.0.start_scan(ScanFilter::default()).await.map_err(trouble)
    }

    async fn stop_scan(&self) -> Result<(), Trouble> {
        self.0.stop_scan().await.map_err(trouble)
    }

    async fn seen(&self) -> Result<Vec<Seen>, Trouble> {
        let mut all = Vec::new();
        for peripheral in self.0.peripherals().await.map_err(trouble)? {
            // One that has gone since is not worth an error.
            let Ok(Some(known)) = peripheral.properties().await else { continue };
            let names = [known.advertisement_name, known.local_name];
            all.push(Seen {
                address: known.address.to_string(),
                names: names.into_iter().flatten().collect(),
                rssi: known.rssi,
            });
        }
        Ok(all)
    }

    async fn take(&self, address: &str) -> Result<Plugged, Trouble> {
        let all = self.0.peripherals().await.map_err(trouble)?;
        let found = all.into_iter().find(|peripheral| peripheral.address().to_string() == address);
        let peripheral = found.ok_or_else(|| Trouble::Other(format!("{address} is not known any more")))?;
        Ok(Plugged { adapter: self.0.clone(), peripheral, losses: None, values: None })
    }
}

type Flow<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// A peripheral with what it tells.
pub(super) struct Plugged {
    adapter: platform::Adapter,
    peripheral: platform::Peripheral,
    losses: Option<Flow<CentralEvent>>,
    values: Option<(Place, Flow<ValueNotification>)>,
}

impl Plugged {
    fn characteristic(&self, place: &Place) -> Result<Characteristic, Trouble> {
        let of_service =
            |c: &Characteristic| c.service_uuid == place.service && c.uuid == place.characteristic;
        let found = self.peripheral.characteristics().into_iter().find(of_service);
        found.ok_or_else(|| Trouble::Other(format!("no characteristic {}", place.characteristic)))
    }
}

impl Peripheral for Plugged {
    async fn connect(&mut self) -> Result<(), Trouble> {
        // Before the connection, so that no loss is missed; a stream of notifications stays silent after one.
        let id = self.peripheral.id();
        let losses = self.losses.insert(self.adapter.events().await.map_err(trouble)?);
        let broke = || Trouble::Other("the connection broke while its services were read".to_owned());
        tokio::select! {
            connected = self.peripheral.connect() => connected.map_err(trouble),
            // btleplug would wait for the services of a connection that is gone.
            () = lost(losses, &id) => Err(broke()),
        }
    }

    async fn disconnect(&self) -> Result<(), Trouble> {
        self.peripheral.disconnect().await.map_err(trouble)
    }

    async fn connected(&self) -> Result<bool, Trouble> {
        self.peripheral.is_connected().await.map_err(trouble)
    }

    async fn discover(&mut self) -> Result<Vec<Place>, Trouble> {
        self.peripheral.discover_services().await.map_err(trouble)?;
        let place = |c: Characteristic| Place {
            service: c.service_uuid,
            characteristic: c.uuid,
            write: c.properties.contains(CharPropFlags::WRITE),
            write_without_response: c.properties.contains(CharPropFlags::WRITE_WITHOUT_RESPONSE),
            notify: c.properties.intersects(CharPropFlags::NOTIFY | CharPropFlags::INDICATE),
        };
        Ok(self.peripheral.characteristics().into_iter().map(place).collect())
    }

    async fn subscribe(&mut self, place: &Place) -> Result<(), Trouble> {
        let values = self.peripheral.notifications().await.map_err(trouble)?;
        self.values = Some((*place, values));
        self.peripheral.subscribe(&self.characteristic(place)?).await.map_err(trouble)
    }

    fn mtu(&self) -> usize {
        usize::from(self.peripheral.mtu())
    }

    async fn write(&self, place: &Place, bytes: &[u8], write: Write) -> Result<(), Trouble> {
        let kind = match write {
            Write::Confirmed => WriteType::WithResponse,
            Write::Unconfirmed => WriteType::WithoutResponse,
        };
        self.peripheral.write(&self.characteristic(place)?, bytes, kind).await.map_err(trouble)
    }

    async fn next(&mut self) -> Event {
        let id = self.peripheral.id();
        let (Some(losses), Some((place, values))) = (&mut self.losses, &mut self.values) else {
            return Event::Gone;
        };
        let ours =
            |it: &ValueNotification| (it.service_uuid, it.uuid) == (place.service, place.characteristic);
        loop {
            tokio::select! {
                // What was said before the loss is worth having.
                biased;
                value = values.next() => match value {
                    Some(it) if ours(&it) => return Event::Value(it.value),
                    Some(_) => {}
                    None => return Event::Gone,
                },
                () = lost(losses, &id) => return Event::Gone,
            }
        }
    }
}

/// Ends when the peripheral is disconnected, or when nobody would tell of it any more.
async fn lost(events: &mut Flow<CentralEvent>, id: &platform::PeripheralId) {
    while let Some(event) = events.next().await {
        if matches!(&event, CentralEvent::DeviceDisconnected(lost) if lost == id) {
            return;
        }
    }
}

/// D-Bus tells errors by name, which btleplug shows to programmers only.
fn trouble(error: btleplug::Error) -> Trouble {
    let (said, all) = (error.to_string(), format!("{error:?}"));
    let names = |known: &[&str]| known.iter().any(|name| all.contains(name));
    let absent =
        ["org.bluez was not provided", "ServiceUnknown", "NameHasNoOwner", "disconnected from message bus"];
    if names(&absent) {
        Trouble::Daemon
    } else if names(&["AccessDenied", "PermissionDenied", "NotAuthorized"]) {
        Trouble::Rights(said)
    } else if names(&["Error.Blocked", "Blocked through rfkill", "NotReady", "Resource Not Ready"]) {
        Trouble::Blocked(said)
    } else if names(&["Error.Disconnected", "Connection is closed", "Read/write failed"]) {
        Trouble::Bus(said)
    } else {
        Trouble::Other(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bus_says_becomes_what_a_technician_does() {
        let of = |name: &str, message: &str| {
            trouble(btleplug::Error::Other(Box::new(dbus::Error::new_custom(name, message))))
        };
        let absent = "The name org.bluez was not provided by any .service files";
        assert_eq!(of("org.freedesktop.DBus.Error.ServiceUnknown", absent), Trouble::Daemon);
        let denied = "Rejected send message";
        let rights = of("org.freedesktop.DBus.Error.AccessDenied", denied);
        assert_eq!(rights, Trouble::Rights(denied.to_owned()));
        assert!(rights.hint().contains("group bluetooth"), "{}", rights.hint());
        let blocked = of("org.bluez.Error.Failed", "Blocked through rfkill");
        assert!(blocked.hint().contains("rfkill"), "{}", blocked.hint());
        let other = of("org.bluez.Error.Failed", "le-connection-abort-by-local");
        assert_eq!(other.why(), "le-connection-abort-by-local");
    }
}
