//! Counts of one filter: how many messages match it, and where they are.
//!
//! Messages that match are numbered from 0 without gaps, whether they are held or not. So the missed messages of a
//! consumer with this filter follow from these numbers by arithmetic, as they follow from seqs for a consumer of
//! everything. Each chunk that holds a match has a [`Segment`](super::segment::Segment): which of its slots match, and
//! their numbers. An index over those chunks finds the next one and sums up.

use super::drops::Drops;
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
    /// Where its segment may be in the chunk that is being filled.
    pub(super) hint: usize,
    /// Which matches were dropped.
    pub(super) drops: Drops,
    /// How far the filter is built.
    pub(super) stage: Stage,
}

/// How far a new filter has processed the messages that were held when it was added, and how far an unused filter has
/// been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// So many of its texts are known to those who enqueue.
    Texts(usize),
    /// Topics before this place are decided.
    Topics(usize),
    /// All topics have been compared, and messages before this seq are counted.
    Messages(u64),
    /// All topics and messages are processed.
    Built,
    /// Nobody uses it any more: so many of its texts are forgotten.
    Left(usize),
    /// And topics before this place have forgotten it.
    Undecided(usize),
    /// And chunks before this seq.
    Emptied(u64),
}

impl Filter {
    pub(super) fn new(filters: Filters) -> Self {
        Filter {
            filters,
            users: 1,
            next: 0,
            held: Held::default(),
            index: Index::new(),
            hint: 0,
            drops: Drops::default(),
            stage: Stage::Texts(0),
        }
    }

    /// Whether a held message has been counted.
    pub(super) fn knows(&self, seq: u64) -> bool {
        match self.stage {
            Stage::Texts(_) | Stage::Topics(_) => false,
            Stage::Left(_) | Stage::Undecided(_) | Stage::Emptied(_) => false,
            Stage::Messages(upto) => seq < upto,
            Stage::Built => true,
        }
    }
}
