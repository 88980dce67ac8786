//! How much of what groups have pending one hold of the lock changes.

/// The length of a slice of pending deliveries. Debug builds, and so the models, have short ones, so that they come to
/// their ends.
pub(super) const fn slice(length: usize) -> usize {
    if cfg!(debug_assertions) { 3 } else { length }
}

/// Approximate number of pending deliveries that one hold of the lock removes.
pub(super) const PENDING_SLICE: u64 = slice(150) as u64;
