//! `Message` and `Event`.

use std::time::{Duration, UNIX_EPOCH};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyString};
use uuid::{Builder, Uuid, Variant, Version};

use super::queue::Queue;
use crate::Delivery;

/// What is taken out under the lock, before there is an object to put it in: making one may run Python code.
pub(super) struct Draft {
    payload: Py<PyAny>,
    seq: u64,
    size: u64,
    created: u64,
    pub(super) missed: u64,
    deliveries: u32,
}

impl Draft {
    pub(super) fn new(py: Python<'_>, delivery: &Delivery<'_, Py<PyAny>>) -> Self {
        Draft {
            payload: delivery.payload.clone_ref(py),
            seq: delivery.seq,
            size: delivery.size,
            created: delivery.created,
            missed: delivery.missed,
            deliveries: delivery.deliveries,
        }
    }

    pub(super) fn finish<'py>(self, py: Python<'py>, queue: &Py<Queue>) -> PyResult<Bound<'py, Message>> {
        Bound::new(py, Message { queue: queue.clone_ref(py), draft: self })
    }
}

/// See the stub, `_mpmc_queue.pyi`, for what users are told.
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Message {
    queue: Py<Queue>,
    draft: Draft,
}

/// The id of a message: a UUIDv7 ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)) of the millisecond in
/// which it was created, then 42 bits of its seq, which keep the ids of one queue in order, then 32 bits that tell the
/// queue from others.
pub(super) fn id(created: u64, seq: u64, salt: u32) -> Uuid {
    let milliseconds = u128::from(created / 1_000_000) & ((1 << 48) - 1);
    let seq = u128::from(seq) & ((1 << 42) - 1);
    // 48 bits of time, 4 of version, 12 of the seq, 2 of variant, 30 of the seq, 32 of the queue
    let bits = milliseconds << 80 | (seq >> 30) << 64 | (seq & ((1 << 30) - 1)) << 32 | u128::from(salt);
    Builder::from_u128(bits).with_version(Version::SortRand).with_variant(Variant::RFC4122).into_uuid()
}

/// An aware datetime in UTC for nanoseconds since the epoch.
pub(super) fn datetime(py: Python<'_>, wall: u64) -> PyResult<Bound<'_, PyDateTime>> {
    (UNIX_EPOCH + Duration::from_nanos(wall)).into_pyobject(py)
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

/// The error of a class whose objects are neither copied nor pickled.
pub(super) fn not_copied(class: &str, why: &str) -> PyErr {
    PyTypeError::new_err(format!("cannot copy or pickle a {class}: {why}"))
}

#[pymethods]
impl Message {
    #[getter]
    fn id(&self) -> Uuid {
        id(self.draft.created, self.draft.seq, self.queue.get().salt)
    }

    #[getter]
    fn seq(&self) -> u64 {
        self.draft.seq
    }

    #[getter]
    fn payload(&self, py: Python<'_>) -> Py<PyAny> {
        self.draft.payload.clone_ref(py)
    }

    #[getter]
    fn size(&self) -> u64 {
        self.draft.size
    }

    #[getter]
    fn created<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.draft.created)
    }

    #[getter]
    fn created_ns(&self) -> u64 {
        self.draft.created
    }

    #[getter]
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let queue = self.queue.get();
        let enqueued = Event { timestamp: self.draft.created, queue: queue.name.clone_ref(py), consumer: None };
        let mut events = vec![Py::new(py, enqueued)?];
        for (id, at) in queue.engine.readings(self.draft.seq) {
            let read = Event { timestamp: at * 1000, queue: queue.name.clone_ref(py), consumer: Some(id) };
            events.push(Py::new(py, read)?);
        }
        PyList::new(py, events)
    }

    #[getter]
    fn missed(&self) -> u64 {
        self.draft.missed
    }

    #[getter]
    fn deliveries(&self) -> u32 {
        self.draft.deliveries
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Message {}: {}>", self.draft.seq, self.draft.payload.bind(py).repr()?))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_copied("Message", "it is one delivery of its queue; copy or pickle its payload"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)?;
        visit.call(&self.draft.payload)
    }
}

/// See the stub, `_mpmc_queue.pyi`, for what users are told.
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct Event {
    /// Nanoseconds since the epoch.
    timestamp: u64,
    queue: Py<PyString>,
    consumer: Option<Uuid>,
}

#[pymethods]
impl Event {
    #[getter]
    fn kind(&self) -> &'static str {
        if self.consumer.is_some() { "dequeue" } else { "enqueue" }
    }

    #[getter]
    fn timestamp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.timestamp)
    }

    #[getter]
    fn queue(&self, py: Python<'_>) -> Py<PyString> {
        self.queue.clone_ref(py)
    }

    #[getter]
    fn consumer_id(&self) -> Option<Uuid> {
        self.consumer
    }

    fn __eq__(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        let same = self.timestamp == other.timestamp && self.consumer == other.consumer;
        Ok(same && self.queue.bind(py).as_any().eq(other.queue.bind(py))?)
    }

    fn __hash__(&self) -> u64 {
        self.timestamp ^ self.consumer.map_or(0, |id| id.as_u64_pair().0)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let at = self.timestamp(py)?.call_method0("isoformat")?;
        Ok(match self.consumer {
            Some(id) => format!("<Event dequeue {at} by {id}>"),
            None => format!("<Event enqueue {at}>"),
        })
    }
}
