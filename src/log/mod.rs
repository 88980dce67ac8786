//! The messages: a doubly linked list of chunks. Appends, reads by seq, and removes. It returns what it removed and
//! drops nothing.
//!
//! Seqs have no gaps and start at 0. A message that leaves from the middle leaves a *hole*. A chunk that has only holes
//! is unlinked, wherever it is in the list. A chunk with many holes is compacted (`compaction.rs`). Counts are O(1)
//! while there are no holes, and O(log n) through the index otherwise (`index.rs`).

pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod budget;
mod check;
pub(crate) mod chunk;
mod compaction;
mod counting;
mod dropping;
pub(crate) mod drops;
mod filter;
pub(crate) mod filtering;
pub(crate) mod granting;
mod held;
mod index;
pub(crate) mod lane;
pub(crate) mod lease;
mod removal;
mod removed;
mod rising;
mod route;
mod segment;
mod slot;
mod slots;
mod tagging;
mod tags;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod topics;

use std::hint::cold_path;

use slab::Slab;

use crate::delivery::{Delivery, Receipt};
use crate::need::Need;
use crate::time::NEVER;
use crate::time::clock::Now;
use crate::topics::Topic;
use batch::Batch;
use chunk::{CHUNK_SIZE, Chunk, NIL};
use drops::Drops;
use held::Held;
use index::Index;
use lease::Leases;
pub(crate) use removed::{Note, Removed};
use slot::{Slot, Stamp};
use slots::Slots;
use topics::Topics;

/// A message in its slot.
#[derive(Debug)]
pub(crate) struct Found<'a, T> {
    pub(crate) seq: u64,
    pub(crate) payload: &'a T,
    pub(crate) size: u64,
    /// When it was enqueued, by the monotonic and by the wall clock.
    pub(crate) mono: u64,
    pub(crate) wall: u64,
    pub(crate) topic: Option<&'a Topic>,
}

impl<'a, T> Found<'a, T> {
    /// The message as its consumer receives it. `missed`: how many messages the reader missed just before it.
    #[inline(always)]
    pub(crate) fn delivery(self, missed: u64, deliveries: u32, receipt: Option<Receipt>) -> Delivery<'a, T> {
        let Found { seq, payload, size, wall, topic, .. } = self;
        Delivery { payload, seq, size, created: wall, topic, missed, deliveries, receipt }
    }
}

