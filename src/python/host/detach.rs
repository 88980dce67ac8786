//! In and out of the interpreter: every call that lets go of it, and every one that runs Python code of others, goes
//! through here.
//!
//! While the interpreter is torn down, a thread that comes back to it is killed on the spot, in the middle of whatever it
//! does. So from our exit hook on (`lifecycle.rs`) no thread of ours comes back: those that wait stay outside for good, and
//! the hook waits a while for those that are on their way in, or in Python code that we have called.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use crate::core::expiry;

/// Whether threads of Python run at the same time. An object has more to its header then.
pub(in crate::python) const FREE_THREADED: bool = size_of::<PyObject>() > 2 * size_of::<*mut PyObject>();

/// The interpreter's main thread, the only one that handles signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Whether the exit hook has run, and in which thread.
static EXITING: AtomicBool = AtomicBool::new(false);
static EXIT_THREAD: AtomicU64 = AtomicU64::new(0);
/// How long the exit hook waits for others, and whether the expiration thread took longer.
const PATIENCE: Duration = Duration::from_secs(2);
static IS_OVERDUE: AtomicBool = AtomicBool::new(false);
/// Threads that would be killed in the middle of our code: those between their last look at `EXITING` and their return
/// to the interpreter, and those that we let run code that is not ours.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

pub(super) fn this_thread() -> u64 {
    // SAFETY: it takes nothing, and may be called from any thread at any time.
    unsafe { pyo3::ffi::PyThread_get_thread_ident() as u64 }
}

/// Whether this is the thread that handles signals.
pub(in crate::python) fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == this_thread()
}

thread_local! {
    /// How many times over this thread is counted in `INSIDE`.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread must not come back to the interpreter any more.
fn is_barred() -> bool {
    // The exit hook waits for the expiration thread, for a while, to come to its end.
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

/// Runs `f` without the interpreter. Every such stay outside goes through here.
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

/// Runs Python code that is not ours. It may let go of the interpreter, and so may be where a thread is killed.
pub(in crate::python) fn call_out<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    count(true);
    if is_barred() {
        py.detach(|| stay_out());
    }
    let result = f();
    count(false);
    result
}

/// Lets other threads have the interpreter for a moment.
pub(in crate::python) fn breathe(py: Python<'_>) {
    detach(py, std::thread::yield_now);
}

/// This thread is the one that handles signals: called at the first import, and in the child of a fork.
pub(super) fn set_main_thread(ident: u64) {
    MAIN_THREAD.store(ident, Ordering::Relaxed);
}

/// In the child of a fork there are no other threads.
pub(super) fn forget_other_threads() {
    set_main_thread(this_thread());
    INSIDE.store(DEPTH.get(), Ordering::SeqCst);
}

/// From here on no other thread comes back to the interpreter.
pub(super) fn bar_others() {
    EXIT_THREAD.store(this_thread(), Ordering::SeqCst);
    EXITING.store(true, Ordering::SeqCst);
}

/// Waits a while for the expiration thread to end, and for others to come out of code that is not ours. Called outside of
/// the interpreter.
pub(super) fn await_others() {
    expiry::stop(PATIENCE);
    IS_OVERDUE.store(true, Ordering::SeqCst);
    // Our own return is not among them yet; what this thread was in the middle of is.
    let began = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > DEPTH.get() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
    }
}
