//! Who is meant: keys of what a queue has.

/// Which consumer: its place, and a serial number that no other ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerKey {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}

/// Which group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupKey {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}
