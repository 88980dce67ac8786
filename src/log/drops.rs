//! Which of the messages that have left were dropped to make room. So a reader is told of what it missed by reason.
//!
//! The oldest held message is dropped first, and so the dropped ones follow each other in order. They are stored as runs
//! of consecutive numbers. How many were dropped from a position on is the total without those before the position.

use std::collections::VecDeque;
use std::ops::Range;

/// Numbers of dropped messages: their seqs, or the numbers of the matches of a filter.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    runs: VecDeque<Run>,
    /// The number after the last dropped one.
    end: u64,
    total: u64,
    /// Up to here, no run is needed once every cursor has been asked: see [`forget`](Self::forget).
    asked: u64,
}

/// Consecutive numbers.
#[derive(Debug)]
struct Run {
    first: u64,
    /// How many had been dropped before the first.
    before: u64,
}

impl Drops {
    /// Adds numbers after all others. Returns whether they begin a new run.
    #[inline]
    pub(crate) fn add(&mut self, numbers: Range<u64>) -> bool {
        let begins = numbers.start != self.end || self.runs.is_empty();
        if begins {
            self.begin(numbers.start);
        }
        self.end = numbers.end;
        self.total += numbers.end - numbers.start;
        begins
    }

    #[cold]
    fn begin(&mut self, first: u64) {
        self.runs.push_back(Run { first, before: self.total });
    }

    /// How many were dropped.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The number after the last dropped one.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// How many of the numbers before this one were dropped.
    pub(crate) fn before(&self, number: u64) -> u64 {
        let after = self.runs.partition_point(|run| run.first <= number);
        let upto = self.runs.get(after).map_or(self.total, |run| run.before);
        let run = after.checked_sub(1).and_then(|place| self.runs.get(place));
        run.map_or(upto, |run| upto.min(run.before + number - run.first))
    }

    /// Called when every cursor has been asked since the last call. Those that may still ask are after what was the end
    /// then, so the runs before it are removed.
    pub(crate) fn forget(&mut self) {
        while self.runs.get(1).is_some_and(|run| run.first <= self.asked) {
            self.runs.pop_front();
        }
        self.asked = self.end;
    }

    /// How many runs are stored.
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_a_list() {
        let (mut drops, mut dropped) = (Drops::default(), Vec::new());
        let (mut seed, mut next, mut asked) = (5u64, 0, 0);
        for round in 0..3_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (gap, count) = ((seed >> 61) / 4 * (seed >> 40 & 7), 1 + (seed >> 50) % 5);
            let begins = drops.add(next + gap..next + gap + count);
            assert_eq!(begins, gap > 0 || round == 0);
            dropped.extend(next + gap..next + gap + count);
            next += gap + count;
            if round % 50 == 0 {
                drops.forget();
                (asked, drops.asked) = (drops.asked.min(asked.max(next.saturating_sub(20))), drops.asked);
            }
            assert_eq!((drops.total(), drops.end()), (dropped.len() as u64, next));
            for number in (next.saturating_sub(20).max(asked)..next + 3).step_by(3) {
                assert_eq!(drops.before(number), dropped.partition_point(|&one| one < number) as u64, "{number}");
            }
        }
        assert!(drops.runs() < 100, "{}", drops.runs());
    }
}
