//! The state that the queue's lock guards, and its rules.
//!
//! Nothing here calls foreign code, waits, or drops a payload. Work that has to be done after the lock is released is
//! collected in [`Effects`]. Time is an argument.

mod acks;
mod attended;
mod auditing;
mod batching;
mod consumers;
mod cursor;
mod departed;
mod effects;
mod expiring;
mod figures;
mod firsts;
mod floor;
mod gone;
mod groups;
mod hashing;
mod interest;
mod leasing;
mod leaving;
mod limits;
mod order;
mod pending;
pub(crate) mod producing;
mod readers;
mod reading;
mod rescuing;
mod roll;
mod slices;
mod trail;
mod waiting;
mod wanting;

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use slab::Slab;
use uuid::Uuid;

use crate::log::Log;
use crate::log::budget::Budget;
use crate::options::{Options, Overflow, Retention};
use crate::time::NEVER;
use crate::time::clock::Now;
use crate::wait::list::{SpaceWaiter, WaitList};
use acks::Acks;
use attended::Attended;
use auditing::Audit;
use cursor::Cursor;
use departed::Departed;
use effects::Discarded;
pub(crate) use effects::{Burial, Dying, Effects};
use firsts::Firsts;
use floor::Floor;
use hashing::ByBits;
use readers::Abandoned;
pub(crate) use readers::{Consumer, Group, Identity};
use wanting::Wanting;

#[derive(Debug)]
pub(crate) struct State<T> {
    pub(crate) log: Log<T>,
    pub(crate) budget: Budget,
    pub(crate) consumers: Slab<Box<Consumer<T>>>,
    /// Serial numbers of the consumers by place. So listing all consumers does not visit each of them.
    serials: Vec<u64>,
    /// Places of the consumers by id, and of the groups by name.
    ids: HashMap<Uuid, usize, ByBits>,
    names: HashMap<String, usize>,
    cursors: Slab<Box<Cursor>>,
    groups: Slab<Group>,
    firsts: Firsts,
    /// Sums of what removed consumers had read and missed.
    departed: Departed,
    abandoned: Vec<Abandoned>,
    retention: Retention,
    overflow: Overflow,
    audit: Audit,
    /// Whether reads record the time.
    is_read_timed: bool,
    /// Nanoseconds that a message lives, unless it has a lifetime of its own.
    ttl: Option<u64>,
    expires: bool,
    /// Nanoseconds that a message enqueued now lives, which follows from `ttl` and `expires`; NEVER: no limit.
    lives: u64,
    /// Every message before this seq that lives by the queue's ttl has expired.
    swept: u64,
    /// A message that expires next, and that many groups have pending: groups with a lower index have lost it already.
    freeing: Option<(u64, usize)>,
    /// A moment before which nothing expires.
    due: u64,
    /// With `Retention::Interest`: every message before this seq that is not needed has left.
    collected: u64,
    /// Whether more messages may have to leave because they are not needed.
    pub(crate) has_to_collect: bool,
    /// The moment at which the expiration thread checks this queue next.
    pub(crate) armed: u64,
    pub(crate) closed: bool,
    /// The latest reading of the clock. It ensures that no time stamp runs backwards.
    latest: Now,
    pub(crate) expired: u64,
    pub(crate) rejected: u64,
    /// With `Retention::Interest`: the positions of all cursors without a filter. Otherwise empty.
    floor: Floor,
    /// With `Retention::Interest`: which cursors with filters need which messages.
    wanting: Wanting,
    /// Whether messages are added in the usual way: the queue is open, and every message is wanted by some cursor.
    is_plain: bool,
    /// The cursors that others follow.
    leaders: Vec<usize>,
    /// Whether any group lets its dead letter queue take what it would miss.
    has_rescuers: bool,
    /// The cursors that have waiters.
    attended: Attended,
    /// Producers that wait for space.
    producers: VecDeque<SpaceWaiter>,
    /// Waiters for everything to be read.
    joiners: WaitList,
    /// Keys of a cursor and of a group that had not read or settled everything at the last check.
    behind: (usize, usize),
    /// The cursor that is asked next for what it did not miss of what was dropped.
    next_asked: usize,
    next_ticket: u64,
    next_serial: u64,
}