#[derive(Debug)]
pub(crate) struct Log<T> {
    /// The chunks, by key. (Boxed: when the list of them grows, they are not copied.)
    chunks: Slab<Box<Chunk<T>>>,
    /// Key of the oldest chunk, or NIL.
    front: usize,
    /// Key of the newest chunk, or NIL.
    back: usize,
    /// Seq of the oldest message held; `next` if there is none.
    head: u64,
    /// Seq of the next message to be enqueued.
    next: u64,
    /// Bytes of all payloads ever enqueued, modulo 2^64. What is held is less, so differences are exact.
    through: u64,
    /// Messages held.
    len: u64,
    /// Payload bytes held.
    bytes: u64,
    /// Key of the chunk that is being filled, which is the last. NIL: the next message begins a new chunk.
    filling: usize,
    /// A moment before which no own ttl in the chunk that is being filled ends.
    filling_due: u64,
    /// All chunks except the one that is being filled.
    index: Index,
    /// The slots of an emptied chunk, to be reused by the next chunk.
    spare: Option<Slots<T>>,
    /// An empty list of slots.
    none: Slots<T>,
    /// The leases through which consumers read without the queue's lock.
    pub(crate) leases: Leases<T>,
    /// Topics of the held messages, and the filters in use.
    pub(crate) topics: Box<Topics>,
    /// Which messages were dropped.
    pub(crate) drops: Drops,
}

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Log {
            chunks: Slab::new(),
            front: NIL,
            back: NIL,
            head: 0,
            next: 0,
            through: 0,
            len: 0,
            bytes: 0,
            filling: NIL,
            filling_due: NEVER,
            index: Index::new(),
            spare: None,
            none: Slots::none(),
            leases: Leases::new(),
            topics: Box::default(),
            drops: Drops::default(),
        }
    }

    /// Seq of the oldest message held; [`next`](Self::next) if there is none.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Seq of the next message to be enqueued. This is also the number of messages ever enqueued.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Messages held.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a message without a deadline of its own at the end, and returns its seq.
    #[inline(always)]
    pub(crate) fn append(&mut self, payload: T, size: u64, now: Now) -> u64 {
        let (seq, all) = (self.next, self.through.wrapping_add(size));
        let chunk = match self.chunks.get_mut(self.filling) {
            Some(chunk) if chunk.slots.has_room() => chunk,
            _ => {
                cold_path();
                self.append_chunk()
            }
        };
        let through = all.wrapping_sub(chunk.before);
        chunk.slots.push(Slot { payload: Some(payload), through, stamp: Stamp::new(now.mono, false), wall: now.wall });
        chunk.live += 1;
        self.through = all;
        self.next += 1;
        self.len += 1;
        self.bytes += size;
        self.leases.published.publish(self.next);
        seq
    }

    /// Adds messages, with their sizes, at the end, and returns their need. `own`: the messages have a lifetime of
    /// their own, with this deadline.
    pub(crate) fn append_all(
        &mut self,
        mut each: impl ExactSizeIterator<Item = (T, u64)>,
        own: Option<u64>,
        now: Now,
    ) -> Need {
        let mut need = Need::NONE;
        let stamp = Stamp::new(now.mono, own.is_some());
        if own.is_some() {
            // A lease has one deadline for all messages that follow.
            self.leases.vacate_chunk(self.filling);
        }
        while each.len() > 0 {
            let chunk = match self.chunks.get_mut(self.filling) {
                Some(chunk) if chunk.slots.has_room() => chunk,
                _ => self.append_chunk(),
            };
            let filled = chunk.slots.len();
            let before = chunk.through_before(filled);
            let mut through = before;
            chunk.slots.fill(each.by_ref().map(|(payload, size)| {
                through = through.wrapping_add(size);
                Slot { payload: Some(payload), through, stamp, wall: now.wall }
            }));
            let added = (chunk.slots.len() - filled) as u32;
            chunk.live += added;
            if let Some(deadline) = own {
                chunk.own += added;
                chunk.set_deadlines(filled, deadline);
                self.filling_due = self.filling_due.min(deadline);
            }
            let bytes = through.wrapping_sub(before);
            need = need.and(Need { bytes, items: u64::from(added) });
            self.through = self.through.wrapping_add(bytes);
            self.next += u64::from(added);
        }
        self.len += need.items;
        self.bytes += need.bytes;
        self.leases.published.publish(self.next);
        need
    }

    /// Adds a batch that is already in chunks. Its times are those of `now`.
    pub(crate) fn append_batch(&mut self, batch: &mut Batch<T>, now: Now) -> Need {
        let need = batch.need();
        self.close_filling();
        for (mut chunk, bytes) in batch.take() {
            (chunk.base, chunk.before, chunk.mono, chunk.wall) = (self.next, self.through, now.mono, now.wall);
            let (base, due) = (chunk.base, chunk.deadline(0));
            let items = u64::from(chunk.live);
            let key = self.link(chunk);
            self.index.push(base, key, Held { items, bytes }, due);
            self.next += items;
            self.through = self.through.wrapping_add(bytes);
        }
        self.len += need.items;
        self.bytes += need.bytes;
        self.leases.published.publish(self.next);
        need
    }

    #[cold]
    fn append_chunk(&mut self) -> &mut Chunk<T> {
        self.close_filling();
        let slots = self.spare.take().unwrap_or_else(|| Slots::with_capacity(CHUNK_SIZE));
        self.filling = self.link(Box::new(Chunk::new(self.next, self.through, slots)));
        &mut self.chunks[self.filling]
    }

    /// Links a chunk at the end.
    fn link(&mut self, mut chunk: Box<Chunk<T>>) -> usize {
        chunk.prev = self.back;
        let key = self.chunks.insert(chunk);
        match self.chunks.get_mut(self.back) {
            Some(back) => back.next = key,
            None => self.front = key,
        }
        self.back = key;
        key
    }

    /// Ends the chunk that is being filled.
    fn close_filling(&mut self) {
        let (key, due) = (std::mem::replace(&mut self.filling, NIL), std::mem::replace(&mut self.filling_due, NEVER));
        let Some(chunk) = self.chunks.get_mut(key) else { return };
        if chunk.live == 0 {
            // All that it got has left already. So no payload is dropped here.
            self.take_out(key);
            return;
        }
        let (items, bytes) = chunk.live_from(0);
        if chunk.slots.len() < CHUNK_SIZE {
            // A batch ends the chunk before it is full.
            self.leases.vacate_chunk(key);
            chunk.slots.shrink_to_fit();
        }
        self.index.push(chunk.base, key, Held { items, bytes }, due);
        chunk.segments.shrink_to_fit();
        for segment in &mut chunk.segments {
            segment.shrink_to_fit();
            self.topics.filters[segment.filter as usize].index.push(chunk.base, key, segment.held, NEVER);
        }
        self.compact(key);
    }

    /// Key of the first chunk that ends after `seq`; NIL: there is none.
    pub(crate) fn chunk_at(&self, seq: u64, hint: usize) -> usize {
        if seq >= self.next || self.len == 0 {
            return NIL;
        }
        let has = |key: usize| self.chunks.get(key).is_some_and(|chunk| chunk.base <= seq && seq < chunk.end());
        if has(hint) {
            return hint;
        }
        if let Some(filling) = self.chunks.get(self.filling)
            && filling.base <= seq
        {
            return self.filling;
        }
        match self.index.find(seq) {
            None => self.front,
            Some(key) if self.chunks[key].end() > seq => key,
            Some(key) => self.chunks[key].next,
        }
    }

    /// The message with this seq, if the hint is the key of its chunk.
    #[inline(always)]
    pub(crate) fn at(&self, seq: u64, hint: usize) -> Option<Found<'_, T>> {
        let chunk = self.chunks.get(hint)?;
        let mut index = seq.checked_sub(chunk.base)? as usize;
        if !chunk.is_dense() {
            cold_path();
            index = chunk.find(seq)?;
        }
        self.found(chunk, index)
    }

    #[inline(always)]
    fn found<'a>(&'a self, chunk: &'a Chunk<T>, index: usize) -> Option<Found<'a, T>> {
        let slot = chunk.slots.get(index)?;
        let payload = slot.payload.as_ref()?;
        let (mono, wall) = (slot.stamp.mono() + chunk.mono, slot.wall + chunk.wall);
        let topic = self.topic_in(chunk, index);
        Some(Found { seq: chunk.seq(index), payload, size: chunk.size(index), mono, wall, topic })
    }

    /// The topic of a slot that holds a message.
    #[inline(always)]
    fn topic_in(&self, chunk: &Chunk<T>, index: usize) -> Option<&Topic> {
        if chunk.topics.is_empty() { None } else { self.topics.topic(chunk.topics.get(index)) }
    }

    /// The first message held at or after `seq`. The hint is a chunk key, and is set to the chunk of that message.
    #[inline]
    pub(crate) fn first_at(&self, seq: u64, hint: &mut usize) -> Option<Found<'_, T>> {
        let mut seq = seq.max(self.head);
        if let Some(found) = self.at(seq, *hint) {
            return Some(found);
        }
        let mut key = self.chunk_at(seq, *hint);
        while let Some(chunk) = self.chunks.get(key) {
            seq = seq.max(chunk.base);
            let from = chunk.index(seq);
            if let Some(offset) = chunk.slots.from(from).position(|slot| slot.payload.is_some()) {
                *hint = key;
                return self.found(chunk, from + offset);
            }
            key = chunk.next;
        }
        None
    }

    /// The messages held directly after `seq`, which is in the chunk of the hint, up to the first hole or the end of
    /// the chunk. (None for a compacted chunk.)
    #[inline]
    pub(crate) fn following(&self, seq: u64, hint: usize) -> impl Iterator<Item = Found<'_, T>> {
        let chunk = self.chunks.get(hint).filter(|chunk| chunk.is_dense());
        let base = chunk.map_or(0, |chunk| chunk.base);
        let from = chunk.map_or(0, |_| (seq + 1 - base) as usize);
        let slots = chunk.map_or(&self.none, |chunk| &chunk.slots).from(from);
        let mut before = chunk.map_or(0, |chunk| chunk.through_before(from));
        let (mono, wall) = chunk.map_or((0, 0), |chunk| (chunk.mono, chunk.wall));
        let topics = chunk.map(|chunk| &chunk.topics).filter(|topics| !topics.is_empty());
        (seq + 1..).zip(slots).map_while(move |(seq, slot)| {
            let payload = slot.payload.as_ref()?;
            let size = slot.through.wrapping_sub(std::mem::replace(&mut before, slot.through));
            let topic = topics.and_then(|topics| self.topics.topic(topics.get((seq - base) as usize)));
            Some(Found { seq, payload, size, mono: slot.stamp.mono() + mono, wall: slot.wall + wall, topic })
        })
    }

    /// Whether a message is held.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.first_at(seq, &mut { NIL }).is_some_and(|found| found.seq == seq)
    }

    /// Every payload held.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &T> {
        let mut key = self.front;
        std::iter::from_fn(move || {
            let chunk = self.chunks.get(key)?;
            key = chunk.next;
            Some(chunk.slots.from(0).filter_map(|slot| slot.payload.as_ref()))
        })
        .flatten()
    }
}
