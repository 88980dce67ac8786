//! An in-process, thread-safe, byte-bounded broadcast log: every consumer reads every message at its own pace.
//!
//! Knows nothing of Python: that is the module `python`, behind the feature of that name. Times are nanoseconds, sizes
//! are bytes. What follows is what every method here keeps to.
//!
//! ```
//! use mpmc_queue::{MissedPolicy, Options, Queue, Start};
//!
//! let queue: Queue<&str> = Queue::new(&Options { max_items: Some(3), ..Options::default() });
//! let early = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip)?;
//! assert_eq!(queue.enqueue("a", 1)?, 0);
//! let late = queue.add_consumer(None, Start::Latest, MissedPolicy::Skip)?;
//! assert_eq!(queue.enqueue("b", 1)?, 1);
//! assert_eq!((early.read()?, late.read()?), (Some("a"), Some("b")));
//!
//! queue.close(false);
//! assert_eq!(early.read()?, Some("b"));
//! assert!(early.read().is_err());
//! # Ok::<(), mpmc_queue::Error>(())
//! ```
//!
//! # Model
//!
//! A [`Queue`] is a log. Producers append messages at its end. A [`Consumer`] has a position in it, and reading moves the
//! position. Consumers do not affect each other: each reads everything that is enqueued after its start. Handles can be
//! cloned and shared between threads; two handles of one consumer share its position.
//!
//! A message leaves the log when it expires, when newer ones need its room ([`Overflow::DropOldest`]), or when every
//! consumer has read it ([`Retention::Interest`]; without consumers it stays). It leaves for all consumers at once.
//!
//! # Ordering
//!
//! Seqs are gapless from 0, in the order of enqueueing. A batch is atomic: its seqs are consecutive, and no reader sees a
//! part of it. Every consumer reads in the order of seqs; only a group that redelivers goes back. What happened before an
//! enqueue is visible to the thread that reads the message.
//!
//! # Loss
//!
//! No message is lost silently. For a consumer, read + missed + unread is what was enqueued since its start, until it
//! seeks. This holds at every moment and costs nothing when messages leave: a position is a seq, so the missed messages
//! are those from the position on that are no longer held. A delivery tells what was missed just before it,
//! [`Consumer::take_missed`] what was missed since its last call, and with [`MissedPolicy::Tell`] a read fails once for
//! each gap. Messages that a seek skips count as read. Messages that [`Queue::close`] discards count as neither.
//!
//! # Memory
//!
//! `max_bytes` and `max_items` are hard: a message that does not fit is not admitted, and at no moment is more held, unless
//! a limit was lowered below that. A message is charged its size, as its producer states it, and [`MESSAGE_OVERHEAD`], and for
//! each acknowledging group in which it is pending [`PENDING_OVERHEAD`]. A read never fails for memory: deliveries that become
//! pending in a full queue are told up to the limit, and nothing is admitted until enough of them are settled. A
//! message or batch is admitted as a whole or refused with the figures ([`Full`]). A refusal changes only the count of
//! refusals. Read records are not charged: they never take more than `max_bytes`, and leave with their messages.
//!
//! Payloads are dropped after the lock is released, where [`Host::dispose`] says: their destructors may use the queue.
//!
//! # Time
//!
//! A call reads the clock once. The monotonic clock decides what expires and when a delivery is overdue. The wall clock is
//! for people: setting it neither expires nor keeps anything. Within a queue neither runs backwards.
//!
//! An expired message is never delivered, even before it is removed: each call first removes what is due. One thread does
//! this for queues that nobody calls. It sleeps until the next deadline, starts when first needed, and releases a queue's
//! lock between slices. With a [`ManualClock`] it does nothing: time moves when the test says so.
//!
//! # Waiting
//!
//! A waiting thread is parked; nothing polls. A waiter enters its list under the lock, after one more check, and whatever
//! changes its condition removes it under the same lock: no wake-up is lost. As many are woken as can be served. A waiter
//! that was woken and gives up passes its wake-up on. Producers get room in the order in which they came. A call that can
//! never succeed fails at once.
//!
//! The lock is held briefly, and never while waiting. A consumer that has read under the lock gets a *lease*: it reads the
//! rest of that chunk without the lock (`log/lane.rs`), so consumers do not exclude each other, nor producers. Whoever
//! needs the position of a consumer takes its lease back first, so no caller can tell the difference. Payloads are
//! therefore shared between threads, and have to be `Sync`. Of foreign code only the closures given to
//! [`Consumer::read_with`] and [`Consumer::peek_with`], and the `clone` of a payload, run under a lock: they must not use
//! the queue. `sync/` tells how a contended lock is waited for.
//!
//! # Closing
//!
//! After [`Queue::close`] every enqueue fails, and everyone who waits is woken. Consumers read what is left, unless it is
//! discarded with `immediate`, and then get [`Error::Closed`]. Consumers can still be added, to drain the queue. Closing
//! again does nothing. All calls on a removed consumer get [`Error::ConsumerClosed`], waiting ones too.
//!
//! # Groups
//!
//! The members of a [`Group`] share one position: each message goes to one of them. To other consumers and to the queue, a
//! group is one consumer. Without `ack_wait` a delivery settles itself. With it, a delivery is pending until its member
//! settles it ([`Queue::settle`]). If it is not acknowledged in time, or given back, it goes to the next reader, after a
//! backoff or the delay that was asked for; from a member that closed it goes at once. After `max_deliver` deliveries, or
//! [`Settle::Term`], it moves to the dead letter queue, and stays pending until that has room. Without a dead letter queue,
//! a message that was delivered too often counts as missed, and a termed one as read. A message that can never fit into the
//! dead letter queue counts as missed. A pending message that expires is missed, and settling it then does nothing. For a
//! group, read + missed + unread + pending + dead-lettered is what was enqueued since its start, until it seeks; messages
//! that are ready for redelivery are unread.
//!
//! # Glossary
//!
//! - **seq**: a message's number, from 0. **Position**: the seq of the message that a cursor reads next.
//! - **cursor**: a position and its counts; that of one consumer, or of all members of a group. What it missed **behind** the
//!   position was passed; each part of it is **reported** by a delivery, by an error, or by `take_missed`.
//! - **chunk**, **slot**: the log is a list of chunks of [`CHUNK_SIZE`] slots, one for each message. **Hole**: a slot whose
//!   message has left.
//! - **lane**: where one consumer reads without the queue's lock, with a lock of its own. **Lease**: the permission to do so, for
//!   one chunk from a position on. **Grant** it, **recall** it; **vacate** a slot: recall what may still look at it.
//! - **published**: the seq before which slots may be read without the queue's lock.
//! - **need**: bytes and items of a message or batch. **Charge**: what the budget counts for it.
//! - **expire**: leave because its time is over. **Drop**: leave to make room. **Discard**: leave at an immediate close.
//!   **Trim**: remove the read records of messages that left.
//! - **missed**: left before it was read. **Unread**: what reading on would deliver now.
//! - **pending**: delivered, not settled, not ready for redelivery. **Settle**: tell what became of it: ack, nack, term.
//!   **Dying**: on its way to the dead letter queue.
//! - **redelivery**: any delivery of a message to a group but the first. **Dead letter**: a message that its group gave up.
//! - **condition**: what is waited for. **Waiter**: an entry in a list of those who wait, with its waker. **Ticket**: which
//!   waiter. A waiter **gives up** when it leaves without its condition.
//! - **effects**: what a call leaves to do once the lock is free: payloads to drop, waiters to wake.
//! - **fast** (`enqueue_fast`, `read_fast`): the usual case, which does everything or nothing and leaves no effects.
//! - **host**: the world that the engine runs in: plain threads, or a Python interpreter.

