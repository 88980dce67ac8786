//! Groups of consumers, and acknowledgements.

use uuid::Uuid;

use super::acks::{Acks, SettleOutcome};
use super::cursor::{Cursor, Reason};
use super::readers::Abandoned;
use super::slices::slice;
use super::{Burial, Discarded, Dying, Effects, Group, State};
use crate::delivery::{Delivery, Receipt};
use crate::error::Error;
use crate::keys::{ConsumerKey, GroupKey};
use crate::log::chunk::NIL;
use crate::options::{GroupOptions, Settle};
use crate::options::{MissedPolicy, Start};
use crate::stats::GroupStats;
use crate::time::clock::Now;
use crate::topics::Topic;

/// Number of members that one hold of the lock removes.
const MEMBERS: usize = slice(150);
/// Number of groups whose timers one hold of the lock processes.
const GROUPS: usize = 4;

impl Group {
    /// Messages that were delivered and are not settled, including those that are ready for redelivery.
    pub(super) fn unsettled(&self) -> u64 {
        self.acks.as_ref().map_or(0, Acks::len)
    }

    /// Number of new messages that may be delivered now.
    pub(super) fn room(&self) -> u64 {
        self.acks.as_ref().map_or(u64::MAX, Acks::room)
    }
}

impl<T> State<T> {
    pub(crate) fn add_group(
        &mut self,
        name: String,
        start: Start,
        options: &GroupOptions,
        filter: Option<usize>,
        fx: &mut Effects<T>,
    ) -> Result<GroupKey, Error> {
        if self.find_group(&name).is_some() {
            return Err(Error::NameTaken);
        }
        let position = self.seq_of(start)?;
        let index = self.groups.vacant_key();
        let filter = filter.zip(options.filters.clone());
        let cursor = self.put_cursor(Cursor::new(position, Some(index), filter, &self.log), &options.after);
        let serial = self.new_serial();
        let acks = Acks::new(options);
        self.has_rescuers |= options.rescues_missed;
        self.names.insert(name.clone(), index);
        self.groups.insert(Group {
            serial,
            name,
            cursor,
            members: Vec::new(),
            acks,
            charged: 0,
            rescues: options.rescues_missed,
            redelivered: 0,
            dead_lettered: 0,
            refused_dead_letters: 0,
        });
        self.note_firsts(index);
        self.moved(cursor, fx);
        Ok(GroupKey { index, serial })
    }

    pub(crate) fn find_group(&self, name: &str) -> Option<GroupKey> {
        let &index = self.names.get(name)?;
        Some(GroupKey { index, serial: self.groups[index].serial })
    }

    pub(crate) fn group(&self, key: GroupKey) -> Result<&Group, Error> {
        self.groups.get(key.index).filter(|group| group.serial == key.serial).ok_or(Error::GroupClosed)
    }

    /// Keys of all groups, in no particular order.
    pub(crate) fn group_keys(&self) -> Vec<GroupKey> {
        self.groups.iter().map(|(index, group)| GroupKey { index, serial: group.serial }).collect()
    }

    pub(crate) fn group_stats(&self, key: GroupKey, now: Now) -> Result<GroupStats, Error> {
        let group = self.group(key)?;
        let cursor = &self.cursors[group.cursor];
        let backlog = self.backlog(cursor, now);
        Ok(GroupStats {
            name: group.name.clone(),
            members: group.members.len() as u64,
            pending: group.acks.as_ref().map_or(0, Acks::in_flight),
            unread: backlog.items,
            unread_bytes: backlog.bytes,
            lag: backlog.lag,
            missed: cursor.missed_with(backlog.new, &self.log),
            dropped: cursor.dropped(&self.log),
            undeliverable: cursor.undeliverable(),
            read: cursor.read,
            redelivered: group.redelivered,
            dead_lettered: group.dead_lettered,
            refused_dead_letters: group.refused_dead_letters,
            filters: cursor.filters.clone(),
            filtered: cursor.filtered,
        })
    }

