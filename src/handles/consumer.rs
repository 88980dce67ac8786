//! What a consumer's handle does.

use std::hint::cold_path;
use std::time::Duration;

use uuid::Uuid;

use super::blocking::{deadline, park};
use super::{Consumer, Queue};
use crate::delivery::Delivery;
use crate::error::Error;
use crate::keys::ConsumerKey;
use crate::options::Start;
use crate::stats::ConsumerStats;
use crate::sync::Host;
use crate::wait::list::Condition;

impl<T: Send + 'static, H: Host> Consumer<T, H> {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its queue.
    pub fn queue(&self) -> &Queue<T, H> {
        &self.queue
    }

    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn key(&self) -> ConsumerKey {
        self.key
    }

    /// Passes up to `limit` messages to `visit`, under the lock, and returns how many; 0: none are there yet.
    ///
    /// # Errors
    /// [`Error::Closed`] when nothing can come any more, [`Error::ConsumerClosed`], [`Error::Missed`].
    #[inline]
    pub fn read_with(&self, limit: usize, visit: impl FnMut(Delivery<'_, T>)) -> Result<usize, Error> {
        self.queue.core.with_to_read(|state, _, fx| state.read(self.key, limit, false, fx, visit))
    }

    /// Continues a call that has already delivered messages. A gap after those is reported by the next call.
    ///
    /// # Errors
    /// [`Error::Closed`] when nothing can come any more, [`Error::ConsumerClosed`].
    pub fn read_on_with(&self, limit: usize, visit: impl FnMut(Delivery<'_, T>)) -> Result<usize, Error> {
        self.queue.core.with_to_read(|state, _, fx| state.read(self.key, limit, true, fx, visit))
    }

    /// Passes the next message to `visit`, under the lock, in the usual case. None: nothing was done, continue with
    /// [`read_with`](Self::read_with).
    #[inline(always)]
    pub(crate) fn read_fast<R>(&self, visit: impl FnOnce(Delivery<'_, T>) -> R) -> Option<R> {
        let core = &self.queue.core;
        let mut state = core.enter_to_read()?;
        if H::HAS_INBOX && state.has_inbox && state.is_at_end(self.key) {
            cold_path();
            core.collect(&mut state);
        }
        state.read_fast(self.key, visit)
    }

    /// The next message, if one is there.
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

    /// The next message, waiting as long as `limit` allows (None: for ever); None: not in time.
    ///
    /// # Errors
    /// Those of [`read_with`](Self::read_with).
    pub fn read_within(&self, limit: Option<Duration>) -> Result<Option<T>, Error>
    where
        T: Clone,
    {
        self.queue.block(Condition::Message(self.key), deadline(limit), |_| self.read(), park)
    }

    /// Undoes the report of `count` missed messages by a delivery that the caller never received. The next delivery
    /// reports them.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn untell(&self, count: u64) {
        self.queue.core.with(|state, _, _| state.untell(self.key, count));
    }

    /// Looks at the next message, and leaves it there.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn peek_with<R>(&self, visit: impl FnOnce(Delivery<'_, T>) -> R) -> Result<Option<R>, Error> {
        self.queue.core.with(|state, _, _| state.peek(self.key, visit))
    }

    /// Seq of the next message to read.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn position(&self) -> Result<u64, Error> {
        self.queue.core.with(|state, _, _| state.position(self.key))
    }

    /// Puts the position elsewhere.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`], [`Error::ConsumerClosed`].
    pub fn seek(&self, to: Start) -> Result<(), Error> {
        self.queue.core.with(|state, _, fx| state.seek(self.key, to, fx))
    }

    /// Whether a read would find a message now.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn has_more(&self) -> Result<bool, Error> {
        self.queue.core.with(|state, _, _| state.has_more(self.key))
    }

    /// Messages to read; in a group, those ready to be delivered again included.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn unread(&self) -> Result<u64, Error> {
        self.queue.core.with(|state, _, _| state.unread(self.key))
    }

    /// Messages that left before they were read, since the consumer was added.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn missed(&self) -> Result<u64, Error> {
        self.queue.core.with(|state, _, _| state.missed(self.key))
    }

    /// Messages missed since the last call; None: none so far, and more may come.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn take_missed(&self) -> Result<Option<u64>, Error> {
        self.queue.core.with(|state, _, _| state.take_missed(self.key))
    }

    /// The last `limit` readings of messages that are held, oldest first: seq and wall time in microseconds.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn history(&self, limit: usize) -> Result<Vec<(u64, u64)>, Error> {
        self.queue.core.with(|state, _, _| state.history(self.key, limit))
    }

    /// The figures.
    ///
    /// # Errors
    /// [`Error::ConsumerClosed`].
    pub fn stats(&self) -> Result<ConsumerStats, Error> {
        self.queue.core.with(|state, now, _| state.consumer_stats(self.key, now))
    }

    /// Removes it from its queue. False if it was removed already.
    pub fn close(&self) -> bool {
        self.queue.core.with(|state, _, fx| state.remove_consumer(self.key, fx))
    }

    /// Whether it was removed.
    pub fn is_closed(&self) -> bool {
        self.queue.core.with(|state, _, _| state.consumer(self.key).is_err())
    }
}
