//! What the queue's lock guards, and the rules that hold it together.
//!
//! Nothing here calls foreign code, waits, or drops a payload: what has to happen after the lock is let go is collected
//! in [`Effects`]. Time is an argument.

use std::collections::VecDeque;
use std::task::Waker;

use slab::Slab;
use uuid::Uuid;

use crate::acks::Acks;
use crate::audit::Reads;
use crate::budget::{Budget, Need};
use crate::chunk::NIL;
use crate::clock::Now;
use crate::cursor::Cursor;
use crate::deadlines::Deadlines;
use crate::departed::Departed;
use crate::log::{Log, Removed};
use crate::options::{Options, Overflow, Retention};
use crate::wait::{Producer, WaitList};

mod consumers;
mod figures;
mod groups;
mod leaving;
mod producing;
mod reading;
mod waiting;

pub(crate) use groups::{Burial, Dying};
use leaving::Gone;

/// Chunks that one hold of the lock removes at the most: far below 100 µs.
const SLICE: usize = 128;
/// Consumers whose read records are looked at for each slice of removals.
const TRIM: usize = 64;
/// No moment at all.
pub(crate) const NEVER: u64 = u64::MAX;

/// What is left to do once the lock is free.
#[derive(Debug)]
pub(crate) struct Effects<T> {
    /// Payloads to drop.
    pub(crate) removed: Removed<T>,
    /// Waiters to wake.
    pub(crate) wakers: Vec<Waker>,
    /// Waiters that left by themselves: to drop, for that may run foreign code, too.
    pub(crate) unwoken: Vec<Waker>,
    /// Messages to move to the dead letter queue of a group.
    pub(crate) dying: Vec<Dying>,
}

impl<T> Effects<T> {
    pub(crate) fn new() -> Self {
        Effects { removed: Removed::new(), wakers: Vec::new(), unwoken: Vec::new(), dying: Vec::new() }
    }
}

impl<T> Effects<T> {
    /// Whether nothing has ever been put in.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let Removed { payloads, chunks } = &self.removed;
        // A list of payloads without a size has an endless capacity from the start, and never allocates.
        let payloads = if size_of::<T>() == 0 { payloads.len() } else { payloads.capacity() };
        payloads | chunks.capacity() | self.wakers.capacity() | self.unwoken.capacity() | self.dying.capacity() == 0
    }
}

/// Which consumer: its place, and a serial number that no other ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerKey {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}

/// Which group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupKey {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}

/// Consumers that share a cursor.
#[derive(Debug)]
pub(crate) struct Group {
    serial: u64,
    pub(crate) name: String,
    /// Key of its cursor.
    cursor: usize,
    /// How many share it now.
    members: u64,
    /// Its pending deliveries, if it acknowledges.
    acks: Option<Acks>,
    /// Deliveries that were not the first of their message.
    pub(crate) redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub(crate) dead_lettered: u64,
    /// Messages that the dead letter queue could never take: they are among the missed ones.
    pub(crate) refused_dead_letters: u64,
}

/// A reader at a cursor.
#[derive(Debug)]
pub(crate) struct Consumer {
    serial: u64,
    pub(crate) id: Uuid,
    pub(crate) name: Option<String>,
    /// Key of its cursor.
    pub(crate) cursor: usize,
    /// Key of the group that it is a member of.
    pub(crate) group: Option<usize>,
    /// Messages it read (in a group: deliveries that it was given).
    read: u64,
    /// When it read last, wall clock; 0: never.
    pub(crate) last_read: u64,
    /// What it read and when.
    pub(crate) reads: Reads,
    /// Whether a read fails when something was missed.
    tells: bool,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// Something to read.
    Message(ConsumerKey),
    /// Something missed.
    Missed(ConsumerKey),
    /// Space.
    Space(Need),
    /// Everyone to have read everything.
    Joined,
}

/// A place among the waiters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    number: u64,
    what: What,
}

