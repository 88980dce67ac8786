//! Expiration: what is due, and what changes that.

use std::cell::Cell;

use super::gone::Gone;
use super::leaving::SLICE;
use super::{Effects, State};
use crate::log::chunk::NIL;
use crate::time::NEVER;

/// Approximate number of pending deliveries that one hold of the lock removes.
const PENDING_SLICE: u64 = 1_000;
/// Messages that leave in one hold of the lock where each may be the last under its topic.
const TOPICS_SLICE: u64 = 400;
/// Chunks in which one hold of the lock looks for times to live of their own.
const OWN_SLICE: usize = 4;

impl<T> State<T> {
    pub(crate) fn ttl(&self) -> Option<u64> {
        self.ttl
    }

    /// Changes the queue's ttl. This also applies to the messages held.
    pub(crate) fn set_ttl(&mut self, ttl: Option<u64>) {
        self.ttl = ttl;
        self.lifetime_changed();
    }

    pub(crate) fn expires(&self) -> bool {
        self.expires
    }

    pub(crate) fn set_expires(&mut self, expires: bool) {
        self.expires = expires;
        self.lifetime_changed();
    }

    fn lifetime_changed(&mut self) {
        self.lives = self.ttl.filter(|_| self.expires).unwrap_or(NEVER);
        self.find_due();
    }

    /// Does what is due: removes a slice of the expired messages, and lets groups redeliver. While
    /// [`is_due`](Self::is_due) is true, there is more. Returns how many messages have expired.
    pub(crate) fn expire(&mut self, fx: &mut Effects<T>) -> u64 {
        let (count, is_done) = if self.expires { self.remove_expired(fx) } else { (0, true) };
        if is_done {
            self.run_timers(fx);
            self.find_due();
        }
        count
    }

    /// Removes a slice of the expired messages. Returns how many, and whether those were all.
    fn remove_expired(&mut self, fx: &mut Effects<T>) -> (u64, bool) {
        let now = self.latest.mono;
        let mut gone = Gone::none();
        self.note_what_leaves(fx);
        let from = fx.removed.payloads.len();
        let own = self.log.remove_overdue(now, OWN_SLICE, &mut fx.removed);
        gone.add(own.need, own.from..own.upto);
        let mut is_done = own.done;
        if is_done
            && let Some(ttl) = self.ttl
            && let Some(cutoff) = now.checked_sub(ttl)
        {
            let from = self.swept;
            // If a group rescues what it would miss, messages leave one by one.
            let slice = if self.has_rescuers { 1 } else { SLICE };
            // Each group loses its pending messages one by one. So fewer messages leave in one slice if many are
            // pending.
            let waiting = self.groups.iter().filter(|(_, group)| group.unsettled() > 0).count() as u64;
            let most = PENDING_SLICE.checked_div(waiting).map_or(u64::MAX, |most| most.max(1));
            let left = Cell::new(if self.log.topics.are_many() { most.min(TOPICS_SLICE) } else { most });
            let swept = self.log.sweep(
                from,
                slice,
                &mut fx.removed,
                |chunk| {
                    let leaves = chunk.mono_at(chunk.slots.len() - 1) <= cutoff && u64::from(chunk.live) <= left.get();
                    if leaves {
                        left.update(|left| left - u64::from(chunk.live));
                    }
                    leaves
                },
                |chunk, index| {
                    let is_due = chunk.mono_at(index) <= cutoff && left.get() > 0;
                    is_due.then(|| {
                        let leaves = !chunk.slots[index].stamp.has_own_ttl();
                        left.update(|left| left - u64::from(leaves));
                        leaves
                    })
                },
            );
            self.swept = swept.upto;
            gone.add(swept.need, from..swept.upto);
            is_done = swept.done && left.get() > 0;
        }
        self.expired += gone.need.items;
        let count = gone.need.items;
        self.rescue(from, fx);
        self.give_back(gone, fx);
        (count, is_done)
    }

    /// Finds the next moment at which something is due.
    fn find_due(&mut self) {
        self.due = self.groups.iter().filter_map(|(_, group)| group.acks.as_ref()?.due()).min().unwrap_or(NEVER);
        if !self.expires {
            return;
        }
        if let Some((deadline, _)) = self.log.first_deadline() {
            self.due = self.due.min(deadline);
        }
        if let Some(ttl) = self.ttl
            && let Some(found) = self.log.first_at(self.swept, &mut { NIL })
        {
            self.due = self.due.min(found.mono.saturating_add(ttl));
        }
    }
}
