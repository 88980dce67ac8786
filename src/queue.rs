//! The handles that a user holds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::budget::Need;
use crate::clock::{Clock, Now};
use crate::error::Error;
use crate::expiry::{self, Serviced};
use crate::group::{DeadLetter, GroupOptions, Settle};
use crate::log::Removed;
use crate::state::{Burial, ConsumerKey, Dying, Effects, GroupKey, NEVER, State, Ticket, What};
use crate::sync::{Host, Mutex, MutexGuard, Threads, held, hold, lock, release};
use crate::wait::Parker;

/// How long messages live by default.
pub const DEFAULT_TTL: Duration = Duration::from_secs(600);
/// What a queue holds by default at the most, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 1_048_576;
/// More removed chunks than this are dropped by the expiration thread, not by whoever came by.
const DROP_INLINE: usize = 4;

/// When messages leave that have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Not before their time or an overflow.
    #[default]
    Limits,
    /// When every consumer has read them.
    Interest,
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is refused.
    #[default]
    Reject,
    /// The oldest messages make room.
    DropOldest,
}

/// How long a message lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the queue's ttl says.
    #[default]
    Queue,
    /// So many nanoseconds, whatever the queue's ttl.
    Own(u64),
    /// For ever.
    Forever,
}

/// Where a consumer begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message held.
    #[default]
    Earliest,
    /// At the next message to be enqueued.
    Latest,
    /// At a seq; at the oldest message held where that is later.
    Seq(u64),
    /// At the first message created at or after a wall time, nanoseconds since the epoch.
    Time(u64),
}

/// What a read does when messages left before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedPolicy {
    /// It goes on; the counts tell.
    #[default]
    Skip,
    /// It fails once with [`Error::Missed`], and the next goes on.
    Tell,
}

/// How a queue behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nanoseconds that a message lives; None: for ever.
    pub ttl: Option<u64>,
    /// Hard limit on the bytes held, payloads and overhead.
    pub max_bytes: u64,
    /// Hard limit on the messages held.
    pub max_items: Option<u64>,
    /// When messages leave that have been read.
    pub retention: Retention,
    /// What happens when the queue is full.
    pub overflow: Overflow,
    /// Whether reads leave records.
    pub audit: bool,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ttl: Some(DEFAULT_TTL.as_nanos() as u64),
            max_bytes: DEFAULT_MAX_BYTES,
            max_items: None,
            retention: Retention::Limits,
            overflow: Overflow::Reject,
            audit: true,
            clock: Clock::System,
        }
    }
}

/// One message as it is handed over.
#[derive(Debug)]
pub struct Delivery<'a, T> {
    /// What was enqueued.
    pub payload: &'a T,
    /// Its place in the queue, gapless in enqueue order.
    pub seq: u64,
    /// Payload bytes accounted for it.
    pub size: u64,
    /// When it was enqueued: wall clock, nanoseconds since the epoch.
    pub created: u64,
    /// What the consumer missed just before it.
    pub missed: u64,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// What to settle it with, in an acknowledging group.
    pub receipt: Option<Receipt>,
}

/// One delivery of an acknowledging group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) group: GroupKey,
    pub(crate) member: ConsumerKey,
    pub(crate) seq: u64,
    /// Which delivery of the group it is.
    pub(crate) number: u64,
}

/// The figures of a group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// Deliveries that are not settled.
    pub pending: u64,
    /// Messages to deliver for the first time.
    pub unread: u64,
    /// Messages that left before they were delivered, or settled.
    pub missed: u64,
    /// Messages delivered, and with acknowledgements settled.
    pub read: u64,
    /// Deliveries that were not the first of their message.
    pub redelivered: u64,
    /// Messages moved to the dead letter queue.
    pub dead_lettered: u64,
}

/// The figures of a queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages held.
    pub total_items: u64,
    /// Bytes held: payloads and overhead.
    pub memory_usage: u64,
    /// The limit on them.
    pub max_bytes: u64,
    /// The limit on messages.
    pub max_items: Option<u64>,
    /// Bytes of the read records.
    pub audit_bytes: u64,
    /// Consumers.
    pub consumers: u64,
    /// Nanoseconds that a message lives.
    pub ttl: Option<u64>,
    /// Messages removed by their time.
    pub expired: u64,
    /// Messages removed to make room.
    pub dropped: u64,
    /// Messages refused.
    pub rejected: u64,
    /// Seq of the oldest message held.
    pub first_seq: u64,
    /// Seq of the next message; also how many were enqueued since the beginning.
    pub next_seq: u64,
}

