//! RAUC and the login manager on the system bus.
//!
//! A connection is made for a piece of work and dropped after it. It is a future that must be polled for anything to
//! arrive: every call polls it beside its answer. While RAUC writes a slot it answers properties only; its slots are asked
//! before and after.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use std::sync::Arc;

use dbus::arg::{self, AppendAll, PropMap, ReadAll, RefArg};
use dbus::channel::{BusType, Channel};
use dbus::message::MatchRule;
use dbus::nonblock::{MsgMatch, Proxy, SyncConnection};
use dbus_tokio::connection::{self, IOResource};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::{Slot, SlotVersions};

const RAUC: &str = "de.pengutronix.rauc";
const INSTALLER: &str = "de.pengutronix.rauc.Installer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Reading the bootloader's state, or a bundle's signature, may take so long.
const WORK: Duration = Duration::from_secs(120);

/// Why the bus gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BusError {
    /// There is no bus, or nobody of that name on it.
    #[error("nobody answers on the system bus: {0}")]
    Nobody(String),
    /// It is of a version that does not know what it is asked.
    #[error("it is too old: {0}")]
    Unknown(String),
    /// It was asked and refused, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// What RAUC does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// It is busy with an installation.
    pub installing: bool,
    /// 0 to 100.
    pub percent: u8,
    /// What it does, in its words.
    pub message: String,
    /// What went wrong last; may be of an earlier installation.
    pub last_error: String,
}

/// A connection to the system bus.
pub(super) struct Bus {
    io: IOResource<SyncConnection>,
    to: Arc<SyncConnection>,
}

/// Ends of installations.
pub(super) struct Ends {
    stream: BoxStream<'static, i32>,
    _held: MsgMatch,
}

impl Bus {
    /// Connects to the system bus, or to `DBUS_SYSTEM_BUS_ADDRESS`.
    pub async fn open() -> Result<Self, BusError> {
        let nobody = |error: String| BusError::Nobody(error);
        // libdbus waits for the bus to say hello.
        let channel = tokio::task::spawn_blocking(|| Channel::get_private(BusType::System)).await;
        let channel = channel.map_err(|error| nobody(error.to_string()))?.map_err(refused)?;
        let (io, to) = connection::from_channel(channel).map_err(refused)?;
        Ok(Self { io, to })
    }

    /// The slots, and the name of this kind of machine.
    pub async fn versions(&mut self) -> Result<SlotVersions, BusError> {
        let (slots,): (Vec<(String, PropMap)>,) = self.rauc("GetSlotStatus", (), WORK).await?;
        let mut slots: Vec<Slot> = slots.into_iter().map(|(name, told)| slot(name, &told)).collect();
        slots.sort_by(|one, other| one.name.cmp(&other.name));
        let compatible = self.properties().await?;
        Ok(SlotVersions { compatible: text(&compatible, "Compatible"), slots })
    }

    /// The slot that the bootloader would boot next.
    pub async fn primary(&mut self) -> Result<String, BusError> {
        self.rauc::<(String,), _>("GetPrimary", (), WORK).await.map(|(name,)| name)
    }

