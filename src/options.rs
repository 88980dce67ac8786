//! Options: what the user of a queue chooses.

use std::time::Duration;

use crate::keys::Predecessor;
use crate::time::clock::Clock;
use crate::topics::Filters;

/// How long messages live by default.
pub const DEFAULT_TTL: Duration = Duration::from_secs(600);

/// The default limit of a queue, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 1_048_576;

/// When messages that have been read are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Messages stay until they expire or are dropped to make room.
    #[default]
    Limits,
    /// Messages are removed once every consumer has read them.
    Interest,
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is refused.
    #[default]
    Reject,
    /// The oldest messages are dropped to make room.
    DropOldest,
}

/// How long a message lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the ttl of the queue.
    #[default]
    Queue,
    /// This many nanoseconds, independent of the ttl of the queue.
    Own(u64),
    /// For ever.
    Forever,
}

/// Where a consumer begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message held.
    #[default]
    Earliest,
    /// At the next message to be enqueued.
    Latest,
    /// At a seq, or at the oldest message held if that is later.
    Seq(u64),
    /// At the first message created at or after a wall time (nanoseconds since the epoch).
    Time(u64),
}

/// What a read does after messages were removed unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedPolicy {
    /// The read continues; the counts show the loss.
    #[default]
    Skip,
    /// The read fails once with [`Error::Missed`](crate::Error::Missed), and the next read continues.
    Tell,
}

/// How a queue behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nanoseconds that a message lives; None: no limit.
    pub ttl: Option<u64>,
    /// Hard limit on the bytes held: payloads and overhead. Values above `i64::MAX` count as `i64::MAX`.
    pub max_bytes: u64,
    /// Hard limit on the messages held.
    pub max_items: Option<u64>,
    /// When messages that have been read are removed.
    pub retention: Retention,
    /// What happens when the queue is full.
    pub overflow: Overflow,
    /// Whether reads leave records.
    pub audit: bool,
    /// Whether consumers record the time of their last read. Without this, without audit and without a ttl, a read does
    /// not read the clock.
    pub read_times: bool,
    /// Whether messages record the time at which they were enqueued. Without this and without a ttl, to add a message
    /// does not read the clock: messages then have the time at which the queue last read it, and a ttl that is set later
    /// counts from there.
    pub created_times: bool,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ttl: Some(DEFAULT_TTL.as_nanos() as u64),
            max_bytes: DEFAULT_MAX_BYTES,
            max_items: None,
            retention: Retention::Limits,
            overflow: Overflow::Reject,
            audit: true,
            read_times: true,
            created_times: true,
            clock: Clock::System,
        }
    }
}

/// How a consumer reads.
#[derive(Clone, Debug, Default)]
pub struct ConsumerOptions {
    /// Its name.
    pub name: Option<String>,
    /// Where it begins to read.
    pub start: Start,
    /// What a read does after messages were removed unread.
    pub policy: MissedPolicy,
    /// Which messages it reads: those whose topic matches. None: all messages.
    pub filters: Option<Filters>,
    /// Consumers and groups of the same queue that must be done with a message before this consumer reads it. They are
    /// done when the message was delivered to them (in an acknowledging group: was settled), when they missed it, do
    /// not want it, or started after it, or when they are removed.
    pub after: Vec<Predecessor>,
}

/// How a group delivers.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// Nanoseconds within which a delivery has to be acknowledged. None: a delivery counts as settled at once.
    pub ack_wait: Option<u64>,
    /// Maximum number of deliveries of one message.
    pub max_deliver: Option<u32>,
    /// Delay before each redelivery, in nanoseconds; the last value is repeated.
    pub backoff: Vec<u64>,
    /// Maximum number of pending deliveries.
    pub max_pending: Option<u64>,
    /// Whether messages that the group would miss go to its dead letter queue instead, if it has one and that queue
    /// takes them.
    pub rescues_missed: bool,
    /// Which messages it reads: those whose topic matches. None: all messages.
    pub filters: Option<Filters>,
    /// Consumers and groups that must be done with a message before this group reads it, as for a consumer.
    pub after: Vec<Predecessor>,
}

/// How a member settles a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The message is done.
    Ack,
    /// Deliver the message again, after at least this many nanoseconds.
    Nack(u64),
    /// Never deliver the message again.
    Term,
    /// The work takes longer: `ack_wait` starts again.
    InProgress,
}
