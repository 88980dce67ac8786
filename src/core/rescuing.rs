//! Moves messages that a group would miss to its dead letter queue.

use std::cell::Cell;
use std::sync::Arc;

use super::Core;
use crate::state::{Burial, Effects};
use crate::sync::{Host, lock};

thread_local! {
    /// Whether this thread is rescuing messages. Messages that a dead letter queue drops to take a rescued one are not
    /// rescued themselves: two queues could rescue from each other without end.
    static IS_RESCUING: Cell<bool> = const { Cell::new(false) };
}

impl<T: Send + Sync + 'static, H: Host> Core<T, H> {
    /// Moves lost messages to the dead letter queues of the groups that would miss them.
    #[inline]
    pub(super) fn rescue(self: &Arc<Self>, fx: &mut Effects<T>) {
        if !fx.lost.is_empty() {
            self.rescue_all(fx);
        }
    }

    #[cold]
    fn rescue_all(self: &Arc<Self>, fx: &mut Effects<T>) {
        let (lost, payloads) = (std::mem::take(&mut fx.lost), &fx.removed.payloads);
        let is_nested = IS_RESCUING.replace(true);
        for lost in lost {
            let letters = lock::<H, _>(&self.dead_letters).get(&lost.group.serial).cloned();
            let mut burial = Burial::Later;
            if let Some(letters) = letters.filter(|_| !is_nested) {
                // Another handle to the payload is only made where payloads may be dropped.
                H::dispose(&mut || {
                    burial = (letters.deposit)((letters.share)(&payloads[lost.at]), lost.topic.as_ref());
                    false
                });
            }
            if !matches!(burial, Burial::Done) {
                self.with(|state, _, fx| state.not_rescued(lost.group, lost.why, fx));
            }
        }
        IS_RESCUING.set(is_nested);
    }
}
