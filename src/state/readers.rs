//! Readers: consumers, and groups of consumers.

use std::sync::Arc;

use uuid::Uuid;

use super::acks::Acks;
use crate::keys::{ConsumerKey, GroupKey};
use crate::log::audit::Reads;
use crate::log::lane::Lane;

/// What a handle of a consumer stores.
#[derive(Debug)]
pub(crate) struct Identity<T> {
    pub(crate) key: ConsumerKey,
    pub(crate) id: Uuid,
    pub(crate) lane: Arc<Lane<T>>,
}

/// Consumers that share a cursor.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) serial: u64,
    pub(crate) name: String,
    /// Key of its cursor.
    pub(super) cursor: usize,
    /// The members that share the cursor now, in the order in which they were added.
    pub(super) members: Vec<ConsumerKey>,
    /// Its pending deliveries, if it is an acknowledging group.
    pub(super) acks: Option<Acks>,
    /// How many of the pending deliveries have been charged.
    pub(super) charged: u64,
    /// Whether its dead letter queue takes what it would miss.
    pub(super) rescues: bool,
    /// Redeliveries: deliveries that were not the first of their message.
    pub(crate) redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub(crate) dead_lettered: u64,
    /// Messages that the dead letter queue could never take. They are included in the missed ones.
    pub(crate) refused_dead_letters: u64,
}

/// A reader at a cursor.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    pub(super) serial: u64,
    pub(crate) id: Uuid,
    pub(crate) name: Option<String>,
    /// Key of its cursor.
    pub(crate) cursor: usize,
    /// Key of the group that it is a member of.
    pub(crate) group: Option<usize>,
    /// Where it reads without the queue's lock, while it has a lease.
    pub(crate) lane: Arc<Lane<T>>,
    /// Whether its reads have no order with other consumers, so that they may take the fast path.
    pub(super) is_usual: bool,
    /// How many stops the route of its next lease has at most.
    pub(super) stops: usize,
    /// Messages it read (for a member of a group: deliveries it received).
    pub(super) read: u64,
    /// How many of the read messages were skipped and never delivered.
    pub(super) passed: u64,
    /// Time of the last read by the wall clock; 0: never.
    pub(crate) last_read: u64,
    /// Its read records.
    pub(crate) reads: Reads,
    /// Its place among the consumers whose records are checked in turn.
    pub(super) turn: usize,
    /// Whether a read fails after messages were missed.
    pub(super) tells: bool,
}

/// A member that was removed while it held deliveries.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) group: GroupKey,
    pub(super) member: u64,
    /// It holds none before this seq.
    pub(super) from: u64,
}
