//! A consumer's read records: which messages it read, and when.
//!
//! Single reads are runs of consecutive seqs with a time each, four bytes: microseconds since the run began. A batch is
//! one record, whatever its length. Records go when the messages they speak of have left the queue. Where room is short, reads
//! that follow each other within a while become one record, as a batch is.

use std::collections::VecDeque;

/// Reads in one run of singles at the most: what is trimmed in one piece.
const RUN: usize = 1000;
/// Batches shorter than this are cheaper as single reads.
const SHORTEST_BATCH: u64 = 12;
/// Runs that are made coarser at once.
const AT_ONCE: usize = 32;
/// Unread seqs that a run of singles bridges, rather than begin anew.
const LONGEST_GAP: u64 = 8;
/// The offset of a seq that was bridged.
const BRIDGED: u32 = u32::MAX;

/// Consecutive seqs that were read.
#[derive(Debug)]
struct Run {
    /// The first seq.
    first: u64,
    /// When the first was read: microseconds since the epoch.
    at: u64,
    /// How they were read.
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// One by one: for each, microseconds after `at`.
    Singles(Vec<u32>),
    /// So many at once.
    Batch(u64),
}

impl Run {
    fn end(&self) -> u64 {
        self.first
            + match &self.kind {
                Kind::Singles(offsets) => offsets.len() as u64,
                Kind::Batch(count) => *count,
            }
    }

    /// When a seq was read, if it was, in microseconds since the epoch.
    fn get(&self, seq: u64) -> Option<u64> {
        if seq < self.first || seq >= self.end() {
            return None;
        }
        match &self.kind {
            Kind::Batch(_) => Some(self.at),
            Kind::Singles(offsets) => match offsets[(seq - self.first) as usize] {
                BRIDGED => None,
                offset => Some(self.at + u64::from(offset)),
            },
        }
    }
}

/// The records of one consumer, in the order of its reads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    runs: VecDeque<Run>,
    /// Heap bytes of the offsets of all runs.
    offsets: usize,
    /// How many microseconds of reads were made one record when room was short; 0: none were.
    grain: u64,
    /// How many of the runs, from the oldest on, have been looked through for that.
    coarse: usize,
    /// Whether a message may stand in several runs, for the consumer went back: else they are in order of seq.
    has_gone_back: bool,
}

impl Reads {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.offsets + self.runs.capacity() * size_of::<Run>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Records that a message was read by itself, where the last run has a place for it. `at` is in nanoseconds since the
    /// epoch.
    #[inline(always)]
    pub(crate) fn single_in_place(&mut self, seq: u64, at: u64) -> bool {
        let at = at / 1000;
        if let Some(Run { first, at: began, kind: Kind::Singles(offsets) }) = self.runs.back_mut()
            && offsets.len() < offsets.capacity()
            && *first + offsets.len() as u64 == seq
            && let passed = at.saturating_sub(*began)
            && passed < u64::from(BRIDGED)
        {
            offsets.push(passed as u32);
            return true;
        }
        false
    }

    /// Records that a message was read by itself. `at` is in nanoseconds since the epoch.
    pub(crate) fn single(&mut self, seq: u64, at: u64) {
        if !self.single_in_place(seq, at) {
            self.single_slowly(seq, at / 1000);
        }
    }

    #[cold]
    fn single_slowly(&mut self, seq: u64, at: u64) {
        if let Some(Run { first, at: began, kind: Kind::Singles(offsets) }) = self.runs.back_mut() {
            let end = *first + offsets.len() as u64;
            let passed = at.saturating_sub(*began);
            if end <= seq && seq - end <= LONGEST_GAP && offsets.len() < RUN && passed < u64::from(BRIDGED) {
                let before = offsets.capacity();
                let needed = (seq - end) as usize + 1;
                if before - offsets.len() < needed {
                    // Grown by half, so that a record is at most 4 · 1.5 bytes.
                    offsets.reserve_exact(needed.max((offsets.len() / 2).min(RUN - offsets.len())));
                }
                self.offsets += (offsets.capacity() - before) * size_of::<u32>();
                offsets.extend((end..seq).map(|_| BRIDGED));
                offsets.push(passed as u32);
                return;
            }
        }
        // After a full run another is likely; what is reserved for it is half of what that one holds.
        let is_next =
            matches!(self.runs.back(), Some(Run { kind: Kind::Singles(offsets), .. }) if offsets.len() == RUN);
        let mut offsets = Vec::with_capacity(if is_next { RUN / 2 } else { 4 });
        offsets.push(0);
        self.offsets += offsets.capacity() * size_of::<u32>();
        self.push(Run { first: seq, at, kind: Kind::Singles(offsets) });
    }

    /// Records that consecutive messages were read at once. `at` is in nanoseconds since the epoch.
    pub(crate) fn batch(&mut self, first: u64, count: u64, at: u64) {
        if let Some(Run { first: began, at: then, kind: Kind::Batch(before) }) = self.runs.back_mut()
            && *began + *before == first
            && *then == at / 1000
        {
            // The next part of the same call.
            *before += count;
        } else if count < SHORTEST_BATCH {
            (first..first + count).for_each(|seq| self.single(seq, at));
        } else {
            self.push(Run { first, at: at / 1000, kind: Kind::Batch(count) });
        }
    }

