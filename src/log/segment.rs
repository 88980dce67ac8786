//! Which slots of a chunk match a filter.

use super::held::Held;

/// The slots of a chunk that match a filter. At least one of them holds a message.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Place of the filter.
    pub(super) filter: u32,
    /// The number of the first.
    first: u64,
    /// The slots, in order; some may be holes.
    slots: Vec<u16>,
    /// Their numbers, from that of the first on; empty: consecutive.
    numbers: Vec<u32>,
    /// What is held of them.
    pub(super) held: Held,
}

impl Segment {
    pub(super) fn new(filter: u32, first: u64) -> Self {
        Segment { filter, first, slots: Vec::new(), numbers: Vec::new(), held: Held::default() }
    }

    /// Enters a message that is held in a slot behind the others.
    #[inline]
    pub(super) fn push(&mut self, slot: usize, number: u64, size: u64) {
        if !self.numbers.is_empty() || number != self.first + self.slots.len() as u64 {
            if self.numbers.is_empty() {
                self.numbers = (0..self.slots.len() as u32).collect();
            }
            self.numbers.push((number - self.first) as u32);
        }
        self.slots.push(slot as u16);
        self.held.items += 1;
        self.held.bytes += size;
    }

    fn number(&self, place: usize) -> u64 {
        self.first + self.numbers.get(place).map_or(place as u64, |&number| u64::from(number))
    }

    /// Those from a slot on, holes among them: slot and number.
    pub(super) fn from(&self, slot: usize) -> impl Iterator<Item = (usize, u64)> {
        let from = self.place(slot);
        self.slots.iter().enumerate().skip(from).map(|(place, &slot)| (usize::from(slot), self.number(place)))
    }

    /// Place of the first one at or after a slot.
    fn place(&self, slot: usize) -> usize {
        self.slots.partition_point(|&other| usize::from(other) < slot)
    }

    /// How many are held from a slot on, where there are no holes.
    pub(super) fn count_without_holes(&self, slot: usize) -> Option<u64> {
        (self.held.items == self.slots.len() as u64).then(|| (self.slots.len() - self.place(slot)) as u64)
    }

    /// The chunk keeps these slots alone, which are all that hold a message.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        let (mut slots, mut numbers) = (Vec::new(), Vec::new());
        let mut places = self.slots.iter().enumerate().peekable();
        for (slot, &old) in kept.iter().enumerate() {
            while places.next_if(|&(_, &other)| usize::from(other) < old).is_some() {}
            if let Some((place, _)) = places.next_if(|&(_, &other)| usize::from(other) == old) {
                slots.push(slot as u16);
                numbers.push(self.number(place));
            }
        }
        self.first = numbers.first().copied().unwrap_or(self.first);
        let is_consecutive = numbers.last().is_none_or(|last| last - self.first + 1 == numbers.len() as u64);
        let offsets = if is_consecutive { &[][..] } else { &numbers };
        self.numbers = offsets.iter().map(|number| (number - self.first) as u32).collect();
        self.slots = slots;
    }

    /// Takes over those of the next chunk, of which all slots are moved up by so many.
    pub(super) fn absorb(&mut self, other: &Segment, shift: usize) {
        let held = Held { items: self.held.items + other.held.items, bytes: self.held.bytes + other.held.bytes };
        for (place, &slot) in other.slots.iter().enumerate() {
            self.push(usize::from(slot) + shift, other.number(place), 0);
        }
        self.held = held;
    }

    /// The same with all slots moved up by so many.
    pub(super) fn shifted(&self, by: usize) -> Self {
        let slots = self.slots.iter().map(|slot| slot + by as u16).collect();
        Segment { filter: self.filter, first: self.first, slots, numbers: self.numbers.clone(), held: self.held }
    }

    /// Gives back the room that is left.
    pub(super) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
        self.numbers.shrink_to_fit();
    }

    /// Checks what must hold between operations: all numbers are below `next`.
    pub(super) fn check(&self, next: u64) {
        assert!(self.slots.is_sorted_by(|one, other| one < other) && self.held.items > 0);
        assert!(self.numbers.is_empty() || self.numbers.len() == self.slots.len());
        assert!(self.numbers.is_sorted_by(|one, other| one < other));
        assert!(self.number(self.slots.len() - 1) < next);
    }
}
