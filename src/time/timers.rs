//! A keyed timer: finds the key with the earliest moment.

use std::collections::{BTreeMap, BTreeSet};

/// Keys, each with one moment (monotonic nanoseconds) and a value.
#[derive(Debug)]
pub(crate) struct Timers<V = ()> {
    by_key: BTreeMap<u64, (u64, V)>,
    /// Moments with their keys, in order.
    by_moment: BTreeSet<(u64, u64)>,
}

impl<V> Default for Timers<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Timers<V> {
    pub(crate) const fn new() -> Self {
        Timers { by_key: BTreeMap::new(), by_moment: BTreeSet::new() }
    }

    /// The moment of a key.
    pub(crate) fn moment(&self, key: u64) -> Option<u64> {
        self.by_key.get(&key).map(|&(at, _)| at)
    }

    /// The earliest moment, and its key.
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.by_moment.first().copied()
    }

    /// Sets the moment of a key. It replaces the previous one.
    pub(crate) fn set(&mut self, key: u64, at: u64, value: V) {
        self.remove(key);
        self.by_key.insert(key, (at, value));
        self.by_moment.insert((at, key));
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<V> {
        let (at, value) = self.by_key.remove(&key)?;
        self.by_moment.remove(&(at, key));
        Some(value)
    }

    /// Removes and returns one key whose moment has come, the earliest first.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, V)> {
        let (at, key) = self.first()?;
        if at > now {
            return None;
        }
        self.remove(key).map(|value| (key, value))
    }
}
