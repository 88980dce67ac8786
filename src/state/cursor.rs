//! A position, the messages that it missed, and the waiters at it.
//!
//! What a cursor missed is computed. Of the messages from its position to the end, those that are no longer held have
//! left unread. Missed messages that the position has passed are summed in `missed_behind`. So no cursor is touched
//! when messages leave. Messages that had left before the position was set there do not count as missed, so only these
//! are stored.
//!
//! The same holds for a cursor with a filter, applied to the messages that match. These have numbers, which are used in
//! place of seqs (`log/filter.rs`).

use std::collections::VecDeque;

use crate::log::chunk::NIL;
use crate::log::filtering::Gap;
use crate::log::{Found, Log};
use crate::topics::Filters;
use crate::wait::list::WaitList;

/// Why a message was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its time to live was over.
    Expired,
    /// It made room for others.
    Dropped,
    /// It was delivered as often as it may be, and there was no dead letter queue that could take it.
    Undeliverable,
}

#[derive(Debug)]
pub(crate) struct Cursor {
    /// Seq of the next message to read. Messages that have left may still be ahead of it.
    pub(crate) position: u64,
    /// Whether its consumer reads through a lease now. The position is then the one at which the lease began.
    pub(super) is_leased: bool,
    /// Key of the chunk in which the position was last found.
    pub(crate) hint: usize,
    /// Missed messages that the position has passed.
    missed_behind: u64,
    /// How many of these were dropped, and how many were delivered in vain: too often, without a dead letter queue that
    /// took them.
    dropped_behind: u64,
    undeliverable: u64,
    /// If messages at or after the position were dropped: how many drops it did not miss. None: those before it. (No
    /// position is set to one before a drop, because nothing is held there any more.)
    drops_spared: Option<u64>,
    /// Place of the filter whose matches alone it reads.
    pub(crate) filter: Option<usize>,
    /// The same as it was given.
    pub(super) filters: Option<Filters>,
    /// With a filter: the number of the next match, which may have left.
    number: u64,
    /// With a filter: how many held messages were skipped because they did not match.
    pub(crate) filtered: u64,
    /// With a filter, if messages leave once no cursor needs them: the seq from which on it is registered as needing
    /// its matches.
    pub(super) wanted_from: Option<u64>,
    /// Messages at or after the position that had left before the position was set there.
    excused: VecDeque<Gap>,
    /// How many excused messages there are.
    excused_count: u64,
    /// Missed messages reported by `take_missed`.
    reported_by_take: u64,
    /// Missed messages reported by an error of a read.
    reported_by_error: u64,
    /// Missed messages reported by a delivery.
    reported_by_delivery: u64,
    /// Messages read (in an acknowledging group: settled).
    pub(crate) read: u64,
    /// Key of the group whose members share it.
    pub(crate) group: Option<usize>,
    /// Place of the consumer that has it, if it is not shared.
    pub(super) consumer: Option<usize>,
    /// Keys of the cursors that it follows, and of those that follow it.
    pub(super) after: Vec<usize>,
    pub(super) followers: Vec<usize>,
    /// Waiters for a message.
    pub(crate) readers: WaitList,
    /// Waiters for a batch to fill.
    pub(crate) batches: WaitList,
    /// Waiters for missed messages.
    pub(crate) gap_waiters: WaitList,
}

impl Cursor {
    /// A new cursor. `filter`: the place of its filters, and the filters as they were given.
    pub(crate) fn new<T>(position: u64, group: Option<usize>, filter: Option<(usize, Filters)>, log: &Log<T>) -> Self {
        let (filter, filters) = filter.unzip();
        let number = filter.map_or(0, |filter| log.number_at(filter, position).0);
        let excused = match filter {
            None => log.holes(position..log.next()),
            Some(filter) => log.gaps(filter, position..log.next(), log.next_number(Some(filter))),
        };
        Cursor {
            position,
            is_leased: false,
            hint: NIL,
            missed_behind: 0,
            dropped_behind: 0,
            undeliverable: 0,
            drops_spared: None,
            filter,
            filters,
            number,
            filtered: 0,
            wanted_from: None,
            excused_count: excused.iter().map(|gap| gap.count).sum(),
            excused,
            reported_by_take: 0,
            reported_by_error: 0,
            reported_by_delivery: 0,
            read: 0,
            group,
            consumer: None,
            after: Vec::new(),
            followers: Vec::new(),
            readers: WaitList::default(),
            batches: WaitList::default(),
            gap_waiters: WaitList::default(),
        }
    }

