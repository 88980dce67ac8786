//! `Message` and `Event`.

use std::cell::RefCell;
use std::hint::cold_path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyDateTime, PyList, PyString};
use uuid::{Builder, Uuid, Variant, Version};

use super::aio::mailbox::waking;
use super::arguments::Delay;
use super::engine::{Engine, WeakEngine};
use super::errors;
use super::host::detach::{self, FREE_THREADED};
use crate::{Clock, Delivery, ManualClock, Now, Options, Receipt, Settle, Topic};

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

    pub(super) fn finish<'py>(self, py: Python<'py>, source: &Py<Source>) -> PyResult<Bound<'py, Message>> {
        allocate(py, Message { source: source.clone_ref(py), draft: self, is_settled: AtomicBool::new(false) })
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

/// Frees a message the way an extension in C does. This is a large part of what a message costs. PyO3 would count the
/// thread's attachment for it, and check that count for each reference it drops.
///
/// # Safety
///
/// What CPython promises a `tp_dealloc`: the thread is attached, and nobody else has a reference to `slf`, a message.
unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: the caller's promise. Every field that is to be dropped is read out once, and then the memory is freed.
    // The address of weak references is where the class says that it is. The object's class is kept alive by the
    // object.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        let class = ffi::Py_TYPE(slf);
        if !slf.byte_offset((*class).tp_weaklistoffset).cast::<*mut ffi::PyObject>().read().is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        let this = Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Message>();
        let Message { source, draft, is_settled: _ } = this.get();
        let payload = draft.payload.as_ptr();
        ffi::Py_DECREF(source.as_ptr());
        if draft.extra.is_some() {
            cold_path();
            drop(ptr::read(&draft.extra));
        }
        ffi::PyObject_GC_Del(slf.cast());
        if ffi::Py_TYPE(payload) == class {
            let_go(payload);
        } else {
            ffi::Py_DECREF(payload);
        }
        // Without the GIL, CPython counts the instances of a class in each thread. But an extension can only use the
        // count that all threads share, and two readers would contend for it. The class lives as long as the process
        // anyway.
        if !FREE_THREADED {
            ffi::Py_DECREF(class.cast());
        }
    }
}

/// Releases a message that another one carried. They may form a long chain. So they are freed one after the other
/// instead of recursively, which would use stack space for each.
///
/// # Safety
///
/// The thread is attached, and the caller owns the reference.
#[cold]
unsafe fn let_go(message: *mut ffi::PyObject) {
    thread_local! {
        /// Messages that the call that frees the first one still has to free; None: there is no such call.
        static CHAIN: RefCell<Option<Vec<*mut ffi::PyObject>>> = const { RefCell::new(None) };
    }
    let is_left_to_others = CHAIN.try_with(|chain| match &mut *chain.borrow_mut() {
        Some(others) => {
            others.push(message);
            true
        }
        nobody => {
            *nobody = Some(Vec::new());
            false
        }
    });
    // SAFETY: the caller's promise, which also holds for the references in the list. Nothing is borrowed while
    // something is freed.
    unsafe {
        if is_left_to_others == Ok(true) {
            return;
        }
        ffi::Py_DECREF(message);
        let next = || CHAIN.try_with(|chain| chain.borrow_mut().as_mut().and_then(Vec::pop)).ok().flatten();
        while let Some(message) = next() {
            ffi::Py_DECREF(message);
        }
    }
    let _ = CHAIN.try_with(|chain| chain.borrow_mut().take());
}

/// The offset of the fields in the memory of a message object; 0: not known.
static FIELDS: AtomicUsize = AtomicUsize::new(0);

/// Creates a message object the way an extension in C does. PyO3 would call `object.__new__` with an empty tuple, which
/// is a third of the cost of a message.
fn allocate(py: Python<'_>, message: Message) -> PyResult<Bound<'_, Message>> {
    let fields = FIELDS.load(Ordering::Relaxed);
    if fields == 0 {
        return Bound::new(py, message);
    }
    // The class itself, not a reference of ours to it, because two readers would contend for its count.
    let class = Message::type_object_raw(py);
    // SAFETY: the class allocates its instances zeroed, with their header in place. Everything else that PyO3 keeps in
    // an instance is all zeros at first, as `install` has checked. The fields are written once, before anybody else
    // sees them: an allocation may run the garbage collector, but only starts to track the object at its end, and no
    // code that is ours runs after it.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        object.as_ptr().byte_add(fields).cast::<Message>().write(message);
        Ok(object.cast_into_unchecked())
    }
}

/// Called once, when the module is first imported.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    // On a manual clock, because an import measures nothing and starts nothing.
    let clock = Clock::Manual(ManualClock::at(Now::default()));
    let queue = Engine::new(&Options { clock, ..Options::default() });
    let source = Py::new(py, Source::new(PyString::new(py, "sample"), &queue))?;
    let draft = Draft { payload: py.None(), seq: 0, size: 0, created: 0, missed: 0, deliveries: 0, extra: None };
    let sample = Bound::new(py, Message { source, draft, is_settled: AtomicBool::new(false) })?;
    let fields = ptr::from_ref(sample.get()).addr() - sample.as_ptr().addr();
    let class = py.get_type::<Message>().as_type_ptr();
    // SAFETY: an object has as many bytes as its class says. The class was created just now: no other thread has it
    // yet.
    unsafe {
        let end = fields + size_of::<Message>();
        let rest = std::slice::from_raw_parts(
            sample.as_ptr().byte_add(end).cast::<u8>(),
            (*class).tp_basicsize as usize - end,
        );
        if fields == size_of::<ffi::PyObject>() && rest.iter().all(|&byte| byte == 0) {
            FIELDS.store(fields, Ordering::Relaxed);
        }
        (*class).tp_dealloc = Some(dealloc);
    }
    Ok(())
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
