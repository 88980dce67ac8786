//! What the queue's lock guards, and the rules that hold it together.
//!
//! Nothing here calls foreign code, waits, or drops a payload: what has to happen after the lock is let go is collected
//! in [`Effects`]. Time is an argument.

use std::collections::VecDeque;
use std::ops::Range;
use std::task::Waker;

use slab::Slab;
use uuid::Uuid;

use crate::audit::Reads;
use crate::budget::{Budget, Need};
use crate::chunk::{CHUNK_SIZE, NIL, Stamp};
use crate::clock::Now;
use crate::cursor::Cursor;
use crate::deadlines::Deadlines;
use crate::error::{Error, Full, Limit};
use crate::group::Acks;
use crate::log::{Log, Removed};
use crate::queue::{ConsumerStats, Delivery, Lifetime, MissedPolicy, Options, Overflow, Retention, Start};
use crate::wait::{Producer, WaitList, Waiter};

mod groups;

pub(crate) use groups::{Burial, Dying};

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
        let removed = self.removed.payloads.capacity() + self.removed.chunks.capacity();
        removed + self.wakers.capacity() + self.unwoken.capacity() + self.dying.capacity() == 0
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
    /// Its pending deliveries, if it acknowledges.
    acks: Option<Acks>,
    /// Deliveries that were not the first of their message.
    pub(crate) redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub(crate) dead_lettered: u64,
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
    /// Messages it read (in an acknowledging group: settled).
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
    retention: Retention,
    overflow: Overflow,
    audit: bool,
    /// Nanoseconds that a message lives, unless it has a lifetime of its own.
    ttl: Option<u64>,
    expires: bool,
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
            retention: options.retention,
            overflow: options.overflow,
            audit: options.audit,
            ttl: options.ttl,
            expires: true,
            deadlines: Deadlines::default(),
            swept: 0,
            due: NEVER,
            collected: 0,
            armed: NEVER,
            closed: false,
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

    // --- time ---------------------------------------------------------------------------------------------------------

    /// Takes a reading of the clock in, and gives it back such that it never runs backwards.
    #[inline]
    pub(crate) fn advance(&mut self, now: Now) -> Now {
        self.latest = Now { mono: self.latest.mono.max(now.mono), wall: self.latest.wall.max(now.wall) };
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
        self.find_due();
    }

    pub(crate) fn expires(&self) -> bool {
        self.expires
    }

    pub(crate) fn set_expires(&mut self, expires: bool) {
        self.expires = expires;
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

    // --- what has left ------------------------------------------------------------------------------------------------

    /// Settles the books for what was taken out of the log, and tells whom it concerns.
    fn give_back(&mut self, gone: Gone, fx: &mut Effects<T>) {
        if gone.need.items == 0 {
            return;
        }
        self.budget.give_back(gone.need);
        self.trim_reads(TRIM);
        for (_, group) in &mut self.groups {
            if let Some(acks) = &mut group.acks
                && !acks.is_empty()
            {
                // What was pending has been passed by the cursor, which therefore would not miss it by itself.
                let lost = acks.forget(gone.seqs.clone(), |seq| self.log.contains(seq));
                let cursor = &mut self.cursors[group.cursor];
                cursor.lose(lost);
                // They made room for new deliveries; the end of a closed queue concerns everyone.
                let concerns = match self.closed && lost > 0 && acks.is_empty() {
                    true => u64::MAX,
                    false => lost.min(self.log.count_from(cursor.position, cursor.hint)),
                };
                cursor.readers.wake(concerns, &mut fx.wakers);
            }
        }
        if !self.waiting.is_empty() {
            let (cursors, log) = (&mut self.cursors, &self.log);
            for &key in &self.waiting {
                let cursor = &mut cursors[key];
                if !cursor.missers.is_empty() && cursor.has_missed(log) {
                    cursor.missers.wake(1, &mut fx.wakers);
                }
            }
            self.forget_idle();
        }
        self.wake_producer(fx);
        self.wake_joiners(fx);
    }

    /// With `Retention::Interest`: removes what every cursor has passed and no group has pending.
    fn collect(&mut self, fx: &mut Effects<T>) {
        if self.retention != Retention::Interest || self.cursors.is_empty() {
            return;
        }
        let floor = self.cursors.iter().map(|(_, cursor)| cursor.position).min().unwrap_or(0);
        let from = self.collected.max(self.log.head());
        self.collected = floor;
        if floor <= from {
            return;
        }
        let groups = &self.groups;
        let acks = || groups.iter().filter_map(|(_, group)| group.acks.as_ref());
        let swept = self.log.sweep(
            from,
            usize::MAX,
            &mut fx.removed,
            |chunk| chunk.end() <= floor && !acks().any(|acks| acks.any_in(chunk.base..chunk.end())),
            |seq, _| (seq < floor).then(|| !acks().any(|acks| acks.contains(seq))),
        );
        self.deadlines.forget(from..floor, |seq| self.log.contains(seq));
        self.give_back(Gone { need: swept.need, seqs: from..floor }, fx);
    }

    /// With `Retention::Interest`: removes one message, if nobody needs it any more.
    fn collect_one(&mut self, seq: u64, fx: &mut Effects<T>) {
        if self.retention != Retention::Interest
            || self.cursors.iter().any(|(_, cursor)| cursor.position <= seq)
            || self.groups.iter().any(|(_, group)| group.acks.as_ref().is_some_and(|acks| acks.contains(seq)))
        {
            return;
        }
        if let Some(need) = self.log.remove(seq, NIL, &mut fx.removed) {
            self.deadlines.remove(seq);
            self.give_back(Gone { need, seqs: seq..seq + 1 }, fx);
        }
    }

    /// Drops the oldest messages until `need` fits, which it can.
    fn drop_oldest(&mut self, need: Need, fx: &mut Effects<T>) {
        let mut gone = Gone::none();
        while self.budget.check(need).is_err() {
            let head = self.log.head();
            let Some(one) = self.log.remove(head, NIL, &mut fx.removed) else { break };
            self.deadlines.remove(head);
            self.budget.give_back(one);
            gone.add(one, head..head + 1);
        }
        self.dropped += gone.need.items;
        self.budget.charge(gone.need);
        self.give_back(gone, fx);
    }

    /// Empties the queue. Nobody has missed anything by it.
    fn discard(&mut self, fx: &mut Effects<T>) {
        let end = self.log.next();
        let missed: Vec<u64> = self.cursors.iter().map(|(_, cursor)| cursor.missed(&self.log)).collect();
        for (_, group) in &mut self.groups {
            group.acks.iter_mut().for_each(Acks::clear);
        }
        let swept = self.log.sweep(0, usize::MAX, &mut fx.removed, |_| true, |_, _| Some(true));
        self.deadlines.clear();
        self.due = NEVER;
        for ((_, cursor), missed) in self.cursors.iter_mut().zip(missed) {
            cursor.discard_to(end, missed);
        }
        self.give_back(Gone { need: swept.need, seqs: 0..end }, fx);
    }

    // --- producing ----------------------------------------------------------------------------------------------------

    /// Whether a producer may add `need` now; `ticket` is the place it has waited in, if it has.
    fn admit(&mut self, need: Need, ticket: Option<&Ticket>, fx: &mut Effects<T>) -> Result<(), Error> {
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

    #[inline]
    fn push(&mut self, payload: T, size: u64, lifetime: Lifetime) -> u64 {
        let now = self.latest;
        let stamp = Stamp::new(now.mono, lifetime != Lifetime::Queue);
        let seq = self.log.append(payload, size, stamp, now.wall);
        let deadline = match lifetime {
            Lifetime::Queue => self.ttl.map_or(NEVER, |ttl| now.mono.saturating_add(ttl)),
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
    fn added(&mut self, count: u64, ticket: Option<&Ticket>, fx: &mut Effects<T>) {
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
    fn wake_producer(&mut self, fx: &mut Effects<T>) {
        if let Some(first) = self.producers.front()
            && self.budget.check(first.need).is_ok()
        {
            fx.wakers.push(first.waiter.waker.clone());
        }
    }

    // --- consumers ----------------------------------------------------------------------------------------------------

    pub(crate) fn add_consumer(
        &mut self,
        id: Uuid,
        name: Option<String>,
        start: Start,
        policy: MissedPolicy,
        fx: &mut Effects<T>,
    ) -> Result<ConsumerKey, Error> {
        let position = self.seq_of(start)?;
        let cursor = self.cursors.insert(Cursor::new(position, None, &self.log));
        let key = self.insert_consumer(id, name, cursor, None, policy);
        self.collected = self.collected.min(position);
        self.collect(fx);
        Ok(key)
    }

    fn insert_consumer(
        &mut self,
        id: Uuid,
        name: Option<String>,
        cursor: usize,
        group: Option<usize>,
        policy: MissedPolicy,
    ) -> ConsumerKey {
        let serial = self.new_serial();
        let index = self.consumers.insert(Consumer {
            serial,
            id,
            name,
            cursor,
            group,
            read: 0,
            last_read: 0,
            reads: Reads::default(),
            tells: policy == MissedPolicy::Tell,
        });
        ConsumerKey { index, serial }
    }

    fn new_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// Takes a consumer out, with its records. Whoever waits at it wakes. False if it was out already.
    pub(crate) fn remove_consumer(&mut self, key: ConsumerKey, fx: &mut Effects<T>) -> bool {
        if self.consumer(key).is_err() {
            return false;
        }
        let consumer = self.consumers.remove(key.index);
        self.audit_bytes -= consumer.reads.bytes();
        match consumer.group {
            None => self.remove_cursor(consumer.cursor, fx),
            Some(group) => self.remove_member(group, consumer.serial, fx),
        }
        true
    }

    fn remove_cursor(&mut self, key: usize, fx: &mut Effects<T>) {
        let mut cursor = self.cursors.remove(key);
        self.waiting.retain(|&other| other != key);
        fx.wakers.extend(cursor.readers.take());
        fx.wakers.extend(cursor.missers.take());
        self.collect(fx);
        self.wake_joiners(fx);
    }

    #[inline]
    pub(crate) fn consumer(&self, key: ConsumerKey) -> Result<&Consumer, Error> {
        match self.consumers.get(key.index) {
            Some(consumer) if consumer.serial == key.serial => Ok(consumer),
            _ => Err(Error::ConsumerClosed),
        }
    }

    pub(crate) fn cursor(&self, key: ConsumerKey) -> Result<&Cursor, Error> {
        Ok(&self.cursors[self.consumer(key)?.cursor])
    }

    /// Keys of all consumers, in the order they were added.
    pub(crate) fn consumer_keys(&self) -> Vec<ConsumerKey> {
        let mut keys: Vec<_> =
            self.consumers.iter().map(|(index, consumer)| ConsumerKey { index, serial: consumer.serial }).collect();
        keys.sort_by_key(|key| key.serial);
        keys
    }

    fn seq_of(&self, start: Start) -> Result<u64, Error> {
        Ok(match start {
            Start::Earliest => self.log.head(),
            Start::Latest => self.log.next(),
            Start::Seq(seq) if seq > self.log.next() => return Err(Error::BeyondEnd(self.log.next())),
            Start::Seq(seq) => seq.max(self.log.head()),
            Start::Time(wall) => self.log.seq_at(wall),
        })
    }

    pub(crate) fn seek(&mut self, key: ConsumerKey, to: Start, fx: &mut Effects<T>) -> Result<(), Error> {
        let to = self.seq_of(to)?;
        let at = self.consumer(key)?.cursor;
        let cursor = &mut self.cursors[at];
        if let Some(acks) = cursor.group.and_then(|group| self.groups[group].acks.as_mut()) {
            acks.take_back(to);
        }
        let skipped = cursor.seek(to, &self.log);
        self.consumers[key.index].read += skipped;
        self.collected = self.collected.min(to);
        let available = self.available(at);
        self.cursors[at].readers.wake(available, &mut fx.wakers);
        self.forget_idle();
        self.collect(fx);
        self.wake_joiners(fx);
        Ok(())
    }

    /// The seq of the next message that the consumer would read.
    pub(crate) fn position(&self, key: ConsumerKey) -> Result<u64, Error> {
        let cursor = self.cursor(key)?;
        let mut hint = cursor.hint;
        Ok(self.log.first_at(cursor.position, &mut hint).map_or(self.log.next(), |found| found.seq))
    }

    /// Messages that the consumer has not read.
    pub(crate) fn unread(&self, key: ConsumerKey) -> Result<u64, Error> {
        let cursor = self.cursor(key)?;
        Ok(self.log.count_from(cursor.position, cursor.hint))
    }

    // --- reading ------------------------------------------------------------------------------------------------------

    /// Hands up to `limit` messages over, and returns how many. 0: nothing is there, and more may come.
    #[inline]
    pub(crate) fn read(
        &mut self,
        key: ConsumerKey,
        limit: usize,
        fx: &mut Effects<T>,
        mut visit: impl FnMut(Delivery<'_, T>),
    ) -> Result<usize, Error> {
        let wall = self.latest.wall;
        let consumer = match self.consumers.get_mut(key.index) {
            Some(consumer) if consumer.serial == key.serial => consumer,
            _ => return Err(Error::ConsumerClosed),
        };
        if let Some(group) = consumer.group
            && self.groups[group].acks.is_some()
        {
            return self.read_pending(key, group, limit, fx, visit);
        }
        let cursor = &mut self.cursors[consumer.cursor];
        let mut count = 0;
        // Consecutive seqs that were read, up to the position.
        let mut run = cursor.position;
        while count < limit {
            let found = self.log.first_at(cursor.position, &mut cursor.hint);
            let seq = found.as_ref().map_or(self.log.next(), |found| found.seq);
            if seq != cursor.position {
                consumer.record(run..cursor.position, wall, &self.log, self.audit, &mut self.audit_bytes);
                cursor.skip_to(seq);
                run = seq;
            }
            if consumer.tells && cursor.has_untold() {
                if count > 0 {
                    break;
                }
                return Err(Error::Missed(cursor.tell()));
            }
            let Some(found) = found else { break };
            visit(Delivery {
                payload: found.payload,
                seq,
                size: found.size,
                created: found.wall,
                missed: cursor.missed_just_before(),
                deliveries: 1,
                receipt: None,
            });
            cursor.deliver();
            cursor.read += 1;
            consumer.read += 1;
            count += 1;
        }
        consumer.record(run..cursor.position, wall, &self.log, self.audit, &mut self.audit_bytes);
        if count == 0 {
            return if self.closed { Err(Error::Closed) } else { Ok(0) };
        }
        self.collect(fx);
        self.wake_joiners(fx);
        Ok(count)
    }

    /// Takes back that `count` missed messages were told of by a delivery, which nobody got to see: the next tells of them.
    pub(crate) fn untell(&mut self, key: ConsumerKey, count: u64) {
        if let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) {
            self.cursors[cursor].untell(count);
        }
    }

    /// The message that the consumer would read next, left where it is.
    pub(crate) fn peek<R>(
        &self,
        key: ConsumerKey,
        visit: impl FnOnce(Delivery<'_, T>) -> R,
    ) -> Result<Option<R>, Error> {
        let cursor = self.cursor(key)?;
        let acks = cursor.group.and_then(|group| self.groups[group].acks.as_ref());
        let again = acks.and_then(|acks| Some((acks.first_ready()?, acks)));
        let mut hint = cursor.hint;
        let (from, deliveries) = again.map_or((cursor.position, 1), |(seq, acks)| (seq, acks.deliveries(seq) + 1));
        Ok(self.log.first_at(from, &mut hint).map(|found| {
            visit(Delivery {
                payload: found.payload,
                seq: found.seq,
                size: found.size,
                created: found.wall,
                missed: match again {
                    Some(_) => 0,
                    None => cursor.missed_just_before() + (found.seq - cursor.position),
                },
                deliveries,
                receipt: None,
            })
        }))
    }

    pub(crate) fn missed(&self, key: ConsumerKey) -> Result<u64, Error> {
        Ok(self.cursor(key)?.missed(&self.log))
    }

    /// What was missed since it was last asked for; None: nothing yet, and something may come.
    pub(crate) fn take_missed(&mut self, key: ConsumerKey) -> Result<Option<u64>, Error> {
        let cursor = self.consumer(key)?.cursor;
        match self.cursors[cursor].take_missed(&self.log) {
            0 if !self.closed => Ok(None),
            count => Ok(Some(count)),
        }
    }

    pub(crate) fn consumer_stats(&self, key: ConsumerKey, now: Now) -> Result<ConsumerStats, Error> {
        let consumer = self.consumer(key)?;
        let cursor = &self.cursors[consumer.cursor];
        let (unread, unread_bytes) = self.log.live_from(cursor.position, cursor.hint);
        let mut hint = cursor.hint;
        let oldest = self.log.first_at(cursor.position, &mut hint);
        Ok(ConsumerStats {
            id: consumer.id,
            name: consumer.name.clone(),
            group: consumer.group.map(|group| self.groups[group].name.clone()),
            read: consumer.read,
            unread,
            unread_bytes,
            lag: oldest.map_or(0, |found| now.mono - found.stamp.mono()),
            missed: cursor.missed(&self.log),
            last_read: Some(consumer.last_read).filter(|&at| at > 0),
        })
    }

    // --- the audit trail ----------------------------------------------------------------------------------------------

    /// Forgets read records of messages that have left, of the next `count` consumers.
    fn trim_reads(&mut self, count: usize) {
        if self.audit_bytes == 0 || self.consumers.is_empty() {
            return;
        }
        let head = self.log.head();
        let most = most_audit_bytes(&self.log);
        for _ in 0..count.min(self.consumers.len()) {
            if self.trim_from >= self.consumers.capacity() {
                self.trim_from = 0;
            }
            // Skips free places; there is at least one that is not.
            while !self.consumers.contains(self.trim_from) {
                self.trim_from = (self.trim_from + 1) % self.consumers.capacity().max(1);
            }
            let reads = &mut self.consumers[self.trim_from].reads;
            if !reads.is_empty() {
                self.audit_bytes -= reads.bytes();
                reads.trim(head, most);
                self.audit_bytes += reads.bytes();
            }
            self.trim_from += 1;
        }
    }

    /// Bytes of all read records of what is held.
    pub(crate) fn audit_bytes(&mut self) -> usize {
        if self.trimmed != self.log.head() {
            self.trimmed = self.log.head();
            self.trim_reads(usize::MAX);
        }
        self.audit_bytes
    }

    /// Who read a message, and when (wall clock, microseconds), in time order.
    pub(crate) fn readings(&self, seq: u64) -> Vec<(Uuid, u64)> {
        if seq < self.log.head() {
            return Vec::new();
        }
        let mut readings: Vec<_> = self
            .consumers
            .iter()
            .flat_map(|(_, consumer)| consumer.reads.of(seq).map(|at| (consumer.id, at)))
            .collect();
        readings.sort_by_key(|&(_, at)| at);
        readings
    }

    // --- waiting ------------------------------------------------------------------------------------------------------

    /// Enters a waiter, unless what it waits for is there. An error will be met again by whoever tries once more.
    pub(crate) fn wait(&mut self, what: What, waker: &Waker) -> Option<Ticket> {
        self.next_ticket += 1;
        let ticket = Ticket { number: self.next_ticket, what };
        let owner = match what {
            What::Message(key) | What::Missed(key) => key.serial,
            What::Space(_) | What::Joined => 0,
        };
        let waiter = Waiter { ticket: ticket.number, owner, waker: waker.clone() };
        match what {
            What::Message(key) => {
                let closed = self.closed;
                let cursor = self.consumer(key).ok()?.cursor;
                let at = &self.cursors[cursor];
                let is_drained = at.group.is_none_or(|group| self.groups[group].pending() == 0);
                if closed && is_drained || self.available(cursor) > 0 {
                    return None;
                }
                self.cursors[cursor].readers.push(waiter);
                self.note_waiting(cursor);
            }
            What::Missed(key) => {
                let cursor = self.consumer(key).ok()?.cursor;
                if self.closed || self.cursors[cursor].has_missed(&self.log) {
                    return None;
                }
                self.cursors[cursor].missers.push(waiter);
                self.note_waiting(cursor);
            }
            What::Space(need) => {
                let fits = self.producers.is_empty() && self.budget.check(need).is_ok();
                if self.closed || fits || self.budget.check_ever(need).is_err() {
                    return None;
                }
                self.producers.push_back(Producer { waiter, need });
            }
            What::Joined => {
                if self.is_all_read() {
                    return None;
                }
                self.joiners.push(waiter);
            }
        }
        Some(ticket)
    }

    /// Changes the waker of a producer that keeps its place. False: it has none, or it fits; try again.
    pub(crate) fn wait_on(&mut self, ticket: &Ticket, waker: &Waker, fx: &mut Effects<T>) -> bool {
        let place = self.producers.iter().position(|producer| producer.waiter.ticket == ticket.number);
        let Some(place) = place else { return false };
        if place == 0 && self.budget.check(self.producers[0].need).is_ok() {
            return false;
        }
        fx.unwoken.push(std::mem::replace(&mut self.producers[place].waiter.waker, waker.clone()));
        true
    }

    /// Takes out a waiter that got what it waited for.
    pub(crate) fn satisfied(&mut self, ticket: &Ticket, fx: &mut Effects<T>) {
        self.take_out(ticket, fx);
    }

    /// Takes out a waiter that goes without what it waited for. If it had been woken for it, the next is woken instead.
    pub(crate) fn leave(&mut self, ticket: &Ticket, fx: &mut Effects<T>) {
        if self.take_out(ticket, fx) {
            return;
        }
        let (What::Message(key) | What::Missed(key)) = ticket.what else { return };
        let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) else { return };
        let available = self.available(cursor);
        let at = &mut self.cursors[cursor];
        match ticket.what {
            What::Missed(_) => at.missers.wake(u64::from(at.has_missed(&self.log)), &mut fx.wakers),
            _ => at.readers.wake(available.min(1), &mut fx.wakers),
        }
        self.forget_idle();
    }

    /// Takes a waiter out of its list. False: it was not there any more, for it was woken.
    fn take_out(&mut self, ticket: &Ticket, fx: &mut Effects<T>) -> bool {
        let waker = match ticket.what {
            What::Message(key) | What::Missed(key) => {
                let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) else { return true };
                let at = &mut self.cursors[cursor];
                let waker = match ticket.what {
                    What::Missed(_) => at.missers.remove(ticket.number),
                    _ => at.readers.remove(ticket.number),
                };
                self.forget_idle();
                waker
            }
            What::Space(_) => {
                let place = self.producers.iter().position(|producer| producer.waiter.ticket == ticket.number);
                let waker = place.and_then(|place| self.producers.remove(place)).map(|producer| producer.waiter.waker);
                if place == Some(0) {
                    self.wake_producer(fx);
                }
                waker
            }
            What::Joined => self.joiners.remove(ticket.number),
        };
        let was_there = waker.is_some();
        fx.unwoken.extend(waker);
        was_there
    }

    fn note_waiting(&mut self, cursor: usize) {
        if !self.waiting.contains(&cursor) {
            self.waiting.push(cursor);
        }
    }

    fn forget_idle(&mut self) {
        let cursors = &self.cursors;
        self.waiting.retain(|&key| {
            cursors.get(key).is_some_and(|cursor| !cursor.readers.is_empty() || !cursor.missers.is_empty())
        });
    }

    /// Whether every cursor has read everything that is held.
    pub(crate) fn is_all_read(&self) -> bool {
        self.cursors.iter().all(|(_, cursor)| self.log.count_from(cursor.position, cursor.hint) == 0)
            && self.groups.iter().all(|(_, group)| group.pending() == 0)
    }

    #[inline]
    fn wake_joiners(&mut self, fx: &mut Effects<T>) {
        if !self.joiners.is_empty() && self.is_all_read() {
            self.joiners.wake(u64::MAX, &mut fx.wakers);
        }
    }

    /// Wakes everyone.
    fn wake_all(&mut self, fx: &mut Effects<T>) {
        for key in std::mem::take(&mut self.waiting) {
            fx.wakers.extend(self.cursors[key].readers.take());
            fx.wakers.extend(self.cursors[key].missers.take());
        }
        fx.wakers.extend(self.producers.drain(..).map(|producer| producer.waiter.waker));
        self.wake_joiners(fx);
    }

    // --- limits and ending --------------------------------------------------------------------------------------------

    pub(crate) fn set_max_bytes(&mut self, max: u64, fx: &mut Effects<T>) {
        self.budget.max_bytes = max;
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

/// What was taken out of the log.
#[derive(Clone, Debug)]
struct Gone {
    need: Need,
    /// All of it has a seq in here (and other messages may, too). Empty while nothing was.
    seqs: Range<u64>,
}

impl Gone {
    fn none() -> Self {
        Gone { need: Need { bytes: 0, items: 0 }, seqs: 0..0 }
    }

    fn add(&mut self, need: Need, seqs: Range<u64>) {
        if need.items > 0 {
            self.need.bytes += need.bytes;
            self.need.items += need.items;
            self.seqs = match self.seqs.is_empty() {
                true => seqs,
                false => self.seqs.start.min(seqs.start)..self.seqs.end.max(seqs.end),
            };
        }
    }
}

/// Bytes of read records that one consumer may have: 8 for each message held, or for each of a chunk.
fn most_audit_bytes<T>(log: &Log<T>) -> usize {
    8 * (log.len() as usize).max(CHUNK_SIZE)
}

impl Consumer {
    /// Records that messages were read.
    #[inline]
    fn record<T>(&mut self, seqs: Range<u64>, wall: u64, log: &Log<T>, audit: bool, audit_bytes: &mut usize) {
        if seqs.is_empty() {
            return;
        }
        self.last_read = wall;
        if audit {
            let before = self.reads.bytes();
            match seqs.end - seqs.start {
                1 => self.reads.single(seqs.start, wall),
                count => self.reads.batch(seqs.start, count, wall),
            }
            if self.reads.bytes() != before {
                self.reads.trim(log.head(), most_audit_bytes(log));
                *audit_bytes = *audit_bytes + self.reads.bytes() - before;
            }
        }
    }
}
