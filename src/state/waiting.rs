//! Waiting: which list a waiter enters, and which waiters are woken for what.

use std::task::Waker;

use super::cursor::Cursor;
use super::{Effects, Group, State};
use crate::wait::list::{Condition, Enough, SpaceWaiter, Ticket, Waiter};

impl<T> State<T> {
    /// Adds a waiter, unless its condition already holds. Errors are left to the next attempt of the caller.
    pub(crate) fn wait(&mut self, condition: Condition, waker: &Waker) -> Option<Ticket> {
        match condition {
            Condition::Message(key) | Condition::Batch(key, _) | Condition::Missed(key) => self.recall_of(key),
            Condition::Joined => self.recall_all(),
            Condition::Space(..) => {}
        }
        self.next_ticket += 1;
        let ticket = Ticket { number: self.next_ticket, condition: condition.clone() };
        let owner = match condition {
            Condition::Message(key) | Condition::Batch(key, _) | Condition::Missed(key) => key.serial,
            Condition::Space(..) | Condition::Joined => 0,
        };
        let (enough, tells) = (Enough::default(), false);
        let waiter = Waiter { ticket: ticket.number, owner, waker: waker.clone(), enough, tells };
        match condition {
            Condition::Message(key) => {
                let cursor = self.consumer(key).ok()?.cursor;
                if self.reads_served(cursor) > 0 {
                    return None;
                }
                self.cursors[cursor].readers.push(waiter);
                self.attended.update(&mut self.cursors, cursor);
            }
            Condition::Batch(key, enough) => {
                if self.is_enough(key, enough).ok()? {
                    return None;
                }
                let consumer = &self.consumers[key.index];
                let (cursor, tells) = (consumer.cursor, consumer.tells);
                self.cursors[cursor].batches.push(Waiter { enough, tells, ..waiter });
                self.attended.update(&mut self.cursors, cursor);
            }
            Condition::Missed(key) => {
                let cursor = self.consumer(key).ok()?.cursor;
                if self.closed || self.cursors[cursor].has_missed(&self.log) {
                    return None;
                }
                self.cursors[cursor].gap_waiters.push(waiter);
                self.attended.update(&mut self.cursors, cursor);
            }
            Condition::Space(need, topic) => {
                let all = self.need_under(need, topic.as_ref());
                let fits = self.producers.is_empty() && self.budget.check(all).is_ok();
                let is_hopeless = self.budget.check_ever(need.under(topic.as_ref())).is_err();
                if self.closed || fits || is_hopeless || !self.is_wanted(topic.as_ref()) {
                    return None;
                }
                self.producers.push_back(SpaceWaiter { waiter, need, topic });
            }
            Condition::Joined => {
                if self.is_all_read() {
                    return None;
                }
                self.joiners.push(waiter);
            }
        }
        Some(ticket)
    }

