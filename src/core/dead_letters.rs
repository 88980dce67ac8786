//! Dead letters: how a message that a group gives up gets to another queue.

use std::fmt;
use std::sync::Arc;

use super::Core;
use crate::state::{Burial, Dying};
use crate::sync::{Host, lock};

/// Where messages go that could not be delivered.
pub struct DeadLetter<T> {
    /// Makes another handle to the same payload.
    pub(crate) share: fn(&T) -> T,
    /// Puts a payload there. Called without a lock.
    pub(crate) deposit: Arc<Deposit<T>>,
}

/// Puts a payload into the dead letter queue, and tells what came of it.
pub(crate) type Deposit<T> = dyn Fn(T) -> Burial + Send + Sync;

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

impl<T: Send + 'static, H: Host> Core<T, H> {
    /// Moves a dying message to the dead letter queue of its group.
    #[cold]
    pub(super) fn move_dead_letter(self: &Arc<Self>, dying: Dying) {
        let Dying { group, seq, is_termed } = dying;
        let letters = lock::<H, _>(&self.dead_letters).get(&group.serial).cloned();
        let Some(letters) = letters else {
            let burial = Burial::Nowhere { is_termed };
            return self.with(|state, _, fx| state.bury(group, seq, burial, fx));
        };
        // Another handle to the payload is only had where payloads may be dropped.
        H::dispose(&mut || {
            let Some(payload) = self.with(|state, _, _| state.dying(group, seq, letters.share)) else {
                return false;
            };
            let burial = (letters.deposit)(payload);
            self.with(|state, _, fx| state.bury(group, seq, burial, fx));
            false
        });
    }
}
