//! `ConsumerGroup`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};

use super::consumer::Consumer;
use super::errors;
use super::message;
use super::queue::Queue;
use super::stats::GroupStats;
use super::waiting::Interpreter;
use super::{aio, arguments};
use crate::{DeadLetter, Error, GroupOptions};

/// The engine's group, of Python objects.
pub(super) type EngineGroup = crate::Group<Py<PyAny>, Interpreter>;

#[doc = doc!(ConsumerGroup)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct ConsumerGroup {
    group: EngineGroup,
    queue: Py<Queue>,
    name: Py<PyString>,
}

/// Another handle to a payload. Only called where payloads may be dropped: attached.
pub(super) fn share(payload: &Py<PyAny>) -> Py<PyAny> {
    Python::attach(|py| payload.clone_ref(py))
}

/// A queue as the place for dead letters. They are sized as if they had been enqueued there by hand.
pub(super) fn letters(queue: &Bound<'_, Queue>) -> PyResult<DeadLetter<Py<PyAny>>> {
    // Weak: the other queue's object keeps it alive, where the garbage collector sees it.
    let weak = PyWeakrefReference::new(queue)?.unbind();
    Ok(queue.get().engine.dead_letter(share, move |payload| {
        Python::attach(|py| {
            let queue = weak.bind(py).upgrade()?.cast_into::<Queue>().ok()?;
            let size = queue.get().size(payload.bind(py));
            size.map_err(|error| error.write_unraisable(py, Some(&queue))).ok()
        })
    }))
}

/// How a group delivers, from what the caller passed.
pub(super) fn options(
    ack_wait: Option<&Bound<'_, PyAny>>,
    max_deliver: Option<&Bound<'_, PyAny>>,
    backoff: Option<&Bound<'_, PyAny>>,
    max_ack_pending: Option<&Bound<'_, PyAny>>,
    has_dead_letter: bool,
) -> PyResult<GroupOptions> {
    // Longer than can be represented: for ever.
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
    };
    let needs_acks = [
        ("max_deliver", options.max_deliver.is_some()),
        ("backoff", backoff.is_some()),
        ("max_ack_pending", options.max_pending.is_some()),
        ("dead_letter", has_dead_letter),
    ];
    match needs_acks.iter().find(|(_, given)| *given && options.ack_wait.is_none()) {
        Some((name, _)) => {
            Err(PyValueError::new_err(format!("{name} needs ack_wait: without it deliveries settle themselves")))
        }
        None => Ok(options),
    }
}

impl ConsumerGroup {
    pub(super) fn new(queue: &Bound<'_, Queue>, group: EngineGroup, name: &Bound<'_, PyString>) -> Self {
        ConsumerGroup { group, queue: queue.clone().unbind(), name: name.clone().unbind() }
    }

    fn figures(&self, py: Python<'_>) -> PyResult<crate::GroupStats> {
        self.group.stats().map_err(|error| errors::raise(py, error, &self.queue.get().name))
    }
}

#[pymethods]
impl ConsumerGroup {
    #[doc = doc!(ConsumerGroup.name)]
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.name.clone_ref(py)
    }

    #[doc = doc!(ConsumerGroup.queue)]
    #[getter]
    fn queue(&self, py: Python<'_>) -> Py<Queue> {
        self.queue.clone_ref(py)
    }

    #[doc = doc!(ConsumerGroup.members)]
    #[getter]
    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let queue = self.queue.bind(py);
        let members = self.group.members().into_iter().map(|member| Queue::object_of(queue, member));
        PyTuple::new(py, members.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = doc!(ConsumerGroup.pending_count)]
    #[getter]
    fn pending_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.figures(py)?.pending)
    }

    #[doc = doc!(ConsumerGroup.unread_count)]
    #[getter]
    fn unread_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.figures(py)?.unread)
    }

    #[doc = doc!(ConsumerGroup.missed_count)]
    #[getter]
    fn missed_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.figures(py)?.missed)
    }

    #[doc = doc!(ConsumerGroup.add_consumer)]
    #[pyo3(signature = (name = None))]
    fn add_consumer<'py>(&self, py: Python<'py>, name: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, Consumer>> {
        let name = name.map(|name| arguments::text("name", name)).transpose()?;
        let member = self.group.add_consumer(name).map_err(|error| errors::raise(py, error, &self.queue.get().name))?;
        self.queue.get().enter(member.id(), None);
        Queue::object_of(self.queue.bind(py), member)
    }

    #[doc = doc!(ConsumerGroup.stats)]
    fn stats(&self, py: Python<'_>) -> PyResult<GroupStats> {
        self.figures(py).map(GroupStats::from)
    }

    #[doc = doc!(ConsumerGroup.close)]
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let members = self.group.members();
        let queue = self.queue.get();
        aio::waking(|| {
            self.group.close();
            queue.forget_group(self.name.bind(py).to_str()?, &self.group);
            members.iter().for_each(|member| {
                queue.remove(member);
            });
            Ok(())
        })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (name, queue) = (self.name.bind(py).repr()?, self.queue.get().name.bind(py).repr()?);
        Ok(match self.group.stats() {
            Ok(figures) => format!(
                "<ConsumerGroup {name} of {queue}: {} unread, {} pending, {} missed>",
                figures.unread, figures.pending, figures.missed
            ),
            Err(_) => format!("<ConsumerGroup {name} of {queue}: closed>"),
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(message::not_copied("ConsumerGroup", "its position is shared by the threads of one process"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}

/// The queue for dead letters, checked.
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
