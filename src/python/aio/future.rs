//! The future that a suspended call waits on. It runs its task as soon as its loop has been notified.
//!
//! A task that waits on asyncio's own future is woken in two steps, the second of them by a callback in the loop's next
//! turn. Here the loop has already turned when it delivers its mailbox, so the task runs at once.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::python::host::detach;
use crate::python::host::interpreter::Interpreter;
use crate::sync::{Mutex, lock};

/// A future, with as much as a task needs: `asyncio.Task` takes any object that behaves like `asyncio.Future`.
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct TaskFuture {
    event_loop: Py<PyAny>,
    /// Shows a task that it was suspended on by `await`. The task resets it.
    is_blocking: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    callbacks: Vec<Callback>,
}

/// The result of the wait.
enum Outcome {
    /// The condition may hold now.
    Woken,
    /// The time is up.
    Late,
    /// The task was cancelled, with this message.
    Cancelled(Py<PyAny>),
}

/// A callback for the outcome, with the context that it runs in.
struct Callback {
    function: Py<PyAny>,
    context: Option<Py<PyAny>>,
}

impl TaskFuture {
    pub(super) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        let future = TaskFuture {
            event_loop: event_loop.clone().unbind(),
            is_blocking: AtomicBool::new(true),
            state: Mutex::default(),
        };
        Py::new(event_loop.py(), future)
    }

    /// Whether the time is up. An error if the task was cancelled, or if there is no outcome yet.
    pub(super) fn was_late(&self, py: Python<'_>) -> PyResult<bool> {
        let cancelled = match &lock::<Interpreter, _>(&self.state).outcome {
            Some(Outcome::Woken) => return Ok(false),
            Some(Outcome::Late) => return Ok(true),
            Some(Outcome::Cancelled(message)) => Some(message.clone_ref(py)),
            None => None,
        };
        Err(match cancelled {
            Some(message) => cancelled_error(message.bind(py))?,
            None => PyRuntimeError::new_err("a call of mpmc_queue was resumed before what it waits for was there"),
        })
    }

    /// Sets the outcome, unless there is one already. Returns the callbacks to call.
    fn settle(&self, outcome: Outcome) -> Option<Vec<Callback>> {
        let mut state = lock::<Interpreter, _>(&self.state);
        match &state.outcome {
            Some(_) => None,
            None => {
                state.outcome = Some(outcome);
                Some(std::mem::take(&mut state.callbacks))
            }
        }
    }

    /// Runs the task in its loop, unless it was cancelled before.
    pub(super) fn complete(slf: &Bound<'_, Self>, is_late: bool) -> PyResult<()> {
        let outcome = if is_late { Outcome::Late } else { Outcome::Woken };
        for Callback { function, context } in slf.get().settle(outcome).into_iter().flatten() {
            match context {
                Some(context) => context.call_method1(slf.py(), intern!(slf.py(), "run"), (function, slf))?,
                None => function.call1(slf.py(), (slf,))?,
            };
        }
        Ok(())
    }

    /// Schedules a callback in the loop.
    fn call_soon(slf: &Bound<'_, Self>, callback: &Callback) -> PyResult<()> {
        let py = slf.py();
        let keywords = PyDict::new(py);
        if let Some(context) = &callback.context {
            keywords.set_item(intern!(py, "context"), context)?;
        }
        let arguments = (&callback.function, slf);
        slf.get().event_loop.bind(py).call_method(intern!(py, "call_soon"), arguments, Some(&keywords)).map(drop)
    }
}

/// `asyncio.CancelledError`, with the argument of `Task.cancel`.
fn cancelled_error(message: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    static CANCELLED_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = message.py();
    let class = CANCELLED_ERROR
        .get_or_try_init(py, || PyResult::Ok(py.import("asyncio")?.getattr("CancelledError")?.unbind()))?
        .bind(py);
    let error = if message.is_none() { class.call0()? } else { class.call1((message,))? };
    Ok(PyErr::from_value(error))
}

/// The part of the interface of `asyncio.Future` that a task uses.
#[pymethods]
impl TaskFuture {
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.is_blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_is_blocking(&self, is_blocking: bool) {
        self.is_blocking.store(is_blocking, Ordering::Relaxed);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[pyo3(signature = (function, *, context = None))]
    fn add_done_callback(slf: &Bound<'_, Self>, function: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let callback = Callback { function, context };
        let mut state = lock::<Interpreter, _>(&slf.get().state);
        if state.outcome.is_none() {
            state.callbacks.push(callback);
            return Ok(());
        }
        drop(state);
        detach::call_out(slf.py(), || Self::call_soon(slf, &callback))
    }

    fn remove_done_callback(&self, py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<usize> {
        let callbacks = std::mem::take(&mut lock::<Interpreter, _>(&self.state).callbacks);
        let count = callbacks.len();
        let mut kept = Vec::with_capacity(count);
        for callback in callbacks {
            if !detach::call_out(py, || callback.function.bind(py).eq(function))? {
                kept.push(callback);
            }
        }
        let removed = count - kept.len();
        lock::<Interpreter, _>(&self.state).callbacks.append(&mut kept);
        Ok(removed)
    }

    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let message = msg.unwrap_or_else(|| slf.py().None());
        let Some(callbacks) = slf.get().settle(Outcome::Cancelled(message)) else { return Ok(false) };
        detach::call_out(slf.py(), || callbacks.iter().try_for_each(|callback| Self::call_soon(slf, callback)))?;
        Ok(true)
    }

    fn cancelled(&self) -> bool {
        matches!(lock::<Interpreter, _>(&self.state).outcome, Some(Outcome::Cancelled(_)))
    }

    fn done(&self) -> bool {
        lock::<Interpreter, _>(&self.state).outcome.is_some()
    }

    fn result(&self, py: Python<'_>) -> PyResult<bool> {
        self.was_late(py)
    }

    fn exception(&self, py: Python<'_>) -> PyResult<()> {
        self.was_late(py).map(drop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        let state = lock::<Interpreter, _>(&self.state);
        if let Some(Outcome::Cancelled(message)) = &state.outcome {
            visit.call(message)?;
        }
        state.callbacks.iter().try_for_each(|callback| {
            visit.call(&callback.function)?;
            visit.call(&callback.context)
        })
    }

    fn __clear__(&self) {
        let state = std::mem::take(&mut lock::<Interpreter, _>(&self.state).callbacks);
        drop(state);
    }
}
