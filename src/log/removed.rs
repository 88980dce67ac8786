//! Messages that left the log, until they are dropped.

use super::chunk::CHUNK_SIZE;
use super::slots::Slots;
use crate::topics::Topic;

/// A message that was removed individually.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) seq: u64,
    pub(crate) topic: Option<Topic>,
}

/// What left the log, collected so that it can be dropped elsewhere.
#[derive(Debug)]
pub(crate) struct Removed<T> {
    /// Payloads that were removed one by one.
    pub(crate) payloads: Vec<T>,
    /// Seq and topic of these messages, if the caller asks for them. Then no chunk is removed as a whole.
    pub(crate) notes: Option<Vec<Note>>,
    /// The slots of chunks that were removed as a whole.
    pub(crate) chunks: Vec<Slots<T>>,
}

impl<T> Removed<T> {
    pub(crate) fn new() -> Self {
        Removed { payloads: Vec::new(), notes: None, chunks: Vec::new() }
    }

    /// Makes room for what the next hold of the lock removes. Otherwise long lists would be copied during it.
    pub(crate) fn reserve(&mut self) {
        self.payloads.reserve(4 * CHUNK_SIZE);
        self.notes.iter_mut().for_each(|notes| notes.reserve(4 * CHUNK_SIZE));
        self.chunks.reserve(CHUNK_SIZE);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.payloads.is_empty() && self.chunks.is_empty()
    }

    /// Adds a payload that was removed individually.
    pub(crate) fn take<'a>(&mut self, seq: u64, payload: Option<T>, topic: impl Fn() -> Option<&'a Topic>) {
        if let Some(payload) = payload {
            self.payloads.push(payload);
            self.notes.iter_mut().for_each(|notes| notes.push(Note { seq, topic: topic().cloned() }));
        }
    }

    /// Drops up to a chunk's worth of payloads. Returns false when nothing is left.
    pub(crate) fn drop_some(&mut self) -> bool {
        if self.chunks.pop().is_some() {
            return true;
        }
        let keep = self.payloads.len().saturating_sub(CHUNK_SIZE);
        self.payloads.truncate(keep);
        keep > 0
    }
}
