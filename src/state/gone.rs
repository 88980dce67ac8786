//! What was taken out of the log, before it is accounted for.

use std::ops::Range;

use super::cursor::Reason;
use crate::need::Need;

/// What was taken out of the log.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) need: Need,
    /// All removed messages have seqs in this range (other messages may have too). Empty while nothing was removed.
    pub(super) seqs: Range<u64>,
    /// Why those miss them who have not read them.
    pub(super) why: Reason,
}

impl Gone {
    pub(super) fn none() -> Self {
        Gone { need: Need { bytes: 0, items: 0 }, seqs: 0..0, why: Reason::Expired }
    }

    pub(super) fn add(&mut self, need: Need, seqs: Range<u64>) {
        if need.items > 0 {
            self.need.bytes += need.bytes;
            self.need.items += need.items;
            self.seqs = match self.seqs.is_empty() {
                true => seqs,
                false => self.seqs.start.min(seqs.start)..self.seqs.end.max(seqs.end),
            };
        }
    }
}
