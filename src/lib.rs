//! An in-process, thread-safe, byte-bounded broadcast log: every consumer reads every message at its own pace.
//!
//! The engine knows nothing of Python. The binding is the module `python`, behind the feature of that name. Times are
//! nanoseconds, sizes are bytes. Every method here keeps the contract below.
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
//! A message leaves the log when it expires, when it is dropped to make room ([`Overflow::DropOldest`]), or when every
//! consumer has read it ([`Retention::Interest`]; without consumers it stays). It leaves for all consumers at once.
//!
//! # Ordering
//!
//! Seqs have no gaps, start at 0, and follow the order of enqueueing. A batch is atomic: its seqs are consecutive, and
//! no reader sees a part of it. Every consumer reads in the order of seqs; only a group that redelivers goes back.
//! Everything that happened before an enqueue is visible to the thread that reads the message.
//!
//! # Loss
//!
//! No message is lost silently. For a consumer, read + missed + unread is the number of messages enqueued since its
//! start, until it seeks. This holds at every moment and costs nothing when messages leave. A position is a seq, so the
//! missed messages are those from the position on that are no longer held. A delivery tells how many messages were
//! missed just before it. [`Consumer::take_missed`] tells how many were missed since its last call. With
//! [`MissedPolicy::Tell`] a read fails once for each gap. Messages that a seek skips count as read. Messages that
//! [`Queue::close`] discards count as neither.
//!
//! # Memory
//!
//! `max_bytes` and `max_items` are hard limits: a message that does not fit is not admitted. The queue never holds
//! more, unless a limit was lowered below what it held. Each message is charged its size, as its producer states it,
//! plus [`MESSAGE_OVERHEAD`], plus [`PENDING_OVERHEAD`] for each acknowledging group in which it is pending. A read
//! never fails for memory: deliveries that become pending in a full queue are reported up to the limit, and nothing is
//! admitted until enough of them are settled. A message or batch is admitted as a whole, or refused with the figures
//! ([`Full`]). A refusal changes only the count of refusals. Read records are not charged: they never take more than
//! `max_bytes`, and leave with their messages.
//!
//! Payloads are dropped after the lock is released, where [`Host::dispose`] says. So their destructors may use the
//! queue.
//!
//! # Time
//!
//! A call reads the clock once. The monotonic clock decides what expires and when a delivery is overdue. The wall clock
//! is for people: setting it neither expires a message nor keeps one. Within a queue neither clock runs backwards.
//!
//! An expired message is never delivered, even before it is removed: each call first removes what is due. One thread
//! does this for queues that nobody calls. The thread sleeps until the next deadline, starts when it is first needed,
//! and releases a queue's lock between slices of its work. With a [`ManualClock`] it does nothing: the test moves the
//! time.
//!
//! # Waiting
//!
//! A waiting thread is parked; nothing polls. A waiter enters its list under the lock, after one more check. A call
//! that changes its condition removes it under the same lock, so no wake-up is lost. Only as many waiters are woken as
//! can be served. A waiter that was woken and gives up passes its wake-up on. Producers get room in the order of their
//! arrival. A call that can never succeed fails at once.
//!
//! The lock is held briefly, and never while waiting. A consumer that has read under the lock gets a *lease*: it reads
//! the rest of that chunk without the lock (`log/lane.rs`). So consumers block neither each other nor producers. A call
//! that needs the position of a consumer takes back its lease first, so no caller can see the difference. Payloads are
//! therefore shared between threads, and have to be `Sync`. The only foreign code that runs under a lock is the
//! closures given to [`Consumer::read_with`] and [`Consumer::peek_with`], and the `clone` of a payload. They must not
//! use the queue. `sync/` describes how a thread waits for a contended lock.
//!
//! # Closing
//!
//! After [`Queue::close`] every enqueue fails, and all waiters are woken. Consumers read what is left, unless it is
//! discarded with `immediate`, and then get [`Error::Closed`]. Consumers can still be added, to drain the queue.
//! Closing again does nothing. All calls on a removed consumer get [`Error::ConsumerClosed`], including waiting ones.
//!
//! # Groups
//!
//! The members of a [`Group`] share one position: each message goes to one of them. To other consumers and to the
//! queue, a group is one consumer. Without `ack_wait` a delivery settles itself. With `ack_wait`, a delivery is pending
//! until its member settles it ([`Queue::settle`]). If it is not acknowledged in time, or is given back, it goes to the
//! next reader, after a backoff or the requested delay. The deliveries of a member that closes go to the next reader at
//! once. After `max_deliver` deliveries, or [`Settle::Term`], a message moves to the dead letter queue, and stays
//! pending until that queue has room. Without a dead letter queue, a message that was delivered too often counts as
//! missed, and a termed one as read. A message that can never fit into the dead letter queue counts as missed. A
//! pending message that expires is missed, and settling it then does nothing. For a group, read + missed + unread +
//! pending + dead-lettered is the number of messages enqueued since its start, until it seeks. Messages that are ready
//! for redelivery are unread.
//!
//! # Topics
//!
//! A message can have a [`Topic`], and a consumer or group [`Filters`]: it reads the messages whose topic matches. Messages
//! without a topic match no filter. All figures, gaps and waits of such a consumer are about matching messages. They are
//! exact at every moment. Each filter numbers its matches, so missed messages are arithmetic in these numbers. A read passes
//! over messages that do not match in one step, chunk by chunk, and [`ConsumerStats::filtered`] counts them.
//!
//! With [`Retention::Interest`] a message leaves once every consumer that it matches has read it. A message that matches
//! nobody gets its seq and leaves at once; it needs no room. A topic is charged its text and [`TOPIC_ENTRY`] while a message
//! under it is held, and each message under it [`TOPIC_OVERHEAD`].
//!
//! # Glossary
//!
//! - **seq**: the number of a message, from 0. **Position**: the seq of the message that a cursor reads next.
//! - **cursor**: a position and its counts, of one consumer or of all members of a group. Messages that the cursor
//!   missed **behind** the position are messages that the position has passed; each part of them is **reported** by a
//!   delivery, by an error, or by `take_missed`.
//! - **chunk**, **slot**: the log is a list of chunks of [`CHUNK_SIZE`] slots, one for each message. **Hole**: a slot
//!   whose message has left.
//! - **lane**: where one consumer reads without the queue's lock, with a lock of its own. **Lease**: the permission to
//!   do so, for one chunk from a position on. **Route**: which slots of it, with a filter or topics. **Grant**: give a
//!   lease. **Recall**: take it back. **Vacate** a slot: recall every lease that may still read it.
//! - **published**: the seq before which slots may be read without the queue's lock.
//! - **topic**: what a message is about. **Filter**: which topics a consumer reads. **Match**: a message whose topic a filter
//!   lets through. **Number**: the place of a match among all matches of its filter, as the seq is among all messages.
//! - **need**: bytes and items of a message or batch. **Charge**: what the budget counts for it.
//! - **expire**: leave because the time to live is over. **Drop**: leave to make room. **Discard**: leave at an
//!   immediate close. **Trim**: remove the read records of messages that left.
//! - **missed**: removed before it was read. **Unread**: what the next reads would deliver now.
//! - **pending**: delivered, not settled, not ready for redelivery. **Settle**: decide what happens to it: ack, nack,
//!   term. **Dying**: on its way to the dead letter queue.
//! - **redelivery**: any delivery of a message to a group except the first. **Dead letter**: a message that its group
//!   gave up.
//! - **condition**: what a waiter waits for. **Waiter**: an entry in a list of waiters, with its waker. **Ticket**: the
//!   number of a waiter. A waiter **gives up** when it leaves before its condition is met.
//! - **effects**: what a call leaves to be done after the lock is released: payloads to drop, waiters to wake.
//! - **fast** (`enqueue_fast`, `read_fast`): the usual case. It does everything or nothing and leaves no effects.
//! - **host**: the environment that the engine runs in: plain threads, or a Python interpreter.

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
pub use stats::{ConsumerStats, DepartedStats, Figures, Follows, GroupStats, QueueStats, Reader};
#[cfg(feature = "holds")]
pub use sync::holds::{Hold, take_holds};
pub use sync::{Host, Threads};
pub use time::clock::{Clock, ManualClock, Now};
pub use topics::{BadTopic, Filters, LONGEST_TOPIC, Topic};
