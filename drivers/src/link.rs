//! How a turntable's bytes travel: a link carries them there and back, each time within a limit.

#[cfg(feature = "ble")]
pub mod ble;
pub mod script;
pub mod serial;
pub mod tcp;

use std::time::Duration;

use async_trait::async_trait;

use crate::{DeviceOptions, TurntableError};

/// Why no link of some kind can be opened by this process any more, though a new one could, if so: whoever runs it
/// restarts it once nothing is under way.
pub fn stuck() -> Option<String> {
    #[cfg(feature = "ble")]
    return ble::stuck();
    #[cfg(not(feature = "ble"))]
    None
}

/// Bytes there and back with a limit. Framing is the protocol's business.
#[async_trait]
pub trait Link: Send {
    /// Hands all of `bytes` over, or fails within `limit`.
    async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), LinkError>;

    /// Appends what has arrived to `into` and returns how many bytes that were; waits up to `limit` for the first.
    /// Nothing is lost when the future is dropped.
    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError>;

    /// What a person would look for: `/dev/serial/by-id/…`, `REVO_DUAL_AXIS_TABLE`.
    fn name(&self) -> &str;
}

/// What went wrong on the way, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing within the limit: ask again or give up, the link itself stands.
    #[error("{link}: nothing within {limit:?}")]
    Silent {
        /// Name of the link.
        link: String,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The link is gone: open it again.
    #[error("{link}: lost")]
    Lost {
        /// Name of the link.
        link: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It cannot be opened: not present, not for us, or held by another program. Wait, or tell a person.
    #[error("{link}: {why} ({hint})")]
    Unavailable {
        /// Name of the link.
        link: String,
        /// What was found.
        why: String,
        /// What to do: the cable, the group, the udev rule, the program that holds it.
        hint: String,
    },
}

impl LinkError {
    /// The same of the table at the other end: what was `tried` on the table `id` when it happened.
    pub fn while_trying(self, id: &str, tried: &str) -> TurntableError {
        let (id, tried) = (id.to_owned(), tried.to_owned());
        match self {
            Self::Silent { limit, .. } => TurntableError::NoReply { id, tried, limit },
            Self::Lost { .. } => TurntableError::LinkLost { id, tried },
            Self::Unavailable { why, hint, .. } => TurntableError::Unavailable { id, why, hint },
        }
    }
}

/// The end of a link, as a person configures it: exactly one of `serial`, `tcp` and `ble`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Absolute path of a serial port, best one below `/dev/serial/by-id`, which stays the same after a replug.
    Serial(String),
    /// `host:port`.
    Tcp(String),
    /// Name that a table advertises, or its address.
    Ble(String),
}

/// What a configured table's section says of its link. Every other key is the driver's own.
///
/// Keys: `serial`, `tcp` or `ble`; of a serial port `baud`, `dtr` and `settle_ms`; of Bluetooth `adapter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkKeys {
    /// Where the bytes go.
    pub way: Way,
    /// Symbols a second of a serial port, 300 to 4000000, instead of the driver's.
    pub baud: Option<u32>,
    /// Leave DTR and RTS as the system sets them at opening (`true`), or clear both.
    pub dtr: Option<bool>,
    /// Silence after opening, 0 to 30000 ms; what arrives in it is thrown away.
    pub settle_ms: Option<u64>,
    /// Bluetooth adapter, `hci0`; without, the first one.
    pub adapter: Option<String>,
}

/// What a driver knows of the link that its kind of table has; [`LinkKeys`] may say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Symbols a second of a serial port.
    pub baud: u32,
    /// `false`: DTR and RTS are cleared after opening.
    pub dtr: bool,
    /// Time that a board needs after a serial port was opened; what it says meanwhile is thrown away.
    pub settle: Duration,
    /// Its place on a Bluetooth table, if there are such.
    pub ble: Option<Gatt>,
}

impl Default for Wire {
    fn default() -> Self {
        Self { baud: 115_200, dtr: true, settle: Duration::ZERO, ble: None }
    }
}

/// Where a Bluetooth table takes and gives bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gatt {
    /// UUID of the service.
    pub service: String,
    /// UUID of the characteristic that is written.
    pub write: String,
    /// UUID of the characteristic that notifies.
    pub notify: String,
    /// Pause between the pieces of one message, in milliseconds.
    pub chunk_gap_ms: u64,
}