/// The figures of a consumer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerStats {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// The name of the group whose position it shares.
    pub group: Option<String>,
    /// Messages read.
    pub read: u64,
    /// Messages to read.
    pub unread: u64,
    /// Their payload bytes.
    pub unread_bytes: u64,
    /// Nanoseconds since the oldest of them was enqueued.
    pub lag: u64,
    /// Messages that left before they were read.
    pub missed: u64,
    /// When it read last: wall clock, nanoseconds since the epoch.
    pub last_read: Option<u64>,
}

/// A queue. Clones are handles to the same one.
pub struct Queue<T: Send + 'static, H: Host = Threads> {
    core: Arc<Core<T, H>>,
}

/// A consumer of a queue. Clones are handles to the same one: each message goes to one of them.
pub struct Consumer<T: Send + 'static, H: Host = Threads> {
    queue: Queue<T, H>,
    key: ConsumerKey,
    id: Uuid,
}

impl<T: Send + 'static, H: Host> Clone for WeakQueue<T, H> {
    fn clone(&self) -> Self {
        WeakQueue { core: self.core.clone() }
    }
}

/// A queue, without keeping it alive.
pub(crate) struct WeakQueue<T: Send + 'static, H: Host> {
    core: Weak<Core<T, H>>,
}

impl<T: Send + 'static, H: Host> WeakQueue<T, H> {
    pub(crate) fn upgrade(&self) -> Option<Queue<T, H>> {
        Some(Queue { core: self.core.upgrade()? })
    }
}

/// Consumers that share a position: each message goes to one of them. Clones are handles to the same group.
pub struct Group<T: Send + 'static, H: Host = Threads> {
    queue: Queue<T, H>,
    key: GroupKey,
}

/// What handles share.
struct Core<T: Send + 'static, H: Host> {
    /// Unique in the process.
    number: u64,
    clock: Clock,
    state: Mutex<State<T>>,
    /// Where the groups bury their dead, by serial number.
    dead_letters: Mutex<HashMap<u64, DeadLetter<T, H>>>,
    host: std::marker::PhantomData<fn() -> H>,
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

impl<T: Send + 'static, H: Host> Core<T, H> {
    /// Runs `f` under the lock, after what is due has expired, and carries out what it leaves to do.
    #[inline]
    fn with<R>(self: &Arc<Self>, f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R) -> R {
        let mut fx = Effects::new();
        let now = self.clock.now();
        let mut state = lock::<H, _>(&self.state);
        let now = state.advance(now);
        if state.is_due() {
            state = self.expire(state, &mut fx).0;
        }
        let result = f(&mut state, now, &mut fx);
        let due = state.due();
        let arm = due < state.armed;
        if arm {
            state.armed = due;
        }
        drop(state);
        if arm {
            self.arm(due);
        }
        if fx.is_empty() {
            std::mem::forget(fx); // it has allocated nothing
        } else {
            self.apply(fx);
        }
        result
    }

    #[cold]
    fn arm(self: &Arc<Self>, due: u64) {
        if !self.clock.runs() {
            return;
        }
        let this: Arc<dyn Serviced> = self.clone();
        expiry::arm(self.number, due, Arc::downgrade(&this));
    }

    /// Removes what is due, letting go of the lock between slices.
    #[cold]
    fn expire<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        fx: &mut Effects<T>,
    ) -> (MutexGuard<'a, State<T>>, u64) {
        let mut count = state.expire(fx);
        while state.is_due() {
            drop(state);
            state = lock::<H, _>(&self.state);
            count += state.expire(fx);
        }
        (state, count)
    }

    /// Does what was left to do.
    #[cold]
    fn apply(self: &Arc<Self>, fx: Effects<T>) {
        if !fx.wakers.is_empty() {
            fx.wakers.into_iter().for_each(Waker::wake);
        }
        for dying in fx.dying {
            self.bury(dying);
        }
        if !fx.removed.is_empty() {
            let mut removed = fx.removed;
            if removed.chunks.len() <= DROP_INLINE {
                H::dispose(&mut || removed.drop_some());
            } else {
                let mut boxed = Some(removed);
                expiry::run_there(Box::new(move || {
                    if let Some(mut removed) = boxed.take() {
                        H::dispose(&mut || removed.drop_some());
                    }
                }));
            }
        }
    }
}

