//! The full chunks in order of seq, with sums: finds the chunk of a seq, and how much is held before it.
//!
//! The index has two levels: blocks of up to 128 chunks, each with the sum of what its chunks hold. So a look-up is two
//! binary searches. A sum adds one figure for each 128,000 messages, and the figures of one block.

use std::collections::VecDeque;

use super::chunk::{Chunk, NIL};
use super::held::Held;
use crate::time::NEVER;

/// Maximum number of chunks in a block. A full block is split in two.
const BLOCK: usize = 128;

#[derive(Debug)]
struct Entry {
    /// Seq of the chunk's first slot.
    base: u64,
    /// Key of the chunk.
    key: usize,
    /// A moment before which no time to live of its own ends for any message in the chunk.
    due: u64,
}

/// Consecutive chunks; never empty.
#[derive(Debug)]
struct Block {
    entries: VecDeque<Entry>,
    /// How much each chunk holds, in an array of its own because sums run over it.
    each: VecDeque<Held>,
    /// How much all chunks hold together.
    held: Held,
    /// The earliest `due` of all chunks.
    due: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    blocks: VecDeque<Block>,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Index { blocks: VecDeque::new() }
    }

    /// Adds a chunk after all others.
    pub(crate) fn push(&mut self, base: u64, key: usize, held: Held, due: u64) {
        let block = match self.blocks.back_mut() {
            Some(block) if block.entries.len() < BLOCK => block,
            _ => {
                let (entries, each) = (VecDeque::with_capacity(BLOCK), VecDeque::with_capacity(BLOCK));
                self.blocks.push_back(Block { entries, each, held: Held::default(), due: NEVER });
                let last = self.blocks.len() - 1;
                &mut self.blocks[last]
            }
        };
        block.entries.push_back(Entry { base, key, due });
        block.each.push_back(held);
        block.held.add(held);
        block.due = block.due.min(due);
    }

    /// Place of the last chunk that begins at or before a seq: block and entry.
    fn place(&self, seq: u64) -> Option<(usize, usize)> {
        // Usually this is the first block, because messages leave in order.
        let block = match self.blocks.get(1) {
            Some(second) if second.entries[0].base <= seq => {
                self.blocks.partition_point(|block| block.entries[0].base <= seq) - 1
            }
            _ => 0,
        };
        let entries = &self.blocks.get(block)?.entries;
        let entry = match entries.get(1) {
            Some(second) if second.base <= seq => entries.partition_point(|entry| entry.base <= seq) - 1,
            _ => 0,
        };
        (entries[entry].base <= seq).then_some((block, entry))
    }

    /// Key of the last chunk that begins at or before a seq.
    pub(crate) fn find(&self, seq: u64) -> Option<usize> {
        self.place(seq).map(|(block, entry)| self.blocks[block].entries[entry].key)
    }

    /// Key of the first chunk that begins after a seq.
    pub(crate) fn find_after(&self, seq: u64) -> Option<usize> {
        let (block, entry) = match self.place(seq) {
            Some((block, entry)) if entry + 1 < self.blocks[block].entries.len() => (block, entry + 1),
            Some((block, _)) => (block + 1, 0),
            None => (0, 0),
        };
        self.blocks.get(block).map(|block| block.entries[entry].key)
    }

    /// Whether there is a chunk that begins at this seq.
    pub(crate) fn has(&self, base: u64) -> bool {
        self.place(base).is_some_and(|(block, entry)| self.blocks[block].entries[entry].base == base)
    }

    /// Key of the first chunk for which `is_before` is false. `is_before` must be true for all chunks before it, and
    /// false for all chunks after it.
    pub(crate) fn first_not(&self, is_before: impl Fn(usize) -> bool) -> Option<usize> {
        let is_block_before = |block: &Block| block.entries.back().is_some_and(|entry| is_before(entry.key));
        let block = self.blocks.get(self.blocks.partition_point(is_block_before))?;
        block.entries.get(block.entries.partition_point(|entry| is_before(entry.key))).map(|entry| entry.key)
    }

    /// How much the chunks hold, up to and including the one that begins at `base`.
    pub(crate) fn held_through(&self, base: u64) -> Held {
        let mut held = Held::default();
        let Some((block, entry)) = self.place(base) else { return held };
        self.blocks.range(..block).for_each(|block| held.add(block.held));
        let block = &self.blocks[block];
        if entry < block.each.len() / 2 {
            block.each.range(..=entry).for_each(|&one| held.add(one));
        } else {
            held.add(block.held);
            block.each.range(entry + 1..).for_each(|&one| held.subtract(one));
        }
        held
    }

    /// Subtracts what has left the chunk at `base`.
    pub(crate) fn subtract(&mut self, base: u64, gone: Held) {
        self.change(base, |held| held.subtract(gone));
    }

    /// Adds what the chunk at `base` has received.
    pub(crate) fn add(&mut self, base: u64, more: Held) {
        self.change(base, |held| held.add(more));
    }

    #[inline]
    fn change(&mut self, base: u64, change: impl Fn(&mut Held)) {
        let Some((block, entry)) = self.place(base) else { return };
        let block = &mut self.blocks[block];
        if block.entries[entry].base == base {
            change(&mut block.each[entry]);
            change(&mut block.held);
        }
    }

    /// Moves the start of the chunk at `base`. It stays before the next chunk.
    pub(crate) fn rebase(&mut self, base: u64, rebased: u64) {
        if let Some(entry) = self.entry(base) {
            entry.base = rebased;
        }
    }

    /// Records that the messages of the chunk at `base` have moved to another chunk. That chunk begins earlier, but
    /// after all chunks before the one at `base`.
    pub(crate) fn move_to(&mut self, base: u64, rebased: u64, key: usize) {
        if let Some(entry) = self.entry(base) {
            (entry.base, entry.key) = (rebased, key);
        }
    }

    fn entry(&mut self, base: u64) -> Option<&mut Entry> {
        let (block, entry) = self.place(base)?;
        Some(&mut self.blocks[block].entries[entry]).filter(|entry| entry.base == base)
    }

    /// The `due` moment of the chunk at `base`.
    pub(crate) fn due(&self, base: u64) -> u64 {
        let place = self.place(base).map(|(block, entry)| &self.blocks[block].entries[entry]);
        place.filter(|entry| entry.base == base).map_or(NEVER, |entry| entry.due)
    }

    /// Sets the `due` moment of the chunk at `base`.
    pub(crate) fn set_due(&mut self, base: u64, due: u64) {
        let Some((block, entry)) = self.place(base) else { return };
        let block = &mut self.blocks[block];
        let entry = &mut block.entries[entry];
        if entry.base == base && entry.due != due {
            entry.due = due;
            block.due = block.entries.iter().map(|entry| entry.due).min().unwrap_or(NEVER);
        }
    }

    /// The earliest `due` of all chunks, and the key of its chunk. NEVER: there is none.
    pub(crate) fn first_due(&self) -> (u64, usize) {
        let Some(block) = self.blocks.iter().min_by_key(|block| block.due) else { return (NEVER, NIL) };
        let first = block.entries.iter().min_by_key(|entry| entry.due);
        first.map_or((NEVER, NIL), |entry| (entry.due, entry.key))
    }

    /// Removes the chunk at `base`, if it is in the index.
    pub(crate) fn remove(&mut self, base: u64) {
        let Some((number, entry)) = self.place(base) else { return };
        let block = &mut self.blocks[number];
        if block.entries[entry].base != base {
            return;
        }
        let (Some(gone), Some(held)) = (block.entries.remove(entry), block.each.remove(entry)) else { return };
        block.held.subtract(held);
        if gone.due == block.due && gone.due != NEVER {
            block.due = block.entries.iter().map(|entry| entry.due).min().unwrap_or(NEVER);
        }
        if block.entries.is_empty() {
            self.blocks.remove(number);
        } else if let Some(next) = self.blocks.get(number + 1)
            && self.blocks[number].entries.len() + next.entries.len() <= BLOCK / 2
            && let Some(next) = self.blocks.remove(number + 1)
        {
            // Merging small neighbours keeps the number of blocks in proportion to the number of chunks.
            let block = &mut self.blocks[number];
            block.held.add(next.held);
            block.due = block.due.min(next.due);
            block.entries.extend(next.entries);
            block.each.extend(next.each);
        }
    }

    /// Checks that the index agrees with the chunks. The given chunks, in order, are all of them.
    pub(crate) fn check<'a, T: 'a>(&self, chunks: impl Iterator<Item = (usize, &'a Chunk<T>)>) {
        let entries = self.blocks.iter().flat_map(|block| block.entries.iter().zip(&block.each));
        let mine: Vec<_> = entries.map(|(entry, &held)| (entry.base, entry.key, held)).collect();
        let theirs: Vec<_> = chunks
            .map(|(key, chunk)| {
                let (items, bytes) = chunk.live_from(0);
                assert!(self.due(chunk.base) <= chunk.first_deadline(), "no deadline is forgotten");
                (chunk.base, key, Held { items, bytes })
            })
            .collect();
        assert_eq!(mine, theirs, "the index agrees with the chunks");
        for block in &self.blocks {
            let mut held = Held::default();
            block.each.iter().for_each(|&one| held.add(one));
            assert_eq!((held, block.entries.is_empty()), (block.held, false));
            assert_eq!(block.entries.iter().map(|entry| entry.due).min(), Some(block.due));
        }
    }
}
