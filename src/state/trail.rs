//! The audit trail of the queue: how large it is, whether it is complete, and what is removed from it.

use super::State;
use super::auditing::{GRAINS, most_bytes};

impl<T> State<T> {
    /// Removes read records of messages that have left, for the next `count` consumers.
    pub(super) fn trim_reads(&mut self, count: usize) {
        if self.audit.bytes == 0 {
            return;
        }
        let (head, most) = (self.log.head(), most_bytes(&self.log));
        for _ in 0..count.min(self.consumers.len()) {
            let Some(index) = self.audit.next_of() else { return };
            let consumer = &mut self.consumers[index];
            if !consumer.reads.is_empty() {
                self.audit.change(consumer, |consumer| consumer.reads.trim(head, most));
            }
        }
        if self.is_audit_complete() {
            self.audit.grain = GRAINS.start;
        }
    }

    /// Makes room when the records take more than they may. `own` is the place of the consumer that needs the room.
    #[cold]
    pub(super) fn relieve(&mut self, own: usize) {
        self.recall_all();
        self.audit.relieve(&mut self.consumers, own);
    }

    /// Bytes of all read records of held messages.
    pub(crate) fn audit_bytes(&mut self) -> usize {
        if self.audit.trimmed != self.log.head() {
            self.audit.trimmed = self.log.head();
            self.trim_reads(usize::MAX);
        }
        self.audit.bytes
    }

    /// Whether every read of a held message is recorded, with its time.
    pub(crate) fn is_audit_complete(&self) -> bool {
        self.audit.inexact_before <= self.log.head()
    }
}
