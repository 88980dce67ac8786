//! Whether a consumer may read on by itself.

use std::sync::Arc;

use super::Log;
use super::audit::Reads;
use super::lane::{Lane, Lease};
use super::lease::Holder;

/// What a lease depends on besides the log.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Nanoseconds that messages live; NEVER: for ever.
    pub(crate) lives: u64,
    /// When a message enqueued now expires.
    pub(crate) deadline: u64,
    /// Whether the queue is closed.
    pub(crate) is_closed: bool,
    /// Whether reads have a time, and leave records.
    pub(crate) is_timed: bool,
    pub(crate) is_audited: bool,
}

impl<T> Log<T> {
    /// Lets a consumer read on by itself, from its position on: whether it may. Its records are taken along then.
    pub(crate) fn grant(
        &mut self,
        lane: &Arc<Lane<T>>,
        holder: Holder,
        (position, hint): (u64, usize),
        terms: &Terms,
        reads: &mut Reads,
        last_read: u64,
    ) -> bool {
        let key = if position == self.next { self.filling } else { self.chunk_at(position, hint) };
        let Some(chunk) = self.chunks.get(key).filter(|chunk| chunk.base <= position) else { return false };
        // A lane does not look at topics.
        if !chunk.is_dense() || chunk.own > 0 || !chunk.topics.is_empty() || !self.leases.has_room() {
            return false;
        }
        let index = (position - chunk.base) as usize;
        if index == chunk.slots.capacity() {
            return false; // what comes next comes in another chunk
        }
        let until = match chunk.slots.get(index) {
            Some(slot) => (slot.stamp.mono() + chunk.mono).saturating_add(terms.lives),
            None => terms.deadline,
        };
        let lease = Lease {
            window: chunk.slots.window(),
            base: chunk.base,
            index,
            end: chunk.slots.len(),
            through: chunk.through_before(index),
            wall: chunk.wall,
            until,
            is_closed: terms.is_closed,
            is_timed: terms.is_timed,
            is_audited: terms.is_audited,
            reads: std::mem::take(reads),
            last_read,
        };
        self.leases.open(holder, lane, key, lease);
        true
    }
}