impl LinkKeys {
    /// Takes the keys of the link out of a table's section; what is left is the driver's own.
    pub fn take(options: &DeviceOptions) -> Result<(Self, DeviceOptions), String> {
        let mut own = options.clone();
        let mut text = |key: &str| match own.keys.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(other) => Err(format!("{key} = {other} is not a text in quotes")),
        };
        let (serial, tcp, ble, adapter) = (text("serial")?, text("tcp")?, text("ble")?, text("adapter")?);
        let way = match (serial, tcp, ble) {
            (Some(path), None, None) => Way::Serial(serial::absolute(path)?),
            (None, Some(address), None) => Way::Tcp(tcp::with_port(address)?),
            (None, None, Some(name)) => Way::Ble(name),
            _ => {
                let what = "exactly one of serial = \"/dev/serial/by-id/…\", tcp = \"host:port\" and \
                            ble = \"name or address\" must be given";
                return Err(what.to_owned());
            }
        };
        let mut number = |key: &str, low: i64, high: i64| match own.keys.remove(key) {
            None => Ok(None),
            Some(toml::Value::Integer(n)) if (low..=high).contains(&n) => Ok(Some(n.unsigned_abs())),
            Some(other) => Err(format!("{key} = {other} is not a whole number in {low} to {high}")),
        };
        let baud = number("baud", 300, 4_000_000)?.and_then(|n| u32::try_from(n).ok());
        let settle_ms = number("settle_ms", 0, 30_000)?;
        let dtr = match own.keys.remove("dtr") {
            None => None,
            Some(toml::Value::Boolean(on)) => Some(on),
            Some(other) => return Err(format!("dtr = {other} is neither true nor false")),
        };
        let (is_serial, is_ble) = (matches!(way, Way::Serial(_)), matches!(way, Way::Ble(_)));
        for (key, given, belongs, to) in [
            ("baud", baud.is_some(), is_serial, "serial"),
            ("dtr", dtr.is_some(), is_serial, "serial"),
            ("settle_ms", settle_ms.is_some(), is_serial, "serial"),
            ("adapter", adapter.is_some(), is_ble, "ble"),
        ] {
            if given && !belongs {
                return Err(format!("{key} belongs to {to} = \"…\" and says nothing here; leave it out"));
            }
        }
        Ok((Self { way, baud, dtr, settle_ms, adapter }, own))
    }

    /// What a person would look for; the stable identity of a table that has no better one.
    pub fn name(&self) -> &str {
        match &self.way {
            Way::Serial(name) | Way::Tcp(name) | Way::Ble(name) => name,
        }
    }

    /// Opens the link. It is silent afterwards: what a board says at start-up was thrown away.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`], or `Lost` when it went away meanwhile.
    pub async fn open(&self, wire: &Wire) -> Result<Box<dyn Link>, LinkError> {
        let settle = self.settle_ms.map_or(wire.settle, Duration::from_millis);
        match &self.way {
            Way::Serial(path) => {
                let (baud, dtr) = (self.baud.unwrap_or(wire.baud), self.dtr.unwrap_or(wire.dtr));
                Ok(Box::new(serial::Serial::open(path, baud, dtr, settle).await?))
            }
            Way::Tcp(address) => Ok(Box::new(tcp::Tcp::open(address).await?)),
            Way::Ble(name) => self.open_ble(name, wire).await,
        }
    }

    #[cfg(feature = "ble")]
    async fn open_ble(&self, name: &str, wire: &Wire) -> Result<Box<dyn Link>, LinkError> {
        let gatt = wire.ble.clone().ok_or_else(|| no_bluetooth(name))?;
        let keys = ble::BleKeys {
            name: name.to_owned(),
            adapter: self.adapter.clone(),
            service: gatt.service,
            write: gatt.write,
            notify: gatt.notify,
            chunk_gap_ms: gatt.chunk_gap_ms,
        };
        ble::open(&keys).await
    }

    #[cfg(not(feature = "ble"))]
    async fn open_ble(&self, name: &str, wire: &Wire) -> Result<Box<dyn Link>, LinkError> {
        wire.ble.as_ref().ok_or_else(|| no_bluetooth(name))?;
        let (why, hint) = ("this build has no Bluetooth", "use a build with the feature \"ble\"");
        Err(LinkError::Unavailable { link: name.to_owned(), why: why.to_owned(), hint: hint.to_owned() })
    }
}

fn no_bluetooth(name: &str) -> LinkError {
    let (why, hint) = ("this table has no Bluetooth", "use serial = \"…\" or tcp = \"…\"");
    LinkError::Unavailable { link: name.to_owned(), why: why.to_owned(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(keys: &str) -> Result<(LinkKeys, DeviceOptions), String> {
        LinkKeys::take(&toml::from_str(&format!("driver = \"grbl\"\n{keys}")).unwrap())
    }

    #[test]
    fn a_link_takes_its_own_keys_and_leaves_the_drivers() {
        let (link, own) = take("serial = \"/dev/a\"\nbaud = 9600\ndtr = false\naxis = \"X\"").unwrap();
        assert_eq!((link.name(), link.baud, link.dtr), ("/dev/a", Some(9600), Some(false)));
        assert_eq!(own.keys.keys().collect::<Vec<_>>(), ["axis"]);
        assert_eq!(take("tcp = \"10.0.0.5:23\"").unwrap().0.way, Way::Tcp("10.0.0.5:23".to_owned()));
    }

    #[test]
    fn a_wrong_key_of_a_link_is_told_with_its_value_and_range() {
        for (keys, told) in [
            ("", "exactly one of serial"),
            ("serial = \"/dev/a\"\ntcp = \"h:1\"", "exactly one of serial"),
            ("serial = 3", "serial = 3 is not a text"),
            ("serial = \"ttyUSB0\"", "must begin with /"),
            ("tcp = \"table\"", "host:port"),
            ("tcp = \"table:99999\"", "host:port"),
            ("tcp = \"h:1\"\nbaud = 9600", "baud belongs to serial"),
            ("ble = \"T\"\ndtr = false", "dtr belongs to serial"),
            ("tcp = \"h:1\"\nsettle_ms = 100", "settle_ms belongs to serial"),
            ("serial = \"/dev/a\"\nadapter = \"hci0\"", "adapter belongs to ble"),
            ("serial = \"/dev/a\"\nbaud = 5", "baud = 5 is not a whole number in 300 to 4000000"),
            ("serial = \"/dev/a\"\nsettle_ms = -1", "0 to 30000"),
            ("serial = \"/dev/a\"\ndtr = \"no\"", "neither true nor false"),
        ] {
            let what = take(keys).unwrap_err();
            assert!(what.contains(told), "{keys}: {what}");
        }
    }
}
