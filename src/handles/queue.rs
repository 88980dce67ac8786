//! What a queue's handle does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::blocking::{deadline, park};
use super::{Consumer, Group, Queue};
use crate::core::Core;
use crate::core::dead_letters::DeadLetter;
use crate::delivery::Receipt;
use crate::error::Error;
use crate::log::batch::{Batch, LARGE};
use crate::need::Need;
use crate::options::{ConsumerOptions, GroupOptions, Lifetime, MissedPolicy, Options, Settle, Start};
use crate::state::producing::How;
use crate::state::{Burial, Effects, State};
use crate::sync::{Host, lock};
use crate::time::clock::Now;
use crate::topics::{Filters, Topic};
use crate::wait::list::{Condition, Ticket};

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// A new queue.
    pub fn new(options: &Options) -> Self {
        Queue { core: Arc::new(Core::new(options)) }
    }

    /// Whether two handles are of the same queue.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// A number that no other queue of the process has.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn number(&self) -> u64 {
        self.core.number
    }

    /// The time, by the queue's clock.
    pub fn now(&self) -> Now {
        self.core.clock.now()
    }

    // --- producing ----------------------------------------------------------------------------------------------------

    /// Adds a message in the usual case and returns its seq; `payload` then holds the message that was removed to make
    /// room, if any. None: `payload` is untouched, continue with [`try_enqueue`](Self::try_enqueue).
    #[inline(always)]
    pub(crate) fn enqueue_fast(&self, payload: &mut Option<T>, size: u64) -> Option<u64> {
        self.core.enter_to_add()?.enqueue_fast(payload, size)
    }

    /// The same under a topic. None: continue with [`try_enqueue`](Self::try_enqueue), once the topic was checked.
    #[inline]
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_under_fast(&self, payload: &mut Option<T>, size: u64, topic: &str) -> Option<u64> {
        self.core.enter_to_add()?.enqueue_under_fast(payload, size, topic)
    }

    /// Adds all of a batch in the usual case. None: nothing was taken from `each`, continue with
    /// [`try_enqueue`](Self::try_enqueue).
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_batch_fast(&self, each: impl ExactSizeIterator<Item = (T, u64)>, need: Need) -> Option<u64> {
        let mut state = self.core.enter_to_add()?;
        let first = state.enqueue_batch_fast(each, need);
        self.core.unlock(state);
        first
    }

    /// Adds all of a batch, or nothing, and returns the first seq: `need.items` messages whose sizes come to `need.bytes`.
    /// `ticket`: the line that it has waited in.
    ///
    /// A refusal takes nothing from `each`. It counts as rejected only by [`reject`](Self::reject), since the caller may go
    /// on to wait.
    #[inline]
    pub(crate) fn try_enqueue(
        &self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
        how: How<'_>,
        ticket: Option<&Ticket>,
    ) -> Result<u64, Error> {
        self.core.with_leases(|state, _, fx| state.enqueue(each, need, how, ticket, fx))
    }

    /// Adds all of a batch that is in slots, or nothing. A refusal leaves it where it is.
    pub(crate) fn try_enqueue_prepared(
        &self,
        batch: &mut Batch<T>,
        topic: Option<&Topic>,
        ticket: Option<&Ticket>,
    ) -> Result<u64, Error> {
        while self.core.with_leases(|state, _, fx| state.make_room(batch.need(), topic, fx)) {
            self.core.let_others_in();
        }
        self.core.with_leases(|state, _, fx| state.enqueue_prepared(batch, topic, ticket, fx))
    }

    /// The same at once: a refusal counts.
    fn enqueue_now(
        &self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
        how: How<'_>,
    ) -> Result<u64, Error> {
        self.core.with_leases(|state, _, fx| {
            let result = state.enqueue(each, need, how, None, fx);
            if let Err(Error::Full(_)) = result {
                state.reject(need);
            }
            result
        })
    }

    /// Counts a refusal.
    pub(crate) fn reject(&self, need: Need) {
        self.core.with_leases(|state, _, _| state.reject(need));
    }

    /// Adds a message of `size` payload bytes at once, and returns its seq.
    ///
    /// # Errors
    /// [`Error::Full`] with the figures, [`Error::Closed`].
    pub fn enqueue(&self, payload: T, size: u64) -> Result<u64, Error> {
        self.enqueue_for(payload, size, Lifetime::Queue)
    }

    /// The same, with a lifetime of its own.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_for(&self, payload: T, size: u64, lifetime: Lifetime) -> Result<u64, Error> {
        let mut payload = Some(payload);
        if lifetime == Lifetime::Queue
            && let Some(seq) = self.enqueue_fast(&mut payload, size)
        {
            if std::mem::needs_drop::<T>() && payload.is_some() {
                H::dispose(&mut || {
                    payload = None;
                    false
                });
            }
            return Ok(seq);
        }
        // Declared outside the closure, so that refused payloads are dropped without the lock.
        let mut one = payload.map(|payload| (payload, size)).into_iter();
        self.enqueue_now(&mut one, Need::one(size), How { lifetime, topic: None })
    }

    /// The same under a topic: for those without filters, and those with a filter that the topic matches.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_under(&self, topic: &Topic, payload: T, size: u64, lifetime: Lifetime) -> Result<u64, Error> {
        // Declared outside the closure, so that a refused payload is dropped without the lock.
        let mut one = Some((payload, size)).into_iter();
        self.enqueue_now(&mut one, Need::one(size), How { lifetime, topic: Some(topic) })
    }

    /// Adds all of a batch of payloads with their sizes at once, or nothing, and returns the first seq.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_batch(&self, batch: Vec<(T, u64)>) -> Result<u64, Error> {
        self.enqueue_batch_under(None, batch)
    }

    /// The same under a topic, which is that of every message.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_batch_under(&self, topic: Option<&Topic>, batch: Vec<(T, u64)>) -> Result<u64, Error> {
        let need = Need::all(batch.iter().map(|(_, size)| size));
        if batch.len() >= LARGE {
            let mut batch = Batch::new(batch.into_iter(), Lifetime::Queue);
            let result = self.try_enqueue_prepared(&mut batch, topic, None);
            if let Err(Error::Full(_)) = result {
                self.reject(need);
            }
            return result;
        }
        // Declared outside the closure, so that refused payloads are dropped without the lock.
        let mut each = batch.into_iter();
        self.enqueue_now(&mut each, need, How { topic, ..How::default() })
    }

    /// Adds a message, waiting for space as long as `limit` allows (None: for ever).
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue); what could never fit fails at once.
    pub fn enqueue_within(&self, payload: T, size: u64, limit: Option<Duration>) -> Result<u64, Error> {
        let mut one = Some((payload, size)).into_iter();
        let need = Need::one(size);
        let mut refused = Error::Closed;
        let mut attempt = |ticket: Option<&Ticket>| match self.try_enqueue(&mut one, need, How::default(), ticket) {
            Err(Error::Full(full)) if !full.is_hopeless() => {
                refused = Error::Full(full);
                Ok(None)
            }
            result => result.map(Some),
        };
        let added = match attempt(None) {
            Ok(None) => self.block(Condition::Space(need, None), deadline(limit), attempt, park),
            added => added,
        };
        let result = added.and_then(|seq| seq.ok_or(refused));
        if let Err(Error::Full(_)) = result {
            self.reject(need);
        }
        result
    }

    // --- consumers ----------------------------------------------------------------------------------------------------

    /// Adds a consumer.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`].
    pub fn add_consumer(
        &self,
        name: Option<String>,
        start: Start,
        policy: MissedPolicy,
    ) -> Result<Consumer<T, H>, Error> {
        self.add_consumer_with(&ConsumerOptions { name, start, policy, ..ConsumerOptions::default() })
    }

    /// Adds a consumer that reads so.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`].
    pub fn add_consumer_with(&self, options: &ConsumerOptions) -> Result<Consumer<T, H>, Error> {
        let id = Uuid::new_v4();
        let identity = self.with_filter(options.filters.as_ref(), |state, filter, fx| {
            let key = state.add_consumer(id, options, filter, fx)?;
            state.identity(key)
        })?;
        Ok(self.handle(identity))
    }

    /// Adds a group.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::BeyondEnd`].
    pub fn add_group(
        &self,
        name: &str,
        start: Start,
        options: &GroupOptions,
        dead_letter: Option<DeadLetter<T>>,
    ) -> Result<Group<T, H>, Error> {
        let add =
            |state: &mut State<T>, filter, fx: &mut _| state.add_group(name.to_owned(), start, options, filter, fx);
        let key = self.with_filter(options.filters.as_ref(), add)?;
        if let Some(dead_letter) = dead_letter {
            lock::<H, _>(&self.core.dead_letters).insert(key.serial, dead_letter);
        }
        Ok(Group { queue: self.clone(), key })
    }

    /// Adds what reads with filters, once those have taken in what is held, in slices.
    fn with_filter<R>(
        &self,
        filters: Option<&Filters>,
        add: impl FnOnce(&mut State<T>, Option<usize>, &mut Effects<T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let place = filters.map(|filters| self.core.with_leases(|state, _, _| state.log.use_filters(filters)));
        let build = |place| self.core.with_leases(|state, _, _| state.log.build_filter(place));
        while place.is_some_and(build) {
            self.core.let_others_in();
        }
        self.core
            .with(|state, _, fx| {
                let added = add(state, place, fx);
                if added.is_err() {
                    place.into_iter().for_each(|place| state.leave_filter(place));
                }
                added
            })
            .inspect_err(|_| self.forget_filters())
    }

    /// Forgets the filters that nobody uses any more, in slices.
    pub(super) fn forget_filters(&self) {
        while self.core.with_leases(|state, _, _| state.log.forget_filters()) {
            self.core.let_others_in();
        }
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<Group<T, H>> {
        let key = self.core.with_leases(|state, _, _| state.find_group(name))?;
        Some(Group { queue: self.clone(), key })
    }

    /// Where dead letters of other queues' groups can go: here. `share` makes another handle to a payload, `measure` tells
    /// its size (None: not now).
    pub fn dead_letter(
        &self,
        share: fn(&T) -> T,
        measure: impl Fn(&T) -> Option<u64> + Send + Sync + 'static,
    ) -> DeadLetter<T> {
        let weak = self.downgrade();
        let deposit = move |payload, topic: Option<&Topic>| match weak.upgrade() {
            None => Burial::Later,
            Some(queue) => match measure(&payload).map(|size| queue.enqueue_letter(payload, size, topic)) {
                Some(Ok(_)) => Burial::Done,
                Some(Err(Error::Full(full))) if full.is_hopeless() => Burial::Never,
                _ => Burial::Later,
            },
        };
        DeadLetter { share, deposit: Arc::new(deposit) }
    }

    fn enqueue_letter(&self, payload: T, size: u64, topic: Option<&Topic>) -> Result<u64, Error> {
        match topic {
            Some(topic) => self.enqueue_under(topic, payload, size, Lifetime::Queue),
            None => self.enqueue(payload, size),
        }
    }

    /// Says what has become of a delivery. False: it is too late. The message has left, or somebody has settled it, or, for
    /// a nack and for work in progress, a later delivery has taken this one's place.
    pub fn settle(&self, receipt: &Receipt, how: Settle) -> bool {
        self.core.with_leases(|state, _, fx| state.settle(receipt, how, fx))
    }

    /// The consumer of an id.
    pub fn consumer(&self, id: Uuid) -> Option<Consumer<T, H>> {
        let identity = self.core.with_leases(|state, _, _| state.identity(state.find_consumer(id)?).ok())?;
        Some(self.handle(identity))
    }

    // --- time and limits ----------------------------------------------------------------------------------------------

    /// Nanoseconds that a message lives; None: for ever.
    pub fn ttl(&self) -> Option<u64> {
        self.core.with_leases(|state, _, _| state.ttl())
    }

    /// Changes it, at once for what is held, too.
    pub fn set_ttl(&self, ttl: Option<u64>) {
        self.core.with(|state, _, _| state.set_ttl(ttl));
        self.touch();
    }

    /// Whether messages expire.
    pub fn expires(&self) -> bool {
        self.core.with_leases(|state, _, _| state.expires())
    }

    /// Switches expiration on or off.
    pub fn set_expires(&self, expires: bool) {
        self.core.with(|state, _, _| state.set_expires(expires));
        self.touch();
    }

    /// Lets what has become due by a change expire now.
    fn touch(&self) {
        self.core.with(|_, _, _| ());
    }

    /// Removes what is past its time, and returns how many those were.
    pub fn force_expiration(&self) -> u64 {
        let mut fx = Effects::new();
        let (state, count) = self.core.lock_up_to_date(&mut fx);
        drop(state);
        self.core.apply_here(fx);
        count
    }

    /// Both limits at once: bytes and messages. They do not depend on the time.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn limits(&self) -> (u64, Option<u64>) {
        let state = self.core.lock();
        (state.budget.max_bytes(), state.budget.max_items)
    }

    /// The limit on bytes.
    pub fn max_bytes(&self) -> u64 {
        self.core.with_leases(|state, _, _| state.budget.max_bytes())
    }

    /// Changes it, also below what is held.
    pub fn set_max_bytes(&self, max: u64) {
        self.core.with(|state, _, fx| state.set_max_bytes(max, fx));
    }

    /// The limit on messages.
    pub fn max_items(&self) -> Option<u64> {
        self.core.with_leases(|state, _, _| state.budget.max_items)
    }

    /// Changes it, also below what is held.
    pub fn set_max_items(&self, max: Option<u64>) {
        self.core.with(|state, _, fx| state.set_max_items(max, fx));
    }

    // --- ending -------------------------------------------------------------------------------------------------------

    /// Closes the queue: for producers at once, for consumers once they have read what is left (at once if
    /// `immediate`).
    pub fn close(&self, immediate: bool) {
        let mut fx = Effects::new();
        let (mut state, _) = self.core.lock_up_to_date(&mut fx);
        state.recall_all();
        state.close(immediate, &mut fx);
        drop(state);
        self.core.apply_here(fx);
    }

    /// Removes every payload of a queue that has become unreachable.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn discard(&self) {
        let mut fx = Effects::new();
        self.core.lock().discard(&mut fx);
        self.core.apply_here(fx);
    }

    /// Waits until every consumer has read all that is held; false: not within `limit`.
    pub fn join(&self, limit: Option<Duration>) -> bool {
        let attempt = |_: Option<&Ticket>| Ok::<_, Infallible>(self.is_joined().then_some(()));
        matches!(self.block(Condition::Joined, deadline(limit), attempt, park), Ok(Some(())))
    }

    /// Whether there are consumers, and all of them have read all that is held.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn is_read_by_all(&self) -> bool {
        self.core.with(|state, _, _| state.has_cursors() && state.is_all_read())
    }

    /// Whether every consumer has read all that is held.
    pub(crate) fn is_joined(&self) -> bool {
        self.core.with(|state, _, _| state.is_all_read())
    }
}
