//! Batches with a limit in bytes, and readers that wait for a batch to fill.

use super::acks::Acks;
use super::cursor::Cursor;
use super::{Effects, State};
use crate::delivery::Delivery;
use crate::error::Error;
use crate::keys::ConsumerKey;
use crate::wait::list::Enough;

impl<T> State<T> {
    /// Whether a reader that waits for a batch to fill can stop waiting: there is enough, no more can come, or a gap
    /// has to be reported first.
    pub(crate) fn is_enough(&self, key: ConsumerKey, enough: Enough) -> Result<bool, Error> {
        let consumer = self.consumer(key)?;
        Ok(self.is_filled(consumer.cursor, consumer.tells, enough))
    }

    /// Whether a read would return a message or an error now. It returns an error if a gap has to be reported, or if no
    /// more messages can come.
    pub(crate) fn is_readable(&self, key: ConsumerKey) -> Result<bool, Error> {
        Ok(self.reads_served(self.consumer(key)?.cursor) > 0)
    }

    /// How many reads of single messages at a cursor would return a message or an error now.
    pub(super) fn reads_served(&self, cursor: usize) -> u64 {
        if self.is_over(cursor) {
            return u64::MAX;
        }
        let at = &self.cursors[cursor];
        let tells = at.consumer.is_some_and(|index| self.consumers[index].tells);
        self.available(cursor) + u64::from(tells && at.has_gap(&self.log))
    }

    fn is_filled(&self, cursor: usize, tells: bool, enough: Enough) -> bool {
        let at = &self.cursors[cursor];
        let has_gap = tells && at.has_gap_before(self.limit_of(at), &self.log);
        // A closed queue ends every wait for more messages, but what is pending may still be the first.
        let is_over = self.closed && (enough.items > 1 || self.is_drained(at));
        has_gap
            || is_over
            || self.available(cursor) >= enough.items
            || enough.bytes != u64::MAX && self.bytes_from(at) >= enough.bytes
    }

    /// Payload bytes of the messages that can be delivered at a cursor.
    fn bytes_from(&self, cursor: &Cursor) -> u64 {
        let (_, mut bytes) = cursor.unread_and_bytes(&self.log);
        let upto = self.limit_of(cursor);
        if upto != u64::MAX {
            bytes -= self.log.live_for(cursor.filter, upto.max(cursor.position), cursor.hint).1;
        }
        bytes + self.acks_of(cursor).map_or(0, Acks::ready_bytes)
    }

    /// How many of the next messages, up to `limit`, have at most `max_bytes` together.
    pub(crate) fn fitting(&self, key: ConsumerKey, limit: usize, max_bytes: u64) -> Result<usize, Error> {
        let cursor = self.cursor(key)?;
        let (mut count, mut bytes) = (0, 0u64);
        let mut takes = |size: u64| {
            let sum = bytes.saturating_add(size);
            let fits = count < limit && sum <= max_bytes;
            if fits {
                (count, bytes) = (count + 1, sum);
            }
            fits
        };
        let upto = self.limit_of(cursor);
        let acks = self.acks_of(cursor);
        let mut ready = acks.into_iter().flat_map(Acks::ready_sizes);
        if ready.all(&mut takes) {
            let room = acks.map_or(u64::MAX, Acks::room);
            let (mut seq, mut hint) = (cursor.position, cursor.hint);
            for _ in 0..room {
                let Some(found) = self.log.first_for(cursor.filter, seq, &mut hint) else { break };
                if found.seq >= upto || !takes(found.size) {
                    break;
                }
                seq = found.seq + 1;
            }
        }
        Ok(count)
    }

    /// Wakes the readers at a cursor whose batch is full.
    pub(super) fn wake_batches(&mut self, cursor: usize, fx: &mut Effects<T>) {
        let mut waiting = std::mem::take(&mut self.cursors[cursor].batches);
        waiting.wake_where(&mut fx.wakers, |waiter| self.is_filled(cursor, waiter.tells, waiter.enough));
        self.cursors[cursor].batches = waiting;
        self.attended.update(&mut self.cursors, cursor);
    }

    /// Wakes the readers of all cursors with this filter whose batch is filled.
    pub(super) fn wake_batches_with(&mut self, filter: Option<usize>, fx: &mut Effects<T>) {
        // Backwards, because an entry that leaves is replaced by the last one.
        for place in (0..self.attended.batches(filter).len()).rev() {
            self.wake_batches(self.attended.batches(filter)[place], fx);
        }
    }

    /// The same for all cursors.
    pub(super) fn wake_all_batches(&mut self, fx: &mut Effects<T>) {
        for filter in self.attended.lists() {
            self.wake_batches_with(filter, fx);
        }
    }

    /// Reads up to `most` messages. Skips all except the newest one of the queue, which it passes to `visit`. Returns
    /// how many were read, and whether the newest was among them. 0: there are no messages.
    pub(crate) fn read_latest(
        &mut self,
        key: ConsumerKey,
        most: usize,
        fx: &mut Effects<T>,
        visit: &mut impl FnMut(Delivery<'_, T>),
    ) -> Result<(usize, bool), Error> {
        let consumer = self.consumer(key)?;
        if consumer.group.is_some() {
            return Err(Error::IsMember);
        }
        let cursor = consumer.cursor;
        let unread = usize::try_from(self.available(cursor)).unwrap_or(usize::MAX);
        let (mut count, mut missed, mut has_shown) = (0, 0, false);
        let read = self.read(key, unread.clamp(1, most), false, fx, |mut delivery| {
            (count, missed) = (count + 1, missed + delivery.missed);
            if count == unread {
                // This delivery also reports what was missed before the skipped messages.
                delivery.missed = missed;
                has_shown = true;
                visit(delivery);
            }
        })?;
        if !has_shown {
            self.cursors[cursor].untell(missed);
        }
        self.consumers[key.index].passed += (read - usize::from(has_shown)) as u64;
        Ok((read, has_shown))
    }

    /// Counts a message that a consumer has read as skipped. The next delivery reports what was missed before it.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn pass_over(&mut self, key: ConsumerKey, missed: u64) {
        let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) else { return };
        self.consumers[key.index].passed += 1;
        self.cursors[cursor].untell(missed);
    }
}
