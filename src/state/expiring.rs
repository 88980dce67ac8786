//! Expiration: what is due, and what changes that.

use std::cell::Cell;

use super::cursor::Reason;
use super::gone::Gone;
use super::leaving::SLICE;
use super::slices::{PENDING_SLICE, slice};
use super::{Effects, State};
use crate::log::chunk::NIL;
use crate::time::NEVER;

/// Approximate number of pending deliveries that one hold of the lock looks at, because they are among the removed ones.
const PASSED_SLICE: u64 = slice(3_000) as u64;
/// Number of groups that lose a pending delivery of the same message in one hold of the lock.
const GROUPS_SLICE: u64 = if cfg!(debug_assertions) { 1 } else { 40 };
/// Messages that leave in one hold of the lock where each may be the last under its topic.
const TOPICS_SLICE: u64 = 60;
/// Chunks in which one hold of the lock looks for times to live of their own.
const OWN_SLICE: usize = 3;

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
        let (groups, first_pending) = self.firsts.pending();
        let is_crowd = groups > GROUPS_SLICE;
        // The message that no group has pending any more, out of so many that it took several holds of the lock.
        let mut freed = None;
        if let Some((seq, from)) = self.freeing.take() {
            self.freeing = self.lose_pending_of(seq, from, fx).map(|next| (seq, next));
            if self.freeing.is_some() {
                return (0, false);
            }
            freed = Some(seq);
        }
        // How many more messages may leave that may be pending, may be passed though they are, or may be the last under
        // their topic.
        let pending = Cell::new(PENDING_SLICE.checked_div(groups).unwrap_or(u64::MAX));
        let passed = Cell::new(PASSED_SLICE.checked_div(groups).unwrap_or(u64::MAX).max(1));
        let topics = Cell::new(if self.log.topics.are_many() { TOPICS_SLICE } else { u64::MAX });
        let stopped_at = Cell::new(None);
        let may_leave = |seq| {
            let is_freed = seq < first_pending || if is_crowd { freed == Some(seq) } else { pending.get() > 0 };
            let may = is_freed && topics.get() > 0;
            match may {
                true => {
                    topics.update(|left| left - 1);
                    pending.update(|left| left.saturating_sub(u64::from(seq >= first_pending)));
                }
                false => stopped_at.set(Some(seq)),
            }
            may
        };
        let mut gone = Gone::none();
        self.note_what_leaves(fx);
        let from = fx.removed.payloads.len();
        // Each group looks at what it has pending between the messages that leave. So these have to be close together.
        let slice = if groups > 0 { 1 } else { OWN_SLICE };
        let own = self.log.remove_overdue(now, slice, &mut fx.removed, may_leave);
        gone.add(own.need, own.from..own.upto);
        let mut is_done = own.done && (groups == 0 || own.need.items == 0);
        if is_done
            && let Some(ttl) = self.ttl
            && let Some(cutoff) = now.checked_sub(ttl)
        {
            let from = self.swept;
            // If a group rescues what it would miss, messages leave one by one.
            let slice = if self.has_rescuers { 1 } else { SLICE };
            let swept = self.log.sweep(
                from,
                slice,
                &mut fx.removed,
                |chunk| {
                    let live = u64::from(chunk.live);
                    let is_free = chunk.end() <= first_pending || !is_crowd && live <= pending.get();
                    let leaves = chunk.mono_at(chunk.slots.len() - 1) <= cutoff && is_free && live <= topics.get();
                    if leaves {
                        topics.update(|left| left - live);
                        pending.update(|left| if chunk.end() <= first_pending { left } else { left - live });
                    }
                    leaves
                },
                |chunk, index| match chunk.slots[index].stamp.has_own_ttl() {
                    _ if chunk.mono_at(index) > cutoff => None,
                    true if chunk.seq(index) < first_pending => Some(false),
                    true => passed.get().checked_sub(1).map(|left| {
                        passed.set(left);
                        false
                    }),
                    false => may_leave(chunk.seq(index)).then_some(true),
                },
            );
            self.swept = swept.upto;
            gone.add(swept.need, from..swept.upto);
            is_done = swept.done && stopped_at.get().is_none() && passed.get() > 0;
        }
        if is_crowd {
            self.freeing = stopped_at.get().filter(|_| topics.get() > 0).map(|seq| (seq, 0));
        }
        self.expired += gone.need.items;
        let count = gone.need.items;
        self.rescue(from, Reason::Expired, fx);
        self.give_back(gone, fx);
        (count, is_done)
    }

    /// Removes the pending deliveries of a message that is about to expire from the groups whose index is at least
    /// `from`, in as many as one hold of the lock may change. Returns where to continue; None: no group has it pending
    /// any more, except for those that rescue it when it leaves.
    fn lose_pending_of(&mut self, seq: u64, from: usize, fx: &mut Effects<T>) -> Option<usize> {
        let mut left = GROUPS_SLICE;
        let mut from = from;
        while let Some(group) = self.firsts.pending_before(seq + 1, from) {
            from = group + 1;
            if self.groups[group].rescues {
                continue;
            }
            if left == 0 {
                return Some(group);
            }
            left -= self.lose_pending(group, seq..seq + 1, Reason::Expired, |_, _| false, fx);
        }
        None
    }

    /// Finds the next moment at which something is due.
    fn find_due(&mut self) {
        self.due = self.firsts.next_due();
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