mod core;
mod delivery;
mod error;
mod handles;
mod keys;
mod log;
#[cfg(all(test, loom))]
mod models;
mod need;
mod options;
mod state;
mod stats;
mod sync;
mod time;
mod topics;
mod wait;

#[cfg(feature = "python")]
mod python;

pub use crate::core::dead_letters::DeadLetter;
pub use delivery::{Delivery, Receipt};
pub use error::{Error, Full, Limit};
pub use handles::{Consumer, Group, Queue};
pub use keys::Predecessor;
pub use log::chunk::CHUNK_SIZE;
pub use need::{MESSAGE_OVERHEAD, Need, PENDING_OVERHEAD, TOPIC_ENTRY, TOPIC_OVERHEAD};
pub use options::{
    ConsumerOptions, DEFAULT_MAX_BYTES, DEFAULT_TTL, GroupOptions, Lifetime, MissedPolicy, Options, Overflow,
    Retention, Settle, Start,
};
pub use stats::{ConsumerStats, DepartedStats, Figures, GroupStats, QueueStats};
#[cfg(feature = "holds")]
pub use sync::holds::{Hold, take_holds};
pub use sync::{Host, Threads};
pub use time::clock::{Clock, ManualClock, Now};
pub use topics::{BadTopic, Filters, LONGEST_TOPIC, Topic};
