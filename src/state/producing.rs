//! Producing: which messages are admitted, and which waiters they wake.

use std::hint::cold_path;

use super::{Effects, State};
use crate::error::{Error, Full, Limit};
use crate::log::batch::Batch;
use crate::need::{Need, TOPIC_OVERHEAD};
use crate::options::{Lifetime, Overflow, Retention};
use crate::time::NEVER;
use crate::topics::Topic;
use crate::wait::list::Ticket;

/// Properties of enqueued messages apart from their payloads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How<'a> {
    pub(crate) lifetime: Lifetime,
    pub(crate) topic: Option<&'a Topic>,
}

impl<T> State<T> {
    /// The need of messages under a topic.
    pub(super) fn need_under(&self, need: Need, topic: Option<&Topic>) -> Need {
        match topic {
            Some(topic) if need.items > 0 => need.with_topic(self.log.topics.charge_of(topic, need.items)),
            _ => need,
        }
    }

    /// Checks whether a producer may add `base` now. `ticket` is its place in the line, if it has waited. Returns
    /// whether any cursor wants the messages.
    pub(super) fn admit(
        &mut self,
        base: Need,
        topic: Option<&Topic>,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<bool, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.budget.check_ever(base.under(topic)).map_err(Error::Full)?;
        if !self.is_wanted(topic) {
            return Ok(false);
        }
        let need = self.need_under(base, topic);
        // Producers that came before go first, and small messages do not starve a large batch. So there must be room
        // for all of them.
        let ahead = self
            .producers
            .iter()
            .take_while(|producer| ticket.is_none_or(|ticket| ticket.number != producer.waiter.ticket));
        // Who waits with what nobody wants any more needs no room.
        let ahead = ahead.filter(|producer| self.is_wanted(producer.topic.as_ref()));
        let ahead = ahead.map(|producer| self.need_under(producer.need, producer.topic.as_ref()));
        let ahead = ahead.fold(Need::NONE, Need::and);
        if ahead.items > 0 && need.items > 0 {
            return self.budget.check(need.and(ahead)).map(|()| true).map_err(|full| {
                let ahead = match full.limit {
                    Limit::Memory => ahead.charge(),
                    Limit::Items => ahead.items,
                };
                Error::Full(Full { ahead, ..full })
            });
        }
        match self.budget.check(need) {
            Err(_) if self.overflow == Overflow::DropOldest => {
                self.drop_oldest(base, topic, usize::MAX, fx);
            }
            checked => checked.map_err(Error::Full)?,
        }
        Ok(true)
    }

    /// Counts a refusal.
    pub(crate) fn reject(&mut self, need: Need) {
        self.rejected += need.items;
    }

    /// Adds one message in the usual case: there is room, or one message makes room; nobody waits for the message or
    /// for room; and the expiration thread will wake in time. Returns the seq, and leaves the message that made room in
    /// `payload`. None: the payload is still there, and [`enqueue`](Self::enqueue) handles it.
    #[inline(always)]
    pub(crate) fn enqueue_fast(&mut self, payload: &mut Option<T>, size: u64) -> Option<u64> {
        let need = Need::one(size);
        let deadline = self.deadline();
        if !self.is_quiet() {
            cold_path();
            return None;
        }
        if self.armed > deadline {
            cold_path();
            return None;
        }
        if self.budget.check(need).is_ok() {
            let payload = payload.take()?;
            self.budget.charge(need);
            let seq = self.log.append(payload, size, self.latest);
            self.due = self.due.min(deadline);
            return Some(seq);
        }
        // Only a copy goes by reference, so that the payload stays in a register in the case above.
        let mut given = payload.take();
        let seq = self.replace_oldest(&mut given, need);
        *payload = given;
        seq
    }

    /// Adds one message in the usual case where dropping the oldest message makes enough room.
    #[inline(never)]
    fn replace_oldest(&mut self, payload: &mut Option<T>, need: Need) -> Option<u64> {
        let oldest = self.drop_one(need)?;
        let payload = payload.replace(oldest)?;
        self.budget.charge(need);
        let seq = self.log.append(payload, need.bytes, self.latest);
        self.set_deadline(None);
        Some(seq)
    }

