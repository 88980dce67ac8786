//! Removes messages from the log: one by one, or in whole chunks. No payload is dropped here.

use super::Log;
use super::chunk::{CHUNK_SIZE, Chunk};
use super::held::Held;
use super::removed::Removed;
use crate::need::Need;
use crate::time::NEVER;

/// This many chunks without topics take as long to remove as one with topics.
const WITH_TOPICS: usize = 64;

/// What [`Log::sweep`] removed.
#[derive(Debug)]
pub(crate) struct Swept {
    /// Need of the removed messages.
    pub(crate) need: Need,
    /// The seqs of the removed messages are in `from..upto`. The sweep stopped at `upto`.
    pub(crate) from: u64,
    pub(crate) upto: u64,
    /// Whether the sweep is complete, or ended because its slice was used up.
    pub(crate) done: bool,
}

impl<T> Log<T> {
    /// Removes the oldest message, if `may` allows it and its chunk holds a later one. None: nothing was removed.
    pub(crate) fn pop_front(&mut self, may: impl FnOnce(Need) -> bool) -> Option<(T, Need)> {
        let key = self.front;
        let chunk = self.chunks.get_mut(key)?;
        let index = chunk.find(self.head)?;
        chunk.slots.get(index + 1)?.payload.as_ref()?;
        let need = Need::one(chunk.size(index));
        if !may(need) {
            return None;
        }
        self.leases.vacate(key, self.head);
        let payload = chunk.take(index)?;
        self.topics.left(chunk, index, key != self.filling);
        let (base, head) = (chunk.base, chunk.seq(index + 1));
        self.head = head;
        self.gone(key, base, need);
        Some((payload, need))
    }

    /// Updates the counts after messages were removed from a chunk.
    #[inline]
    fn gone(&mut self, key: usize, base: u64, need: Need) {
        self.len -= need.items;
        self.bytes -= need.bytes;
        if key != self.filling {
            self.index.subtract(base, Held { items: need.items, bytes: need.bytes });
        }
    }

    /// Removes one message, wherever it is in the log.
    pub(crate) fn remove(&mut self, seq: u64, hint: usize, removed: &mut Removed<T>) -> Option<Need> {
        if seq < self.head {
            return None;
        }
        let key = self.chunk_at(seq, hint);
        let chunk = self.chunks.get_mut(key)?;
        let index = chunk.find(seq)?;
        self.leases.vacate(key, seq);
        let payload = chunk.take(index)?;
        removed.take(seq, Some(payload), || self.topics.topic(chunk.topic_at(index)));
        self.topics.left(chunk, index, key != self.filling);
        let (base, need) = (chunk.base, Need::one(chunk.size(index)));
        self.gone(key, base, need);
        self.tidy(key, removed);
        self.find_head();
        Some(need)
    }

    /// Removes messages whose own ttl is over, from at most `slice` chunks, up to the first message for which
    /// `may_leave` returns false.
    pub(crate) fn remove_overdue(
        &mut self,
        now: u64,
        slice: usize,
        removed: &mut Removed<T>,
        mut may_leave: impl FnMut(u64) -> bool,
    ) -> Swept {
        let mut swept = Swept { need: Need::NONE, from: self.next, upto: self.head, done: false };
        let mut goes_on = true;
        for _ in 0..slice {
            let due = self.first_deadline().filter(|&(due, _)| goes_on && due <= now);
            let Some((_, key)) = due else {
                swept.done = goes_on;
                break;
            };
            let chunk = &mut self.chunks[key];
            let mut need = Need::NONE;
            let mut next = NEVER;
            for index in 0..chunk.deadlines.len() {
                let deadline = chunk.deadline(index);
                if chunk.slots[index].payload.is_none() {
                    continue;
                }
                let seq = chunk.seq(index);
                goes_on = goes_on && (deadline > now || may_leave(seq));
                if deadline > now || !goes_on {
                    next = next.min(deadline);
                    continue;
                }
                need = need.and(Need::one(chunk.size(index)));
                (swept.from, swept.upto) = (swept.from.min(seq), swept.upto.max(seq + 1));
                self.leases.vacate(key, seq);
                let payload = chunk.take(index);
                removed.take(seq, payload, || self.topics.topic(chunk.topic_at(index)));
                self.topics.left(chunk, index, key != self.filling);
            }
            let base = chunk.base;
            match key == self.filling {
                true => self.filling_due = next,
                false => self.index.set_due(base, next),
            }
            self.gone(key, base, need);
            swept.need = swept.need.and(need);
            self.tidy(key, removed);
            self.find_head();
        }
        swept
    }

