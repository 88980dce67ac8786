//! The figures of one moment.

use uuid::Uuid;

use crate::topics::Filters;

/// The figures of a queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages held.
    pub total_items: u64,
    /// Bytes held: payloads and overhead.
    pub memory_usage: u64,
    /// The limit on them.
    pub max_bytes: u64,
    /// The limit on messages.
    pub max_items: Option<u64>,
    /// Bytes of the read records.
    pub audit_bytes: u64,
    /// Whether every read of the messages held is on record with its exact time.
    pub is_audit_complete: bool,
    /// Consumers.
    pub consumers: u64,
    /// Nanoseconds that a message lives.
    pub ttl: Option<u64>,
    /// Messages removed by their time.
    pub expired: u64,
    /// Messages removed to make room.
    pub dropped: u64,
    /// Messages refused.
    pub rejected: u64,
    /// Seq of the oldest message held.
    pub first_seq: u64,
    /// Seq of the next message; also how many were enqueued since the beginning.
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
    /// Those of them that were passed over, and never handed over.
    pub passed: u64,
    /// Unread messages; for a member of a group, those of the group.
    pub unread: u64,
    /// Their payload bytes.
    pub unread_bytes: u64,
    /// Nanoseconds since the oldest of them was enqueued.
    pub lag: u64,
    /// Messages that were removed before they were read.
    pub missed: u64,
    /// When it read last: wall clock, nanoseconds since the epoch.
    pub last_read: Option<u64>,
    /// What it chose; None: everything. For a member of a group, its group's.
    pub filters: Option<Filters>,
    /// Messages that did not match, and were held when it went past them. They are in no other figure.
    pub filtered: u64,
}

/// The figures of a group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// Its name.
    pub name: String,
    /// Members.
    pub members: u64,
    /// Messages delivered, and neither settled nor ready to be delivered again.
    pub pending: u64,
    /// Messages to deliver: new ones, and those ready to be delivered again.
    pub unread: u64,
    /// Their payload bytes.
    pub unread_bytes: u64,
    /// Nanoseconds since the oldest of them was enqueued.
    pub lag: u64,
    /// Messages removed before they were settled, delivered too often without a dead letter queue, or too large for the
    /// dead letter queue.
    pub missed: u64,
    /// Messages acknowledged, or termed where there is no dead letter queue; without acknowledgements, delivered.
    pub read: u64,
    /// Deliveries that were not the first of their message.
    pub redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub dead_lettered: u64,
    /// Those of the missed messages that were too large for the dead letter queue.
    pub refused_dead_letters: u64,
    /// What it chose; None: everything.
    pub filters: Option<Filters>,
    /// Messages that did not match, and were held when it went past them. They are in no other figure.
    pub filtered: u64,
}

/// What removed consumers had read and missed, summed up: for those without a name, and for each name that a present
/// consumer also has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepartedStats {
    /// The name of their group.
    pub group: Option<String>,
    /// Their name.
    pub name: Option<String>,
    /// Messages read.
    pub read: u64,
    /// Messages removed before they were read; 0 for members of a group, whose losses the group counts.
    pub missed: u64,
}

/// All figures of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The queue's.
    pub queue: QueueStats,
    /// Nanoseconds since the oldest message held was enqueued.
    pub oldest: u64,
    /// Those of every consumer, in the order they were added.
    pub consumers: Vec<ConsumerStats>,
    /// Those of every group, in the order they were added.
    pub groups: Vec<GroupStats>,
    /// Those of removed consumers.
    pub departed: Vec<DepartedStats>,
}
