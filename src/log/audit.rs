//! A consumer's read records: which messages it read, and when.
//!
//! Single reads are stored as runs of consecutive seqs. Each read has a time of four bytes: microseconds since the run
//! began. A batch is one record, whatever its length. Records are removed when their messages have left the queue. When
//! room is short, consecutive reads within a short time are merged into one record, like that of a batch.

use std::collections::VecDeque;
use std::iter;

/// Maximum number of reads in one run of singles. A run is trimmed as a whole.
const RUN: usize = 1000;
/// Batches shorter than this take less memory as single reads.
const SHORTEST_BATCH: u64 = 12;
/// Number of runs that are coarsened in one call.
const AT_ONCE: usize = 32;
/// Maximum number of unread seqs that a run of singles bridges. A larger gap begins a new run.
const LONGEST_GAP: u64 = 8;
/// The offset of a bridged seq.
const BRIDGED: u32 = u32::MAX;

/// Consecutive seqs that were read.
#[derive(Debug)]
struct Run {
    /// The first seq.
    first: u64,
    /// When the first seq was read: microseconds since the epoch.
    at: u64,
    /// How they were read.
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// One by one: for each read, microseconds after `at`.
    Singles(Vec<u32>),
    /// This many in one read.
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

    /// If it is a run of singles that can take a read after some unread seqs: its offsets, how many seqs to bridge, and the
    /// offset of the read. `at` is in microseconds since the epoch.
    fn bridge(&mut self, seq: u64, at: u64) -> Option<(&mut Vec<u32>, usize, u32)> {
        let (end, passed) = (self.end(), at.saturating_sub(self.at));
        let gap = seq.checked_sub(end).filter(|&gap| gap <= LONGEST_GAP)?;
        match &mut self.kind {
            Kind::Singles(offsets) if offsets.len() < RUN && passed < u64::from(BRIDGED) => {
                Some((offsets, gap as usize, passed as u32))
            }
            _ => None,
        }
    }

    /// When a seq was read, in microseconds since the epoch; None: it was not read.
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
    /// The span of reads, in microseconds, that are merged into one record when room is short; 0: no merging.
    grain: u64,
    /// How many runs, counted from the oldest, have already been checked for merging.
    coarse: usize,
    /// Whether a message may be in several runs, because the consumer went back. If false, the runs are in order of
    /// seq.
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

    /// Records the read of one message, if the last run has a place for it. `at` is in nanoseconds since the epoch.
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

    /// Records the read of one message that does not follow the last one, if there is memory for that already. `at` is in
    /// nanoseconds since the epoch.
    #[inline(never)]
    pub(crate) fn sparse_in_place(&mut self, seq: u64, at: u64) -> bool {
        let at = at / 1000;
        match self.runs.back_mut() {
            Some(Run { first, at: then, kind: Kind::Batch(count) }) if *first + *count == seq && *then == at => {
                *count += 1;
                return true;
            }
            Some(run) => {
                if let Some((offsets, gap, passed)) = run.bridge(seq, at) {
                    let has_room = offsets.capacity() - offsets.len() > gap;
                    if has_room {
                        offsets.extend(iter::repeat_n(BRIDGED, gap).chain([passed]));
                    }
                    return has_room;
                }
            }
            None => {}
        }
        let has_room = self.runs.len() < self.runs.capacity();
        if has_room {
            self.push(Run { first: seq, at, kind: Kind::Batch(1) });
        }
        has_room
    }

    /// Records the read of one message. `at` is in nanoseconds since the epoch.
    pub(crate) fn single(&mut self, seq: u64, at: u64) {
        if !self.single_in_place(seq, at) {
            self.single_slowly(seq, at / 1000);
        }
    }

    #[cold]
    fn single_slowly(&mut self, seq: u64, at: u64) {
        if let Some((offsets, gap, passed)) = self.runs.back_mut().and_then(|run| run.bridge(seq, at)) {
            let before = offsets.capacity();
            if before - offsets.len() <= gap {
                // The capacity grows by half, so that a record takes at most 4 · 1.5 bytes.
                offsets.reserve_exact((gap + 1).max((offsets.len() / 2).min(RUN - offsets.len())));
            }
            self.offsets += (offsets.capacity() - before) * size_of::<u32>();
            offsets.extend(iter::repeat_n(BRIDGED, gap).chain([passed]));
            return;
        }
        // After a full run another one is likely. Half of the capacity of the full run is reserved for it.
        let is_next =
            matches!(self.runs.back(), Some(Run { kind: Kind::Singles(offsets), .. }) if offsets.len() == RUN);
        let mut offsets = Vec::with_capacity(if is_next { RUN / 2 } else { 4 });
        offsets.push(0);
        self.offsets += offsets.capacity() * size_of::<u32>();
        self.push(Run { first: seq, at, kind: Kind::Singles(offsets) });
    }

    /// Records a read of several consecutive messages. `at` is in nanoseconds since the epoch.
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

    /// Records a batch in memory that is already allocated, as [`has_place_for`](Self::has_place_for) has checked.
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

    /// Removes records that concern only messages before `head`. If a consumer reads the same messages repeatedly, the
    /// oldest reads are also removed, so that at most `most` bytes remain in addition to the newest run. Returns the
    /// seq before which reads of messages from `head` on were removed.
    pub(crate) fn trim(&mut self, head: u64, most: usize) -> u64 {
        let mut forgotten = 0;
        while let Some(run) = self.runs.front()
            && (run.end() <= head || self.bytes() > most && self.runs.len() > 1)
        {
            forgotten = forgotten.max(self.forget_oldest());
        }
        if forgotten > head { forgotten } else { 0 }
    }

    /// Removes the oldest run, and returns the seq after it.
    pub(crate) fn forget_oldest(&mut self) -> u64 {
        let Some(run) = self.runs.pop_front() else { return 0 };
        if let Kind::Singles(offsets) = &run.kind {
            self.offsets -= offsets.capacity() * size_of::<u32>();
        }
        self.coarse = self.coarse.saturating_sub(1);
        self.fit();
        run.end()
    }

    /// Frees unused capacity for runs.
    fn fit(&mut self) {
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
            self.has_gone_back = false;
        } else if self.runs.capacity() > 8 + 2 * self.runs.len() {
            self.runs.shrink_to(self.runs.len() + self.runs.len() / 2);
        }
    }

    /// Merges reads within `grain` microseconds into one record, in the next few runs, where that takes less room.
    /// Returns the seq before which times are no longer exact; 0: all times are exact.
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

    /// When a message was read: microseconds since the epoch, one value for each read of it.
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

    /// Place of the first run that begins after a seq, if the runs are in order. Consumers read at about the same rate
    /// most of the time, so the search starts at the place that this predicts, and widens from there.
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

    /// The last `limit` reads of messages from `head` on for which `is_held` is true, oldest first: seq and
    /// microseconds since the epoch. `is_held` is called from the newest read on.
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
        reads.single(9, 8_000); // 5 to 8 were never read
        reads.batch(10, 20, 9_000);
        reads.single(4, 12_000); // read again
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
