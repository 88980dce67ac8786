//! Hashing of ids. Ids are random already. A table that grows rehashes all of them in one hold of the lock.

use std::hash::{BuildHasherDefault, Hasher};

/// Uses random bits as their own hash. Callers cannot choose any of the bits.
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
        // The length is the same for all ids.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
