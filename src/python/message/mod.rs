//! `Message` and `Event`.

pub(super) mod memory;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyString};
use uuid::{Builder, Uuid, Variant, Version};

use super::aio::mailbox::waking;
use super::arguments::Delay;
use super::engine::{Engine, WeakEngine};
use super::errors;
use super::host::detach::{self, FREE_THREADED};
use crate::{Delivery, Receipt, Settle, Topic};

/// The data of a message that is taken out under the lock. The object is created later, because creating it may run
/// Python code.
pub(super) struct Draft {
    payload: Py<PyAny>,
    seq: u64,
    size: u64,
    created: u64,
    pub(super) missed: u64,
    deliveries: u32,
    /// Fields that few messages have.
    extra: Option<Box<Extra>>,
}

/// Fields that few messages have.
#[derive(Clone, Default)]
struct Extra {
    /// The receipt to settle it with, in an acknowledging group.
    receipt: Option<Receipt>,
    topic: Option<Topic>,
}

impl Extra {
    #[cold]
    fn of(delivery: &Delivery<'_, Py<PyAny>>) -> Option<Box<Self>> {
        Some(Box::new(Extra { receipt: delivery.receipt, topic: delivery.topic.cloned() }))
    }
}

/// What messages know of their queue, without keeping it alive.
#[pyclass(module = "mpmc_queue", frozen)]
pub(super) struct Source {
    name: Py<PyString>,
    /// Distinguishes the ids of this queue's messages from those of other queues.
    salt: u32,
    engine: WeakEngine,
}

impl Source {
    pub(super) fn new(name: Bound<'_, PyString>, engine: &Engine) -> Self {
        Source { name: name.unbind(), salt: Uuid::new_v4().as_u128() as u32, engine: engine.downgrade() }
    }

    /// The source for a consumer's messages. If threads run in parallel it is a separate object with the same contents,
    /// so that two consumers do not share the reference count that each of their messages changes.
    pub(super) fn of_consumer(py: Python<'_>, of_queue: &Py<Source>) -> Py<Source> {
        let shared = || of_queue.clone_ref(py);
        if !FREE_THREADED {
            return shared();
        }
        let Source { name, salt, engine } = of_queue.get();
        let own = Source { name: name.clone_ref(py), salt: *salt, engine: engine.clone() };
        Py::new(py, own).unwrap_or_else(|_| shared())
    }
}

impl Draft {
    #[inline(always)]
    pub(super) fn new(py: Python<'_>, delivery: &Delivery<'_, Py<PyAny>>) -> Self {
        Draft {
            payload: delivery.payload.clone_ref(py),
            seq: delivery.seq,
            size: delivery.size,
            created: delivery.created,
            missed: delivery.missed,
            deliveries: delivery.deliveries,
            extra: match delivery.receipt.is_none() && delivery.topic.is_none() {
                true => None,
                false => Extra::of(delivery),
            },
        }
    }

    fn receipt(&self) -> Option<&Receipt> {
        self.extra.as_ref()?.receipt.as_ref()
    }
}

#[doc = doc!(Message)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Message {
    source: Py<Source>,
    pub(super) draft: Draft,
    /// Whether the message has been settled.
    is_settled: AtomicBool,
}

impl Message {
    /// Settles a delivery that the caller never receives, because its member has skipped it.
    pub(super) fn pass_over(&self, py: Python<'_>) {
        if self.draft.receipt().is_some() {
            // It is the first settlement, so there is no error, and it does not matter whether it is too late.
            let _ = self.settle(py, Settle::Ack);
        }
    }

    fn settle(&self, py: Python<'_>, how: Settle) -> PyResult<bool> {
        let Some(receipt) = self.draft.receipt() else {
            let message = "this message needs no settling: only deliveries of a group with ack_wait do";
            return Err(errors::settling(py, message, &self.source.get().name));
        };
        let is_settled = match how {
            Settle::InProgress => self.is_settled.load(Ordering::SeqCst),
            _ => self.is_settled.swap(true, Ordering::SeqCst),
        };
        if is_settled {
            return Err(errors::settling(
                py,
                "this delivery has been settled: ack, nack and term come once",
                &self.source.get().name,
            ));
        }
        waking(|| Ok(self.source.get().engine.upgrade().is_some_and(|engine| engine.settle(receipt, how))))
    }
}

/// The id of a message: a UUIDv7 ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)). It consists of the
/// millisecond in which the message was created, then 42 bits of its seq, which keep the ids of one queue in order,
/// then 32 bits that distinguish the queue from others.
pub(super) fn id(created: u64, seq: u64, salt: u32) -> Uuid {
    let milliseconds = u128::from(created / 1_000_000) & ((1 << 48) - 1);
    let seq = u128::from(seq) & ((1 << 42) - 1);
    // 48 bits of time, 4 of version, 12 of the seq, 2 of variant, 30 of the seq, 32 of the queue
    let bits = milliseconds << 80 | (seq >> 30) << 64 | (seq & ((1 << 30) - 1)) << 32 | u128::from(salt);
    Builder::from_u128(bits).with_version(Version::SortRand).with_variant(Variant::RFC4122).into_uuid()
}