impl<T> State<T> {
    pub(crate) fn new(options: &Options, now: Now) -> Self {
        State {
            log: Log::new(),
            budget: Budget::new(options.max_bytes, options.max_items),
            consumers: Slab::new(),
            serials: Vec::new(),
            ids: HashMap::default(),
            names: HashMap::new(),
            cursors: Slab::new(),
            groups: Slab::new(),
            firsts: Firsts::default(),
            departed: Departed::default(),
            abandoned: Vec::new(),
            retention: options.retention,
            overflow: options.overflow,
            audit: Audit::new(options.audit, options.max_bytes),
            is_read_timed: options.audit || options.read_times,
            ttl: options.ttl,
            expires: true,
            lives: options.ttl.unwrap_or(NEVER),
            swept: 0,
            freeing: None,
            due: NEVER,
            collected: 0,
            has_to_collect: false,
            armed: NEVER,
            closed: false,
            latest: now,
            expired: 0,
            rejected: 0,
            floor: Floor::new(),
            wanting: Wanting::default(),
            is_plain: true,
            leaders: Vec::new(),
            has_rescuers: false,
            attended: Attended::default(),
            producers: VecDeque::new(),
            joiners: WaitList::default(),
            behind: (0, 0),
            next_asked: 0,
            next_ticket: 0,
            next_serial: 0,
        }
    }

    /// Stores a reading of the clock, unless a later one is stored.
    #[inline]
    pub(crate) fn advance(&mut self, now: Now) {
        self.latest = self.latest.later(now);
    }

    /// The time. It never runs backwards.
    #[inline]
    pub(crate) fn latest(&self) -> Now {
        self.latest
    }

    /// Whether something may be due.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.latest.mono >= self.due
    }

    /// The earliest moment at which something may be due; NEVER: nothing is due until a message is enqueued.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Removes all waiters: after a fork they are threads and event loops of the parent.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn forget_waiters(&mut self) -> Vec<Waker> {
        let mut fx = Effects::new();
        self.wake_all(&mut fx);
        fx.wakers.extend(self.joiners.take());
        fx.wakers
    }

    /// Checks all invariants between operations.
    pub(crate) fn check(&self) {
        self.log.check();
        assert_eq!(self.budget.items(), self.log.len());
        self.audit.check(&self.consumers);
        assert_eq!((self.ids.len(), self.names.len()), (self.consumers.len(), self.groups.len()));
        for (place, consumer) in &self.consumers {
            assert_eq!((self.ids[&consumer.id], self.serials[place]), (place, consumer.serial));
        }
        for (_, cursor) in &self.cursors {
            assert!(cursor.position <= self.log.next() && !cursor.is_leased);
            assert!(cursor.dropped(&self.log) + cursor.undeliverable() <= cursor.missed(&self.log));
        }
        assert!(!self.log.leases.any_open() && !self.log.leases.has_returned());
        self.attended.check(&self.cursors);
        if self.retention == Retention::Interest {
            // It is lower if a panic of foreign code ended a read. The next read corrects it.
            let unfiltered = self.cursors.iter().filter(|(_, cursor)| cursor.filter.is_none());
            let lowest = unfiltered.map(|(_, cursor)| cursor.position).min();
            assert!(self.floor.lowest() <= lowest && self.floor.lowest().is_some() == lowest.is_some());
            self.check_wanting();
        }
        for (place, group) in &self.groups {
            let members = self.consumers.iter().filter(|(_, consumer)| consumer.group == Some(place));
            let mut serials: Vec<u64> = members.map(|(_, consumer)| consumer.serial).collect();
            serials.sort_unstable();
            assert!(group.members.iter().map(|member| member.serial).eq(serials));
            assert_eq!(group.charged, group.unsettled());
            group.acks.iter().for_each(Acks::check);
        }
        self.firsts.check(&self.groups);
        // Two turns of all cursors, and what began in one hold of the lock.
        assert!(self.log.drops.runs() <= 2 * self.cursors.capacity() + 2_000);
        assert_eq!(self.budget.pending(), self.groups.iter().map(|(_, group)| group.charged).sum::<u64>());
    }
}
