//! A Bluetooth LE peripheral without its radio: what the simulated Bluetooth daemon and a direct link talk to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};
use turnstage_drivers::link::{Link, LinkError};

/// What a peripheral tells everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The name that it advertises.
    pub name: String,
    /// `E4:8F:80:46:12:43`.
    pub address: String,
    /// UUID of its one service.
    pub service: String,
    /// Its characteristics.
    pub characteristics: Vec<Characteristic>,
    /// Largest attribute operation in bytes, of which three are a header.
    pub mtu: u16,
}

/// One characteristic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    /// Its UUID.
    pub uuid: String,
    /// As BlueZ names them: `write`, `write-without-response`, `notify`.
    pub flags: Vec<String>,
}

/// A peripheral with one stream of bytes in and one out. Moments are given, so that it runs on a paused clock too.
pub trait Peer: Send {
    /// Who it is.
    fn card(&self) -> Card;

    /// It advertises, or keeps a connection; `false` while it is off or held by somebody else.
    fn in_reach(&mut self, now: Instant) -> bool;

    /// A connection to it was made or has ended.
    fn linked(&mut self, up: bool, now: Instant);

    /// What was written to it.
    fn hear(&mut self, bytes: &[u8], now: Instant);

    /// The next notification that is due, at most MTU - 3 bytes.
    fn say(&mut self, now: Instant) -> Option<Vec<u8>>;

    /// When it does something next, by what it knows now.
    fn next_at(&mut self, now: Instant) -> Option<Instant>;
}

/// A peripheral that a test looks into while somebody talks to it.
pub type Shared<P> = Arc<Mutex<P>>;

/// Locks what no test leaves half changed.
pub(crate) fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A direct link looks at least this often whether it was cut.
const LOOK: Duration = Duration::from_millis(50);

/// A peripheral as a link, without Bluetooth between: for protocols on a paused clock.
pub struct Direct {
    peer: Shared<dyn Peer>,
    card: Card,
    up: bool,
}

impl Direct {
    /// Connects, if it is in reach.
    pub fn open(peer: Shared<dyn Peer>) -> Result<Self, LinkError> {
        let now = Instant::now();
        let card = {
            let mut peer = lock(&peer);
            let card = peer.card();
            if !peer.in_reach(now) {
                let (why, hint) = ("it did not advertise".to_owned(), "is it switched on?".to_owned());
                return Err(LinkError::Unavailable { link: card.name, why, hint });
            }
            peer.linked(true, now);
            card
        };
        Ok(Self { peer, card, up: true })
    }

    /// The peripheral, while the connection stands.
    fn there(&mut self) -> Result<MutexGuard<'_, dyn Peer + 'static>, LinkError> {
        let now = Instant::now();
        let mut peer = lock(&self.peer);
        if self.up && !peer.in_reach(now) {
            self.up = false;
            peer.linked(false, now);
        }
        if !self.up {
            let cause = std::io::Error::new(std::io::ErrorKind::NotConnected, "the connection broke");
            return Err(LinkError::Lost { link: self.card.name.clone(), cause });
        }
        Ok(peer)
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        if self.up {
            lock(&self.peer).linked(false, Instant::now());
        }
    }
}

#[async_trait]
impl Link for Direct {
    async fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        let size = usize::from(self.card.mtu) - 3;
        let mut peer = self.there()?;
        bytes.chunks(size).for_each(|chunk| peer.hear(chunk, Instant::now()));
        Ok(())
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let until = Instant::now() + limit;
        let before = into.len();
        loop {
            let now = Instant::now();
            let wake = {
                let mut peer = self.there()?;
                while let Some(said) = peer.say(now) {
                    into.extend_from_slice(&said);
                }
                peer.next_at(now).unwrap_or(until).clamp(now, now + LOOK).min(until)
            };
            if into.len() > before {
                return Ok(into.len() - before);
            }
            if now >= until {
                return Err(LinkError::Silent { link: self.card.name.clone(), limit });
            }
            // A moment that has passed already must not keep others from running.
            sleep_until(wake.max(now + Duration::from_millis(1))).await;
        }
    }

    fn name(&self) -> &str {
        &self.card.name
    }
}
