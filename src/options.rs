//! How a queue behaves: what its user chooses.

use std::time::Duration;

use crate::keys::Predecessor;
use crate::time::clock::Clock;
use crate::topics::Filters;

/// How long messages live by default.
pub const DEFAULT_TTL: Duration = Duration::from_secs(600);

/// What a queue holds by default at the most, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 1_048_576;

/// When messages that have been read are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Messages stay until they expire or newer ones need their room.
    #[default]
    Limits,
    /// When every consumer has read them.
    Interest,
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is refused.
    #[default]
    Reject,
    /// The oldest messages make room.
    DropOldest,
}

/// How long a message lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the queue's ttl says.
    #[default]
    Queue,
    /// So many nanoseconds, whatever the queue's ttl.
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
    /// At a seq; at the oldest message held where that is later.
    Seq(u64),
    /// At the first message created at or after a wall time, nanoseconds since the epoch.
    Time(u64),
}

/// What a read does when messages left before they were read.
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
    /// Nanoseconds that a message lives; None: for ever.
    pub ttl: Option<u64>,
    /// Hard limit on the bytes held, payloads and overhead. Values above `i64::MAX` count as `i64::MAX`.
    pub max_bytes: u64,
    /// Hard limit on the messages held.
    pub max_items: Option<u64>,
    /// When messages that have been read are removed.
    pub retention: Retention,
    /// What happens when the queue is full.
    pub overflow: Overflow,
    /// Whether reads leave records.
    pub audit: bool,
    /// Whether consumers note when they read last. Without this, an audit and a ttl, a read does not look at the clock.
    pub read_times: bool,
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
            clock: Clock::System,
        }
    }
}

/// How a consumer reads.
#[derive(Clone, Debug, Default)]
pub struct ConsumerOptions {
    /// Its name.
    pub name: Option<String>,
    /// Where it begins.
    pub start: Start,
    /// What a read does when messages left before they were read.
    pub policy: MissedPolicy,
    /// What it reads: messages whose topic matches. None: everything.
    pub filters: Option<Filters>,
    /// Those, of the same queue, that have to be done with a message before it reads that: they have been handed it (in an
    /// acknowledging group: settled it), missed it, do not want it, started behind it, or are gone.
    pub after: Vec<Predecessor>,
}

/// How a group delivers.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// Nanoseconds in which a delivery has to be acknowledged. None: a delivery counts as settled at once.
    pub ack_wait: Option<u64>,
    /// Maximum number of deliveries of one message.
    pub max_deliver: Option<u32>,
    /// Delay before each redelivery, in nanoseconds; the last value is repeated.
    pub backoff: Vec<u64>,
    /// Maximum number of pending deliveries.
    pub max_pending: Option<u64>,
    /// Whether messages that the group would miss go to its dead letter queue instead, if it has one and that takes them.
    pub rescues_missed: bool,
    /// What it reads: messages whose topic matches. None: everything.
    pub filters: Option<Filters>,
    /// Those that have to be done with a message before it reads that, as for a consumer.
    pub after: Vec<Predecessor>,
}

/// How a member settles a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It is done.
    Ack,
    /// Deliver it again, not before so many nanoseconds.
    Nack(u64),
    /// Never deliver it again.
    Term,
    /// It takes longer: `ack_wait` starts afresh.
    InProgress,
}
