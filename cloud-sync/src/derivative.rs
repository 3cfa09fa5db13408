//! What a destination is sent instead of the stored bytes.
//!
//! The function that makes it comes from outside, since nothing here can look into a picture: bytes in, bytes out. It
//! is asked anew at every attempt and must give the same for the same record and bytes, so that a delivery that was
//! cut off is the same delivery when it is repeated. What is stored is never changed, and is hashed before anything is
//! made of it: damage must not travel on under a good hash.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::Sha256;
use crate::backend::{Parcel, Payload, PutError};
use crate::queue::{Failure, Record};

/// Makes of a record's stored bytes what its destination is sent. Blocks; must not panic.
pub type Derive = Arc<dyn Fn(&Record, &Bytes) -> Derivative + Send + Sync>;

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Derivative {
    /// These bytes.
    Made(Bytes),
    /// The stored ones, because no others could be made: why, as people are told.
    AsStored(Failure),
    /// Nothing: the destination must not have the stored ones. Trying again would not help.
    Refused(Failure),
}

/// The record's file as it goes, with what people should know of it. The bytes that were made stay in memory until
/// they are delivered.
pub(crate) async fn pack(
    derive: Option<Derive>,
    record: Record,
    payload: Payload,
) -> Result<(Parcel, Option<Failure>), PutError> {
    let Some(derive) = derive else { return Ok((Parcel::stored(record, payload), None)) };
    let made = tokio::task::spawn_blocking(move || {
        let bytes = whole(&record, &payload)?;
        match derive(&record, &bytes) {
            Derivative::Made(bytes) => Ok((Parcel::derived(record, bytes), None)),
            Derivative::AsStored(notice) => Ok((Parcel::stored(record, payload), Some(notice))),
            Derivative::Refused(Failure { rule, reason }) => Err(PutError::never(rule, reason)),
        }
    });
    made.await.unwrap_or_else(|error| {
        Err(PutError::later("derivative-failed", format!("nothing could be made to be sent: {error}")))
    })
}

/// The stored bytes, if they are still what was captured.
fn whole(record: &Record, payload: &Payload) -> Result<Bytes, PutError> {
    let bytes = match payload {
        Payload::Ram(bytes) => Ok(bytes.clone()),
        Payload::File(path) => read(path, record.length),
    };
    let found = match bytes {
        Ok(bytes) => match Sha256::of(&bytes) {
            hash if hash == record.sha256 => return Ok(bytes),
            hash => format!("its hash is {hash}"),
        },
        Err(error) => error.to_string(),
    };
    let reason = format!("the local picture is not what was captured ({found}): shoot it again");
    Err(PutError::never("media-damaged", reason))
}

/// A file, and never more than one byte above what it should have.
fn read(path: &PathBuf, length: u64) -> std::io::Result<Bytes> {
    use std::io::Read;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    std::fs::File::open(path)?.take(length.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
