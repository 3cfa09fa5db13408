//! 360 Imaging as destination. Proof: a signed checksum header that the store echoed.
//!
//! ```text
//!  token ──► POST /sessions ──► POST /presign ──► PUT upload_url ──► echoed checksum equal: receipt
//!   read        once a run     just before the PUT,    expired: back to /presign, not counted
//!   locally                    address checked
//! ```
//! The device may create sessions, presign, and emit events, and has no right to read (V-11): the echo of the store is
//! all the proof there is. The contract, and what of it is assumed, is in `cloud-sync/contracts/imaging360.openapi.yaml`.
//! What the station itself can see to be wrong (a token for somewhere else, no network) counts no attempt and parks
//! no picture.

mod client;
mod events;
mod moment;
mod options;
mod presigned;
mod refusal;
mod transport;
mod upload_file;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::backend::{Backend, Delivery, Parcel, Payload, PutError, Receipt, Unit, Wants};
use crate::credentials::{Credentials, Token};
use crate::event::Event;
use crate::queue::{Failure, Proof, Record};
use crate::spool::repair::hash_file;
use crate::{Clock, ClockQuality, Sha256};

use presigned::Presigned;
use refusal::Storage;
use wire::{Endpoint, Unanswered, Wire};

pub(crate) use presigned::{CHECKSUM, is_protected};

pub use client::http_transport;
pub use options::{BadAddress, Imaging360Options, read_address};
pub use transport::{Body, HttpRequest, HttpResponse, Method, Transport, TransportError};

/// Upload addresses asked for in one attempt.
const PRESIGNS_MAX: u32 = 3;
/// An address must be good for so much longer than the upload should take.
const EXPIRY_SPARE_MS: i64 = 60_000;
/// Sessions whose ids are remembered; asking again costs one request.
const SESSIONS_MAX: usize = 1_000;
/// A token that the service refused is not shown to it again for so long, unless it was exchanged.
const REFUSED_MS: u64 = 5 * 60_000;
/// People are told when the clocks are so far apart; S3 refuses from 15 minutes on.
const AHEAD_MS_MAX: u64 = 5 * 60_000;

/// See the module.
pub struct Imaging360 {
    options: Imaging360Options,
    address: Result<Url, BadAddress>,
    wants: Wants,
    wire: Wire,
    credentials: Credentials,
    learned: Mutex<Learned>,
}

/// What was found out since the start and may be found out again.
#[derive(Default)]
struct Learned {
    /// The item that the service was told of each of our sessions, and its own session id.
    sessions: BTreeMap<String, (String, String)>,
    /// A token that the service refused, when (boot ms), and with what.
    refused: Option<(Token, u64, PutError)>,
    /// Of the last uploads, in bytes a second.
    rate: Option<f64>,
    /// The store said that clocks are apart.
    skewed: bool,
}

/// How one upload ended.
enum Upload {
    Stored,
    Expired,
}

impl Imaging360 {
    /// Sends nothing yet. A bad address is told by every delivery.
    pub fn new(options: Imaging360Options, clock: Arc<dyn Clock>, transport: Arc<dyn Transport>) -> Self {
        let wants = Wants {
            products: vec!["original".to_owned()],
            content_types: vec!["image/jpeg".to_owned(), "image/heic".to_owned()],
            capture_classes: vec!["durable".to_owned()],
            unit: Unit::File,
            proof: Proof::ChecksummedPut,
        };
        Self {
            address: read_address(&options.url),
            wants,
            wire: Wire::new(transport, clock),
            credentials: Credentials::new(
                options.token_file.clone(),
                options.org.clone(),
                options.site.clone(),
            ),
            learned: Mutex::default(),
            options,
        }
    }

