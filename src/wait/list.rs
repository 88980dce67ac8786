//! Who waits for what, until when, and who wakes them.
//!
//! A waiter is a [`Waker`]: a parked thread, or a task of some event loop. It enters its list under the queue's lock,
//! after one more look, and whoever changes what it waits for takes it out under the same lock: so no wake-up is lost.
//! The wakers themselves are called after the lock is let go.
//!
//! A waiter that was woken and leaves without taking what it was woken for (its time was up, it was cancelled) hands the
//! wake-up on: see `State::give_up`in `state/waiting.rs`.

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
    /// So many messages that the consumer can read.
    #[allow(dead_code, reason = "for the binding")]
    Batch(ConsumerKey, Enough),
    /// A message that the consumer missed.
    #[allow(dead_code, reason = "for the binding")]
    Missed(ConsumerKey),
    /// Room for so much, under a topic.
    Space(Need, Option<Topic>),
    /// Every consumer has read everything.
    Joined,
}

/// What makes a batch full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enough {
    /// Messages.
    pub(crate) items: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
}

/// One waiting, from its entry to its end.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) condition: Condition,
}

/// One entry of a list.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Which waiting it is.
    pub(crate) ticket: u64,
    /// Serial number of the consumer that waits; 0: none does.
    pub(crate) owner: u64,
    /// How to wake it.
    pub(crate) waker: Waker,
    /// When it waits for a batch: what it waits for, and whether a gap ends the waiting.
    pub(crate) enough: Enough,
    pub(crate) tells: bool,
}

/// Waiters in the order they came.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    waiters: VecDeque<Waiter>,
    /// Where the list stands among those that have waiters, if it does.
    pub(crate) place: Option<usize>,
}

impl WaitList {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn push(&mut self, waiter: Waiter) {
        self.waiters.push_back(waiter);
    }

    /// Takes out the first `count`.
    pub(crate) fn wake(&mut self, count: u64, wakers: &mut Vec<Waker>) {
        let count = self.waiters.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        wakers.extend(self.waiters.drain(..count).map(|waiter| waiter.waker));
    }

    /// Takes out those for which `is_served` is true.
    pub(crate) fn wake_where(&mut self, wakers: &mut Vec<Waker>, mut is_served: impl FnMut(&Waiter) -> bool) {
        self.waiters.retain(|waiter| {
            let is_served = is_served(waiter);
            if is_served {
                wakers.push(waiter.waker.clone());
            }
            !is_served
        });
    }

    /// Takes one out; None if it was taken out already, which means that it was woken.
    pub(crate) fn remove(&mut self, ticket: u64) -> Option<Waker> {
        // Tickets are given in order, and waiters enter in theirs.
        let index = self.waiters.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
        self.waiters.remove(index).map(|waiter| waiter.waker)
    }

    /// Takes those of one consumer out.
    pub(crate) fn take_of(&mut self, owner: u64, wakers: &mut Vec<Waker>) {
        self.wake_where(wakers, |waiter| waiter.owner == owner);
    }

    /// Takes all out, without waking anyone.
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        self.waiters.drain(..).map(|waiter| waiter.waker).collect()
    }
}

/// A producer that waits for space. It keeps its place in the line until it has got in or gives up.
#[derive(Debug)]
pub(crate) struct SpaceWaiter {
    pub(crate) waiter: Waiter,
    /// What it needs, without its topic.
    pub(crate) need: Need,
    pub(crate) topic: Option<Topic>,
}
