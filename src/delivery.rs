//! A message as it is handed over.

use crate::keys::GroupKey;
use crate::topics::Topic;

/// One message as it is handed over.
#[derive(Debug)]
pub struct Delivery<'a, T> {
    /// What was enqueued.
    pub payload: &'a T,
    /// Its place in the queue, gapless in enqueue order.
    pub seq: u64,
    /// Payload bytes accounted for it.
    pub size: u64,
    /// When it was enqueued: wall clock, nanoseconds since the epoch.
    pub created: u64,
    /// What it was enqueued under.
    pub topic: Option<&'a Topic>,
    /// What the consumer missed just before it.
    pub missed: u64,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// What to settle it with, in an acknowledging group.
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