impl<T: Send + 'static, H: Host> Core<T, H> {
    /// Moves a dying message to the dead letter queue of its group.
    #[cold]
    fn bury(self: &Arc<Self>, dying: Dying) {
        let Dying { group, seq, is_termed } = dying;
        let letters = lock::<H, _>(&self.dead_letters).get(&group.serial).cloned();
        let Some(letters) = letters else {
            let burial = Burial::Nowhere { is_read: is_termed };
            return self.with(|state, _, fx| state.bury(group, seq, burial, fx));
        };
        // Another handle to the payload is only had where payloads may be dropped.
        H::dispose(&mut || {
            let Some(payload) = self.with(|state, _, _| state.dying(group, seq, letters.share)) else {
                return false;
            };
            let buried = letters.queue.upgrade().is_some_and(|queue| match (letters.measure)(&payload) {
                Some(size) => queue.enqueue(payload, size).is_ok(),
                None => false,
            });
            let burial = if buried { Burial::Done } else { Burial::Later };
            self.with(|state, _, fx| state.bury(group, seq, burial, fx));
            false
        });
    }
}

impl<T: Send + 'static, H: Host> Serviced for Core<T, H> {
    fn service(self: Arc<Self>) -> u64 {
        let mut fx = Effects::new();
        let mut state = lock::<H, _>(&self.state);
        state.advance(self.clock.now());
        if state.is_due() {
            state = self.expire(state, &mut fx).0;
        }
        state.armed = state.due();
        let due = state.due();
        drop(state);
        let mut removed = std::mem::replace(&mut fx.removed, Removed::new());
        self.apply(fx);
        let mut this = Some(self);
        H::dispose(&mut || {
            let more = removed.drop_some();
            if !more {
                this = None;
            }
            more
        });
        due
    }
}

impl<T: Send + 'static, H: Host> Drop for Core<T, H> {
    fn drop(&mut self) {
        if self.state.get_mut().armed != NEVER {
            expiry::forget(self.number);
        }
    }
}

/// A place among the waiters, left when it is dropped.
struct Place<'a, T: Send + 'static, H: Host> {
    queue: &'a Queue<T, H>,
    ticket: Ticket,
}

impl<T: Send + 'static, H: Host> Place<'_, T, H> {
    /// Ends a waiting that got what it waited for: nobody else needs the wake-up.
    fn satisfied(self) {
        self.queue.satisfied(&self.ticket);
        std::mem::forget(self);
    }
}

impl<T: Send + 'static, H: Host> Drop for Place<'_, T, H> {
    fn drop(&mut self) {
        self.queue.leave(&self.ticket);
    }
}

/// The moment after so long; None: never, also where it is too far to represent.
fn deadline(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

/// Parks a plain Rust thread.
fn park<E>(parker: &Parker, limit: Option<Duration>) -> Result<bool, E> {
    Ok(parker.park(limit))
}

impl<T: Send + 'static, H: Host> Clone for Queue<T, H> {
    fn clone(&self) -> Self {
        Queue { core: self.core.clone() }
    }
}

