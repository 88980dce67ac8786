//! Moves messages that a group gives up to its dead letter queue.

use std::sync::Arc;

use super::Core;
use crate::state::{Burial, Dying};
use crate::sync::{Host, lock};

impl<T: Send + Sync + 'static, H: Host> Core<T, H> {
    /// Moves a dying message to the dead letter queue of its group.
    #[cold]
    pub(super) fn move_dead_letter(self: &Arc<Self>, dying: Dying) {
        let Dying { group, seq, is_termed } = dying;
        let letters = lock::<H, _>(&self.dead_letters).get(&group.serial).cloned();
        let Some(letters) = letters else {
            let burial = Burial::Nowhere { is_termed };
            return self.with(|state, _, fx| state.bury(group, seq, burial, fx));
        };
        // Another handle to the payload is only made where payloads may be dropped.
        H::dispose(&mut || {
            let Some((payload, topic)) = self.with(|state, _, _| state.dying(group, seq, letters.share)) else {
                return false;
            };
            let burial = (letters.deposit)(payload, topic.as_ref());
            self.with(|state, _, fx| state.bury(group, seq, burial, fx));
            false
        });
    }
}
