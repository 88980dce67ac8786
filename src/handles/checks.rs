//! Access to internals, for tests.

use super::Queue;
use crate::sync::Host;

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// Number of consumers that read without the queue's lock at this moment.
    #[doc(hidden)]
    pub fn leases(&self) -> usize {
        self.core.with_leases(|state, _, _| state.log.leases.len())
    }

    /// Number of producers that wait for room.
    #[doc(hidden)]
    pub fn waiting_producers(&self) -> usize {
        self.core.with_leases(|state, _, _| state.waiting_producers())
    }

    /// Checks every invariant.
    #[doc(hidden)]
    pub fn check(&self) {
        self.core.lock().check();
    }
}
