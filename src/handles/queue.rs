//! Methods of a queue's handle.

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

    /// Whether two handles belong to the same queue.
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

    /// Adds a message in the usual case and returns its seq. `payload` then holds the message that was removed to make
    /// room, if any. None: `payload` is untouched; continue with [`try_enqueue`](Self::try_enqueue).
    #[inline(always)]
    pub(crate) fn enqueue_fast(&self, payload: &mut Option<T>, size: u64) -> Option<u64> {
        self.core.enter_to_add()?.enqueue_fast(payload, size)
    }

    /// Adds a message under a topic in the usual case. None: check the topic, and continue with
    /// [`try_enqueue`](Self::try_enqueue).
    #[inline]
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_under_fast(&self, payload: &mut Option<T>, size: u64, topic: &str) -> Option<u64> {
        self.core.enter_to_add()?.enqueue_under_fast(payload, size, topic)
    }

    /// Adds all messages of a batch in the usual case. None: nothing was taken from `each`; continue with
    /// [`try_enqueue`](Self::try_enqueue).
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn enqueue_batch_fast(&self, each: impl ExactSizeIterator<Item = (T, u64)>, need: Need) -> Option<u64> {
        let mut state = self.core.enter_to_add()?;
        let first = state.enqueue_batch_fast(each, need);
        self.core.unlock(state);
        first
    }

    /// Adds all messages of a batch, or none, and returns the first seq. The batch has `need.items` messages with a
    /// total of `need.bytes`. `ticket`: the place in the line where the caller has waited.
    ///
    /// A refusal takes nothing from `each`. Only [`reject`](Self::reject) counts it as rejected, because the caller may
    /// still wait.
    #[inline]
    pub(crate) fn try_enqueue(
        &self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
        how: How<'_>,
        ticket: Option<&Ticket>,
    ) -> Result<u64, Error> {
        self.with_room(need, how.topic, |state, fx| state.enqueue(each, need, how, ticket, fx))
    }

    /// Adds all messages of a batch that is already in slots, or none. If it is refused, it stays in `batch`.
    pub(crate) fn try_enqueue_prepared(
        &self,
        batch: &mut Batch<T>,
        topic: Option<&Topic>,
        ticket: Option<&Ticket>,
    ) -> Result<u64, Error> {
        self.make_room(batch.need(), topic);
        batch.warm();
        self.core.with_leases(|state, _, fx| state.enqueue_prepared(batch, topic, ticket, fx))
    }

    /// Drops the oldest messages, in slices, if `need` takes their place.
    fn make_room(&self, need: Need, topic: Option<&Topic>) {
        while self.core.with_leases(|state, _, fx| state.make_room(need, topic, fx)) {
            self.core.let_others_in();
        }
    }

    /// Calls `add`, which adds `need`. If many messages have to be dropped for it, they are dropped before, in slices.
    fn with_room<R>(
        &self,
        need: Need,
        topic: Option<&Topic>,
        add: impl FnOnce(&mut State<T>, &mut Effects<T>) -> R,
    ) -> R {
        let mut add = Some(add);
        let mut attempt = |is_ready: bool| {
            self.core.with_leases(|state, _, fx| match is_ready || state.makes_room_at_once(need, topic) {
                true => add.take().map(|add| add(state, fx)),
                false => None,
            })
        };
        if let Some(result) = attempt(false) {
            return result;
        }
        self.make_room(need, topic);
        attempt(true).expect("it is called once")
    }

    /// Adds all messages of a batch, or none, without waiting. A refusal is counted.
    fn enqueue_now(
        &self,
        each: impl ExactSizeIterator<Item = (T, u64)>,
        need: Need,
        how: How<'_>,
    ) -> Result<u64, Error> {
        self.with_room(need, how.topic, |state, fx| {
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

    /// Adds a message of `size` payload bytes without waiting, and returns its seq.
    ///
    /// # Errors
    /// [`Error::Full`] with the figures, [`Error::Closed`].
    pub fn enqueue(&self, payload: T, size: u64) -> Result<u64, Error> {
        self.enqueue_for(payload, size, Lifetime::Queue)
    }

    /// Adds a message with a lifetime of its own.
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

    /// Adds a message under a topic. It goes to consumers without filters, and to those with a filter that the topic
    /// matches.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_under(&self, topic: &Topic, payload: T, size: u64, lifetime: Lifetime) -> Result<u64, Error> {
        // Declared outside the closure, so that a refused payload is dropped without the lock.
        let mut one = Some((payload, size)).into_iter();
        self.enqueue_now(&mut one, Need::one(size), How { lifetime, topic: Some(topic) })
    }

    /// Adds a batch of payloads with their sizes, all or none, without waiting. Returns the first seq.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_batch(&self, batch: Vec<(T, u64)>) -> Result<u64, Error> {
        self.enqueue_batch_under(None, batch)
    }

    /// Adds a batch whose messages all have the same topic.
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

    /// Adds a message. Waits for space up to `limit` (None: without limit).
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue). A message that can never fit fails at once.
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

    /// Adds a consumer with these options.
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

    /// Adds a reader with filters, after the filters have processed the held messages in slices.
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
        self.change_readers(|state, fx| {
            let added = add(state, place, fx);
            if added.is_err() {
                place.into_iter().for_each(|place| state.leave_filter(place));
            }
            added
        })
    }

    /// Calls `change`, which adds or removes a reader. Then gives back what removed members held, and removes the
    /// filters that nobody uses any more, in slices.
    pub(super) fn change_readers<R>(&self, change: impl FnOnce(&mut State<T>, &mut Effects<T>) -> R) -> R {
        let (result, mut has_abandoned, mut has_left_filters) = self.core.with(|state, _, fx| {
            let result = change(state, fx);
            (result, state.has_abandoned(), state.log.has_left_filters())
        });
        while has_abandoned {
            self.core.let_others_in();
            has_abandoned = self.core.with_leases(|state, _, fx| state.give_back_abandoned(fx));
        }
        while has_left_filters {
            self.core.let_others_in();
            has_left_filters = self.core.with_leases(|state, _, _| state.log.forget_filters());
        }
        result
    }

    /// The group with a name.
    pub fn group(&self, name: &str) -> Option<Group<T, H>> {
        let key = self.core.with_leases(|state, _, _| state.find_group(name))?;
        Some(Group { queue: self.clone(), key })
    }

    /// Makes this queue a destination for dead letters of other queues' groups. `share` makes another handle to a
    /// payload. `measure` returns the size of a payload (None: it cannot now).
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

    /// Settles a delivery. Returns false if it is too late: the message has left, it is already settled, or (for a nack
    /// and for work in progress) there was a later delivery of it.
    pub fn settle(&self, receipt: &Receipt, how: Settle) -> bool {
        self.core.with_leases(|state, _, fx| state.settle(receipt, how, fx))
    }

    /// The consumer with an id.
    pub fn consumer(&self, id: Uuid) -> Option<Consumer<T, H>> {
        let identity = self.core.with_leases(|state, _, _| state.identity(state.find_consumer(id)?).ok())?;
        Some(self.handle(identity))
    }

    // --- time and limits ----------------------------------------------------------------------------------------------

    /// Nanoseconds that a message lives; None: no limit.
    pub fn ttl(&self) -> Option<u64> {
        self.core.with_leases(|state, _, _| state.ttl())
    }

    /// Changes the ttl, which takes effect at once, also for the messages held.
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

    /// Removes messages that a change has made due.
    fn touch(&self) {
        self.core.with(|_, _, _| ());
    }

    /// Removes all expired messages, and returns how many there were.
    pub fn force_expiration(&self) -> u64 {
        let mut fx = Effects::new();
        let (state, count) = self.core.lock_up_to_date(&mut fx);
        drop(state);
        self.core.apply_here(fx);
        count
    }

    /// The limits on bytes and on messages, read together. They do not depend on the time.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn limits(&self) -> (u64, Option<u64>) {
        let state = self.core.lock();
        (state.budget.max_bytes(), state.budget.max_items)
    }

    /// The limit on bytes.
    pub fn max_bytes(&self) -> u64 {
        self.core.with_leases(|state, _, _| state.budget.max_bytes())
    }

    /// Changes the limit on bytes. It may be lower than what is held.
    pub fn set_max_bytes(&self, max: u64) {
        self.core.with(|state, _, fx| state.set_max_bytes(max, fx));
    }

    /// The limit on messages.
    pub fn max_items(&self) -> Option<u64> {
        self.core.with_leases(|state, _, _| state.budget.max_items)
    }

    /// Changes the limit on messages. It may be lower than what is held.
    pub fn set_max_items(&self, max: Option<u64>) {
        self.core.with(|state, _, fx| state.set_max_items(max, fx));
    }

    // --- closing ------------------------------------------------------------------------------------------------------

    /// Closes the queue. Producers are refused at once. Consumers get the error after they have read what is left (at
    /// once if `immediate`).
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

    /// Waits until every consumer has read all held messages. Returns false if that takes longer than `limit`.
    pub fn join(&self, limit: Option<Duration>) -> bool {
        let attempt = |_: Option<&Ticket>| Ok::<_, Infallible>(self.is_joined().then_some(()));
        matches!(self.block(Condition::Joined, deadline(limit), attempt, park), Ok(Some(())))
    }

    /// Whether there are consumers and all of them have read all held messages.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn is_read_by_all(&self) -> bool {
        self.core.with(|state, _, _| state.has_cursors() && state.is_all_read())
    }

    /// Whether every consumer has read all held messages.
    pub(crate) fn is_joined(&self) -> bool {
        self.core.with(|state, _, _| state.is_all_read())
    }
}
