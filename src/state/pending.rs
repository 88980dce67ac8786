//! The pending deliveries of a group by seq, and which of them is the next to become ready or to change by time.
//!
//! Pending deliveries are close to the position, so most of them have neighbouring seqs. They are stored in blocks of
//! 64 seqs, in order. Each block stores a moment before which none of its deliveries changes by time. So there is one
//! timer for each block rather than for each delivery, and a delivery takes about 50 bytes in all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::time::NEVER;

/// Number of blocks that one hold of the lock takes out.
const SPLIT_OFF: usize = if cfg!(debug_assertions) { 1 } else { 100 };
/// Seqs in a block: the number of bits of a word.
const BLOCK: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A member holds it.
    Held,
    /// It waits until it becomes ready.
    Waiting,
    /// It goes to the next reader.
    Ready,
    /// It is on its way to the dead letter queue.
    Dying,
}

/// A delivery that is not settled.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) stage: Stage,
    /// Serial number of the member that holds or held it.
    pub(super) member: u64,
    /// Payload bytes.
    pub(super) size: u64,
    /// How often it was delivered.
    pub(super) deliveries: u32,
    /// Whether a member termed it. Then no other delivery of it counts any more.
    pub(super) is_termed: bool,
    /// Whether it is being moved to the dead letter queue at this moment.
    pub(super) is_moving: bool,
    /// Numbers of its first and of its latest delivery, counted over all deliveries of the group.
    pub(super) numbers: (u64, u64),
    /// When the stage ends by time; NEVER: it does not end by time.
    pub(super) until: u64,
}

/// Pending deliveries of 64 consecutive seqs.
#[derive(Debug, Default)]
struct Block {
    /// Which of the seqs are pending, one bit each.
    present: u64,
    /// Which of the pending seqs are ready.
    ready: u64,
    /// A moment before which no stage of the block ends.
    due: u64,
    /// The pending deliveries, in order of seq.
    entries: Vec<Pending>,
}

impl Block {
    /// The index of a seq in `entries`, or the index where it would be inserted.
    fn index(&self, bit: u64) -> usize {
        (self.present & (bit - 1)).count_ones() as usize
    }
}

#[derive(Debug, Default)]
pub(super) struct PendingMap {
    blocks: BTreeMap<u64, Block>,
    /// The moments of the blocks, with their keys. Blocks that never change by time are not included.
    dues: BTreeSet<(u64, u64)>,
    /// Keys of the blocks that have a ready delivery.
    ready_blocks: BTreeSet<u64>,
    len: u64,
    ready: u64,
    ready_bytes: u64,
}

/// The key of the block of a seq, and the bit of the seq in it.
fn place(seq: u64) -> (u64, u64) {
    (seq / BLOCK, 1 << (seq % BLOCK))
}

impl PendingMap {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Number of ready deliveries, and their payload bytes.
    pub(super) fn ready(&self) -> (u64, u64) {
        (self.ready, self.ready_bytes)
    }

    /// The lowest pending seq.
    pub(super) fn first(&self) -> Option<u64> {
        let (key, block) = self.blocks.first_key_value()?;
        Some(key * BLOCK + u64::from(block.present.trailing_zeros()))
    }

    pub(super) fn first_ready(&self) -> Option<u64> {
        let key = self.ready_blocks.first()?;
        Some(key * BLOCK + u64::from(self.blocks[key].ready.trailing_zeros()))
    }

    /// The ready deliveries, in order of seq.
    pub(super) fn ready_ones(&self) -> impl Iterator<Item = &Pending> {
        let blocks = self.ready_blocks.iter().filter_map(|key| self.blocks.get_key_value(key));
        blocks.flat_map(Block::seqs).map(|(_, pending)| pending).filter(|pending| pending.stage == Stage::Ready)
    }