    pub(crate) fn add_member(&mut self, key: GroupKey, id: Uuid, name: Option<String>) -> Result<ConsumerKey, Error> {
        let cursor = self.group(key)?.cursor;
        let member = self.insert_consumer(id, name, cursor, Some(key.index), MissedPolicy::Skip);
        self.groups[key.index].members.push(member);
        Ok(member)
    }

    /// Keys of the members of a group, in the order they were added.
    pub(crate) fn members(&self, key: GroupKey) -> Vec<ConsumerKey> {
        self.group(key).map(|group| group.members.clone()).unwrap_or_default()
    }

    /// Called after a member was removed. Wakes its waiters, and makes a slice of its pending deliveries ready again.
    /// While [`has_abandoned`](Self::has_abandoned) is true, there are more.
    pub(super) fn remove_member(&mut self, index: usize, serial: u64, fx: &mut Effects<T>) {
        let group = &mut self.groups[index];
        // They are in the order of their serial numbers.
        if let Ok(place) = group.members.binary_search_by_key(&serial, |member| member.serial) {
            group.members.remove(place);
        }
        self.abandoned.push(Abandoned { group: GroupKey { index, serial: group.serial }, member: serial, from: 0 });
        let at = &mut self.cursors[group.cursor];
        at.readers.take_of(serial, &mut fx.wakers);
        at.batches.take_of(serial, &mut fx.wakers);
        at.gap_waiters.take_of(serial, &mut fx.wakers);
        // The member may have been woken for what another member can still take.
        at.gap_waiters.wake(u64::from(at.has_missed(&self.log)), &mut fx.wakers);
        self.give_back_abandoned(fx);
    }

    /// Whether removed members of groups still hold deliveries.
    pub(crate) fn has_abandoned(&self) -> bool {
        !self.abandoned.is_empty()
    }

    /// Makes a slice of the deliveries that a removed member held ready again, and wakes the others for what there is.
    /// Whether there are more.
    pub(crate) fn give_back_abandoned(&mut self, fx: &mut Effects<T>) -> bool {
        let Some(Abandoned { group: key, member, from }) = self.abandoned.pop() else { return false };
        if self.group(key).is_ok() {
            let group = &mut self.groups[key.index];
            let cursor = group.cursor;
            if let Some(acks) = &mut group.acks {
                let (dying, next) = acks.give_back(member, from);
                fx.dying.extend(dying.into_iter().map(|seq| Dying { group: key, seq, is_termed: false }));
                self.abandoned.extend(next.map(|from| Abandoned { group: key, member, from }));
                self.note_firsts(key.index);
            }
            let available = self.available(cursor);
            self.wake_readers(cursor, available, fx);
        }
        self.has_abandoned()
    }

    /// Removes a slice of the members of a group that is about to be removed, if it has more than that. What they hold
    /// stays pending until then. Returns whether to call it again.
    pub(crate) fn remove_members(&mut self, key: GroupKey, fx: &mut Effects<T>) -> bool {
        let members = self.group(key).map_or(0, |group| group.members.len());
        if members <= MEMBERS {
            return false;
        }
        for member in self.groups[key.index].members.split_off(members - MEMBERS) {
            fx.discarded.push(Discarded::Consumer(self.take_consumer(member.index)));
        }
        true
    }

    /// Removes a group with all its members. Returns false if it was already removed.
    pub(crate) fn remove_group(&mut self, key: GroupKey, fx: &mut Effects<T>) -> bool {
        let Ok(cursor) = self.group(key).map(|group| group.cursor) else { return false };
        for member in self.members(key) {
            fx.discarded.push(Discarded::Consumer(self.take_consumer(member.index)));
        }
        let mut group = self.groups.remove(key.index);
        self.names.remove(&group.name);
        fx.discarded.extend(self.departed.forget_group(key.index).map(Discarded::Sums));
        self.budget.set_pending(group.charged, 0);
        self.wake_producer(fx);
        // No group needs its pending messages any more: with `Retention::Interest` they may leave.
        if group.unsettled() > 0 {
            self.collected = 0;
            if self.wanting.is_in_use() {
                self.look_at_everything();
            }
        }
        fx.discarded.extend(group.acks.as_mut().map(|acks| Discarded::Pending(acks.take_from(0))));
        self.note_firsts(key.index);
        self.remove_cursor(cursor, fx);
        true
    }

