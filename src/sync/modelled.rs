//! The part of loom's atomics and threads that the engine uses, with the interface of the standard library's.

/// Atomics. At every access loom may let another thread continue.
pub(crate) mod atomic {
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex, OnceLock};

    use loom::sync::atomic as of_loom;
    pub(crate) use loom::sync::atomic::{Ordering, fence};
    use loom::thread::{self, Thread};

    /// A loom value, created at its first use. Such a value belongs to one run of a model, so it cannot be created in a
    /// constant, as locks are. The first use must happen before all other uses; [`Default`] creates the value at once.
    /// (loom does not switch threads during the creation, and the lock around it is never contended: loom's threads
    /// take turns.)
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

    /// A bit, and the threads that wait for it to change.
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
        /// Sleeps until the bit changes, or less long. The caller must have found it unchanged, with no step in
        /// between.
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
        /// The bit that the thread last failed to change, and its value then.
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

        /// A swap that changes nothing stores nothing. Such a swap reads the older value, and loom does not see that a
        /// value stored in the meantime comes after it. If it stored, a thread that only tries the lock could undo an
        /// unlock.
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

        /// Changes the bit from true to false. Waits until it can.
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

    /// Sleeps until the bit that the thread last failed to change has changed. Threads that spin and yield could let
    /// each other never end, and loom would explore that. So each thread waits for the bit that it spins for.
    pub(super) fn wait_to_try_again() {
        match FAILED.with(|failed| failed.borrow().clone()) {
            Some((bit, before)) => {
                // A load may return an older value. This reads the latest.
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

    /// A thread that can be unparked, with its token. loom's own thread has no switch point between the code before
    /// `park` and the parking itself, so a case in which the token is needed there would never be explored.
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

    /// No model waits until a time: a model in which time passes by itself never ends.
    pub(crate) fn park_timeout(_: Duration) {
        unreachable!("a model waits without limit, or not at all");
    }

    impl Thread {
        pub(crate) fn unpark(&self) {
            self.token.store(true, Ordering::Release);
        }
    }
}
