//! A run of up to 1000 slots.
//!
//! A chunk is *dense* when its slots have consecutive seqs; messages that have left are holes in it. A chunk with too
//! many holes is *compacted*: it keeps only the slots of held messages, and a list of their seqs (`compaction.rs`).

use super::held::Held;
use super::segment::Segment;
pub use super::slot::CHUNK_SIZE;
use super::slots::Slots;
use super::tags::Tags;
use crate::time::NEVER;

/// No chunk: the end of a link.
pub(crate) const NIL: usize = usize::MAX;

/// A chunk of the list. Its links are keys, so a stale link can only lead to the wrong chunk, never to freed memory.
#[derive(Debug)]
pub(crate) struct Chunk<T> {
    /// Seq of the first slot.
    pub(crate) base: u64,
    /// Key of the chunk before, or NIL.
    pub(crate) prev: usize,
    /// Key of the chunk after, or NIL.
    pub(crate) next: usize,
    /// Bytes of all payloads ever enqueued before this chunk, modulo 2^64.
    pub(crate) before: u64,
    /// Added to the times of the slots: 0, or the moment at which a batch was added whose slots were filled before.
    pub(crate) mono: u64,
    pub(crate) wall: u64,
    /// How many payloads it still holds.
    pub(crate) live: u32,
    /// How many of these payloads have a time to live of their own.
    pub(crate) own: u32,
    /// The slots, in order of seq, at most CHUNK_SIZE.
    pub(crate) slots: Slots<T>,
    /// The seqs of the slots, relative to the base. Empty while the chunk is dense.
    pub(crate) offsets: Vec<u32>,
    /// Deadlines of messages with a ttl of their own, by slot, relative to `mono`; NEVER for the others. The list ends
    /// after the last slot that needs an entry.
    pub(crate) deadlines: Vec<u64>,
    /// Places of the topics, by slot.
    pub(super) topics: Tags,
    /// Matches of the filters in use, in the order of the places of the filters.
    pub(super) segments: Vec<Segment>,
}

impl<T> Chunk<T> {
    pub(crate) fn is_dense(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Seq after the last slot.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.offsets.last().map_or(self.slots.len() as u64, |&last| u64::from(last) + 1)
    }

    /// Seq of slot `index`.
    pub(crate) fn seq(&self, index: usize) -> u64 {
        self.base + self.offsets.get(index).map_or(index as u64, |&offset| u64::from(offset))
    }

    /// Index of the first slot at or after a seq. It may be the end of the slots.
    pub(crate) fn index(&self, seq: u64) -> usize {
        let offset = seq.saturating_sub(self.base);
        match self.is_dense() {
            true => offset as usize,
            false => self.offsets.partition_point(|&other| u64::from(other) < offset),
        }
    }

    /// Index of the slot of a seq, if there is one.
    pub(crate) fn find(&self, seq: u64) -> Option<usize> {
        let offset = seq.checked_sub(self.base)?;
        let index = match self.is_dense() {
            true => offset as usize,
            false => self.offsets.binary_search(&u32::try_from(offset).ok()?).ok()?,
        };
        (index < self.slots.len()).then_some(index)
    }

    /// The deadline of a message with a time to live of its own; NEVER for other messages.
    pub(crate) fn deadline(&self, index: usize) -> u64 {
        self.deadlines.get(index).map_or(NEVER, |deadline| deadline.saturating_add(self.mono))
    }

    /// When a message was enqueued, by the monotonic clock.
    pub(crate) fn mono_at(&self, index: usize) -> u64 {
        self.slots.get(index).map_or(0, |slot| slot.stamp.mono() + self.mono)
    }

    /// A chunk without slots that is not linked yet.
    pub(crate) fn new(base: u64, before: u64, slots: Slots<T>) -> Self {
        Chunk {
            base,
            prev: NIL,
            next: NIL,
            before,
            mono: 0,
            wall: 0,
            live: 0,
            own: 0,
            slots,
            offsets: Vec::new(),
            deadlines: Vec::new(),
            topics: Tags::default(),
            segments: Vec::new(),
        }
    }