    /// A moment before which no stage ends.
    pub(super) fn due(&self) -> Option<u64> {
        self.dues.first().map(|&(due, _)| due)
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Pending> {
        let (key, bit) = place(seq);
        let block = self.blocks.get(&key).filter(|block| block.present & bit != 0)?;
        block.entries.get(block.index(bit))
    }

    /// For changes of anything except the stage and its time. Use [`set`](Self::set) for these.
    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Pending> {
        let (key, bit) = place(seq);
        let block = self.blocks.get_mut(&key).filter(|block| block.present & bit != 0)?;
        let index = block.index(bit);
        block.entries.get_mut(index)
    }

    /// The pending delivery of a seq. `fresh` is inserted if there is none.
    pub(super) fn get_or_insert(&mut self, seq: u64, fresh: Pending) -> &mut Pending {
        let (key, bit) = place(seq);
        let block = self.blocks.entry(key).or_insert_with(|| Block { due: NEVER, ..Block::default() });
        let index = block.index(bit);
        if block.present & bit == 0 {
            if block.entries.len() == block.entries.capacity() {
                let room = BLOCK as usize - block.entries.len();
                block.entries.reserve_exact((1 + block.entries.len() / 2).min(room));
            }
            block.entries.insert(index, fresh);
            block.present |= bit;
            self.len += 1;
        }
        &mut block.entries[index]
    }

    /// Sets the stage of a delivery, and when the stage ends; NEVER: it does not end by time.
    pub(super) fn set(&mut self, seq: u64, stage: Stage, until: u64) {
        let (key, bit) = place(seq);
        let Some(block) = self.blocks.get_mut(&key).filter(|block| block.present & bit != 0) else { return };
        let index = block.index(bit);
        let pending = &mut block.entries[index];
        (pending.stage, pending.until) = (stage, until);
        let size = pending.size;
        if until < block.due {
            self.dues.remove(&(block.due, key));
            self.dues.insert((until, key));
            block.due = until;
        }
        self.mark(key, bit, stage == Stage::Ready, size);
    }

    /// Updates whether a delivery is ready.
    fn mark(&mut self, key: u64, bit: u64, is_ready: bool, size: u64) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        match (block.ready & bit != 0, is_ready) {
            (false, true) => {
                if block.ready == 0 {
                    self.ready_blocks.insert(key);
                }
                block.ready |= bit;
                self.ready += 1;
                self.ready_bytes += size;
            }
            (true, false) => {
                block.ready &= !bit;
                if block.ready == 0 {
                    self.ready_blocks.remove(&key);
                }
                self.ready -= 1;
                self.ready_bytes -= size;
            }
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, seq: u64) -> bool {
        let (key, bit) = place(seq);
        let Some(size) = self.get(seq).map(|pending| pending.size) else { return false };
        self.mark(key, bit, false, size);
        let Some(block) = self.blocks.get_mut(&key) else { return false };
        block.entries.remove(block.index(bit));
        block.present &= !bit;
        self.len -= 1;
        if block.present == 0 {
            self.dues.remove(&(block.due, key));
            self.blocks.remove(&key);
        } else if block.entries.capacity() > 4 + 2 * block.entries.len() {
            block.entries.shrink_to(block.entries.len() + 2);
        }
        true
    }

    /// Removes the next due block from the timer, and returns the deliveries of the block whose stage ends by `now`,
    /// with their times. None: no block is due. The caller has to set another stage for these deliveries.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Vec<(u64, u64)>> {
        let (due, key) = self.dues.first().copied().filter(|&(due, _)| due <= now)?;
        self.dues.remove(&(due, key));
        let Some(block) = self.blocks.get_mut(&key) else { return Some(Vec::new()) };
        let (mut ended, mut next) = (Vec::new(), NEVER);
        let mut bits = block.present;
        for pending in &mut block.entries {
            let seq = key * BLOCK + u64::from(bits.trailing_zeros());
            bits &= bits - 1;
            if pending.until <= now {
                ended.push((pending.until, seq));
                pending.until = NEVER;
            }
            next = next.min(pending.until);
        }
        block.due = next;
        if next != NEVER {
            self.dues.insert((next, key));
        }
        Some(ended)
    }

    /// The pending deliveries in a range of seqs.
    pub(super) fn range(&self, seqs: Range<u64>) -> impl Iterator<Item = (u64, &Pending)> {
        let keys = seqs.start / BLOCK..=seqs.end.saturating_sub(1) / BLOCK;
        let blocks = if seqs.is_empty() { None } else { Some(self.blocks.range(keys)) };
        blocks.into_iter().flatten().flat_map(Block::seqs).filter(move |(seq, _)| seqs.contains(seq))
    }

    /// The lowest seq, but not before `goal`, from which [`split_off`](Self::split_off) takes a few blocks out.
    pub(super) fn step_back(&self, goal: u64) -> u64 {
        let is_all = self.first().is_none_or(|first| first >= goal); // which takes no time
        let last = self.blocks.range(goal / BLOCK..).rev().nth(SPLIT_OFF).filter(|_| !is_all);
        last.map_or(goal, |(key, _)| goal.max(key * BLOCK))
    }

    /// Takes out the deliveries from a seq on, a whole block at a time. They are only to be dropped.
    pub(super) fn split_off(&mut self, from: u64) -> Self {
        let beside: Vec<u64> = self.range(from..from.next_multiple_of(BLOCK)).map(|(seq, _)| seq).collect();
        for seq in beside {
            self.remove(seq);
        }
        let from = from.div_ceil(BLOCK);
        if self.blocks.first_key_value().is_none_or(|(&first, _)| first >= from) {
            return std::mem::take(self);
        }
        let blocks = self.blocks.split_off(&from);
        self.ready_blocks.split_off(&from);
        for (&key, block) in &blocks {
            self.dues.remove(&(block.due, key));
            self.len -= block.entries.len() as u64;
            let ready = || Block::seqs((&key, block)).filter(|(_, pending)| pending.stage == Stage::Ready);
            if block.ready != 0 {
                self.ready -= ready().count() as u64;
                self.ready_bytes -= ready().map(|(_, pending)| pending.size).sum::<u64>();
            }
        }
        PendingMap { blocks, ..Self::default() }
    }

    /// Checks the invariants between operations.
    pub(super) fn check(&self) {
        let all = || self.range(0..u64::MAX);
        assert_eq!(all().count() as u64, self.len);
        let ready = || all().filter(|(_, pending)| pending.stage == Stage::Ready);
        assert_eq!(ready().count() as u64, self.ready);
        assert_eq!(ready().map(|(_, pending)| pending.size).sum::<u64>(), self.ready_bytes);
        assert_eq!(ready().next().map(|(seq, _)| seq), self.first_ready());
        for (&key, block) in &self.blocks {
            assert_eq!(block.present.count_ones() as usize, block.entries.len());
            assert!(block.present != 0 && block.ready & !block.present == 0);
            assert!(block.entries.iter().all(|pending| pending.until >= block.due));
            assert_eq!(block.due != NEVER, self.dues.contains(&(block.due, key)));
        }
        assert!(self.dues.iter().all(|(due, key)| self.blocks.get(key).is_some_and(|block| block.due == *due)));
    }
}

impl Block {
    fn seqs<'a>((&key, block): (&u64, &'a Block)) -> impl Iterator<Item = (u64, &'a Pending)> {
        let mut bits = block.present;
        block.entries.iter().map(move |pending| {
            let seq = key * BLOCK + u64::from(bits.trailing_zeros());
            bits &= bits - 1;
            (seq, pending)
        })
    }
}
