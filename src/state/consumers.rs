//! Consumers and their positions.

use uuid::Uuid;

use super::acks::Acks;
use super::cursor::Cursor;
use super::departed::Who;
use super::leasing::FEWEST_STOPS;
use super::readers::Identity;
use super::{Consumer, Discarded, Effects, State};
use crate::error::Error;
use crate::keys::{ConsumerKey, Predecessor};
use crate::log::audit::Reads;
use crate::options::{ConsumerOptions, MissedPolicy, Start};

/// The serial number of an empty place. (The first consumer has 1.)
const NO_SERIAL: u64 = 0;

impl<T> State<T> {
    /// Adds a consumer. `filter`: the place of its filters, which are in use and built.
    pub(crate) fn add_consumer(
        &mut self,
        id: Uuid,
        options: &ConsumerOptions,
        filter: Option<usize>,
        fx: &mut Effects<T>,
    ) -> Result<ConsumerKey, Error> {
        let position = self.seq_of(options.start)?;
        let filter = filter.zip(options.filters.clone());
        let cursor = self.put_cursor(Cursor::new(position, None, filter, &self.log), &options.after);
        let key = self.insert_consumer(id, options.name.clone(), cursor, None, options.policy);
        self.cursors[cursor].consumer = Some(key.index);
        self.moved(cursor, fx);
        Ok(key)
    }

    /// Takes a new cursor in, after others.
    pub(super) fn put_cursor(&mut self, cursor: Cursor, after: &[Predecessor]) -> usize {
        let key = self.cursors.insert(Box::new(cursor));
        self.put_after(key, after);
        key
    }

    pub(super) fn insert_consumer(
        &mut self,
        id: Uuid,
        name: Option<String>,
        cursor: usize,
        group: Option<usize>,
        policy: MissedPolicy,
    ) -> ConsumerKey {
        let serial = self.new_serial();
        self.departed.enter(Who { group, name: name.clone() });
        let index = self.consumers.vacant_key();
        self.ids.insert(id, index);
        let consumer = Consumer {
            serial,
            id,
            name,
            cursor,
            group,
            lane: self.log.leases.lane(),
            is_usual: group.is_none() && self.cursors[cursor].is_usual(),
            stops: FEWEST_STOPS,
            read: 0,
            passed: 0,
            last_read: 0,
            reads: Reads::default(),
            turn: self.audit.enter(index),
            tells: policy == MissedPolicy::Tell,
        };
        self.consumers.insert(Box::new(consumer));
        self.serials.resize(self.serials.len().max(index + 1), NO_SERIAL);
        self.serials[index] = serial;
        ConsumerKey { index, serial }
    }

    pub(super) fn new_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// The consumer with an id.
    pub(crate) fn find_consumer(&self, id: Uuid) -> Option<ConsumerKey> {
        let &index = self.ids.get(&id)?;
        Some(ConsumerKey { index, serial: self.consumers[index].serial })
    }

    /// Removes a consumer from the tables.
    pub(super) fn take_consumer(&mut self, index: usize) -> Box<Consumer<T>> {
        let consumer = self.consumers.remove(index);
        self.serials[index] = NO_SERIAL;
        self.ids.remove(&consumer.id);
        self.audit.forget(&consumer, &mut self.consumers);
        consumer
    }

    /// Removes a consumer and its records, and wakes its waiters. Returns false if it was already removed.
    pub(crate) fn remove_consumer(&mut self, key: ConsumerKey, fx: &mut Effects<T>) -> bool {
        if self.consumer(key).is_err() {
            return false;
        }
        let mut consumer = self.take_consumer(key.index);
        // The group counts the losses of its members.
        let cursor = &self.cursors[consumer.cursor];
        let (missed, dropped) = match consumer.group {
            None => (cursor.missed(&self.log), cursor.dropped(&self.log)),
            Some(_) => (0, 0),
        };
        self.departed.depart(
            &Who { group: consumer.group, name: consumer.name.take() },
            consumer.read,
            missed,
            dropped,
        );
        match consumer.group {
            None => self.remove_cursor(consumer.cursor, fx),
            Some(group) => self.remove_member(group, consumer.serial, fx),
        }
        fx.discarded.push(Discarded::Consumer(consumer));
        true
    }

