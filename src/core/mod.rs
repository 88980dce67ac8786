//! What all handles of a queue share: its state behind the lock, and the work that is done after the lock is released.

mod burying;
pub(crate) mod dead_letters;
pub(crate) mod expiry;
mod rescuing;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::HashMap;
use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use crate::keys::ConsumerKey;
use crate::log::Removed;
use crate::options::Options;
use crate::state::{Effects, State};
use crate::sync::holds::label;
use crate::sync::{Host, Mutex, MutexGuard, held, hold, let_in, lock, release, try_again};
use crate::time::NEVER;
use crate::time::clock::{Clock, Now};
use dead_letters::DeadLetter;
use expiry::Serviced;

/// When more chunks than this were removed, the expiration thread drops them instead of the caller.
const DROP_INLINE: usize = 4;

/// A value with cache lines of its own. Threads that change it do not slow down threads that read the fields beside it.
#[repr(align(128))]
struct Apart<V>(V);

/// The state that all handles of a queue share.
pub(crate) struct Core<T: Send + Sync + 'static, H: Host> {
    /// Unique in the process.
    pub(crate) number: u64,
    pub(crate) clock: Clock,
    /// Whether a read needs the time even if nothing expires, and whether an enqueue does.
    is_read_timed: bool,
    is_created_timed: bool,
    state: Apart<Mutex<State<T>>>,
    /// Whether a thread that forks holds the lock at this moment.
    #[allow(dead_code, reason = "for the binding")]
    is_held_for_fork: AtomicBool,
    /// The dead letter queues of the groups, by the serial numbers of the groups.
    pub(crate) dead_letters: Mutex<HashMap<u64, DeadLetter<T>>>,
    host: std::marker::PhantomData<fn() -> H>,
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

