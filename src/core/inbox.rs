//! Where producers leave messages while others are at the log.
//!
//! Threads that meet at one lock take turns, and at each turn what it guards moves from the cache of one to that of the
//! other. So where they do meet, an *inbox* is opened for producers, with a lock of its own: they post there, and whoever
//! has read the log to its end moves all of it there. So a producer and a reader work at the same time, and meet once for
//! many messages: two threads that stream through a queue take about half as long.
//!
//! An inbox is opened on [`Terms`]: what the producer who opens it has seen of the state. Only producers and readers leave
//! it open. Everyone else first closes it, by moving what is in it to the log, and so do producers and readers who meet
//! with something unusual. So the terms hold while it is open, and nobody can tell a message in it from one in the log.
//!
//! Its lock comes after the queue's: who has it needs nothing else in order to go on.

use crate::log::chunk::{CHUNK_SIZE, Slot, Stamp};
use crate::need::Need;
use crate::state::producing::Terms;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Host, Mutex, hold, release, try_again};
use crate::time::clock::{Clock, Now};

/// What the lock of the inbox guards.
#[derive(Debug)]
struct Posts<T> {
    /// None: it is closed.
    terms: Option<Terms>,
    /// The messages, as they will be in the log; at most CHUNK_SIZE, for which there is room.
    slots: Vec<Slot<T>>,
}

/// An inbox. It has cache lines of its own, so that who posts does not disturb who reads.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Inbox<T> {
    /// Whether it is worth a look.
    is_open: AtomicBool,
    posts: Mutex<Posts<T>>,
}

impl<T> Inbox<T> {
    /// A closed one.
    pub(crate) fn new() -> Self {
        // The default, for loom: a bit that others may look at first has to be there before they come.
        Inbox { is_open: AtomicBool::default(), posts: Mutex::new(Posts { terms: None, slots: Vec::new() }) }
    }

    /// Whether it is worth to [`post`](Self::post).
    #[inline]
    pub(crate) fn may_be_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Posts a message, and returns its seq. None: the log handles it; `payload` is untouched.
    #[inline]
    pub(crate) fn post<H: Host>(&self, payload: &mut Option<T>, size: u64, clock: &Clock) -> Option<u64> {
        let mut posts = match self.posts.try_lock() {
            Some(posts) => posts,
            None => try_again::<H, _>(&self.posts)?,
        };
        let Posts { terms, slots } = &mut *posts;
        let terms = terms.as_mut()?;
        let need = Need::one(size);
        if slots.len() == CHUNK_SIZE || terms.budget.check(need).is_err() {
            return None;
        }
        // Only now: where the log handles it, that reads the clock.
        let now = terms.latest.later(clock.now());
        if now.mono >= terms.due {
            return None;
        }
        let payload = Some(payload.take()?);
        let (seq, through) = (terms.next, terms.through.wrapping_add(size));
        slots.push(Slot { payload, through, stamp: Stamp::new(now.mono, false), wall: now.wall });
        terms.budget.charge(need);
        terms.next += 1;
        terms.through = through;
        terms.latest = now;
        Some(seq)
    }

    /// Opens it, which is closed, with the empty list `slots` for what comes.
    pub(crate) fn open(&self, mut slots: Vec<Slot<T>>, terms: Terms) {
        slots.reserve_exact(CHUNK_SIZE);
        let mut posts = self.posts.lock();
        *posts = Posts { terms: Some(terms), slots };
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Takes out what is in it, and leaves it open, with the empty list `slots` for what comes. Tells the latest reading of
    /// the clock, too.
    pub(crate) fn collect(&self, mut slots: Vec<Slot<T>>) -> (Vec<Slot<T>>, Option<Now>) {
        slots.reserve_exact(CHUNK_SIZE);
        let mut posts = self.posts.lock();
        let slots = std::mem::replace(&mut posts.slots, slots);
        (slots, posts.terms.as_ref().map(|terms| terms.latest))
    }

    /// Closes it, and takes out what is in it.
    pub(crate) fn close(&self) -> (Vec<Slot<T>>, Option<Now>) {
        let mut posts = self.posts.lock();
        self.is_open.store(false, Ordering::Relaxed);
        (std::mem::take(&mut posts.slots), posts.terms.take().map(|terms| terms.latest))
    }

    /// Keeps it still over a fork.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn before_fork(&self) {
        hold(self.posts.lock());
    }

    /// Lets go of it again.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn after_fork(&self) {
        release(&self.posts);
    }
}
