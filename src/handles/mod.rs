//! Handles of a queue, of its consumers, and of its groups, for Rust users. Their methods are in the files below.

pub(crate) mod blocking;
mod checks;
mod consumer;
mod group;
mod looking;
#[allow(dead_code, reason = "for the binding")]
mod process;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Weak};

use uuid::Uuid;

use crate::core::Core;
use crate::keys::{ConsumerKey, GroupKey};
use crate::log::lane::Lane;
use crate::state::Identity;
use crate::sync::{Host, Threads};

/// A queue. Clones are handles to the same queue.
pub struct Queue<T: Send + Sync + 'static, H: Host = Threads> {
    pub(crate) core: Arc<Core<T, H>>,
}

impl<T: Send + Sync + 'static, H: Host> Clone for Queue<T, H> {
    fn clone(&self) -> Self {
        Queue { core: self.core.clone() }
    }
}

impl<T: Send + Sync + 'static, H: Host> fmt::Debug for Queue<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A handle that does not keep its queue alive.
pub(crate) struct WeakQueue<T: Send + Sync + 'static, H: Host> {
    core: Weak<Core<T, H>>,
}

impl<T: Send + Sync + 'static, H: Host> Clone for WeakQueue<T, H> {
    fn clone(&self) -> Self {
        WeakQueue { core: self.core.clone() }
    }
}

impl<T: Send + Sync + 'static, H: Host> WeakQueue<T, H> {
    pub(crate) fn upgrade(&self) -> Option<Queue<T, H>> {
        Some(Queue { core: self.core.upgrade()? })
    }
}

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// Makes a handle of a consumer.
    fn handle(&self, Identity { key, id, lane }: Identity<T>) -> Consumer<T, H> {
        Consumer { queue: self.clone(), key, id, lane }
    }

    pub(crate) fn downgrade(&self) -> WeakQueue<T, H> {
        WeakQueue { core: Arc::downgrade(&self.core) }
    }
}

/// A consumer of a queue. Clones are handles to the same consumer: each message goes to one of them.
pub struct Consumer<T: Send + Sync + 'static, H: Host = Threads> {
    pub(crate) queue: Queue<T, H>,
    pub(crate) key: ConsumerKey,
    pub(crate) id: Uuid,
    /// Where the consumer reads without the queue's lock.
    lane: Arc<Lane<T>>,
}

impl<T: Send + Sync + 'static, H: Host> Clone for Consumer<T, H> {
    fn clone(&self) -> Self {
        Consumer { queue: self.queue.clone(), key: self.key, id: self.id, lane: self.lane.clone() }
    }
}

impl<T: Send + Sync + 'static, H: Host> fmt::Debug for Consumer<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Consumers that share a position: each message goes to one of them. Clones are handles to the same group.
pub struct Group<T: Send + Sync + 'static, H: Host = Threads> {
    pub(crate) queue: Queue<T, H>,
    pub(crate) key: GroupKey,
}

impl<T: Send + Sync + 'static, H: Host> Clone for Group<T, H> {
    fn clone(&self) -> Self {
        Group { queue: self.queue.clone(), key: self.key }
    }
}

impl<T: Send + Sync + 'static, H: Host> fmt::Debug for Group<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
