//! What left the log, on its way to where it is dropped.

use super::chunk::CHUNK_SIZE;
use super::slots::Slots;

/// What left the log, kept together so that it can be dropped elsewhere.
#[derive(Debug)]
pub(crate) struct Removed<T> {
    /// Payloads that left one by one.
    pub(crate) payloads: Vec<T>,
    /// Their seqs, where somebody asks for them; then no chunk leaves whole.
    pub(crate) seqs: Option<Vec<u64>>,
    /// The slots of chunks that left whole.
    pub(crate) chunks: Vec<Slots<T>>,
}

impl<T> Removed<T> {
    pub(crate) fn new() -> Self {
        Removed { payloads: Vec::new(), seqs: None, chunks: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.payloads.is_empty() && self.chunks.is_empty()
    }

    /// Takes a payload that left by itself.
    pub(crate) fn take(&mut self, seq: u64, payload: Option<T>) {
        if let Some(payload) = payload {
            self.payloads.push(payload);
            self.seqs.iter_mut().for_each(|seqs| seqs.push(seq));
        }
    }

    /// Drops up to a chunk's worth; false when nothing is left.
    pub(crate) fn drop_some(&mut self) -> bool {
        if self.chunks.pop().is_some() {
            return true;
        }
        let keep = self.payloads.len().saturating_sub(CHUNK_SIZE);
        self.payloads.truncate(keep);
        keep > 0
    }
}