    /// Whether a batch of up to `most` messages, read at about `at`, can be recorded by [`in_place`](Self::in_place).
    pub(crate) fn has_place_for(&self, first: u64, most: usize, at: u64) -> bool {
        if most as u64 >= SHORTEST_BATCH {
            return self.runs.len() < self.runs.capacity();
        }
        match self.runs.back() {
            Some(Run { first: began, at: then, kind: Kind::Singles(offsets) }) => {
                *began + offsets.len() as u64 == first
                    && offsets.capacity() - offsets.len() >= most
                    && (at / 1000).saturating_sub(*then) < u64::from(BRIDGED / 2)
            }
            _ => false,
        }
    }

    /// Records a batch in the memory that is there, as [`has_place_for`](Self::has_place_for) has found.
    pub(crate) fn in_place(&mut self, first: u64, count: u64, most: usize, at: u64) {
        if (most as u64) < SHORTEST_BATCH {
            (first..first + count).for_each(|seq| self.single(seq, at));
        } else {
            self.push(Run { first, at: at / 1000, kind: Kind::Batch(count) });
        }
    }

    fn push(&mut self, run: Run) {
        if self.runs.len() == self.runs.capacity() {
            self.runs.reserve_exact(1 + self.runs.len() / 2);
        }
        self.has_gone_back |= self.runs.back().is_some_and(|last| run.first < last.end());
        self.runs.push_back(run);
    }

    /// Forgets records that concern only messages before `head`. If a consumer reads the same messages again and again,
    /// the oldest readings also go, so that at most `most` bytes remain besides the newest run. Returns the seq before
    /// which readings of messages from `head` on were forgotten.
    pub(crate) fn trim(&mut self, head: u64, most: usize) -> u64 {
        let mut forgotten = 0;
        while let Some(run) = self.runs.front()
            && (run.end() <= head || self.bytes() > most && self.runs.len() > 1)
        {
            forgotten = forgotten.max(self.forget_oldest());
        }
        if forgotten > head { forgotten } else { 0 }
    }

    /// Forgets the oldest run, and returns the seq behind it.
    pub(crate) fn forget_oldest(&mut self) -> u64 {
        let Some(run) = self.runs.pop_front() else { return 0 };
        if let Kind::Singles(offsets) = &run.kind {
            self.offsets -= offsets.capacity() * size_of::<u32>();
        }
        self.coarse = self.coarse.saturating_sub(1);
        self.fit();
        run.end()
    }

