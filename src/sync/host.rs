//! What the engine asks of the world that it runs in, and plain Rust threads as such a world.

#[cfg(not(loom))]
use std::time::Duration;

use super::primitives::thread;

/// What the engine asks of the world that it runs in.
pub trait Host: Send + Sync + 'static {
    /// How often a contended lock is tried, with a yield of the processor before, until it takes a [`pause`](Self::pause).
    /// 0 where the holder may not be able to go on before that.
    const TRIES: u32;
    /// Whether threads run at the same time, so that it pays to keep producers and readers apart: see `inbox.rs`.
    const HAS_INBOX: bool;

    /// Lets other threads run while a lock is contended, which this call has tried so many times. Called without any lock
    /// held.
    fn pause(tries: u32);

    /// Drops payloads that have left a queue. Called without any lock held, from any thread; `run` drops the next
    /// few of them and says whether there are more.
    fn dispose(run: &mut dyn FnMut() -> bool);
}

/// The host of plain Rust threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Host for Threads {
    // loom would only multiply its cases.
    const TRIES: u32 = if cfg!(loom) { 0 } else { 6 };
    const HAS_INBOX: bool = true;

    fn pause(tries: u32) {
        back_off(tries);
    }

    fn dispose(run: &mut dyn FnMut() -> bool) {
        while run() {}
    }
}

/// How often a contended lock is tried with a yield of the processor between, before the thread sleeps between.
const YIELDS: u32 = 64;
/// How long it sleeps at first, and at the most.
#[cfg(not(loom))]
const NAPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// Lets other threads run between two tries of a lock.
///
/// A yield only lets those run that the scheduler ranks as high as this thread. Where it has real-time priority, and the
/// holder was preempted on the same processor, nothing but sleep lets the holder go on.
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
