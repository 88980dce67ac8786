//! Turns: a task whose awaits never have to wait lets its loop run other tasks after a while.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::Clock;
use crate::python::host::detach;

/// Nanoseconds for which a task may make awaits that do not wait, before other tasks of its loop get their turn.
const TURN: u64 = 1_000_000;
/// The clock is read once in this many calls.
const CALLS: u8 = 8;

thread_local! {
    /// When the current turn of this thread's loop began (monotonic nanoseconds); 0: it begins with the next call.
    static BEGAN: Cell<u64> = const { Cell::new(0) };
    /// Calls since the clock was last read.
    static UNTIMED: Cell<u8> = const { Cell::new(0) };
    /// The holder of the loop when the turn began.
    static HOLDER: Cell<Option<Holder>> = const { Cell::new(None) };
}

/// What has been running in the loop since the turn began, as a weak reference.
enum Holder {
    /// A task. Nothing else runs between two of its calls, unless the loop turned.
    Task(Py<PyWeakrefReference>),
    /// Anything in the loop. A callback that ends the turn is scheduled in it.
    Loop(Py<PyWeakrefReference>),
}

/// Whether a turn has begun and has not lasted long enough.
#[inline]
pub(super) fn is_under_way() -> bool {
    let began = BEGAN.get();
    if began == 0 {
        return false;
    }
    let untimed = UNTIMED.get() + 1;
    if untimed < CALLS {
        UNTIMED.set(untimed);
        return true;
    }
    let is_in_time = Clock::System.now().mono.saturating_sub(began) < TURN;
    if is_in_time {
        UNTIMED.set(0);
    }
    is_in_time
}

/// Called when the loop turns. The next call of this thread begins a turn.
pub(super) fn end() {
    BEGAN.set(0);
}

/// Whether a call has to wait until the loop has turned, because the loop has not turned for a whole turn. Otherwise
/// this begins a turn, if none has begun.
pub(super) fn is_over(py: Python<'_>) -> bool {
    !is_under_way() && detach::call_out(py, || begin(py)).unwrap_or(false)
}

/// Begins a turn, unless the last one is over and the loop has not turned since.
fn begin(py: Python<'_>) -> PyResult<bool> {
    static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static CURRENT_TASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static END_TURN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let was_over = BEGAN.replace(Clock::System.now().mono.max(1)) != 0;
    let before = HOLDER.take();
    let event_loop = asyncio(py, &GET_RUNNING_LOOP, "_get_running_loop")?.call0()?;
    if event_loop.is_none() {
        // The call is stepped by hand.
        return Ok(false);
    }
    let task = asyncio(py, &CURRENT_TASK, "current_task")?.call1((&event_loop,))?;
    if was_over && let Some(before) = before {
        let is_same = match &before {
            Holder::Task(before) => before.bind(py).upgrade().is_some_and(|before| before.is(&task)),
            Holder::Loop(before) => before.bind(py).upgrade().is_some_and(|before| before.is(&event_loop)),
        };
        if is_same {
            end();
            return Ok(true);
        }
        // This is another task. Either the loop has turned, or the task is an eager one that began inside the last one.
        // A callback distinguishes the two cases.
        let end_turn =
            END_TURN.get_or_try_init(py, || PyResult::Ok(wrap_pyfunction!(end_turn, py)?.into_any().unbind()))?;
        event_loop.call_method1("call_soon", (end_turn,))?;
        HOLDER.set(Some(Holder::Loop(PyWeakrefReference::new(&event_loop)?.unbind())));
    } else if !task.is_none() {
        HOLDER.set(Some(Holder::Task(PyWeakrefReference::new(&task)?.unbind())));
    }
    Ok(false)
}

/// Called by the loop when it turns.
#[pyfunction]
fn end_turn() {
    end();
}

/// A function of `asyncio`.
fn asyncio<'py>(py: Python<'py>, found: &'static PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let function = found.get_or_try_init(py, || PyResult::Ok(py.import("asyncio")?.getattr(name)?.unbind()))?;
    Ok(function.bind(py).clone())
}
