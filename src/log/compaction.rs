//! Keeps the memory beside the payloads in proportion to what the log holds.
//!
//! A slot takes 32 bytes, its deadline 8, its seq in a compacted chunk 4, and a message is charged
//! [`MESSAGE_OVERHEAD`](crate::MESSAGE_OVERHEAD). A chunk is compacted when its slots take more than its messages are
//! charged: it keeps only the slots of held messages. Compacted neighbours are merged into one chunk if they fit. So
//! the chunks take less than what is charged, with two exceptions: the first chunk, which messages leave in order, and
//! the last chunk, which is being filled.
//!
//! A compaction moves at most one chunk of slots, after at least a tenth of them has left. So the cost for each message
//! is constant.

use super::Log;
use super::chunk::{CHUNK_SIZE, Chunk, NIL};
use super::held::Held;
use super::slot::{Slot, Stamp};
use super::slots::Slots;
use crate::need::MESSAGE_OVERHEAD;
use crate::time::NEVER;

impl<T> Chunk<T> {
    /// Bytes that the slots take.
    pub(super) fn footprint(&self) -> usize {
        // A payload is counted as a pointer. Producers count larger payloads themselves.
        self.slots.capacity() * 32 + self.offsets.capacity() * 4 + self.deadlines.capacity() * 8
    }

    /// Whether the chunk takes more than its messages are charged. (Deadlines in a compacted chunk take 4 bytes more.
    /// That alone is not worth a compaction.)
    fn is_sparse(&self) -> bool {
        let charged = MESSAGE_OVERHEAD as usize + if self.is_dense() || self.deadlines.is_empty() { 0 } else { 8 };
        self.footprint() > self.live as usize * charged + 64
    }

    /// Keeps only the slots of held messages.
    fn compact(&mut self) {
        let live = self.live as usize;
        let has_deadlines = self.own > 0 && !self.deadlines.is_empty();
        let (mut seqs, mut deadlines) =
            (Vec::with_capacity(live), Vec::with_capacity(if has_deadlines { live } else { 0 }));
        let (mut sizes, mut kept) = (Vec::with_capacity(live), Vec::with_capacity(live));
        for index in 0..self.slots.len() {
            if self.slots[index].payload.is_some() {
                seqs.push(self.seq(index));
                sizes.push(self.size(index));
                kept.push(index);
                if has_deadlines {
                    deadlines.push(self.deadlines.get(index).copied().unwrap_or(NEVER));
                }
            }
        }
        self.segments.iter_mut().for_each(|segment| segment.keep(&kept));
        self.topics.keep(&kept);
        let end = self.before.wrapping_add(self.slots.last().map_or(0, |slot| slot.through));
        let mut slots = Slots::with_capacity(live);
        let mut through = 0u64;
        let kept = std::mem::replace(&mut self.slots, Slots::none()).into_iter().filter(|slot| slot.payload.is_some());
        for (slot, size) in kept.zip(sizes) {
            through = size.wrapping_add(through);
            slots.push(Slot { through, ..slot });
        }
        (self.slots, self.deadlines) = (slots, deadlines);
        // The end of the chunk stays where it was, so sums from there to the end of the log stay right.
        self.before = end.wrapping_sub(through);
        self.base = seqs.first().copied().unwrap_or(self.base);
        self.offsets = seqs.iter().map(|seq| (seq - self.base) as u32).collect();
    }

