//! Methods of a consumer's handle.

use std::hint::cold_path;
use std::time::Duration;

use uuid::Uuid;

use super::blocking::{deadline, park};
use super::{Consumer, Queue};
use crate::delivery::Delivery;
use crate::error::Error;
use crate::keys::{ConsumerKey, Key, Predecessor};
use crate::log::lane::{NoLease, Run};
use crate::options::Start;
use crate::stats::ConsumerStats;
use crate::sync::{Host, thread};
use crate::wait::list::{Condition, Enough};

/// Number of new messages after which a reader that has found none tries again at once.
const SOME: u64 = 256;
/// Maximum number of messages that one hold of the lock skips.
const AT_ONCE: usize = 4_000;

impl<T: Send + Sync + 'static, H: Host> Consumer<T, H> {
    /// The id of the consumer.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The consumer as a predecessor, for [`ConsumerOptions::after`](crate::ConsumerOptions::after).
    pub fn predecessor(&self) -> Predecessor {
        Predecessor(Key::Consumer(self.key))
    }

    /// The queue of the consumer.
    pub fn queue(&self) -> &Queue<T, H> {
        &self.queue
    }

    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn key(&self) -> ConsumerKey {
        self.key
    }

    /// Passes up to `limit` messages to `visit`, under the lock, and returns how many; 0: there are none yet.
    ///
    /// # Errors
    /// [`Error::Closed`] when no more messages can come, [`Error::ConsumerClosed`], [`Error::Missed`].
    #[inline]
    pub fn read_with(&self, limit: usize, visit: impl FnMut(Delivery<'_, T>)) -> Result<usize, Error> {
        self.read_fitting_with(limit, u64::MAX, false, visit)
    }

    /// Passes the next message to `visit`, under the lock, in the usual case. None: nothing was done; continue with
    /// [`read_with`](Self::read_with).
    #[inline(always)]
    pub(crate) fn read_fast<R>(&self, visit: impl FnOnce(Delivery<'_, T>) -> R) -> Option<R> {
        let core = &self.queue.core;
        let mut visit = Some(visit);
        match self.lane.read(&core.clock, &mut visit) {
            Ok(read) => return read,
            Err(NoLease) => cold_path(),
        }
        let visit = visit?;
        let mut state = core.enter_to_read()?;
        let read = state.read_fast(self.key, visit)?;
        state.lease(self.key, false);
        Some(read)
    }

    /// How many messages there are, up to `limit`. None: the queue's lock is needed to tell.
    #[inline]
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn ready(&self, limit: usize) -> Option<usize> {
        self.lane.ready(limit)
    }

    /// [`read_with`](Self::read_with) with an additional limit in payload bytes. Delivers at least one message, however
    /// large it is. `goes_on`: the call has already delivered messages. Then it may deliver none, and the next call
    /// reports a gap.
    ///
    /// # Errors
    /// Those of [`read_with`](Self::read_with).
    pub fn read_fitting_with(
        &self,
        limit: usize,
        max_bytes: u64,
        goes_on: bool,
        visit: impl FnMut(Delivery<'_, T>),
    ) -> Result<usize, Error> {
        self.read_fitting(limit, &mut { max_bytes }, goes_on, visit)
    }

    /// [`read_fitting_with`](Self::read_fitting_with), which takes the payload bytes of what it delivers off `left`
    /// (unless that is `u64::MAX`: no limit).
    pub(crate) fn read_fitting(
        &self,
        limit: usize,
        left: &mut u64,
        goes_on: bool,
        mut visit: impl FnMut(Delivery<'_, T>),
    ) -> Result<usize, Error> {
        let mut run = Run::default();
        if !goes_on {
            run = self.lane.read_all(&self.queue.core.clock, limit, *left, &mut visit);
            let is_over = run.bytes > *left;
            if *left != u64::MAX {
                *left = left.saturating_sub(run.bytes);
            }
            if run.is_all || is_over {
                return Ok(run.count);
            }
        }
        let mut count = run.count;
        loop {
            let (most, goes_on) = (limit - count, goes_on || count > 0);
            // Who sets no limit in bytes does not pay for adding them up.
            let slice = match *left {
                u64::MAX => self.read_slice(most, u64::MAX, goes_on, &mut visit),
                max_bytes => self.read_slice(most, max_bytes, goes_on, &mut |delivery| {
                    *left = left.saturating_sub(delivery.size);
                    visit(delivery);
                }),
            };
            match slice {
                // The next call reports the error. This call returns the messages that it has.
                Err(_) if count > 0 => return Ok(count),
                Err(error) => return Err(error),
                Ok((read, is_all)) => {
                    count += read;
                    if is_all {
                        return Ok(count);
                    }
                }
            }
        }
    }

    /// Reads a part of a batch in one hold of the lock. Returns how many messages, and whether those were all.
    fn read_slice(
        &self,
        limit: usize,
        max_bytes: u64,
        goes_on: bool,
        visit: &mut impl FnMut(Delivery<'_, T>),
    ) -> Result<(usize, bool), Error> {
        self.queue.core.with_own(self.key, |state, _, fx| {
            let most = state.at_once(self.key).min(limit);
            let count = match max_bytes {
                u64::MAX => most,
                _ => state.fitting(self.key, most, max_bytes)?,
            };
            let read = match count == 0 && goes_on {
                true => Ok(0),
                false => state.read(self.key, count.max(1).min(most), goes_on, fx, visit),
            };
            // If threads run in parallel, the next message has often arrived before anyone waits for it.
            state.lease(self.key, H::TRIES > 0);
            read.map(|read| (read, read < most || read == limit))
        })
    }

    /// Whether a read would return a message now, or fail.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn is_readable(&self) -> Result<bool, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.is_readable(self.key))
    }

    /// Whether a reader that waits for a batch to fill can stop waiting.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn is_enough(&self, enough: Enough) -> Result<bool, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.is_enough(self.key, enough))
    }

    /// Passes the newest message of the queue to `visit`, under the lock, and skips all messages before it. Returns
    /// false if there are none.
    ///
    /// # Errors
    /// Those of [`read_with`](Self::read_with), and [`Error::IsMember`].
    pub fn read_latest_with(&self, mut visit: impl FnMut(Delivery<'_, T>)) -> Result<bool, Error> {
        loop {
            match self
                .queue
                .core
                .with_own(self.key, |state, _, fx| state.read_latest(self.key, AT_ONCE, fx, &mut visit))?
            {
                (0, _) => return Ok(false),
                (_, true) => return Ok(true),
                _ => {}
            }
        }
    }

    /// Counts a message that was read as skipped. The next delivery reports what was missed before it.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn pass_over(&self, missed: u64) {
        self.queue.core.with_own(self.key, |state, _, _| state.pass_over(self.key, missed));
    }

    /// Reads the next message, if there is one.
    ///
    /// # Errors
    /// Those of [`read_with`](Self::read_with).
    #[inline]
    pub fn read(&self) -> Result<Option<T>, Error>
    where
        T: Clone,
    {
        let mut read = self.read_fast(|delivery| delivery.payload.clone());
        if read.is_none() {
            self.read_with(1, |delivery| read = Some(delivery.payload.clone()))?;
        }
        Ok(read)
    }

    /// Reads the next message, and waits for it up to `limit` (None: without limit). None: no message came in time.
    ///
    /// # Errors
    /// Those of [`read_with`](Self::read_with).
    pub fn read_within(&self, limit: Option<Duration>) -> Result<Option<T>, Error>
    where
        T: Clone,
    {
        if let Some(read) = self.attempt_for_a_moment(|| self.read())? {
            return Ok(Some(read));
        }
        self.queue.block(Condition::Message(self.key), deadline(limit), |_| self.read(), park)
    }

    /// Calls `attempt`. If that finds nothing, calls it again within the next few microseconds if something is enqueued
    /// in the meantime.
    ///
    /// If producers run in parallel, the next message has often arrived before this thread could be parked. But a
    /// reader that takes each message as soon as it arrives would exchange cache lines with its producer for each of
    /// them, and both would take twice as long. So the reader tries again when there are several messages, or when no
    /// more come. In the meantime it touches no lock.
    pub(crate) fn attempt_for_a_moment<R, E>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, E> {
        let mut start = self.lane.end();
        if H::TRIES == 0 || start.is_none() {
            let result = attempt()?;
            if H::TRIES == 0 || result.is_some() {
                return Ok(result);
            }
            start = self.lane.end();
        }
        let Some(start) = start else { return Ok(None) };
        let mut seen = start;
        for _ in 0..2 * H::TRIES {
            thread::yield_now();
            let published = self.lane.published();
            if published - start >= SOME || published == seen && seen != start {
                break;
            }
            seen = published;
        }
        if self.lane.published() == start { Ok(None) } else { attempt() }
    }

    /// Undoes the report of `count` missed messages by a delivery that the caller never received. The next delivery
    /// reports them.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn untell(&self, count: u64) {
        self.queue.core.with_own(self.key, |state, _, _| state.untell(self.key, count));
    }

    /// Passes the next message to `visit`, and leaves it unread.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn peek_with<R>(&self, visit: impl FnOnce(Delivery<'_, T>) -> R) -> Result<Option<R>, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.peek(self.key, visit))
    }

    /// Seq of the next message to read.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn position(&self) -> Result<u64, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.position(self.key))
    }

    /// Moves the position.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`], [`Error::ConsumerClosed`].
    pub fn seek(&self, to: Start) -> Result<(), Error> {
        let mut next = Some(to);
        while let Some(to) = next {
            next = self.queue.core.with(|state, _, fx| state.seek(self.key, to, fx))?.map(Start::Seq);
            if next.is_some() {
                self.queue.core.let_others_in();
            }
        }
        Ok(())
    }

    /// Whether a read would return a message now.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn has_more(&self) -> Result<bool, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.has_more(self.key))
    }

    /// Number of messages to read. In a group this includes those that are ready for redelivery.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn unread(&self) -> Result<u64, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.unread(self.key))
    }

    /// Number of messages that left before they were read, since the consumer was added.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn missed(&self) -> Result<u64, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.missed(self.key))
    }

    /// Number of messages missed since the last call; None: none so far, and more may be missed later.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn take_missed(&self) -> Result<Option<u64>, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.take_missed(self.key))
    }

    /// The last `limit` reads of held messages, oldest first: seq and wall time in microseconds.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn history(&self, limit: usize) -> Result<Vec<(u64, u64)>, Error> {
        self.queue.core.with_own(self.key, |state, _, _| state.history(self.key, limit))
    }

    /// The figures of the consumer.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn stats(&self) -> Result<ConsumerStats, Error> {
        self.queue.core.with_own(self.key, |state, now, _| state.consumer_stats(self.key, now))
    }

    /// Removes the consumer from its queue. Returns false if it was already removed.
    pub fn close(&self) -> bool {
        self.queue.change_readers(|state, fx| state.remove_consumer(self.key, fx))
    }

    /// Whether the consumer was removed.
    pub fn is_closed(&self) -> bool {
        self.queue.core.with(|state, _, _| state.consumer(self.key).is_err())
    }
}