    /// Adds one message under a topic in the usual case, as [`enqueue_fast`](Self::enqueue_fast) does; other messages
    /// must be held under the topic. None: the payload is still there, and [`enqueue`](Self::enqueue) handles it.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_under_fast(&mut self, payload: &mut Option<T>, size: u64, topic: &str) -> Option<u64> {
        let need = Need::one(size);
        let deadline = self.deadline();
        if !self.is_quiet() || self.armed > deadline || self.retention != Retention::Limits {
            return None;
        }
        let place = self.log.topics.find_again(topic)?;
        let has_readers = |filter: &u32| !self.attended.has_none(Some(*filter as usize));
        if self.budget.check(need.with_topic(TOPIC_OVERHEAD)).is_err()
            || self.log.topics.filters_of(place).iter().any(has_readers)
        {
            return None;
        }
        let payload = payload.take()?;
        let seq = self.log.append_under(place, payload, size, self.latest);
        self.take_returned();
        self.budget.charge(need);
        self.budget.set_topics(self.log.topics.charge());
        self.due = self.due.min(deadline);
        Some(seq)
    }

    /// Adds `need.items` messages, or none. `each` yields them with their sizes, whose sum is `need.bytes`.
    pub(crate) fn enqueue(
        &mut self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
        how: How<'_>,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<u64, Error> {
        let is_wanted = self.admit(need, how.topic, ticket, fx)?;
        let first = self.push_all(each, need, how);
        self.came(first, how.topic, is_wanted, ticket, fx);
        Ok(first)
    }

    /// Called after the messages from `first` on were added.
    fn came(
        &mut self,
        first: u64,
        topic: Option<&Topic>,
        is_wanted: bool,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) {
        let end = self.log.next();
        if is_wanted {
            self.added(end - first, topic, ticket, fx);
        } else {
            self.leave_at_once(first..end, fx);
            if let Some(ticket) = ticket {
                self.remove_waiter(ticket, fx);
            }
        }
    }

    /// Adds a batch in the usual case, for messages that live by the queue's ttl. None: nothing was taken from `each`,
    /// and [`enqueue`](Self::enqueue) handles it.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_batch_fast(
        &mut self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
    ) -> Option<u64> {
        (self.is_quiet() && self.budget.check(need).is_ok()).then(|| self.push_all(each, need, How::default()))
    }

    /// Adds messages that were admitted, and returns the first seq.
    fn push_all(&mut self, each: impl ExactSizeIterator<Item = (T, u64)>, need: Need, how: How<'_>) -> u64 {
        let first = self.log.next();
        let own = self.own_deadline(how.lifetime);
        if how.topic.is_some() {
            self.log.prepare_to_tag();
        }
        let added = self.log.append_all(each, own, self.latest);
        debug_assert_eq!(added, need);
        self.pushed(first, added, own, how.topic);
        first
    }

    /// Accounts for the messages from `first` on, which have been added to the log.
    fn pushed(&mut self, first: u64, added: Need, own: Option<u64>, topic: Option<&Topic>) {
        if let Some(topic) = topic {
            self.log.tag(first, topic);
            self.budget.set_topics(self.log.topics.charge());
        }
        self.take_returned();
        self.budget.charge(added);
        if added.items > 0 {
            self.set_deadline(own);
        }
    }

    /// Adds a batch that is already in slots. If it is refused, it stays in `batch`.
    pub(crate) fn enqueue_prepared(
        &mut self,
        batch: &mut Batch<T>,
        topic: Option<&Topic>,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<u64, Error> {
        let is_wanted = self.admit(batch.need(), topic, ticket, fx)?;
        let first = self.log.next();
        let added = self.log.append_batch(batch, self.latest);
        self.pushed(first, added, self.own_deadline(batch.lifetime()), topic);
        self.came(first, topic, is_wanted, ticket, fx);
        Ok(first)
    }

    /// Whether no reader or producer waits, the queue is open, and every message is wanted by some cursor.
    #[inline]
    fn is_quiet(&self) -> bool {
        // One sum of both, which is 10 instructions shorter than two conditions.
        self.is_plain && self.attended.len() + self.producers.len() == 0
    }

    /// When a message that is enqueued now expires.
    #[inline]
    pub(super) fn deadline(&self) -> u64 {
        self.latest.mono.saturating_add(self.lives)
    }

    /// The deadline of messages that are enqueued now with a lifetime of their own; None: they live by the queue's ttl.
    fn own_deadline(&self, lifetime: Lifetime) -> Option<u64> {
        match lifetime {
            Lifetime::Queue => None,
            Lifetime::Own(ttl) => Some(self.latest.mono.saturating_add(ttl)),
            Lifetime::Forever => Some(NEVER),
        }
    }

    /// Records when messages that are enqueued now expire.
    #[inline(always)]
    fn set_deadline(&mut self, own: Option<u64>) {
        let deadline = own.unwrap_or(self.deadline());
        if deadline < self.due && self.expires {
            self.due = deadline;
        }
    }

    /// Wakes the readers that new messages concern.
    #[inline]
    pub(super) fn added(&mut self, count: u64, topic: Option<&Topic>, ticket: Option<&Ticket>, fx: &mut Effects<T>) {
        self.wake_for(count, None, fx);
        if let Some(place) = topic.and_then(|topic| self.log.topics.find(topic.as_str())) {
            for at in 0..self.log.topics.filters_of(place).len() {
                let filter = self.log.topics.filters_of(place)[at];
                self.wake_for(count, Some(filter as usize), fx);
            }
        }
        if let Some(ticket) = ticket {
            self.remove_waiter(ticket, fx);
        }
    }

    /// Wakes readers with this filter for this many messages.
    #[inline]
    fn wake_for(&mut self, count: u64, filter: Option<usize>, fx: &mut Effects<T>) {
        if !self.attended.has_no_readers(filter) {
            let groups = &self.groups;
            self.attended.visit_readers(filter, &mut self.cursors, |cursor| {
                let room = cursor.group.map_or(u64::MAX, |group| groups[group].room());
                cursor.readers.wake(count.min(room), &mut fx.wakers);
            });
        }
        self.wake_batches_with(filter, fx);
    }

    /// Wakes the producers that wait with what nobody wants any more.
    pub(super) fn wake_unwanted(&mut self, fx: &mut Effects<T>) {
        if self.is_plain {
            return;
        }
        let unwanted = self.producers.iter().filter(|producer| !self.is_wanted(producer.topic.as_ref()));
        fx.wakers.extend(unwanted.map(|producer| producer.waiter.waker.clone()));
    }

    /// Wakes the first waiting producer, if its messages fit.
    pub(super) fn wake_producer(&mut self, fx: &mut Effects<T>) {
        if let Some(first) = self.producers.front()
            && self.fits(first)
        {
            fx.wakers.push(first.waiter.waker.clone());
        }
    }
}
