//! Messages that are put into slots before they are added. So a large batch is added in a short hold of the lock.

use std::hint::black_box;

use super::chunk::{CHUNK_SIZE, Chunk, NIL};
use super::slot::{Slot, Stamp};
use super::slots::Slots;
use crate::need::Need;
use crate::options::Lifetime;
use crate::time::NEVER;

/// A batch of at least this many messages is put into slots first.
pub(crate) const LARGE: usize = if cfg!(loom) { 3 } else { 10 * CHUNK_SIZE };

/// A batch in slots.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// The chunks, with their payload bytes. The times of the slots are relative to the moment at which they are added.
    chunks: Vec<(Box<Chunk<T>>, u64)>,
    need: Need,
    lifetime: Lifetime,
}

impl<T> Batch<T> {
    /// Puts messages with their sizes into slots.
    pub(crate) fn new(mut each: impl ExactSizeIterator<Item = (T, u64)>, lifetime: Lifetime) -> Self {
        let stamp = Stamp::new(0, lifetime != Lifetime::Queue);
        let mut runs = Vec::with_capacity(each.len().div_ceil(CHUNK_SIZE));
        while each.len() > 0 {
            let mut slots = Slots::with_capacity(each.len().min(CHUNK_SIZE));
            let mut through = 0u64;
            slots.fill(each.by_ref().map(|(payload, size)| {
                through = size.wrapping_add(through);
                Slot { payload: Some(payload), through, stamp, wall: 0 }
            }));
            let deadlines = match lifetime {
                Lifetime::Own(ttl) => vec![ttl.min(NEVER - 1); slots.len()],
                Lifetime::Queue | Lifetime::Forever => Vec::new(),
            };
            runs.push((slots, deadlines, through));
        }
        let mut batch = Batch { chunks: Vec::with_capacity(runs.len()), need: Need::NONE, lifetime };
        // The chunks are made last, and so most of them are still in the processor's cache when they are added.
        for (slots, deadlines, bytes) in runs {
            let mut chunk = Box::new(Chunk::new(0, 0, slots));
            chunk.live = chunk.slots.len() as u32;
            if lifetime != Lifetime::Queue {
                chunk.own = chunk.live;
            }
            chunk.deadlines = deadlines;
            batch.need = batch.need.and(Need { bytes, items: u64::from(chunk.live) });
            batch.chunks.push((chunk, bytes));
        }
        batch
    }

    /// Brings what is changed or read when the batch is added into the processor's cache. To wait for the memory of a
    /// thousand chunks would double the time for which the lock is held.
    pub(crate) fn warm(&mut self) {
        for (chunk, _) in &mut self.chunks {
            (chunk.base, chunk.next) = black_box((0, NIL));
            black_box((chunk.live, chunk.deadlines.len(), chunk.topics.len(), chunk.through_before(chunk.slots.len())));
        }
    }

    pub(crate) fn need(&self) -> Need {
        self.need
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Takes all chunks out.
    pub(super) fn take(&mut self) -> Vec<(Box<Chunk<T>>, u64)> {
        std::mem::take(&mut self.chunks)
    }

    /// The payloads, until the batch is added.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|(chunk, _)| chunk.slots.from(0)).filter_map(|slot| slot.payload.as_ref())
    }
}
