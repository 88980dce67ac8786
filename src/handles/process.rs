//! Effects of the process on a queue: fork and garbage collection.

use super::Queue;
use crate::sync::Host;
use crate::time::NEVER;

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// Takes the locks of the queue before a fork.
    pub(crate) fn before_fork(&self) {
        self.core.before_fork();
    }

    /// Releases the locks after a fork. In the child no thread waits any more; the wakers must be neither called nor
    /// dropped.
    pub(crate) fn after_fork(&self, in_child: bool) {
        self.core.after_fork();
        if !in_child {
            return;
        }
        let mut state = self.core.lock();
        state.reset_lanes();
        std::mem::forget(state.forget_waiters());
        let due = if self.core.clock.runs() { state.due() } else { NEVER };
        state.armed = due;
        drop(state);
        if due != NEVER {
            self.core.arm(due);
        }
    }

    /// Visits every payload, for a garbage collector.
    pub(crate) fn each_payload(&self, visit: impl FnMut(&T)) {
        self.core.look_while_collecting(|state| state.log.payloads().for_each(visit));
    }
}
