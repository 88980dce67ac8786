//! Time: the clock, and the timers.

pub(crate) mod clock;
mod counter;
pub(crate) mod timers;

use std::time::Duration;

/// A moment that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// The longest that a thread sleeps at a stretch; it then looks at the clock and sleeps again. Windows counts the
/// milliseconds of a sleep in 32 bits: one of 50 days would never end there.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);
