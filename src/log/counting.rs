//! Counts from a seq on: how much is held, what has left, and which seq a time belongs to.

use std::collections::VecDeque;
use std::ops::Range;

use super::Log;
use super::chunk::Chunk;
use super::filtering::Gap;

impl<T> Log<T> {
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
            let bytes = self.through.wrapping_sub(chunk.before).wrapping_sub(chunk.through_before(from));
            return (self.next - seq, bytes);
        }
        let (items, bytes) = chunk.live_from(from);
        if key == self.filling {
            return (items, bytes);
        }
        let through = self.index.held_through(chunk.base);
        (items + self.len - through.items, bytes + self.bytes - through.bytes)
    }

    /// The seqs of a range that are not held, as runs. O(1) while there are no holes.
    pub(crate) fn holes(&self, seqs: Range<u64>) -> VecDeque<Gap> {
        let mut holes: VecDeque<Gap> = VecDeque::new();
        let mut add = |start: u64, end: u64| match holes.back_mut() {
            _ if start >= end => {}
            Some(last) if last.seqs.end == start => (last.seqs.end, last.count) = (end, last.count + end - start),
            _ => holes.push_back(Gap { seqs: start..end, count: end - start }),
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
            if !chunk.is_dense() || (chunk.live as usize) < chunk.slots.len() {
                for index in chunk.index(next)..chunk.slots.len() {
                    let seq = chunk.seq(index);
                    if seq >= seqs.end {
                        break;
                    }
                    add(next, seq);
                    next = seq;
                    if chunk.slots[index].payload.is_some() {
                        next += 1;
                    }
                }
                add(next, chunk.end().min(seqs.end));
            }
            next = chunk.end();
            key = chunk.next;
        }
        add(next, seqs.end);
        holes
    }

    /// Number of messages held at or after `seq`. O(1), without access to the chunks, while there are no holes.
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

    /// Seq of the first message held that was created at or after a wall time; `next` if there is none.
    pub(crate) fn seq_at(&self, wall: u64) -> u64 {
        // Wall times of one queue never run backwards.
        let wall_of = |chunk: &Chunk<T>, index: usize| chunk.slots.get(index).map_or(0, |slot| slot.wall + chunk.wall);
        let ends_before = |key: usize| {
            let chunk = &self.chunks[key];
            wall_of(chunk, chunk.slots.len() - 1) < wall
        };
        let mut key = self.index.first_not(ends_before).unwrap_or(self.filling);
        let Some(chunk) = self.chunks.get(key) else { return self.next };
        let index = chunk.slots.partition_point(|slot| slot.wall + chunk.wall < wall);
        let from = if index < chunk.slots.len() { chunk.seq(index) } else { chunk.end() };
        self.first_at(from, &mut key).map_or(self.next, |found| found.seq)
    }
}
