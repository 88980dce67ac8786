//! Fork and exit, which can happen at any moment.
//!
//! **Exit.** After the exit hook has started, no thread of ours returns to the interpreter (`detach.rs`), and the
//! expiration thread ends.
//!
//! **Fork.** The thread that forks takes every lock of every queue first, so that no queue is in the middle of a change
//! in the child. It releases the locks afterwards on both sides. CPython creates a thread's state under a lock of its
//! own, without the GIL. Up to 3.11 a child that inherits that lock while it is taken hangs before it runs a line. So
//! the state of the expiration thread is created once, and not during a fork.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::detach;
use super::interpreter::Interpreter;
use crate::core::expiry;
use crate::core::expiry::Surroundings;
use crate::python::engine::{Engine, WeakEngine};
use crate::sync::{Host, Mutex, Threads, hold, lock, release};
use crate::time::clock;

/// Every queue of the process, by number.
static QUEUES: Mutex<BTreeMap<u64, WeakEngine>> = Mutex::new(BTreeMap::new());
/// The queues whose locks are held during a fork.
static HELD: Mutex<Vec<Engine>> = Mutex::new(Vec::new());
/// Held while the state of the expiration thread is created.
static ATTACHING: Mutex<()> = Mutex::new(());

/// The environment of the expiration thread: the interpreter knows the thread, and the thread runs outside of it.
fn surroundings(run: &mut (dyn FnMut() + Send)) {
    let attaching = lock::<Threads, _>(&ATTACHING);
    let attached = Python::try_attach(|py| {
        drop(attaching);
        detach::detach(py, &mut *run);
    });
    if attached.is_none() {
        // The interpreter is shutting down. Running the thread's body tells waiters that the thread has ended.
        run();
    }
}

pub(in crate::python) fn register(number: u64, queue: WeakEngine) {
    lock::<Interpreter, _>(&QUEUES).insert(number, queue);
}

pub(in crate::python) fn unregister(number: u64) {
    drop(lock::<Interpreter, _>(&QUEUES).remove(&number));
}

#[pyfunction]
fn before_fork() {
    hold(lock::<Interpreter, _>(&QUEUES));
    // Only this thread has access to the registry now, and it only reads.
    let queues: Vec<_> = crate::sync::held(&QUEUES, |queues| queues.values().filter_map(WeakEngine::upgrade).collect());
    for queue in &queues {
        queue.before_fork();
    }
    hold(lock::<Interpreter, _>(&ATTACHING));
    // The last lock, because threads that wait for it may keep the interpreter.
    expiry::before_fork();
    *lock::<Interpreter, _>(&HELD) = queues;
}

fn after_fork(in_child: bool) {
    expiry::after_fork(in_child);
    release(&ATTACHING);
    if in_child {
        clock::reset_after_fork();
        detach::forget_other_threads();
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
    detach::bar_others();
    detach::detach(py, detach::await_others);
}

/// Whether the hooks are installed. They belong to the process, which may import the module again.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Refuses an import in a subinterpreter. Our locks, threads and hooks belong to the process, and the exit of one
/// interpreter would be treated as the end of the process.
pub(in crate::python) fn refuse_subinterpreters(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: the thread is attached. Neither function has other preconditions, and the main interpreter always exists.
    let is_main = unsafe { pyo3::ffi::PyInterpreterState_Get() == pyo3::ffi::PyInterpreterState_Main() };
    match is_main {
        true => Ok(()),
        false => Err(PyImportError::new_err(
            "mpmc_queue cannot be imported in a subinterpreter: import it in the main interpreter (for mod_wsgi: \
             WSGIApplicationGroup %{GLOBAL})",
        )),
    }
}

/// Called whenever the module is imported. The hooks belong to the process, so only the first call has an effect.
pub(in crate::python) fn install(py: Python<'_>) -> PyResult<()> {
    if IS_INSTALLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let main = py.import("threading")?.call_method0("main_thread")?.getattr("ident")?.extract::<u64>()?;
    detach::set_main_thread(main);
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
