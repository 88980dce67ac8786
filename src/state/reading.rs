//! Reading: what is delivered, and what is recorded in the audit trail.

use std::hint::cold_path;

use uuid::Uuid;

use super::auditing::Audit;
use super::cursor::Cursor;
use super::slices::slice;
use super::{Consumer, Effects, State};
use crate::delivery::Delivery;
use crate::error::Error;
use crate::keys::ConsumerKey;
use crate::log::chunk::NIL;
use crate::log::{Found, Log};
use crate::options::Retention;
use crate::stats::ConsumerStats;
use crate::time::clock::Now;

/// Number of messages that one hold of the lock reads.
const AT_ONCE: usize = 4_000;
/// The same with a filter, because each match has to be found.
const FILTERED_AT_ONCE: usize = 256;
/// The same in an acknowledging group, because each delivery becomes pending.
const PENDING_AT_ONCE: usize = slice(200);

impl<T> State<T> {
    /// Delivers the next message in the usual case: there is a message, there is no gap before it, and the read has no
    /// further effects. None: nothing was done; continue with [`read`](Self::read).
    #[inline(always)]
    pub(crate) fn read_fast<R>(&mut self, key: ConsumerKey, visit: impl FnOnce(Delivery<'_, T>) -> R) -> Option<R> {
        let wall = self.read_time();
        let Some(consumer) = self.consumers.get_mut(key.index).filter(|consumer| consumer.serial == key.serial) else {
            cold_path();
            return None;
        };
        if !consumer.is_usual || self.retention != Retention::Limits || !self.joiners.is_empty() {
            cold_path();
            return None;
        }
        let Some(cursor) = self.cursors.get_mut(consumer.cursor) else {
            cold_path();
            return None;
        };
        if cursor.is_leased {
            // The lane could not deliver it, or another thread reads through the lane.
            cold_path();
            return None;
        }
        let seq = cursor.position;
        let Some(found) = self.log.at(seq, cursor.hint) else {
            cold_path();
            return None;
        };
        if cursor.missed_just_before() > 0 || consumer.tells && cursor.has_untold() {
            cold_path();
            return None;
        }
        cursor.deliver();
        cursor.read += 1;
        consumer.read += 1;
        if consumer.record(seq..seq + 1, wall, &self.log, &mut self.audit) {
            self.audit.relieve(&mut self.consumers, key.index);
        }
        // The visit comes last, after all counts are updated, because foreign code may panic.
        Some(visit(found.delivery(0, 1, None)))
    }

    /// Delivers up to `limit` messages, and returns how many. 0: there are none, and more may come. The consumer must
    /// not have a lease.
    ///
    /// `goes_on`: the call has already delivered messages. A gap after these is reported by the next call, because this
    /// call returns the messages that it has.
    #[inline]
    pub(crate) fn read(
        &mut self,
        key: ConsumerKey,
        limit: usize,
        goes_on: bool,
        fx: &mut Effects<T>,
        mut visit: impl FnMut(Delivery<'_, T>),
    ) -> Result<usize, Error> {
        let wall = self.read_time();
        let cursor = self.consumer(key)?.cursor;
        debug_assert!(!self.cursors[cursor].is_leased);
        let upto = self.limit_of(&self.cursors[cursor]);
        let consumer = &mut self.consumers[key.index];
        if let Some(group) = consumer.group
            && self.groups[group].acks.is_some()
        {
            return self.read_pending(key, group, limit, fx, visit);
        }
        // All parts of a call have the same read time.
        let wall = if goes_on { consumer.last_read } else { wall };
        let mut is_over = false;
        let mut reader = Reader {
            run: 0,
            wall,
            cursor: &mut self.cursors[cursor],
            consumer,
            log: &self.log,
            audit: &mut self.audit,
            is_over: &mut is_over,
        };
        reader.run = reader.cursor.position;
        let mut count = 0;
        while count < limit {
            let found = reader.next();
            if reader.consumer.tells && reader.cursor.has_untold() {
                if count > 0 || goes_on {
                    break;
                }
                return Err(Error::Missed(reader.cursor.tell()));
            }
            let Some(found) = found.filter(|found| found.seq < upto) else { break };
            // No messages are missed between those that follow each other directly.
            let mut missed = reader.cursor.missed_just_before();
            let more = usize::try_from(upto - found.seq - 1).unwrap_or(usize::MAX).min(limit - count - 1);
            let (more, hint) = if reader.cursor.filter.is_some() { (0, NIL) } else { (more, reader.cursor.hint) };
            let mut following = self.log.following(found.seq, hint).take(more);
            let mut next = Some(found);
            // One loop, so that there is one visit. Only then does the compiler inline a visitor of some size.
            while let Some(found) = next {
                reader.cursor.deliver_match();
                reader.cursor.read += 1;
                reader.consumer.read += 1;
                count += 1;
                // The visit comes last, after all counts are updated, because foreign code may panic.
                visit(found.delivery(std::mem::take(&mut missed), 1, None));
                next = following.next();
            }
        }
        drop(reader);
        if is_over {
            self.relieve(key.index);
        }
        self.moved(cursor, fx);
        if count == 0 {
            return self.nothing_read(cursor);
        }
        self.wake_joiners(fx);
        Ok(count)
    }

    /// Number of messages that one hold of the lock may read.
    pub(crate) fn at_once(&self, key: ConsumerKey) -> usize {
        let Ok(cursor) = self.cursor(key) else { return AT_ONCE };
        match (cursor.filter, self.acks_of(cursor)) {
            (Some(_), _) => FILTERED_AT_ONCE,
            (None, Some(_)) => PENDING_AT_ONCE,
            (None, None) => AT_ONCE,
        }
    }

    /// Wall time of a read at this moment; 0 if read times are not recorded.
    #[inline]
    fn read_time(&self) -> u64 {
        if self.is_read_timed { self.latest.wall } else { 0 }
    }

    /// Undoes the report of `count` missed messages by a delivery that the caller never received. The next delivery
    /// reports them.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn untell(&mut self, key: ConsumerKey, count: u64) {
        if let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) {
            self.cursors[cursor].untell(count);
        }
    }

