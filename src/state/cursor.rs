//! A position, what it missed, and who waits at it.
//!
//! What a cursor missed is arithmetic. Of the messages from its position to the end, those that are no longer held have
//! left unread; those that it passed by are added up in `missed_behind`. So when messages leave, no cursor is touched. Only what
//! had left before the position was set there is written down, for it does not count.
//!
//! The same holds for a cursor with a filter, of the messages that match: they have numbers, which stand in for seqs
//! (`log/filter.rs`).

use std::collections::VecDeque;

use crate::log::chunk::NIL;
use crate::log::filtering::Gap;
use crate::log::{Found, Log};
use crate::topics::Filters;
use crate::wait::list::WaitList;

#[derive(Debug)]
pub(crate) struct Cursor {
    /// Seq of the next message to read; what left meanwhile may still lie ahead of it.
    pub(crate) position: u64,
    /// Whether its consumer reads by itself now, and the position is that at which it began to.
    pub(super) is_leased: bool,
    /// Key of the chunk that the position was last seen in.
    pub(crate) hint: usize,
    /// Missed messages that the position has passed.
    missed_behind: u64,
    /// Place of the filter whose matches alone it reads.
    pub(crate) filter: Option<usize>,
    /// The same as it was given.
    pub(super) filters: Option<Filters>,
    /// With a filter: the number of the next match, which may have left.
    number: u64,
    /// With a filter: what was passed over while it was held, since it did not match.
    pub(crate) filtered: u64,
    /// With a filter, where messages leave once nobody needs them: from where on it is known to need its matches.
    pub(super) wanted_from: Option<u64>,
    /// What from the position on had left before it was set there.
    excused: VecDeque<Gap>,
    /// How many those are.
    excused_count: u64,
    /// Missed messages told by `take_missed`.
    reported_by_take: u64,
    /// Missed messages told by an error of a read.
    reported_by_error: u64,
    /// Missed messages told by a delivery.
    reported_by_delivery: u64,
    /// Messages read (in an acknowledging group: settled).
    pub(crate) read: u64,
    /// Key of the group that shares it.
    pub(crate) group: Option<usize>,
    /// Place of the consumer that has it alone.
    pub(super) consumer: Option<usize>,
    /// Keys of the cursors that it stands after, and of those that stand after it.
    pub(super) after: Vec<usize>,
    pub(super) followers: Vec<usize>,
    /// Who waits for a message.
    pub(crate) readers: WaitList,
    /// Who waits for a batch to fill.
    pub(crate) batches: WaitList,
    /// Who waits for something to be missed.
    pub(crate) gap_waiters: WaitList,
}

