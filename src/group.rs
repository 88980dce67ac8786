//! The handle of a group, and how groups deliver.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::consumer::Consumer;
use crate::error::Error;
use crate::queue::Queue;
use crate::shared::WeakQueue;
use crate::state::GroupKey;
use crate::stats::GroupStats;
use crate::sync::{Host, Threads, lock};

/// How a group delivers.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// Nanoseconds in which a delivery has to be acknowledged; None: it settles itself.
    pub ack_wait: Option<u64>,
    /// Deliveries of one message at the most.
    pub max_deliver: Option<u32>,
    /// Nanoseconds that each redelivery waits; the last one is repeated.
    pub backoff: Vec<u64>,
    /// Deliveries that may be pending at the most.
    pub max_pending: Option<u64>,
}

/// Where messages go that could not be delivered.
pub struct DeadLetter<T: Send + 'static, H: Host> {
    /// The queue that they go to.
    pub(crate) queue: WeakQueue<T, H>,
    /// Makes another handle to the same payload.
    pub(crate) share: fn(&T) -> T,
    /// The size of a payload there; None: it can't be told now. Called without a lock.
    pub(crate) measure: Arc<Measure<T>>,
}

/// Tells the size of a payload.
pub(crate) type Measure<T> = dyn Fn(&T) -> Option<u64> + Send + Sync;

impl<T: Send + 'static, H: Host> Clone for DeadLetter<T, H> {
    fn clone(&self) -> Self {
        DeadLetter { queue: self.queue.clone(), share: self.share, measure: self.measure.clone() }
    }
}

impl<T: Send + 'static, H: Host> std::fmt::Debug for DeadLetter<T, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeadLetter")
    }
}

/// What a member says of a delivery.
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

/// Consumers that share a position: each message goes to one of them. Clones are handles to the same group.
pub struct Group<T: Send + 'static, H: Host = Threads> {
    pub(crate) queue: Queue<T, H>,
    pub(crate) key: GroupKey,
}

impl<T: Send + 'static, H: Host> Clone for Group<T, H> {
    fn clone(&self) -> Self {
        Group { queue: self.queue.clone(), key: self.key }
    }
}

impl<T: Send + 'static, H: Host> fmt::Debug for Group<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static, H: Host> Group<T, H> {
    /// A number that no other group or consumer of the queue has.
    pub(crate) fn serial(&self) -> u64 {
        self.key.serial
    }

    /// Its queue.
    pub fn queue(&self) -> &Queue<T, H> {
        &self.queue
    }

    /// Adds a member.
    ///
    /// # Errors
    /// [`Error::GroupClosed`].
    pub fn add_consumer(&self, name: Option<String>) -> Result<Consumer<T, H>, Error> {
        let id = Uuid::new_v4();
        let key = self.queue.core.with(|state, _, _| state.add_member(self.key, id, name))?;
        Ok(Consumer { queue: self.queue.clone(), key, id })
    }

    /// Its members, in the order they were added.
    pub fn members(&self) -> Vec<Consumer<T, H>> {
        self.queue.core.with(|state, _, _| {
            if state.group(self.key).is_err() {
                return Vec::new();
            }
            let keys = state.members(self.key);
            keys.into_iter()
                .filter_map(|key| Some(Consumer { queue: self.queue.clone(), key, id: state.consumer(key).ok()?.id }))
                .collect()
        })
    }

    /// The figures.
    ///
    /// # Errors
    /// [`Error::GroupClosed`].
    pub fn stats(&self) -> Result<GroupStats, Error> {
        self.queue.core.with(|state, now, _| state.group_stats(self.key, now))
    }

    /// Ends it, with all its members. False if it was ended already.
    pub fn close(&self) -> bool {
        let closed = self.queue.core.with(|state, _, fx| state.remove_group(self.key, fx));
        let letters = lock::<H, _>(&self.queue.core.dead_letters).remove(&self.key.serial);
        drop(letters);
        closed
    }
}