    /// The version that a bundle says it is, after RAUC checked its signature.
    pub async fn inspect(&mut self, bundle: &str) -> Result<Option<String>, BusError> {
        match self.rauc::<(PropMap,), _>("InspectBundle", (bundle, PropMap::new()), WORK).await {
            Ok((info,)) => Ok(info.get("update").and_then(|update| inner(&update.0, "version"))),
            // Before version 1.8; what installs looks itself.
            Err(BusError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to write the other slot; follow [`Bus::progress`] and [`Bus::ends`].
    pub async fn install(&mut self, bundle: &str) -> Result<(), BusError> {
        self.rauc("InstallBundle", (bundle, PropMap::new()), WORK).await
    }

    /// What RAUC does now.
    pub async fn progress(&mut self) -> Result<Progress, BusError> {
        let told = self.properties().await?;
        let parts: Vec<&dyn RefArg> =
            told.get("Progress").and_then(|value| value.0.as_iter()).into_iter().flatten().collect();
        let percent = parts.first().and_then(|part| part.as_i64()).unwrap_or_default().clamp(0, 100);
        Ok(Progress {
            installing: text(&told, "Operation") == "installing",
            percent: u8::try_from(percent).unwrap_or_default(),
            message: parts.get(1).and_then(|part| part.as_str()).unwrap_or_default().to_owned(),
            last_error: text(&told, "LastError"),
        })
    }

    /// Hears of the ends of installations from now on: 0 is a success.
    pub async fn ends(&mut self) -> Result<Ends, BusError> {
        let rule = MatchRule::new_signal(INSTALLER, "Completed");
        let to = Arc::clone(&self.to);
        let held = self.beside(async move { to.add_match(rule).await }).await?;
        let (held, stream) = held.stream::<(i32,)>();
        Ok(Ends { stream: stream.map(|(_, (result,))| result).boxed(), _held: held })
    }

    /// Waits for an end, or so long.
    pub async fn end(&mut self, ends: &mut Ends, limit: Duration) -> Result<Option<i32>, BusError> {
        let next = tokio::time::timeout(limit, ends.stream.next());
        self.beside(async move { Ok(next.await.ok().flatten()) }).await
    }

    /// Marks a slot (`booted`, `other` or its name) `good`, `bad` or `active`.
    pub async fn mark(&mut self, state: &str, slot: &str) -> Result<(), BusError> {
        self.rauc::<(String, String), _>("Mark", (state, slot), WORK).await.map(drop)
    }

    /// Reboots the machine.
    pub async fn reboot(&mut self) -> Result<(), BusError> {
        let (name, path) = ("org.freedesktop.login1", "/org/freedesktop/login1");
        let proxy = Proxy::new(name, path, ANSWER, Arc::clone(&self.to));
        let reply =
            async move { proxy.method_call("org.freedesktop.login1.Manager", "Reboot", (false,)).await };
        self.beside(reply).await
    }

    async fn properties(&mut self) -> Result<PropMap, BusError> {
        let proxy = Proxy::new(RAUC, "/", ANSWER, Arc::clone(&self.to));
        let reply = async move { proxy.method_call(PROPERTIES, "GetAll", (INSTALLER,)).await };
        self.beside(reply).await.map(|(told,): (PropMap,)| told)
    }

    async fn rauc<R, A>(&mut self, method: &'static str, args: A, limit: Duration) -> Result<R, BusError>
    where
        R: ReadAll + Send + 'static,
        A: AppendAll + Send,
    {
        let proxy = Proxy::new(RAUC, "/", limit, Arc::clone(&self.to));
        self.beside(async move { proxy.method_call(INSTALLER, method, args).await }).await
    }

    /// Does something with the connection kept going beside it.
    async fn beside<T>(&mut self, work: impl Future<Output = Result<T, dbus::Error>>) -> Result<T, BusError> {
        let io = &mut self.io;
        // Before anything is sent, or the connection has nobody to wake.
        let lost = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *io).poll(context))).await;
        if let Poll::Ready(error) = lost {
            return Err(BusError::Nobody(error.to_string()));
        }
        tokio::select! {
            biased;
            done = work => done.map_err(refused),
            error = io => Err(BusError::Nobody(error.to_string())),
        }
    }
}

fn refused(error: dbus::Error) -> BusError {
    let words = error.message().unwrap_or("no reason was given").trim().to_owned();
    match error.name().unwrap_or_default() {
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.DBus.Error.FileNotFound"
        | "org.freedesktop.DBus.Error.NoServer"
        | "org.freedesktop.DBus.Error.Disconnected"
        | "org.freedesktop.DBus.Error.NoReply"
        | "org.freedesktop.DBus.Error.Timeout" => BusError::Nobody(words),
        name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => BusError::Nobody(words),
        "org.freedesktop.DBus.Error.UnknownMethod" => BusError::Unknown(words),
        _ => BusError::Refused(words),
    }
}

fn text(told: &PropMap, key: &str) -> String {
    arg::prop_cast::<String>(told, key).cloned().unwrap_or_default()
}

/// A text of a dictionary that is itself a value: a variant has one part, a dictionary keys and values in turn.
fn inner(value: &dyn RefArg, key: &str) -> Option<String> {
    let parts: Vec<&dyn RefArg> = value.as_iter()?.collect();
    match parts.as_slice() {
        [whole] => inner(*whole, key),
        pairs => {
            let pair = pairs.chunks_exact(2).find(|pair| pair[0].as_str() == Some(key))?;
            pair[1].as_str().map(str::to_owned)
        }
    }
}

fn slot(name: String, told: &PropMap) -> Slot {
    let count = arg::prop_cast::<u32>(told, "installed.count").copied().unwrap_or_default();
    Slot {
        note: format!("{} {count} {}", text(told, "installed.timestamp"), text(told, "sha256")),
        name,
        bootname: text(told, "bootname"),
        state: text(told, "state"),
        boot_status: text(told, "boot-status"),
        version: text(told, "bundle.version"),
    }
}
