//! Decides whether a consumer gets a lease.

use std::sync::Arc;

use super::Log;
use super::audit::Reads;
use super::lane::{Lane, Lease};
use super::lease::Holder;

/// What a lease depends on, apart from the log.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Nanoseconds that messages live; NEVER: no limit.
    pub(crate) lives: u64,
    /// When a message expires that is enqueued now.
    pub(crate) deadline: u64,
    /// Whether the queue is closed.
    pub(crate) is_closed: bool,
    /// Whether reads record the time, and whether they leave records.
    pub(crate) is_timed: bool,
    pub(crate) is_audited: bool,
}

impl<T> Log<T> {
    /// Grants a lease to a consumer, from its position on. Returns whether it did. The lease then holds the consumer's
    /// read records.
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
        // A lane does not read topics.
        if !chunk.is_dense() || chunk.own > 0 || !chunk.topics.is_empty() || !self.leases.has_room() {
            return false;
        }
        let index = (position - chunk.base) as usize;
        if index == chunk.slots.capacity() {
            return false; // the next message goes into another chunk
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
