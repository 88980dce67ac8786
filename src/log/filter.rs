//! Counts of one filter: how many messages match it, and where they are.
//!
//! Messages that match are numbered from 0 without gaps, whether they are held or not. So the missed messages of a
//! consumer with this filter follow from these numbers by arithmetic, as they follow from seqs for a consumer of
//! everything. Each chunk that holds a match has a [`Segment`](super::segment::Segment): which of its slots match, and
//! their numbers. An index over those chunks finds the next one and sums up.

use super::held::Held;
use super::index::Index;
use crate::topics::Filters;

/// A filter that is used by cursors.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(super) filters: Filters,
    /// How many cursors use it.
    pub(super) users: usize,
    /// The number of the next match. Counts all matches that were enqueued while the filter was in use, or were held
    /// then.
    pub(super) next: u64,
    /// How many matches are held.
    pub(super) held: Held,
    /// The chunks that hold a match, except the one that is being filled.
    pub(super) index: Index,
    /// How far the filter is built.
    pub(super) stage: Stage,
}

/// How far a new filter has processed the messages that were held when it was added, and how far an unused filter has
/// been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Topics before this place have been compared with the filter.
    Topics(usize),
    /// All topics have been compared, and messages before this seq are counted.
    Messages(u64),
    /// All topics and messages are processed.
    Built,
    /// No cursor uses the filter any more. Topics before this place have been cleared of it.
    Left(usize),
    /// All topics have been cleared of it, and so have the chunks before this seq.
    Emptied(u64),
}

impl Filter {
    pub(super) fn new(filters: Filters) -> Self {
        Filter { filters, users: 1, next: 0, held: Held::default(), index: Index::new(), stage: Stage::Topics(0) }
    }

    /// Whether a held message has been counted.
    pub(super) fn knows(&self, seq: u64) -> bool {
        match self.stage {
            Stage::Topics(_) | Stage::Left(_) | Stage::Emptied(_) => false,
            Stage::Messages(upto) => seq < upto,
            Stage::Built => true,
        }
    }
}
