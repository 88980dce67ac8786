//! What happens when messages leave: by their time, by overflow, because everyone has read them.

use std::cell::Cell;
use std::ops::Range;

use super::acks::Acks;
use super::{Effects, State};
use crate::log::chunk::NIL;
use crate::need::Need;
use crate::options::{Overflow, Retention};
use crate::time::NEVER;

/// Chunks that one hold of the lock removes at the most: far below 100 µs.
pub(super) const SLICE: usize = 128;
/// Consumers whose read records are looked at for each slice of removals.
const TRIM: usize = 64;

/// What was taken out of the log.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) need: Need,
    /// All of it has a seq in here (and other messages may, too). Empty while nothing was.
    pub(super) seqs: Range<u64>,
}

impl Gone {
    pub(super) fn none() -> Self {
        Gone { need: Need { bytes: 0, items: 0 }, seqs: 0..0 }
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

impl<T> State<T> {
    /// Updates the counts for what was removed from the log, and wakes those it concerns.
    pub(super) fn give_back(&mut self, gone: Gone, fx: &mut Effects<T>) {
        self.take_returned();
        if gone.need.items == 0 {
            return;
        }
        self.budget.give_back(gone.need);
        self.trim_reads(TRIM);
        for (_, group) in &mut self.groups {
            if let Some(acks) = &mut group.acks
                && !acks.is_empty()
            {
                let before = acks.len();
                // Pending messages are behind the cursor's position, so the cursor does not count them as missed by
                // itself.
                let lost = acks.forget(gone.seqs.clone(), |seq| self.log.contains(seq));
                let key = group.cursor;
                let cursor = &mut self.cursors[key];
                cursor.lose(lost);
                group.charged = acks.len();
                self.budget.set_pending(before, group.charged);
                if cursor.readers.is_empty() {
                    continue; // to count what is there is the dearest part of this
                }
                // This made room for new deliveries; the end of a closed queue concerns everyone.
                let concerns = match self.closed && lost > 0 && acks.is_empty() {
                    true => u64::MAX,
                    false => lost.min(self.log.count_from(cursor.position, cursor.hint)),
                };
                cursor.readers.wake(concerns, &mut fx.wakers);
                self.attended.update(&mut self.cursors, key);
            }
        }
        // Backwards, because an entry that leaves is replaced by the last one.
        for place in (0..self.attended.gaps().len()).rev() {
            let key = self.attended.gaps()[place];
            if self.cursors[key].has_missed(&self.log) {
                self.cursors[key].gap_waiters.wake(1, &mut fx.wakers);
                self.attended.update(&mut self.cursors, key);
            }
        }
        self.wake_all_batches(fx);
        self.wake_all_followers(fx);
        self.wake_producer(fx);
        self.wake_joiners(fx);
    }

    /// A cursor came, moved, or is gone. With `Retention::Interest`: [`collect`](Self::collect)s what nobody needs any more.
    #[inline]
    pub(super) fn moved(&mut self, cursor: usize, fx: &mut Effects<T>) {
        if self.retention == Retention::Interest {
            self.floor.set(cursor, self.cursors.get(cursor).map(|cursor| cursor.position));
            self.collect(fx);
        }
        self.wake_followers(cursor, fx);
    }

    /// With `Retention::Interest`: removes a slice of what every cursor has passed and no group has pending. While
    /// [`has_to_collect`](Self::has_to_collect), there is more.
    pub(crate) fn collect(&mut self, fx: &mut Effects<T>) {
        let Some(floor) = self.floor.lowest() else { return };
        let from = self.collected.max(self.log.head());
        self.has_to_collect = false;
        if floor <= from {
            self.collected = floor;
            return;
        }
        let groups = &self.groups;
        let acks = || groups.iter().filter_map(|(_, group)| group.acks.as_ref());
        let swept = self.log.sweep(
            from,
            SLICE,
            &mut fx.removed,
            |chunk| chunk.end() <= floor && !acks().any(|acks| acks.any_in(chunk.base..chunk.end())),
            |chunk, index| {
                let seq = chunk.seq(index);
                (seq < floor).then(|| !acks().any(|acks| acks.contains(seq)))
            },
        );
        self.has_to_collect = !swept.done;
        self.collected = if swept.done { floor } else { swept.upto };
        self.give_back(Gone { need: swept.need, seqs: from..self.collected }, fx);
    }

    /// With `Retention::Interest`: removes one message, if nobody needs it any more.
    pub(super) fn collect_one(&mut self, seq: u64, fx: &mut Effects<T>) {
        if self.retention != Retention::Interest
            || self.floor.lowest().is_some_and(|lowest| lowest <= seq)
            || self.groups.iter().any(|(_, group)| group.acks.as_ref().is_some_and(|acks| acks.contains(seq)))
        {
            return;
        }
        if let Some(need) = self.log.remove(seq, NIL, &mut fx.removed) {
            self.give_back(Gone { need, seqs: seq..seq + 1 }, fx);
        }
    }

    /// Removes the oldest message in the usual case: that makes room for `need`, and concerns no one else. None:
    /// nothing was done, continue with [`drop_oldest`](Self::drop_oldest).
    pub(super) fn drop_one(&mut self, need: Need) -> Option<T> {
        let is_usual = self.overflow == Overflow::DropOldest && self.groups.is_empty() && self.joiners.is_empty();
        if !is_usual {
            return None;
        }
        let budget = &self.budget;
        let (payload, gone) = self.log.pop_front(|gone| budget.check_without(gone, 0, need).is_ok())?;
        self.take_returned();
        self.budget.give_back(gone);
        self.dropped += 1;
        // One in, one out: so records are trimmed as fast as they are made.
        self.trim_reads(1);
        Some(payload)
    }

    /// Drops a slice of the oldest messages, where more than that have to leave for `need`. Whether to come again.
    pub(crate) fn make_room(&mut self, need: Need, fx: &mut Effects<T>) -> bool {
        let may = self.overflow == Overflow::DropOldest
            && !self.closed
            && self.producers.is_empty()
            && self.budget.check_ever(need).is_ok()
            && self.budget.check(need).is_err();
        may && !self.drop_oldest(need, SLICE, fx)
    }

    /// Drops the oldest messages until `need` fits, which it can, in `slice` chunks at the most. Whether it fits.
    pub(super) fn drop_oldest(&mut self, need: Need, slice: usize, fx: &mut Effects<T>) -> bool {
        self.note_what_leaves(fx);
        let from = fx.removed.payloads.len();
        let (budget, head) = (&self.budget, self.log.head());
        let gone = Cell::new((Need::NONE, 0));
        // Whether it does not fit yet without what has gone and `more`.
        let lacks = |more: Need| budget.check_without(gone.get().0.and(more), gone.get().1, need).is_err();
        let groups = &self.groups;
        let acks = || groups.iter().filter_map(|(_, group)| group.acks.as_ref());
        let swept = self.log.sweep(
            head,
            slice,
            &mut fx.removed,
            |chunk| {
                let (items, bytes) = chunk.live_from(0);
                let whole = Need { items, bytes };
                let leaves = !acks().any(|acks| acks.any_in(chunk.base..chunk.end())) && lacks(whole);
                if leaves {
                    gone.set((gone.get().0.and(whole), gone.get().1));
                }
                leaves
            },
            |chunk, index| {
                lacks(Need::NONE).then(|| {
                    let pending = acks().filter(|acks| acks.contains(chunk.seq(index))).count() as u64;
                    gone.set((gone.get().0.and(Need::one(chunk.size(index))), gone.get().1 + pending));
                    true
                })
            },
        );
        self.dropped += swept.need.items;
        self.rescue(from, fx);
        self.give_back(Gone { need: swept.need, seqs: head..swept.upto }, fx);
        swept.done
    }

    /// Empties the queue. The discarded messages do not count as missed.
    pub(crate) fn discard(&mut self, fx: &mut Effects<T>) {
        let end = self.log.next();
        let missed: Vec<u64> = self.cursors.iter().map(|(_, cursor)| cursor.missed(&self.log)).collect();
        for (_, group) in &mut self.groups {
            group.acks.iter_mut().for_each(Acks::clear);
            self.budget.set_pending(std::mem::take(&mut group.charged), 0);
        }
        let swept = self.log.sweep(0, usize::MAX, &mut fx.removed, |_| true, |_, _| Some(true));
        self.due = NEVER;
        for ((_, cursor), missed) in self.cursors.iter_mut().zip(missed) {
            cursor.discard_to(end, missed);
        }
        if self.retention == Retention::Interest {
            self.cursors.iter().for_each(|(key, _)| self.floor.set(key, Some(end)));
        }
        self.give_back(Gone { need: swept.need, seqs: 0..end }, fx);
    }
}
