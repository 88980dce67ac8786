//! Hashing of ids, which are random as they are: a table that grows moves all of them, in one hold of the lock.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes random bits by themselves. Callers choose none of them.
pub(super) type ByBits = BuildHasherDefault<Bits>;

#[derive(Debug, Default)]
pub(super) struct Bits(u64);

impl Hasher for Bits {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length, which is the same for all.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
