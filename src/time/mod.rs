//! Time: the clock, and the timers.

pub(crate) mod clock;
mod counter;
pub(crate) mod timers;

/// A moment that never comes.
pub(crate) const NEVER: u64 = u64::MAX;
