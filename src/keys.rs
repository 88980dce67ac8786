//! Keys of the consumers and groups of a queue.

/// Identifies a consumer: its place, and a serial number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerKey {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}

/// Identifies a group.
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

/// A consumer or group that other consumers can follow. They read a message only after it is done with that message. A
/// member represents its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor(pub(crate) Key);
