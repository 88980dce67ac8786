//! The atomics and threads of loom, as far as the engine uses them, with the faces of the standard library's.

/// Atomics whose every access is a moment at which loom may let another thread go on.
pub(crate) mod atomic {
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex, OnceLock};

    use loom::sync::atomic as of_loom;
    pub(crate) use loom::sync::atomic::{Ordering, fence};
    use loom::thread::{self, Thread};

    /// A value of loom's, which belongs to one run of a model and can't be made in a constant, as locks are. So it is
    /// made when it is first used, which has to come before all other uses; [`Default`] makes it at once. (Making it is no
    /// moment of its own, and what guards it here is never contended: loom's threads take turns.)
    #[derive(Debug)]
    struct Late<V, A> {
        initial: V,
        made: OnceLock<Arc<A>>,
    }

    impl<V: Copy, A: From<V>> Late<V, A> {
        const fn new(initial: V) -> Self {
            Late { initial, made: OnceLock::new() }
        }

        fn made(&self) -> &Arc<A> {
            self.made.get_or_init(|| Arc::new(A::from(self.initial)))
        }
    }

    /// A bit, and who waits for it to change.
    #[derive(Debug)]
    struct Bit {
        value: of_loom::AtomicBool,
        waiting: Mutex<Vec<Thread>>,
    }

    impl From<bool> for Bit {
        fn from(initial: bool) -> Self {
            Bit { value: of_loom::AtomicBool::new(initial), waiting: Mutex::default() }
        }
    }

    impl Bit {
        /// Sleeps until it changes, perhaps less. Nothing may come between this and the look that found it unchanged.
        fn sleep(&self) {
            self.waiting.lock().unwrap().push(thread::current());
            thread::park();
        }

        fn changed(&self) {
            self.waiting.lock().unwrap().drain(..).for_each(|thread| thread.unpark());
        }
    }

    #[derive(Debug)]
    pub(crate) struct AtomicBool(Late<bool, Bit>);

    loom::thread_local! {
        /// The bit that the thread last failed to change, and what it was.
        static FAILED: RefCell<Option<(Arc<Bit>, bool)>> = RefCell::new(None);
    }

    impl AtomicBool {
        pub(crate) const fn new(initial: bool) -> Self {
            AtomicBool(Late::new(initial))
        }

        pub(crate) fn load(&self, ordering: Ordering) -> bool {
            self.0.made().value.load(ordering)
        }

        pub(crate) fn store(&self, value: bool, ordering: Ordering) {
            self.0.made().value.store(value, ordering);
            self.0.made().changed();
        }

        /// One that would change nothing stores nothing. loom does not see that what was stored meanwhile comes after such
        /// a swap, for the swap has read what was there before: it would have an unlock undone by whoever tried the lock.
        pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
            let bit = self.0.made();
            match bit.value.compare_exchange(!value, value, ordering, ordering) {
                Ok(before) => {
                    bit.changed();
                    before
                }
                Err(before) => {
                    FAILED.with(|failed| *failed.borrow_mut() = Some((bit.clone(), before)));
                    before
                }
            }
        }

        /// Changes it from true to false, waiting until it can.
        pub(super) fn take(&self) {
            while !self.swap(false, Ordering::Acquire) {
                self.0.made().sleep();
            }
        }
    }

    impl Default for AtomicBool {
        fn default() -> Self {
            let new = AtomicBool::new(false);
            new.0.made();
            new
        }
    }

    /// Sleeps until the bit that the thread last failed to change is another. Threads that spin and yield would let each
    /// other go on for ever, and loom would try that; so they wait for what they spin for.
    pub(super) fn wait_to_try_again() {
        match FAILED.with(|failed| failed.borrow().clone()) {
            Some((bit, before)) => {
                // A load may have been of an older value: this looks at the latest.
                if bit.value.compare_exchange(!before, !before, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                    bit.sleep();
                }
            }
            None => thread::yield_now(),
        }
    }

    #[derive(Debug)]
    pub(crate) struct AtomicU64(Late<u64, of_loom::AtomicU64>);

    impl AtomicU64 {
        pub(crate) const fn new(initial: u64) -> Self {
            AtomicU64(Late::new(initial))
        }

        pub(crate) fn load(&self, ordering: Ordering) -> u64 {
            self.0.made().load(ordering)
        }

        pub(crate) fn store(&self, value: u64, ordering: Ordering) {
            self.0.made().store(value, ordering);
        }

        pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
            self.0.made().fetch_add(value, ordering)
        }
    }

    impl Default for AtomicU64 {
        fn default() -> Self {
            let new = AtomicU64::new(0);
            new.0.made();
            new
        }
    }
}

/// Threads that loom schedules.
pub(crate) mod thread {
    use std::sync::Arc;
    use std::time::Duration;

    use super::atomic::{self, AtomicBool, Ordering};

    /// A thread that can be unparked: its token. loom's own makes no moment between what comes before `park` and the
    /// parking, so that a token which is needed there would never be.
    #[derive(Clone, Debug)]
    pub(crate) struct Thread {
        token: Arc<AtomicBool>,
    }

    loom::thread_local! {
        static CURRENT: Thread = Thread { token: Arc::default() };
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn yield_now() {
        atomic::wait_to_try_again();
    }

    pub(crate) fn park() {
        current().token.take();
    }

    /// No model waits for a time that passes by itself: with one it has no end.
    pub(crate) fn park_timeout(_: Duration) {
        unreachable!("a model waits for ever, or not at all");
    }

    impl Thread {
        pub(crate) fn unpark(&self) {
            self.token.store(true, Ordering::Release);
        }
    }
}
