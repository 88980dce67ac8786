//! What all handles of a queue share: its state behind the lock, and what is done once the lock is free.

mod burying;
pub(crate) mod dead_letters;
pub(crate) mod expiry;
mod inbox;
mod rescuing;

use std::collections::HashMap;
use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use crate::log::Removed;
use crate::options::Options;
use crate::state::{Effects, State};
use crate::sync::holds::label;
use crate::sync::{Host, Mutex, MutexGuard, held, hold, lock, release, try_again};
use crate::time::NEVER;
use crate::time::clock::{Clock, Now};
use dead_letters::DeadLetter;
use expiry::Serviced;
use inbox::Inbox;

/// When more chunks than this were removed, the expiration thread drops them instead of the caller.
const DROP_INLINE: usize = 4;

/// The state that handles share. Aligned to cache lines, so that a call always touches the same number of them.
#[repr(align(64))]
pub(crate) struct Core<T: Send + 'static, H: Host> {
    /// Unique in the process.
    pub(crate) number: u64,
    pub(crate) clock: Clock,
    /// Whether a read needs the time even where nothing expires.
    is_read_timed: bool,
    state: Mutex<State<T>>,
    /// Whether a thread that forks holds the lock at this moment.
    #[allow(dead_code, reason = "for the binding")]
    is_held_for_fork: AtomicBool,
    /// Where producers leave messages while others are at the log.
    pub(crate) inbox: Inbox<T>,
    /// Where dead letters of the groups go, by serial number.
    pub(crate) dead_letters: Mutex<HashMap<u64, DeadLetter<T>>>,
    host: std::marker::PhantomData<fn() -> H>,
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

