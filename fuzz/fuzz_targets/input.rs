//! The input that the fuzzer generates: the options of a queue, and the operations on it.

use arbitrary::Arbitrary;
use mpmc_queue::{Lifetime, Settle};

/// The unit of time, so that moments often coincide.
pub(crate) const TICK: u64 = 1000;

#[derive(Arbitrary, Debug)]
pub(crate) struct Input {
    pub(crate) setup: Setup,
    pub(crate) operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Setup {
    pub(crate) ttl: Option<u8>,
    pub(crate) max_bytes: Bytes,
    pub(crate) max_items: Option<u16>,
    pub(crate) interest: bool,
    pub(crate) drops: bool,
    pub(crate) audit: bool,
    pub(crate) read_times: bool,
    pub(crate) dead_items: Option<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Bytes {
    Of(u16),
    Thousands(u8),
    /// This much less than the largest number.
    Short(u8),
    Half,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Life {
    Queue,
    Own(u8),
    Forever,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Place {
    Earliest,
    Latest,
    Seq(u16),
    Back(u16),
    Time(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Say {
    Ack,
    Nack(u8),
    Term,
    InProgress,
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Operation {
    Enqueue(u8, Life),
    EnqueueLarge(Bytes),
    Batch(u16, u8),
    Read(u8, u16),
    ReadOne(u8),
    ReadAll(u8),
    Peek(u8),
    AddConsumer(Place, bool),
    CloseReader(u8),
    Seek(u8, Place),
    TakeMissed(u8),
    History(u8, u8),
    Readings(u16),
    AddGroup {
        start: Place,
        ack_wait: Option<u8>,
        max_deliver: Option<u8>,
        backoff: Vec<u8>,
        max_pending: Option<u8>,
        buries: bool,
    },
    AddMember(u8),
    CloseGroup(u8),
    Settle(u8, Say),
    SettleAll(Say),
    Advance(u8),
    SetWall(u16),
    SetTtl(Option<u8>),
    SetExpires(bool),
    SetMaxBytes(Bytes),
    SetMaxItems(Option<u16>),
    Force,
    ReadDead(u8),
    CloseDead,
    Close(bool),
    /// Enqueues this many messages one by one, and reads after some of each 16.
    Stream {
        count: u16,
        size: u8,
        who: u8,
        reads: u8,
    },
}

impl Bytes {
    pub(crate) fn get(self) -> u64 {
        match self {
            Bytes::Of(bytes) => bytes.into(),
            Bytes::Thousands(thousands) => u64::from(thousands) * 1000,
            Bytes::Short(short) => u64::MAX - u64::from(short),
            Bytes::Half => u64::MAX / 2,
        }
    }
}

impl Life {
    pub(crate) fn get(self) -> Lifetime {
        match self {
            Life::Queue => Lifetime::Queue,
            Life::Own(ticks) => Lifetime::Own(u64::from(ticks) * TICK),
            Life::Forever => Lifetime::Forever,
        }
    }
}

impl Say {
    pub(crate) fn get(self) -> Settle {
        match self {
            Say::Ack => Settle::Ack,
            Say::Nack(ticks) => Settle::Nack(u64::from(ticks) * TICK),
            Say::Term => Settle::Term,
            Say::InProgress => Settle::InProgress,
        }
    }
}

pub(crate) fn ticks(count: Option<u8>) -> Option<u64> {
    count.map(|count| u64::from(count) * TICK)
}
