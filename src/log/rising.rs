//! Slots of a chunk in ascending order, in little memory.

use super::slot::CHUNK_SIZE;

/// A list of more slots than this takes more memory than one bit for each slot of a chunk.
const LISTED: usize = if cfg!(debug_assertions) { 5 } else { 80 };
/// Room for so many slots in a new list. A list that ends shorter is cut.
const AT_FIRST: usize = 12;
const WORDS: usize = CHUNK_SIZE.div_ceil(64);

/// Slots in ascending order.
#[derive(Clone, Debug)]
pub(super) enum Rising {
    /// All slots before this one.
    First(usize),
    List(Vec<u16>),
    Bits(Box<Bits>),
}

/// One bit for each slot of a chunk.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: [u64; WORDS],
    /// How many slots are in the words before each one, up to the word of the last slot.
    before: [u16; WORDS],
    last: usize,
    len: usize,
}

impl Bits {
    fn of(slots: &[u16]) -> Self {
        let mut bits = Bits { words: [0; WORDS], before: [0; WORDS], last: 0, len: 0 };
        slots.iter().for_each(|&slot| bits.push(usize::from(slot)));
        bits
    }

    #[inline]
    fn push(&mut self, slot: usize) {
        let (word, bit) = (slot / 64, slot % 64);
        self.before[self.last / 64 + 1..=word].fill(self.len as u16);
        self.words[word] |= 1 << bit;
        (self.last, self.len) = (slot, self.len + 1);
    }

    /// How many slots are before this one.
    fn rank(&self, slot: usize) -> usize {
        if slot > self.last {
            return self.len;
        }
        let (word, bit) = (slot / 64, slot % 64);
        usize::from(self.before[word]) + (self.words[word] & ((1 << bit) - 1)).count_ones() as usize
    }

    /// The first slot at or after this one.
    fn next(&self, slot: usize) -> Option<usize> {
        let mut word = slot / 64;
        let mut left = self.words.get(word)? & (u64::MAX << (slot % 64));
        while left == 0 {
            word += 1;
            left = *self.words.get(word)?;
        }
        Some(word * 64 + left.trailing_zeros() as usize)
    }
}

impl Default for Rising {
    fn default() -> Self {
        Rising::First(0)
    }
}

impl Rising {
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Rising::First(len) => *len,
            Rising::List(list) => list.len(),
            Rising::Bits(bits) => bits.len,
        }
    }

    /// Adds a slot after all others.
    #[inline]
    pub(super) fn push(&mut self, slot: usize) {
        match self {
            Rising::First(len) if *len == slot => *len += 1,
            Rising::List(list) if list.len() < LISTED => list.push(slot as u16),
            Rising::Bits(bits) => bits.push(slot),
            _ => self.push_as_other(slot),
        }
    }

    /// Adds a slot that its kind of list cannot take.
    #[cold]
    fn push_as_other(&mut self, slot: usize) {
        let mut list = match std::mem::take(self) {
            Rising::First(len) => {
                let mut list = Vec::with_capacity(len + AT_FIRST);
                list.extend(0..len as u16);
                list
            }
            Rising::List(list) => list,
            Rising::Bits(_) => return,
        };
        list.push(slot as u16);
        *self = match list.len() <= LISTED {
            true => Rising::List(list),
            false => Rising::Bits(Box::new(Bits::of(&list))),
        };
    }

    /// Adds all slots of a range, if they continue those from the first slot of the chunk on. Returns whether they do.
    #[inline]
    pub(super) fn extend_first(&mut self, from: usize, end: usize) -> bool {
        match self {
            Rising::First(len) if *len == from => {
                *len = end;
                true
            }
            _ => false,
        }
    }

    /// How many slots are before this one.
    pub(super) fn rank(&self, slot: usize) -> usize {
        match self {
            Rising::First(len) => slot.min(*len),
            Rising::List(list) => list.partition_point(|&other| usize::from(other) < slot),
            Rising::Bits(bits) => bits.rank(slot),
        }
    }

    /// The slots at or after this one, each with how many are before it.
    pub(super) fn from(&self, slot: usize) -> impl Iterator<Item = (usize, usize)> {
        let (mut rank, mut slot) = (self.rank(slot), slot);
        std::iter::from_fn(move || {
            let found = match self {
                Rising::First(len) => (rank < *len).then_some(rank),
                Rising::List(list) => list.get(rank).map(|&found| usize::from(found)),
                Rising::Bits(bits) => bits.next(slot),
            }?;
            slot = found + 1;
            rank += 1;
            Some((found, rank - 1))
        })
    }

    /// Frees unused capacity.
    pub(super) fn shrink_to_fit(&mut self) {
        if let Rising::List(list) = self {
            list.shrink_to_fit();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_set() {
        let mut seed = 11u64;
        for round in 0..300 {
            let mut chance = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed >> 40
            };
            let (first, every) = (chance() as usize % 90, 1 + chance() % [2, 40, 400][round % 3]);
            let slots: Vec<usize> =
                (0..CHUNK_SIZE).filter(|&slot| slot < first || chance().is_multiple_of(every)).collect();
            let mut rising = Rising::default();
            let begins = rising.extend_first(0, first);
            assert!(begins && rising.len() == first);
            slots.iter().skip(first).for_each(|&slot| rising.push(slot));
            assert_eq!(rising.len(), slots.len());
            for slot in (0..=CHUNK_SIZE).step_by(1 + chance() as usize % 7) {
                let rank = slots.partition_point(|&other| other < slot);
                assert_eq!(rising.rank(slot), rank, "{slot} in {rising:?}");
                assert!(rising.from(slot).eq(slots[rank..].iter().copied().zip(rank..)));
            }
        }
    }
}
