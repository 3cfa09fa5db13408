//! A store in memory, for tests and for the spool in memory. Nothing survives the last clone.
//!
//! It can be told to fail one commit, so that a test can fail every one of them in turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::queue::{Key, Record};
use crate::store::{Batch, Document, Scope, Store, StoreError};

/// How the chosen commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With [`StoreError::Full`].
    Full,
    /// With [`StoreError::Failed`].
    Failed,
}

#[derive(Debug, Default)]
struct Content {
    records: BTreeMap<Key, Record>,
    documents: BTreeMap<String, serde_json::Value>,
    events: BTreeMap<u64, Event>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
    commits: u64,
    fail_at: Option<(u64, Fault)>,
    poisoned: bool,
}

impl MemoryStore {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets commit `nth`, counted from 1, fail with nothing written, and every later one as well.
    pub fn fail_at(mut self, nth: u64, fault: Fault) -> Self {
        self.fail_at = Some((nth, fault));
        self
    }

    /// What a new process would find: the same content, no poison.
    pub fn reopened(&self) -> Self {
        Self { content: Arc::clone(&self.content), ..Self::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::failed("commit", "an earlier commit failed"));
        }
        self.commits += 1;
        if let Some((_, fault)) = self.fail_at.filter(|(nth, _)| *nth == self.commits) {
            self.poisoned = true;
            return Err(match fault {
                Fault::Full => StoreError::Full(std::io::ErrorKind::StorageFull.into()),
                Fault::Failed => StoreError::failed("commit", "told to fail"),
            });
        }
        let mut content = self.content();
        batch.removed.iter().for_each(|key| {
            content.records.remove(key);
        });
        content.records.extend(batch.records.iter().map(|record| (record.key.clone(), record.clone())));
        content.documents.extend(batch.documents.iter().map(|doc| (doc.id.clone(), doc.value.clone())));
        content.events.extend(batch.events.iter().map(|event| (event.sequence, event.clone())));
        Ok(())
    }

    fn record(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.content().records.get(key).cloned())
    }

    fn scan(&self, scope: Scope<'_>, each: &mut dyn FnMut(Record) -> bool) -> Result<(), StoreError> {
        let content = self.content();
        let inside = |record: &&Record| match scope {
            Scope::All => true,
            Scope::Sequence(sequence) => record.key.sequence == sequence,
            Scope::Session(session) => record.facts.session == session,
        };
        content.records.values().filter(inside).cloned().all(each);
        Ok(())
    }

    fn document(&self, id: &str) -> Result<Option<Document>, StoreError> {
        let value = self.content().documents.get(id).cloned();
        Ok(value.map(|value| Document { id: id.to_owned(), value }))
    }

    fn documents(&self, each: &mut dyn FnMut(Document) -> bool) -> Result<(), StoreError> {
        let content = self.content();
        let document =
            |(id, value): (&String, &serde_json::Value)| Document { id: id.clone(), value: value.clone() };
        content.documents.iter().map(document).all(each);
        Ok(())
    }

    fn events(&self, after: u64, each: &mut dyn FnMut(Event) -> bool) -> Result<(), StoreError> {
        let content = self.content();
        content.events.range(after.saturating_add(1)..).map(|(_, event)| event.clone()).all(each);
        Ok(())
    }

    fn last_event(&self) -> Result<Option<Event>, StoreError> {
        Ok(self.content().events.values().next_back().cloned())
    }
}
