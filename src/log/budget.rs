//! The limits: admit, give back, adjust.

use crate::error::{Full, Limit};
use crate::need::{Need, PENDING_OVERHEAD};

/// The largest limit on bytes. Larger values are clamped to it, so that the sum of two admitted charges cannot
/// overflow.
const LARGEST: u64 = i64::MAX as u64;

/// What the queue holds, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Bytes held: payloads, overhead, pending deliveries.
    bytes: u64,
    /// Bytes of pending deliveries, a part of `bytes`.
    pending: u64,
    /// Bytes of topics, a part of `bytes`.
    topics: u64,
    /// Messages held.
    items: u64,
    /// Hard limit on `bytes`, at most [`LARGEST`].
    max_bytes: u64,
    /// Hard limit on `items`.
    pub(crate) max_items: Option<u64>,
}

impl Budget {
    pub(crate) fn new(max_bytes: u64, max_items: Option<u64>) -> Self {
        Budget { bytes: 0, pending: 0, topics: 0, items: 0, max_bytes: max_bytes.min(LARGEST), max_items }
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) fn set_max_bytes(&mut self, max: u64) {
        self.max_bytes = max.min(LARGEST);
    }

    /// Bytes held. A read never fails for lack of memory. Deliveries that become pending in a full queue are charged in
    /// full, so that nothing is admitted until enough of them are settled, but they are reported only up to the limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.min(self.max_bytes.max(self.bytes - self.pending))
    }

    /// Charges the current number of pending deliveries instead of the previous number.
    pub(crate) fn set_pending(&mut self, before: u64, now: u64) {
        let (before, now) = (before * PENDING_OVERHEAD, now * PENDING_OVERHEAD);
        self.pending = self.pending - before + now;
        self.bytes = self.bytes - before + now;
    }

    /// Sets the charge for topics.
    #[inline]
    pub(crate) fn set_topics(&mut self, charge: u64) {
        self.bytes = self.bytes - self.topics + charge;
        self.topics = charge;
    }

    pub(crate) fn pending(&self) -> u64 {
        self.pending / PENDING_OVERHEAD
    }

    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Checks whether a need fits now.
    #[inline]
    pub(crate) fn check(&self, need: Need) -> Result<(), Full> {
        let charge = need.charge();
        if need.items == 0 {
            return Ok(());
        }
        if self.bytes.saturating_add(charge) > self.max_bytes {
            return Err(Full {
                limit: Limit::Memory,
                current: self.bytes(),
                max: self.max_bytes,
                needed: charge,
                ahead: 0,
            });
        }
        match self.max_items {
            Some(max) if self.items.saturating_add(need.items) > max => {
                Err(Full { limit: Limit::Items, current: self.items, max, needed: need.items, ahead: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Checks whether a need fits after `gone` has left, together with this many pending deliveries.
    pub(crate) fn check_without(&self, gone: Need, pending: u64, need: Need) -> Result<(), Full> {
        let mut rest = self.clone();
        rest.give_back(gone);
        rest.set_pending(pending, 0);
        rest.check(need)
    }

    /// Checks whether a need fits into an empty queue.
    pub(crate) fn check_ever(&self, need: Need) -> Result<(), Full> {
        match self.check(need) {
            Err(full) if full.is_hopeless() => Err(full),
            // It may exceed the other limit, which `check` did not check.
            _ => match self.max_items {
                Some(max) if need.items > max => {
                    Err(Full { limit: Limit::Items, current: self.items, max, needed: need.items, ahead: 0 })
                }
                _ => Ok(()),
            },
        }
    }

    #[inline]
    pub(crate) fn charge(&mut self, need: Need) {
        self.bytes += need.charge();
        self.items += need.items;
    }

    #[inline]
    pub(crate) fn give_back(&mut self, need: Need) {
        self.bytes -= need.charge();
        self.items -= need.items;
    }
}
