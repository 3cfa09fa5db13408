//! What a link needs of a Bluetooth stack, so that another one could take btleplug's place.
//!
//! Calls are plain: their limits are the session's, which may drop any of these futures at any moment.

use uuid::Uuid;

/// One adapter of this computer.
pub(super) trait Stack {
    /// What it hands out.
    type Peripheral: Peripheral;

    /// Begins to listen for advertisements.
    async fn start_scan(&self) -> Result<(), Trouble>;

    /// Ends it; an error means no more than that nobody was listening.
    async fn stop_scan(&self) -> Result<(), Trouble>;

    /// Every peripheral that the stack knows, whether it is near now or was once.
    async fn seen(&self) -> Result<Vec<Seen>, Trouble>;

    /// One of those that were seen. A second one of the same address would be deaf: take one and keep it.
    async fn take(&self, address: &str) -> Result<Self::Peripheral, Trouble>;
}

/// One peripheral, from its connection to its loss.
pub(super) trait Peripheral {
    /// Connects. When this fails or is dropped the stack may go on trying until [`Self::disconnect`].
    async fn connect(&mut self) -> Result<(), Trouble>;

    /// Takes the connection down, or ends the attempt to make one.
    async fn disconnect(&self) -> Result<(), Trouble>;

    /// Whether the stack believes that it is connected.
    async fn connected(&self) -> Result<bool, Trouble>;

    /// Reads which characteristics there are, anew.
    async fn discover(&mut self) -> Result<Vec<Place>, Trouble>;

    /// Asks for the notifications of one characteristic; [`Self::next`] brings them.
    async fn subscribe(&mut self, place: &Place) -> Result<(), Trouble>;

    /// Most bytes of one attribute operation, three of which are its header.
    fn mtu(&self) -> usize;

    /// Hands over what fits into one operation.
    async fn write(&self, place: &Place, bytes: &[u8], write: Write) -> Result<(), Trouble>;

    /// What happens next. Loses nothing when dropped. A stack may fail to tell of a loss.
    async fn next(&mut self) -> Event;
}

/// A peripheral that the stack knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// `E4:8F:80:46:12:43`.
    pub address: String,
    /// What it advertises, and what this computer calls it.
    pub names: Vec<String>,
    /// Strength of its last advertisement in dBm; `None` if it is only remembered.
    pub rssi: Option<i16>,
}

/// A characteristic and what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub service: Uuid,
    pub characteristic: Uuid,
    pub write: bool,
    pub write_without_response: bool,
    pub notify: bool,
}

/// How bytes are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// The peripheral confirms.
    Confirmed,
    /// It does not.
    Unconfirmed,
}

/// What a peripheral does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A notification of the characteristic that was subscribed to.
    Value(Vec<u8>),
    /// The connection is gone.
    Gone,
}

/// Why a stack could not do something, named for what a person does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The system bus does not answer.
    Bus(String),
    /// The bus is there, the Bluetooth daemon is not.
    Daemon,
    /// We may not talk to it.
    Rights(String),
    /// No adapter, or not the one that is wanted.
    Adapter(String),
    /// The adapter is switched off, by a switch or by software.
    Blocked(String),
    /// No answer within our limit, in whole seconds.
    Late(u64),
    /// Whatever else it said.
    Other(String),
}

impl Trouble {
    /// What was found, as the middle of a sentence.
    pub fn why(&self) -> String {
        match self {
            Self::Bus(said) => format!("the system bus does not answer: {said}"),
            Self::Daemon => "org.bluez is not on the bus".to_owned(),
            Self::Rights(said) => format!("Bluetooth is not for this user: {said}"),
            Self::Adapter(what) | Self::Other(what) => what.clone(),
            Self::Blocked(said) => format!("the Bluetooth adapter is switched off: {said}"),
            Self::Late(limit_s) => format!("no answer within {limit_s} s"),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Bus(_) => "is dbus.service running?",
            Self::Daemon => "is bluetooth.service running? package bluez",
            Self::Rights(_) => "add the user of this service to the group bluetooth",
            Self::Adapter(_) => "plug in a Bluetooth adapter; bluetoothctl list shows those that are there",
            Self::Blocked(_) => "rfkill unblock bluetooth",
            Self::Late(_) | Self::Other(_) => {
                "switch the table off and on; if that does not help, restart bluetooth.service"
            }
        }
    }
}