    /// The place of the topic of a slot.
    #[inline]
    pub(super) fn topic_at(&self, index: usize) -> u32 {
        self.topics.get(index)
    }

    /// The slots that match a filter.
    #[inline]
    pub(super) fn segment(&self, filter: usize) -> Option<&Segment> {
        let place = self.segments.binary_search_by_key(&(filter as u32), |segment| segment.filter).ok()?;
        Some(&self.segments[place])
    }

    /// The matches of a filter that are held, from a slot on: slot and number.
    pub(super) fn matches(&self, filter: usize, slot: usize) -> impl Iterator<Item = (usize, u64)> {
        let segment = self.segment(filter).into_iter();
        segment.flat_map(move |segment| segment.from(slot)).filter(|&(slot, _)| self.slots[slot].payload.is_some())
    }

    /// How many matches of a filter are held, from a slot on.
    pub(super) fn count_matches(&self, filter: usize, slot: usize) -> u64 {
        let count = self.segment(filter).map_or(Some(0), |segment| segment.count_without_holes(slot));
        count.unwrap_or_else(|| self.matches(filter, slot).count() as u64)
    }

    /// The matches of a filter that are held, from a slot on: their number and their payload bytes.
    pub(super) fn sum_matches(&self, filter: usize, slot: usize) -> Held {
        let mut held = Held::default();
        self.matches(filter, slot).for_each(|(slot, _)| held.add(Held { items: 1, bytes: self.size(slot) }));
        held
    }

    /// Sets the deadline of the slots from `index` on, which have none yet.
    pub(crate) fn set_deadlines(&mut self, index: usize, deadline: u64) {
        if deadline != NEVER {
            self.deadlines.resize(index, NEVER);
            self.deadlines.resize(self.slots.len(), deadline);
        }
    }

    /// The earliest deadline of the held messages; NEVER: there is none.
    pub(crate) fn first_deadline(&self) -> u64 {
        let held = self.slots.from(0).zip(&self.deadlines).filter(|(slot, _)| slot.payload.is_some());
        held.map(|(_, &deadline)| deadline.saturating_add(self.mono)).min().unwrap_or(NEVER)
    }

    /// Payload bytes of the slots before `index`.
    ///
    /// This function cannot panic. So the compiler can leave it out of a read that does not ask for the size.
    #[inline]
    pub(crate) fn through_before(&self, index: usize) -> u64 {
        index.checked_sub(1).and_then(|before| self.slots.get(before)).map_or(0, |slot| slot.through)
    }

    /// Payload bytes of slot `index`; 0 if there is no such slot.
    #[inline]
    pub(crate) fn size(&self, index: usize) -> u64 {
        self.slots.get(index).map_or(0, |slot| slot.through.wrapping_sub(self.through_before(index)))
    }

    /// Takes the payload out of a slot. No lease may read the slot any more.
    #[inline]
    pub(crate) fn take(&mut self, index: usize) -> Option<T> {
        let payload = self.slots.take(index)?;
        self.live -= 1;
        self.own -= u32::from(self.slots[index].stamp.has_own_ttl());
        Some(payload)
    }

    /// Messages and payload bytes still held from slot `from` on.
    pub(crate) fn live_from(&self, from: usize) -> (u64, u64) {
        if from >= self.slots.len() {
            return (0, 0);
        }
        if self.live as usize == self.slots.len() {
            let bytes = self.slots[self.slots.len() - 1].through.wrapping_sub(self.through_before(from));
            return ((self.slots.len() - from) as u64, bytes);
        }
        (from..self.slots.len())
            .filter(|&index| self.slots[index].payload.is_some())
            .fold((0, 0), |(count, bytes), index| (count + 1, bytes + self.size(index)))
    }
}
