//! One delivery: packed, handed to the destination, and what of it is needed to judge the answer.

use crate::Sha256;
use crate::backend::{Backend, Delivery, Payload, PutError, Receipt};
use crate::derivative::{Derive, pack};
use crate::queue::{Derived, Failure, Record};

/// What went, without its bytes.
pub(super) struct Sent {
    pub record: Record,
    /// Hash of what went.
    pub sha256: Sha256,
    /// What that was made of.
    pub origin: Option<Derived>,
    /// What people should know of it.
    pub notice: Option<Failure>,
}

impl Sent {
    fn nothing(record: Record) -> Self {
        Self { sha256: record.sha256, origin: None, notice: None, record }
    }
}

/// Packs and delivers; a file that cannot be packed ends the delivery with its reason, for all of them.
pub(super) async fn send(
    backend: &dyn Backend,
    derive: Option<Derive>,
    files: Vec<(Record, Payload)>,
) -> (Vec<Sent>, Result<Vec<Receipt>, PutError>) {
    let mut delivery = Delivery { files: Vec::with_capacity(files.len()) };
    let mut sent = Vec::with_capacity(files.len());
    let mut refused = None;
    for (record, payload) in files {
        let packed = match refused {
            None => pack(derive.clone(), record.clone(), payload).await,
            Some(_) => {
                sent.push(Sent::nothing(record));
                continue;
            }
        };
        match packed {
            Ok((parcel, notice)) => {
                sent.push(Sent { record, sha256: parcel.sha256, origin: parcel.origin(), notice });
                delivery.files.push(parcel);
            }
            Err(error) => {
                refused = Some(error);
                sent.push(Sent::nothing(record));
            }
        }
    }
    let answer = match refused {
        Some(error) => Err(error),
        None => backend.deliver(&delivery).await,
    };
    (sent, answer)
}