    pub(super) fn remove_cursor(&mut self, key: usize, fx: &mut Effects<T>) {
        self.leave_order(key, fx);
        let cursor = &mut self.cursors[key];
        fx.wakers.extend(cursor.readers.take());
        fx.wakers.extend(cursor.batches.take());
        fx.wakers.extend(cursor.gap_waiters.take());
        self.attended.update(&mut self.cursors, key);
        let cursor = self.cursors.remove(key);
        self.removed(key, &cursor, fx);
        self.wake_joiners(fx);
    }

    #[inline]
    pub(crate) fn consumer(&self, key: ConsumerKey) -> Result<&Consumer<T>, Error> {
        match self.consumers.get(key.index) {
            Some(consumer) if consumer.serial == key.serial => Ok(consumer),
            _ => Err(Error::ConsumerClosed),
        }
    }

    pub(crate) fn cursor(&self, key: ConsumerKey) -> Result<&Cursor, Error> {
        Ok(&self.cursors[self.consumer(key)?.cursor])
    }

    /// What a handle of a consumer stores.
    pub(crate) fn identity(&self, key: ConsumerKey) -> Result<Identity<T>, Error> {
        let consumer = self.consumer(key)?;
        Ok(Identity { key, id: consumer.id, lane: consumer.lane.clone() })
    }

    /// Called in the child of a fork: no thread of the parent holds the lock of a lane any more.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn reset_lanes(&self) {
        self.consumers.iter().for_each(|(_, consumer)| consumer.lane.reset_after_fork());
    }

    /// Keys of all consumers, in no particular order.
    pub(crate) fn consumer_keys(&self) -> Vec<ConsumerKey> {
        let places = self.serials.iter().enumerate().filter(|&(_, &serial)| serial != NO_SERIAL);
        places.map(|(index, &serial)| ConsumerKey { index, serial }).collect()
    }

    pub(super) fn seq_of(&self, start: Start) -> Result<u64, Error> {
        Ok(match start {
            Start::Earliest => self.log.head(),
            Start::Latest => self.log.next(),
            Start::Seq(seq) if seq > self.log.next() => return Err(Error::BeyondEnd(self.log.next())),
            Start::Seq(seq) => seq.max(self.log.head()),
            Start::Time(wall) => self.log.seq_at(wall),
        })
    }

    /// Moves the position of a consumer, or of its group, which goes back step by step if it has much pending. Returns
    /// the seq of the next step, if there is one.
    pub(crate) fn seek(&mut self, key: ConsumerKey, to: Start, fx: &mut Effects<T>) -> Result<Option<u64>, Error> {
        let goal = self.seq_of(to)?;
        let mut to = goal;
        let at = self.consumer(key)?.cursor;
        if let Some(group) = self.cursors[at].group
            && let Some(acks) = &mut self.groups[group].acks
        {
            to = acks.step_back(goal);
            // The position moves back before them.
            fx.discarded.push(Discarded::Pending(acks.take_from(to)));
            self.charge_pending(group, fx);
        }
        let skipped = self.cursors[at].seek(to, &self.log);
        self.consumers[key.index].read += skipped;
        self.consumers[key.index].passed += skipped;
        let available = self.available(at);
        self.wake_readers(at, available, fx);
        self.moved(at, fx);
        self.wake_joiners(fx);
        Ok((to > goal).then_some(goal))
    }

    /// The seq of the next message that the consumer would read.
    pub(crate) fn position(&self, key: ConsumerKey) -> Result<u64, Error> {
        Ok(self.cursor(key)?.next(&self.log).map_or(self.log.next(), |found| found.seq))
    }

    /// Whether a read would return a message now.
    pub(crate) fn has_more(&self, key: ConsumerKey) -> Result<bool, Error> {
        Ok(self.available(self.consumer(key)?.cursor) > 0)
    }

    /// Number of messages that can be delivered to the consumer, including those that are ready for redelivery.
    pub(crate) fn unread(&self, key: ConsumerKey) -> Result<u64, Error> {
        let cursor = self.cursor(key)?;
        Ok(cursor.unread(&self.log) + self.acks_of(cursor).map_or(0, Acks::ready))
    }
}
