//! `Queue`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyRange, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};
use uuid::Uuid;

use super::arguments::{self, Audit, MaxBytes, MaxItems, OnMissed, StartAt, Timeout, Ttl};
use super::consumer::{Consumer, EngineConsumer};
use super::stats::{ConsumerStats, QueueStats};
use super::waiting::{Interpreter, block};
use super::{errors, lifecycle, message, size};
use crate::budget::Need;
use crate::state::{Ticket, What};
use crate::{Clock, Error, Full, Lifetime, Limit, MissedPolicy, Options, Start};

/// The engine's queue, of Python objects.
pub(crate) type Engine = crate::Queue<Py<PyAny>, Interpreter>;

/// Messages that one hold of the interpreter takes in or hands out at the most, before other threads may have it.
pub(super) const SLICE: usize = 10_000;

/// What the queue keeps of a consumer, whether or not anybody holds its object.
struct Registered {
    /// A weak reference to the object.
    object: Option<Py<PyWeakrefReference>>,
    /// Called when messages were missed.
    on_missed: Option<Py<PyAny>>,
}

/// See the stub, `_mpmc_queue.pyi`, for what users are told.
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Queue {
    pub(super) engine: Engine,
    pub(super) name: Py<PyString>,
    /// Nanoseconds since the epoch.
    created: u64,
    /// Tells this queue's messages from those of others, in their ids.
    pub(super) salt: u32,
    /// Whether there is a sizer: the lock beside it is taken only then.
    has_sizer: AtomicBool,
    sizer: Mutex<Option<Py<PyAny>>>,
    /// The consumers, by id.
    registered: Mutex<HashMap<Uuid, Registered>>,
}

impl Queue {
    fn size(&self, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        if self.has_sizer.load(Ordering::Relaxed) {
            return self.ask_sizer(payload);
        }
        Ok(size::deep_size(payload)? as u64)
    }

    #[cold]
    fn ask_sizer(&self, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = payload.py();
        let Some(sizer) = self.sizer.lock().as_ref().map(|sizer| sizer.clone_ref(py)) else { return Ok(0) };
        let answer = sizer.bind(py).call1((payload,))?;
        arguments::whole("what the sizer returns", 0, &answer)
    }

    /// Adds what `attempt` adds, waiting for space as long as `timeout` allows, and counts a refusal.
    fn admit(
        &self,
        py: Python<'_>,
        need: Need,
        timeout: Timeout,
        mut attempt: impl FnMut(Option<&Ticket>) -> Result<u64, Error>,
    ) -> PyResult<u64> {
        let mut refused = match attempt(None) {
            Ok(seq) => return Ok(seq),
            Err(error) => error,
        };
        if let Error::Full(full) = refused
            && !timeout.is_zero()
            && !full.is_hopeless()
        {
            let admitted = block(py, &self.engine, What::Space(need), timeout, |ticket| match attempt(ticket) {
                Ok(seq) => Ok(Some(Ok(seq))),
                Err(Error::Full(full)) if !full.is_hopeless() => {
                    refused = Error::Full(full);
                    Ok(None)
                }
                Err(error) => Ok(Some(Err(error))),
            })?;
            match admitted {
                Some(Ok(seq)) => return Ok(seq),
                Some(Err(error)) => refused = error,
                None => {}
            }
        }
        if let Error::Full(_) = refused {
            self.engine.reject(need);
        }
        Err(errors::raise(py, refused))
    }

    fn add(&self, payload: Bound<'_, PyAny>, timeout: Timeout) -> PyResult<u64> {
        let py = payload.py();
        let size = self.size(&payload)?;
        let mut payload = Some(payload.unbind());
        self.admit(py, Need::one(size), timeout, |ticket| {
            self.engine.try_enqueue(&mut payload, size, Lifetime::Queue, ticket)
        })
    }

