//! An in-process, thread-safe, byte-bounded broadcast log: every consumer reads every message at its own pace.

// Waiting by task, garbage collection, forks and exits: what only the binding needs of the engine.
#![cfg_attr(not(feature = "python"), allow(dead_code))]

mod audit;
mod budget;
mod chunk;
mod clock;
mod cursor;
mod deadlines;
mod error;
mod expiry;
mod group;
mod log;
mod queue;
mod state;
mod sync;
mod wait;

#[cfg(feature = "python")]
mod python;

pub use budget::{MESSAGE_OVERHEAD, Need};
pub use chunk::CHUNK_SIZE;
pub use clock::{Clock, ManualClock, Now};
pub use error::{Error, Full, Limit};
pub use group::{DeadLetter, GroupOptions, Settle};
pub use queue::{
    Consumer, ConsumerStats, DEFAULT_MAX_BYTES, DEFAULT_TTL, Delivery, Group, GroupStats, Lifetime, MissedPolicy,
    Options, Overflow, Queue, QueueStats, Receipt, Retention, Start,
};
pub use sync::{Host, Threads};
