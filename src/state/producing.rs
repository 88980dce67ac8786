//! Producing: who gets in, and whom it wakes.

use super::{Effects, NEVER, State, Ticket};
use crate::budget::Need;
use crate::chunk::Stamp;
use crate::error::{Error, Full, Limit};
use crate::options::{Lifetime, Overflow};

impl<T> State<T> {
    /// Whether a producer may add `need` now; `ticket` is the place it has waited in, if it has.
    pub(super) fn admit(&mut self, need: Need, ticket: Option<&Ticket>, fx: &mut Effects<T>) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.budget.check_ever(need).map_err(Error::Full)?;
        if let Some(first) = self.producers.front()
            && ticket.is_none_or(|ticket| ticket.number != first.waiter.ticket)
        {
            // Those who came before go first, and a large batch is not starved by what is small.
            let ahead = self.budget.check(need).err();
            return Err(Error::Full(ahead.unwrap_or(Full {
                limit: Limit::Memory,
                current: self.budget.bytes(),
                max: self.budget.max_bytes,
                needed: need.charge(),
            })));
        }
        match self.budget.check(need) {
            Err(_) if self.overflow == Overflow::DropOldest => self.drop_oldest(need, fx),
            checked => checked.map_err(Error::Full)?,
        }
        Ok(())
    }

    /// Counts a refusal.
    pub(crate) fn reject(&mut self, need: Need) {
        self.rejected += need.items;
    }

    /// Adds one message in the usual case: there is room, and nobody waits for it or before it. None: the payload is
    /// still there, and [`enqueue`](Self::enqueue) has to see to it.
    #[inline]
    pub(crate) fn enqueue_next(&mut self, payload: &mut Option<T>, size: u64) -> Option<u64> {
        let need = Need::one(size);
        let is_usual = !self.closed
            && self.waiting.is_empty()
            && self.producers.is_empty()
            && self.armed <= self.deadline()
            && self.budget.check(need).is_ok();
        let payload = payload.take_if(|_| is_usual)?;
        self.budget.charge(need);
        Some(self.push(payload, size, Lifetime::Queue))
    }

    /// Adds one message, or says why not (and hands it back through `payload`).
    #[inline]
    pub(crate) fn enqueue(
        &mut self,
        payload: &mut Option<T>,
        size: u64,
        lifetime: Lifetime,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<u64, Error> {
        let need = Need::one(size);
        if self.closed || !self.producers.is_empty() || self.budget.check(need).is_err() {
            self.admit(need, ticket, fx)?;
        }
        let Some(payload) = payload.take() else { return Err(Error::Closed) };
        let seq = self.push(payload, size, lifetime);
        self.budget.charge(need);
        self.added(1, ticket, fx);
        Ok(seq)
    }

    /// Adds `need.items` messages, or none. `each` gives them with their sizes, which come to `need.bytes`.
    pub(crate) fn enqueue_batch(
        &mut self,
        each: impl Iterator<Item = (T, u64)>,
        need: Need,
        lifetime: Lifetime,
        ticket: Option<&Ticket>,
        fx: &mut Effects<T>,
    ) -> Result<u64, Error> {
        self.admit(need, ticket, fx)?;
        let first = self.log.next();
        let mut added = Need { bytes: 0, items: 0 };
        for (payload, size) in each {
            self.push(payload, size, lifetime);
            added.bytes += size;
            added.items += 1;
        }
        debug_assert_eq!(added, need);
        self.budget.charge(added);
        self.added(added.items, ticket, fx);
        Ok(first)
    }

    /// When a message enqueued now expires.
    #[inline]
    fn deadline(&self) -> u64 {
        self.ttl.map_or(NEVER, |ttl| self.latest.mono.saturating_add(ttl))
    }

    #[inline]
    pub(super) fn push(&mut self, payload: T, size: u64, lifetime: Lifetime) -> u64 {
        let now = self.latest;
        let stamp = Stamp::new(now.mono, lifetime != Lifetime::Queue);
        let seq = self.log.append(payload, size, stamp, now.wall);
        let deadline = match lifetime {
            Lifetime::Queue => self.deadline(),
            Lifetime::Own(ttl) => {
                let deadline = now.mono.saturating_add(ttl);
                self.deadlines.insert(seq, deadline);
                deadline
            }
            Lifetime::Forever => NEVER,
        };
        if deadline < self.due && self.expires {
            self.due = deadline;
        }
        seq
    }

    /// Wakes whom new messages concern.
    #[inline]
    pub(super) fn added(&mut self, count: u64, ticket: Option<&Ticket>, fx: &mut Effects<T>) {
        if !self.waiting.is_empty() {
            for &key in &self.waiting {
                let cursor = &mut self.cursors[key];
                let room = cursor.group.map_or(u64::MAX, |group| self.groups[group].room());
                cursor.readers.wake(count.min(room), &mut fx.wakers);
            }
            self.forget_idle();
        }
        if let Some(ticket) = ticket {
            self.satisfied(ticket, fx);
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
