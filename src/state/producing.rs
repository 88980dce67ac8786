//! Producing: who gets in, and whom it wakes.

use std::hint::cold_path;

use super::{Effects, State};
use crate::error::{Error, Full, Limit};
use crate::log::batch::Batch;
use crate::need::Need;
use crate::options::{Lifetime, Overflow};
use crate::time::NEVER;
use crate::wait::list::Ticket;

impl<T> State<T> {
    /// Whether a producer may add `need` now; `ticket` is the place it has waited in, if it has.
    pub(super) fn admit(&mut self, need: Need, ticket: Option<&Ticket>, fx: &mut Effects<T>) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.budget.check_ever(need).map_err(Error::Full)?;
        // Producers that came before go first, and small messages do not starve a large batch: there must be room for
        // all of them.
        let ahead = self
            .producers
            .iter()
            .take_while(|producer| ticket.is_none_or(|ticket| ticket.number != producer.waiter.ticket));
        let ahead = ahead.fold(Need::NONE, |sum, producer| sum.and(producer.need));
        if ahead.items > 0 && need.items > 0 {
            return self.budget.check(need.and(ahead)).map_err(|full| {
                let ahead = match full.limit {
                    Limit::Memory => ahead.charge(),
                    Limit::Items => ahead.items,
                };
                Error::Full(Full { ahead, ..full })
            });
        }
        match self.budget.check(need) {
            Err(_) if self.overflow == Overflow::DropOldest => {
                self.drop_oldest(need, usize::MAX, fx);
            }
            checked => checked.map_err(Error::Full)?,
        }
        Ok(())
    }

    /// Counts a refusal.
    pub(crate) fn reject(&mut self, need: Need) {
        self.rejected += need.items;
    }

    /// Adds one message in the usual case: there is room, or one message makes room, nobody waits for it or before it, and
    /// the expiration thread will come in time. Returns its seq, and leaves in `payload` what made room. None: the payload
    /// is still there, and [`enqueue`](Self::enqueue) handles it.
    #[inline(always)]
    pub(crate) fn enqueue_fast(&mut self, payload: &mut Option<T>, size: u64) -> Option<u64> {
        let need = Need::one(size);
        let deadline = self.deadline();
        if !self.is_quiet() || self.armed > deadline {
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
        self.replace_oldest(payload, need)
    }

    /// The same where the oldest message has to leave, and alone makes room.
    #[inline(never)]
    fn replace_oldest(&mut self, payload: &mut Option<T>, need: Need) -> Option<u64> {
        let oldest = self.drop_one(need)?;
        let payload = payload.replace(oldest)?;
        self.budget.charge(need);
        let seq = self.log.append(payload, need.bytes, self.latest);
        self.set_deadline(None);
        Some(seq)
    }

    /// Adds `need.items` messages, or none. `each` gives them with their sizes, which come to `need.bytes`.
    pub(crate) fn enqueue(
        &mut self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
        lifetime: Lifetime,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<u64, Error> {
        self.admit(need, ticket, fx)?;
        let first = self.push_all(each, need, lifetime);
        self.added(self.log.next() - first, ticket, fx);
        Ok(first)
    }

    /// The same in the usual case, for messages that live by the queue's ttl. None: nothing was taken from `each`, and
    /// [`enqueue`](Self::enqueue) handles it.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_batch_fast(
        &mut self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
    ) -> Option<u64> {
        (self.is_quiet() && self.budget.check(need).is_ok()).then(|| self.push_all(each, need, Lifetime::Queue))
    }

    /// Adds messages that were admitted, and returns the first seq.
    fn push_all(&mut self, each: impl ExactSizeIterator<Item = (T, u64)>, need: Need, lifetime: Lifetime) -> u64 {
        let first = self.log.next();
        let own = self.own_deadline(lifetime);
        let added = self.log.append_all(each, own, self.latest);
        debug_assert_eq!(added, need);
        self.take_returned();
        self.budget.charge(added);
        if added.items > 0 {
            self.set_deadline(own);
        }
        first
    }

    /// Adds a batch that is in slots already, or says why not, and leaves it where it is.
    pub(crate) fn enqueue_prepared(
        &mut self,
        batch: &mut Batch<T>,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<u64, Error> {
        self.admit(batch.need(), ticket, fx)?;
        let first = self.log.next();
        let added = self.log.append_batch(batch, self.latest);
        self.take_returned();
        self.budget.charge(added);
        if added.items > 0 {
            self.set_deadline(self.own_deadline(batch.lifetime()));
        }
        self.added(added.items, ticket, fx);
        Ok(first)
    }

    /// Whether nobody waits (reader or producer) and the queue is open.
    #[inline]
    fn is_quiet(&self) -> bool {
        !self.closed && self.attended.is_empty() && self.producers.is_empty()
    }

    /// When a message enqueued now expires.
    #[inline]
    pub(super) fn deadline(&self) -> u64 {
        self.latest.mono.saturating_add(self.lives)
    }

    /// When messages enqueued now leave that have a lifetime of their own; None: they live by the queue's ttl.
    fn own_deadline(&self, lifetime: Lifetime) -> Option<u64> {
        match lifetime {
            Lifetime::Queue => None,
            Lifetime::Own(ttl) => Some(self.latest.mono.saturating_add(ttl)),
            Lifetime::Forever => Some(NEVER),
        }
    }

    /// Notes when messages enqueued now expire.
    #[inline(always)]
    fn set_deadline(&mut self, own: Option<u64>) {
        let deadline = own.unwrap_or(self.deadline());
        if deadline < self.due && self.expires {
            self.due = deadline;
        }
    }

    /// Wakes the readers that new messages concern.
    #[inline]
    pub(super) fn added(&mut self, count: u64, ticket: Option<&Ticket>, fx: &mut Effects<T>) {
        if !self.attended.has_no_readers() {
            let groups = &self.groups;
            self.attended.visit_readers(&mut self.cursors, |cursor| {
                let room = cursor.group.map_or(u64::MAX, |group| groups[group].room());
                cursor.readers.wake(count.min(room), &mut fx.wakers);
            });
        }
        self.wake_all_batches(fx);
        if let Some(ticket) = ticket {
            self.remove_waiter(ticket, fx);
        }
    }

    /// Wakes the first of the producers that wait, if it fits.
    pub(super) fn wake_producer(&mut self, fx: &mut Effects<T>) {
        if let Some(first) = self.producers.front()
            && self.budget.check(first.need).is_ok()
        {
            fx.wakers.push(first.waiter.waker.clone());
        }
    }
}
