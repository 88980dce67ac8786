//! Which slots of a chunk match a filter.

use std::ops::Range;

use super::held::Held;

/// Slots in ascending order. If they are all slots of the chunk from the first on, no list is needed.
#[derive(Clone, Debug, Default)]
struct Rising {
    len: usize,
    /// Empty: the slots are all those below `len`.
    list: Vec<u16>,
}

impl Rising {
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn push(&mut self, slot: usize) {
        if slot != self.len || !self.list.is_empty() {
            if self.list.is_empty() {
                self.list = (0..self.len as u16).collect();
            }
            self.list.push(slot as u16);
        }
        self.len += 1;
    }

    /// Whether these are exactly the slots before `slot`.
    fn ends_at(&self, slot: usize) -> bool {
        self.list.is_empty() && self.len == slot
    }

    /// The slot at a place.
    #[inline]
    fn get(&self, place: usize) -> usize {
        self.list.get(place).map_or(place, |&slot| usize::from(slot))
    }

    /// The place of the first slot in the list that is at or after `slot`.
    fn place(&self, slot: usize) -> usize {
        match self.list.is_empty() {
            true => slot.min(self.len),
            false => self.list.partition_point(|&other| usize::from(other) < slot),
        }
    }
}

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

    /// Adds all slots of a range, numbered from `number` on.
    #[inline]
    pub(super) fn push_range(&mut self, slots: Range<usize>, number: u64, held: Held) {
        let is_whole = self.slots.ends_at(slots.start);
        if is_whole && self.numbers.is_empty() && number == self.first + slots.start as u64 {
            self.slots.len = slots.end;
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

    fn number(&self, place: usize) -> u64 {
        self.first + self.numbers.get(place).map_or(place as u64, |&number| u64::from(number))
    }

    /// The matches from a slot on, including holes: slot and number.
    pub(super) fn from(&self, slot: usize) -> impl Iterator<Item = (usize, u64)> {
        (self.slots.place(slot)..self.slots.len()).map(|place| (self.slots.get(place), self.number(place)))
    }

    /// How many matches are held from a slot on. None: there are holes.
    pub(super) fn count_without_holes(&self, slot: usize) -> Option<u64> {
        (self.held.items == self.slots.len() as u64).then(|| (self.slots.len() - self.slots.place(slot)) as u64)
    }

    /// Keeps only these slots of the chunk, which are all that hold a message.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        let (mut slots, mut numbers) = (Rising::default(), Vec::new());
        let mut places = (0..self.slots.len()).peekable();
        for (slot, &old) in kept.iter().enumerate() {
            while places.next_if(|&place| self.slots.get(place) < old).is_some() {}
            if let Some(place) = places.next_if(|&place| self.slots.get(place) == old) {
                slots.push(slot);
                numbers.push(self.number(place));
            }
        }
        self.first = numbers.first().copied().unwrap_or(self.first);
        let is_consecutive = numbers.last().is_none_or(|last| last - self.first + 1 == numbers.len() as u64);
        let offsets = if is_consecutive { &[][..] } else { &numbers };
        self.numbers = offsets.iter().map(|number| (number - self.first) as u32).collect();
        self.slots = slots;
    }

    /// Takes over the matches of the next chunk, whose slots move up by `shift`.
    pub(super) fn absorb(&mut self, other: &Segment, shift: usize) {
        for place in 0..other.slots.len() {
            self.push(other.slots.get(place) + shift, other.number(place));
        }
        self.held.add(other.held);
    }

    /// A copy with all slots moved up by `by`.
    pub(super) fn shifted(&self, by: usize) -> Self {
        let mut slots = Rising::default();
        (0..self.slots.len()).for_each(|place| slots.push(self.slots.get(place) + by));
        Segment { filter: self.filter, first: self.first, slots, numbers: self.numbers.clone(), held: self.held }
    }

    /// Frees unused capacity.
    pub(super) fn shrink_to_fit(&mut self) {
        self.slots.list.shrink_to_fit();
        self.numbers.shrink_to_fit();
    }

    /// Checks the invariants between operations. All numbers are below `next`.
    pub(super) fn check(&self, next: u64) {
        assert!((0..self.slots.len()).map(|place| self.slots.get(place)).is_sorted_by(|one, other| one < other));
        assert!(self.held.items > 0);
        assert!(self.numbers.is_empty() || self.numbers.len() == self.slots.len());
        assert!(self.numbers.is_sorted_by(|one, other| one < other));
        assert!(self.number(self.slots.len() - 1) < next);
    }
}
