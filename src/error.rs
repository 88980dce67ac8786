//! Errors, as values.

use std::fmt;

/// Which limit a message or batch does not fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max_bytes`: the figures are bytes, overhead included.
    Memory,
    /// `max_items`: the figures are messages.
    Items,
}

/// The figures of a refusal. Nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The limit that was reached.
    pub limit: Limit,
    /// How much the queue holds now.
    pub current: u64,
    /// The limit itself.
    pub max: u64,
    /// The need of this call plus the need of the producers that wait ahead of it. There must be room for all of them.
    pub needed: u64,
    /// The part of `needed` that belongs to the producers ahead.
    pub ahead: u64,
}

impl Full {
    /// Whether the message or batch would not fit into an empty queue either, so that waiting does not help.
    pub fn is_hopeless(&self) -> bool {
        self.needed - self.ahead > self.max
    }
}

/// Why a call on a queue or a consumer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The message or batch does not fit.
    Full(Full),
    /// The queue is closed (and, for a read, nothing is left).
    Closed,
    /// The consumer was removed from its queue.
    ConsumerClosed,
    /// This many messages were removed before the consumer read them. Reported once; the next read continues.
    Missed(u64),
    /// The group was closed.
    GroupClosed,
    /// Another group of the queue has that name.
    NameTaken,
    /// The call needs a position, and a member of a group has none of its own.
    IsMember,
    /// A position beyond the next message; the value is the queue's next seq.
    BeyondEnd(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Full(full) => {
                let unit = match full.limit {
                    Limit::Memory => "bytes",
                    Limit::Items => "messages",
                };
                let Full { current, max, needed, ahead, .. } = full;
                write!(f, "the queue is full: it holds {current} of {max} {unit}, and {needed} more do not fit")?;
                if *ahead > 0 {
                    write!(f, ", {ahead} of which others wait for, ahead in line")?;
                }
                Ok(())
            }
            Error::Closed => f.write_str("the queue is closed"),
            Error::ConsumerClosed => f.write_str("the consumer was removed from its queue"),
            Error::Missed(count) => write!(f, "{count} messages left before this consumer read them"),
            Error::GroupClosed => f.write_str("the group was closed"),
            Error::NameTaken => f.write_str("another group of the queue has that name"),
            Error::IsMember => {
                f.write_str("a member of a group has no position of its own: it shares that of the group")
            }
            Error::BeyondEnd(next) => write!(f, "the position is beyond the next message, {next}"),
        }
    }
}

impl std::error::Error for Error {}
