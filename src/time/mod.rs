//! Moments: the clock, and what is due when.

pub(crate) mod clock;
mod counter;
pub(crate) mod timers;

/// No moment at all.
pub(crate) const NEVER: u64 = u64::MAX;
