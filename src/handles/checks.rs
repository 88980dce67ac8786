//! A look inside, for tests.

use super::Queue;
use crate::sync::Host;

impl<T: Send + 'static, H: Host> Queue<T, H> {
    /// Opens the inbox, if it may be, as if threads had met at the lock. Whether it is open.
    #[doc(hidden)]
    pub fn open_inbox(&self) -> bool {
        let mut state = self.core.lock();
        self.core.open_inbox(&mut state);
        state.has_inbox
    }

    /// Producers that wait for room.
    #[doc(hidden)]
    pub fn waiting_producers(&self) -> usize {
        self.core.with(|state, _, _| state.waiting_producers())
    }

    /// Checks every invariant.
    #[doc(hidden)]
    pub fn check(&self) {
        self.core.lock().check();
    }
}
