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
//! A [`Queue`] is a log. Producers append messages at its end; a [`Consumer`] has a position in it, and reading moves
//! that on. Consumers do not affect each other, so each of them reads all that is enqueued after its start. Handles can
//! be cloned and shared between threads: two handles to one consumer share its position.
//!
//! A message leaves the log when its time is over, when newer ones need its room ([`Overflow::DropOldest`]), or when
//! everyone has read it ([`Retention::Interest`]; while there are no readers, nobody has). It leaves for all at once.
//!
//! # Ordering
//!
//! Seqs are gapless from 0, in the order in which messages were enqueued. A batch is one step: its seqs are
//! consecutive, and no reader sees a part of it while the rest is missing. Every consumer reads in the order of seqs;
//! only a group that delivers again goes back. What happened before an enqueue is visible to whoever reads its message.
//!
//! # Loss
//!
//! Nothing is lost silently. For a consumer, read + missed + unread is what was enqueued since its start, until it
//! seeks. That holds at every moment and costs no bookkeeping when messages leave: a position is a seq, so what was
//! missed is the messages from there on that are held no longer. A delivery tells what was missed just before it,
//! [`Consumer::take_missed`] what was missed since it was last asked, and with [`MissedPolicy::Tell`] a read fails once
//! for each gap. What a seek skips counts as read, and what [`Queue::close`] discards counts as neither.
//!
//! # Memory
//!
//! `max_bytes` and `max_items` are hard: nothing that does not fit is let in, and no moment is visible at which more is
//! held, unless a limit was lowered below that. Charged are the sizes that producers state, and [`MESSAGE_OVERHEAD`]
//! for each message. A message or batch is admitted as a whole or refused with the figures ([`Full`]), and a refusal
//! changes nothing but the count of refusals. Read records are not charged, so that a read never fails for memory; they
//! leave with the messages they are about.
//!
//! Payloads are dropped after the lock is let go of, where [`Host::dispose`] says: their destructors may use the queue.
//!
//! # Time
//!
//! A call reads the clock once. The monotonic clock decides what expires and when a delivery is overdue; the wall clock
//! is for people, and stepping it neither expires nor keeps anything. Within a queue neither runs backwards.
//!
//! A message past its time is never delivered, whether or not it has been removed: a call first removes what is due.
//! One thread does that for queues which nobody calls. It sleeps until the next deadline, starts when first needed, and
//! lets go of a queue's lock between slices. With a [`ManualClock`] it has no part: time moves when the test says so.
//!
//! # Waiting
//!
//! A thread that waits is parked, and nothing polls. A waiter enters its list under the lock, after one more look, and
//! whoever changes what it waits for takes it out under the same lock: no wake-up is lost. As many are woken as can be
//! served. One that was woken and leaves with nothing hands its wake-up on. Producers that wait for room get it in the
//! order in which they came. A call that could never succeed fails at once instead.
//!
//! The lock is held briefly, and never while waiting. Where threads meet at it, producers post their messages beside it, in
//! an inbox, which nobody can tell from the log (`inbox.rs`). Of foreign code only what
//! [`Consumer::read_with`] and [`Consumer::peek_with`] are given runs under it, and a payload's `clone`: it must not
//! use the queue. `sync.rs` tells how a contended lock is waited for.
//!
//! # Closing
//!
//! [`Queue::close`] ends producing: every enqueue fails from there on, and everyone who waits wakes. Consumers read
//! what is left, unless it is discarded with `immediate`, and then get [`Error::Closed`]. Consumers can still be added,
//! to drain it. Closing twice is closing once. A removed consumer is [`Error::ConsumerClosed`] to all that use it, also
//! those waiting.
//!
//! # Groups
//!
//! The members of a [`Group`] share one position: each message goes to one of them, and beside other consumers the
//! group counts as one. Without `ack_wait` a delivery settles itself. With it, a delivery is pending until its member
//! says what became of it ([`Queue::settle`]). Not acknowledged in time, or given back, it goes to whoever reads next,
//! after a backoff or the delay that was asked for; from a member that closed it goes at once. Delivered `max_deliver`
//! times, or given up with [`Settle::Term`], it moves to the dead letter queue, and stays pending until that has room. Where
//! there is none, what was delivered too often counts as missed, and what was given up as read; what could never fit there
//! counts as missed, too. One that expires meanwhile is missed, and settling it then does nothing. For a group, read +
//! missed + unread + pending + dead-lettered is what was enqueued since its start, until it seeks; what is ready to be
//! delivered again is unread.
//!
//! # Glossary
//!
//! - **seq**: a message's number, from 0. **Position**: the seq of the message that a cursor reads next.
//! - **cursor**: a position and its accounts; that of one consumer, or of all members of a group.
//! - **inbox**: where messages are before they get to the log, while threads meet at the lock.
//! - **chunk**, **slot**: the log is a list of chunks of [`CHUNK_SIZE`] slots, one for each message.
//! - **expire**: leave because its time is over. **Drop**: leave to make room. **Trim**: forget the records of that.
//! - **missed**: left before it was read. **Unread**: what reading on would deliver now.
//! - **pending**: delivered, not settled, not ready to be delivered again. **Settle**: say what became of it: ack, nack, term.
//! - **redelivery**: any delivery of a message to a group but the first. **Dead letter**: a message given up by its
//!   group.

// Waiting by task, garbage collection, forks and exits: what only the binding needs of the engine.
#![cfg_attr(not(feature = "python"), allow(dead_code))]

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
mod wait;

#[cfg(feature = "python")]
mod python;

pub use crate::core::dead_letters::DeadLetter;
pub use delivery::{Delivery, Receipt};
pub use error::{Error, Full, Limit};
pub use handles::{Consumer, Group, Queue};
pub use log::chunk::CHUNK_SIZE;
pub use need::{MESSAGE_OVERHEAD, Need};
pub use options::{
    DEFAULT_MAX_BYTES, DEFAULT_TTL, GroupOptions, Lifetime, MissedPolicy, Options, Overflow, Retention, Settle, Start,
};
pub use stats::{ConsumerStats, DepartedStats, Figures, GroupStats, QueueStats};
pub use sync::{Host, Threads};
pub use time::clock::{Clock, ManualClock, Now};
