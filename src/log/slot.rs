//! One message in its chunk.

/// Slots in a chunk. (In loom's models, few enough that a model covers several chunks.)
pub const CHUNK_SIZE: usize = if cfg!(loom) { 4 } else { 1000 };

/// When a message was enqueued, by the monotonic clock, and whether it has a time to live of its own.
///
/// Bit 0 is the flag. The other bits are nanoseconds, enough for 292 years.
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
    /// Payload bytes of the chunk's slots up to and including this one, modulo 2^64: sizes of ranges are differences.
    pub(crate) through: u64,
    /// Enqueue time by the monotonic clock, relative to the chunk's `mono`.
    pub(crate) stamp: Stamp,
    /// Enqueue time by the wall clock, in nanoseconds since the epoch, relative to the chunk's `wall`.
    pub(crate) wall: u64,
}