impl<T: Send + 'static, H: Host> fmt::Debug for Queue<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static, H: Host> Queue<T, H> {
    /// A new queue.
    pub fn new(options: &Options) -> Self {
        Queue {
            core: Arc::new(Core {
                number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
                clock: options.clock.clone(),
                state: Mutex::new(State::new(options, options.clock.now())),
                dead_letters: Mutex::new(HashMap::new()),
                host: std::marker::PhantomData,
            }),
        }
    }

    /// Whether two handles are of the same queue.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// A number that no other queue of the process has.
    pub(crate) fn number(&self) -> u64 {
        self.core.number
    }

    pub(crate) fn downgrade(&self) -> WeakQueue<T, H> {
        WeakQueue { core: Arc::downgrade(&self.core) }
    }

    /// The time, by the queue's clock.
    pub fn now(&self) -> Now {
        self.core.clock.now()
    }

    // --- producing ----------------------------------------------------------------------------------------------------

    /// Adds a message of `size` payload bytes, and returns its seq. `ticket`: the place that it has waited in.
    ///
    /// A refusal leaves the payload in `payload`; it counts as rejected only by [`reject`](Self::reject), since the
    /// caller may go on to wait.
    #[inline]
    pub(crate) fn try_enqueue(
        &self,
        payload: &mut Option<T>,
        size: u64,
        lifetime: Lifetime,
        ticket: Option<&Ticket>,
    ) -> Result<u64, Error> {
        self.core.with(|state, _, fx| state.enqueue(payload, size, lifetime, ticket, fx))
    }

    /// Adds all of a batch, or nothing: `need.items` messages whose sizes come to `need.bytes`.
    pub(crate) fn try_enqueue_batch<I: Iterator<Item = (T, u64)>>(
        &self,
        batch: I,
        need: Need,
        lifetime: Lifetime,
        ticket: Option<&Ticket>,
    ) -> Result<u64, Error> {
        self.core.with(|state, _, fx| state.enqueue_batch(batch, need, lifetime, ticket, fx))
    }

    /// Counts a refusal.
    pub(crate) fn reject(&self, need: Need) {
        self.core.with(|state, _, _| state.reject(need));
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
        self.core.with(|state, _, fx| {
            let result = state.enqueue(&mut payload, size, lifetime, None, fx);
            if let Err(Error::Full(_)) = result {
                state.reject(Need::one(size));
            }
            result
        })
    }

    /// Adds all of a batch of payloads with their sizes at once, or nothing, and returns the first seq.
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue).
    pub fn enqueue_batch(&self, batch: Vec<(T, u64)>) -> Result<u64, Error> {
        let need = Need { bytes: batch.iter().map(|(_, size)| size).sum(), items: batch.len() as u64 };
        self.core.with(|state, _, fx| {
            let result = state.enqueue_batch(batch.into_iter(), need, Lifetime::Queue, None, fx);
            if let Err(Error::Full(_)) = result {
                state.reject(need);
            }
            result
        })
    }

    /// Adds a message, waiting for space as long as `limit` allows (None: for ever).
    ///
    /// # Errors
    /// Those of [`enqueue`](Self::enqueue); what could never fit fails at once.
    pub fn enqueue_within(&self, payload: T, size: u64, limit: Option<Duration>) -> Result<u64, Error> {
        let mut payload = Some(payload);
        let need = Need::one(size);
        let mut refused = Error::Closed;
        let attempt = |ticket: Option<&Ticket>| match self.try_enqueue(&mut payload, size, Lifetime::Queue, ticket) {
            Err(Error::Full(full)) if !full.is_hopeless() => {
                refused = Error::Full(full);
                Ok(None)
            }
            result => result.map(Some),
        };
        let result = self.block(What::Space(need), deadline(limit), attempt, park);
        let result = result.and_then(|seq| seq.ok_or(refused));
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
        let id = Uuid::new_v4();
        let key = self.core.with(|state, _, fx| state.add_consumer(id, name, start, policy, fx))?;
        Ok(Consumer { queue: self.clone(), key, id })
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
        dead_letter: Option<DeadLetter<T, H>>,
    ) -> Result<Group<T, H>, Error> {
        let key = self.core.with(|state, _, fx| state.add_group(name.to_owned(), start, options, fx))?;
        if let Some(dead_letter) = dead_letter {
            lock::<H, _>(&self.core.dead_letters).insert(key.serial, dead_letter);
        }
        Ok(Group { queue: self.clone(), key })
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<Group<T, H>> {
        let key = self.core.with(|state, _, _| state.find_group(name))?;
        Some(Group { queue: self.clone(), key })
    }

    /// Names of all groups, in the order they were added.
    pub fn group_names(&self) -> Vec<String> {
        self.core.with(|state, _, _| {
            state.group_keys().into_iter().filter_map(|key| Some(state.group(key).ok()?.name.clone())).collect()
        })
    }

    /// Where dead letters of other queues' groups can go: here. `share` makes another handle to a payload, `measure` tells
    /// its size (None: not now).
    pub fn dead_letter(
        &self,
        share: fn(&T) -> T,
        measure: impl Fn(&T) -> Option<u64> + Send + Sync + 'static,
    ) -> DeadLetter<T, H> {
        DeadLetter { queue: self.downgrade(), share, measure: Arc::new(measure) }
    }

    /// Says what has become of a delivery. Of one that has been settled, or has expired, nothing comes.
    pub fn settle(&self, receipt: &Receipt, how: Settle) {
        self.core.with(|state, _, fx| state.settle(receipt, how, fx));
    }

    /// Handles of all consumers, in the order they were added.
    pub fn consumers(&self) -> Vec<Consumer<T, H>> {
        self.core.with(|state, _, _| {
            let keys = state.consumer_keys();
            keys.into_iter()
                .filter_map(|key| Some(Consumer { queue: self.clone(), key, id: state.consumer(key).ok()?.id }))
                .collect()
        })
    }

    /// Who read a message that is held, and when (wall clock, microseconds), in time order.
    pub fn readings(&self, seq: u64) -> Vec<(Uuid, u64)> {
        self.core.with(|state, _, _| state.readings(seq))
    }

    // --- time and limits ----------------------------------------------------------------------------------------------

    /// Nanoseconds that a message lives; None: for ever.
    pub fn ttl(&self) -> Option<u64> {
        self.core.with(|state, _, _| state.ttl())
    }

    /// Changes it, at once for what is held, too.
    pub fn set_ttl(&self, ttl: Option<u64>) {
        self.core.with(|state, _, _| state.set_ttl(ttl));
        self.touch();
    }

    /// Whether messages expire.
    pub fn expires(&self) -> bool {
        self.core.with(|state, _, _| state.expires())
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
        let mut state = lock::<H, _>(&self.core.state);
        state.advance(self.core.clock.now());
        let mut count = 0;
        if state.is_due() {
            (state, count) = self.core.expire(state, &mut fx);
        }
        drop(state);
        let mut removed = std::mem::replace(&mut fx.removed, Removed::new());
        H::dispose(&mut || removed.drop_some());
        self.core.apply(fx);
        count
    }

    /// The limit on bytes.
    pub fn max_bytes(&self) -> u64 {
        self.core.with(|state, _, _| state.budget.max_bytes)
    }

    /// Changes it, also below what is held.
    pub fn set_max_bytes(&self, max: u64) {
        self.core.with(|state, _, fx| state.set_max_bytes(max, fx));
    }

    /// The limit on messages.
    pub fn max_items(&self) -> Option<u64> {
        self.core.with(|state, _, _| state.budget.max_items)
    }

    /// Changes it, also below what is held.
    pub fn set_max_items(&self, max: Option<u64>) {
        self.core.with(|state, _, fx| state.set_max_items(max, fx));
    }

    // --- looking ------------------------------------------------------------------------------------------------------

    /// Messages held.
    pub fn len(&self) -> u64 {
        self.core.with(|state, _, _| state.log.len())
    }

    /// Whether no message is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held: payloads and overhead.
    pub fn memory_usage(&self) -> u64 {
        self.core.with(|state, _, _| state.budget.bytes())
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.core.with(|state, _, _| state.closed)
    }

    /// The figures, all of one moment.
    pub fn stats(&self) -> QueueStats {
        self.core.with(|state, _, _| QueueStats {
            total_items: state.log.len(),
            memory_usage: state.budget.bytes(),
            max_bytes: state.budget.max_bytes,
            max_items: state.budget.max_items,
            audit_bytes: state.audit_bytes() as u64,
            consumers: state.consumers.len() as u64,
            ttl: state.ttl(),
            expired: state.expired,
            dropped: state.dropped,
            rejected: state.rejected,
            first_seq: state.log.head(),
            next_seq: state.log.next(),
        })
    }

    /// The figures of every consumer, all of one moment.
    pub fn consumer_stats(&self) -> Vec<ConsumerStats> {
        self.core.with(|state, now, _| {
            let keys = state.consumer_keys();
            keys.into_iter().filter_map(|key| state.consumer_stats(key, now).ok()).collect()
        })
    }

    // --- ending -------------------------------------------------------------------------------------------------------

    /// Ends it for producers, and for consumers once they have read what is left (at once, if `immediate`).
    pub fn close(&self, immediate: bool) {
        let mut fx = Effects::new();
        lock::<H, _>(&self.core.state).close(immediate, &mut fx);
        let mut removed = std::mem::replace(&mut fx.removed, Removed::new());
        self.core.apply(fx);
        H::dispose(&mut || removed.drop_some());
    }

    /// Takes every payload out, for a queue that nobody can reach any more.
    pub(crate) fn clear(&self) {
        let mut fx = Effects::new();
        lock::<H, _>(&self.core.state).clear(&mut fx);
        let mut removed = std::mem::replace(&mut fx.removed, Removed::new());
        self.core.apply(fx);
        H::dispose(&mut || removed.drop_some());
    }

    /// Waits until every consumer has read all that is held; false: not within `limit`.
    pub fn join(&self, limit: Option<Duration>) -> bool {
        let attempt = |_: Option<&Ticket>| Ok::<_, Infallible>(self.is_joined().then_some(()));
        matches!(self.block(What::Joined, deadline(limit), attempt, park), Ok(Some(())))
    }

    /// Whether every consumer has read all that is held.
    pub(crate) fn is_joined(&self) -> bool {
        self.core.with(|state, _, _| state.is_all_read())
    }

    // --- waiting ------------------------------------------------------------------------------------------------------

    /// Enters a waiter; None: what it waits for may be there, try again.
    pub(crate) fn wait(&self, what: What, waker: &Waker) -> Option<Ticket> {
        self.core.with(|state, _, _| state.wait(what, waker))
    }

    /// Changes the waker of a producer that keeps its place. False: try again.
    pub(crate) fn wait_on(&self, ticket: &Ticket, waker: &Waker) -> bool {
        self.core.with(|state, _, fx| state.wait_on(ticket, waker, fx))
    }

    /// Takes a waiter out that got what it waited for.
    pub(crate) fn satisfied(&self, ticket: &Ticket) {
        self.core.with(|state, _, fx| state.satisfied(ticket, fx));
    }

    /// Takes a waiter out that goes without.
    pub(crate) fn leave(&self, ticket: &Ticket) {
        self.core.with(|state, _, fx| state.leave(ticket, fx));
    }

    /// Tries, and waits, and tries again, until `attempt` has a result (then it is returned), one of the two fails (then
    /// the failure is), or the deadline has passed (then None). `sleep` parks the thread, at most so long, and says
    /// whether it was woken.
    pub(crate) fn block<R, E>(
        &self,
        what: What,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Option<&Ticket>) -> Result<Option<R>, E>,
        mut sleep: impl FnMut(&Parker, Option<Duration>) -> Result<bool, E>,
    ) -> Result<Option<R>, E> {
        if let Some(result) = attempt(None)? {
            return Ok(Some(result));
        }
        let parker = Parker::new();
        let waker = Waker::from(parker.clone());
        // A producer keeps its place until it has got in; the others come back at the end of their line.
        let keeps_place = matches!(what, What::Space(_));
        loop {
            let Some(ticket) = self.wait(what, &waker) else {
                match attempt(None)? {
                    Some(result) => return Ok(Some(result)),
                    None => continue,
                }
            };
            let place = Place { queue: self, ticket };
            loop {
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let is_late = left.is_some_and(|left| left.is_zero());
                let woken = !is_late && sleep(&parker, left)?;
                if let Some(result) = attempt(Some(&place.ticket))? {
                    place.satisfied();
                    return Ok(Some(result));
                }
                if is_late {
                    return Ok(None);
                }
                if woken && !keeps_place {
                    break;
                }
            }
        }
    }

    // --- the process --------------------------------------------------------------------------------------------------

    /// Keeps the queue still over a fork.
    pub(crate) fn before_fork(&self) {
        hold::<H, _>(&self.core.state);
    }

    /// Lets go of it again. In the child nobody waits any more; the wakers are not to be called, nor dropped.
    pub(crate) fn after_fork(&self, in_child: bool) {
        release(&self.core.state);
        if !in_child {
            return;
        }
        let mut state = lock::<H, _>(&self.core.state);
        std::mem::forget(state.forget_waiters());
        let due = if self.core.clock.runs() { state.due() } else { NEVER };
        state.armed = due;
        drop(state);
        if due != NEVER {
            self.core.arm(due);
        }
    }

    /// Every payload, for a garbage collector. `held`: this process's only running thread holds the lock, for a fork.
    pub(crate) fn each_payload(&self, is_held: bool, mut visit: impl FnMut(&T)) {
        if is_held {
            held(&self.core.state, |state| state.log.payloads().for_each(&mut visit));
        } else {
            lock::<H, _>(&self.core.state).log.payloads().for_each(&mut visit);
        }
    }

    /// Checks every invariant.
    #[doc(hidden)]
    pub fn check(&self) {
        lock::<H, _>(&self.core.state).check();
    }
}

