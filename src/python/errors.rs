//! The engine's errors as Python's. The classes are written in Python, in `mpmc_queue/_errors.py`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::lifecycle;
use crate::{Error, Limit};

fn class<'py>(py: Python<'py>, cell: &'static PyOnceLock<Py<PyType>>, name: &str) -> PyResult<&'py Bound<'py, PyType>> {
    cell.import(py, "mpmc_queue._errors", name)
}

/// The Python exception for an error of the engine.
pub(super) fn raise(py: Python<'_>, error: Error) -> PyErr {
    lifecycle::call_out(py, || make(py, error))
}

fn make(py: Python<'_>, error: Error) -> PyErr {
    static MEMORY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ITEMS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CONSUMER_CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static MISSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let made = match error {
        Error::Full(full) => match full.limit {
            Limit::Memory => class(py, &MEMORY, "MemoryLimitError"),
            Limit::Items => class(py, &ITEMS, "ItemLimitError"),
        }
        .and_then(|class| class.call1((full.current, full.max, full.needed))),
        Error::Closed => class(py, &CLOSED, "QueueClosedError").and_then(|class| class.call1((error.to_string(),))),
        Error::ConsumerClosed => {
            class(py, &CONSUMER_CLOSED, "ConsumerClosedError").and_then(|class| class.call1((error.to_string(),)))
        }
        Error::Missed(count) => class(py, &MISSED, "MessagesMissedError").and_then(|class| class.call1((count,))),
        Error::GroupClosed => return settling(py, &error.to_string()),
        Error::NameTaken | Error::BeyondEnd(_) => return pyo3::exceptions::PyValueError::new_err(error.to_string()),
    };
    made.map_or_else(|error| error, PyErr::from_value)
}

/// `queue.Empty`, as the standard library raises it.
pub(super) fn empty(py: Python<'_>) -> PyErr {
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    EMPTY.import(py, "queue", "Empty").map_or_else(|error| error, |class| PyErr::from_type(class.clone(), ()))
}

/// Whether it is a `QueueClosedError`.
pub(super) fn is_closed(py: Python<'_>, error: &PyErr) -> bool {
    static CLOSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    class(py, &CLOSED, "QueueClosedError").is_ok_and(|class| error.is_instance(py, class))
}

/// A plain `QueueError`.
pub(super) fn settling(py: Python<'_>, message: &str) -> PyErr {
    static QUEUE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    class(py, &QUEUE_ERROR, "QueueError")
        .and_then(|class| class.call1((message,)))
        .map_or_else(|error| error, PyErr::from_value)
}
