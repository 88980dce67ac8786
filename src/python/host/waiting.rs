//! How a Python thread waits for a queue.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::detach;
use crate::python::engine::Engine;
use crate::python::timeouts::Timeout;
use crate::wait::list::{Condition, Ticket};
use crate::wait::parker::Parker;

/// How long the main thread waits before it checks for signals. A signal may reach the process through another thread,
/// and then nothing wakes the thread that has to handle it.
const SIGNAL_SLICE: Duration = Duration::from_millis(50);
/// Waits for a condition until `attempt` has a result; None: the time is up. See [`crate::Queue`] for the rules.
pub(in crate::python) fn block<R>(
    py: Python<'_>,
    engine: &Engine,
    condition: Condition,
    timeout: Timeout,
    attempt: impl FnMut(Option<&Ticket>) -> PyResult<Option<R>>,
) -> PyResult<Option<R>> {
    let deadline = match timeout {
        Timeout::After(limit) => Instant::now().checked_add(limit),
        Timeout::Never => None,
    };
    engine.block(condition, deadline, attempt, |parker, left| {
        park(py, parker, left.map_or(Timeout::Never, Timeout::After))
    })
}

/// Parks this thread without the interpreter, for at most `timeout`. Returns whether it was woken. In the main thread
/// it returns sooner, to handle signals.
pub(in crate::python) fn park(py: Python<'_>, parker: &Parker, timeout: Timeout) -> PyResult<bool> {
    let slice = if detach::is_main_thread() { SIGNAL_SLICE } else { Duration::MAX };
    let limit = match timeout {
        Timeout::After(limit) => limit.min(slice),
        Timeout::Never => slice,
    };
    let woken = detach::detach(py, || parker.park(Some(limit).filter(|&limit| limit < Duration::MAX)));
    py.check_signals()?;
    Ok(woken)
}
