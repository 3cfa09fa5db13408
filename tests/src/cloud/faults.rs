//! Which requests go wrong, and how: the script that both fakes follow.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sha2::Digest;

use super::presign::CHECKSUM;

/// What happens to a request on its way, or to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// S3's answer 503 `SlowDown`; the request goes no further.
    SlowDown,
    /// An answer in the manner of the API; the request goes no further.
    Answer {
        /// HTTP status.
        status: u16,
        /// Value of `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// The connection is reset after so many bytes of the body, which is how much gets through. Where the body has no
    /// more than that, it is served and the answer is lost.
    CutAfter(u64),
    /// The request is served, then the connection is reset instead of answered.
    SwallowAnswer,
    /// Nothing more is heard, and nothing was done. Ends when the caller gives up or the fake ends.
    Stall,
    /// All bits of this byte of the body are inverted on the way.
    FlipByte(u64),
    /// The answer loses the checksum that the store echoes.
    StripEcho,
    /// The answer echoes the checksum of other bytes.
    FalseEcho,
    /// 307 to the same place, where the request would be served if anyone followed.
    Redirect,
}

impl Fault {
    /// The answer that takes the place of the service's; `target` is path and query of the request.
    pub fn answer(&self, target: &str) -> Option<Response<Bytes>> {
        let (status, name, value, body) = match self {
            Self::SlowDown => {
                let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
                (503, header::CONTENT_TYPE, "application/xml".to_owned(), xml.to_owned())
            }
            Self::Answer { status, .. } => {
                let body = format!(r#"{{"rule_id":"fault-{status}","message":"a test wants this answer"}}"#);
                (*status, header::CONTENT_TYPE, "application/json".to_owned(), body)
            }
            Self::Redirect => (307, header::LOCATION, target.to_owned(), String::new()),
            _ => return None,
        };
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::from_u16(status).expect("an HTTP status");
        answer.headers_mut().insert(name, HeaderValue::from_str(&value).expect("a header's value"));
        if let Self::Answer { retry_after_s: Some(seconds), .. } = self {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Some(answer)
    }

    /// What the fault does to the headers of an answer.
    pub fn edit(&self, headers: &mut HeaderMap) {
        match self {
            Self::StripEcho => drop(headers.remove(CHECKSUM)),
            Self::FalseEcho => {
                let other = STANDARD.encode(sha2::Sha256::digest(b"other bytes"));
                headers.insert(CHECKSUM, HeaderValue::from_str(&other).expect("base64 is a header's value"));
            }
            _ => {}
        }
    }
}

/// One line of the script.
#[derive(Debug)]
struct Line {
    method: String,
    path_part: String,
    times: u32,
    fault: Fault,
}

/// The script: empty at first, so everything goes well.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Line>>);

impl Faults {
    /// The next `times` requests with this method, and `path_part` somewhere in their path, suffer `fault`. Lines are
    /// tried in the order they were written; a request suffers one fault.
    pub fn script(&self, method: &str, path_part: &str, times: u32, fault: Fault) {
        let line = Line { method: method.to_owned(), path_part: path_part.to_owned(), times, fault };
        self.0.lock().expect("nobody panics with it").push(line);
    }

    /// Forgets what has not happened yet.
    pub fn clear(&self) {
        self.0.lock().expect("nobody panics with it").clear();
    }

    /// How many faults have not happened yet; a story ends with none.
    pub fn left(&self) -> u32 {
        self.0.lock().expect("nobody panics with it").iter().map(|line| line.times).sum()
    }

    /// The fault of this request.
    pub(super) fn take(&self, method: &str, path: &str) -> Option<Fault> {
        let mut lines = self.0.lock().expect("nobody panics with it");
        let meant =
            |line: &&mut Line| line.times > 0 && line.method == method && path.contains(&line.path_part);
        let line = lines.iter_mut().find(meant)?;
        line.times -= 1;
        Some(line.fault)
    }
}