/// Converts an id to Python's `UUID`, whose class is written in Python.
pub(super) fn uuid(py: Python<'_>, id: Uuid) -> PyResult<Bound<'_, PyAny>> {
    detach::call_out(py, || id.into_pyobject(py))
}

/// An aware datetime in UTC for nanoseconds since the epoch.
pub(super) fn datetime(py: Python<'_>, wall: u64) -> PyResult<Bound<'_, PyDateTime>> {
    (UNIX_EPOCH + Duration::from_nanos(wall)).into_pyobject(py)
}

/// Converts nanoseconds to seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

/// The error of a class whose objects can be neither copied nor pickled.
pub(super) fn not_copied(class: &str, why: &str) -> PyErr {
    PyTypeError::new_err(format!("cannot copy or pickle a {class}: {why}"))
}

#[pymethods]
impl Message {
    #[doc = doc!(Message.id)]
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        uuid(py, id(self.draft.created, self.draft.seq, self.source.get().salt))
    }

    #[doc = doc!(Message.seq)]
    #[getter]
    fn seq(&self) -> u64 {
        self.draft.seq
    }

    #[doc = doc!(Message.payload)]
    #[getter]
    fn payload(&self, py: Python<'_>) -> Py<PyAny> {
        self.draft.payload.clone_ref(py)
    }

    #[doc = doc!(Message.topic)]
    #[getter]
    fn topic(&self) -> Option<&str> {
        self.draft.extra.as_ref()?.topic.as_ref().map(Topic::as_str)
    }

    #[doc = doc!(Message.size)]
    #[getter]
    fn size(&self) -> u64 {
        self.draft.size
    }

    #[doc = doc!(Message.created)]
    #[getter]
    fn created<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.draft.created)
    }

    #[doc = doc!(Message.created_ns)]
    #[getter]
    fn created_ns(&self) -> u64 {
        self.draft.created
    }

    #[doc = doc!(Message.events)]
    #[getter]
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let source = self.source.get();
        let enqueued = Event { timestamp: self.draft.created, queue: source.name.clone_ref(py), consumer: None };
        let mut events = vec![Py::new(py, enqueued)?];
        let readings = source.engine.upgrade().map(|engine| engine.readings(self.draft.seq));
        for (id, at) in readings.unwrap_or_default() {
            let read = Event { timestamp: at * 1000, queue: source.name.clone_ref(py), consumer: Some(id) };
            events.push(Py::new(py, read)?);
        }
        PyList::new(py, events)
    }

    #[doc = doc!(Message.missed)]
    #[getter]
    fn missed(&self) -> u64 {
        self.draft.missed
    }

    #[doc = doc!(Message.deliveries)]
    #[getter]
    fn deliveries(&self) -> u32 {
        self.draft.deliveries
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Message {}: {}>", self.draft.seq, self.draft.payload.bind(py).repr()?))
    }

    #[doc = doc!(Message.ack)]
    fn ack(&self, py: Python<'_>) -> PyResult<bool> {
        self.settle(py, Settle::Ack)
    }

    #[doc = doc!(Message.nack)]
    #[pyo3(signature = (delay = Delay(0)), text_signature = "($self, delay=0.0)")]
    fn nack(&self, py: Python<'_>, delay: Delay) -> PyResult<bool> {
        self.settle(py, Settle::Nack(delay.0))
    }

    #[doc = doc!(Message.term)]
    fn term(&self, py: Python<'_>) -> PyResult<bool> {
        self.settle(py, Settle::Term)
    }

    #[doc = doc!(Message.in_progress)]
    fn in_progress(&self, py: Python<'_>) -> PyResult<bool> {
        self.settle(py, Settle::InProgress)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_copied("Message", "it is one delivery of its queue; copy or pickle its payload"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.draft.payload)
    }
}

#[doc = doc!(Event)]
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct Event {
    /// Nanoseconds since the epoch.
    timestamp: u64,
    queue: Py<PyString>,
    consumer: Option<Uuid>,
}

#[pymethods]
impl Event {
    #[doc = doc!(Event.kind)]
    #[getter]
    fn kind(&self) -> &'static str {
        if self.consumer.is_some() { "dequeue" } else { "enqueue" }
    }

    #[doc = doc!(Event.timestamp)]
    #[getter]
    fn timestamp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.timestamp)
    }

    #[doc = doc!(Event.queue)]
    #[getter]
    fn queue(&self, py: Python<'_>) -> Py<PyString> {
        self.queue.clone_ref(py)
    }

    #[doc = doc!(Event.consumer_id)]
    #[getter]
    fn consumer_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.consumer.map(|id| uuid(py, id)).transpose()
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
