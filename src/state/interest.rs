//! Removal of messages that no cursor needs, with `Retention::Interest` and filters. A message leaves once no cursor
//! whose filter it matches still has to read it.
//!
//! Without filters messages leave in order, behind the lowest position (`floor.rs`). With filters messages also leave
//! from the middle. So when a cursor moves or is removed, the messages that it has passed are checked again, in slices.

use std::collections::BTreeSet;
use std::ops::Range;

use super::cursor::Cursor;
use super::firsts::Asking;
use super::gone::Gone;
use super::wanting::Wanting;
use super::{Effects, State};
use crate::log::chunk::NIL;
use crate::options::Retention;
use crate::topics::Topic;

/// Messages that one hold of the lock looks at, and removes, at the most.
const LOOKED_AT: usize = 400;
const REMOVED: usize = 100;

impl<T> State<T> {
    /// Whether any cursor wants a message that is enqueued now. While there are no cursors, it is kept for future ones.
    pub(super) fn is_wanted(&self, topic: Option<&Topic>) -> bool {
        if self.is_plain || self.retention != Retention::Interest || self.floor.lowest().is_some() {
            return true;
        }
        let wants = |filter: &u32| self.wanting.positions.contains_key(&(*filter as usize));
        self.wanting.positions.is_empty()
            || topic.is_some_and(|topic| self.log.topics.filters_matching(topic).iter().any(wants))
    }

    /// Whether any cursor needs a held message, which is under the topic at a place.
    pub(super) fn is_needed(&self, seq: u64, topic: u32, asking: &Asking<'_>) -> bool {
        let is_before = |filter: &u32| {
            let lowest = self.wanting.positions.get(&(*filter as usize)).and_then(BTreeSet::first);
            lowest.is_some_and(|&(position, _)| position <= seq)
        };
        self.cursors.is_empty()
            || self.floor.lowest().is_some_and(|lowest| lowest <= seq)
            || self.log.topics.filters_of(topic).iter().any(is_before)
            || asking.may_be_pending(seq..seq + 1)
    }

    /// A cursor came, or moved: what it has passed has to be looked at.
    pub(super) fn want_less(&mut self, key: usize, fx: &mut Effects<T>) {
        let Some(cursor) = self.cursors.get_mut(key) else { return };
        let (position, filter) = (cursor.position, cursor.filter);
        let is_in_use = self.wanting.is_in_use();
        let from = match filter {
            None => {
                let from = if is_in_use { self.floor.get(key) } else { None };
                self.floor.set(key, Some(position));
                from
            }
            Some(filter) => {
                let from = cursor.wanted_from.replace(position);
                let positions = self.wanting.positions.entry(filter).or_default();
                if let Some(from) = from {
                    positions.remove(&(from, key));
                }
                positions.insert((position, key));
                from
            }
        };
        match from {
            Some(from) => self.wanting.look_at(filter, from..position),
            // This cursor is new. Messages that no cursor wants stayed only because there were no cursors, or are still
            // to be collected.
            None if filter.is_some() && !is_in_use => self.look_at_everything(),
            None => {}
        }
        if from.is_none() {
            self.interest_changed(fx);
        }
    }

    /// A cursor is gone.
    pub(super) fn want_nothing(&mut self, key: usize, cursor: &Cursor, fx: &mut Effects<T>) {
        let end = self.log.next();
        match cursor.filter {
            None => {
                let from = self.floor.get(key).filter(|_| self.wanting.is_in_use());
                self.floor.set(key, None);
                from.into_iter().for_each(|from| self.wanting.look_at(None, from..end));
            }
            Some(filter) => {
                if let Some(from) = cursor.wanted_from
                    && let Some(positions) = self.wanting.positions.get_mut(&filter)
                {
                    positions.remove(&(from, key));
                    if positions.is_empty() {
                        self.wanting.positions.remove(&filter);
                    }
                    self.wanting.look_at(Some(filter), from..end);
                }
            }
        }
        self.interest_changed(fx);
    }

    /// Who wants what has changed.
    fn interest_changed(&mut self, fx: &mut Effects<T>) {
        self.note_plain();
        self.wake_unwanted(fx);
    }

