//! A run of up to 1000 slots with a base seq.

/// Slots in a chunk.
pub const CHUNK_SIZE: usize = 1000;

/// No chunk: the end of a link.
pub(crate) const NIL: usize = usize::MAX;

/// When a message was enqueued by the monotonic clock, and whether its time to live is its own.
///
/// Bit 0 is the flag, the rest nanoseconds: 292 years of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) fn new(mono: u64, own_ttl: bool) -> Self {
        Stamp(mono << 1 | u64::from(own_ttl))
    }

    pub(crate) fn mono(self) -> u64 {
        self.0 >> 1
    }

    pub(crate) fn has_own_ttl(self) -> bool {
        self.0 & 1 == 1
    }
}

/// One message.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    /// The payload; None once it has left.
    pub(crate) payload: Option<T>,
    /// Bytes of all payloads ever enqueued, modulo 2^64, up to and including this one: sizes of ranges are differences.
    pub(crate) through: u64,
    /// Enqueue time by the monotonic clock.
    pub(crate) stamp: Stamp,
    /// Enqueue time by the wall clock, nanoseconds since the epoch.
    pub(crate) wall: u64,
}

/// A chunk of the list. Its links are keys, so a stale one can only lead to the wrong chunk, never to freed memory.
#[derive(Debug)]
pub(crate) struct Chunk<T> {
    /// Seq of the first slot.
    pub(crate) base: u64,
    /// Key of the chunk before, or NIL.
    pub(crate) prev: usize,
    /// Key of the chunk after, or NIL.
    pub(crate) next: usize,
    /// Bytes of all payloads ever enqueued before this chunk.
    pub(crate) before: u64,
    /// How many payloads are still here.
    pub(crate) live: u32,
    /// How many of those have a time to live of their own.
    pub(crate) own: u32,
    /// The slots, in order of seq, at most CHUNK_SIZE.
    pub(crate) slots: Vec<Slot<T>>,
}

impl<T> Chunk<T> {
    /// Seq after the last slot.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Index of a seq at or after the base.
    pub(crate) fn index(&self, seq: u64) -> usize {
        (seq - self.base) as usize
    }

    /// Bytes of all payloads ever enqueued before slot `index`.
    ///
    /// It cannot panic: so a read that does not ask for the size does not compute it.
    #[inline]
    pub(crate) fn through_before(&self, index: usize) -> u64 {
        index.checked_sub(1).and_then(|before| self.slots.get(before)).map_or(self.before, |slot| slot.through)
    }

    /// Payload bytes of slot `index`; 0 where there is none.
    #[inline]
    pub(crate) fn size(&self, index: usize) -> u64 {
        self.slots.get(index).map_or(0, |slot| slot.through.wrapping_sub(self.through_before(index)))
    }

    /// Messages and payload bytes still here from slot `from` on.
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