    /// The next message that the consumer would read. It stays unread.
    pub(crate) fn peek<R>(
        &self,
        key: ConsumerKey,
        visit: impl FnOnce(Delivery<'_, T>) -> R,
    ) -> Result<Option<R>, Error> {
        let cursor = self.cursor(key)?;
        let acks = self.acks_of(cursor);
        let again = acks.and_then(|acks| Some((acks.first_ready()?, acks)));
        if again.is_none() && acks.is_some_and(|acks| acks.room() == 0) {
            return Ok(None);
        }
        let mut hint = cursor.hint;
        let (from, deliveries) = again.map_or((cursor.position, 1), |(seq, acks)| (seq, acks.deliveries(seq) + 1));
        let upto = if again.is_some() { u64::MAX } else { self.limit_of(cursor) };
        let filter = cursor.filter.filter(|_| again.is_none());
        Ok(self.log.first_for(filter, from, &mut hint).filter(|found| found.seq < upto).map(|found| {
            let missed = if again.is_some() { 0 } else { cursor.missed_before(found.seq, &self.log) };
            visit(found.delivery(missed, deliveries, None))
        }))
    }

    pub(crate) fn missed(&self, key: ConsumerKey) -> Result<u64, Error> {
        Ok(self.cursor(key)?.missed(&self.log))
    }

    /// Messages missed since the last call; None: none so far, and more may be missed later.
    pub(crate) fn take_missed(&mut self, key: ConsumerKey) -> Result<Option<u64>, Error> {
        let cursor = self.consumer(key)?.cursor;
        match self.cursors[cursor].take_missed(&self.log) {
            0 if !self.closed => Ok(None),
            count => Ok(Some(count)),
        }
    }

    /// What can be delivered at a cursor: new messages, and those that are ready for redelivery.
    pub(super) fn backlog(&self, cursor: &Cursor, now: Now) -> Backlog {
        let (new, mut bytes) = cursor.unread_and_bytes(&self.log);
        let mut items = new;
        let mut oldest = cursor.next(&self.log);
        if let Some(acks) = self.acks_of(cursor)
            && let Some(first) = acks.first_ready()
        {
            items += acks.ready();
            bytes += acks.ready_bytes();
            let again = self.log.first_at(first, &mut { NIL });
            oldest = again.into_iter().chain(oldest).min_by_key(|found| found.seq);
        }
        Backlog { new, items, bytes, lag: oldest.map_or(0, |found| now.mono - found.mono) }
    }

    pub(crate) fn consumer_stats(&self, key: ConsumerKey, now: Now) -> Result<ConsumerStats, Error> {
        let consumer = self.consumer(key)?;
        let cursor = &self.cursors[consumer.cursor];
        let backlog = self.backlog(cursor, now);
        Ok(ConsumerStats {
            id: consumer.id,
            name: consumer.name.clone(),
            group: consumer.group.map(|group| self.groups[group].name.clone()),
            read: consumer.read,
            passed: consumer.passed,
            unread: backlog.items,
            unread_bytes: backlog.bytes,
            lag: backlog.lag,
            missed: cursor.missed_with(backlog.new, &self.log),
            dropped: cursor.dropped(&self.log),
            last_read: Some(consumer.last_read).filter(|&at| at > 0),
            filters: cursor.filters.clone(),
            filtered: cursor.filtered,
        })
    }

    /// The last `limit` reads of held messages, oldest first: seq, and microseconds by the wall clock.
    pub(crate) fn history(&self, key: ConsumerKey, limit: usize) -> Result<Vec<(u64, u64)>, Error> {
        let mut hint = NIL;
        let mut is_held = |seq| self.log.first_at(seq, &mut hint).is_some_and(|found| found.seq == seq);
        Ok(self.consumer(key)?.reads.last(self.log.head(), limit, &mut is_held))
    }

    /// When a consumer read a held message, with the consumer's id: microseconds by the wall clock.
    pub(crate) fn readings(&self, key: ConsumerKey, seq: u64) -> impl Iterator<Item = (Uuid, u64)> {
        let consumer = self.consumer(key).ok().filter(|_| seq >= self.log.head());
        consumer.into_iter().flat_map(move |consumer| consumer.reads.of(seq).map(|at| (consumer.id, at)))
    }
}

/// Messages that can be delivered.
pub(super) struct Backlog {
    /// Messages that were never delivered.
    pub(super) new: u64,
    /// All messages.
    pub(super) items: u64,
    /// Their payload bytes.
    pub(super) bytes: u64,
    /// Nanoseconds since the oldest message was enqueued.
    pub(super) lag: u64,
}

/// A read in progress. Dropping it records what was read, even if foreign code panics.
struct Reader<'a, T> {
    consumer: &'a mut Consumer<T>,
    cursor: &'a mut Cursor,
    log: &'a Log<T>,
    /// First seq of the messages that were read but are not recorded yet. They end at the position.
    run: u64,
    /// When the read takes place.
    wall: u64,
    audit: &'a mut Audit,
    /// Set if the records take more than they may.
    is_over: &'a mut bool,
}

impl<'a, T> Reader<'a, T> {
    /// Moves the cursor to the next message it reads, and returns that message.
    #[inline]
    fn next(&mut self) -> Option<Found<'a, T>> {
        let from = self.cursor.position;
        let found = self.cursor.move_on(self.log);
        if self.cursor.position != from {
            self.record_upto(from);
            self.run = self.cursor.position;
        }
        found
    }

    fn record(&mut self) {
        self.record_upto(self.cursor.position);
    }

    fn record_upto(&mut self, end: u64) {
        let seqs = self.run..end;
        *self.is_over |= self.consumer.record(seqs, self.wall, self.log, self.audit);
    }
}

impl<T> Drop for Reader<'_, T> {
    fn drop(&mut self) {
        self.record();
    }
}
