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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Consumer(ConsumerKey),
    Group(GroupKey),
}

/// A consumer or group that others may be put after: they read a message only once it is done with it. A member stands for its
/// group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor(pub(crate) Key);
