//! Where dead letters go.

use std::fmt;
use std::sync::Arc;

use crate::state::Burial;
use crate::topics::Topic;

/// The destination of messages that could not be delivered.
pub struct DeadLetter<T> {
    /// Makes another handle to the same payload.
    pub(crate) share: fn(&T) -> T,
    /// Puts a payload into the dead letter queue. Called without a lock.
    pub(crate) deposit: Arc<Deposit<T>>,
}

/// Puts a payload with its topic into the dead letter queue, and returns the result.
pub(crate) type Deposit<T> = dyn Fn(T, Option<&Topic>) -> Burial + Send + Sync;

impl<T> Clone for DeadLetter<T> {
    fn clone(&self) -> Self {
        DeadLetter { share: self.share, deposit: self.deposit.clone() }
    }
}

impl<T> fmt::Debug for DeadLetter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeadLetter")
    }
}
