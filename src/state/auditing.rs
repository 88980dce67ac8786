//! Accounting of the audit trail. It never takes more memory than the queue may hold.
//!
//! Records are exact and complete while there is room. When room runs out, reads of a consumer within a millisecond are
//! merged into one record, then reads within ten milliseconds, and so on. Only after that are the oldest records
//! removed. Each step is short, and is made by the call that needs the room.

use std::ops::Range;

use slab::Slab;

use super::readers::Consumer;
use super::roll::Roll;
use crate::log::Log;
use crate::log::chunk::CHUNK_SIZE;

/// The span of reads, in microseconds, that are merged into one record: at first, and at most.
pub(super) const GRAINS: Range<u64> = 1_000..1_000_000_000;
/// Number of consumers whose records one call shrinks.
const STEPS: usize = 8;

#[derive(Debug)]
pub(crate) struct Audit {
    /// Whether reads leave records.
    is_on: bool,
    /// Bytes that the records may take: as many as the queue may hold.
    max: usize,
    /// Bytes of all records.
    pub(super) bytes: usize,
    /// The places of the consumers, in any order, and the index of the consumer whose records are checked next.
    order: Roll,
    next: usize,
    /// The head of the log when the records of all consumers were last trimmed.
    pub(super) trimmed: u64,
    /// The span of reads, in microseconds, that are merged into one record when room is short.
    pub(super) grain: u64,
    /// Number of consumers that were visited since `grain` last changed.
    visited: usize,
    /// Seq before which times are not exact or records are missing.
    pub(super) inexact_before: u64,
}

impl Audit {
    pub(super) fn new(is_on: bool, max: u64) -> Self {
        Audit {
            is_on,
            max: max as usize,
            bytes: 0,
            order: Roll::default(),
            next: 0,
            trimmed: 0,
            grain: GRAINS.start,
            visited: 0,
            inexact_before: 0,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Adds the consumer at a place, and returns its turn.
    pub(super) fn enter(&mut self, place: usize) -> usize {
        self.order.enter(place)
    }

    /// Removes a consumer together with its records.
    pub(super) fn forget<T>(&mut self, consumer: &Consumer<T>, consumers: &mut Slab<Box<Consumer<T>>>) {
        self.bytes -= consumer.reads.bytes();
        if let Some(moved) = self.order.leave(consumer.turn) {
            consumers[moved].turn = consumer.turn;
        }
    }

    pub(super) fn check<T>(&self, consumers: &Slab<Box<Consumer<T>>>) {
        assert_eq!(self.order.keys().len(), consumers.len());
        assert!(consumers.iter().all(|(place, consumer)| self.order.keys()[consumer.turn] == place));
        assert_eq!(self.bytes, consumers.iter().map(|(_, consumer)| consumer.reads.bytes()).sum::<usize>());
    }

    /// The place of the next consumer in turn.
    pub(super) fn next_of(&mut self) -> Option<usize> {
        let order = self.order.keys();
        let place = order.get(self.next).or(order.first()).copied()?;
        self.next = if self.next < order.len() { self.next + 1 } else { 1 };
        Some(place)
    }

    /// Shrinks records until at most `max` bytes are held. `own` is the consumer that needs the room. It gives up its
    /// records for the rest, if those of the others are not enough.
    #[cold]
    pub(super) fn relieve<T>(&mut self, consumers: &mut Slab<Box<Consumer<T>>>, own: usize) {
        for _ in 0..STEPS {
            if self.bytes <= self.max {
                return;
            }
            let Some(index) = self.next_of() else { return };
            self.visited += 1;
            if self.visited > consumers.len() {
                self.visited = 0;
                self.grain = self.grain.saturating_mul(10);
            }
            let grain = self.grain;
            self.change(&mut consumers[index], |consumer| match grain < GRAINS.end {
                true => consumer.reads.coarsen(grain),
                false => consumer.reads.forget_oldest(),
            });
        }
        while self.bytes > self.max
            && let Some(consumer) = consumers.get_mut(own)
            && !consumer.reads.is_empty()
        {
            self.change(consumer, |consumer| consumer.reads.forget_oldest());
        }
    }

    /// Changes the limit. Records beyond the limit are removed.
    pub(super) fn set_max<T>(&mut self, max: u64, consumers: &mut Slab<Box<Consumer<T>>>) {
        self.max = max as usize;
        while self.bytes > self.max
            && let Some(own) = self.next_of()
        {
            self.relieve(consumers, own);
        }
    }

    /// Changes a consumer's records. `change` returns the seq before which something was lost.
    pub(super) fn change<T>(&mut self, consumer: &mut Consumer<T>, change: impl FnOnce(&mut Consumer<T>) -> u64) {
        self.bytes -= consumer.reads.bytes();
        self.inexact_before = self.inexact_before.max(change(consumer));
        self.bytes += consumer.reads.bytes();
    }
}

impl<T> Consumer<T> {
    /// Records that messages were read. Returns true if the records take more than they may and have to be relieved.
    #[inline(always)]
    pub(super) fn record(&mut self, seqs: Range<u64>, wall: u64, log: &Log<T>, audit: &mut Audit) -> bool {
        if seqs.is_empty() {
            return false;
        }
        self.last_read = wall;
        audit.is_on
            && (seqs.end - seqs.start != 1 || !self.reads.single_in_place(seqs.start, wall))
            && self.record_slowly(seqs, wall, log, audit)
    }

    #[inline(never)]
    fn record_slowly(&mut self, seqs: Range<u64>, wall: u64, log: &Log<T>, audit: &mut Audit) -> bool {
        audit.change(self, |consumer| {
            let before = consumer.reads.bytes();
            match seqs.end - seqs.start {
                1 => consumer.reads.single(seqs.start, wall),
                count => consumer.reads.batch(seqs.start, count, wall),
            }
            match consumer.reads.bytes() == before {
                true => 0,
                false => consumer.reads.trim(log.head(), most_bytes(log)),
            }
        });
        audit.bytes > audit.max
    }
}

/// Maximum bytes of read records of one consumer: 8 for each message held, or for each message of a chunk if that is
/// more.
pub(super) fn most_bytes<T>(log: &Log<T>) -> usize {
    8 * (log.len() as usize).max(CHUNK_SIZE)
}
