//! How messages leave the log: one by one, or in whole chunks. Nothing is dropped here.

use super::Log;
use super::chunk::{CHUNK_SIZE, Chunk, Slot};
use super::removed::Removed;
use crate::need::Need;

/// What [`Log::sweep`] did.
#[derive(Debug)]
pub(crate) struct Swept {
    /// What left.
    pub(crate) need: Need,
    /// The seq that it came to.
    pub(crate) upto: u64,
    /// Whether it came to its end, or was stopped by its slice.
    pub(crate) done: bool,
}

impl<T> Log<T> {
    /// Takes the oldest message out, if `may` says so and it is followed by another in its chunk. None: nothing was done.
    pub(crate) fn pop_front(&mut self, may: impl FnOnce(Need) -> bool) -> Option<(T, Need)> {
        let chunk = self.chunks.get_mut(self.front)?;
        let index = self.head.checked_sub(chunk.base)? as usize;
        chunk.slots.get(index + 1)?.payload.as_ref()?;
        let need = Need::one(chunk.size(index));
        if !may(need) {
            return None;
        }
        let slot = &mut chunk.slots[index];
        let payload = slot.payload.take()?;
        chunk.own -= u32::from(slot.stamp.has_own_ttl());
        chunk.live -= 1;
        self.head += 1;
        self.len -= 1;
        self.bytes -= need.bytes;
        Some((payload, need))
    }

    /// Takes one message out, wherever it stands.
    pub(crate) fn remove(&mut self, seq: u64, hint: usize, removed: &mut Removed<T>) -> Option<Need> {
        if seq < self.head {
            return None;
        }
        let key = self.chunk_at(seq, hint);
        let chunk = self.chunks.get_mut(key)?;
        if seq < chunk.base {
            return None;
        }
        let index = chunk.index(seq);
        let payload = chunk.slots[index].payload.take()?;
        removed.payloads.push(payload);
        chunk.live -= 1;
        chunk.own -= u32::from(chunk.slots[index].stamp.has_own_ttl());
        let need = Need::one(chunk.size(index));
        self.len -= 1;
        self.bytes -= need.bytes;
        self.tidy(key, removed);
        Some(need)
    }

    /// Takes out, oldest first, from `from` on, every message for which `leaves` says so, up to the first for which it
    /// says None. Chunks of which every message leaves by `whole` go in one piece. At most `slice` chunks are visited.
    ///
    /// Returns what it took, the seq up to which it came, and whether it came to its end.
    pub(crate) fn sweep(
        &mut self,
        from: u64,
        slice: usize,
        removed: &mut Removed<T>,
        mut whole: impl FnMut(&Chunk<T>) -> bool,
        mut leaves: impl FnMut(u64, &Slot<T>) -> Option<bool>,
    ) -> Swept {
        let mut swept = Swept { need: Need { bytes: 0, items: 0 }, upto: from.max(self.head), done: true };
        let mut key = self.chunk_at(swept.upto, self.front);
        for visited in 0.. {
            let Some(chunk) = self.chunks.get_mut(key) else { break };
            if visited == slice {
                swept.done = false;
                break;
            }
            let following = chunk.next;
            if swept.upto <= chunk.base && chunk.own == 0 && chunk.live as usize == chunk.slots.len() && whole(chunk) {
                let bytes = chunk.slots.last().map_or(0, |slot| slot.through.wrapping_sub(chunk.before));
                swept.need.items += u64::from(chunk.live);
                swept.need.bytes += bytes;
                swept.upto = chunk.end();
                self.len -= u64::from(chunk.live);
                self.bytes -= bytes;
                self.unlink(key, removed);
                key = following;
                continue;
            }
            let mut ended = false;
            for index in chunk.index(swept.upto.max(chunk.base))..chunk.slots.len() {
                let seq = chunk.base + index as u64;
                let slot = &chunk.slots[index];
                match slot.payload.as_ref().map_or(Some(false), |_| leaves(seq, slot)) {
                    None => {
                        ended = true;
                        break;
                    }
                    Some(false) => {}
                    Some(true) => {
                        let size = chunk.size(index);
                        swept.need.items += 1;
                        swept.need.bytes += size;
                        self.len -= 1;
                        self.bytes -= size;
                        chunk.live -= 1;
                        chunk.own -= u32::from(chunk.slots[index].stamp.has_own_ttl());
                        removed.payloads.extend(chunk.slots[index].payload.take());
                    }
                }
                swept.upto = seq + 1;
            }
            self.tidy(key, removed);
            if ended {
                break;
            }
            key = following;
        }
        self.find_head();
        swept
    }

    /// Unlinks a chunk that holds nothing any more (unless it is still to be filled), and moves the head on.
    fn tidy(&mut self, key: usize, removed: &mut Removed<T>) {
        let chunk = &self.chunks[key];
        if chunk.live == 0 && (key != self.back || chunk.slots.len() == CHUNK_SIZE || self.len == 0) {
            self.unlink(key, removed);
        }
        self.find_head();
    }

    fn find_head(&mut self) {
        if self.len == 0 {
            self.head = self.next;
            return;
        }
        let mut hint = self.front;
        let (head, mut key) = (self.head, self.front);
        // Chunks in front of the head's hold nothing else: they were unlinked when they emptied.
        while let Some(chunk) = self.chunks.get(key) {
            if chunk.live > 0 {
                break;
            }
            key = chunk.next;
        }
        if let Some(chunk) = self.chunks.get(key) {
            let from = chunk.index(head.max(chunk.base));
            hint = key;
            if let Some(offset) =
                chunk.slots.get(from..).and_then(|slots| slots.iter().position(|s| s.payload.is_some()))
            {
                self.head = chunk.base + (from + offset) as u64;
                return;
            }
        }
        debug_assert!(false, "no live message from {head} in chunk {hint} on, but {} held", self.len);
    }

    fn unlink(&mut self, key: usize, removed: &mut Removed<T>) {
        let chunk = self.chunks.remove(key);
        match self.chunks.get_mut(chunk.prev) {
            Some(prev) => prev.next = chunk.next,
            None => self.front = chunk.next,
        }
        match self.chunks.get_mut(chunk.next) {
            Some(next) => next.prev = chunk.prev,
            None => self.back = chunk.prev,
        }
        if chunk.live > 0 {
            removed.chunks.push(chunk.slots);
        } else if self.spare.capacity() == 0 {
            self.spare = chunk.slots;
            self.spare.clear(); // nothing but holes: no payload is dropped here
        }
    }
}
