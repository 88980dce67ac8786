//! What a call leaves to be done after the lock is released.

use std::task::Waker;

use super::cursor::Reason;
use super::departed::Sums;
use super::pending::PendingMap;
use super::readers::Consumer;
use crate::keys::GroupKey;
use crate::log::Removed;
use crate::topics::Topic;

/// What is to be done after the lock is released.
#[derive(Debug)]
pub(crate) struct Effects<T> {
    /// Payloads to drop.
    pub(crate) removed: Removed<T>,
    /// Waiters to wake.
    pub(crate) wakers: Vec<Waker>,
    /// Wakers of waiters that left by themselves. Dropping them may run foreign code too.
    pub(crate) unwoken: Vec<Waker>,
    /// Messages to move to the dead letter queue of a group.
    pub(crate) dying: Vec<Dying>,
    /// Messages that left, and that a group would miss.
    pub(crate) lost: Vec<Lost>,
    /// Other memory to drop.
    pub(super) discarded: Vec<Discarded<T>>,
}

/// What may take long to drop.
#[derive(Debug)]
#[allow(dead_code, reason = "only dropped")]
pub(super) enum Discarded<T> {
    Pending(PendingMap),
    Consumer(Box<Consumer<T>>),
    Sums(Sums),
}

impl<T> Effects<T> {
    pub(crate) fn new() -> Self {
        Effects {
            removed: Removed::new(),
            wakers: Vec::new(),
            unwoken: Vec::new(),
            dying: Vec::new(),
            lost: Vec::new(),
            discarded: Vec::new(),
        }
    }
}

impl<T> Effects<T> {
    /// Whether nothing was ever added.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let Removed { payloads, chunks, notes: _ } = &self.removed;
        // A list of zero-sized payloads has unlimited capacity from the start and never allocates.
        let payloads = if size_of::<T>() == 0 { payloads.len() } else { payloads.capacity() };
        payloads
            | chunks.capacity()
            | self.wakers.capacity()
            | self.unwoken.capacity()
            | self.dying.capacity()
            | self.lost.capacity()
            | self.discarded.capacity()
            == 0
    }
}

/// A message that left, and that a group would miss.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) group: GroupKey,
    /// Index of its payload among the removed payloads.
    pub(crate) at: usize,
    pub(crate) topic: Option<Topic>,
    pub(crate) why: Reason,
}

/// A message that is to be moved to the dead letter queue of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dying {
    pub(crate) group: GroupKey,
    pub(crate) seq: u64,
    /// Whether a member termed it. Otherwise its deliveries were used up.
    pub(crate) is_termed: bool,
}

/// The result of moving a dying message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burial {
    /// The dead letter queue has taken it.
    Done,
    /// The dead letter queue cannot take it now.
    Later,
    /// The dead letter queue can never take it, because it is too large.
    Never,
    /// There is no dead letter queue. A termed message counts as read, and one that was delivered too often as missed.
    Nowhere { is_termed: bool },
}
