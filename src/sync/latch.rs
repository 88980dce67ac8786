//! The lock: one bit. Threads only try it; no thread parks in it.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::lock_api::{self, GuardNoSend};

use super::holds::Stopwatch;
use super::host::{Host, back_off};
use super::primitives::atomic::{AtomicBool, Ordering};
use super::primitives::thread;

/// How many times a thread pauses that lets others have the lock.
const PATIENCE: u32 = if cfg!(loom) { 0 } else { 100 };

/// A value behind a [`Latch`].
pub(crate) type Mutex<T> = lock_api::Mutex<Latch, T>;
pub(crate) type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Latch, T>;

/// A lock of one bit. Threads only try it.
///
/// parking_lot's own lock has to look for parked threads when it is released. That takes another read-modify-write (10
/// ns of the 50 that a whole call may take). Here no thread parks.
#[derive(Debug)]
pub(crate) struct Latch {
    is_held: AtomicBool,
    /// Threads that wait for it, where the first tries were in vain. (loom's models do without.)
    waiting: AtomicU32,
    stopwatch: Stopwatch,
}

// SAFETY: `try_lock` succeeds only if it changes the bit from false to true, and only `unlock` changes the bit back. So
// between the two no other `try_lock` succeeds. Acquire and Release order what the holders do. Neither method unwinds.
unsafe impl lock_api::RawMutex for Latch {
    const INIT: Self = Latch { is_held: AtomicBool::new(false), waiting: AtomicU32::new(0), stopwatch: Stopwatch::NEW };

    type Guard = GuardNoSend;

    fn lock(&self) -> GuardNoSend {
        let mut tries = 0;
        loop {
            match self.try_lock() {
                Some(guard) => return guard,
                None => back_off(tries),
            }
            tries = tries.saturating_add(1);
        }
    }

    #[inline]
    fn try_lock(&self) -> Option<GuardNoSend> {
        (!self.is_held.swap(true, Ordering::Acquire)).then(|| {
            self.stopwatch.start();
            GuardNoSend::new()
        })
    }

    #[inline]
    unsafe fn unlock(&self, _guard: GuardNoSend) {
        self.stopwatch.stop();
        self.is_held.store(false, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }
}

/// Takes the lock, immediately if it is free.
#[inline]
pub(crate) fn lock<H: Host, T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Some(guard) => guard,
        None => lock_contended::<H, T>(mutex),
    }
}

#[cold]
fn lock_contended<H: Host, T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    if let Some(guard) = try_again::<H, T>(mutex) {
        return guard;
    }
    let waiting = waiting(mutex);
    waiting.fetch_add(1, Relaxed);
    let mut tries = 0;
    loop {
        H::pause(tries);
        if !mutex.is_locked()
            && let Some(guard) = mutex.try_lock()
        {
            waiting.fetch_sub(1, Relaxed);
            return guard;
        }
        tries = tries.saturating_add(1);
    }
}

/// How many threads wait for a lock.
fn waiting<T>(mutex: &Mutex<T>) -> &AtomicU32 {
    // SAFETY: nothing is unlocked by it.
    unsafe { &mutex.raw().waiting }
}

/// Lets a thread have the lock that waits for it: for whoever takes it again and again, for slices of one long work. Without this a
/// thread that sleeps between its tries would hardly ever find it free.
#[inline]
pub(crate) fn let_in<H: Host, T>(mutex: &Mutex<T>) {
    let count = waiting(mutex).load(Relaxed);
    for tries in 0..if count > 0 { PATIENCE } else { 0 } {
        H::pause(tries);
        if mutex.is_locked() || waiting(mutex).load(Relaxed) < count {
            return;
        }
    }
}

/// Tries to take a contended lock for a moment.
///
/// A thread that finds the lock taken yields instead of spinning. In the meantime the holder completes several calls
/// with its data in its own cache. Two threads that alternate at every call spend most of their time moving cache
/// lines, and took twice as long.
#[cold]
pub(crate) fn try_again<H: Host, T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..H::TRIES {
        thread::yield_now();
        // This check reads only, so it does not take the cache line from the holder.
        if !mutex.is_locked()
            && let Some(guard) = mutex.try_lock()
        {
            return Some(guard);
        }
    }
    None
}

/// Keeps a lock held beyond the end of a scope, across a fork. [`release`] releases it.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn hold<T>(guard: MutexGuard<'_, T>) {
    std::mem::forget(guard);
}

/// Releases a lock that this thread [`hold`]s.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn release<T>(mutex: &Mutex<T>) {
    assert!(mutex.is_locked(), "released without having been held");
    // SAFETY: the lock is held by a guard that `hold` forgot. The two are called in pairs, before and after a fork, by
    // the thread that forks (see `python/host/lifecycle.rs`). So no guard exists once the lock is free.
    unsafe { mutex.force_unlock(GuardNoSend::new()) };
}

/// Reads the value behind a lock that this thread [`hold`]s.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn held<T, R>(mutex: &Mutex<T>, look: impl FnOnce(&T) -> R) -> R {
    assert!(mutex.is_locked(), "looked at without having been held");
    // SAFETY: the lock is held by a guard that `hold` forgot, so nobody else has a reference to the guarded value.
    // Between `hold` and `release` this function, which shares the value, is the only access to it.
    look(unsafe { &*mutex.data_ptr() })
}
