//! Messages that a group would miss, and that its dead letter queue takes instead.
//!
//! They are counted as dead-lettered when they leave, under the lock, and are moved after the lock is released. A
//! message that the dead letter queue does not take counts as missed after all.

use super::cursor::Reason;
use super::effects::Lost;
use super::{Effects, State};
use crate::keys::GroupKey;
use crate::log::Note;
use crate::topics::Topic;

impl<T> State<T> {
    /// Whether the dead letter queue of any group takes what the group would miss.
    pub(crate) fn has_rescuers(&self) -> bool {
        self.has_rescuers
    }

    /// From now on notes the seq and topic of each message that leaves, if any group rescues messages.
    pub(super) fn note_what_leaves(&self, fx: &mut Effects<T>) {
        if self.has_rescuers {
            fx.removed.notes.get_or_insert_with(Vec::new);
        }
    }

    /// Collects the lost messages, from the removed payload at `from` on, for the groups that would miss them.
    pub(super) fn rescue(&mut self, from: usize, why: Reason, fx: &mut Effects<T>) {
        if !self.has_rescuers {
            return;
        }
        let Effects { removed, lost, .. } = fx;
        let notes = removed.notes.as_deref().unwrap_or_default().get(from..).unwrap_or_default();
        for (index, group) in self.groups.iter_mut().filter(|(_, group)| group.rescues) {
            let cursor = &mut self.cursors[group.cursor];
            let key = GroupKey { index, serial: group.serial };
            let filters = cursor.filters.clone();
            let does_match = |topic: Option<&Topic>| {
                filters.as_ref().is_none_or(|filters| topic.is_some_and(|topic| filters.match_topic(topic.as_str())))
            };
            for (at, &Note { seq, ref topic }) in (from..).zip(notes) {
                let is_unread = seq >= cursor.position;
                if is_unread {
                    if !does_match(topic.as_ref()) {
                        continue;
                    }
                    cursor.excuse(seq, why == Reason::Dropped, &self.log);
                } else if !group.acks.as_mut().is_some_and(|acks| acks.rescue(seq)) {
                    continue;
                }
                group.dead_lettered += 1;
                lost.push(Lost { group: key, at, topic: topic.clone(), why });
            }
        }
        let indices: Vec<usize> = self.groups.iter().map(|(index, _)| index).collect();
        indices.into_iter().for_each(|index| self.charge_pending(index, fx));
    }

    /// Counts a message as missed by the group, because the dead letter queue did not take it.
    pub(crate) fn not_rescued(&mut self, key: GroupKey, why: Reason, fx: &mut Effects<T>) {
        if self.group(key).is_err() {
            return;
        }
        let group = &mut self.groups[key.index];
        group.dead_lettered -= 1;
        let at = group.cursor;
        self.cursors[at].lose(1, why);
        self.cursors[at].gap_waiters.wake(1, &mut fx.wakers);
        self.attended.update(&mut self.cursors, at);
    }
}