impl<T: Send + Sync + 'static, H: Host> Core<T, H> {
    pub(crate) fn new(options: &Options) -> Self {
        Core {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            clock: options.clock.clone(),
            is_read_timed: options.audit || options.read_times,
            is_created_timed: options.created_times,
            state: Apart(Mutex::new(State::new(options, options.clock.now()))),
            is_held_for_fork: AtomicBool::new(false),
            dead_letters: Mutex::new(HashMap::new()),
            host: std::marker::PhantomData,
        }
    }

    /// Takes the lock if it is free, at once or after a few tries, and if nothing is due. `is_timed`: whether the call
    /// needs the time even if nothing ever expires.
    #[inline(always)]
    fn enter(&self, is_timed: impl FnOnce(&State<T>) -> bool) -> Option<MutexGuard<'_, State<T>>> {
        let mut state = self.state.0.try_lock();
        if H::TRIES > 0 && state.is_none() {
            cold_path();
            state = try_again::<H, _>(&self.state.0);
        }
        let Some(mut state) = state else {
            cold_path();
            return None;
        };
        if is_timed(&state) || state.due() != NEVER {
            // The clock is read while the lock is held. The processor executes the following instructions while it
            // reads its counter, but it would not begin to take a lock before that read is finished.
            state.advance(self.clock.now());
        }
        if state.is_due() {
            cold_path();
            return None;
        }
        Some(state)
    }

    /// Takes the lock for a read in the usual case: it is free and nothing is due. Leases stay open. The caller must
    /// leave no effects to apply. None: nothing was done, and the caller continues with
    /// [`with_leases`](Self::with_leases). This never waits, so the interpreter stays attached.
    #[inline(always)]
    pub(crate) fn enter_to_read(&self) -> Option<MutexGuard<'_, State<T>>> {
        self.enter(|_| self.is_read_timed)
    }

    /// Takes the lock for a producer in the usual case. If something becomes due before the expiration thread wakes,
    /// the caller has to call [`unlock`](Self::unlock).
    #[inline(always)]
    pub(crate) fn enter_to_add(&self) -> Option<MutexGuard<'_, State<T>>> {
        self.enter(|state| self.is_created_timed || state.ttl().is_some())
    }

    /// Takes the lock and takes back all leases.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock_beside_leases();
        state.recall_all();
        state
    }

    /// Takes the lock. Leases stay open. So the caller must take back the lease of a cursor before reading the cursor.
    #[inline]
    fn lock_beside_leases(&self) -> MutexGuard<'_, State<T>> {
        lock::<H, _>(&self.state.0)
    }

    /// The same for the next slice of a long work: who waits for the lock has it first.
    #[cold]
    fn lock_again(&self) -> MutexGuard<'_, State<T>> {
        self.let_others_in();
        self.lock_beside_leases()
    }

    /// Lets others have the lock, between two slices of a long work.
    pub(crate) fn let_others_in(&self) {
        let_in::<H, _>(&self.state.0);
    }

    /// Releases the lock, and wakes the expiration thread in time for what is due.
    #[inline]
    pub(crate) fn unlock(self: &Arc<Self>, mut state: MutexGuard<'_, State<T>>) {
        let due = state.due();
        let is_earlier = due < state.armed;
        if is_earlier {
            state.armed = due;
        }
        drop(state);
        if is_earlier {
            self.arm(due);
        }
    }

    /// Runs `f` under the lock, after removing what is due, with all leases taken back. Then applies the effects.
    #[inline]
    pub(crate) fn with<R>(self: &Arc<Self>, f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R) -> R {
        let now = self.clock.now();
        self.run(self.lock(), now, f)
    }

    /// As [`with`](Self::with), but leases stay open: for an `f` that uses no cursor, or takes back the lease of its
    /// cursor itself.
    #[inline]
    pub(crate) fn with_leases<R>(self: &Arc<Self>, f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R) -> R {
        let now = self.clock.now();
        self.run(self.lock_beside_leases(), now, f)
    }

    /// As [`with`](Self::with), but for an `f` that uses the cursor of one consumer: only the lease of that cursor is
    /// taken back.
    #[inline]
    pub(crate) fn with_own<R>(
        self: &Arc<Self>,
        key: ConsumerKey,
        f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R,
    ) -> R {
        self.with_leases(|state, now, fx| {
            state.recall_of(key);
            f(state, now, fx)
        })
    }

    /// Takes the lock after doing what is due. Leases stay open. Also returns how many messages have expired.
    pub(crate) fn lock_up_to_date(&self, fx: &mut Effects<T>) -> (MutexGuard<'_, State<T>>, u64) {
        let now = self.clock.now();
        label(&|| ());
        self.catch_up(self.lock_beside_leases(), now, fx)
    }

    /// Stores a clock reading in the state, and does what is due at that time. Returns the state and how many messages
    /// expired. The state has the latest time: another thread may have stored a later one between two slices of expiry.
    #[inline]
    fn catch_up<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        now: Now,
        fx: &mut Effects<T>,
    ) -> (MutexGuard<'a, State<T>>, u64) {
        state.advance(now);
        match state.is_due() {
            true => self.expire(state, fx),
            false => (state, 0),
        }
    }

    #[inline]
    fn run<'a, R>(
        self: &'a Arc<Self>,
        state: MutexGuard<'a, State<T>>,
        now: Now,
        f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R,
    ) -> R {
        label(&f);
        // Declared before the guard, so that unwinding releases the lock first.
        let mut left = LeftToDo { core: self, fx: Effects::new() };
        let (mut state, _) = self.catch_up(state, now, &mut left.fx);
        let now = state.latest();
        let result = f(&mut state, now, &mut left.fx);
        while state.has_to_collect {
            cold_path();
            drop(state);
            state = self.lock_again();
            state.collect(&mut left.fx);
        }
        self.unlock(state);
        if !left.fx.is_empty() {
            self.apply(std::mem::replace(&mut left.fx, Effects::new()));
        }
        std::mem::forget(left); // the effects in it have allocated nothing
        result
    }

    /// Takes every lock of the queue before a fork.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn before_fork(&self) {
        hold(self.lock());
        self.is_held_for_fork.store(true, Ordering::SeqCst);
    }

    /// Releases these locks after the fork.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn after_fork(&self) {
        self.is_held_for_fork.store(false, Ordering::SeqCst);
        release(&self.state.0);
    }

    /// Reads the state for a garbage collector. No other thread runs Python code in the meantime.
    ///
    /// A thread that forks takes the locks of all queues one by one. While it waits for one of them it is detached from
    /// the interpreter, and a collection may begin. The collection must not wait for a lock that the forking thread
    /// already holds, because that lock is released only after the fork. The state behind such a lock does not change
    /// in the meantime.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn look_while_collecting<R>(&self, look: impl FnOnce(&State<T>) -> R) -> R {
        match self.is_held_for_fork.load(Ordering::SeqCst) {
            true => held(&self.state.0, look),
            false => look(&self.lock()),
        }
    }

    #[cold]
    pub(crate) fn arm(self: &Arc<Self>, due: u64) {
        if !self.clock.runs() {
            return;
        }
        let this: Arc<dyn Serviced> = self.clone();
        expiry::arm(self.number, due, Arc::downgrade(&this));
    }

    /// Removes what is due, releasing the lock between slices.
    #[cold]
    fn expire<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        fx: &mut Effects<T>,
    ) -> (MutexGuard<'a, State<T>>, u64) {
        let mut count = state.expire(fx);
        while state.is_due() {
            // Two threads that take turns would move what groups would miss to their dead letter queues in another order.
            let in_order = state.has_rescuers();
            drop(state);
            fx.removed.reserve();
            state = if in_order { self.lock_beside_leases() } else { self.lock_again() };
            count += state.expire(fx);
        }
        (state, count)
    }

    /// Applies the effects, and drops all removed payloads in this thread. For calls that promise this.
    pub(crate) fn apply_here(self: &Arc<Self>, mut fx: Effects<T>) {
        self.rescue(&mut fx);
        let mut removed = std::mem::replace(&mut fx.removed, Removed::new());
        self.apply(fx);
        H::dispose(&mut || removed.drop_some());
    }

    /// Applies the effects.
    #[cold]
    pub(crate) fn apply(self: &Arc<Self>, mut fx: Effects<T>) {
        self.rescue(&mut fx);
        if !fx.wakers.is_empty() {
            fx.wakers.into_iter().for_each(Waker::wake);
        }
        for dying in fx.dying {
            self.move_dead_letter(dying);
        }
        if !fx.removed.is_empty() {
            let mut removed = fx.removed;
            if removed.chunks.len() <= DROP_INLINE {
                H::dispose(&mut || removed.drop_some());
            } else {
                expiry::run_there(Box::new(move || H::dispose(&mut || removed.drop_some())));
            }
        }
    }
}

/// What a call leaves to be done after the lock is released. It is also done if foreign code in the call (the `clone`
/// of a payload) panics, because other threads wait for it.
struct LeftToDo<'a, T: Send + Sync + 'static, H: Host> {
    core: &'a Arc<Core<T, H>>,
    fx: Effects<T>,
}

impl<T: Send + Sync + 'static, H: Host> Drop for LeftToDo<'_, T, H> {
    #[cold]
    fn drop(&mut self) {
        let fx = std::mem::replace(&mut self.fx, Effects::new());
        // A second panic during unwinding would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.core.unlock(self.core.lock_beside_leases());
            self.core.apply(fx);
        }));
    }
}

impl<T: Send + Sync + 'static, H: Host> Serviced for Core<T, H> {
    fn service(self: Arc<Self>) -> u64 {
        let mut fx = Effects::new();
        let (mut state, _) = self.lock_up_to_date(&mut fx);
        state.armed = state.due();
        let due = state.due();
        drop(state);
        self.rescue(&mut fx);
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

impl<T: Send + Sync + 'static, H: Host> Drop for Core<T, H> {
    fn drop(&mut self) {
        if self.state.0.get_mut().armed != NEVER && self.clock.runs() {
            expiry::forget(self.number);
        }
    }
}
