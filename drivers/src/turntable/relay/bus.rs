//! Questions to a Modbus device and their answers, one at a time, on a line that may carry one direction at a time.
//!
//! On a serial line whoever speaks while the device answers is not heard. A question may be given up half-way, by a
//! person's stop or by the end of a timed way; the next one then waits until the answer to it is in, or is overdue.

use std::time::Duration;

use tokio::time::Instant;

use super::cabinet::Trouble;
use super::modbus::{Answer, Framing, Request, exception};
use crate::link::{Link, LinkError};

/// The longest wait for an answer.
const ANSWER: Duration = Duration::from_millis(500);
/// Tries of what may be repeated.
const TRIES: usize = 3;
const SEND: Duration = Duration::from_secs(1);
/// What arrived unasked is thrown away within this.
const DRAIN: Duration = Duration::from_millis(1);
/// A device that is in order begins to answer within this.
const TURNAROUND: Duration = Duration::from_millis(100);
/// Bytes of the longest question and of the longest answer, and the bits of one byte on the line.
const FRAME_BYTES: u32 = 8;
const BYTE_BITS: u32 = 11;
/// More is no answer: another device talks.
const BYTES_MAX: usize = 600;

/// A Modbus device at the other end of a link.
pub(super) struct Bus {
    link: Box<dyn Link>,
    framing: Framing,
    unit: u8,
    transaction: u16,
    exchange: Duration,
    /// The question that has no answer yet, and until when one may come.
    owed: Option<(Request, Instant)>,
    /// When the device answered last.
    spoken: Instant,
}

impl Bus {
    /// The device with the number `unit`; `baud` is the speed of a serial line.
    pub(super) fn new(link: Box<dyn Link>, framing: Framing, unit: u8, baud: u32) -> Self {
        let on_line = match framing {
            Framing::Rtu => Duration::from_secs(1) * (2 * FRAME_BYTES * BYTE_BITS) / baud.max(1),
            Framing::Tcp => Duration::ZERO,
        };
        let exchange = on_line + TURNAROUND;
        Self { link, framing, unit, transaction: 0, exchange, owed: None, spoken: Instant::now() }
    }

    pub(super) fn name(&self) -> &str {
        self.link.name()
    }

    /// How long a question and its answer take at most, with a device that is in order.
    pub(super) fn exchange(&self) -> Duration {
        self.exchange
    }

    /// When the device answered last.
    pub(super) fn spoken(&self) -> Instant {
        self.spoken
    }

    /// Asks what must not be asked twice.
    pub(super) async fn ask_once(&mut self, request: Request) -> Result<u16, Trouble> {
        self.ask_for(request, &[ANSWER]).await
    }

    /// Asks what may be asked again.
    pub(super) async fn ask(&mut self, request: Request) -> Result<u16, Trouble> {
        self.ask_for(request, &[ANSWER; TRIES]).await
    }

    /// Asks for what cannot wait, again as soon as its answer is overdue. Returns how late that may have been done, if
    /// the first question was not heard.
    pub(super) async fn insist(&mut self, request: Request) -> Result<Duration, Trouble> {
        let begun = Instant::now();
        self.ask_for(request, &[self.exchange, self.exchange, ANSWER]).await?;
        Ok(Some(begun.elapsed()).filter(|took| *took > self.exchange).unwrap_or_default())
    }

    async fn ask_for(&mut self, request: Request, waits: &[Duration]) -> Result<u16, Trouble> {
        for wait in waits {
            self.quiet().await?;
            self.transaction = self.transaction.wrapping_add(1);
            self.owed = Some((request, Instant::now() + self.exchange));
            self.link.send(&request.frame(self.framing, self.unit, self.transaction), SEND).await?;
            match self.answer(request, Instant::now() + *wait).await? {
                Answer::Value(value) => return Ok(value),
                Answer::Refused(code) => return Err(Trouble::Refused(exception(code))),
                Answer::Partial | Answer::Foreign => {}
            }
        }
        Err(Trouble::Silent(waits.iter().sum()))
    }

    /// What came until then; `Partial` if that is no whole answer.
    async fn answer(&mut self, request: Request, until: Instant) -> Result<Answer, Trouble> {
        let mut heard = Vec::new();
        while heard.len() <= BYTES_MAX {
            match self.link.receive(&mut heard, until.saturating_duration_since(Instant::now())).await {
                Ok(_) => {}
                Err(LinkError::Silent { .. }) => break,
                Err(lost) => return Err(lost.into()),
            }
            match request.answer(self.framing, self.unit, self.transaction, &heard) {
                Answer::Partial => {}
                Answer::Foreign => return Ok(Answer::Foreign),
                answer => {
                    (self.owed, self.spoken) = (None, Instant::now());
                    return Ok(answer);
                }
            }
        }
        Ok(Answer::Partial)
    }

    /// Waits until nobody speaks on the line any more, and throws away what was said.
    async fn quiet(&mut self) -> Result<(), Trouble> {
        if let Some((request, until)) = self.owed
            && self.framing == Framing::Rtu
        {
            // What came of it does not matter. After noise the answer itself may still come.
            while self.owed.is_some() && Instant::now() < until {
                self.answer(request, until).await?;
            }
        }
        self.owed = None;
        let mut heard = Vec::new();
        while self.link.receive(&mut heard, DRAIN).await.is_ok() && heard.len() < BYTES_MAX {}
        Ok(())
    }
}
