//! Which slots of a chunk match a filter.

use std::ops::Range;

use super::held::Held;
use super::rising::Rising;

/// The slots of a chunk that match a filter. At least one of them holds a message.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Place of the filter.
    pub(super) filter: u32,
    /// The number of the first match.
    first: u64,
    /// The slots that match. Some of them may be holes.
    slots: Rising,
    /// The numbers of the matches, relative to `first`. Empty: they are consecutive.
    numbers: Vec<u32>,
    /// How many matches are held.
    pub(super) held: Held,
}

impl Segment {
    pub(super) fn new(filter: u32, first: u64) -> Self {
        Segment { filter, first, slots: Rising::default(), numbers: Vec::new(), held: Held::default() }
    }

    /// Adds held messages in slots after the others, numbered from `number` on.
    #[inline]
    pub(super) fn push_all(&mut self, slots: impl ExactSizeIterator<Item = usize>, number: u64, held: Held) {
        slots.zip(number..).for_each(|(slot, number)| self.push(slot, number));
        self.held.add(held);
    }

    /// Adds a held message in a slot after the others.
    #[inline]
    pub(super) fn push_one(&mut self, slot: usize, number: u64, bytes: u64) {
        self.push(slot, number);
        self.held.add(Held { items: 1, bytes });
    }

    /// Adds all slots of a range, numbered from `number` on.
    #[inline]
    pub(super) fn push_range(&mut self, slots: Range<usize>, number: u64, held: Held) {
        let is_next = self.numbers.is_empty() && number == self.first + slots.start as u64;
        if is_next && self.slots.extend_first(slots.start, slots.end) {
            self.held.add(held);
        } else {
            self.push_all(slots, number, held);
        }
    }

    #[inline]
    fn push(&mut self, slot: usize, number: u64) {
        if !self.numbers.is_empty() || number != self.first + self.slots.len() as u64 {
            if self.numbers.is_empty() {
                self.numbers = (0..self.slots.len() as u32).collect();
            }
            self.numbers.push((number - self.first) as u32);
        }
        self.slots.push(slot);
    }

    /// The number of the match after so many others.
    fn number(&self, rank: usize) -> u64 {
        self.first + self.numbers.get(rank).map_or(rank as u64, |&number| u64::from(number))
    }

    /// The matches from a slot on, including holes: slot and number.
    pub(super) fn from(&self, slot: usize) -> impl Iterator<Item = (usize, u64)> {
        self.slots.from(slot).map(|(slot, rank)| (slot, self.number(rank)))
    }

    /// How many matches are held from a slot on. None: there are holes.
    pub(super) fn count_without_holes(&self, slot: usize) -> Option<u64> {
        (self.held.items == self.slots.len() as u64).then(|| (self.slots.len() - self.slots.rank(slot)) as u64)
    }

    /// Keeps only these slots of the chunk, which are all that hold a message.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        let (mut slots, mut numbers) = (Rising::default(), Vec::new());
        let mut matches = self.from(0).peekable();
        for (slot, &old) in kept.iter().enumerate() {
            while matches.next_if(|&(other, _)| other < old).is_some() {}
            if let Some((_, number)) = matches.next_if(|&(other, _)| other == old) {
                slots.push(slot);
                numbers.push(number);
            }
        }
        drop(matches);
        self.first = numbers.first().copied().unwrap_or(self.first);
        let is_consecutive = numbers.last().is_none_or(|last| last - self.first + 1 == numbers.len() as u64);
        let offsets = if is_consecutive { &[][..] } else { &numbers };
        self.numbers = offsets.iter().map(|number| (number - self.first) as u32).collect();
        self.slots = slots;
    }

    /// Takes over the matches of the next chunk, whose slots move up by `shift`.
    pub(super) fn absorb(&mut self, other: &Segment, shift: usize) {
        other.from(0).for_each(|(slot, number)| self.push(slot + shift, number));
        self.held.add(other.held);
    }

    /// A copy with all slots moved up by `by`.
    pub(super) fn shifted(&self, by: usize) -> Self {
        let mut slots = Rising::default();
        self.slots.from(0).for_each(|(slot, _)| slots.push(slot + by));
        Segment { filter: self.filter, first: self.first, slots, numbers: self.numbers.clone(), held: self.held }
    }

    /// Frees unused capacity.
    pub(super) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
        self.numbers.shrink_to_fit();
    }

    /// Checks the invariants between operations. All numbers are below `next`.
    pub(super) fn check(&self, next: u64) {
        assert!(self.slots.from(0).is_sorted_by(|one, other| one.0 < other.0 && one.1 + 1 == other.1));
        assert_eq!(self.slots.from(0).count(), self.slots.len());
        assert!(self.held.items > 0);
        assert!(self.numbers.is_empty() || self.numbers.len() == self.slots.len());
        assert!(self.numbers.is_sorted_by(|one, other| one < other));
        assert!(self.number(self.slots.len() - 1) < next);
    }
}
