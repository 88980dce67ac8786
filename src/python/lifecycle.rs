//! Fork and exit: what a process may do to us at any moment.
//!
//! **Exit.** While the interpreter is torn down, a thread that comes back to it is killed on the spot, in the middle of
//! whatever it does. So from our exit hook on no thread of ours comes back: those that wait stay outside for good, and the
//! hook waits a while for those that are on their way in, or in Python code that we have called. The expiration thread
//! ends.
//!
//! **Fork.** The thread that forks takes every lock of every queue first, so that none is in the middle of anything in
//! the child, and lets go of them afterwards on both sides. CPython makes a thread's state under a lock of its own, without
//! the GIL, and up to 3.11 a child that inherits that lock taken hangs before it runs a line. So the expiration thread has
//! its state made once, and not during a fork.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::waiting::Interpreter;
use crate::core::expiry;
use crate::core::expiry::Surroundings;
use crate::sync::{Host, Mutex, Threads, hold, lock, release};
use crate::time::clock;

/// A queue as the registry knows it.
pub(super) type Registered = crate::handles::WeakQueue<Py<PyAny>, Interpreter>;

/// Every queue of the process, by number.
static QUEUES: Mutex<BTreeMap<u64, Registered>> = Mutex::new(BTreeMap::new());
/// The queues held over a fork.
static HELD: Mutex<Vec<super::queue::Engine>> = Mutex::new(Vec::new());
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

/// Held while the expiration thread has its state made.
static ATTACHING: Mutex<()> = Mutex::new(());

/// What the expiration thread lives in: it is known to the interpreter, and outside of it.
fn surroundings(run: &mut (dyn FnMut() + Send)) {
    let attaching = lock::<Threads, _>(&ATTACHING);
    let attached = Python::try_attach(|py| {
        drop(attaching);
        detach(py, &mut *run);
    });
    if attached.is_none() {
        // The interpreter is going down; whoever waits for the thread's end is told by this.
        run();
    }
}

fn this_thread() -> u64 {
    // SAFETY: it takes nothing, and may be called from any thread at any time.
    unsafe { pyo3::ffi::PyThread_get_thread_ident() as u64 }
}

/// Whether this is the thread that handles signals.
pub(super) fn is_main_thread() -> bool {
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

/// Stays outside for good.
fn stay_out() -> ! {
    INSIDE.fetch_sub(DEPTH.replace(0), Ordering::SeqCst);
    loop {
        std::thread::park();
    }
}

/// Runs `f` without the interpreter. Every such stay outside goes through here.
pub(super) fn detach<R: Send>(py: Python<'_>, f: impl FnOnce() -> R + Send) -> R {
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
pub(super) fn call_out<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    count(true);
    if is_barred() {
        py.detach(|| stay_out());
    }
    let result = f();
    count(false);
    result
}

/// Lets other threads have the interpreter for a moment.
pub(super) fn breathe(py: Python<'_>) {
    detach(py, std::thread::yield_now);
}

pub(super) fn register(number: u64, queue: Registered) {
    lock::<Interpreter, _>(&QUEUES).insert(number, queue);
}

pub(super) fn unregister(number: u64) {
    drop(lock::<Interpreter, _>(&QUEUES).remove(&number));
}

#[pyfunction]
fn before_fork() {
    hold(lock::<Interpreter, _>(&QUEUES));
    // The registry is ours alone now; it is only read.
    let queues: Vec<_> = crate::sync::held(&QUEUES, |queues| queues.values().filter_map(Registered::upgrade).collect());
    for queue in &queues {
        queue.before_fork();
    }
    hold(lock::<Interpreter, _>(&ATTACHING));
    // The last, for those who wait for it may keep the interpreter.
    expiry::before_fork();
    *lock::<Interpreter, _>(&HELD) = queues;
}

fn after_fork(in_child: bool) {
    expiry::after_fork(in_child);
    release(&ATTACHING);
    if in_child {
        clock::reset_after_fork();
        MAIN_THREAD.store(this_thread(), Ordering::Relaxed);
        INSIDE.store(DEPTH.get(), Ordering::SeqCst);
    }
    let queues = std::mem::take(&mut *lock::<Interpreter, _>(&HELD));
    for queue in &queues {
        queue.after_fork(in_child);
    }
    release(&QUEUES);
}

#[pyfunction]
fn after_fork_in_parent() {
    after_fork(false);
}

#[pyfunction]
fn after_fork_in_child() {
    after_fork(true);
}

#[pyfunction]
fn at_exit(py: Python<'_>) {
    EXIT_THREAD.store(this_thread(), Ordering::SeqCst);
    EXITING.store(true, Ordering::SeqCst);
    detach(py, || {
        expiry::stop(PATIENCE);
        IS_OVERDUE.store(true, Ordering::SeqCst);
        // Our own return is not among them yet; what this thread was in the middle of is.
        let began = Instant::now();
        while INSIDE.load(Ordering::SeqCst) > DEPTH.get() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(50));
        }
    });
}

/// Whether the hooks are installed: they belong to the process, which may import the module again.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Refuses to be imported into a subinterpreter: what is ours here is the process's (locks, threads, hooks), and the exit of
/// one interpreter would be taken for the end of all.
pub(super) fn refuse_subinterpreters(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: the thread is attached; neither of the two has other conditions, and the main interpreter is always there.
    let is_main = unsafe { pyo3::ffi::PyInterpreterState_Get() == pyo3::ffi::PyInterpreterState_Main() };
    match is_main {
        true => Ok(()),
        false => Err(PyImportError::new_err(
            "mpmc_queue cannot be imported in a subinterpreter: import it in the main interpreter (for mod_wsgi: \
             WSGIApplicationGroup %{GLOBAL})",
        )),
    }
}

/// Called whenever the module is imported. The hooks are the process's: only the first call counts.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    if IS_INSTALLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let main = py.import("threading")?.call_method0("main_thread")?.getattr("ident")?.extract::<u64>()?;
    MAIN_THREAD.store(main, Ordering::Relaxed);
    expiry::surround(Surroundings { life: surroundings, pause: Interpreter::pause });
    py.import("atexit")?.call_method1("register", (wrap_pyfunction!(at_exit, py)?,))?;
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let hooks = PyDict::new(py);
        hooks.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
        hooks.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, py)?)?;
        hooks.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
        os.call_method("register_at_fork", (), Some(&hooks))?;
    }
    Ok(())
}
