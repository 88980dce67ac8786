//! Who reads: consumers, and groups of them.

use std::sync::Arc;

use uuid::Uuid;

use super::acks::Acks;
use crate::keys::ConsumerKey;
use crate::log::audit::Reads;
use crate::log::lane::Lane;

/// What a handle of a consumer knows.
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
    /// How many share it now.
    pub(super) members: u64,
    /// Its pending deliveries, if it acknowledges.
    pub(super) acks: Option<Acks>,
    /// How many of them have been charged.
    pub(super) charged: u64,
    /// Whether its dead letter queue takes what it would miss.
    pub(super) rescues: bool,
    /// Deliveries that were not the first of their message.
    pub(crate) redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub(crate) dead_lettered: u64,
    /// Messages that the dead letter queue could never take: they are among the missed ones.
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
    /// Where it reads by itself, while it has a lease.
    pub(crate) lane: Arc<Lane<T>>,
    /// Whether no order with others holds for its reads, so that they may take the quick way.
    pub(super) is_usual: bool,
    /// Messages it read (in a group: deliveries that it was given).
    pub(super) read: u64,
    /// Those of them that were never handed over.
    pub(super) passed: u64,
    /// When it read last, wall clock; 0: never.
    pub(crate) last_read: u64,
    /// What it read and when.
    pub(crate) reads: Reads,
    /// Where it stands among those whose records are looked at in turn.
    pub(super) turn: usize,
    /// Whether a read fails when something was missed.
    pub(super) tells: bool,
}