    /// The payloads of a batch with their sizes. One that could never fit fails: with all its figures where its length
    /// is known, and otherwise as soon as it is past the limit, since it may have no end.
    fn collect(&self, payloads: &Bound<'_, PyAny>) -> PyResult<(Vec<(Py<PyAny>, u64)>, Need)> {
        let py = payloads.py();
        let mut need = Need { bytes: 0, items: 0 };
        let (max_bytes, max_items) = (self.engine.max_bytes(), self.engine.max_items().unwrap_or(u64::MAX));
        let length = payloads.len().unwrap_or(0) as u64;
        let mut batch = Vec::with_capacity((length as usize).min(SLICE));
        for payload in arguments::iterate("payloads", payloads)? {
            let payload = payload?;
            let size = self.size(&payload)?;
            need.bytes = need.bytes.saturating_add(size);
            need.items += 1;
            if need.charge() <= max_bytes && need.items <= max_items {
                batch.push((payload.unbind(), size));
            } else {
                batch.clear();
                if need.items >= length {
                    break;
                }
            }
            if need.items as usize % SLICE == 0 {
                lifecycle::breathe(py);
            }
        }
        if batch.len() as u64 == need.items {
            return Ok((batch, need));
        }
        if self.engine.is_closed() {
            return Err(errors::raise(py, Error::Closed));
        }
        self.engine.reject(need);
        let stats = self.engine.stats();
        let full = match need.charge() > max_bytes {
            true => Full { limit: Limit::Memory, current: stats.memory_usage, max: max_bytes, needed: need.charge() },
            false => Full { limit: Limit::Items, current: stats.total_items, max: max_items, needed: need.items },
        };
        Err(errors::raise(py, Error::Full(full)))
    }

    /// The object of a consumer: the one that somebody holds, or a new one.
    pub(super) fn object_of<'py>(slf: &Bound<'py, Self>, consumer: EngineConsumer) -> PyResult<Bound<'py, Consumer>> {
        let py = slf.py();
        let this = slf.get();
        let alive = |registered: Option<&Registered>| {
            let object = registered?.object.as_ref()?.bind(py).upgrade()?;
            object.cast_into::<Consumer>().ok()
        };
        if let Some(object) = alive(this.registered.lock().get(&consumer.id())) {
            return Ok(object);
        }
        let id = consumer.id();
        let object = Bound::new(py, Consumer::new(slf, consumer)?)?;
        let weak = PyWeakrefReference::new(&object)?.unbind();
        let mut registered = this.registered.lock();
        // Another thread may have been here meanwhile.
        if let Some(other) = alive(registered.get(&id)) {
            drop(registered);
            return Ok(other);
        }
        let before = registered.get_mut(&id).and_then(|entry| entry.object.replace(weak));
        drop(registered);
        drop(before);
        Ok(object)
    }

    /// What is called when the consumer has missed something.
    pub(super) fn on_missed(&self, py: Python<'_>, id: Uuid) -> Option<Py<PyAny>> {
        self.registered.lock().get(&id)?.on_missed.as_ref().map(|callback| callback.clone_ref(py))
    }

    /// Forgets a consumer.
    pub(super) fn remove(&self, consumer: &EngineConsumer) -> bool {
        let removed = consumer.close();
        let entry = self.registered.lock().remove(&consumer.id());
        drop(entry);
        removed
    }

    fn find(&self, id: Uuid) -> Option<EngineConsumer> {
        self.engine.consumers().into_iter().find(|consumer| consumer.id() == id)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        lifecycle::unregister(self.engine.number());
    }
}

