//! The books of one filter: how many messages match it, and where they stand.
//!
//! Messages that match are numbered, gapless from 0, whether they are held or not: so what a consumer with this filter missed is
//! arithmetic in these numbers, as it is in seqs for a consumer of everything. Each chunk with a match that is held has a
//! [`Segment`](super::segment::Segment): which of its slots match, and their numbers. An index over those chunks finds the next one, and sums up.

use super::held::Held;
use super::index::Index;
use crate::topics::Filters;

/// A filter that cursors use.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(super) filters: Filters,
    /// How many cursors use it.
    pub(super) users: usize,
    /// The number of the next match: of all that have been enqueued while it was in use, or were held then.
    pub(super) next: u64,
    /// What is held of them.
    pub(super) held: Held,
    /// The chunks with a match that is held, but for the one that is being filled.
    pub(super) index: Index,
    /// How far it is built.
    pub(super) stage: Stage,
}

/// How far a new filter has taken in what was held when it came, and one that nobody uses any more is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// So many of its texts are known to those who enqueue.
    Texts(usize),
    /// Topics before this place are decided.
    Topics(usize),
    /// And messages before this seq are counted.
    Messages(u64),
    /// All are.
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
        Filter { filters, users: 1, next: 0, held: Held::default(), index: Index::new(), stage: Stage::Texts(0) }
    }

    /// Whether a message that is held has been counted.
    pub(super) fn knows(&self, seq: u64) -> bool {
        match self.stage {
            Stage::Texts(_) | Stage::Topics(_) => false,
            Stage::Left(_) | Stage::Undecided(_) | Stage::Emptied(_) => false,
            Stage::Messages(upto) => seq < upto,
            Stage::Built => true,
        }
    }
}