    /// Takes over the messages of a later chunk. Both chunks are compacted.
    fn absorb(&mut self, other: Chunk<T>) {
        let held = self.slots.last().map_or(0, |slot| slot.through);
        self.before = other.before.wrapping_sub(held);
        let (mono, wall) = (self.mono, self.wall);
        let room = self.slots.capacity() - self.slots.len();
        if room < other.slots.len() {
            let more = other.slots.len() + self.slots.len() / 8;
            self.slots.reserve(more);
            self.offsets.reserve_exact(more);
        }
        if !other.deadlines.is_empty() || !self.deadlines.is_empty() {
            self.deadlines.resize(self.slots.len(), NEVER);
            let times = (0..other.slots.len()).map(|index| other.deadline(index));
            self.deadlines.extend(times.map(|at| if at == NEVER { NEVER } else { at.wrapping_sub(mono) }));
        }
        self.absorb_topics(&other);
        self.live += other.live;
        self.own += other.own;
        let shift = (other.base - self.base) as u32;
        self.offsets.extend(other.offsets.iter().map(|offset| offset + shift));
        // The times become relative to this chunk. They are never negative, because a later chunk never has earlier
        // times.
        for slot in other.slots.into_iter() {
            self.slots.push(Slot {
                through: held.wrapping_add(slot.through),
                stamp: Stamp::new((slot.stamp.mono() + other.mono).wrapping_sub(mono), slot.stamp.has_own_ttl()),
                wall: (slot.wall + other.wall).wrapping_sub(wall),
                ..slot
            });
        }
    }
}

impl<T> Chunk<T> {
    /// Takes over the topics of a later chunk. Called before its slots are taken over.
    fn absorb_topics(&mut self, other: &Chunk<T>) {
        let shift = self.slots.len();
        self.topics.absorb(&other.topics, shift);
        for of_other in &other.segments {
            match self.segments.binary_search_by_key(&of_other.filter, |segment| segment.filter) {
                Ok(place) => self.segments[place].absorb(of_other, shift),
                Err(place) => self.segments.insert(place, of_other.shifted(shift)),
            }
        }
    }
}

impl<T> Log<T> {
    /// Compacts a chunk after messages have left it, if it takes more than the remaining messages are charged.
    pub(super) fn compact(&mut self, key: usize) {
        if key == self.front || key == self.filling || !self.chunks.get(key).is_some_and(|chunk| chunk.is_sparse()) {
            return;
        }
        self.leases.vacate_chunk(key);
        let chunk = &mut self.chunks[key];
        let base = chunk.base;
        chunk.compact();
        let (rebased, prev, next) = (chunk.base, chunk.prev, chunk.next);
        self.index.rebase(base, rebased);
        for segment in &self.chunks[key].segments {
            self.topics.filters[segment.filter as usize].index.rebase(base, rebased);
        }
        let kept = self.merge(prev, key);
        self.merge(kept, next);
    }

    /// Merges two neighbours if both are compacted and fit into one. Returns the key of the chunk that has the second's
    /// messages.
    fn merge(&mut self, first: usize, second: usize) -> usize {
        let may = |key: usize| key != self.front && key != self.filling;
        let (Some(left), Some(right)) = (self.chunks.get(first), self.chunks.get(second)) else { return second };
        let fits = left.slots.len() + right.slots.len() <= CHUNK_SIZE && right.end() - left.base < u64::from(u32::MAX);
        if !(may(first) && may(second) && !left.is_dense() && !right.is_dense() && fits) {
            return second;
        }
        let due = self.index.due(right.base);
        let right = self.take_out(second);
        let (items, bytes) = right.live_from(0);
        let left = &mut self.chunks[first];
        let base = left.base;
        for segment in &right.segments {
            let index = &mut self.topics.filters[segment.filter as usize].index;
            match left.segment(segment.filter as usize) {
                Some(_) => {
                    index.remove(right.base);
                    index.add(base, segment.held);
                }
                None => index.move_to(right.base, base, first),
            }
        }
        left.absorb(*right);
        self.index.add(base, Held { items, bytes });
        self.index.set_due(base, due.min(self.index.due(base)));
        first
    }

    /// Unlinks a chunk and returns it.
    pub(super) fn take_out(&mut self, key: usize) -> Box<Chunk<T>> {
        self.leases.vacate_chunk(key);
        let chunk = self.chunks.remove(key);
        match self.chunks.get_mut(chunk.prev) {
            Some(prev) => prev.next = chunk.next,
            None => self.front = chunk.next,
        }
        match self.chunks.get_mut(chunk.next) {
            Some(next) => next.prev = chunk.prev,
            None => self.back = chunk.prev,
        }
        if key == self.filling {
            (self.filling, self.filling_due) = (NIL, NEVER);
        } else {
            self.index.remove(chunk.base);
        }
        chunk
    }
}
