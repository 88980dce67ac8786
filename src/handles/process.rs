//! What a process does to a queue: fork and garbage collection.

use super::Queue;
use crate::sync::Host;
use crate::time::NEVER;

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// Keeps the queue still over a fork.
    pub(crate) fn before_fork(&self) {
        self.core.before_fork();
    }

    /// Lets go of it again. In the child nobody waits any more; the wakers are not to be called, nor dropped.
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

    /// Every payload, for a garbage collector.
    pub(crate) fn each_payload(&self, visit: impl FnMut(&T)) {
        self.core.look_while_collecting(|state| state.log.payloads().for_each(visit));
    }
}
