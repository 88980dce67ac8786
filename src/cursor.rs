//! A position, what it missed, and who waits at it.
//!
//! What a cursor missed is arithmetic. Of the messages from its position to the end, those that are no longer held have
//! left unread; those that it passed by are added up in `passed`. So when messages leave, no cursor is touched.

use crate::chunk::NIL;
use crate::log::Log;
use crate::wait::WaitList;

#[derive(Debug)]
pub(crate) struct Cursor {
    /// Seq of the next message to read; what left meanwhile may still lie ahead of it.
    pub(crate) position: u64,
    /// Key of the chunk that the position was last seen in.
    pub(crate) hint: usize,
    /// Missed messages that the position has passed. Negative by what had left before the position was set there, and
    /// so does not count.
    passed: i64,
    /// Missed messages told by `take_missed`.
    taken: u64,
    /// Missed messages told by an error of a read.
    told: i64,
    /// Missed messages told by a delivery.
    delivered: i64,
    /// Messages read (in an acknowledging group: settled).
    pub(crate) read: u64,
    /// Key of the group that shares it.
    pub(crate) group: Option<usize>,
    /// Who waits for a message.
    pub(crate) readers: WaitList,
    /// Who waits for something to be missed.
    pub(crate) missers: WaitList,
}

impl Cursor {
    pub(crate) fn new<T>(position: u64, group: Option<usize>, log: &Log<T>) -> Self {
        let mut cursor = Cursor {
            position,
            hint: NIL,
            passed: 0,
            taken: 0,
            told: 0,
            delivered: 0,
            read: 0,
            group,
            readers: WaitList::default(),
            missers: WaitList::default(),
        };
        cursor.passed = -(cursor.gone(log) as i64);
        cursor
    }

    /// Messages from the position on that are no longer held.
    fn gone<T>(&self, log: &Log<T>) -> u64 {
        log.next() - self.position - log.count_from(self.position, self.hint)
    }

    /// Everything missed so far.
    pub(crate) fn missed<T>(&self, log: &Log<T>) -> u64 {
        (self.passed + self.gone(log) as i64).max(0) as u64
    }

    /// What was missed since it was last asked for.
    pub(crate) fn take_missed<T>(&mut self, log: &Log<T>) -> u64 {
        let missed = self.missed(log);
        missed - std::mem::replace(&mut self.taken, missed)
    }

    /// Whether there is something to take.
    pub(crate) fn has_missed<T>(&self, log: &Log<T>) -> bool {
        self.missed(log) > self.taken
    }

    /// Moves on to the first message held, and past what left before it.
    #[inline]
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.passed += (seq - self.position) as i64;
        self.position = seq;
    }

    /// Counts one more as missed that the position had passed before: a pending message that left.
    pub(crate) fn lose(&mut self, count: u64) {
        self.passed += count as i64;
    }

    /// Whether something was passed that no read has told of yet.
    pub(crate) fn has_untold(&self) -> bool {
        self.passed > self.told
    }

    /// What was passed since a read last told of it.
    pub(crate) fn tell(&mut self) -> u64 {
        (self.passed - std::mem::replace(&mut self.told, self.passed)) as u64
    }

    /// What was missed since the last delivery.
    #[inline]
    pub(crate) fn missed_just_before(&self) -> u64 {
        (self.passed - self.delivered).max(0) as u64
    }

    /// Hands the message at the position over.
    #[inline]
    pub(crate) fn deliver(&mut self) {
        self.position += 1;
        self.delivered = self.delivered.max(self.passed);
    }

    /// Takes back that a delivery told of so many.
    pub(crate) fn untell(&mut self, count: u64) {
        self.delivered -= count as i64;
    }

    /// Puts the position elsewhere. What counts as missed stays what it is; what is skipped counts as read, and is
    /// returned.
    pub(crate) fn seek<T>(&mut self, to: u64, log: &Log<T>) -> u64 {
        let missed = self.passed + self.gone(log) as i64;
        let skipped = match to > self.position {
            true => log.count_from(self.position, self.hint) - log.count_from(to, NIL),
            false => 0,
        };
        self.read += skipped;
        self.position = to;
        self.hint = NIL;
        self.passed = missed - self.gone(log) as i64;
        skipped
    }

    /// Puts the position at the end of an emptied queue: what it held counts neither as read nor as missed.
    pub(crate) fn discard_to(&mut self, end: u64, missed: u64) {
        self.position = end;
        self.passed = missed as i64;
    }
}
