//! Queues on a clock that the test moves.

use std::sync::Arc;

use mpmc_queue::{Clock, ManualClock, Now, Options, Queue};

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn manual(options: Options) -> (Queue<u64>, Arc<ManualClock>) {
    let clock = ManualClock::at(Now { mono: SECOND, wall: 1_700_000_000 * SECOND });
    (Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options }), clock)
}