    fn learned<T>(&self, act: impl FnOnce(&mut Learned) -> T) -> T {
        act(&mut self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token, unless the service has just refused this very one.
    fn token(&self) -> Result<Token, PutError> {
        let token = self.credentials.token(self.wire.server_now_ms())?;
        let now_ms = self.wire.clock().now().boottime_ms;
        self.learned(|learned| match &learned.refused {
            Some((refused, at_ms, error))
                if *refused == token && now_ms.saturating_sub(*at_ms) < REFUSED_MS =>
            {
                Err(error.clone())
            }
            _ => Ok(token),
        })
    }

    /// One request to the service; its answer, whatever its status.
    async fn ask(
        &self,
        endpoint: Endpoint,
        path: &str,
        token: Option<&Token>,
        body: Option<&Value>,
    ) -> Result<HttpResponse, PutError> {
        let address = match &self.address {
            Ok(address) => format!("{address}{path}"),
            Err(error) => {
                let reason = format!("the url of destination {} {error}", self.options.name);
                return Err(PutError::offline("destination-address", reason));
            }
        };
        let mut headers = Vec::new();
        headers.extend(token.map(|token| ("authorization", token.bearer())));
        headers.extend(body.map(|_| ("content-type", "application/json".to_owned())));
        let method = if body.is_some() { Method::Post } else { Method::Get };
        let body = Body::Bytes(body.map(Value::to_string).unwrap_or_default().into());
        let request = HttpRequest { method, url: address, headers, body, sent: Arc::default() };
        let response = self.wire.send(endpoint, request, self.options.request_limit).await;
        response.map_err(|unanswered| match unanswered {
            Unanswered::Put(error) => error,
            Unanswered::LocalFile(what) => PutError::later("destination-failed", what),
        })
    }

    /// The answer's content, or what its refusal means; a refused token is remembered.
    fn accept<T: DeserializeOwned>(
        &self,
        response: &HttpResponse,
        token: &Token,
        asked: &str,
    ) -> Result<T, PutError> {
        if matches!(response.status, 200..=299) {
            return serde_json::from_slice(&response.body).map_err(|_| {
                PutError::later(
                    "answer-unreadable",
                    format!("the service's answer cannot be read when asked to {asked}: it is asked again"),
                )
            });
        }
        let error = refusal::of_service(response, asked);
        if response.status == 401 {
            let now_ms = self.wire.clock().now().boottime_ms;
            self.learned(|learned| learned.refused = Some((token.clone(), now_ms, error.clone())));
        }
        Err(error)
    }

    async fn put(&self, parcel: &Parcel) -> Result<Receipt, PutError> {
        let token = self.token()?;
        let facts = &parcel.record.facts;
        if facts.org != self.options.org || !token.claims().site_ids.contains(&facts.site) {
            return Err(PutError::never(
                "site-not-allowed",
                format!(
                    "the picture belongs to {}/{}, for which this station's token is not valid: ask for one that is",
                    facts.org, facts.site
                ),
            ));
        }
        for nth in 1..=PRESIGNS_MAX {
            let (address, storage_key) = self.presign(&token, parcel).await?;
            if nth < PRESIGNS_MAX && !self.lasts(&address, parcel.length) {
                continue;
            }
            match self.upload(&address, parcel).await? {
                Upload::Stored => return Ok(parcel.receipt(Proof::ChecksummedPut, storage_key)),
                Upload::Expired => {}
            }
        }
        Err(PutError::offline(
            "presign-expired",
            "upload addresses ran out as soon as they were given: check the clocks of the service and its store",
        ))
    }

    /// Whether the address is good for longer than the upload should take.
    fn lasts(&self, address: &Presigned, length: u64) -> bool {
        let Some(now_ms) = self.wire.server_now_ms() else { return true };
        let rate = self.learned(|learned| learned.rate).unwrap_or(self.options.rate_min as f64).max(1.0);
        let needed_ms = (length as f64 / rate * 1000.0) as i64;
        address.expires_ms.saturating_sub(now_ms) > needed_ms.saturating_add(EXPIRY_SPARE_MS)
    }

    /// An address to send to, and the key under which it will lie there.
    async fn presign(&self, token: &Token, parcel: &Parcel) -> Result<(Presigned, String), PutError> {
        #[derive(serde::Deserialize)]
        struct Grant {
            upload_url: String,
            storage_key: String,
        }
        let facts = &parcel.record.facts;
        let mut again = true;
        loop {
            let session_id = self.session(token, &parcel.record).await?;
            let body = json!({
                "session_id": session_id,
                "file_name": facts.file_name,
                "content_type": facts.content_type,
                "content_sha256": parcel.sha256,
            });
            let response = self.ask(Endpoint::Api, "presign", Some(token), Some(&body)).await?;
            let forgotten =
                response.status == 404 && refusal::said_rule(&response).as_deref() == Some("session-unknown");
            if forgotten && std::mem::take(&mut again) {
                self.learned(|learned| learned.sessions.remove(&facts.session));
                continue;
            }
            let grant: Grant = self.accept(&response, token, "give an upload address")?;
            return Ok((Presigned::read(&grant.upload_url)?, grant.storage_key));
        }
    }

    /// The service's id of the record's session, which is opened when its first picture goes.
    async fn session(&self, token: &Token, record: &Record) -> Result<String, PutError> {
        #[derive(serde::Deserialize)]
        struct Opened {
            session_id: String,
        }
        let facts = &record.facts;
        // A corrected item is told before the next picture goes, or it would arrive under the wrong one.
        if let Some((item, id)) = self.learned(|learned| learned.sessions.get(&facts.session).cloned())
            && item == facts.item
        {
            return Ok(id);
        }
        let body = json!({
            "client_session_id": facts.session,
            "site_id": facts.site,
            "item": facts.item,
            "mode": if facts.angle_commanded.is_some() { "studio360" } else { "stills" },
            "captured_at": moment::rfc3339(self.captured_ms(record)),
        });
        let response = self.ask(Endpoint::Api, "sessions", Some(token), Some(&body)).await?;
        let Opened { session_id } = self.accept(&response, token, "open the session")?;
        self.learned(|learned| {
            if learned.sessions.len() >= SESSIONS_MAX {
                learned.sessions.clear();
            }
            learned.sessions.insert(facts.session.clone(), (facts.item.clone(), session_id.clone()));
        });
        Ok(session_id)
    }

    /// When it was taken: by the service's clock, where ours was not synchronised in this boot.
    fn captured_ms(&self, record: &Record) -> i64 {
        let at = &record.captured_at;
        let doubtful = at.quality != ClockQuality::Synced && at.boot_id == self.wire.clock().now().boot_id;
        let better = self.wire.server_at_ms(at.boottime_ms).filter(|_| doubtful);
        better.unwrap_or(at.wall_ms)
    }

    async fn upload(&self, address: &Presigned, parcel: &Parcel) -> Result<Upload, PutError> {
        let record = &parcel.record;
        let checksum = STANDARD.encode(parcel.sha256.as_bytes());
        let body = match &parcel.payload {
            Payload::Ram(bytes) => Body::Bytes(bytes.clone()),
            Payload::File(path) => Body::File { path: path.clone(), length: parcel.length },
        };
        let request = HttpRequest {
            method: Method::Put,
            url: address.url.clone(),
            headers: vec![("content-type", record.facts.content_type.clone()), (CHECKSUM, checksum.clone())],
            body,
            sent: Arc::default(),
        };
        let limit = self.options.request_limit
            + Duration::from_secs(parcel.length.div_ceil(self.options.rate_min.max(1)));
        let begun_ms = self.wire.clock().now().boottime_ms;
        let response = match self.wire.send(Endpoint::Storage, request, limit).await {
            Ok(response) => response,
            Err(Unanswered::Put(error)) => return Err(error),
            Err(Unanswered::LocalFile(what)) => return Err(blame(parcel, &what).await),
        };
        if !matches!(response.status, 200..=299) {
            return match refusal::of_store(&response, record.attempts) {
                Storage::Expired => Ok(Upload::Expired),
                Storage::Skewed => Err(self.skewed()),
                Storage::Damaged => Err(blame(parcel, "the store received other bytes").await),
                Storage::Refused(error) => Err(error),
            };
        }
        self.measure(parcel.length, self.wire.clock().now().boottime_ms.saturating_sub(begun_ms));
        if response.header(CHECKSUM).map(str::trim) != Some(checksum.as_str()) {
            return Err(PutError::later(
                "echo-missing",
                "the store took the picture and did not confirm its checksum: it is sent again",
            ));
        }
        Ok(Upload::Stored)
    }

    fn measure(&self, length: u64, took_ms: u64) {
        let rate = length as f64 * 1000.0 / took_ms.max(1) as f64;
        // The slower of what is and what was, so that one lucky upload does not shorten the spare time of the next.
        self.learned(|learned| {
            learned.rate = Some(learned.rate.map_or(rate, |before| rate.min((before + rate) / 2.0)));
            learned.skewed = false;
        });
    }

    fn skewed(&self) -> PutError {
        self.learned(|learned| learned.skewed = true);
        PutError::offline(
            "clock-skewed",
            "the store finds the upload address from another time: check the clocks of service and store",
        )
    }

    async fn renew(&self) {
        let now = self.wire.clock().now();
        let Some(token) = self.credentials.renewal(self.wire.server_now_ms(), now.boottime_ms) else {
            return;
        };
        if let Err(error) = self.exchange(&token).await {
            tracing::warn!(destination = %self.options.name, %error, "the device token was not renewed");
        }
    }

    /// Renews the device token now, however young it is: a person or the fleet asks for it.
    pub async fn renew_now(&self) -> Result<(), PutError> {
        let token = self.token()?;
        self.exchange(&token).await
    }

    async fn exchange(&self, token: &Token) -> Result<(), PutError> {
        #[derive(serde::Deserialize)]
        struct Renewed {
            token: String,
        }
        let response = self.ask(Endpoint::Api, "device/token", Some(token), Some(&json!({}))).await?;
        if response.status == 409 {
            return Ok(());
        }
        let Renewed { token } = self.accept(&response, token, "renew the token")?;
        self.credentials.renewed(&token, self.wire.server_now_ms())?;
        tracing::info!(destination = %self.options.name, "the device token was renewed");
        Ok(())
    }
}

/// Whether the picture was damaged here or on the way.
async fn blame(parcel: &Parcel, what: &str) -> PutError {
    let here = match parcel.payload.clone() {
        Payload::Ram(bytes) => Ok(Sha256::of(&bytes)),
        Payload::File(path) => match tokio::task::spawn_blocking(move || hash_file(&path)).await {
            Ok(hash) => hash.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
    };
    match here {
        Ok(hash) if hash == parcel.sha256 => {
            PutError::later("checksum-mismatch", format!("{what}: the picture is sent again"))
        }
        found => {
            let found = found.map_or_else(|error| error, |hash| format!("its hash is {hash}"));
            let reason = format!("the local picture is not what was captured ({found}): shoot it again");
            PutError::never("media-damaged", reason)
        }
    }
}

#[async_trait]
impl Backend for Imaging360 {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn wants(&self) -> &Wants {
        &self.wants
    }

    async fn ready(&self) -> Result<(), PutError> {
        self.token()?;
        self.wire.closed()?;
        match self.ask(Endpoint::Api, "healthz", None, None).await {
            Ok(response) if response.status >= 500 => {
                let reason = format!("the service is out of order ({}): it is asked again", response.status);
                Err(PutError::offline("service-failed", reason))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                let Failure { rule, reason } = error.failure();
                Err(PutError::offline(rule, reason))
            }
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Vec<Receipt>, PutError> {
        let mut receipts = Vec::with_capacity(delivery.files.len());
        for parcel in &delivery.files {
            receipts.push(self.put(parcel).await?);
        }
        Ok(receipts)
    }

    fn reconnected(&self) {
        self.learned(|learned| learned.refused = None);
        self.wire.network_up();
    }

    async fn tend(&self) {
        self.renew().await;
    }

    fn notices(&self) -> Vec<Failure> {
        let mut notices = self.credentials.notices(self.wire.server_now_ms());
        let ahead_ms = self.wire.ahead_ms().filter(|ahead_ms| ahead_ms.unsigned_abs() > AHEAD_MS_MAX);
        if let Some(ahead_ms) = ahead_ms {
            let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
            let minutes = ahead_ms.unsigned_abs() / 60_000;
            let reason = format!(
                "this station's clock is {minutes} min {side} the service's: set it, or give it a network"
            );
            notices.push(Failure { rule: "clock-skewed".to_owned(), reason });
        } else if self.learned(|learned| learned.skewed) {
            let reason = "the store's clock is apart from the service's: tell 360 Imaging".to_owned();
            notices.push(Failure { rule: "clock-skewed".to_owned(), reason });
        }
        notices
    }

    fn crosses_network(&self) -> bool {
        true
    }

    fn takes_events(&self) -> bool {
        true
    }

    async fn tell(&self, events: &[Event]) -> Result<(), PutError> {
        let token = self.token()?;
        let body = self.learned(|learned| events::body(events, &learned.sessions));
        let response = self.ask(Endpoint::Events, "events", Some(&token), Some(&body)).await?;
        match response.status {
            200..=299 => Ok(()),
            _ => self.accept(&response, &token, "take events"),
        }
    }
}

#[cfg(test)]
mod tests;
