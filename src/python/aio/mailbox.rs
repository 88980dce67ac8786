//! Notifies a loop, from any thread, that some of its tasks can continue.

use std::cell::RefCell;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::future::TaskFuture;
use crate::python::host::detach;
use crate::python::host::interpreter::Interpreter;
use crate::sync::{Mutex, lock};

thread_local! {
    /// The error that was raised while this thread woke a task; inner None: none yet. Outer None: outside of
    /// [`waking`], nothing collects the error.
    static RAISED: RefCell<Option<Option<PyErr>>> = const { RefCell::new(None) };
}

/// Does something that may wake tasks of event loops, and raises the error that this caused. A signal may also be
/// handled there.
pub(in crate::python) fn waking<R>(wake: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let outer = RAISED.replace(Some(None));
    let result = wake();
    match RAISED.replace(outer).flatten() {
        // What was done stays done. An error of the call itself takes precedence.
        Some(error) if result.is_ok() => Err(error),
        _ => result,
    }
}

/// Keeps an error for the call that wakes. In some places nothing collects it, for instance in a read, whose message
/// would be lost. Then an interrupt is raised again later, and any other error is reported.
fn set_aside(py: Python<'_>, error: PyErr, event_loop: &Bound<'_, PyAny>) {
    let uncollected = RAISED.with_borrow_mut(|raised| match raised {
        Some(first @ None) => {
            *first = Some(error);
            None
        }
        _ => Some(error),
    });
    match uncollected {
        Some(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
            // SAFETY: the function has no preconditions.
            unsafe { ffi::PyErr_SetInterrupt() }
        }
        Some(error) => error.write_unraisable(py, Some(event_loop)),
        None => {}
    }
}

/// Futures of one loop whose tasks are ready to run, until the loop runs them.
#[pyclass(module = "mpmc_queue", frozen)]
pub(super) struct Mailbox {
    /// Weak, because the mailbox is found through its loop and must not keep the loop alive.
    event_loop: Py<PyWeakrefReference>,
    ready: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    futures: Vec<Py<TaskFuture>>,
    /// Whether the loop has been asked to deliver them.
    is_called: bool,
}

impl Mailbox {
    /// The mailbox of a loop.
    pub(super) fn of<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        static MAILBOXES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = event_loop.py();
        let mailboxes = MAILBOXES.get_or_try_init(py, || {
            PyResult::Ok(py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?.unbind())
        })?;
        let found = mailboxes.bind(py).call_method1(intern!(py, "get"), (event_loop,))?;
        if !found.is_none() {
            return Ok(found.cast_into()?);
        }
        let made = Mailbox { event_loop: PyWeakrefReference::new(event_loop)?.unbind(), ready: Mutex::default() };
        let made = Bound::new(py, made)?;
        mailboxes.bind(py).set_item(event_loop, &made)?;
        Ok(made)
    }

    /// Hands a future to its loop, which runs the task. Returns false if the loop is closed and its tasks can never
    /// run.
    pub(super) fn post(slf: &Bound<'_, Self>, future: Py<TaskFuture>) -> bool {
        let py = slf.py();
        let this = slf.get();
        let was_called = {
            let mut ready = lock::<Interpreter, _>(&this.ready);
            ready.futures.push(future);
            std::mem::replace(&mut ready.is_called, true)
        };
        if was_called {
            return true;
        }
        if let Some(event_loop) = this.event_loop.bind(py).upgrade() {
            let Err(error) = Self::call(slf, &event_loop) else { return true };
            if !Self::is_closed(&event_loop) {
                // Try again, because a signal may have been handled: its error leaves the call that wakes, and the
                // tasks wake nevertheless. If the second try fails too, the futures stay, and the next one asks the
                // loop again.
                if Self::call(slf, &event_loop).is_err() {
                    lock::<Interpreter, _>(&this.ready).is_called = false;
                }
                // Not before the second call, in which an interrupt might be raised.
                set_aside(py, error, &event_loop);
                return true;
            }
        }
        let undeliverable = std::mem::take(&mut *lock::<Interpreter, _>(&this.ready));
        drop(undeliverable);
        false
    }

    /// Asks the loop to deliver the futures that are ready.
    fn call(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let deliver = slf.getattr(intern!(py, "deliver"))?;
        event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (deliver,)).map(drop)
    }

    fn is_closed(event_loop: &Bound<'_, PyAny>) -> bool {
        let closed = event_loop.call_method0(intern!(event_loop.py(), "is_closed"));
        closed.and_then(|closed| closed.is_truthy()).unwrap_or(false)
    }
}

#[pymethods]
impl Mailbox {
    /// Runs the tasks, in their loop.
    fn deliver(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let ready = std::mem::take(&mut *lock::<Interpreter, _>(&slf.get().ready)).futures;
        let mut ready = ready.into_iter();
        detach::call_out(py, || {
            while let Some(future) = ready.next() {
                if let Err(error) = TaskFuture::complete(future.bind(py), false) {
                    // A task was interrupted, or exits. The loop runs the other tasks in its next turn, or when it runs
                    // again.
                    ready.for_each(|future| {
                        Mailbox::post(slf, future);
                    });
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        lock::<Interpreter, _>(&self.ready).futures.iter().try_for_each(|future| visit.call(future))
    }
}