    /// The acknowledgements of the group that has this cursor.
    pub(super) fn acks_of(&self, cursor: &Cursor) -> Option<&Acks> {
        cursor.group.and_then(|group| self.groups[group].acks.as_ref())
    }

    /// Number of messages that reads at a cursor would deliver now.
    pub(super) fn available(&self, cursor: usize) -> u64 {
        let at = &self.cursors[cursor];
        let unread = self.unread_within(at);
        match self.acks_of(at) {
            None => unread,
            Some(acks) => acks.ready() + unread.min(acks.room()),
        }
    }

    /// [`read`](Self::read) for a member of an acknowledging group. Redeliveries come first.
    pub(super) fn read_pending(
        &mut self,
        key: ConsumerKey,
        index: usize,
        limit: usize,
        fx: &mut Effects<T>,
        mut visit: impl FnMut(Delivery<'_, T>),
    ) -> Result<usize, Error> {
        let now = self.latest;
        let upto = self.limit_of(&self.cursors[self.groups[index].cursor]);
        let group = &mut self.groups[index];
        let Some(acks) = &mut group.acks else { return Ok(0) };
        let cursor_key = group.cursor;
        let cursor = &mut self.cursors[cursor_key];
        let mut count = 0;
        while count < limit {
            let again = acks.first_ready();
            let found = match again {
                Some(seq) => self.log.first_at(seq, &mut { NIL }),
                None if acks.room() == 0 => break,
                None => cursor.move_on(&self.log).filter(|found| found.seq < upto),
            };
            let Some(found) = found else { break };
            let seq = found.seq;
            let missed = if again.is_some() { 0 } else { cursor.missed_just_before() };
            let receipt = Receipt { group: GroupKey { index, serial: group.serial }, seq, number: acks.next_number() };
            let (deliveries, until) = acks.deliver(seq, found.size, key.serial, now.mono);
            self.budget.set_pending(std::mem::replace(&mut group.charged, acks.len()), acks.len());
            self.firsts.delivered(index, seq, until);
            self.due = self.due.min(until);
            match again {
                Some(_) => group.redelivered += 1,
                None => cursor.deliver_match(),
            }
            let consumer = &mut self.consumers[key.index];
            consumer.read += 1;
            if consumer.record(seq..seq + 1, now.wall, &self.log, &mut self.audit) {
                self.audit.relieve(&mut self.consumers, key.index);
            }
            count += 1;
            // The visit comes last, after all counts are updated, because foreign code may panic.
            visit(found.delivery(missed, deliveries, Some(receipt)));
        }
        self.moved(cursor_key, fx);
        if count == 0 {
            return self.nothing_read(cursor_key);
        }
        Ok(count)
    }

    /// Settles a delivery for a member. Returns false if it was too late and nothing was done.
    pub(crate) fn settle(&mut self, receipt: &Receipt, how: Settle, fx: &mut Effects<T>) -> bool {
        let Ok(_) = self.group(receipt.group) else { return false };
        let now = self.latest.mono;
        let group = &mut self.groups[receipt.group.index];
        let cursor = group.cursor;
        let Some(acks) = &mut group.acks else { return false };
        let outcome = acks.settle(receipt.seq, receipt.number, how, now);
        if let Some(due) = acks.due() {
            self.due = self.due.min(due);
        }
        self.note_firsts(receipt.group.index);
        match outcome {
            SettleOutcome::TooLate => return false,
            SettleOutcome::Done => self.book(receipt.group, receipt.seq, Outcome::Read, fx),
            SettleOutcome::Dying => {
                fx.dying.push(Dying { group: receipt.group, seq: receipt.seq, is_termed: how == Settle::Term })
            }
            SettleOutcome::Pending => {}
        }
        let available = self.available(cursor);
        self.wake_readers(cursor, available.min(1), fx);
        true
    }

    /// Counts a message that is no longer pending.
    fn book(&mut self, key: GroupKey, seq: u64, outcome: Outcome, fx: &mut Effects<T>) {
        let group = &mut self.groups[key.index];
        let cursor_key = group.cursor;
        let cursor = &mut self.cursors[cursor_key];
        match outcome {
            Outcome::Read => cursor.read += 1,
            Outcome::DeadLettered => group.dead_lettered += 1,
            Outcome::Missed => {
                cursor.lose(1, Reason::Undeliverable);
                cursor.gap_waiters.wake(1, &mut fx.wakers);
            }
        }
        if self.closed && group.unsettled() == 0 {
            cursor.readers.wake(u64::MAX, &mut fx.wakers);
        }
        self.charge_pending(key.index, fx);
        self.wake_followers(cursor_key, fx);
        self.collect_one(seq, fx);
        self.wake_joiners(fx);
    }

    /// Charges the current pending messages of a group.
    pub(super) fn charge_pending(&mut self, index: usize, fx: &mut Effects<T>) {
        let group = &mut self.groups[index];
        let now = group.unsettled();
        let before = std::mem::replace(&mut group.charged, now);
        self.budget.set_pending(before, now);
        self.note_firsts(index);
        if now < before {
            self.wake_producer(fx);
        }
    }

    /// Called after the pending deliveries of a group have changed, and after a group was added or removed.
    #[inline]
    pub(super) fn note_firsts(&mut self, group: usize) {
        self.firsts.note(group, self.groups.get(group).and_then(|group| group.acks.as_ref()));
    }

    /// Lets the groups process a slice of what is due. The rest is still due afterwards.
    pub(super) fn run_timers(&mut self, fx: &mut Effects<T>) {
        let now = self.latest.mono;
        let due: Vec<usize> = self.firsts.due_at(now).take(GROUPS).collect();
        for index in due {
            let group = &mut self.groups[index];
            let key = GroupKey { index, serial: group.serial };
            let Some(acks) = &mut group.acks else { continue };
            let (dying, ready) = acks.run_timers(now);
            fx.dying.extend(dying.into_iter().map(|seq| Dying { group: key, seq, is_termed: false }));
            let cursor = group.cursor;
            self.note_firsts(index);
            self.wake_readers(cursor, ready, fx);
        }
    }

    /// Another handle to the payload of a dying message, and its topic. From then on it can no longer be settled. None:
    /// it is not dying.
    pub(crate) fn dying(&mut self, key: GroupKey, seq: u64, share: fn(&T) -> T) -> Option<(T, Option<Topic>)> {
        self.group(key).ok()?;
        let acks = self.groups[key.index].acks.as_mut()?;
        if !acks.begin_to_move(seq) {
            return None;
        }
        let found = self.log.first_at(seq, &mut { NIL }).filter(|found| found.seq == seq)?;
        Some((share(found.payload), found.topic.cloned()))
    }

    /// Ends the dying of a message. It was moved, it could not be moved, or there is no dead letter queue.
    pub(crate) fn bury(&mut self, key: GroupKey, seq: u64, burial: Burial, fx: &mut Effects<T>) {
        if self.group(key).is_err() {
            return;
        }
        let now = self.latest.mono;
        let group = &mut self.groups[key.index];
        let cursor = group.cursor;
        let Some(acks) = group.acks.as_mut().filter(|acks| acks.is_dying(seq)) else { return };
        let outcome = match burial {
            Burial::Later => {
                acks.bury_later(seq, now);
                if let Some(due) = acks.due() {
                    self.due = self.due.min(due);
                }
                self.note_firsts(key.index);
                return;
            }
            Burial::Done => Outcome::DeadLettered,
            Burial::Never => {
                group.refused_dead_letters += 1;
                Outcome::Missed
            }
            Burial::Nowhere { is_termed: true } => Outcome::Read,
            Burial::Nowhere { is_termed: false } => Outcome::Missed,
        };
        acks.remove(seq);
        self.book(key, seq, outcome, fx);
        let available = self.available(cursor);
        self.wake_readers(cursor, available.min(1), fx);
    }
}

/// How a message that is no longer pending is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Read,
    Missed,
    DeadLettered,
}
