//! The messages: a doubly linked list of chunks. Append, read by seq, remove; it returns what it removed and drops nothing.
//!
//! Seqs are gapless from 0. A message that leaves from the middle leaves a *hole*; a chunk with nothing but holes is
//! unlinked, wherever it stands. Everything that counts messages works without visiting them: it costs O(1) while there
//! are no holes, O(chunks) while there are some.

pub(crate) mod audit;
pub(crate) mod budget;
pub(crate) mod chunk;
mod removal;
mod removed;

use std::collections::VecDeque;
use std::hint::cold_path;
use std::ops::Range;

use slab::Slab;

use crate::delivery::{Delivery, Receipt};
use crate::need::Need;
use chunk::{CHUNK_SIZE, Chunk, NIL, Slot, Stamp};
pub(crate) use removed::Removed;

/// A message in place.
#[derive(Debug)]
pub(crate) struct Found<'a, T> {
    pub(crate) seq: u64,
    pub(crate) payload: &'a T,
    pub(crate) size: u64,
    pub(crate) stamp: Stamp,
    pub(crate) wall: u64,
}

impl<'a, T> Found<'a, T> {
    /// The message as it is handed over. `missed`: what its reader missed just before it.
    #[inline(always)]
    pub(crate) fn delivery(self, missed: u64, deliveries: u32, receipt: Option<Receipt>) -> Delivery<'a, T> {
        let Found { seq, payload, size, wall, .. } = self;
        Delivery { payload, seq, size, created: wall, missed, deliveries, receipt }
    }
}