impl<T: Send + 'static, H: Host> Clone for Consumer<T, H> {
    fn clone(&self) -> Self {
        Consumer { queue: self.queue.clone(), key: self.key, id: self.id }
    }
}

impl<T: Send + 'static, H: Host> fmt::Debug for Consumer<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T: Send + 'static, H: Host> Consumer<T, H> {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its queue.
    pub fn queue(&self) -> &Queue<T, H> {
        &self.queue
    }

    pub(crate) fn key(&self) -> ConsumerKey {
        self.key
    }

    /// Hands up to `limit` messages to `visit`, under the lock, and returns how many; 0: nothing is there yet.
    ///
    /// # Errors
    /// [`Error::Closed`] when nothing can come any more, [`Error::ConsumerClosed`], [`Error::Missed`].
    #[inline]
    pub fn read_with(&self, limit: usize, visit: impl FnMut(Delivery<'_, T>)) -> Result<usize, Error> {
        self.queue.core.with(|state, _, fx| state.read(self.key, limit, fx, visit))
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
        let mut read = None;
        self.read_with(1, |delivery| read = Some(delivery.payload.clone()))?;
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
        self.queue.block(What::Message(self.key), deadline(limit), |_| self.read(), park)
    }

    /// Takes back that `count` missed messages were told of by a delivery that nobody got to see.
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

    /// Messages to read.
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

    /// Those since it was last asked for; None: none, and there may be some yet.
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
        self.queue.core.with(|state, _, _| Ok(state.consumer(self.key)?.reads.last(state.log.head(), limit)))
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

impl<T: Send + 'static, H: Host> Clone for Group<T, H> {
    fn clone(&self) -> Self {
        Group { queue: self.queue.clone(), key: self.key }
    }
}

impl<T: Send + 'static, H: Host> fmt::Debug for Group<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static, H: Host> Group<T, H> {
    /// A number that no other group or consumer of the queue has.
    pub(crate) fn serial(&self) -> u64 {
        self.key.serial
    }