    /// Schedules a new check of all messages.
    pub(super) fn look_at_everything(&mut self) {
        self.wanting.look_at(None, self.log.head()..self.log.next());
    }

    /// Removes a cursor from the users of a filter.
    pub(crate) fn leave_filter(&mut self, filter: usize) {
        if self.log.leave_filter(filter) {
            // The matches of the filter are no longer known.
            let of_filter = self.wanting.to_look_at.iter_mut().filter(|(of, _)| *of == Some(filter));
            of_filter.for_each(|(of, _)| *of = None);
        }
    }

    /// Called when every cursor is at the end of an emptied queue.
    pub(super) fn want_from(&mut self, end: u64) {
        self.wanting = Wanting::default();
        for (key, cursor) in &mut self.cursors {
            match cursor.filter {
                None => self.floor.set(key, Some(end)),
                Some(filter) => {
                    cursor.wanted_from = Some(end);
                    self.wanting.positions.entry(filter).or_default().insert((end, key));
                }
            }
        }
    }

    /// Updates `is_plain`: whether the queue is open and every message is wanted by some cursor.
    pub(super) fn note_plain(&mut self) {
        let is_picky = !self.wanting.positions.is_empty() && self.floor.lowest().is_none();
        self.is_plain = !self.closed && !is_picky;
    }

    /// Removes a slice of the messages that no cursor needs. While [`has_to_collect`](Self::has_to_collect) is true,
    /// there is more.
    pub(super) fn collect_unwanted(&mut self, fx: &mut Effects<T>) {
        let (mut looked_at, mut unneeded) = (0, Vec::new());
        let asking = Asking::new(&self.firsts, &self.groups, false);
        while looked_at < LOOKED_AT
            && unneeded.len() < REMOVED
            && asking.has_time()
            && let Some((filter, seqs)) = self.wanting.to_look_at.pop_front()
        {
            let (mut seq, mut hint) = (seqs.start, NIL);
            while looked_at < LOOKED_AT && unneeded.len() < REMOVED && asking.has_time() {
                let found = self.log.first_for(filter, seq, &mut hint);
                let Some(found) = found.filter(|found| found.seq < seqs.end) else {
                    seq = seqs.end;
                    break;
                };
                looked_at += 1;
                seq = found.seq + 1;
                if !self.is_needed(found.seq, self.log.topic_place(found.seq, hint), &asking) {
                    unneeded.push(found.seq);
                }
            }
            if seq < seqs.end {
                self.wanting.to_look_at.push_front((filter, seq..seqs.end));
            }
        }
        self.has_to_collect = !self.wanting.to_look_at.is_empty();
        if !self.wanting.is_in_use() {
            // From here on messages leave in order again.
            (self.collected, self.has_to_collect) = (0, true);
        }
        self.remove_unneeded(&unneeded, fx);
    }

    fn remove_unneeded(&mut self, seqs: &[u64], fx: &mut Effects<T>) {
        let mut gone = Gone::none();
        for &seq in seqs {
            if let Some(need) = self.log.remove(seq, NIL, &mut fx.removed) {
                gone.add(need, seq..seq + 1);
            }
        }
        self.give_back(gone, fx);
    }

    /// Removes messages that were just enqueued and that no cursor wants.
    pub(super) fn leave_at_once(&mut self, seqs: Range<u64>, fx: &mut Effects<T>) {
        let swept = self.log.sweep(seqs.start, usize::MAX, &mut fx.removed, |_| true, |_, _| Some(true));
        self.give_back(Gone { need: swept.need, seqs, ..Gone::none() }, fx);
    }

    /// Checks the invariants between operations.
    pub(super) fn check_wanting(&self) {
        let mut entries = 0;
        for (key, cursor) in &self.cursors {
            if let Some(filter) = cursor.filter {
                // It is lower if a panic of foreign code ended a read.
                assert!(cursor.wanted_from.is_some_and(|from| from <= cursor.position));
                assert!(self.wanting.positions[&filter].contains(&(cursor.wanted_from.unwrap_or(0), key)));
                entries += 1;
            }
        }
        assert_eq!(entries, self.wanting.positions.values().map(BTreeSet::len).sum::<usize>());
        assert!(self.wanting.to_look_at.is_empty(), "calls end with all looked at");
    }
}
