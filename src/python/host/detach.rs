//! Leaving and re-entering the interpreter. Every call that releases the interpreter, and every call that runs Python
//! code of others, goes through here.
//!
//! During the shutdown of the interpreter, a thread that returns to it is killed at once, in the middle of its work. So
//! after our exit hook has started (`lifecycle.rs`) no thread of ours returns. Threads that wait stay outside for good.
//! The hook waits for a limited time for threads that are about to return, or that run Python code that we have called.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use crate::core::expiry;

/// Whether Python threads run in parallel. The header of an object is larger in that case.
pub(in crate::python) const FREE_THREADED: bool = size_of::<PyObject>() > 2 * size_of::<*mut PyObject>();

/// The interpreter's main thread, the only one that handles signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Whether the exit hook has run, and in which thread.
static EXITING: AtomicBool = AtomicBool::new(false);
static EXIT_THREAD: AtomicU64 = AtomicU64::new(0);
/// How long the exit hook waits for others, and whether the expiration thread took longer than that.
const PATIENCE: Duration = Duration::from_secs(2);
static IS_OVERDUE: AtomicBool = AtomicBool::new(false);
/// Number of threads that would be killed in the middle of our code: those between their last check of `EXITING` and
/// their return to the interpreter, and those in which we run code that is not ours.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

pub(super) fn this_thread() -> u64 {
    // SAFETY: the function takes no arguments, and may be called from any thread at any time.
    unsafe { pyo3::ffi::PyThread_get_thread_ident() as u64 }
}

/// Whether this is the thread that handles signals.
pub(in crate::python) fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == this_thread()
}

thread_local! {
    /// How many times this thread is counted in `INSIDE`.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread must not return to the interpreter any more.
fn is_barred() -> bool {
    // The exit hook waits for a limited time for the expiration thread to end.
    let is_awaited = expiry::is_here() && !IS_OVERDUE.load(Ordering::SeqCst);
    EXITING.load(Ordering::SeqCst) && EXIT_THREAD.load(Ordering::SeqCst) != this_thread() && !is_awaited
}

fn count(inside: bool) {
    if inside {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() + 1);
    } else {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Never returns to the interpreter.
fn stay_out() -> ! {
    INSIDE.fetch_sub(DEPTH.replace(0), Ordering::SeqCst);
    loop {
        std::thread::park();
    }
}

/// Runs `f` without the interpreter. Every release of the interpreter goes through here.
pub(in crate::python) fn detach<R: Send>(py: Python<'_>, f: impl FnOnce() -> R + Send) -> R {
    let result = py.detach(|| {
        let result = f();
        count(true);
        if is_barred() {
            stay_out();
        }
        result
    });
    count(false);
    result
}

/// Runs Python code that is not ours. That code may release the interpreter, so the thread may be killed there.
pub(in crate::python) fn call_out<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    count(true);
    if is_barred() {
        py.detach(|| stay_out());
    }
    let result = f();
    count(false);
    result
}

/// Gives other threads the interpreter for a moment.
pub(in crate::python) fn breathe(py: Python<'_>) {
    detach(py, std::thread::yield_now);
}

/// Sets the thread that handles signals. Called at the first import, and in the child of a fork.
pub(super) fn set_main_thread(ident: u64) {
    MAIN_THREAD.store(ident, Ordering::Relaxed);
}

/// Called in the child of a fork, where there are no other threads.
pub(super) fn forget_other_threads() {
    set_main_thread(this_thread());
    INSIDE.store(DEPTH.get(), Ordering::SeqCst);
}

/// From here on no other thread returns to the interpreter.
pub(super) fn bar_others() {
    EXIT_THREAD.store(this_thread(), Ordering::SeqCst);
    EXITING.store(true, Ordering::SeqCst);
}

/// Waits for a limited time for the expiration thread to end, and for other threads to leave code that is not ours.
/// Called without the interpreter.
pub(super) fn await_others() {
    expiry::stop(PATIENCE);
    IS_OVERDUE.store(true, Ordering::SeqCst);
    // The count does not include the return of this thread yet, but it includes the calls that this thread is in.
    let began = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > DEPTH.get() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
    }
}