    /// The number of the next message for it: its seq, or with a filter the number of the match.
    fn next_number(&self) -> u64 {
        if self.filter.is_some() { self.number } else { self.position }
    }

    /// Missed messages that were dropped.
    pub(crate) fn dropped<T>(&self, log: &Log<T>) -> u64 {
        let drops = log.drops_of(self.filter);
        let spared = self.drops_spared.unwrap_or_else(|| drops.before(self.next_number()));
        self.dropped_behind + drops.total() - spared
    }

    /// Missed messages that were delivered in vain.
    pub(crate) fn undeliverable(&self) -> u64 {
        self.undeliverable
    }

    /// Notes how many drops it did not miss, so that the log need not be asked later.
    pub(super) fn note_drops<T>(&mut self, log: &Log<T>) {
        let (number, drops) = (self.next_number(), log.drops_of(self.filter));
        if number < drops.end() {
            self.drops_spared.get_or_insert_with(|| drops.before(number));
        }
    }

    /// Called before the position moves on to the message with a number, past others that have left. That message is held,
    /// or has still to come, and so it is after all drops.
    #[inline]
    fn pass_drops<T>(&mut self, number: u64, log: &Log<T>) {
        let drops = log.drops_of(self.filter);
        if number != self.next_number() && self.next_number() < drops.end() {
            debug_assert!(number >= drops.end());
            self.dropped_behind = self.dropped(log);
            self.drops_spared = None;
        }
    }

    /// Whether reads may take the fast path: the cursor reads everything, and has no order with other cursors.
    pub(super) fn is_usual(&self) -> bool {
        self.filter.is_none() && self.is_alone()
    }

    /// Whether it has no order with other cursors.
    pub(super) fn is_alone(&self) -> bool {
        self.after.is_empty() && self.followers.is_empty()
    }

    /// Called when a lease ends: it has read so many messages, up to a position in a chunk, and has passed over others.
    pub(super) fn move_on_by_lease(&mut self, position: u64, chunk: usize, read: u64, filtered: u64) {
        (self.position, self.hint) = (position, chunk);
        self.read += read;
        self.filtered += filtered;
        if self.filter.is_some() {
            self.number += read;
        }
    }

    /// Whether the cursor has no waiters.
    pub(super) fn has_no_waiters(&self) -> bool {
        self.readers.is_empty() && self.batches.is_empty() && self.gap_waiters.is_empty()
    }

