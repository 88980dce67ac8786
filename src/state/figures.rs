//! All figures of one moment, and a view of the held messages, for callers that watch a queue without reading from it.

use super::State;
use crate::delivery::Delivery;
use crate::log::chunk::NIL;
use crate::stats::{DepartedStats, Figures, QueueStats};
use crate::time::clock::Now;

impl<T> State<T> {
    pub(crate) fn stats(&mut self) -> QueueStats {
        QueueStats {
            total_items: self.log.len(),
            memory_usage: self.budget.bytes(),
            max_bytes: self.budget.max_bytes(),
            max_items: self.budget.max_items,
            audit_bytes: self.audit_bytes() as u64,
            is_audit_complete: self.is_audit_complete(),
            consumers: self.consumers.len() as u64,
            ttl: self.ttl(),
            expired: self.expired,
            dropped: self.log.drops.total(),
            rejected: self.rejected,
            first_seq: self.log.head(),
            next_seq: self.log.next(),
        }
    }

    /// All figures except those of present consumers and groups.
    pub(crate) fn figures(&mut self, now: Now) -> Figures {
        let queue = self.stats();
        let departed = self.departed.sums().map(|(group, name, past)| DepartedStats {
            group: group.map(|group| self.groups[group].name.clone()),
            name: name.cloned(),
            read: past.read,
            missed: past.missed,
            dropped: past.dropped,
        });
        Figures {
            queue,
            oldest: self.log.first_at(0, &mut { NIL }).map_or(0, |found| now.mono - found.mono),
            retention: self.retention,
            overflow: self.overflow,
            waiting_producers: self.waiting_producers() as u64,
            order: self.order(),
            consumers: Vec::new(),
            groups: Vec::new(),
            departed: departed.collect(),
        }
    }

    /// Passes up to `limit` of the held messages to `visit`, from the first at or after `seq` on. They do not count as
    /// read.
    pub(crate) fn look(&self, seq: u64, limit: usize, mut visit: impl FnMut(Delivery<'_, T>)) {
        let (mut seq, mut hint) = (seq, NIL);
        for _ in 0..limit {
            let Some(found) = self.log.first_at(seq, &mut hint) else { break };
            seq = found.seq + 1;
            visit(found.delivery(0, 1, None));
        }
    }
}
