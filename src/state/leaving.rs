//! What happens when messages leave: because they expired, because of overflow, or because every consumer has read
//! them.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::cursor::{Cursor, Reason};
use super::firsts::Asking;
use super::gone::Gone;
use super::slices::PENDING_SLICE;
use super::{Discarded, Effects, State};
use crate::log::Log;
use crate::log::batch::LARGE;
use crate::log::chunk::NIL;
use crate::need::Need;
use crate::options::{Overflow, Retention};
use crate::time::NEVER;
use crate::topics::Topic;

/// Maximum number of chunks that one hold of the lock removes. This takes far less than 100 µs.
pub(super) const SLICE: usize = 48;
/// Number of messages that can be dropped one by one in the time that a chunk takes.
const SINGLY: usize = 8;
/// Maximum number of cursors that note their drops in one hold of the lock.
const ASKED: u64 = 1_000;
/// Number of consumers whose read records are checked for each slice of removals.
const TRIM: usize = 64;

impl<T> State<T> {
    /// Updates the counts after messages were removed from the log, and wakes the waiters concerned.
    pub(super) fn give_back(&mut self, gone: Gone, fx: &mut Effects<T>) {
        self.take_returned();
        if gone.need.items == 0 {
            return;
        }
        self.budget.give_back(gone.need);
        self.budget.set_topics(self.log.topics.charge());
        self.trim_reads(TRIM);
        let mut from = 0;
        while let Some(group) = self.firsts.pending_before(gone.seqs.end, from) {
            self.lose_pending(group, gone.seqs.clone(), gone.why, Log::contains, fx);
            from = group + 1;
        }
        // Backwards, because the last entry takes the place of an entry that leaves.
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

    /// Counts the pending deliveries of a group in `seqs` as missed, except for messages that are held and stay. Returns
    /// how many.
    pub(super) fn lose_pending(
        &mut self,
        index: usize,
        seqs: Range<u64>,
        why: Reason,
        stays: impl Fn(&Log<T>, u64) -> bool,
        fx: &mut Effects<T>,
    ) -> u64 {
        let group = &mut self.groups[index];
        let Some(acks) = group.acks.as_mut().filter(|acks| !acks.is_empty()) else { return 0 };
        let before = acks.len();
        let lost = acks.forget(seqs, |seq| stays(&self.log, seq));
        if lost == 0 {
            return 0;
        }
        // Pending messages are before the cursor's position, so the cursor's own count of missed messages does not
        // include them.
        let key = group.cursor;
        let cursor = &mut self.cursors[key];
        cursor.lose(lost, why);
        group.charged = acks.len();
        self.budget.set_pending(before, group.charged);
        self.firsts.note(index, Some(acks));
        if cursor.readers.is_empty() {
            return lost; // counting the unread messages is the most expensive step here
        }
        // The lost messages made room for new deliveries. The end of a closed queue concerns every reader.
        let concerns = match self.closed && acks.is_empty() {
            true => u64::MAX,
            false => lost.min(cursor.unread(&self.log)),
        };
        cursor.readers.wake(concerns, &mut fx.wakers);
        self.attended.update(&mut self.cursors, key);
        lost
    }

    /// A cursor was added, moved or removed. With `Retention::Interest`, this [`collect`](Self::collect)s what no
    /// cursor needs any more.
    #[inline]
    pub(super) fn moved(&mut self, cursor: usize, fx: &mut Effects<T>) {
        if self.retention == Retention::Interest {
            self.want_less(cursor, fx);
            self.collect(fx);
        }
        // In a closed queue only followers wait. This call may have read the last message.
        if self.closed && !self.cursors[cursor].readers.is_empty() && self.is_over(cursor) {
            self.wake_readers(cursor, u64::MAX, fx);
        }
        self.wake_followers(cursor, fx);
    }

    /// A cursor was removed.
    pub(super) fn removed(&mut self, key: usize, cursor: &Cursor, fx: &mut Effects<T>) {
        if self.retention == Retention::Interest {
            self.want_nothing(key, cursor, fx);
        }
        if let Some(filter) = cursor.filter {
            self.leave_filter(filter);
        }
        if self.retention == Retention::Interest {
            self.collect(fx);
        }
    }

    /// With `Retention::Interest`: removes a slice of the messages that every cursor has passed and that are not
    /// pending in any group. While [`has_to_collect`](Self::has_to_collect) is true, there is more.
    pub(crate) fn collect(&mut self, fx: &mut Effects<T>) {
        if self.wanting.is_in_use() {
            return self.collect_unwanted(fx);
        }
        self.has_to_collect = false;
        let Some(floor) = self.floor.lowest() else { return };
        let from = self.collected.max(self.log.head());
        if floor <= from {
            self.collected = floor;
            return;
        }
        let asking = Asking::new(&self.firsts, &self.groups, false);
        let swept = self.log.sweep(
            from,
            SLICE,
            &mut fx.removed,
            |chunk| chunk.end() <= floor && !asking.may_be_pending(chunk.base..chunk.end()),
            |chunk, index| {
                let seq = chunk.seq(index);
                if seq < floor { asking.count(seq).map(|groups| groups == 0) } else { None }
            },
        );
        self.has_to_collect = !swept.done || asking.is_cut.get();
        self.collected = if self.has_to_collect { swept.upto } else { floor };
        self.give_back(Gone { need: swept.need, seqs: from..self.collected, ..Gone::none() }, fx);
    }

    /// With `Retention::Interest`: removes one message, if no cursor or group needs it any more.
    pub(super) fn collect_one(&mut self, seq: u64, fx: &mut Effects<T>) {
        if self.retention != Retention::Interest {
            return;
        }
        let asking = Asking::new(&self.firsts, &self.groups, true);
        if self.is_needed(seq, self.log.topic_place(seq, NIL), &asking) {
            return;
        }
        if let Some(need) = self.log.remove(seq, NIL, &mut fx.removed) {
            self.give_back(Gone { need, seqs: seq..seq + 1, ..Gone::none() }, fx);
        }
    }

    /// Removes the oldest message in the usual case: this makes enough room for `need`, and affects no one else. None:
    /// nothing was done; continue with [`drop_oldest`](Self::drop_oldest).
    pub(super) fn drop_one(&mut self, need: Need) -> Option<T> {
        let is_usual = self.overflow == Overflow::DropOldest
            && self.groups.is_empty()
            && self.joiners.is_empty()
            && self.log.topics.is_empty();
        if !is_usual {
            return None;
        }
        let (budget, head) = (&self.budget, self.log.head());
        let (payload, gone) = self.log.pop_front(|gone| budget.check_without(gone, 0, need).is_ok())?;
        let begun = self.log.drops.add(head..head + 1);
        self.take_returned();
        if begun {
            self.ask_for_drops(1);
        }
        self.budget.give_back(gone);
        // One message is added and one leaves. So records are trimmed as fast as they are made.
        self.trim_reads(1);
        Some(payload)
    }

    /// Whether the messages that have to leave for `need` can be dropped in one hold of the lock.
    pub(crate) fn makes_room_at_once(&self, need: Need, topic: Option<&Topic>) -> bool {
        self.overflow != Overflow::DropOldest
            || self.budget.check(self.need_under(need, topic)).is_ok()
            || need.items < LARGE as u64 && self.groups.is_empty()
    }

    /// Drops a slice of the oldest messages, if more than that have to leave for `need`. Returns whether to call it
    /// again.
    pub(crate) fn make_room(&mut self, need: Need, topic: Option<&Topic>, fx: &mut Effects<T>) -> bool {
        let all = self.need_under(need, topic);
        let may = self.overflow == Overflow::DropOldest
            && !self.closed
            && self.producers.is_empty()
            && self.is_wanted(topic)
            && self.budget.check_ever(need.under(topic)).is_ok()
            && self.budget.check(all).is_err();
        may && !self.drop_oldest(need, topic, SLICE, fx)
    }

    /// Drops the oldest messages until `need` fits, which is possible, from at most `slice` chunks. Returns whether it
    /// fits.
    pub(super) fn drop_oldest(&mut self, need: Need, topic: Option<&Topic>, slice: usize, fx: &mut Effects<T>) -> bool {
        if topic.is_some() || !self.log.topics.is_empty() {
            return self.drop_oldest_singly(need, topic, slice, fx);
        }
        self.note_what_leaves(fx);
        let from = fx.removed.payloads.len();
        let (budget, head) = (&self.budget, self.log.head());
        let gone = Cell::new((Need::NONE, 0));
        // Whether `need` still does not fit after `gone` and `more` have left.
        let lacks = |more: Need| budget.check_without(gone.get().0.and(more), gone.get().1, need).is_err();
        let most_pending = if slice == usize::MAX { u64::MAX } else { PENDING_SLICE };
        let asking = Asking::new(&self.firsts, &self.groups, slice == usize::MAX);
        let drops = RefCell::new(std::mem::take(&mut self.log.drops));
        let begun = Cell::new(0);
        let swept = self.log.sweep(
            head,
            slice,
            &mut fx.removed,
            |chunk| {
                let (items, bytes) = chunk.live_from(0);
                let whole = Need { items, bytes };
                let leaves = lacks(whole) && !asking.may_be_pending(chunk.base..chunk.end());
                if leaves {
                    gone.set((gone.get().0.and(whole), gone.get().1));
                    let mut drops = drops.borrow_mut();
                    let mut add = |seqs| begun.set(begun.get() + u64::from(drops.add(seqs)));
                    match chunk.is_dense() {
                        true => add(chunk.base..chunk.end()),
                        false => (0..chunk.slots.len()).map(|index| chunk.seq(index)).for_each(|seq| add(seq..seq + 1)),
                    }
                }
                leaves
            },
            |chunk, index| {
                if !lacks(Need::NONE) {
                    return None;
                }
                let (need, pending) = gone.get();
                if pending >= most_pending {
                    asking.is_cut.set(true);
                    return None;
                }
                let seq = chunk.seq(index);
                let more = asking.count(seq)?;
                begun.set(begun.get() + u64::from(drops.borrow_mut().add(seq..seq + 1)));
                gone.set((need.and(Need::one(chunk.size(index))), pending + more));
                Some(true)
            },
        );
        let is_cut = asking.is_cut.get();
        self.log.drops = drops.into_inner();
        if begun.get() > 0 {
            self.ask_for_drops(begun.get());
        }
        self.rescue(from, Reason::Dropped, fx);
        self.give_back(Gone { need: swept.need, seqs: head..swept.upto, why: Reason::Dropped }, fx);
        swept.done && !is_cut
    }

    /// Drops the oldest messages one by one. How much each gives back depends on whether it is the last under its
    /// topic.
    fn drop_oldest_singly(&mut self, need: Need, topic: Option<&Topic>, slice: usize, fx: &mut Effects<T>) -> bool {
        self.note_what_leaves(fx);
        let from = fx.removed.payloads.len();
        let head = self.log.head();
        let (mut gone, mut pending) = (Need::NONE, 0);
        let mut fits = false;
        let most_pending = if slice == usize::MAX { u64::MAX } else { PENDING_SLICE };
        let asking = Asking::new(&self.firsts, &self.groups, slice == usize::MAX);
        let mut begun = 0;
        for _ in 0..slice.saturating_mul(SINGLY) {
            self.budget.set_topics(self.log.topics.charge());
            fits = self.budget.check_without(gone, pending, self.need_under(need, topic)).is_ok();
            if fits || self.log.len() == 0 || pending >= most_pending {
                break;
            }
            let seq = self.log.head();
            let Some(more) = asking.count(seq) else { break };
            pending += more;
            begun += u64::from(self.log.note_drop(seq));
            gone = gone.and(self.log.remove(seq, NIL, &mut fx.removed).unwrap_or(Need::NONE));
        }
        if begun > 0 {
            self.ask_for_drops(begun);
        }
        self.rescue(from, Reason::Dropped, fx);
        self.give_back(Gone { need: gone, seqs: head..self.log.head(), why: Reason::Dropped }, fx);
        fits
    }

    /// Called when this many runs of drops have begun. Lets as many cursors note how many drops they did not miss. When
    /// each has done so, what only they could ask for is forgotten. So there are hardly ever many more runs than cursors.
    #[cold]
    fn ask_for_drops(&mut self, runs: u64) {
        self.take_returned();
        let mut turns = 0;
        for _ in 0..runs.min(ASKED) {
            // A lease that is open has a position after all drops, and will return it.
            if let Some(cursor) = self.cursors.get_mut(self.next_asked).filter(|cursor| !cursor.is_leased) {
                cursor.note_drops(&self.log);
            }
            self.next_asked += 1;
            if self.next_asked >= self.cursors.capacity() {
                self.next_asked = 0;
                self.log.forget_drops();
                turns += 1;
                if turns == 2 {
                    return; // there is nothing more to forget
                }
            }
        }
    }

    /// Empties the queue. The discarded messages do not count as missed.
    pub(crate) fn discard(&mut self, fx: &mut Effects<T>) {
        let end = self.log.next();
        let missed: Vec<u64> = self.cursors.iter().map(|(_, cursor)| cursor.missed(&self.log)).collect();
        for (_, group) in &mut self.groups {
            fx.discarded.extend(group.acks.as_mut().map(|acks| Discarded::Pending(acks.take_from(0))));
            self.budget.set_pending(std::mem::take(&mut group.charged), 0);
        }
        self.firsts.clear();
        let swept = self.log.sweep(0, usize::MAX, &mut fx.removed, |_| true, |_, _| Some(true));
        self.due = NEVER;
        for ((_, cursor), missed) in self.cursors.iter_mut().zip(missed) {
            cursor.discard_to(end, missed, &self.log);
        }
        if self.retention == Retention::Interest {
            self.want_from(end);
        }
        self.give_back(Gone { need: swept.need, seqs: 0..end, ..Gone::none() }, fx);
    }
}
