//! The cursors that someone waits at, so that nobody looks at all the others.

use slab::Slab;

use super::cursor::Cursor;
use super::roll::Roll;
use crate::wait::list::WaitList;

/// Keys of the cursors with waiters.
#[derive(Debug, Default)]
pub(super) struct Attended {
    /// Someone waits there for a message.
    readers: Roll,
    /// Someone waits there for a batch to fill.
    batches: Roll,
    /// Someone waits there for something to be missed.
    gaps: Roll,
    /// How many there are in all.
    count: usize,
}

impl Attended {
    /// Whether nobody waits at any cursor.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether nobody waits for a message.
    #[inline]
    pub(super) fn has_no_readers(&self) -> bool {
        self.readers.is_empty()
    }

    /// Cursors at which someone waits for a batch to fill.
    pub(super) fn batches(&self) -> &[usize] {
        self.batches.keys()
    }

    /// Cursors at which someone waits for something to be missed.
    pub(super) fn gaps(&self) -> &[usize] {
        self.gaps.keys()
    }

    /// Waiters came to a cursor, or left it.
    pub(super) fn update(&mut self, cursors: &mut Slab<Box<Cursor>>, key: usize) {
        update(&mut self.readers, cursors, key, |cursor| &mut cursor.readers);
        update(&mut self.batches, cursors, key, |cursor| &mut cursor.batches);
        update(&mut self.gaps, cursors, key, |cursor| &mut cursor.gap_waiters);
        self.count();
    }

    /// Shows every cursor at which someone waits for a message, in the order in which they came as long as all leave
    /// together. Those at which nobody waits afterwards are taken off.
    #[inline]
    pub(super) fn visit_readers(&mut self, cursors: &mut Slab<Box<Cursor>>, mut visit: impl FnMut(&mut Cursor)) {
        let keys = self.readers.take();
        for &key in &keys {
            visit(&mut cursors[key]);
            cursors[key].readers.place = None;
        }
        for &key in &keys {
            self.update(cursors, key);
        }
        self.readers.keep_room_of(keys);
        self.count();
    }

    fn count(&mut self) {
        self.count = [&self.readers, &self.batches, &self.gaps].iter().map(|roll| roll.keys().len()).sum();
    }

    /// Takes all off: their keys.
    pub(super) fn take(&mut self, cursors: &mut Slab<Box<Cursor>>) -> Vec<usize> {
        let mut keys = self.readers.take();
        keys.extend(self.batches.take());
        keys.extend(self.gaps.take());
        self.count = 0;
        for &key in &keys {
            cursors[key].readers.place = None;
            cursors[key].batches.place = None;
            cursors[key].gap_waiters.place = None;
        }
        keys
    }

    /// Checks what must hold between operations.
    pub(super) fn check(&self, cursors: &Slab<Box<Cursor>>) {
        let rolls = [&self.readers, &self.batches, &self.gaps];
        assert_eq!(self.count, rolls.iter().map(|roll| roll.keys().len()).sum::<usize>());
        for (key, cursor) in cursors {
            for (roll, list) in rolls.iter().zip([&cursor.readers, &cursor.batches, &cursor.gap_waiters]) {
                assert_eq!(list.place.is_none(), list.is_empty());
                assert!(list.place.is_none_or(|place| roll.keys()[place] == key));
            }
        }
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
