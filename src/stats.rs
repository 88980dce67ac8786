//! Figures of one moment.

use uuid::Uuid;

use crate::options::{Overflow, Retention};
use crate::topics::Filters;

/// The figures of a queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages held.
    pub total_items: u64,
    /// Bytes held: payloads and overhead.
    pub memory_usage: u64,
    /// The limit on these bytes.
    pub max_bytes: u64,
    /// The limit on messages.
    pub max_items: Option<u64>,
    /// Bytes of the read records.
    pub audit_bytes: u64,
    /// Whether every read of the messages held is on record with its exact time.
    pub is_audit_complete: bool,
    /// How many consumers there are.
    pub consumers: u64,
    /// Nanoseconds that a message lives; None: no limit.
    pub ttl: Option<u64>,
    /// Messages removed because they expired.
    pub expired: u64,
    /// Messages removed to make room.
    pub dropped: u64,
    /// Messages refused.
    pub rejected: u64,
    /// Seq of the oldest message held.
    pub first_seq: u64,
    /// Seq of the next message. This is also the number of messages enqueued since the queue was created.
    pub next_seq: u64,
}

/// The figures of a consumer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerStats {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// The name of the group whose position it shares.
    pub group: Option<String>,
    /// Messages read; for a member of a group, the deliveries it received.
    pub read: u64,
    /// How many of the read messages were skipped and never delivered.
    pub passed: u64,
    /// Unread messages; for a member of a group, those of the group.
    pub unread: u64,
    /// Payload bytes of the unread messages.
    pub unread_bytes: u64,
    /// Nanoseconds since the oldest unread message was enqueued.
    pub lag: u64,
    /// Messages that were removed before they were read.
    pub missed: u64,
    /// How many of the missed messages were dropped to make room. For a member of a group, see the group.
    pub dropped: u64,
    /// Time of the last read: wall clock, nanoseconds since the epoch.
    pub last_read: Option<u64>,
    /// The filters of the consumer; None: it reads everything. For a member of a group, the filters of the group.
    pub filters: Option<Filters>,
    /// Messages that did not match and that were held when the position moved past them. No other figure counts them.
    pub filtered: u64,
}

/// The figures of a group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// Its name.
    pub name: String,
    /// How many members it has.
    pub members: u64,
    /// Messages that were delivered and are neither settled nor ready for redelivery.
    pub pending: u64,
    /// Messages to deliver: new ones, and those that are ready for redelivery.
    pub unread: u64,
    /// Payload bytes of the unread messages.
    pub unread_bytes: u64,
    /// Nanoseconds since the oldest unread message was enqueued.
    pub lag: u64,
    /// Messages that were removed before they were settled, were delivered too often without a dead letter queue, or
    /// were too large for the dead letter queue.
    pub missed: u64,
    /// How many of the missed messages were dropped to make room.
    pub dropped: u64,
    /// How many of the missed messages were delivered too often, and no dead letter queue took them.
    pub undeliverable: u64,
    /// Messages acknowledged, or termed without a dead letter queue. Without acknowledgements: messages delivered.
    pub read: u64,
    /// Redeliveries: deliveries that were not the first of their message.
    pub redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub dead_lettered: u64,
    /// How many of the missed messages were too large for the dead letter queue.
    pub refused_dead_letters: u64,
    /// The filters of the group; None: it reads everything.
    pub filters: Option<Filters>,
    /// Messages that did not match and that were held when the position moved past them. No other figure counts them.
    pub filtered: u64,
}

/// Sums of what removed consumers had read and missed: one sum for consumers without a name, and one for each name that
/// a present consumer also has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepartedStats {
    /// The name of their group.
    pub group: Option<String>,
    /// Their name.
    pub name: Option<String>,
    /// Messages read.
    pub read: u64,
    /// Messages removed before they were read. 0 for members of a group, because the group counts its losses.
    pub missed: u64,
    /// How many of the missed messages were dropped to make room.
    pub dropped: u64,
}

/// A consumer or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The consumer with this id.
    Consumer(Uuid),
    /// The group with this name.
    Group(String),
}

/// One reader follows another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follows {
    /// Who reads later.
    pub follower: Reader,
    /// Who reads first.
    pub predecessor: Reader,
}

/// All figures of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Figures of the queue.
    pub queue: QueueStats,
    /// Nanoseconds since the oldest message held was enqueued.
    pub oldest: u64,
    /// When messages that have been read are removed.
    pub retention: Retention,
    /// What happens when the queue is full.
    pub overflow: Overflow,
    /// How many producers wait for room.
    pub waiting_producers: u64,
    /// Which reader follows which: it reads a message only after the other is done with it.
    pub order: Vec<Follows>,
    /// Figures of every consumer, in the order they were added.
    pub consumers: Vec<ConsumerStats>,
    /// Figures of every group, in the order they were added.
    pub groups: Vec<GroupStats>,
    /// Figures of removed consumers.
    pub departed: Vec<DepartedStats>,
}
