//! What the station and a camera's helper process say to each other: a head in JSON, then bytes, both with their length.
//!
//! A helper takes in this very file (`#[path]`), so that both ends are one code, and nothing here needs more than serde.
//! The station asks, the helper answers, one by one. A helper's first answer is [`Answer::Hello`], whose form never
//! changes, so that helpers of another version are recognised.

use serde::{Deserialize, Serialize};

/// Counted up with every change that the other end would misunderstand.
pub const PROTOCOL: u32 = 1;
/// Bytes before a message: the lengths of head and body, big-endian.
pub const LENGTHS: usize = 8;
/// Longest head. The choices of one setting are the longest thing in it.
pub const HEAD_BYTES_MAX: usize = 1 << 20;

/// What the station asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Who are you? Answered by [`Answer::Hello`].
    Hello {
        /// [`PROTOCOL`] of the station.
        protocol: u32,
    },
    /// Which cameras are there? Answered by [`Answer::Cameras`]; opens none.
    List,
    /// Open this one. Answered by [`Answer::Opened`].
    Open {
        /// The camera.
        place: Place,
    },
    /// Answered by [`Answer::Setting`].
    Read {
        /// Name of the setting.
        setting: String,
    },
    /// Answered by [`Answer::Done`] once the camera was told.
    Write {
        /// Name of the setting.
        setting: String,
        /// A number, a choice, or `0` and `1`.
        value: String,
    },
    /// Begin an exposure. Answered by [`Answer::Done`] when the camera has taken the order.
    Expose,
    /// What the camera tells next, within this time. Answered by [`Answer::Event`].
    Event {
        /// Longest wait in milliseconds.
        wait_ms: u32,
    },
    /// Bring a file. Answered by [`Answer::File`] with its bytes.
    Fetch {
        /// The file.
        file: File,
        /// Leave it in the camera too.
        keep: bool,
    },
    /// A picture for the eye. Answered by [`Answer::File`] with its bytes.
    Preview,
}

/// What a helper answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Who I am.
    Hello {
        /// [`PROTOCOL`] of the helper.
        protocol: u32,
        /// The helper's own version.
        version: String,
        /// The library that drives the cameras, with its version.
        library: String,
    },
    /// The cameras that are there.
    Cameras {
        /// In no particular order.
        cameras: Vec<Place>,
    },
    /// The camera is open.
    Opened {
        /// It can give a picture for the eye.
        preview: bool,
    },
    /// A setting as the camera has it now.
    Setting {
        /// The setting.
        setting: Setting,
    },
    /// Done.
    Done,
    /// What the camera told.
    Event {
        /// One thing.
        event: Event,
    },
    /// A file; its bytes follow.
    File {
        /// Layout, if the bytes are uncompressed rows.
        #[serde(default)]
        pixels: Option<Pixels>,
    },
    /// It failed.
    Failed {
        /// What the station does next.
        fault: Fault,
        /// What the library said.
        words: String,
    },
}

/// Where a camera is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Model as the library calls it.
    pub model: String,
    /// Port as the library writes it; of USB it changes each time that the camera is plugged in.
    pub port: String,
}

/// A file in a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The folder.
    pub folder: String,
    /// Its name there.
    pub name: String,
}

/// A setting of a camera.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// As text, whatever it is.
    pub value: String,
    /// What it can be, if one chooses.
    pub choices: Vec<String>,
    /// Lowest value, highest value and step, if it is a number.
    pub range: Option<(f64, f64, f64)>,
    /// The camera does not let it be changed now.
    pub readonly: bool,
}

/// What a camera tells by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Nothing within the time.
    Quiet,
    /// A new file.
    Added {
        /// The file.
        file: File,
    },
    /// The exposure is over and all its files were told.
    Complete,
    /// No room for another picture.
    Full,
    /// Whatever else.
    Other {
        /// In the library's words.
        words: String,
    },
}

/// Layout of uncompressed rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pixels {
    /// Name of the layout.
    pub format: String,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
}

/// What went wrong, named for what the station does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// No such camera.
    NotPresent,
    /// Another program holds it.
    Busy,
    /// It cannot do this, or has no such setting.
    Unsupported,
    /// Its card or memory is full.
    Full,
    /// The connection failed.
    Lost,
    /// It did not answer the library in time.
    Silent,
    /// The file is damaged.
    Damaged,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A head that is longer than any.
    #[error("a head of {0} bytes, where {HEAD_BYTES_MAX} is the limit")]
    Head(usize),
    /// A body that is longer than asked for.
    #[error("{0} bytes, where {1} is the limit")]
    Body(usize, usize),
    /// A head that says nothing.
    #[error("not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// A message with a body of this length, without the body itself.
pub fn message<T: Serialize>(head: &T, body_bytes: usize) -> Result<Vec<u8>, Malformed> {
    let json = serde_json::to_vec(head)?;
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    if json.len() > HEAD_BYTES_MAX {
        return Err(Malformed::Head(json.len()));
    }
    if u32::try_from(body_bytes).is_err() {
        return Err(Malformed::Body(body_bytes, u32::MAX as usize));
    }
    Ok([length(json.len()).as_slice(), &length(body_bytes), &json].concat())
}

/// Lengths of head and body that the bytes before a message tell, if they are within the limits.
pub fn lengths(bytes: [u8; LENGTHS], body_bytes_max: usize) -> Result<(usize, usize), Malformed> {
    let [a, b, c, d, e, f, g, h] = bytes;
    let (head, body) = (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
    match (head, body) {
        (head, _) if head > HEAD_BYTES_MAX => Err(Malformed::Head(head)),
        (_, body) if body > body_bytes_max => Err(Malformed::Body(body, body_bytes_max)),
        lengths => Ok(lengths),
    }
}

/// The head of a message.
pub fn head<T: for<'a> Deserialize<'a>>(json: &[u8]) -> Result<T, Malformed> {
    Ok(serde_json::from_slice(json)?)
}