/// An id, as a UUID or in its string form; None for a string that is none.
fn id_of(id: &Bound<'_, PyAny>) -> PyResult<Option<Uuid>> {
    if let Ok(text) = id.cast::<PyString>() {
        return Ok(Uuid::parse_str(&text.to_string_lossy()).ok());
    }
    id.extract::<Uuid>().map(Some).map_err(|_| {
        let kind = id.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("id must be a UUID or a str, not {kind}"))
    })
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (name, *, ttl = Ttl(Some(600_000_000_000)), max_bytes = MaxBytes(1_048_576), max_items = MaxItems(None),
                        sizer = None, audit = Audit(true)),
           text_signature = "(name, *, ttl=600.0, max_bytes=1048576, max_items=None, sizer=None, audit=True)")]
    fn new(
        name: &Bound<'_, PyAny>,
        ttl: Ttl,
        max_bytes: MaxBytes,
        max_items: MaxItems,
        sizer: Option<&Bound<'_, PyAny>>,
        audit: Audit,
    ) -> PyResult<Self> {
        arguments::text("name", name)?;
        let name = name.cast::<PyString>()?.clone().unbind();
        let sizer = arguments::callable("sizer", sizer)?;
        let engine = Engine::new(&Options {
            ttl: ttl.0,
            max_bytes: max_bytes.0,
            max_items: max_items.0,
            audit: audit.0,
            clock: Clock::System,
            ..Options::default()
        });
        lifecycle::register(engine.number(), engine.downgrade());
        Ok(Queue {
            created: engine.now().wall,
            engine,
            name,
            salt: Uuid::new_v4().as_u128() as u32,
            has_sizer: AtomicBool::new(sizer.is_some()),
            sizer: Mutex::new(sizer),
            registered: Mutex::new(HashMap::new()),
        })
    }

    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.name.clone_ref(py)
    }

    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        message::datetime(py, self.created)
    }

    #[getter]
    fn max_bytes(&self) -> u64 {
        self.engine.max_bytes()
    }

    #[setter]
    fn set_max_bytes(&self, max_bytes: MaxBytes) {
        self.engine.set_max_bytes(max_bytes.0);
    }

    #[getter]
    fn max_items(&self) -> Option<u64> {
        self.engine.max_items()
    }

    #[setter]
    fn set_max_items(&self, max_items: MaxItems) {
        self.engine.set_max_items(max_items.0);
    }

    // --- producing ----------------------------------------------------------------------------------------------------

    #[pyo3(signature = (payload, *, timeout = Timeout::NOW), text_signature = "($self, payload, *, timeout=0.0)")]
    fn enqueue(&self, payload: Bound<'_, PyAny>, timeout: Timeout) -> PyResult<u64> {
        self.add(payload, timeout)
    }

    #[pyo3(signature = (payloads, *, timeout = Timeout::NOW), text_signature = "($self, payloads, *, timeout=0.0)")]
    fn enqueue_batch<'py>(&self, payloads: &Bound<'py, PyAny>, timeout: Timeout) -> PyResult<Bound<'py, PyRange>> {
        let py = payloads.py();
        let (batch, need) = self.collect(payloads)?;
        // Nothing is taken from it before all of it is admitted.
        let mut batch = batch.into_iter();
        let first = self.admit(py, need, timeout, |ticket| {
            self.engine.try_enqueue_batch(&mut batch, need, Lifetime::Queue, ticket)
        })?;
        PyRange::new(py, first as isize, (first + need.items) as isize)
    }

    #[pyo3(signature = (item, block = true, timeout = Timeout::Never),
           text_signature = "($self, item, block=True, timeout=None)")]
    fn put(&self, item: Bound<'_, PyAny>, block: bool, timeout: Timeout) -> PyResult<()> {
        self.add(item, if block { timeout } else { Timeout::NOW }).map(|_| ())
    }

    fn put_nowait(&self, item: Bound<'_, PyAny>) -> PyResult<()> {
        self.add(item, Timeout::NOW).map(|_| ())
    }

    // --- consumers ----------------------------------------------------------------------------------------------------

    #[pyo3(signature = (name = None, *, start = StartAt(Start::Earliest), on_missed = OnMissed::Skip),
           text_signature = "($self, name=None, *, start='earliest', on_missed='skip')")]
    fn add_consumer<'py>(
        slf: &Bound<'py, Self>,
        name: Option<&Bound<'py, PyAny>>,
        start: StartAt,
        on_missed: OnMissed,
    ) -> PyResult<Bound<'py, Consumer>> {
        let py = slf.py();
        let this = slf.get();
        let name = name.map(|name| arguments::text("name", name)).transpose()?;
        let (policy, callback) = match on_missed {
            OnMissed::Skip => (MissedPolicy::Skip, None),
            OnMissed::Raise => (MissedPolicy::Tell, None),
            OnMissed::Call(callback) => (MissedPolicy::Tell, Some(callback)),
        };
        let consumer = this.engine.add_consumer(name, start.0, policy).map_err(|error| match error {
            Error::BeyondEnd(next) => arguments::beyond_end("start", start.0, next),
            error => errors::raise(py, error),
        })?;
        this.registered.lock().insert(consumer.id(), Registered { object: None, on_missed: callback });
        Self::object_of(slf, consumer)
    }

    fn get_consumer<'py>(slf: &Bound<'py, Self>, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Consumer>>> {
        let found = id_of(id)?.and_then(|id| slf.get().find(id));
        found.map(|consumer| Self::object_of(slf, consumer)).transpose()
    }

    fn remove_consumer(slf: &Bound<'_, Self>, consumer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let this = slf.get();
        let found = match consumer.cast::<Consumer>() {
            Ok(consumer) if !consumer.get().consumer.queue().is(&this.engine) => return Ok(false),
            Ok(consumer) => Some(consumer.get().consumer.clone()),
            Err(_) => match id_of(consumer) {
                Ok(id) => id.and_then(|id| this.find(id)),
                Err(_) => {
                    let kind = consumer.get_type().name()?.to_string();
                    let message = format!("consumer must be a Consumer, a UUID or a str, not {kind}");
                    return Err(PyTypeError::new_err(message));
                }
            },
        };
        Ok(found.is_some_and(|consumer| this.remove(&consumer)))
    }

    #[getter]
    fn consumers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let consumers = slf.get().engine.consumers();
        let objects: Vec<_> =
            consumers.into_iter().map(|consumer| Self::object_of(slf, consumer)).collect::<PyResult<_>>()?;
        PyTuple::new(slf.py(), objects)
    }

    // --- expiration ---------------------------------------------------------------------------------------------------

    #[getter]
    fn ttl(&self) -> Option<f64> {
        self.engine.ttl().map(message::seconds)
    }

    #[setter]
    fn set_ttl(&self, ttl: Ttl) {
        self.engine.set_ttl(ttl.0);
    }

    #[getter]
    fn expiration_enabled(&self) -> bool {
        self.engine.expires()
    }

    fn enable_expiration(&self) {
        self.engine.set_expires(true);
    }

    fn disable_expiration(&self) {
        self.engine.set_expires(false);
    }

    fn force_expiration(&self) -> u64 {
        self.engine.force_expiration()
    }

    // --- looking ------------------------------------------------------------------------------------------------------

    fn stats(&self, py: Python<'_>) -> QueueStats {
        QueueStats::new(py, self.engine.stats(), &self.name, self.created)
    }

    fn consumer_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let stats: Vec<_> = self.engine.consumer_stats().into_iter().map(ConsumerStats::from).collect();
        PyList::new(py, stats)
    }

    fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    #[getter]
    fn memory_usage(&self) -> u64 {
        self.engine.memory_usage()
    }

    #[getter]
    fn closed(&self) -> bool {
        self.engine.is_closed()
    }

    fn __len__(&self) -> usize {
        self.engine.len() as usize
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let stats = self.engine.stats();
        let closed = if self.engine.is_closed() { ", closed" } else { "" };
        Ok(format!(
            "<Queue {}: {} messages, {} of {} bytes, {} consumers{closed}>",
            self.name.bind(py).repr()?,
            stats.total_items,
            stats.memory_usage,
            stats.max_bytes,
            stats.consumers
        ))
    }

    // --- ending -------------------------------------------------------------------------------------------------------

    #[pyo3(signature = (*, immediate = false))]
    fn close(&self, immediate: bool) {
        self.engine.close(immediate);
    }

    #[pyo3(signature = (immediate = false))]
    fn shutdown(&self, immediate: bool) {
        self.engine.close(immediate);
    }

    #[pyo3(signature = (timeout = Timeout::Never), text_signature = "($self, timeout=None)")]
    fn join(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        let joined = block(py, &self.engine, What::Joined, timeout, |_| Ok(self.engine.is_joined().then_some(())))?;
        Ok(joined.is_some())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyTuple>) {
        self.engine.close(false);
    }

    // --- the object ---------------------------------------------------------------------------------------------------

    fn __reduce__(&self) -> PyResult<()> {
        Err(message::not_copied("Queue", "it is shared by the threads of one process"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut result = Ok(());
        self.engine.each_payload(lifecycle::is_forking(), |payload| {
            if result.is_ok() {
                result = visit.call(payload);
            }
        });
        result?;
        if self.has_sizer.load(Ordering::Relaxed) {
            visit.call(&*self.sizer.lock())?;
        }
        for registered in self.registered.lock().values() {
            visit.call(&registered.on_missed)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.engine.clear();
        let sizer = self.sizer.lock().take();
        let registered = std::mem::take(&mut *self.registered.lock());
        drop((sizer, registered));
    }
}
