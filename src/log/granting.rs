//! Decides whether a consumer gets a lease.

use std::sync::Arc;

use super::Log;
use super::audit::Reads;
use super::chunk::Chunk;
use super::lane::{Lane, Lease};
use super::lease::Holder;
use super::route::Route;

/// The most stops of a route without a filter. The queue's lock is quicker for long batches of such messages.
const UNFILTERED: usize = 64;

/// Where a lease begins, and what it reads.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Seq of the next message.
    pub(crate) position: u64,
    /// Key of the chunk in which the position was last found.
    pub(crate) hint: usize,
    /// Place of the filter whose matches alone are read.
    pub(crate) filter: Option<usize>,
    /// The most stops of its route, if it needs one.
    pub(crate) stops: usize,
}

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
        from: &Beginning,
        terms: &Terms,
        reads: &mut Reads,
        last_read: u64,
    ) -> bool {
        let position = from.position;
        let key = if position == self.next { self.filling } else { self.chunk_at(position, from.hint) };
        let Some(chunk) = self.chunks.get(key).filter(|chunk| chunk.base <= position) else { return false };
        if !chunk.is_dense() || chunk.own > 0 || !self.leases.has_room() {
            return false;
        }
        let index = (position - chunk.base) as usize;
        if index == chunk.slots.capacity() {
            return false; // the next message goes into another chunk
        }
        let route = match from.filter.is_none() && chunk.topics.is_empty() {
            true => None,
            false => match self.route(chunk, index, from) {
                None => return false,
                route => route,
            },
        };
        let until = match chunk.slots.get(index) {
            Some(slot) => (slot.stamp.mono() + chunk.mono).saturating_add(terms.lives),
            None => terms.deadline,
        };
        let lease = Lease {
            window: chunk.slots.window(),
            route,
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

    /// The next slots of a chunk that a lease reads, from a slot on. None: there are none, or not all messages from there
    /// on are held. As they are, what is passed over and the numbers of matches follow from what was read.
    fn route(&self, chunk: &Chunk<T>, index: usize, from: &Beginning) -> Option<Box<Route>> {
        let gone = self.head.saturating_sub(chunk.base) as usize;
        if index < gone || chunk.live as usize + gone != chunk.slots.len() {
            return None;
        }
        let mut route = Route::new(index, from.stops);
        let mut add = |slot| {
            let place = chunk.topic_at(slot);
            route.push(slot, place, || self.topics.topic(place))
        };
        let _has_room = match from.filter {
            None => (index..chunk.slots.len()).take(from.stops.min(UNFILTERED)).all(&mut add),
            Some(filter) => chunk.segment(filter)?.from(index).take(from.stops).all(|(slot, _)| add(slot)),
        };
        (route.left() > 0).then(|| Box::new(route))
    }
}