#[derive(Debug)]
pub(crate) struct Log<T> {
    /// The chunks, by key.
    chunks: Slab<Chunk<T>>,
    /// Key of the oldest chunk, or NIL.
    front: usize,
    /// Key of the newest chunk, or NIL.
    back: usize,
    /// Seq of the oldest message held; `next` when there is none.
    head: u64,
    /// Seq of the next message to be enqueued.
    next: u64,
    /// Bytes of all payloads ever enqueued, modulo 2^64: what is held is less, so differences are exact.
    through: u64,
    /// Messages held.
    len: u64,
    /// Payload bytes held.
    bytes: u64,
    /// The slots of a chunk that emptied, for the next one.
    spare: Vec<Slot<T>>,
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
            spare: Vec::new(),
        }
    }

    /// Seq of the oldest message held; [`next`](Self::next) when there is none.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Seq of the next message to be enqueued, which is also how many were enqueued ever.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Messages held.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a message at the end and returns its seq.
    #[inline(always)]
    pub(crate) fn append(&mut self, payload: T, size: u64, stamp: Stamp, wall: u64) -> u64 {
        let (seq, through) = (self.next, self.through.wrapping_add(size));
        let chunk = match self.chunks.get_mut(self.back) {
            Some(chunk) if chunk.slots.len() < CHUNK_SIZE => chunk,
            _ => {
                cold_path();
                self.append_chunk()
            }
        };
        chunk.slots.push(Slot { payload: Some(payload), through, stamp, wall });
        chunk.live += 1;
        chunk.own += u32::from(stamp.has_own_ttl());
        self.through = through;
        self.next += 1;
        self.len += 1;
        self.bytes += size;
        seq
    }

    /// Adds messages, with their sizes, at the end, and returns what they need.
    pub(crate) fn append_all(
        &mut self,
        mut each: impl ExactSizeIterator<Item = (T, u64)>,
        stamp: Stamp,
        wall: u64,
    ) -> Need {
        let (first, before) = (self.next, self.through);
        while each.len() > 0 {
            let mut through = self.through;
            let chunk = match self.chunks.get_mut(self.back) {
                Some(chunk) if chunk.slots.len() < CHUNK_SIZE => chunk,
                _ => self.append_chunk(),
            };
            let filled = chunk.slots.len();
            for (payload, size) in each.by_ref().take(CHUNK_SIZE - filled) {
                through = through.wrapping_add(size);
                chunk.slots.push(Slot { payload: Some(payload), through, stamp, wall });
            }
            let added = (chunk.slots.len() - filled) as u32;
            chunk.live += added;
            chunk.own += if stamp.has_own_ttl() { added } else { 0 };
            self.next += u64::from(added);
            self.through = through;
        }
        let need = Need { bytes: self.through.wrapping_sub(before), items: self.next - first };
        self.len += need.items;
        self.bytes += need.bytes;
        need
    }

    /// Bytes of all payloads ever enqueued, modulo 2^64.
    pub(crate) fn through(&self) -> u64 {
        self.through
    }

    /// Adds messages that are in slots already, without a lifetime of their own, at the end, and returns what they need.
    pub(crate) fn append_slots(&mut self, mut slots: Vec<Slot<T>>) -> Need {
        let (first, before) = (self.next, self.through);
        while !slots.is_empty() {
            let chunk = match self.chunks.get_mut(self.back) {
                Some(chunk) if chunk.slots.len() < CHUNK_SIZE => chunk,
                _ => self.append_chunk(),
            };
            let added = slots.len().min(CHUNK_SIZE - chunk.slots.len());
            chunk.slots.extend(slots.drain(..added));
            chunk.live += added as u32;
            self.through = chunk.slots.last().map_or(before, |slot| slot.through);
            self.next += added as u64;
        }
        let need = Need { bytes: self.through.wrapping_sub(before), items: self.next - first };
        self.len += need.items;
        self.bytes += need.bytes;
        if self.spare.capacity() == 0 {
            self.spare = slots;
        }
        need
    }

    /// An empty list of slots: the one for the next chunk, if it is there.
    pub(crate) fn take_spare(&mut self) -> Vec<Slot<T>> {
        std::mem::take(&mut self.spare)
    }

    #[cold]
    fn append_chunk(&mut self) -> &mut Chunk<T> {
        let mut slots = std::mem::take(&mut self.spare);
        slots.reserve_exact(CHUNK_SIZE);
        let key = self.chunks.insert(Chunk {
            base: self.next,
            prev: self.back,
            next: NIL,
            before: self.through,
            live: 0,
            own: 0,
            slots,
        });
        match self.chunks.get_mut(self.back) {
            Some(back) => back.next = key,
            None => self.front = key,
        }
        self.back = key;
        &mut self.chunks[key]
    }

    /// Key of the first chunk that ends after `seq` (NIL: there is none), walking from whichever of the hint and the two
    /// ends is nearest.
    pub(crate) fn chunk_at(&self, seq: u64, hint: usize) -> usize {
        if seq >= self.next || self.len == 0 {
            return NIL;
        }
        let mut key = hint;
        match self.chunks.get(hint) {
            Some(chunk) if chunk.base <= seq && seq < chunk.end() => return hint,
            hinted => {
                let distance = |key: usize| self.chunks.get(key).map_or(u64::MAX, |chunk| chunk.base.abs_diff(seq));
                let hinted = hinted.map_or(u64::MAX, |chunk| chunk.base.abs_diff(seq));
                if distance(self.front) < hinted {
                    key = self.front;
                }
                if distance(self.back) < hinted.min(distance(self.front)) {
                    key = self.back;
                }
            }
        }
        while let Some(chunk) = self.chunks.get(key)
            && chunk.end() <= seq
        {
            key = chunk.next;
        }
        if key == NIL {
            return NIL;
        }
        while let Some(before) = self.chunks.get(self.chunks[key].prev)
            && before.end() > seq
        {
            key = self.chunks[key].prev;
        }
        key
    }

    /// The message `seq`, if the hint is the key of its chunk.
    #[inline(always)]
    pub(crate) fn at(&self, seq: u64, hint: usize) -> Option<Found<'_, T>> {
        let chunk = self.chunks.get(hint)?;
        let index = seq.checked_sub(chunk.base)? as usize;
        let slot = chunk.slots.get(index)?;
        let payload = slot.payload.as_ref()?;
        Some(Found { seq, payload, size: chunk.size(index), stamp: slot.stamp, wall: slot.wall })
    }

    /// The first message held at or after `seq`. The hint is a chunk key, and becomes that of the message.
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
            if let Some(offset) = chunk.slots[from..].iter().position(|slot| slot.payload.is_some()) {
                let index = from + offset;
                let slot = &chunk.slots[index];
                *hint = key;
                return slot.payload.as_ref().map(|payload| Found {
                    seq: chunk.base + index as u64,
                    payload,
                    size: chunk.size(index),
                    stamp: slot.stamp,
                    wall: slot.wall,
                });
            }
            key = chunk.next;
        }
        None
    }

    /// Whether a message is held.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.first_at(seq, &mut { NIL }).is_some_and(|found| found.seq == seq)
    }

    /// Messages and payload bytes held at or after `seq`.
    pub(crate) fn live_from(&self, seq: u64, hint: usize) -> (u64, u64) {
        if seq >= self.next || self.len == 0 {
            return (0, 0);
        }
        if seq <= self.head {
            return (self.len, self.bytes);
        }
        let key = self.chunk_at(seq, hint);
        let Some(chunk) = self.chunks.get(key) else { return (0, 0) };
        let from = chunk.index(seq.max(chunk.base));
        if self.has_no_holes() {
            return (self.next - seq, self.through.wrapping_sub(chunk.through_before(from)));
        }
        let (mut count, mut bytes) = chunk.live_from(from);
        let mut key = chunk.next;
        while let Some(chunk) = self.chunks.get(key) {
            let (more, more_bytes) = chunk.live_from(0);
            count += more;
            bytes += more_bytes;
            key = chunk.next;
        }
        (count, bytes)
    }

    /// The seqs of a range that are not held, as runs. O(1) while there are no holes.
    pub(crate) fn holes(&self, seqs: Range<u64>) -> VecDeque<Range<u64>> {
        let mut holes: VecDeque<Range<u64>> = VecDeque::new();
        let mut add = |start: u64, end: u64| match holes.back_mut() {
            _ if start >= end => {}
            Some(last) if last.end == start => last.end = end,
            _ => holes.push_back(start..end),
        };
        let mut next = seqs.start;
        if self.has_no_holes() {
            add(next, seqs.end.min(self.head));
            return holes;
        }
        let mut key = self.chunk_at(next, self.front);
        while let Some(chunk) = self.chunks.get(key)
            && next < seqs.end
        {
            add(next, chunk.base.min(seqs.end));
            next = next.max(chunk.base);
            if (chunk.live as usize) < chunk.slots.len() {
                for seq in next..chunk.end().min(seqs.end) {
                    if chunk.slots[chunk.index(seq)].payload.is_none() {
                        add(seq, seq + 1);
                    }
                }
            }
            next = chunk.end();
            key = chunk.next;
        }
        add(next, seqs.end);
        holes
    }

    /// Messages held at or after `seq`: the count alone, O(1) without a look at the chunks while there are no holes.
    #[inline]
    pub(crate) fn count_from(&self, seq: u64, hint: usize) -> u64 {
        if self.has_no_holes() {
            return self.next - seq.clamp(self.head, self.next);
        }
        self.live_from(seq, hint).0
    }

    fn has_no_holes(&self) -> bool {
        self.len == self.next - self.head
    }

    /// Seq of the first message held that was created at or after a wall time; `next` when there is none.
    pub(crate) fn seq_at(&self, wall: u64) -> u64 {
        let mut key = self.front;
        while let Some(chunk) = self.chunks.get(key) {
            // Wall times of one queue never run backwards.
            if chunk.slots.last().is_some_and(|slot| slot.wall >= wall) {
                let index = chunk.slots.partition_point(|slot| slot.wall < wall);
                let mut hint = key;
                let from = chunk.base + index as u64;
                return self.first_at(from, &mut hint).map_or(self.next, |found| found.seq);
            }
            key = chunk.next;
        }
        self.next
    }

    /// Every payload held.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &T> {
        let mut key = self.front;
        std::iter::from_fn(move || {
            let chunk = self.chunks.get(key)?;
            key = chunk.next;
            Some(chunk.slots.iter().filter_map(|slot| slot.payload.as_ref()))
        })
        .flatten()
    }

    /// Checks everything that must hold between operations.
    #[doc(hidden)]
    pub(crate) fn check(&self) {
        let (mut key, mut prev, mut end) = (self.front, NIL, 0);
        let (mut len, mut bytes, mut head, mut chunks) = (0, 0, None, 0);
        while let Some(chunk) = self.chunks.get(key) {
            assert_eq!(chunk.prev, prev, "links agree");
            assert!(chunk.base >= end, "chunks in order");
            assert!(chunk.slots.len() <= CHUNK_SIZE && !chunk.slots.is_empty());
            let live: Vec<_> = (0..chunk.slots.len()).filter(|&i| chunk.slots[i].payload.is_some()).collect();
            assert_eq!(live.len(), chunk.live as usize);
            assert_eq!(live.iter().filter(|&&i| chunk.slots[i].stamp.has_own_ttl()).count(), chunk.own as usize);
            assert!(!live.is_empty() || key == self.back, "only the chunk being filled may hold nothing");
            head = head.or(live.first().map(|&i| chunk.base + i as u64));
            len += live.len() as u64;
            bytes += live.iter().map(|&i| chunk.size(i)).sum::<u64>();
            end = chunk.end();
            prev = key;
            key = chunk.next;
            chunks += 1;
        }
        assert_eq!(prev, self.back);
        assert_eq!(chunks, self.chunks.len(), "no chunk outside the list");
        assert_eq!((len, bytes), (self.len, self.bytes));
        assert_eq!(head.unwrap_or(self.next), self.head);
        assert!(end <= self.next);
    }
}
