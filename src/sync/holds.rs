//! Records how long locks are held, and by which function. Compiled only with the feature `holds`, for benchmarks.

pub(super) use recorder::Stopwatch;
pub(crate) use recorder::label;
#[cfg(feature = "holds")]
pub use recorder::{Hold, take_holds};

#[cfg(not(feature = "holds"))]
mod recorder {
    /// Measures nothing.
    #[derive(Debug)]
    pub(crate) struct Stopwatch;

    impl Stopwatch {
        pub(crate) const NEW: Self = Stopwatch;

        #[inline(always)]
        pub(crate) fn start(&self) {}

        #[inline(always)]
        pub(crate) fn stop(&self) {}
    }

    #[inline(always)]
    pub(crate) fn label<F>(_what: &F) {}
}

#[cfg(feature = "holds")]
mod recorder {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// All holds of a lock for one purpose.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Hold {
        /// The function that took the lock.
        pub what: &'static str,
        /// How many holds there were.
        pub count: u64,
        /// The longest hold.
        pub longest: Duration,
    }

    static HOLDS: Mutex<BTreeMap<&'static str, (u64, Duration)>> = Mutex::new(BTreeMap::new());

    thread_local! {
        static WHAT: Cell<&'static str> = const { Cell::new("the usual case") };
    }

    /// Sets the label for the locks that this thread takes from now on: the function in which `what` was written.
    pub(crate) fn label<F>(_what: &F) {
        WHAT.set(std::any::type_name::<F>());
    }

    /// All holds since the last call, by the function that took the lock.
    pub fn take_holds() -> Vec<Hold> {
        let holds = std::mem::take(&mut *HOLDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        holds.into_iter().map(|(what, (count, longest))| Hold { what, count, longest }).collect()
    }

    /// The time that this thread has been running for. A hold does not become longer because another thread gets the
    /// processor in the middle of it: that says nothing about the engine, and much about what else the machine does.
    #[cfg(unix)]
    fn now() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it writes the time into a `timespec` of ours.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[cfg(not(unix))]
    fn now() -> Duration {
        static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }

    /// Measures the holds of one lock, one after another.
    #[derive(Debug)]
    pub(crate) struct Stopwatch(AtomicU64);

    impl Stopwatch {
        #[allow(clippy::declare_interior_mutable_const, reason = "each lock has its own")]
        pub(crate) const NEW: Self = Stopwatch(AtomicU64::new(0));

        pub(crate) fn start(&self) {
            self.0.store(now().as_nanos() as u64, Ordering::Relaxed);
        }

        pub(crate) fn stop(&self) {
            let took = (now().as_nanos() as u64).saturating_sub(self.0.load(Ordering::Relaxed));
            let mut holds = HOLDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let hold = holds.entry(WHAT.get()).or_default();
            *hold = (hold.0 + 1, hold.1.max(Duration::from_nanos(took)));
        }
    }
}