    /// Gives back room for runs that is not needed.
    fn fit(&mut self) {
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
            self.has_gone_back = false;
        } else if self.runs.capacity() > 8 + 2 * self.runs.len() {
            self.runs.shrink_to(self.runs.len() + self.runs.len() / 2);
        }
    }

    /// Makes one record of reads within `grain` microseconds, in the next few runs, where that takes less room. Returns the
    /// seq before which times are no longer exact; 0: all are.
    pub(crate) fn coarsen(&mut self, grain: u64) -> u64 {
        if self.grain != grain {
            (self.grain, self.coarse) = (grain, 0);
        }
        let (from, upto) = (self.coarse, (self.coarse + AT_ONCE).min(self.runs.len()));
        let mut merged: Vec<Run> = Vec::new();
        let (mut before, mut inexact) = (0, 0);
        for run in self.runs.range(from..upto) {
            before += size_of::<Run>();
            let mut add = |first: u64, count: u64, at: u64| match merged.last_mut() {
                Some(last) if last.end() == first && at.saturating_sub(last.at) <= grain => {
                    if at != last.at {
                        inexact = first + count;
                    }
                    last.kind = Kind::Batch(first + count - last.first);
                }
                _ => merged.push(Run { first, at, kind: Kind::Batch(count) }),
            };
            match &run.kind {
                Kind::Batch(count) => add(run.first, *count, run.at),
                Kind::Singles(offsets) => {
                    before += offsets.capacity() * size_of::<u32>();
                    for (seq, &offset) in (run.first..).zip(offsets).filter(|&(_, &offset)| offset != BRIDGED) {
                        add(seq, 1, run.at + u64::from(offset));
                    }
                }
            }
        }
        self.coarse = upto;
        if merged.len() * size_of::<Run>() >= before {
            return 0;
        }
        let behind = self.runs.split_off(upto);
        for run in self.runs.drain(from..) {
            if let Kind::Singles(offsets) = run.kind {
                self.offsets -= offsets.capacity() * size_of::<u32>();
            }
        }
        self.runs.extend(merged);
        self.coarse = self.runs.len();
        self.runs.extend(behind);
        self.runs.shrink_to_fit();
        inexact
    }

    /// When a message was read: microseconds since the epoch, once for each reading.
    pub(crate) fn of(&self, seq: u64) -> impl Iterator<Item = u64> {
        let runs = match self.has_gone_back {
            true => 0..self.runs.len(),
            false => {
                let behind = self.first_behind(seq);
                behind.saturating_sub(1)..behind
            }
        };
        self.runs.range(runs).filter_map(move |run| run.get(seq))
    }

    /// Place of the first run that begins behind a seq, where they are in order. Consumers read at about the same pace most
    /// of the time, so it is looked for where that would be, and then further and further from there.
    fn first_behind(&self, seq: u64) -> usize {
        let (Some(first), Some(last)) = (self.runs.front(), self.runs.back()) else { return 0 };
        let is_before = |place: usize| self.runs.get(place).is_some_and(|run| run.first <= seq);
        let span = u128::from(last.end() - first.first).max(1);
        let guess = u128::from(seq.saturating_sub(first.first)) * self.runs.len() as u128 / span;
        let guess = usize::try_from(guess).unwrap_or(usize::MAX).min(self.runs.len());
        let (mut low, mut high, mut step) = (guess, guess, 1);
        while low > 0 && !is_before(low - 1) {
            (high, low) = (low - 1, low.saturating_sub(step));
            step *= 2;
        }
        step = 1;
        while high < self.runs.len() && is_before(high) {
            (low, high) = (high + 1, (high + step).min(self.runs.len()));
            step *= 2;
        }
        while low < high {
            let middle = low.midpoint(high);
            match is_before(middle) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// The last `limit` readings of messages from `head` on of which `is_held` is true, oldest first: seq and microseconds
    /// since the epoch. `is_held` is asked from the newest on.
    pub(crate) fn last(&self, head: u64, limit: usize, mut is_held: impl FnMut(u64) -> bool) -> Vec<(u64, u64)> {
        let newest_first =
            self.runs.iter().rev().flat_map(|run| {
                (run.first.max(head)..run.end()).rev().filter_map(|seq| run.get(seq).map(|at| (seq, at)))
            });
        let mut last: Vec<_> = newest_first.filter(|&(seq, _)| is_held(seq)).take(limit).collect();
        last.reverse();
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_read_costs_at_most_eight_bytes_and_a_batch_the_same_whatever_its_length() {
        for count in [100u64, 513, 1000, 1001, 10_000, 100_000] {
            let mut reads = Reads::default();
            (0..count).for_each(|seq| reads.single(seq, seq * 1000));
            assert!(reads.bytes() <= 8 * count as usize, "{} bytes for {count}", reads.bytes());
            let before = reads.bytes();
            reads.batch(count, 1_000_000, count * 1000);
            assert!(reads.bytes() - before <= size_of::<Run>() * (2 + count as usize / 1000));
        }
    }

    #[test]
    fn each_reading_is_found_again_with_its_time() {
        let mut reads = Reads::default();
        reads.single(3, 5_000);
        reads.single(4, 6_999);
        reads.single(9, 8_000); // 5 to 8 never read
        reads.batch(10, 20, 9_000);
        reads.single(4, 12_000); // once more
        assert_eq!(reads.of(3).collect::<Vec<_>>(), [5]);
        assert_eq!(reads.of(4).collect::<Vec<_>>(), [6, 12]);
        assert_eq!(reads.of(6).count(), 0);
        assert_eq!(reads.of(29).collect::<Vec<_>>(), [9]);
        assert_eq!(reads.of(30).count(), 0);
        assert_eq!(reads.last(4, 3, |_| true), [(28, 9), (29, 9), (4, 12)]);
        assert_eq!(reads.last(4, 100, |_| true).len(), 23);
        assert_eq!(reads.last(4, 3, |seq| seq != 29), [(27, 9), (28, 9), (4, 12)]);
        reads.trim(31, 1000);
        assert_eq!(reads.bytes(), 0);
        assert!(reads.is_empty());
    }

    #[test]
    fn records_leave_with_the_last_message_that_they_speak_of() {
        let mut reads = Reads::default();
        (0..10).for_each(|seq| reads.single(seq, seq * 1000));
        reads.batch(10, 20, 50_000);
        reads.trim(9, usize::MAX);
        assert_eq!((reads.of(9).count(), reads.of(29).count()), (1, 1));
        reads.trim(10, usize::MAX);
        assert_eq!((reads.of(9).count(), reads.of(29).count()), (0, 1));
        reads.trim(30, usize::MAX);
        assert_eq!(reads.bytes(), 0);
    }

    #[test]
    fn single_reads_leave_a_thousand_at_a_time() {
        let mut reads = Reads::default();
        (0..2500).for_each(|seq| reads.single(seq, seq * 1000));
        let all = reads.bytes();
        reads.trim(RUN as u64, usize::MAX);
        assert_eq!((reads.of(999).count(), reads.of(1000).count()), (0, 1));
        assert!(all - reads.bytes() >= RUN * size_of::<u32>(), "{} of {all} bytes are left", reads.bytes());
    }
}