    /// The next message to read, if there is a held one.
    pub(crate) fn next<'a, T>(&self, log: &'a Log<T>) -> Option<Found<'a, T>> {
        log.first_for(self.filter, self.position, &mut { self.hint })
    }

    /// Moves on to the next message to read, and returns it.
    #[inline]
    pub(crate) fn move_on<'a, T>(&mut self, log: &'a Log<T>) -> Option<Found<'a, T>> {
        if let Some(filter) = self.filter {
            return self.move_on_to_match(filter, log);
        }
        let found = log.first_at(self.position, &mut self.hint);
        let seq = found.as_ref().map_or(log.next(), |found| found.seq);
        self.pass_drops(seq, log);
        self.skip_to(seq);
        found
    }

    /// Moves on to the next match of its filter, past everything that does not match, and returns it.
    fn move_on_to_match<'a, T>(&mut self, filter: usize, log: &'a Log<T>) -> Option<Found<'a, T>> {
        let mut hint = self.hint;
        let found = log.match_at(filter, self.position, &mut hint);
        let (seq, number) = match &found {
            Some((found, number)) => (found.seq, *number),
            None => (log.next(), log.next_number(Some(filter))),
        };
        if seq != self.position {
            let filtered = log.count_from(self.position, self.hint) - log.count_from(seq, hint);
            self.pass_drops(number, log);
            self.pass_to(seq, number, filtered);
        }
        self.hint = hint;
        found.map(|(found, _)| found)
    }

    /// Number of held messages that it has not read.
    pub(crate) fn unread<T>(&self, log: &Log<T>) -> u64 {
        log.count_for(self.filter, self.position, self.hint)
    }

    /// Number and payload bytes of the held messages that it has not read.
    pub(crate) fn unread_and_bytes<T>(&self, log: &Log<T>) -> (u64, u64) {
        log.live_for(self.filter, self.position, self.hint)
    }

    /// Number of all messages missed so far.
    pub(crate) fn missed<T>(&self, log: &Log<T>) -> u64 {
        self.missed_with(self.unread(log), log)
    }

    /// Number of all messages missed so far, if `held` messages are known to be held from the position on. The others
    /// from there on have left; those that had left before the position was set there do not count.
    pub(crate) fn missed_with<T>(&self, held: u64, log: &Log<T>) -> u64 {
        let ahead = match self.filter {
            None => log.next() - self.position,
            Some(_) => log.next_number(self.filter) - self.number,
        };
        self.missed_behind + ahead - held - self.excused_count
    }

    /// Number of messages missed since the last call.
    pub(crate) fn take_missed<T>(&mut self, log: &Log<T>) -> u64 {
        let missed = self.missed(log);
        missed - std::mem::replace(&mut self.reported_by_take, missed)
    }

    /// Whether `take_missed` would report anything.
    pub(crate) fn has_missed<T>(&self, log: &Log<T>) -> bool {
        self.missed(log) > self.reported_by_take
    }

    /// Moves on to the first message held, past the messages that left before it.
    #[inline]
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.missed_behind += seq - self.position;
        self.position = seq;
        if !self.excused.is_empty() {
            self.missed_behind -= self.forget_excused(seq);
        }
    }

    /// With a filter: moves on to `seq`. `number` is the number of the first match at or after it. Of the messages
    /// before it, only `filtered` are held, and these do not match.
    pub(crate) fn pass_to(&mut self, seq: u64, number: u64, filtered: u64) {
        self.missed_behind += number - self.number;
        (self.position, self.number) = (seq, number);
        self.filtered += filtered;
        if !self.excused.is_empty() {
            self.missed_behind -= self.forget_excused(seq);
        }
    }

    /// Excuses a message at or after the position that has left, or was dropped: it does not count as missed.
    pub(crate) fn excuse<T>(&mut self, seq: u64, is_drop: bool, log: &Log<T>) {
        if is_drop {
            self.note_drops(log);
            self.drops_spared = self.drops_spared.map(|spared| spared + 1);
        }
        self.excused_count += 1;
        let place = self.excused.partition_point(|gap| gap.seqs.end < seq);
        match self.excused.get_mut(place) {
            Some(gap) if gap.seqs.end == seq => (gap.seqs.end, gap.count) = (seq + 1, gap.count + 1),
            Some(gap) if gap.seqs.start == seq + 1 => (gap.seqs.start, gap.count) = (seq, gap.count + 1),
            Some(gap) if gap.seqs.contains(&seq) => gap.count += 1,
            _ => self.excused.insert(place, Gap { seqs: seq..seq + 1, count: 1 }),
        }
    }

    /// Removes the excused messages before a seq, and returns how many there were. A gap that is split has no filter,
    /// so all of its seqs count.
    fn forget_excused(&mut self, seq: u64) -> u64 {
        let before = self.excused_count;
        while let Some(gap) = self.excused.front_mut()
            && gap.seqs.start < seq
        {
            let behind = gap.seqs.end.saturating_sub(seq).min(gap.count);
            self.excused_count -= gap.count - behind;
            (gap.seqs.start, gap.count) = (seq.min(gap.seqs.end), behind);
            if gap.seqs.is_empty() {
                self.excused.pop_front();
            }
        }
        before - self.excused_count
    }

    /// Counts messages as missed that the position had already passed: pending messages that left. They had been
    /// delivered, so no delivery reports them.
    pub(crate) fn lose(&mut self, count: u64, why: Reason) {
        self.missed_behind += count;
        self.reported_by_delivery += count;
        match why {
            Reason::Expired => {}
            Reason::Dropped => self.dropped_behind += count,
            Reason::Undeliverable => self.undeliverable += count,
        }
    }

    /// Whether something was passed that no read has told of yet.
    pub(crate) fn has_untold(&self) -> bool {
        self.missed_behind > self.reported_by_error
    }

    /// Number of missed messages that were passed since a read last reported them.
    pub(crate) fn tell(&mut self) -> u64 {
        self.missed_behind - std::mem::replace(&mut self.reported_by_error, self.missed_behind)
    }

    /// Number of messages missed since the last delivery.
    #[inline]
    pub(crate) fn missed_just_before(&self) -> u64 {
        self.missed_behind - self.reported_by_delivery
    }

    /// How many messages will have been missed since the last delivery when `seq`, the next message to read, is
    /// delivered.
    pub(crate) fn missed_before<T>(&self, seq: u64, log: &Log<T>) -> u64 {
        let ahead = match self.filter {
            None => seq - self.position,
            Some(filter) => log.number_at(filter, seq).0 - self.number,
        };
        let excused = self.excused.iter().take_while(|gap| gap.seqs.start < seq);
        let excused: u64 = match self.filter {
            None => excused.map(|gap| gap.seqs.end.min(seq) - gap.seqs.start).sum(),
            Some(_) => excused.map(|gap| gap.count).sum(),
        };
        self.missed_just_before() + ahead - excused
    }

    /// Moves past the message at the position, which is delivered.
    #[inline]
    pub(crate) fn deliver(&mut self) {
        self.position += 1;
        self.reported_by_delivery = self.missed_behind;
    }

    /// Moves past the message at the position, with or without a filter.
    #[inline]
    pub(crate) fn deliver_match(&mut self) {
        self.deliver();
        self.number += 1;
    }

    /// Whether a read would tell of a gap before anything else: what it passed, or what has left just before the next message.
    pub(crate) fn has_gap<T>(&self, log: &Log<T>) -> bool {
        let next = self.next(log).map_or(log.next(), |found| found.seq);
        self.has_untold() || self.missed_before(next, log) > self.missed_just_before()
    }

    /// Whether a read up to a limit would come to a gap.
    pub(crate) fn has_gap_before<T>(&self, limit: u64, log: &Log<T>) -> bool {
        match limit {
            u64::MAX => self.missed(log) > self.reported_by_error,
            _ => self.has_gap(log),
        }
    }

    /// Takes back that a delivery told of so many.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn untell(&mut self, count: u64) {
        self.reported_by_delivery = self.reported_by_delivery.saturating_sub(count);
    }

    /// Moves the position to `to`. The number of missed messages stays the same. Skipped messages count as read; their
    /// number is returned.
    pub(crate) fn seek<T>(&mut self, to: u64, log: &Log<T>) -> u64 {
        let from = self.position;
        let skipped = match to > from {
            true => self.unread(log) - log.count_for(self.filter, to, NIL),
            false => 0,
        };
        self.read += skipped;
        match self.filter {
            None if to > from => {
                self.pass_drops(to, log);
                self.skip_to(to);
            }
            None => {
                // Messages from there on that have left either did not count before, or have already been counted.
                log.holes(to..from).into_iter().rev().for_each(|gap| self.excuse_first(gap));
                self.position = to;
            }
            Some(filter) if to > from => {
                let (number, seq) = log.number_at(filter, to);
                let held = log.count_from(from, self.hint) - log.count_from(to, NIL);
                self.pass_drops(number, log);
                self.pass_to(to, number, held - skipped);
                // None of the excused messages is between the position and the next match.
                self.missed_behind -= self.forget_excused(seq);
            }
            Some(filter) => {
                let (number, seq) = log.number_at(filter, to);
                if seq < from {
                    log.gaps(filter, to..from, self.number).into_iter().rev().for_each(|gap| self.excuse_first(gap));
                    self.number = number;
                }
                self.position = to;
            }
        }
        self.hint = NIL;
        self.missed_behind -= skipped;
        skipped
    }

    fn excuse_first(&mut self, gap: Gap) {
        self.excused_count += gap.count;
        self.excused.push_front(gap);
    }

    /// Moves the position to the end of an emptied queue. The discarded messages count neither as read nor as missed.
    pub(crate) fn discard_to<T>(&mut self, end: u64, missed: u64, log: &Log<T>) {
        self.dropped_behind = self.dropped(log);
        (self.position, self.number) = (end, log.next_number(self.filter));
        self.drops_spared = None;
        self.missed_behind = missed;
        self.excused.clear();
        self.excused_count = 0;
    }
}
