//! Methods of a queue's handle that look at it: figures, consumers and groups, held messages.
//!
//! If there are thousands of consumers or groups, they are read a few at a time, so that no call waits for all of them.

use uuid::Uuid;

use super::{Consumer, Queue};
use crate::delivery::Delivery;
use crate::keys::{ConsumerKey, GroupKey};
use crate::state::State;
use crate::stats::{ConsumerStats, Figures, GroupStats, QueueStats};
use crate::sync::Host;
use crate::time::clock::Now;

/// Number of consumers or groups that are read in one hold of the lock.
const AT_ONCE: usize = 64;

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// Messages held.
    pub fn len(&self) -> u64 {
        self.core.with_leases(|state, _, _| state.log.len())
    }

    /// Whether no message is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held: payloads and overhead.
    pub fn memory_usage(&self) -> u64 {
        self.core.with_leases(|state, _, _| state.budget.bytes())
    }

    /// Whether the queue is closed.
    pub fn is_closed(&self) -> bool {
        self.core.with_leases(|state, _, _| state.closed)
    }

    /// The figures of the queue, all of one moment.
    pub fn stats(&self) -> QueueStats {
        self.core.with(|state, _, _| state.stats())
    }

    /// Passes up to `limit` of the held messages to `visit`, from the first at or after `seq` on, under the queue's
    /// lock. They do not count as read.
    pub fn look(&self, seq: u64, limit: usize, visit: impl FnMut(Delivery<'_, T>)) {
        self.core.with_leases(|state, _, _| state.look(seq, limit, visit));
    }

    /// The figures of every consumer, in the order they were added. Each consumer's figures are of one moment; up to 64
    /// consumers are read at the same moment.
    pub fn consumer_stats(&self) -> Vec<ConsumerStats> {
        self.look_at_each(State::consumer_keys, |state, key, now, all| all.extend(state.consumer_stats(key, now)))
    }

    /// The figures of every group, in the order they were added. Each group's figures are of one moment; up to 64
    /// groups are read at the same moment.
    pub fn group_stats(&self) -> Vec<GroupStats> {
        self.look_at_each(State::group_keys, |state, key, now, all| all.extend(state.group_stats(key, now)))
    }

    /// All figures. They are of one moment if there are no more than 64 consumers and groups.
    pub fn figures(&self) -> Figures {
        let (mut figures, consumers, groups) = self.core.with(|state, now, _| {
            let (consumers, groups) = (state.consumer_keys(), state.group_keys());
            let mut figures = state.figures(now);
            if consumers.len() + groups.len() > AT_ONCE {
                return (figures, consumers, groups);
            }
            let of_consumer = |key: ConsumerKey| state.consumer_stats(key, now).ok();
            let of_group = |key: GroupKey| state.group_stats(key, now).ok();
            figures.consumers = sorted(consumers).into_iter().filter_map(of_consumer).collect();
            figures.groups = sorted(groups).into_iter().filter_map(of_group).collect();
            (figures, Vec::new(), Vec::new())
        });
        if !consumers.is_empty() || !groups.is_empty() {
            figures.consumers =
                self.look_at(sorted(consumers), |state, key, now, all| all.extend(state.consumer_stats(key, now)));
            figures.groups =
                self.look_at(sorted(groups), |state, key, now, all| all.extend(state.group_stats(key, now)));
        }
        figures
    }

    /// Handles of all consumers, in the order they were added.
    pub fn consumers(&self) -> Vec<Consumer<T, H>> {
        let identities = self.look_at_each(State::consumer_keys, |state, key, _, all| all.extend(state.identity(key)));
        identities.into_iter().map(|identity| self.handle(identity)).collect()
    }

    /// Names of all groups, in the order they were added.
    pub fn group_names(&self) -> Vec<String> {
        self.look_at_each(State::group_keys, |state, key, _, all| {
            all.extend(state.group(key).map(|group| group.name.clone()))
        })
    }

    /// Which consumers read a held message, and when (wall clock, microseconds), in the order of time.
    pub fn readings(&self, seq: u64) -> Vec<(Uuid, u64)> {
        let mut readings =
            self.look_at_each(State::consumer_keys, |state, key, _, found| found.extend(state.readings(key, seq)));
        readings.sort_by_key(|&(_, at)| at);
        readings
    }

    /// Reads every entry that has a key. Entries that are added or removed in the meantime are left out.
    fn look_at_each<K: Copy + Keyed, R>(
        &self,
        keys: impl FnOnce(&State<T>) -> Vec<K>,
        look: impl Fn(&State<T>, K, Now, &mut Vec<R>),
    ) -> Vec<R> {
        let (keys, looks) = self.core.with(|state, now, _| {
            let (keys, mut looks) = (keys(state), Vec::new());
            if keys.len() > AT_ONCE {
                return (keys, looks);
            }
            sorted(keys).into_iter().for_each(|key| look(state, key, now, &mut looks));
            (Vec::new(), looks)
        });
        if keys.is_empty() { looks } else { self.look_at(sorted(keys), look) }
    }

    /// Reads the entries with these keys that are still present, a few in each hold of the lock.
    fn look_at<K: Copy, R>(&self, keys: Vec<K>, look: impl Fn(&State<T>, K, Now, &mut Vec<R>)) -> Vec<R> {
        let mut looks = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            self.core.with(|state, now, _| keys.iter().for_each(|&key| look(state, key, now, &mut looks)));
        }
        looks
    }
}

/// A key with a serial number. Later keys have higher numbers.
trait Keyed {
    fn serial(&self) -> u64;
}

impl Keyed for ConsumerKey {
    fn serial(&self) -> u64 {
        self.serial
    }
}

impl Keyed for GroupKey {
    fn serial(&self) -> u64 {
        self.serial
    }
}

/// Keys in the order in which they were added.
fn sorted<K: Keyed>(mut keys: Vec<K>) -> Vec<K> {
    keys.sort_unstable_by_key(Keyed::serial);
    keys
}
