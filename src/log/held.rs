//! An amount of held messages.

/// An amount of held messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

impl Held {
    pub(super) fn add(&mut self, other: Held) {
        self.items += other.items;
        self.bytes += other.bytes;
    }

    pub(super) fn subtract(&mut self, other: Held) {
        self.items -= other.items;
        self.bytes -= other.bytes;
    }
}
