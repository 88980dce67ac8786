//! Who waits for what and until when, and who wakes them.
//!
//! A waiter is a [`Waker`]: a parked thread, or a task of an event loop. It enters its list under the queue's lock,
//! after one more check. A call that changes what it waits for removes it under the same lock, so no wake-up is lost.
//! The wakers themselves are called after the lock is released.
//!
//! A waiter that was woken may leave without taking what it was woken for, because its time was up or it was cancelled.
//! It passes the wake-up on: see `State::give_up` in `state/waiting.rs`.

use std::collections::VecDeque;
use std::task::Waker;

use crate::keys::ConsumerKey;
use crate::need::Need;
use crate::topics::Topic;

/// What is waited for.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// A message that the consumer can read.
    Message(ConsumerKey),
    /// Enough messages that the consumer can read.
    #[allow(dead_code, reason = "for the binding")]
    Batch(ConsumerKey, Enough),
    /// A message that the consumer missed.
    #[allow(dead_code, reason = "for the binding")]
    Missed(ConsumerKey),
    /// Room for this need, under a topic.
    Space(Need, Option<Topic>),
    /// Every consumer has read everything.
    Joined,
}

/// How much makes a batch full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enough {
    /// Messages.
    pub(crate) items: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
}

impl Enough {
    /// One message. A waiter for it takes no reader's place in line.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) const READABLE: Enough = Enough { items: 1, bytes: u64::MAX };
}

/// One wait, from its entry to its end.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) condition: Condition,
}

/// One entry of a list.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Which wait it is.
    pub(crate) ticket: u64,
    /// Serial number of the consumer that waits; 0: no consumer.
    pub(crate) owner: u64,
    /// How to wake the waiter.
    pub(crate) waker: Waker,
    /// For a waiter for a batch: how much it waits for, and whether a gap ends the wait.
    pub(crate) enough: Enough,
    pub(crate) tells: bool,
}

/// Waiters, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    waiters: VecDeque<Waiter>,
    /// The index of this list among the lists that have waiters, if it has some.
    pub(crate) place: Option<usize>,
}

impl WaitList {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn push(&mut self, waiter: Waiter) {
        self.waiters.push_back(waiter);
    }

    /// Removes the first `count` waiters.
    pub(crate) fn wake(&mut self, count: u64, wakers: &mut Vec<Waker>) {
        let count = self.waiters.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        wakers.extend(self.waiters.drain(..count).map(|waiter| waiter.waker));
    }

    /// Removes the waiters for which `is_served` is true.
    pub(crate) fn wake_where(&mut self, wakers: &mut Vec<Waker>, mut is_served: impl FnMut(&Waiter) -> bool) {
        self.waiters.retain(|waiter| {
            let is_served = is_served(waiter);
            if is_served {
                wakers.push(waiter.waker.clone());
            }
            !is_served
        });
    }

    /// Removes one waiter. None if it was already removed, which means that it was woken.
    pub(crate) fn remove(&mut self, ticket: u64) -> Option<Waker> {
        // Tickets are numbered in order, and waiters enter the list in the order of their tickets.
        let index = self.waiters.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
        self.waiters.remove(index).map(|waiter| waiter.waker)
    }

    /// Removes the waiters of one consumer.
    pub(crate) fn take_of(&mut self, owner: u64, wakers: &mut Vec<Waker>) {
        self.wake_where(wakers, |waiter| waiter.owner == owner);
    }

    /// Removes all waiters, without waking them.
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        self.waiters.drain(..).map(|waiter| waiter.waker).collect()
    }
}

/// A producer that waits for space. It keeps its place in the line until its message is admitted or it gives up.
#[derive(Debug)]
pub(crate) struct SpaceWaiter {
    pub(crate) waiter: Waiter,
    /// How much it needs, without its topic.
    pub(crate) need: Need,
    pub(crate) topic: Option<Topic>,
}
