//! The locks and atomics of the engine, and how a contended lock is waited for.
//!
//! Every critical section of the engine is short and never waits; it takes no other lock, but for that of the inbox, whose
//! holder needs nothing in order to go on. So a contended lock is *tried* again, with a pause that the [`Host`] makes, and
//! nobody is ever parked inside the lock. That keeps the lock's whole state in its one word, which is what lets a process
//! `fork()` at any moment: there is no list of parked threads that the child would inherit.

pub(crate) mod holds;
pub(crate) mod host;
mod latch;
#[cfg(loom)]
mod modelled;
mod primitives;

pub use host::{Host, Threads};
pub(crate) use latch::{Mutex, MutexGuard, held, hold, lock, release, try_again};
pub(crate) use primitives::{atomic, thread};
