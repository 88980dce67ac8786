//! The locks and atomics of the engine, and how threads wait for a contended lock.
//!
//! Every critical section of the engine is short and never waits. It takes no other lock except the inbox's, whose
//! holder never waits either. A contended lock is therefore *tried* again after a pause made by the [`Host`], and no
//! thread is ever parked inside the lock. The whole state of the lock is one word, so a process can `fork()` at any
//! moment: the child inherits no list of parked threads.

pub(crate) mod holds;
pub(crate) mod host;
mod latch;
#[cfg(loom)]
mod modelled;
mod primitives;

pub use host::{Host, Threads};
pub(crate) use latch::{Mutex, MutexGuard, held, hold, lock, release, try_again};
pub(crate) use primitives::{atomic, thread};
