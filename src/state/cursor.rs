//! A position, what it missed, and who waits at it.
//!
//! What a cursor missed is arithmetic. Of the messages from its position to the end, those that are no longer held have
//! left unread; those that it passed by are added up in `missed_behind`. So when messages leave, no cursor is touched. Only what
//! had left before the position was set there is written down, for it does not count.

use std::collections::VecDeque;
use std::ops::Range;

use crate::log::Log;
use crate::log::chunk::NIL;
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
    /// Seqs from the position on that had left before it was set there.
    excused: VecDeque<Range<u64>>,
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
    pub(crate) fn new<T>(position: u64, group: Option<usize>, log: &Log<T>) -> Self {
        let excused = log.holes(position..log.next());
        Cursor {
            position,
            is_leased: false,
            hint: NIL,
            missed_behind: 0,
            excused_count: excused.iter().map(|seqs| seqs.end - seqs.start).sum(),
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

    /// Whether nobody waits at it.
    pub(super) fn has_no_waiters(&self) -> bool {
        self.readers.is_empty() && self.batches.is_empty() && self.gap_waiters.is_empty()
    }

    /// Everything missed so far.
    pub(crate) fn missed<T>(&self, log: &Log<T>) -> u64 {
        self.missed_with(log.count_from(self.position, self.hint), log)
    }

    /// The same, where so many messages are known to be held from the position on: the others from there on have left, but for
    /// those that had before it was set there.
    pub(crate) fn missed_with<T>(&self, held: u64, log: &Log<T>) -> u64 {
        self.missed_behind + log.next() - self.position - held - self.excused_count
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

    /// Has one that has left, from the position on, not count as missed.
    pub(crate) fn excuse(&mut self, seq: u64) {
        self.excused_count += 1;
        let place = self.excused.partition_point(|seqs| seqs.end < seq);
        match self.excused.get_mut(place) {
            Some(seqs) if seqs.end == seq => seqs.end += 1,
            Some(seqs) if seqs.start == seq + 1 => seqs.start = seq,
            _ => self.excused.insert(place, seq..seq + 1),
        }
    }

    /// Forgets what is excused before a seq: how many those were.
    fn forget_excused(&mut self, seq: u64) -> u64 {
        let before = self.excused_count;
        while let Some(seqs) = self.excused.front_mut()
            && seqs.start < seq
        {
            let end = seqs.end.min(seq);
            self.excused_count -= end - seqs.start;
            seqs.start = end;
            if seqs.is_empty() {
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

    /// Missed messages told by an error of a read.
    pub(crate) fn reported_by_error(&self) -> u64 {
        self.reported_by_error
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

    /// What will have been missed since the last delivery when the message `seq`, the next that is held, is delivered.
    pub(crate) fn missed_before(&self, seq: u64) -> u64 {
        let excused: u64 =
            self.excused.iter().take_while(|seqs| seqs.start < seq).map(|seqs| seqs.end.min(seq) - seqs.start).sum();
        self.missed_just_before() + (seq - self.position) - excused
    }

    /// Hands the message at the position over.
    #[inline]
    pub(crate) fn deliver(&mut self) {
        self.position += 1;
        self.reported_by_delivery = self.missed_behind;
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
            true => log.count_from(from, self.hint) - log.count_from(to, NIL),
            false => 0,
        };
        self.read += skipped;
        self.hint = NIL;
        if to > from {
            self.skip_to(to);
            self.missed_behind -= skipped;
        } else {
            // What is gone from there on either did not count before, or has been counted.
            for seqs in log.holes(to..from).into_iter().rev() {
                self.excused_count += seqs.end - seqs.start;
                self.excused.push_front(seqs);
            }
            self.position = to;
        }
        skipped
    }

    /// Puts the position at the end of an emptied queue: what it held counts neither as read nor as missed.
    pub(crate) fn discard_to(&mut self, end: u64, missed: u64) {
        self.position = end;
        self.missed_behind = missed;
        self.excused.clear();
        self.excused_count = 0;
    }
}
