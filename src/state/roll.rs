//! Keys in no particular order, of which each knows its place: entering and leaving cost the same however many there are.

/// The keys. Whoever is entered keeps its place, and is told when another key moves there.
#[derive(Debug, Default)]
pub(super) struct Roll {
    keys: Vec<usize>,
}

impl Roll {
    /// Enters a key, and returns its place.
    pub(super) fn enter(&mut self, key: usize) -> usize {
        self.keys.push(key);
        self.keys.len() - 1
    }

    /// Takes out what is at a place. Returns the key that has moved there, if one has.
    pub(super) fn leave(&mut self, place: usize) -> Option<usize> {
        self.keys.swap_remove(place);
        self.keys.get(place).copied()
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.keys)
    }

    /// Uses the memory of a list again, if it has none.
    pub(super) fn keep_room_of(&mut self, mut keys: Vec<usize>) {
        if self.keys.capacity() == 0 {
            keys.clear();
            self.keys = keys;
        }
    }

    pub(super) fn keys(&self) -> &[usize] {
        &self.keys
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