    /// Its queue.
    pub fn queue(&self) -> &Queue<T, H> {
        &self.queue
    }

    /// Adds a member.
    ///
    /// # Errors
    /// [`Error::GroupClosed`].
    pub fn add_consumer(&self, name: Option<String>) -> Result<Consumer<T, H>, Error> {
        let id = Uuid::new_v4();
        let key = self.queue.core.with(|state, _, _| state.add_member(self.key, id, name))?;
        Ok(Consumer { queue: self.queue.clone(), key, id })
    }

    /// Its members, in the order they were added.
    pub fn members(&self) -> Vec<Consumer<T, H>> {
        self.queue.core.with(|state, _, _| {
            if state.group(self.key).is_err() {
                return Vec::new();
            }
            let keys = state.members(self.key);
            keys.into_iter()
                .filter_map(|key| Some(Consumer { queue: self.queue.clone(), key, id: state.consumer(key).ok()?.id }))
                .collect()
        })
    }

    /// The figures.
    ///
    /// # Errors
    /// [`Error::GroupClosed`].
    pub fn stats(&self) -> Result<GroupStats, Error> {
        self.queue.core.with(|state, _, _| state.group_stats(self.key))
    }

    /// Ends it, with all its members. False if it was ended already.
    pub fn close(&self) -> bool {
        let closed = self.queue.core.with(|state, _, fx| state.remove_group(self.key, fx));
        let letters = lock::<H, _>(&self.queue.core.dead_letters).remove(&self.key.serial);
        drop(letters);
        closed
    }
}
