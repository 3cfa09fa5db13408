//! What was asked of a fake, in the order of arrival.

use std::sync::Mutex;

use super::Clock;
use super::faults::Fault;
use super::presign::signed_at_ms;

/// How a request ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With this HTTP status.
    Answered(u16),
    /// Without one: not yet, or the connection was lost, or the caller gave up.
    NoAnswer,
    /// The network was down and the cloud never heard of it. Only the twin in memory can know.
    Unreachable,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When it arrived, by the fake's clock: milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// HTTP method.
    pub method: String,
    /// Path without the query, which is a secret where it signs.
    pub path: String,
    /// Age of the presigned URL that was used, in milliseconds; negative if signed for later. A signature knows whole
    /// seconds only.
    pub url_age_ms: Option<i64>,
    /// The fault that it suffered.
    pub fault: Option<Fault>,
    /// How it ended.
    pub outcome: Outcome,
}

/// All requests to one fake.
pub struct Log {
    clock: Clock,
    asked: Mutex<Vec<Asked>>,
}

impl Log {
    /// An empty one.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, asked: Mutex::default() }
    }

    /// Notes an arrival; the number is for [`Log::ended`].
    pub(super) fn arrived(&self, method: &str, path: &str, query: &str, fault: Option<Fault>) -> usize {
        let at_ms = (self.clock)();
        let url_age_ms = signed_at_ms(query).map(|signed_ms| at_ms - signed_ms);
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut asked = self.asked.lock().expect("nobody panics with it");
        asked.push(Asked { at_ms, method, path, url_age_ms, fault, outcome: Outcome::NoAnswer });
        asked.len() - 1
    }

    /// Notes how a request ended.
    pub(super) fn ended(&self, number: usize, outcome: Outcome) {
        self.asked.lock().expect("nobody panics with it")[number].outcome = outcome;
    }

    /// All of them.
    pub fn all(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}
