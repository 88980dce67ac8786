//! The part of the log that a consumer with a filter sees. Without a filter, it sees everything.

use std::collections::VecDeque;
use std::ops::Range;

use super::chunk::{Chunk, NIL};
use super::{Found, Log};

/// A range of seqs of which no message is held any more, and how many of these messages match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) seqs: Range<u64>,
    pub(crate) count: u64,
}

impl<T> Log<T> {
    /// The number of the next message that matches; without a filter, its seq.
    #[inline]
    pub(crate) fn next_number(&self, filter: Option<usize>) -> u64 {
        filter.map_or(self.next, |filter| self.topics.filters[filter].next)
    }

    /// The first held match at or after `seq`. The hint is a chunk key, and is set to the chunk of that message.
    #[inline]
    pub(crate) fn first_for(&self, filter: Option<usize>, seq: u64, hint: &mut usize) -> Option<Found<'_, T>> {
        match filter {
            None => self.first_at(seq, hint),
            Some(filter) => self.match_at(filter, seq, hint).map(|(found, _)| found),
        }
    }

    /// The first held match of a filter at or after `seq`, with its number.
    pub(crate) fn match_at(&self, filter: usize, seq: u64, hint: &mut usize) -> Option<(Found<'_, T>, u64)> {
        let (key, slot, number) = self.find_match(filter, seq, *hint)?;
        *hint = key;
        self.found(&self.chunks[key], slot).map(|found| (found, number))
    }

    /// The place of the first held match of a filter at or after `seq`: key of the chunk, slot, and number.
    fn find_match(&self, filter: usize, seq: u64, hint: usize) -> Option<(usize, usize, u64)> {
        let books = self.topics.filters.get(filter)?;
        if books.held.items == 0 {
            return None;
        }
        let seq = seq.max(self.head);
        let key = self.chunk_at(seq, hint);
        let chunk = self.chunks.get(key)?;
        let first = |key: usize, chunk: &Chunk<T>, slot: usize| {
            let (slot, number) = chunk.matches(filter, slot).next()?;
            Some((key, slot, number))
        };
        first(key, chunk, chunk.index(seq.max(chunk.base))).or_else(|| {
            // Chunks that hold no match are skipped in one step.
            let key = books.index.find_after(chunk.base).unwrap_or(self.filling);
            let next = self.chunks.get(key).filter(|next| next.base > chunk.base)?;
            first(key, next, 0)
        })
    }

    /// Number of held matches at or after `seq`.
    #[inline]
    pub(crate) fn count_for(&self, filter: Option<usize>, seq: u64, hint: usize) -> u64 {
        match filter {
            None => self.count_from(seq, hint),
            Some(filter) => {
                self.matches_from(filter, seq, hint, |chunk, slot| (chunk.count_matches(filter, slot), 0)).0
            }
        }
    }

    /// Number and payload bytes of the held matches at or after `seq`.
    pub(crate) fn live_for(&self, filter: Option<usize>, seq: u64, hint: usize) -> (u64, u64) {
        match filter {
            None => self.live_from(seq, hint),
            Some(filter) => self.matches_from(filter, seq, hint, |chunk, slot| {
                let held = chunk.sum_matches(filter, slot);
                (held.items, held.bytes)
            }),
        }
    }

    fn matches_from(
        &self,
        filter: usize,
        seq: u64,
        hint: usize,
        sum: impl FnOnce(&Chunk<T>, usize) -> (u64, u64),
    ) -> (u64, u64) {
        let Some(books) = self.topics.filters.get(filter) else { return (0, 0) };
        if seq >= self.next || books.held.items == 0 {
            return (0, 0);
        }
        if seq <= self.head {
            return (books.held.items, books.held.bytes);
        }
        let key = self.chunk_at(seq, hint);
        let Some(chunk) = self.chunks.get(key) else { return (0, 0) };
        let slot = chunk.index(seq.max(chunk.base));
        let (items, bytes) = sum(chunk, slot);
        if key == self.filling {
            return (items, bytes);
        }
        let through = books.index.held_through(chunk.base);
        (items + books.held.items - through.items, bytes + books.held.bytes - through.bytes)
    }

    /// Number and seq of the first held match at or after `seq`; if there is none, those of the next message to come.
    pub(crate) fn number_at(&self, filter: usize, seq: u64) -> (u64, u64) {
        let found = self.find_match(filter, seq, NIL);
        found.map_or((self.topics.filters[filter].next, self.next), |(key, slot, number)| {
            (number, self.chunks[key].seq(slot))
        })
    }

    /// What has left a range of seqs, beginning at the first match held in it. `upto` is the number of the first match
    /// after the range.
    pub(crate) fn gaps(&self, filter: usize, seqs: Range<u64>, upto: u64) -> VecDeque<Gap> {
        let mut gaps = VecDeque::new();
        let mut add = |seqs: Range<u64>, count: u64| {
            if count > 0 {
                gaps.push_back(Gap { seqs, count });
            }
        };
        // Numbers and counts show whether there is any gap.
        let (first, mut seq) = self.number_at(filter, seqs.start);
        let held = self.count_for(Some(filter), seqs.start, NIL) - self.count_for(Some(filter), seqs.end, NIL);
        if seq >= seqs.end || upto - first == held {
            return gaps;
        }
        let (mut number, mut hint) = (first, NIL);
        while let Some((found, of_found)) =
            self.match_at(filter, seq, &mut hint).filter(|(found, _)| found.seq < seqs.end)
        {
            add(seq..found.seq, of_found - number);
            (seq, number) = (found.seq + 1, of_found + 1);
        }
        add(seq..seqs.end, upto - number);
        gaps
    }
}
