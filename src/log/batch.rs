//! Messages that are put into slots before they are added. So a large batch is added in a short hold of the lock.

use super::chunk::CHUNK_SIZE;
use super::slot::{Slot, Stamp};
use super::slots::Slots;
use crate::need::Need;
use crate::options::Lifetime;
use crate::time::NEVER;

/// A batch of at least this many messages is put into slots first.
pub(crate) const LARGE: usize = if cfg!(loom) { 3 } else { 10 * CHUNK_SIZE };

/// The slots of one chunk. Their times are relative to the moment at which they are added.
#[derive(Debug)]
pub(crate) struct Run<T> {
    pub(crate) slots: Slots<T>,
    /// Deadlines, if the messages have a lifetime of their own that ends.
    pub(crate) deadlines: Vec<u64>,
    /// Payload bytes.
    pub(crate) bytes: u64,
}

/// A batch in slots.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    runs: Vec<Run<T>>,
    need: Need,
    lifetime: Lifetime,
}

impl<T> Batch<T> {
    /// Puts messages with their sizes into slots.
    pub(crate) fn new(mut each: impl ExactSizeIterator<Item = (T, u64)>, lifetime: Lifetime) -> Self {
        let stamp = Stamp::new(0, lifetime != Lifetime::Queue);
        let mut batch = Batch { runs: Vec::with_capacity(each.len().div_ceil(CHUNK_SIZE)), need: Need::NONE, lifetime };
        while each.len() > 0 {
            let mut slots = Slots::with_capacity(each.len().min(CHUNK_SIZE));
            let mut through = 0u64;
            slots.fill(each.by_ref().map(|(payload, size)| {
                through = size.wrapping_add(through);
                Slot { payload: Some(payload), through, stamp, wall: 0 }
            }));
            let items = slots.len() as u64;
            let deadlines = match lifetime {
                Lifetime::Own(ttl) => vec![ttl.min(NEVER - 1); slots.len()],
                Lifetime::Queue | Lifetime::Forever => Vec::new(),
            };
            batch.need = batch.need.and(Need { bytes: through, items });
            batch.runs.push(Run { slots, deadlines, bytes: through });
        }
        batch
    }

    pub(crate) fn need(&self) -> Need {
        self.need
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Takes all runs out.
    pub(super) fn take(&mut self) -> Vec<Run<T>> {
        std::mem::take(&mut self.runs)
    }

    /// The payloads, until the batch is added.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &T> {
        self.runs.iter().flat_map(|run| run.slots.from(0)).filter_map(|slot| slot.payload.as_ref())
    }
}
