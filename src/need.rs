//! How much of a queue a message or a batch needs.

use crate::topics::Topic;

/// Bytes charged for each held message in addition to its payload: its slot, and its share of the slot's chunk.
pub const MESSAGE_OVERHEAD: u64 = 40;

/// Bytes charged for each pending delivery of an acknowledging group, in addition to the charge of its message.
pub const PENDING_OVERHEAD: u64 = 56;

/// Bytes charged for a message with a topic, in addition to the charge of every message: its place in the tables.
pub const TOPIC_OVERHEAD: u64 = 6;

/// Bytes charged for a topic, in addition to its text, while a message under it is held.
pub const TOPIC_ENTRY: u64 = 128;

/// How much a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes of payload.
    pub bytes: u64,
    /// Messages.
    pub items: u64,
}

impl Need {
    /// No need at all.
    pub(crate) const NONE: Need = Need { bytes: 0, items: 0 };

    /// The sum of both needs.
    pub(crate) fn and(self, other: Need) -> Self {
        Need { bytes: self.bytes.saturating_add(other.bytes), items: self.items.saturating_add(other.items) }
    }

    /// The need of one message.
    pub fn one(size: u64) -> Self {
        Need { bytes: size, items: 1 }
    }

    /// The need of a batch: all bytes and all messages.
    pub(crate) fn all<'a>(sizes: impl ExactSizeIterator<Item = &'a u64>) -> Self {
        let items = sizes.len() as u64;
        Need { bytes: sizes.fold(0, |sum, size| sum.saturating_add(*size)), items }
    }

    /// The need under a topic, if no other message is held under that topic.
    pub fn under(self, topic: Option<&Topic>) -> Self {
        match topic {
            Some(topic) if self.items > 0 => {
                let text = topic.as_str().len() as u64 + TOPIC_ENTRY;
                self.with_topic(self.items.saturating_mul(TOPIC_OVERHEAD).saturating_add(text))
            }
            _ => self,
        }
    }

    /// The same need with a charge for a topic.
    pub(crate) fn with_topic(self, charge: u64) -> Self {
        Need { bytes: self.bytes.saturating_add(charge), ..self }
    }

    /// The bytes charged for it: the payloads and their overhead.
    pub fn charge(self) -> u64 {
        self.bytes.saturating_add(self.items.saturating_mul(MESSAGE_OVERHEAD))
    }
}
