//! Calls in tasks of trio: each call is a checkpoint, and waits in trio's way. `_trio.py` is the other half; the first
//! call imports it.

use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::python::host::detach;

/// The other half, if the program has imported trio.
fn helper(py: Python<'_>) -> PyResult<Option<&Bound<'_, PyAny>>> {
    static MODULES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static HELPER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if let Some(helper) = HELPER.get(py) {
        return Ok(Some(helper.bind(py)));
    }
    let modules = MODULES.get_or_try_init(py, || PyResult::Ok(py.import("sys")?.getattr("modules")?.unbind()))?;
    if !modules.bind(py).contains(intern!(py, "trio"))? {
        return Ok(None);
    }
    let helper = HELPER.get_or_try_init(py, || PyResult::Ok(py.import("mpmc_queue._trio")?.into_any().unbind()))?;
    Ok(Some(helper.bind(py)))
}

/// The stand-in for the loop in a task of trio; None elsewhere.
pub(super) fn running(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    let Some(helper) = helper(py)? else { return Ok(None) };
    let run = detach::call_out(py, || helper.call_method0(intern!(py, "running")))?;
    Ok(Some(run.unbind()).filter(|run| !run.is_none(py)))
}

/// A coroutine of trio that a call awaits.
pub(super) struct Awaited(Py<PyAny>);

impl Awaited {
    /// Lets other tasks run, and lets the call be cancelled.
    pub(super) fn checkpoint(py: Python<'_>) -> PyResult<Self> {
        Self::of(py, |helper| helper.call_method0(intern!(py, "checkpoint")))
    }

    /// Waits for a future.
    pub(super) fn future(py: Python<'_>, future: &Py<PyAny>) -> PyResult<Self> {
        Self::of(py, |helper| helper.call_method1(intern!(py, "wait"), (future,)))
    }

    fn of<'py>(
        py: Python<'py>,
        call: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let helper = py.import("mpmc_queue._trio")?.into_any();
        detach::call_out(py, || call(&helper)).map(|coroutine| Awaited(coroutine.unbind()))
    }

    /// Resumes with the value that trio has sent, which is `None` at first. Returns what to yield to trio, or None
    /// after the coroutine has ended.
    pub(super) fn resume(&self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
        match detach::call_out(py, || self.0.bind(py).call_method1(intern!(py, "send"), (value,))) {
            Ok(trap) => Ok(Some(trap.unbind())),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The coroutine, for the garbage collector.
    pub(super) fn object(&self) -> &Py<PyAny> {
        &self.0
    }
}
