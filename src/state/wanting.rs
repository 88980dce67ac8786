//! Which messages are needed, where cursors have filters.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Wanting {
    /// The positions of the cursors with a filter, by filter.
    pub(super) positions: HashMap<usize, BTreeSet<(u64, usize)>>,
    /// What has to be checked again: the matches of a filter, or all messages, in a range of seqs.
    pub(super) to_look_at: VecDeque<(Option<usize>, Range<u64>)>,
}

impl Wanting {
    /// Whether there are cursors with filters, or something to check.
    pub(super) fn is_in_use(&self) -> bool {
        !self.positions.is_empty() || !self.to_look_at.is_empty()
    }

    /// Schedules a new check of the matches of a filter, or of all messages.
    pub(super) fn look_at(&mut self, filter: Option<usize>, seqs: Range<u64>) {
        if !seqs.is_empty() {
            self.to_look_at.push_back((filter, seqs));
        }
    }
}