#[derive(Debug)]
pub(crate) struct State<T> {
    pub(crate) log: Log<T>,
    pub(crate) budget: Budget,
    pub(crate) consumers: Slab<Consumer>,
    cursors: Slab<Cursor>,
    groups: Slab<Group>,
    /// What removed consumers had read and missed.
    departed: Departed,
    retention: Retention,
    overflow: Overflow,
    audit: bool,
    /// Whether reads have a time.
    is_read_timed: bool,
    /// Nanoseconds that a message lives, unless it has a lifetime of its own.
    ttl: Option<u64>,
    expires: bool,
    /// Nanoseconds that a message enqueued now lives, by those two; NEVER: for ever.
    lives: u64,
    /// The lifetimes that are not the queue's.
    deadlines: Deadlines,
    /// Every message before this seq that lives by the queue's ttl has expired.
    swept: u64,
    /// A moment before which nothing expires.
    due: u64,
    /// With `Retention::Interest`: every message before this seq that nobody needs has left.
    collected: u64,
    /// The moment at which the expiration thread looks here next.
    pub(crate) armed: u64,
    pub(crate) closed: bool,
    /// Whether producers may be posting messages in the inbox, on [`terms`](Self::terms) that hold until that is closed.
    pub(crate) has_inbox: bool,
    /// Whether somebody has found the lock taken since this was last looked at.
    pub(crate) is_contended: bool,
    /// The latest reading of the clock, so that no stamp runs backwards.
    latest: Now,
    pub(crate) expired: u64,
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
    /// Bytes of all read records.
    audit_bytes: usize,
    /// Where the next round of trimming read records begins.
    trim_from: usize,
    /// Head at which all read records were last trimmed.
    trimmed: u64,
    /// Keys of the cursors that someone waits at for a message, or for something missed.
    waiting: Vec<usize>,
    /// Who waits for space.
    producers: VecDeque<Producer>,
    /// Who waits for everything to be read.
    joiners: WaitList,
    next_ticket: u64,
    next_serial: u64,
}

impl<T> State<T> {
    pub(crate) fn new(options: &Options, now: Now) -> Self {
        State {
            log: Log::new(),
            budget: Budget::new(options.max_bytes, options.max_items),
            consumers: Slab::new(),
            cursors: Slab::new(),
            groups: Slab::new(),
            departed: Departed::default(),
            retention: options.retention,
            overflow: options.overflow,
            audit: options.audit,
            is_read_timed: options.audit || options.read_times,
            ttl: options.ttl,
            expires: true,
            lives: options.ttl.unwrap_or(NEVER),
            deadlines: Deadlines::default(),
            swept: 0,
            due: NEVER,
            collected: 0,
            armed: NEVER,
            closed: false,
            has_inbox: false,
            is_contended: false,
            latest: now,
            expired: 0,
            dropped: 0,
            rejected: 0,
            audit_bytes: 0,
            trim_from: 0,
            trimmed: 0,
            waiting: Vec::new(),
            producers: VecDeque::new(),
            joiners: WaitList::default(),
            next_ticket: 0,
            next_serial: 0,
        }
    }

    // --- time -------------------------------------------------------------------------------------------------

    /// Takes a reading of the clock in, and gives it back such that it never runs backwards.
    #[inline]
    pub(crate) fn advance(&mut self, now: Now) -> Now {
        self.latest = self.latest.later(now);
        self.latest
    }