    /// Changes the waker of a producer that keeps its place in line. Returns false if it is no longer in line, or if
    /// its messages fit now; the caller has to try again.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn wait_on(&mut self, ticket: &Ticket, waker: &Waker, fx: &mut Effects<T>) -> bool {
        let place = self.producers.iter().position(|producer| producer.waiter.ticket == ticket.number);
        let Some(place) = place else { return false };
        let is_wanted = self.is_wanted(self.producers[place].topic.as_ref());
        if !is_wanted || place == 0 && self.fits(&self.producers[0]) {
            return false;
        }
        fx.unwoken.push(std::mem::replace(&mut self.producers[place].waiter.waker, waker.clone()));
        true
    }

    /// Removes a waiter that stops waiting without success. If it had already been woken, the next waiter is woken
    /// instead.
    pub(crate) fn give_up(&mut self, ticket: &Ticket, fx: &mut Effects<T>) {
        if self.remove_waiter(ticket, fx) {
            return;
        }
        let (Condition::Message(key) | Condition::Missed(key)) = ticket.condition else { return };
        let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) else { return };
        self.recall(cursor);
        let served = self.reads_served(cursor);
        let at = &mut self.cursors[cursor];
        match ticket.condition {
            Condition::Missed(_) => at.gap_waiters.wake(u64::from(at.has_missed(&self.log)), &mut fx.wakers),
            _ => at.readers.wake(served.min(1), &mut fx.wakers),
        }
        self.attended.update(&mut self.cursors, cursor);
    }

    /// Removes a waiter from its list. Returns false if it was no longer there, because it had been woken.
    pub(crate) fn remove_waiter(&mut self, ticket: &Ticket, fx: &mut Effects<T>) -> bool {
        let waker = match ticket.condition {
            Condition::Message(key) | Condition::Batch(key, _) | Condition::Missed(key) => {
                let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) else { return true };
                let at = &mut self.cursors[cursor];
                let waker = match ticket.condition {
                    Condition::Missed(_) => at.gap_waiters.remove(ticket.number),
                    Condition::Batch(..) => at.batches.remove(ticket.number),
                    _ => at.readers.remove(ticket.number),
                };
                self.attended.update(&mut self.cursors, cursor);
                waker
            }
            Condition::Space(..) => {
                let place = self.producers.iter().position(|producer| producer.waiter.ticket == ticket.number);
                let waker = place.and_then(|place| self.producers.remove(place)).map(|producer| producer.waiter.waker);
                if place == Some(0) {
                    self.wake_producer(fx);
                }
                waker
            }
            Condition::Joined => self.joiners.remove(ticket.number),
        };
        let was_there = waker.is_some();
        fx.unwoken.extend(waker);
        was_there
    }

    /// Whether the messages of a waiting producer fit now.
    pub(super) fn fits(&self, producer: &SpaceWaiter) -> bool {
        let SpaceWaiter { need, topic, .. } = producer;
        self.budget.check(self.need_under(*need, topic.as_ref())).is_ok() || !self.is_wanted(topic.as_ref())
    }

    /// Number of producers that wait for room.
    pub(crate) fn waiting_producers(&self) -> usize {
        self.producers.len()
    }

    /// Wakes readers at a cursor.
    pub(super) fn wake_readers(&mut self, cursor: usize, count: u64, fx: &mut Effects<T>) {
        self.cursors[cursor].readers.wake(count, &mut fx.wakers);
        if !self.cursors[cursor].batches.is_empty() {
            self.wake_batches(cursor, fx);
        }
        self.attended.update(&mut self.cursors, cursor);
    }

    /// Whether there is any consumer or group.
    pub(crate) fn has_cursors(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Whether every cursor has read everything that is held.
    pub(crate) fn is_all_read(&mut self) -> bool {
        let log = &self.log;
        let is_behind = |cursor: &Cursor| cursor.unread(log) > 0;
        let is_unsettled = |group: &Group| group.unsettled() > 0;
        // Usually this is the same cursor or group as last time, and the others need not be checked.
        let (cursor, group) = self.behind;
        if self.cursors.get(cursor).is_some_and(|cursor| is_behind(cursor))
            || self.groups.get(group).is_some_and(is_unsettled)
        {
            return false;
        }
        if let Some((key, _)) = self.cursors.iter().find(|(_, cursor)| is_behind(cursor)) {
            self.behind.0 = key;
            return false;
        }
        if let Some((key, _)) = self.groups.iter().find(|(_, group)| is_unsettled(group)) {
            self.behind.1 = key;
            return false;
        }
        true
    }

    #[inline]
    pub(super) fn wake_joiners(&mut self, fx: &mut Effects<T>) {
        if !self.joiners.is_empty() && self.is_all_read() {
            self.joiners.wake(u64::MAX, &mut fx.wakers);
        }
    }

    /// Wakes all waiters.
    pub(super) fn wake_all(&mut self, fx: &mut Effects<T>) {
        for key in self.attended.take(&mut self.cursors) {
            fx.wakers.extend(self.cursors[key].readers.take());
            fx.wakers.extend(self.cursors[key].batches.take());
            fx.wakers.extend(self.cursors[key].gap_waiters.take());
        }
        fx.wakers.extend(self.producers.drain(..).map(|producer| producer.waiter.waker));
        self.wake_joiners(fx);
    }
}
