//! Methods of a group's handle.

use uuid::Uuid;

use super::{Consumer, Group, Queue};
use crate::error::Error;
use crate::keys::{Key, Predecessor};
use crate::stats::GroupStats;
use crate::sync::{Host, lock};

impl<T: Send + Sync + 'static, H: Host> Group<T, H> {
    /// A number that no other group or consumer of the queue has.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn serial(&self) -> u64 {
        self.key.serial
    }

    /// The group as a predecessor, for [`ConsumerOptions::after`](crate::ConsumerOptions::after).
    pub fn predecessor(&self) -> Predecessor {
        Predecessor(Key::Group(self.key))
    }

    /// The queue of the group.
    pub fn queue(&self) -> &Queue<T, H> {
        &self.queue
    }

    /// Adds a member.
    ///
    /// # Errors
    /// [`Error::GroupClosed`].
    pub fn add_consumer(&self, name: Option<String>) -> Result<Consumer<T, H>, Error> {
        let id = Uuid::new_v4();
        let identity = self.queue.core.with_leases(|state, _, _| {
            let key = state.add_member(self.key, id, name)?;
            state.identity(key)
        })?;
        Ok(self.queue.handle(identity))
    }

    /// The members, in the order they were added.
    pub fn members(&self) -> Vec<Consumer<T, H>> {
        self.queue.core.with(|state, _, _| {
            if state.group(self.key).is_err() {
                return Vec::new();
            }
            let keys = state.members(self.key);
            keys.into_iter().filter_map(|key| Some(self.queue.handle(state.identity(key).ok()?))).collect()
        })
    }

    /// The figures of the group.
    ///
    /// # Errors
    /// [`Error::GroupClosed`].
    pub fn stats(&self) -> Result<GroupStats, Error> {
        self.queue.core.with_leases(|state, now, _| state.group_stats(self.key, now))
    }

    /// Closes the group with all its members. Returns false if it was already closed.
    pub fn close(&self) -> bool {
        while self.queue.core.with(|state, _, fx| state.remove_members(self.key, fx)) {
            self.queue.core.let_others_in();
        }
        let closed = self.queue.change_readers(|state, fx| state.remove_group(self.key, fx));
        let letters = lock::<H, _>(&self.queue.core.dead_letters).remove(&self.key.serial);
        drop(letters);
        closed
    }
}
