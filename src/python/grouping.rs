//! The arguments of a new group: how it delivers, and where its dead letters go.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::objects::Queue;
use super::{arguments, errors};
use crate::{DeadLetter, Error, GroupOptions};

/// Another handle to a payload. Only called where payloads may be dropped: attached.
pub(super) fn share(payload: &Py<PyAny>) -> Py<PyAny> {
    Python::attach(|py| payload.clone_ref(py))
}

/// A queue as the destination of dead letters. They are sized as if they had been enqueued there directly.
pub(super) fn letters(queue: &Bound<'_, Queue>) -> PyResult<DeadLetter<Py<PyAny>>> {
    // Weak, because the Python object keeps the other queue alive, where the garbage collector sees it.
    let weak = PyWeakrefReference::new(queue)?.unbind();
    Ok(queue.get().engine.dead_letter(share, move |payload| {
        Python::attach(|py| {
            let queue = weak.bind(py).upgrade()?.cast_into::<Queue>().ok()?;
            let size = queue.get().size(payload.bind(py));
            size.map_err(|error| error.write_unraisable(py, Some(&queue))).ok()
        })
    }))
}

/// The options of a group, from the arguments of the caller.
pub(super) fn options(
    ack_wait: Option<&Bound<'_, PyAny>>,
    max_deliver: Option<&Bound<'_, PyAny>>,
    backoff: Option<&Bound<'_, PyAny>>,
    max_ack_pending: Option<&Bound<'_, PyAny>>,
    has_dead_letter: bool,
    rescues_missed: bool,
) -> PyResult<GroupOptions> {
    if rescues_missed && !has_dead_letter {
        return Err(PyValueError::new_err(
            "dead_letter_missed needs dead_letter: the queue that takes what would be missed",
        ));
    }
    // A time too long to represent means no limit.
    const EVER: u64 = u64::MAX / 4;
    let options = GroupOptions {
        ack_wait: ack_wait
            .map(|wait| arguments::span("ack_wait", wait).map(|wait| wait.unwrap_or(EVER)))
            .transpose()?,
        max_deliver: max_deliver
            .map(|most| arguments::whole("max_deliver", 1, most).map(|most| u32::try_from(most).unwrap_or(u32::MAX)))
            .transpose()?,
        backoff: backoff.map_or(Ok(Vec::new()), |backoff| arguments::delays("backoff", backoff, EVER))?,
        max_pending: max_ack_pending.map(|most| arguments::whole("max_ack_pending", 1, most)).transpose()?,
        rescues_missed,
        ..GroupOptions::default()
    };
    let needs_acks = [
        ("max_deliver", options.max_deliver.is_some()),
        ("backoff", backoff.is_some()),
        ("max_ack_pending", options.max_pending.is_some()),
        ("dead_letter", has_dead_letter && !rescues_missed),
    ];
    match needs_acks.iter().find(|(_, given)| *given && options.ack_wait.is_none()) {
        Some((name, _)) => {
            Err(PyValueError::new_err(format!("{name} needs ack_wait: without it deliveries settle themselves")))
        }
        None => Ok(options),
    }
}

/// The dead letter queue, checked.
pub(super) fn dead_letter<'py>(
    queue: &Bound<'py, Queue>,
    dead_letter: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, Queue>>> {
    let Some(given) = dead_letter else { return Ok(None) };
    let Ok(dead_letter) = given.cast::<Queue>() else {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!("dead_letter must be a Queue, not {kind}")));
    };
    if dead_letter.get().engine.is(&queue.get().engine) {
        return Err(PyValueError::new_err("dead_letter must be another queue: what is dead would come back at once"));
    }
    Ok(Some(dead_letter.clone()))
}

/// The error of a group that could not be added.
pub(super) fn not_added(queue: &Queue, py: Python<'_>, error: Error, name: &str, start: crate::Start) -> PyErr {
    match error {
        Error::BeyondEnd(next) => arguments::beyond_end("start", start, next),
        Error::NameTaken => PyValueError::new_err(format!("name must be new in its queue: there is a group {name:?}")),
        error => errors::raise(py, error, &queue.name),
    }
}
