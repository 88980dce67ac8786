//! The messages with a time to live of their own, by the moment at which it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Deadline (monotonic nanoseconds) and seq.
    by_time: BTreeSet<(u64, u64)>,
    /// Seq and deadline.
    by_seq: BTreeMap<u64, u64>,
}

impl Deadlines {
    pub(crate) fn insert(&mut self, seq: u64, deadline: u64) {
        self.by_time.insert((deadline, seq));
        self.by_seq.insert(seq, deadline);
    }

    /// Forgets a message that left, for whatever reason.
    pub(crate) fn remove(&mut self, seq: u64) {
        if let Some(deadline) = self.by_seq.remove(&seq) {
            self.by_time.remove(&(deadline, seq));
        }
    }

    /// Forgets what is no longer held, of those seqs.
    pub(crate) fn forget(&mut self, seqs: Range<u64>, is_held: impl Fn(u64) -> bool) {
        let gone: Vec<u64> = self.by_seq.range(seqs).map(|(&seq, _)| seq).filter(|&seq| !is_held(seq)).collect();
        gone.into_iter().for_each(|seq| self.remove(seq));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Deadlines::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    /// Checks what must hold between operations.
    pub(crate) fn check(&self, is_held: impl Fn(u64) -> bool) {
        let by_time: BTreeSet<_> = self.by_seq.iter().map(|(&seq, &deadline)| (deadline, seq)).collect();
        assert_eq!(by_time, self.by_time);
        assert!(self.by_seq.keys().all(|&seq| is_held(seq)), "what left has no deadline");
    }

    /// The next moment at which one ends, and the seq.
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.by_time.first().copied()
    }
}