    /// A moment before which no message's own ttl ends, and the key of its chunk. None: no message has its own ttl.
    pub(crate) fn first_deadline(&self) -> Option<(u64, usize)> {
        let first = self.index.first_due().min((self.filling_due, self.filling));
        Some(first).filter(|&(due, _)| due != NEVER)
    }

    /// Removes every message for which `leaves` returns true, from `from` on, oldest first, up to the first message for
    /// which `leaves` returns None. A chunk of which `whole` is true is removed as a whole. At most `slice` chunks are
    /// visited.
    ///
    /// Returns what it removed, the seq at which it stopped, and whether it is complete.
    pub(crate) fn sweep(
        &mut self,
        from: u64,
        slice: usize,
        removed: &mut Removed<T>,
        mut whole: impl FnMut(&Chunk<T>) -> bool,
        mut leaves: impl FnMut(&Chunk<T>, usize) -> Option<bool>,
    ) -> Swept {
        let from = from.max(self.head);
        let mut swept = Swept { need: Need::NONE, from, upto: from, done: true };
        let mut key = self.chunk_at(swept.upto, self.front);
        let mut visited = 0usize;
        while let Some(chunk) = self.chunks.get_mut(key) {
            if visited >= slice {
                swept.done = false;
                break;
            }
            visited += if chunk.topics.is_empty() { 1 } else { WITH_TOPICS };
            let following = chunk.next;
            if swept.upto <= chunk.base
                && chunk.own == 0
                && chunk.live as usize == chunk.slots.len()
                && removed.notes.is_none()
                && whole(chunk)
            {
                let (items, bytes) = chunk.live_from(0);
                swept.need = swept.need.and(Need { items, bytes });
                swept.upto = chunk.end();
                self.len -= items;
                self.bytes -= bytes;
                self.topics.all_left(chunk, key != self.filling);
                chunk.segments.clear();
                self.unlink(key, removed);
                key = following;
                continue;
            }
            let mut ended = false;
            let mut need = Need::NONE;
            for index in chunk.index(swept.upto.max(chunk.base))..chunk.slots.len() {
                let seq = chunk.seq(index);
                let leaves = match chunk.slots[index].payload {
                    Some(_) => leaves(chunk, index),
                    None => Some(false),
                };
                match leaves {
                    None => {
                        ended = true;
                        break;
                    }
                    Some(false) => {}
                    Some(true) => {
                        need = need.and(Need::one(chunk.size(index)));
                        self.leases.vacate(key, seq);
                        let payload = chunk.take(index);
                        removed.take(seq, payload, || self.topics.topic(chunk.topic_at(index)));
                        self.topics.left(chunk, index, key != self.filling);
                    }
                }
                swept.upto = seq + 1;
            }
            let base = chunk.base;
            self.gone(key, base, need);
            swept.need = swept.need.and(need);
            self.tidy(key, removed);
            if ended {
                break;
            }
            key = following;
        }
        self.find_head();
        swept
    }

    /// Unlinks an empty chunk, unless it is still being filled, and compacts a sparse one.
    fn tidy(&mut self, key: usize, removed: &mut Removed<T>) {
        let chunk = &self.chunks[key];
        if chunk.live > 0 {
            self.compact(key);
        } else if key != self.filling || self.len == 0 {
            self.unlink(key, removed);
        }
    }

    fn find_head(&mut self) {
        if self.len == 0 {
            self.head = self.next;
            return;
        }
        let mut hint = self.front;
        let (head, mut key) = (self.head, self.front);
        // Chunks before the chunk of the head are empty, and are already unlinked.
        while let Some(chunk) = self.chunks.get(key) {
            if chunk.live > 0 {
                break;
            }
            key = chunk.next;
        }
        if let Some(chunk) = self.chunks.get(key) {
            let from = chunk.index(head.max(chunk.base));
            hint = key;
            if let Some(offset) = chunk.slots.from(from).position(|slot| slot.payload.is_some()) {
                self.head = chunk.seq(from + offset);
                return;
            }
        }
        debug_assert!(false, "no live message from {head} in chunk {hint} on, but {} held", self.len);
    }

    fn unlink(&mut self, key: usize, removed: &mut Removed<T>) {
        let chunk = self.take_out(key);
        if chunk.live > 0 {
            removed.chunks.push(chunk.slots);
        } else if self.spare.is_none() && chunk.slots.capacity() == CHUNK_SIZE {
            let mut slots = chunk.slots;
            slots.clear(); // only holes: no payload is dropped here
            self.spare = Some(slots);
        }
    }
}
