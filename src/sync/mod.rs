//! The locks and atomics of the engine, and how threads wait for a contended lock.
//!
//! Every critical section of the engine is short and never waits, with one exception: a thread that has the queue's
//! lock may wait for the lock of a lane (`log/lane.rs`), and the holder of that lock never waits for anything. So a
//! contended lock is *tried* again after a pause made by the [`Host`], and no thread ever parks inside the lock. The
//! whole state of the lock is one word, so a process can `fork()` at any moment: the child inherits no list of parked
//! threads.

#[cfg(not(loom))]
mod cell;
pub(crate) mod holds;
pub(crate) mod host;
mod latch;
#[cfg(loom)]
mod modelled;
mod primitives;

pub use host::{Host, Threads};
pub(crate) use latch::{Mutex, MutexGuard, held, hold, let_in, lock, release, try_again};
pub(crate) use primitives::{UnsafeCell, atomic, thread};
