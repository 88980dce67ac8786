//! What the engine requires of its environment, and plain Rust threads as such an environment.

#[cfg(not(loom))]
use std::time::Duration;

use super::primitives::thread;

/// What the engine requires of its environment.
pub trait Host: Send + Sync + 'static {
    /// How many times a contended lock is tried before the first [`pause`](Self::pause). The processor is yielded
    /// before each try. 0 if the holder may be unable to continue before the pause.
    const TRIES: u32;

    /// Lets other threads run while a lock is contended. `tries` is the number of attempts of this call so far. Called
    /// without any lock held.
    fn pause(tries: u32);

    /// Drops payloads that have left a queue. Called from any thread, without any lock held. `run` drops the next few
    /// payloads and returns whether there are more.
    fn dispose(run: &mut dyn FnMut() -> bool);
}

/// The host of plain Rust threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Host for Threads {
    // Under loom, more tries would only multiply the cases.
    const TRIES: u32 = if cfg!(loom) { 0 } else { 6 };

    fn pause(tries: u32) {
        back_off(tries);
    }

    fn dispose(run: &mut dyn FnMut() -> bool) {
        while run() {}
    }
}

/// How many times a contended lock is tried with a yield between tries, before the thread starts to sleep between
/// tries.
const YIELDS: u32 = 64;
/// The shortest and the longest sleep.
#[cfg(not(loom))]
const NAPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// Lets other threads run between two attempts to take a lock.
///
/// A yield only lets threads of the same priority run. If this thread has real-time priority and the holder was
/// preempted on the same processor, only sleeping lets the holder continue.
pub(crate) fn back_off(tries: u32) {
    #[cfg(not(loom))]
    if tries >= YIELDS {
        let doublings = ((tries - YIELDS) / 16).min(8);
        return std::thread::sleep((NAPS.0 * (1 << doublings)).min(NAPS.1));
    }
    #[cfg(loom)]
    let _ = (tries, YIELDS);
    thread::yield_now();
}
