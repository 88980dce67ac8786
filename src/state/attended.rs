//! The cursors that have waiters. So a call does not have to check all cursors.

use slab::Slab;

use super::cursor::Cursor;
use super::roll::Roll;
use crate::wait::list::WaitList;

/// Keys of the cursors with waiters.
#[derive(Debug)]
pub(super) struct Attended {
    /// Cursors with waiters for a message: first those without a filter, then the others, by filter. A message wakes no
    /// reader whose filter it does not match.
    readers: Vec<Roll>,
    /// Someone waits there for a batch to fill: the same.
    batches: Vec<Roll>,
    /// Someone waits there for something to be missed.
    gaps: Roll,
    /// Number of entries that every message concerns: those without a filter, and those that wait for a batch or for
    /// missed messages.
    count: usize,
}

impl Default for Attended {
    fn default() -> Self {
        let rolls = || vec![Roll::default()];
        Attended { readers: rolls(), batches: rolls(), gaps: Roll::default(), count: 0 }
    }
}

/// Place of the list of readers with this filter.
fn roll(filter: Option<usize>) -> usize {
    filter.map_or(0, |filter| filter + 1)
}

impl Attended {
    /// The number of entries that every message concerns.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether no reader with this filter waits for a message.
    #[inline]
    pub(super) fn has_no_readers(&self, filter: Option<usize>) -> bool {
        self.readers.get(roll(filter)).is_none_or(Roll::is_empty)
    }

    /// Whether nobody with this filter waits for a message, or for a batch to fill.
    #[inline]
    pub(super) fn has_none(&self, filter: Option<usize>) -> bool {
        self.has_no_readers(filter) && self.batches(filter).is_empty()
    }

    /// Cursors with this filter at which someone waits for a batch to fill.
    pub(super) fn batches(&self, filter: Option<usize>) -> &[usize] {
        self.batches.get(roll(filter)).map_or(&[], Roll::keys)
    }

    /// How many lists of those there are, one for each filter, and one without.
    pub(super) fn lists(&self) -> impl Iterator<Item = Option<usize>> + use<> {
        (0..self.batches.len()).map(|place| place.checked_sub(1))
    }

    /// Cursors with waiters for missed messages.
    pub(super) fn gaps(&self) -> &[usize] {
        self.gaps.keys()
    }

    /// Updates the lists after waiters were added to a cursor or left it.
    pub(super) fn update(&mut self, cursors: &mut Slab<Box<Cursor>>, key: usize) {
        update_filtered(&mut self.readers, cursors, key, |cursor| &mut cursor.readers);
        update_filtered(&mut self.batches, cursors, key, |cursor| &mut cursor.batches);
        update(&mut self.gaps, cursors, key, |cursor| &mut cursor.gap_waiters);
        self.count();
    }

    /// Visits every cursor with this filter that has waiters for a message. The order is that of arrival, as long as
    /// all leave together. A cursor that has no waiters after its visit is removed from the list.
    #[inline]
    pub(super) fn visit_readers(
        &mut self,
        filter: Option<usize>,
        cursors: &mut Slab<Box<Cursor>>,
        mut visit: impl FnMut(&mut Cursor),
    ) {
        let keys = self.readers[roll(filter)].take();
        for &key in &keys {
            visit(&mut cursors[key]);
            cursors[key].readers.place = None;
        }
        for &key in &keys {
            self.update(cursors, key);
        }
        self.readers[roll(filter)].keep_room_of(keys);
        self.count();
    }

    fn count(&mut self) {
        self.count = [&self.readers[0], &self.batches[0], &self.gaps].iter().map(|roll| roll.keys().len()).sum();
    }

    /// Removes all cursors, and returns their keys.
    pub(super) fn take(&mut self, cursors: &mut Slab<Box<Cursor>>) -> Vec<usize> {
        let mut keys: Vec<usize> = self.readers.iter_mut().flat_map(Roll::take).collect();
        keys.extend(self.batches.iter_mut().flat_map(Roll::take));
        keys.extend(self.gaps.take());
        self.count = 0;
        for &key in &keys {
            cursors[key].readers.place = None;
            cursors[key].batches.place = None;
            cursors[key].gap_waiters.place = None;
        }
        keys
    }

    /// Checks the invariants between operations.
    pub(super) fn check(&self, cursors: &Slab<Box<Cursor>>) {
        let rolls = [&self.readers[0], &self.batches[0], &self.gaps];
        assert_eq!(self.count, rolls.iter().map(|roll| roll.keys().len()).sum::<usize>());
        let none = Roll::default();
        for (key, cursor) in cursors {
            let readers = self.readers.get(roll(cursor.filter)).unwrap_or(&none);
            let batches = self.batches.get(roll(cursor.filter)).unwrap_or(&none);
            let rolls = [readers, batches, &self.gaps];
            for (roll, list) in rolls.iter().zip([&cursor.readers, &cursor.batches, &cursor.gap_waiters]) {
                assert_eq!(list.place.is_none(), list.is_empty());
                assert!(list.place.is_none_or(|place| roll.keys()[place] == key));
            }
        }
    }
}

/// The same where there is a roll for each filter.
fn update_filtered(
    rolls: &mut Vec<Roll>,
    cursors: &mut Slab<Box<Cursor>>,
    key: usize,
    list: fn(&mut Cursor) -> &mut WaitList,
) {
    let Some(cursor) = cursors.get_mut(key) else { return };
    let place = roll(cursor.filter);
    if place >= rolls.len() && !list(cursor).is_empty() {
        rolls.resize_with(place + 1, Roll::default);
    }
    if let Some(roll) = rolls.get_mut(place) {
        update(roll, cursors, key, list);
    }
}

fn update(roll: &mut Roll, cursors: &mut Slab<Box<Cursor>>, key: usize, list: fn(&mut Cursor) -> &mut WaitList) {
    let Some(cursor) = cursors.get_mut(key) else { return };
    let list_here = list(cursor);
    match (list_here.is_empty(), list_here.place) {
        (false, None) => list_here.place = Some(roll.enter(key)),
        (true, Some(place)) => {
            list_here.place = None;
            if let Some(moved) = roll.leave(place) {
                list(&mut cursors[moved]).place = Some(place);
            }
        }
        _ => {}
    }
}