    /// Whether something may be past its time.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.latest.mono >= self.due
    }

    /// When it has to be looked at next; NEVER: not before something is enqueued.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    pub(crate) fn ttl(&self) -> Option<u64> {
        self.ttl
    }

    /// Changes the queue's ttl, also for what is held.
    pub(crate) fn set_ttl(&mut self, ttl: Option<u64>) {
        self.ttl = ttl;
        self.lifetime_changed();
    }

    pub(crate) fn expires(&self) -> bool {
        self.expires
    }

    pub(crate) fn set_expires(&mut self, expires: bool) {
        self.expires = expires;
        self.lifetime_changed();
    }

    fn lifetime_changed(&mut self) {
        self.lives = self.ttl.filter(|_| self.expires).unwrap_or(NEVER);
        self.find_due();
    }

    /// Does what is due: removes what is past its time, a slice of it, and lets groups redeliver. While
    /// [`is_due`](Self::is_due), there is more. Returns how many messages have expired.
    pub(crate) fn expire(&mut self, fx: &mut Effects<T>) -> u64 {
        let (count, is_done) = if self.expires { self.remove_expired(fx) } else { (0, true) };
        if is_done {
            self.run_timers(fx);
            self.find_due();
        }
        count
    }

    /// Removes a slice of what is past its time: how many, and whether that was all.
    fn remove_expired(&mut self, fx: &mut Effects<T>) -> (u64, bool) {
        let now = self.latest.mono;
        let mut gone = Gone::none();
        let mut is_done = true;
        while let Some((deadline, seq)) = self.deadlines.first()
            && deadline <= now
        {
            if gone.need.items as usize >= SLICE * 8 {
                is_done = false;
                break;
            }
            self.deadlines.remove(seq);
            if let Some(need) = self.log.remove(seq, NIL, &mut fx.removed) {
                gone.add(need, seq..seq + 1);
            }
        }
        if is_done
            && let Some(ttl) = self.ttl
            && let Some(cutoff) = now.checked_sub(ttl)
        {
            let from = self.swept;
            let swept = self.log.sweep(
                from,
                SLICE,
                &mut fx.removed,
                |chunk| chunk.slots.last().is_some_and(|slot| slot.stamp.mono() <= cutoff),
                |_, slot| (slot.stamp.mono() <= cutoff).then(|| !slot.stamp.has_own_ttl()),
            );
            self.swept = swept.upto;
            gone.add(swept.need, from..swept.upto);
            is_done = swept.done;
        }
        self.expired += gone.need.items;
        let count = gone.need.items;
        self.give_back(gone, fx);
        (count, is_done)
    }

    /// Finds the next moment at which something is due.
    fn find_due(&mut self) {
        self.due = self.groups.iter().filter_map(|(_, group)| group.acks.as_ref()?.due()).min().unwrap_or(NEVER);
        if !self.expires {
            return;
        }
        if let Some((deadline, _)) = self.deadlines.first() {
            self.due = self.due.min(deadline);
        }
        if let Some(ttl) = self.ttl
            && let Some(found) = self.log.first_at(self.swept, &mut { NIL })
        {
            self.due = self.due.min(found.stamp.mono().saturating_add(ttl));
        }
    }

    // --- limits and ending --------------------------------------------------------------------------------

    pub(crate) fn set_max_bytes(&mut self, max: u64, fx: &mut Effects<T>) {
        self.budget.set_max_bytes(max);
        self.limits_changed(fx);
    }

    pub(crate) fn set_max_items(&mut self, max: Option<u64>, fx: &mut Effects<T>) {
        self.budget.max_items = max;
        self.limits_changed(fx);
    }

    fn limits_changed(&mut self, fx: &mut Effects<T>) {
        // Those who can never get in any more wake, too, to be told so.
        let budget = &self.budget;
        let hopeless = |producer: &&Producer| budget.check_ever(producer.need).is_err();
        fx.wakers.extend(self.producers.iter().filter(hopeless).map(|producer| producer.waiter.waker.clone()));
        self.wake_producer(fx);
    }

    pub(crate) fn close(&mut self, immediate: bool, fx: &mut Effects<T>) {
        self.closed = true;
        if immediate {
            self.discard(fx);
        }
        self.wake_all(fx);
    }

    /// Takes every payload out, for a queue that nobody can reach any more.
    pub(crate) fn clear(&mut self, fx: &mut Effects<T>) {
        self.discard(fx);
    }

    /// Forgets everyone who waits: after a fork, they are threads and loops of the parent.
    pub(crate) fn forget_waiters(&mut self) -> Vec<Waker> {
        let mut fx = Effects::new();
        self.wake_all(&mut fx);
        fx.wakers.extend(self.joiners.take());
        fx.wakers
    }

    /// Checks everything that must hold between operations.
    pub(crate) fn check(&self) {
        self.log.check();
        self.deadlines.check(|seq| self.log.contains(seq));
        assert_eq!(self.budget.items(), self.log.len());
        let audit: usize = self.consumers.iter().map(|(_, consumer)| consumer.reads.bytes()).sum();
        assert_eq!(audit, self.audit_bytes);
        for (_, cursor) in &self.cursors {
            assert!(cursor.position <= self.log.next());
        }
        for acks in self.groups.iter().filter_map(|(_, group)| group.acks.as_ref()) {
            acks.check();
        }
    }
}
