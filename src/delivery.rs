//! A message as a consumer receives it.

use crate::keys::GroupKey;
use crate::topics::Topic;

/// One message as a consumer receives it.
#[derive(Debug)]
pub struct Delivery<'a, T> {
    /// The payload that was enqueued.
    pub payload: &'a T,
    /// Its place in the queue, without gaps, in the order of enqueueing.
    pub seq: u64,
    /// Payload bytes charged for it.
    pub size: u64,
    /// When it was enqueued: wall clock, nanoseconds since the epoch.
    pub created: u64,
    /// The topic that it was enqueued under.
    pub topic: Option<&'a Topic>,
    /// How many messages the consumer missed just before this one.
    pub missed: u64,
    /// How often it was delivered, including this time.
    pub deliveries: u32,
    /// The receipt to settle it with, in an acknowledging group.
    pub receipt: Option<Receipt>,
}

/// One delivery of an acknowledging group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) group: GroupKey,
    pub(crate) seq: u64,
    /// Which delivery of the group it is.
    pub(crate) number: u64,
}
