//! A list of keys in no particular order. The owner of each key stores its place, so adding and removing
//! cost the same at any length.

/// The keys. The owner of a key stores its place. When another key moves to a place, its owner is told the new one.
#[derive(Debug, Default)]
pub(super) struct Roll {
    keys: Vec<usize>,
}

impl Roll {
    /// Adds a key, and returns its place.
    pub(super) fn enter(&mut self, key: usize) -> usize {
        self.keys.push(key);
        self.keys.len() - 1
    }

    /// Removes the key at a place. Returns the key that has moved there, if there is one.
    pub(super) fn leave(&mut self, place: usize) -> Option<usize> {
        self.keys.swap_remove(place);
        self.keys.get(place).copied()
    }

    /// Removes and returns all keys.
    pub(super) fn take(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.keys)
    }

    /// Reuses the memory of a list, if this one has none.
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
