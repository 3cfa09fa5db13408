//! From a backend's answer to what becomes of each record.

use super::{Sent, Verdict};
use crate::backend::{Payload, PutError, Receipt, Wants};
use crate::queue::{Failure, Record};
use crate::spool::Spool;
use crate::spool::repair::hash_file;

/// Why a destination must not get this record, by the destination's own rules.
pub(super) fn unfit(record: &Record, wants: &Wants) -> Option<Failure> {
    let takes = |list: &[String], one: &String| list.is_empty() || list.contains(one);
    let (rule, what) = if !wants.capture_classes.contains(&record.facts.capture_class) {
        ("capture-class-not-allowed", format!("capture class \"{}\"", record.facts.capture_class))
    } else if !takes(&wants.products, &record.key.product) {
        ("product-not-wanted", format!("product \"{}\"", record.key.product))
    } else if !takes(&wants.content_types, &record.facts.content_type) {
        ("content-type-not-wanted", format!("content type \"{}\"", record.facts.content_type))
    } else {
        return None;
    };
    let destination = &record.key.destination;
    let reason = format!("destination {destination} does not take {what}: choose another one in the recipe");
    Some(Failure { rule: rule.to_owned(), reason })
}

/// One verdict for each record.
pub(super) async fn verdicts(
    spool: &Spool,
    sent: Vec<Sent>,
    answer: Result<Vec<Receipt>, PutError>,
) -> Vec<(Record, Verdict)> {
    let mut verdicts = Vec::with_capacity(sent.len());
    let mut receipts = match answer {
        Ok(receipts) => receipts.into_iter(),
        Err(error) => {
            verdicts.extend(sent.into_iter().map(|one| (one.record, refusal(error.clone()))));
            return verdicts;
        }
    };
    for Sent { record, sha256, origin, notice } in sent {
        let verdict = match receipts.next() {
            Some(receipt) if receipt.sha256 == sha256 => {
                Verdict::Confirmed(Receipt { derived: origin, ..receipt }, notice)
            }
            Some(receipt) => doubt(spool, &record, &receipt).await,
            None => {
                later("receipt-missing", "the destination sent no receipt for this file: it is sent again")
            }
        };
        verdicts.push((record, verdict));
    }
    verdicts
}

fn refusal(error: PutError) -> Verdict {
    let failure = error.failure();
    match error {
        PutError::Offline { .. } => Verdict::Offline(failure),
        PutError::Later { after, .. } => Verdict::Later { failure, after },
        PutError::Never { .. } => Verdict::Never(failure),
    }
}

fn later(rule: &str, reason: &str) -> Verdict {
    Verdict::Later { failure: Failure { rule: rule.to_owned(), reason: reason.to_owned() }, after: None }
}

/// A receipt over other bytes: either they were damaged here, or there.
async fn doubt(spool: &Spool, record: &Record, receipt: &Receipt) -> Verdict {
    let here = match spool.payload(record) {
        Ok(Payload::Ram(bytes)) => Ok(crate::Sha256::of(&bytes)),
        Ok(Payload::File(path)) => match tokio::task::spawn_blocking(move || hash_file(&path)).await {
            Ok(hash) => hash.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    match here {
        Ok(hash) if hash == record.sha256 => later(
            "receipt-mismatch",
            &format!(
                "the destination has other bytes ({}) than were sent: they are sent again",
                receipt.sha256
            ),
        ),
        found => {
            let found = found.map_or_else(|error| error, |hash| format!("its hash is {hash}"));
            let reason = format!("the local picture is not what was captured ({found}): shoot it again");
            Verdict::Never(Failure { rule: "media-damaged".to_owned(), reason })
        }
    }
}
