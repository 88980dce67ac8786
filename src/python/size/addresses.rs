//! The set of addresses that an estimate has counted.

/// A set of addresses with open addressing. 0 means free. Small payloads fit into it without an allocation.
pub(super) struct Addresses {
    small: [usize; 64],
    /// Replaces `small` when that is full. Its length is a power of two.
    large: Vec<usize>,
    len: usize,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Addresses { small: [0; 64], large: Vec::new(), len: 0 }
    }

    /// Adds an address. Returns whether it is new.
    #[inline]
    pub(super) fn insert(&mut self, address: usize) -> bool {
        let table = if self.large.is_empty() { &mut self.small[..] } else { &mut self.large[..] };
        let is_new = Self::insert_into(table, address);
        self.len += usize::from(is_new);
        if self.len * 2 > table.len() {
            self.grow();
        }
        is_new
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let table = if self.large.is_empty() { &self.small[..] } else { &self.large[..] };
        let mut larger = vec![0; table.len() * 4];
        for address in table.iter().copied().filter(|address| *address != 0) {
            Self::insert_into(&mut larger, address);
        }
        self.large = larger;
    }

    /// The length of `table` is a power of two, and it has a free place.
    #[inline]
    fn insert_into(table: &mut [usize], address: usize) -> bool {
        // The upper half of the product depends on all bits of the address, whose lower bits are always 0.
        let hash = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let mask = table.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            match table[place] {
                0 => {
                    table[place] = address;
                    return true;
                }
                known if known == address => return false,
                _ => place = (place + 1) & mask,
            }
        }
    }
}
