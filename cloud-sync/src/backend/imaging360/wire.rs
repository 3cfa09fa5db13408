//! Sends requests to the service and its store: under breakers, within a time, and again when the network changed
//! under them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::moment;
use super::transport::{HttpRequest, HttpResponse, Transport, TransportError};
use crate::backend::PutError;
use crate::breaker::{Breaker, Permit, RETURN_MS_MAX};
use crate::{Clock, ClockQuality};

/// After a network-up event a request that has not moved for so long left by the old network.
const STALL: Duration = Duration::from_secs(1);
/// So often a request is begun again because of that.
const RESTARTS_MAX: u32 = 3;

/// Endpoints that fail for reasons of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The service: sessions, upload addresses, token.
    Api,
    /// Where pictures are put.
    Storage,
    /// The service's event log. Apart, because a broken one must not hold up pictures.
    Events,
}

/// No answer that could be judged.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The breaker is open, the network is gone, or the connection broke.
    Put(PutError),
    /// The file cannot be read.
    LocalFile(String),
}

pub(super) struct Wire {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    breakers: Mutex<[Breaker; 3]>,
    /// The service's clock at boot time 0, in ms since 1970: unlike the wall clock, the boot clock never jumps.
    server_ms: Mutex<Option<i64>>,
    /// Counts network-up events.
    network: watch::Sender<u64>,
}

impl Wire {
    pub fn new(transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self {
            transport,
            clock,
            breakers: Mutex::default(),
            server_ms: Mutex::default(),
            network: watch::Sender::new(0),
        }
    }

    /// Sends it; `limit` is for the whole exchange.
    pub async fn send(
        &self,
        endpoint: Endpoint,
        request: HttpRequest,
        limit: Duration,
    ) -> Result<HttpResponse, Unanswered> {
        let mut restarts = 0;
        let outcome = loop {
            self.admitted(endpoint).await.map_err(Unanswered::Put)?;
            match self.once(request.clone(), limit).await {
                Some(outcome) => break outcome,
                None if restarts == RESTARTS_MAX => {
                    break Err(TransportError::Interrupted("the network keeps changing".to_owned()));
                }
                None => restarts += 1,
            }
        };
        self.learn(endpoint, &outcome);
        outcome.map_err(|error| match error {
            TransportError::LocalFile(what) => Unanswered::LocalFile(what),
            TransportError::Unreachable(what) => Unanswered::Put(PutError::offline(
                "network-unreachable",
                format!("{} cannot be reached: check the network ({what})", host(&request)),
            )),
            TransportError::Interrupted(what) => Unanswered::Put(PutError::later(
                "connection-lost",
                format!("the connection to {} broke: it is tried again ({what})", host(&request)),
            )),
        })
    }

    async fn admitted(&self, endpoint: Endpoint) -> Result<(), PutError> {
        loop {
            let now_ms = self.clock.now().boottime_ms;
            let permit = self.breaker(endpoint, |breaker| breaker.permit(now_ms));
            match permit {
                Permit::Go => return Ok(()),
                Permit::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Permit::Refused(ms) => return Err(open(ms)),
            }
        }
    }

    /// `None` when the network changed and nothing moved after that.
    async fn once(
        &self,
        request: HttpRequest,
        limit: Duration,
    ) -> Option<Result<HttpResponse, TransportError>> {
        let sent = Arc::clone(&request.sent);
        sent.store(0, Ordering::Relaxed);
        let mut network = self.network.subscribe();
        let late = || TransportError::Interrupted(format!("no answer within {} s", limit.as_secs()));
        let answer = tokio::time::timeout(limit, self.transport.send(request));
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                biased;
                outcome = answer.as_mut() => return Some(outcome.unwrap_or_else(|_| Err(late()))),
                Ok(()) = network.changed() => {}
            }
            let before = sent.load(Ordering::Relaxed);
            match tokio::time::timeout(STALL, answer.as_mut()).await {
                Ok(outcome) => return Some(outcome.unwrap_or_else(|_| Err(late()))),
                Err(_) if sent.load(Ordering::Relaxed) == before => return None,
                Err(_) => {}
            }
        }
    }

    fn learn(&self, endpoint: Endpoint, outcome: &Result<HttpResponse, TransportError>) {
        let now = self.clock.now();
        match outcome {
            Err(TransportError::LocalFile(_)) => {}
            // Says nothing about the endpoint, and costs it nothing: a network that comes back is found by probing.
            Err(TransportError::Unreachable(_)) => {
                self.breaker(endpoint, |breaker| breaker.unreached(now.boottime_ms));
            }
            Ok(response) if response.status < 500 => self.breaker(endpoint, Breaker::succeeded),
            _ => self.breaker(endpoint, |breaker| breaker.failed(now.boottime_ms)),
        }
        let date = outcome.as_ref().ok().and_then(|response| response.header("date"));
        if let Some(date_ms) = date.and_then(moment::http_date)
            && endpoint != Endpoint::Storage
        {
            let boot_ms = i64::try_from(now.boottime_ms).unwrap_or(i64::MAX);
            *self.server_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(date_ms - boot_ms);
        }
    }

    fn breaker<T>(&self, endpoint: Endpoint, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(&mut self.breakers.lock().unwrap_or_else(PoisonError::into_inner)[endpoint as usize])
    }

    /// Whether a delivery would be stopped by an open breaker now.
    pub fn closed(&self) -> Result<(), PutError> {
        let now_ms = self.clock.now().boottime_ms;
        for endpoint in [Endpoint::Api, Endpoint::Storage] {
            if let Permit::Refused(ms) = self.breaker(endpoint, |breaker| breaker.look(now_ms)) {
                return Err(open(ms));
            }
        }
        Ok(())
    }

    pub fn network_up(&self) {
        let now_ms = self.clock.now().boottime_ms;
        let jitter_ms = fastrand::u64(0..=RETURN_MS_MAX);
        self.transport.reconnected();
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.iter_mut().for_each(|breaker| breaker.network_up(now_ms, jitter_ms));
        drop(breakers);
        self.network.send_modify(|count| *count += 1);
    }

    /// The service's clock now, in ms since 1970; before it has answered, our own if it is synchronised. A battery
    /// clock that is years ahead must not make a token look expired, for then nobody would ask the service the time.
    pub fn server_now_ms(&self) -> Option<i64> {
        let now = self.clock.now();
        let own = || (now.quality == ClockQuality::Synced).then_some(now.wall_ms);
        self.server_at_ms(now.boottime_ms).or_else(own)
    }

    /// The service's clock at a moment of this boot, once it has answered.
    pub fn server_at_ms(&self, boottime_ms: u64) -> Option<i64> {
        let server_ms = *self.server_ms.lock().unwrap_or_else(PoisonError::into_inner);
        Some(server_ms?.saturating_add(i64::try_from(boottime_ms).ok()?))
    }

    /// How far our wall clock is ahead of the service's, once it has answered and ours was set.
    pub fn ahead_ms(&self) -> Option<i64> {
        let now = self.clock.now();
        let known = now.quality != ClockQuality::Unset;
        self.server_at_ms(now.boottime_ms).filter(|_| known).map(|server_ms| now.wall_ms - server_ms)
    }

    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
}

fn open(ms: u64) -> PutError {
    PutError::offline(
        "breaker-open",
        format!("the service failed repeatedly: it is tried again in {} s", ms.div_ceil(1000)),
    )
}

/// What may be shown of an address.
fn host(request: &HttpRequest) -> String {
    let url = reqwest::Url::parse(&request.url).ok();
    url.as_ref().and_then(reqwest::Url::host_str).unwrap_or("the service").to_owned()
}