impl Cursor {
    pub(crate) fn new<T>(position: u64, group: Option<usize>, filter: Option<usize>, log: &Log<T>) -> Self {
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
            filter,
            filters: None,
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

    /// Whether reads there may take the quick way: it reads everything, and no order with others holds.
    pub(super) fn is_usual(&self) -> bool {
        self.filter.is_none() && self.after.is_empty() && self.followers.is_empty()
    }

    /// Whether nobody waits at it.
    pub(super) fn has_no_waiters(&self) -> bool {
        self.readers.is_empty() && self.batches.is_empty() && self.gap_waiters.is_empty()
    }

    /// The message that it reads next, if that is held.
    pub(crate) fn next<'a, T>(&self, log: &'a Log<T>) -> Option<Found<'a, T>> {
        log.first_for(self.filter, self.position, &mut { self.hint })
    }

    /// Moves on to the next match of its filter, past all that does not match, and returns it.
    pub(crate) fn next_match<'a, T>(&mut self, filter: usize, log: &'a Log<T>) -> Option<Found<'a, T>> {
        let mut hint = self.hint;
        let found = log.match_at(filter, self.position, &mut hint);
        let (seq, number) = match &found {
            Some((found, number)) => (found.seq, *number),
            None => (log.next(), log.next_number(Some(filter))),
        };
        if seq != self.position {
            let filtered = log.count_from(self.position, self.hint) - log.count_from(seq, hint);
            self.pass_to(seq, number, filtered);
        }
        self.hint = hint;
        found.map(|(found, _)| found)
    }

    /// How many messages are held that it has not read.
    pub(crate) fn unread<T>(&self, log: &Log<T>) -> u64 {
        log.count_for(self.filter, self.position, self.hint)
    }

    /// The same, and their payload bytes.
    pub(crate) fn unread_and_bytes<T>(&self, log: &Log<T>) -> (u64, u64) {
        log.live_for(self.filter, self.position, self.hint)
    }

    /// Everything missed so far.
    pub(crate) fn missed<T>(&self, log: &Log<T>) -> u64 {
        self.missed_with(self.unread(log), log)
    }

    /// The same, where so many messages are known to be held from the position on: the others from there on have left, but for
    /// those that had before it was set there.
    pub(crate) fn missed_with<T>(&self, held: u64, log: &Log<T>) -> u64 {
        let ahead = match self.filter {
            None => log.next() - self.position,
            Some(_) => log.next_number(self.filter) - self.number,
        };
        self.missed_behind + ahead - held - self.excused_count
    }

    /// What was missed since it was last asked for.
    pub(crate) fn take_missed<T>(&mut self, log: &Log<T>) -> u64 {
        let missed = self.missed(log);
        missed - std::mem::replace(&mut self.reported_by_take, missed)
    }

    /// Whether there is something to take.
    pub(crate) fn has_missed<T>(&self, log: &Log<T>) -> bool {
        self.missed(log) > self.reported_by_take
    }

    /// Moves on to the first message held, and past what left before it.
    #[inline]
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.missed_behind += seq - self.position;
        self.position = seq;
        if !self.excused.is_empty() {
            self.missed_behind -= self.forget_excused(seq);
        }
    }

    /// With a filter: moves on to `seq`, past everything before it; `number` is that of the first match at or behind it. None of
    /// those before is held, but for so many messages that do not match.
    pub(crate) fn pass_to(&mut self, seq: u64, number: u64, filtered: u64) {
        self.missed_behind += number - self.number;
        (self.position, self.number) = (seq, number);
        self.filtered += filtered;
        if !self.excused.is_empty() {
            self.missed_behind -= self.forget_excused(seq);
        }
    }

    /// Has one that has left, from the position on, not count as missed.
    pub(crate) fn excuse(&mut self, seq: u64) {
        self.excused_count += 1;
        let place = self.excused.partition_point(|gap| gap.seqs.end < seq);
        match self.excused.get_mut(place) {
            Some(gap) if gap.seqs.end == seq => (gap.seqs.end, gap.count) = (seq + 1, gap.count + 1),
            Some(gap) if gap.seqs.start == seq + 1 => (gap.seqs.start, gap.count) = (seq, gap.count + 1),
            Some(gap) if gap.seqs.contains(&seq) => gap.count += 1,
            _ => self.excused.insert(place, Gap { seqs: seq..seq + 1, count: 1 }),
        }
    }

    /// Forgets what is excused before a seq: how many those were. A gap that is cut in two has no filter, so that all of its
    /// seqs count.
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

    /// Counts some as missed that the position had passed before: pending messages that left. They had been delivered, so
    /// no delivery tells of them.
    pub(crate) fn lose(&mut self, count: u64) {
        self.missed_behind += count;
        self.reported_by_delivery += count;
    }

    /// Whether something was passed that no read has told of yet.
    pub(crate) fn has_untold(&self) -> bool {
        self.missed_behind > self.reported_by_error
    }

    /// What was passed since a read last told of it.
    pub(crate) fn tell(&mut self) -> u64 {
        self.missed_behind - std::mem::replace(&mut self.reported_by_error, self.missed_behind)
    }

    /// What was missed since the last delivery.
    #[inline]
    pub(crate) fn missed_just_before(&self) -> u64 {
        self.missed_behind - self.reported_by_delivery
    }

    /// What will have been missed since the last delivery when the message `seq`, the next that it reads, is delivered.
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

    /// Hands the message at the position over.
    #[inline]
    pub(crate) fn deliver(&mut self) {
        self.position += 1;
        self.reported_by_delivery = self.missed_behind;
    }

    /// The same, with a filter or without.
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

    /// Puts the position elsewhere. What counts as missed stays what it is; what is skipped counts as read, and is
    /// returned.
    pub(crate) fn seek<T>(&mut self, to: u64, log: &Log<T>) -> u64 {
        let from = self.position;
        let skipped = match to > from {
            true => self.unread(log) - log.count_for(self.filter, to, NIL),
            false => 0,
        };
        self.read += skipped;
        match self.filter {
            None if to > from => self.skip_to(to),
            None => {
                // What is gone from there on either did not count before, or has been counted.
                log.holes(to..from).into_iter().rev().for_each(|gap| self.excuse_first(gap));
                self.position = to;
            }
            Some(filter) if to > from => {
                let (number, seq) = log.number_at(filter, to);
                let held = log.count_from(from, self.hint) - log.count_from(to, NIL);
                self.pass_to(to, number, held - skipped);
                // Of what had left before, nothing stands between there and the next match.
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

    /// Puts the position at the end of an emptied queue: what it held counts neither as read nor as missed.
    pub(crate) fn discard_to<T>(&mut self, end: u64, missed: u64, log: &Log<T>) {
        (self.position, self.number) = (end, log.next_number(self.filter));
        self.missed_behind = missed;
        self.excused.clear();
        self.excused_count = 0;
    }
}