impl<T: Send + 'static, H: Host> Core<T, H> {
    pub(crate) fn new(options: &Options) -> Self {
        Core {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            clock: options.clock.clone(),
            is_read_timed: options.audit || options.read_times,
            state: Mutex::new(State::new(options, options.clock.now())),
            is_held_for_fork: AtomicBool::new(false),
            inbox: Inbox::new(),
            dead_letters: Mutex::new(HashMap::new()),
            host: std::marker::PhantomData,
        }
    }

    /// Takes the lock if it is free, at once or after a few tries, and nothing is due.
    #[inline(always)]
    fn enter(&self, is_timed: bool) -> Option<MutexGuard<'_, State<T>>> {
        let mut state = self.state.try_lock();
        if H::TRIES > 0 && state.is_none() {
            cold_path();
            state = try_again::<H, _>(&self.state);
            if let Some(state) = &mut state {
                state.is_contended = true;
            }
        }
        let Some(mut state) = state else {
            cold_path();
            return None;
        };
        // If nothing ever expires, a read may not need the time.
        if is_timed || state.due() != NEVER {
            // The clock is read with the lock taken: the processor continues with the following instructions while it
            // reads its counter, but would not begin to take a lock before that is done.
            state.advance(self.clock.now());
        }
        if state.is_due() {
            cold_path();
            return None;
        }
        Some(state)
    }

    /// Takes the lock for a read in the usual case: it is free and nothing is due. There may be messages in the inbox.
    /// The caller must leave no effects to apply. In any other case nothing is done, and the caller continues with
    /// [`with_to_read`](Self::with_to_read). It never waits, so the interpreter stays attached.
    #[inline(always)]
    pub(crate) fn enter_to_read(&self) -> Option<MutexGuard<'_, State<T>>> {
        self.enter(self.is_read_timed)
    }

    /// The same for producers, with the inbox closed. If something becomes due before the expiration thread comes,
    /// [`unlock`](Self::unlock) has to follow.
    #[inline(always)]
    pub(crate) fn enter_to_add(&self) -> Option<MutexGuard<'_, State<T>>> {
        let mut state = self.enter(true)?;
        self.close_inbox(&mut state);
        Some(state)
    }

    /// Takes the lock. The inbox is closed.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock_at_log();
        self.close_inbox(&mut state);
        state
    }

    /// Takes the lock. The inbox is empty, and may be open.
    #[inline]
    fn lock_to_read(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock_at_log();
        if H::HAS_INBOX && state.has_inbox {
            self.collect(&mut state);
        }
        state
    }

    /// Takes the lock. There may be messages in the inbox.
    #[inline]
    fn lock_at_log(&self) -> MutexGuard<'_, State<T>> {
        self.state.try_lock().unwrap_or_else(|| {
            let mut state = lock::<H, _>(&self.state);
            state.is_contended = true;
            state
        })
    }

    /// Opens the inbox, if it may be.
    #[cold]
    pub(crate) fn open_inbox(&self, state: &mut State<T>) {
        state.is_contended = false;
        if let Some(terms) = state.terms() {
            state.has_inbox = true;
            self.inbox.open(state.log.take_spare(), terms);
        }
    }

    /// Moves what is in the inbox, which is open and stays so, to the log.
    #[cold]
    pub(crate) fn collect(&self, state: &mut State<T>) {
        let (posted, latest) = self.inbox.collect(state.log.take_spare());
        state.take_in(posted, latest);
    }

    /// Closes the inbox, if it is open, and moves what is in it to the log.
    #[inline]
    fn close_inbox(&self, state: &mut State<T>) {
        if H::HAS_INBOX && state.has_inbox {
            cold_path();
            state.has_inbox = false;
            let (posted, latest) = self.inbox.close();
            state.take_in(posted, latest);
        }
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

    /// Runs `f` under the lock, after removing what is due, and then applies the effects.
    #[inline]
    pub(crate) fn with<R>(self: &Arc<Self>, f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R) -> R {
        let now = self.clock.now();
        self.run(self.lock(), now, f)
    }

    /// The same for a read, which leaves the inbox open.
    #[inline]
    pub(crate) fn with_to_read<R>(self: &Arc<Self>, f: impl FnOnce(&mut State<T>, Now, &mut Effects<T>) -> R) -> R {
        let now = self.clock.now();
        self.run(self.lock_to_read(), now, f)
    }

    /// Takes the lock after doing what is due. Also returns how many messages have expired.
    pub(crate) fn lock_up_to_date(&self, fx: &mut Effects<T>) -> (MutexGuard<'_, State<T>>, u64) {
        let now = self.clock.now();
        label(&|| ());
        let (state, _, expired) = self.catch_up(self.lock(), now, fx);
        (state, expired)
    }

    /// Takes a clock reading into the state, and does what is due by it. Returns the state, the time, and how many
    /// messages expired.
    #[inline]
    fn catch_up<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        now: Now,
        fx: &mut Effects<T>,
    ) -> (MutexGuard<'a, State<T>>, Now, u64) {
        let now = state.advance(now);
        let mut expired = 0;
        if state.is_due() {
            (state, expired) = self.expire(state, fx);
        }
        (state, now, expired)
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
        let (mut state, now, _) = self.catch_up(state, now, &mut left.fx);
        let result = f(&mut state, now, &mut left.fx);
        while state.has_to_collect {
            cold_path();
            drop(state);
            state = self.lock();
            state.collect(&mut left.fx);
        }
        self.unlock(state);
        if !left.fx.is_empty() {
            self.apply(std::mem::replace(&mut left.fx, Effects::new()));
        }
        std::mem::forget(left); // what is in it has allocated nothing
        result
    }

    /// Takes every lock of the queue before a fork.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn before_fork(&self) {
        hold(self.lock());
        self.is_held_for_fork.store(true, Ordering::SeqCst);
        self.inbox.before_fork();
    }

    /// Releases those locks after the fork.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn after_fork(&self) {
        self.inbox.after_fork();
        self.is_held_for_fork.store(false, Ordering::SeqCst);
        release(&self.state);
    }

    /// Looks at the state for a garbage collector: no other thread runs Python code meanwhile.
    ///
    /// A thread that forks takes the locks of all queues one by one. While it waits for one of them it is detached from
    /// the interpreter, and a collection may begin. The collection must not wait for a lock that the forking thread
    /// already holds, since that is released only after the fork. The state behind such a lock does not change
    /// meanwhile.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn look_while_collecting<R>(&self, look: impl FnOnce(&State<T>) -> R) -> R {
        match self.is_held_for_fork.load(Ordering::SeqCst) {
            true => held(&self.state, look),
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
        self.close_inbox(&mut state);
        let mut count = state.expire(fx);
        while state.is_due() {
            drop(state);
            state = self.lock();
            count += state.expire(fx);
        }
        (state, count)
    }

    /// Applies the effects, and drops all removed payloads in this thread: for calls that promise it.
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

/// What a call leaves to do once the lock is free. It is also done if foreign code in the call (the `clone` of a
/// payload) panics, since others wait for it.
struct LeftToDo<'a, T: Send + 'static, H: Host> {
    core: &'a Arc<Core<T, H>>,
    fx: Effects<T>,
}

impl<T: Send + 'static, H: Host> Drop for LeftToDo<'_, T, H> {
    #[cold]
    fn drop(&mut self) {
        let fx = std::mem::replace(&mut self.fx, Effects::new());
        // A second panic while the first unwinds would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.core.unlock(self.core.lock_at_log());
            self.core.apply(fx);
        }));
    }
}

impl<T: Send + 'static, H: Host> Serviced for Core<T, H> {
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

impl<T: Send + 'static, H: Host> Drop for Core<T, H> {
    fn drop(&mut self) {
        if self.state.get_mut().armed != NEVER && self.clock.runs() {
            expiry::forget(self.number);
        }
    }
}
