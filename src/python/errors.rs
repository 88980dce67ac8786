//! Converts the engine's errors to Python's. The classes are written in Python, in `mpmc_queue/_errors.py`.

use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use super::host::detach;
use crate::{Error, Limit};

fn class<'py>(py: Python<'py>, cell: &'static PyOnceLock<Py<PyType>>, name: &str) -> PyResult<&'py Bound<'py, PyType>> {
    cell.import(py, "mpmc_queue._errors", name)
}

/// The Python exception for an error of the engine. `queue` is the name of the queue.
pub(super) fn raise(py: Python<'_>, error: Error, queue: &Py<PyString>) -> PyErr {
    detach::call_out(py, || make(py, error, queue))
}

fn make(py: Python<'_>, error: Error, queue: &Py<PyString>) -> PyErr {
    static MEMORY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ITEMS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CONSUMER_CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static MISSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let made = named(py, queue).and_then(|details| match error {
        Error::Full(full) => {
            let class = match full.limit {
                Limit::Memory => class(py, &MEMORY, "MemoryLimitError"),
                Limit::Items => class(py, &ITEMS, "ItemLimitError"),
            };
            details.set_item("ahead", full.ahead)?;
            class?.call((full.current, full.max, full.needed), Some(&details))
        }
        Error::Closed => class(py, &CLOSED, "QueueClosedError")?.call((error.to_string(),), Some(&details)),
        Error::ConsumerClosed => {
            class(py, &CONSUMER_CLOSED, "ConsumerClosedError")?.call((error.to_string(),), Some(&details))
        }
        Error::Missed(count) => class(py, &MISSED, "MessagesMissedError")?.call((count,), Some(&details)),
        Error::GroupClosed | Error::IsMember => Err(settling(py, &error.to_string(), queue)),
        Error::NameTaken | Error::BeyondEnd(_) => Err(pyo3::exceptions::PyValueError::new_err(error.to_string())),
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The details of every error: the name of its queue.
fn named<'py>(py: Python<'py>, queue: &Py<PyString>) -> PyResult<Bound<'py, PyDict>> {
    let details = PyDict::new(py);
    details.set_item("queue", queue)?;
    Ok(details)
}

/// `queue.Empty`, as the standard library raises it.
pub(super) fn empty(py: Python<'_>) -> PyErr {
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    EMPTY.import(py, "queue", "Empty").map_or_else(|error| error, |class| PyErr::from_type(class.clone(), ()))
}

/// Whether an error is a `QueueClosedError`.
pub(super) fn is_closed(py: Python<'_>, error: &PyErr) -> bool {
    static CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    class(py, &CLOSED, "QueueClosedError").is_ok_and(|class| error.is_instance(py, class))
}

/// A plain `QueueError` of the queue with a name.
pub(super) fn settling(py: Python<'_>, message: &str, queue: &Py<PyString>) -> PyErr {
    static QUEUE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let made =
        named(py, queue).and_then(|details| class(py, &QUEUE_ERROR, "QueueError")?.call((message,), Some(&details)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The error for a case that should never happen: a panic that reached the border to Python.
pub(super) fn panicked() -> PyErr {
    PanicException::new_err("internal error of mpmc_queue")
}

/// Adds to the error of a refusal that every consumer has read what fills the queue.
pub(super) fn is_all_read(py: Python<'_>, error: &PyErr) {
    let _ = detach::call_out(py, || error.value(py).call_method0("_is_all_read"));
}

/// Adds a hint to the text of an error of ours.
pub(super) fn add_hint(py: Python<'_>, error: &PyErr, hint: &str) {
    // Without the hint the error says less, but nothing wrong.
    let _ = detach::call_out(py, || error.value(py).call_method1("_add_hint", (hint,)));
}
