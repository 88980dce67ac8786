//! `Queue`.

use std::collections::HashMap;
use std::hint::cold_path;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{
    PyDateTime, PyDict, PyList, PyRange, PySet, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference,
};
use uuid::Uuid;

use super::aio::{self, Call, Futures, Operation};
use super::arguments::{
    self, Audit, MaxBytes, MaxItems, OnMissed, Overflows, OwnTtl, Retains, StartAt, Timeout, Truth, Ttl,
};
use super::consumer::{Consumer, EngineConsumer};
use super::group::{self, ConsumerGroup, EngineGroup};
use super::message::{Draft, Message, Source};
use super::seq::LastSeq;
use super::stats::{ConsumerStats, GroupStats, QueueStats};
use super::waiting::{Interpreter, block};
use super::{errors, lifecycle, message, size};
use crate::need::Need;
use crate::wait::list::{Condition, Ticket};
use crate::{Clock, Error, Full, Lifetime, Limit, MissedPolicy, Options, Overflow, Retention, Start};

/// The engine's queue, of Python objects.
pub(crate) type Engine = crate::Queue<Py<PyAny>, Interpreter>;

/// Messages that one hold of the interpreter takes in or hands out at the most, before other threads may have it.
pub(super) const SLICE: usize = 10_000;

/// What the queue keeps of a group, whether or not anybody holds its object.
struct RegisteredGroup {
    /// A weak reference to the object.
    object: Option<Py<PyWeakrefReference>>,
    /// Kept for the group.
    dead_letter: Option<Py<Queue>>,
}

/// What the queue keeps of a consumer, whether or not anybody holds its object.
struct Registered {
    /// A weak reference to the object.
    object: Option<Py<PyWeakrefReference>>,
    /// Called when messages were missed.
    on_missed: Option<Py<PyAny>>,
}

#[doc = doc!(Queue)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Queue {
    pub(super) engine: Engine,
    pub(super) name: Py<PyString>,
    /// Nanoseconds since the epoch.
    created: u64,
    /// Whether there is a sizer: the lock beside it is taken only then.
    has_sizer: AtomicBool,
    sizer: Mutex<Option<Py<PyAny>>>,
    /// The consumers, by id.
    registered: Mutex<HashMap<Uuid, Registered>>,
    /// What asynchronous calls wait on.
    pub(super) futures: Arc<Futures>,
    /// The groups, by name.
    groups: Mutex<HashMap<String, RegisteredGroup>>,
    /// What messages know of the queue.
    pub(super) source: Py<Source>,
    /// The int that the last `enqueue` returned.
    pub(super) last_seq: LastSeq,
}

/// Payloads that go in together or not at all.
pub(super) struct Batch {
    /// With their sizes. Nothing is taken from it before all of it is admitted.
    payloads: std::vec::IntoIter<(Py<PyAny>, u64)>,
    need: Need,
    /// Why it was not admitted.
    refused: Error,
}

impl Batch {
    fn new(need: Need) -> Self {
        Batch { payloads: Vec::new().into_iter(), need, refused: Error::Closed }
    }

    pub(super) fn need(&self) -> Need {
        self.need
    }

    pub(super) fn payloads(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.payloads.as_slice().iter().map(|(payload, _)| payload)
    }
}

/// The objects in a list or tuple that cannot change while this is used: the thread keeps the interpreter, and so nobody
/// else gets to the list. Without the GIL that goes for tuples only.
#[derive(Clone)]
struct Settled<'a, 'py> {
    container: &'a Bound<'py, PyAny>,
    items: std::slice::Iter<'a, *mut ffi::PyObject>,
}

impl<'a, 'py> Settled<'a, 'py> {
    fn of(container: &'a Bound<'py, PyAny>) -> Option<Self> {
        let object = container.as_ptr();
        // SAFETY: the layouts of an exact list and tuple, whose length says how many objects there are. See above for
        // why they stay what they are; the reference keeps the container itself.
        let items = unsafe {
            if container.is_exact_instance_of::<PyTuple>() {
                let items = (&raw const (*object.cast::<ffi::PyTupleObject>()).ob_item).cast();
                std::slice::from_raw_parts(items, ffi::PyTuple_GET_SIZE(object) as usize)
            } else if !size::FREE_THREADED
                && container.is_exact_instance_of::<PyList>()
                && ffi::PyList_GET_SIZE(object) > 0
            {
                let items = (*object.cast::<ffi::PyListObject>()).ob_item.cast_const();
                std::slice::from_raw_parts(items, ffi::PyList_GET_SIZE(object) as usize)
            } else {
                return None;
            }
        };
        Some(Settled { container, items: items.iter() })
    }
}

impl<'a, 'py> Iterator for Settled<'a, 'py> {
    type Item = Borrowed<'a, 'py, PyAny>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let &object = self.items.next()?;
        // SAFETY: the container holds it, and the container does not change.
        Some(unsafe { Borrowed::from_ptr(self.container.py(), object) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl ExactSizeIterator for Settled<'_, '_> {}

/// How many payloads there are, where that is sure without asking; 0: it is not.
fn known_length(payloads: &Bound<'_, PyAny>) -> usize {
    let is_sure = payloads.is_exact_instance_of::<PyList>()
        || payloads.is_exact_instance_of::<PyTuple>()
        || payloads.is_exact_instance_of::<PySet>()
        || payloads.is_exact_instance_of::<PyDict>()
        || payloads.is_exact_instance_of::<PyRange>();
    if is_sure { payloads.len().unwrap_or(0) } else { 0 }
}

/// Seqs as a Python range.
pub(super) fn range(py: Python<'_>, seqs: Range<u64>) -> PyResult<Bound<'_, PyRange>> {
    PyRange::new(py, seqs.start as isize, seqs.end as isize)
}

impl Queue {
    pub(super) fn size(&self, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        if self.has_sizer.load(Ordering::Relaxed) {
            return self.ask_sizer(payload);
        }
        Ok(size::deep_size(payload)? as u64)
    }

    #[cold]
    fn ask_sizer(&self, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = payload.py();
        let Some(sizer) = self.sizer.lock().as_ref().map(|sizer| sizer.clone_ref(py)) else { return Ok(0) };
        let answer = lifecycle::call_out(py, || sizer.bind(py).call1((payload,)))?;
        arguments::whole("what the sizer returns", 0, &answer)
    }

    /// Adds one message in the usual case: its size is known at once, and there is room. None: nothing was done.
    #[inline(always)]
    pub(super) fn add_quickly(&self, payload: &Bound<'_, PyAny>) -> Option<u64> {
        if self.has_sizer.load(Ordering::Relaxed) {
            cold_path();
            return None;
        }
        let Some(size) = size::quick_size(payload) else {
            cold_path();
            return None;
        };
        let py = payload.py();
        let mut payload = Some(payload.clone().unbind());
        let seq = self.engine.enqueue_next(&mut payload, size as u64);
        if let Some(payload) = payload {
            cold_path();
            // What left may be the last reference to it, and its end may run Python code.
            lifecycle::call_out(py, || payload.drop_ref(py));
        }
        seq
    }

    /// Adds one message, waiting for space as long as `timeout` allows.
    fn add(&self, payload: Bound<'_, PyAny>, lifetime: Lifetime, timeout: Timeout) -> PyResult<u64> {
        let py = payload.py();
        let size = self.size(&payload)?;
        let mut payload = Some(payload.unbind());
        match aio::waking(|| Ok(self.engine.try_enqueue(&mut payload, size, lifetime, None)))? {
            Ok(seq) => Ok(seq),
            Err(error) => {
                let batch = Batch {
                    payloads: Vec::from_iter(payload.map(|payload| (payload, size))).into_iter(),
                    ..Batch::new(Need::one(size))
                };
                self.add_slowly(py, batch, error, lifetime, timeout).map(|seqs| seqs.start)
            }
        }
    }

    /// Waits for space, where that helps and the caller wants to, and counts a refusal.
    #[cold]
    fn add_slowly(
        &self,
        py: Python<'_>,
        mut batch: Batch,
        error: Error,
        lifetime: Lifetime,
        timeout: Timeout,
    ) -> PyResult<Range<u64>> {
        batch.refused = error;
        let can_wait = matches!(error, Error::Full(full) if !full.is_hopeless()) && !timeout.is_zero();
        let added = match can_wait {
            true => block(py, &self.engine, Condition::Space(batch.need), timeout, |ticket| {
                self.try_add(py, &mut batch, lifetime, ticket)
            })?,
            false => None,
        };
        added.ok_or_else(|| self.refusal(py, &batch))
    }

    /// Adds a batch; None: there is no room now.
    pub(super) fn try_add(
        &self,
        py: Python<'_>,
        batch: &mut Batch,
        lifetime: Lifetime,
        ticket: Option<&Ticket>,
    ) -> PyResult<Option<Range<u64>>> {
        let added = || Ok(self.engine.try_enqueue_batch(&mut batch.payloads, batch.need, lifetime, ticket));
        match aio::waking(added)? {
            Ok(first) => Ok(Some(first..first + batch.need.items)),
            Err(error) => {
                batch.refused = error;
                match error {
                    Error::Full(full) if !full.is_hopeless() => Ok(None),
                    _ => Err(self.refusal(py, batch)),
                }
            }
        }
    }

    /// Counts a refusal, and tells of it.
    pub(super) fn refusal(&self, py: Python<'_>, batch: &Batch) -> PyErr {
        if let Error::Full(_) = batch.refused {
            self.engine.reject(batch.need);
        }
        errors::raise(py, batch.refused, &self.name)
    }

    /// One payload as a batch.
    pub(super) fn batch_of_one(&self, payload: &Bound<'_, PyAny>) -> PyResult<Batch> {
        let size = self.size(payload)?;
        Ok(Batch { payloads: vec![(payload.clone().unbind(), size)].into_iter(), ..Batch::new(Need::one(size)) })
    }

    /// Adds what a list or tuple holds in the usual case: all sizes are known at once, and there is room. None: nothing
    /// was done.
    ///
    /// It is walked twice, first for the sizes, and nothing is put together in between: 2 to 3 times as fast.
    fn add_all_quickly(&self, payloads: &Bound<'_, PyAny>) -> Option<Range<u64>> {
        if self.has_sizer.load(Ordering::Relaxed) {
            return None;
        }
        let each = Settled::of(payloads).filter(|each| each.len() <= SLICE)?;
        let mut need = Need { bytes: 0, items: each.len() as u64 };
        for payload in each.clone() {
            need.bytes = need.bytes.saturating_add(size::quick_size(&payload)? as u64);
        }
        let sized = each.map(|payload| {
            let size = size::quick_size(&payload).unwrap_or(0) as u64;
            (Bound::clone(&payload).unbind(), size)
        });
        let first = self.engine.enqueue_batch_next(sized, need)?;
        Some(first..first + need.items)
    }

    /// The payloads of a batch with their sizes. One that could never fit fails: with all its figures where its length
    /// is known, and otherwise as soon as it is past the limit, since it may have no end.
    pub(super) fn collect(&self, payloads: &Bound<'_, PyAny>) -> PyResult<Batch> {
        let py = payloads.py();
        let mut need = Need { bytes: 0, items: 0 };
        let (max_bytes, max_items) = self.engine.limits();
        let max_items = max_items.unwrap_or(u64::MAX);
        let length = known_length(payloads);
        let mut batch = Vec::with_capacity(length.min(SLICE));
        // Whether to go on.
        let mut take = |payload: Bound<'_, PyAny>| {
            let size = self.size(&payload)?;
            need.bytes = need.bytes.saturating_add(size);
            need.items += 1;
            if need.charge() <= max_bytes && need.items <= max_items {
                batch.push((payload.unbind(), size));
            } else {
                batch.clear();
                if need.items >= length as u64 {
                    return Ok(false);
                }
            }
            if need.items.is_multiple_of(SLICE as u64) {
                lifecycle::breathe(py);
            }
            PyResult::Ok(true)
        };
        if let Ok(list) = payloads.cast_exact::<PyList>() {
            // Going on to the next one runs no Python code.
            for payload in list.iter() {
                if !take(payload)? {
                    break;
                }
            }
        } else {
            let mut payloads = lifecycle::call_out(py, || arguments::iterate("payloads", payloads))?;
            while let Some(payload) = lifecycle::call_out(py, || payloads.next()) {
                if !take(payload?)? {
                    break;
                }
            }
        }
        let mut collected = Batch { payloads: batch.into_iter(), ..Batch::new(need) };
        if collected.payloads.len() as u64 == need.items {
            return Ok(collected);
        }
        if !self.engine.is_closed() {
            let stats = self.engine.stats();
            collected.refused = Error::Full(match need.charge() > max_bytes {
                true => {
                    let current = stats.memory_usage;
                    Full { limit: Limit::Memory, current, max: max_bytes, needed: need.charge(), ahead: 0 }
                }
                false => Full {
                    limit: Limit::Items,
                    current: stats.total_items,
                    max: max_items,
                    needed: need.items,
                    ahead: 0,
                },
            });
        }
        Err(self.refusal(py, &collected))
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
        let object = Bound::new(py, Consumer::new(slf, consumer))?;
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

    /// The object of a group: the one that somebody holds, or a new one.
    pub(super) fn object_of_group<'py>(
        slf: &Bound<'py, Self>,
        group: EngineGroup,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, ConsumerGroup>> {
        let py = slf.py();
        let key = name.to_string_lossy();
        let alive = |registered: Option<&RegisteredGroup>| {
            let object = registered?.object.as_ref()?.bind(py).upgrade()?;
            object.cast_into::<ConsumerGroup>().ok()
        };
        if let Some(object) = alive(slf.get().groups.lock().get(&*key)) {
            return Ok(object);
        }
        let object = Bound::new(py, ConsumerGroup::new(slf, group, name))?;
        let weak = PyWeakrefReference::new(&object)?.unbind();
        let mut groups = slf.get().groups.lock();
        // Another thread may have been here meanwhile.
        if let Some(other) = alive(groups.get(&*key)) {
            drop(groups);
            return Ok(other);
        }
        let before = groups.get_mut(&*key).and_then(|entry| entry.object.replace(weak));
        drop(groups);
        drop(before);
        Ok(object)
    }

    /// Forgets a group that was closed.
    pub(super) fn forget_group(&self, name: &str, group: &EngineGroup) {
        // Another of that name may have been added meanwhile.
        let is_replaced = self.engine.group(name).is_some_and(|other| other.serial() != group.serial());
        if !is_replaced {
            let entry = self.groups.lock().remove(name);
            drop(entry);
        }
    }

    /// Keeps a consumer in the register.
    pub(super) fn enter(&self, id: Uuid, on_missed: Option<Py<PyAny>>) {
        self.registered.lock().insert(id, Registered { object: None, on_missed });
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

    fn end(&self, immediate: bool) -> PyResult<()> {
        aio::waking(|| {
            self.engine.close(immediate);
            Ok(())
        })
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
                        retention = Retains(Retention::Limits), overflow = Overflows(Overflow::Reject),
                        sizer = None, audit = Audit(true)),
           text_signature = "(name, *, ttl=600.0, max_bytes=1048576, max_items=None, retention='limits', \
                             overflow='reject', sizer=None, audit=True)")]
    #[allow(clippy::too_many_arguments, reason = "the interface has that many")]
    fn new(
        name: &Bound<'_, PyAny>,
        ttl: Ttl,
        max_bytes: MaxBytes,
        max_items: MaxItems,
        retention: Retains,
        overflow: Overflows,
        sizer: Option<&Bound<'_, PyAny>>,
        audit: Audit,
    ) -> PyResult<Self> {
        arguments::text("name", name)?;
        let name = name.cast::<PyString>()?.clone();
        let sizer = arguments::callable("sizer", sizer)?;
        let engine = Engine::new(&Options {
            ttl: ttl.0,
            max_bytes: max_bytes.0,
            max_items: max_items.0,
            audit: audit.0,
            read_times: true,
            retention: retention.0,
            overflow: overflow.0,
            clock: Clock::System,
        });
        let source = Py::new(name.py(), Source::new(name.clone(), &engine))?;
        let name = name.unbind();
        lifecycle::register(engine.number(), engine.downgrade());
        Ok(Queue {
            created: engine.now().wall,
            engine,
            name,
            has_sizer: AtomicBool::new(sizer.is_some()),
            sizer: Mutex::new(sizer),
            registered: Mutex::new(HashMap::new()),
            futures: Arc::default(),
            groups: Mutex::new(HashMap::new()),
            source,
            last_seq: LastSeq::new(),
        })
    }

    #[doc = doc!(Queue.name)]
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.name.clone_ref(py)
    }

    #[doc = doc!(Queue.created_at)]
    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        message::datetime(py, self.created)
    }

    #[doc = doc!(Queue.max_bytes)]
    #[getter]
    fn max_bytes(&self) -> u64 {
        self.engine.max_bytes()
    }

    #[setter]
    fn set_max_bytes(&self, max_bytes: MaxBytes) -> PyResult<()> {
        aio::waking(|| {
            self.engine.set_max_bytes(max_bytes.0);
            Ok(())
        })
    }

    #[doc = doc!(Queue.max_items)]
    #[getter]
    fn max_items(&self) -> Option<u64> {
        self.engine.max_items()
    }

    #[setter]
    fn set_max_items(&self, max_items: MaxItems) -> PyResult<()> {
        aio::waking(|| {
            self.engine.set_max_items(max_items.0);
            Ok(())
        })
    }

    // --- producing ----------------------------------------------------------------------------------------------------

    #[doc = doc!(Queue.enqueue)]
    #[pyo3(signature = (payload, *, ttl = OwnTtl::NONE, timeout = Timeout::NOW),
           text_signature = "($self, payload, *, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=0.0)")]
    fn enqueue(&self, payload: Bound<'_, PyAny>, ttl: OwnTtl, timeout: Timeout) -> PyResult<u64> {
        self.add(payload, ttl.0, timeout)
    }

    #[doc = doc!(Queue.enqueue_batch)]
    #[pyo3(signature = (payloads, *, ttl = OwnTtl::NONE, timeout = Timeout::NOW),
           text_signature = "($self, payloads, *, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=0.0)")]
    fn enqueue_batch<'py>(
        &self,
        payloads: &Bound<'py, PyAny>,
        ttl: OwnTtl,
        timeout: Timeout,
    ) -> PyResult<Bound<'py, PyRange>> {
        let py = payloads.py();
        if ttl.0 == Lifetime::Queue
            && let Some(seqs) = self.add_all_quickly(payloads)
        {
            return range(py, seqs);
        }
        let mut batch = self.collect(payloads)?;
        let seqs = match self.try_add(py, &mut batch, ttl.0, None)? {
            Some(seqs) => seqs,
            None => {
                let refused = batch.refused;
                self.add_slowly(py, batch, refused, ttl.0, timeout)?
            }
        };
        range(py, seqs)
    }

    #[doc = doc!(Queue.put)]
    #[pyo3(signature = (item, block = Truth(true), timeout = None),
           text_signature = "($self, item, block=True, timeout=None)")]
    fn put(&self, item: Bound<'_, PyAny>, block: Truth, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = arguments::patience(block, timeout)?;
        self.add(item, Lifetime::Queue, timeout).map(|_| ())
    }

    #[doc = doc!(Queue.put_nowait)]
    fn put_nowait(&self, item: Bound<'_, PyAny>) -> PyResult<()> {
        self.add(item, Lifetime::Queue, Timeout::NOW).map(|_| ())
    }

    // --- consumers ----------------------------------------------------------------------------------------------------

    #[doc = doc!(Queue.add_consumer)]
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
            error => errors::raise(py, error, &this.name),
        })?;
        this.enter(consumer.id(), callback);
        Self::object_of(slf, consumer)
    }

    #[doc = doc!(Queue.add_group)]
    #[pyo3(signature = (name, *, start = StartAt(Start::Earliest), ack_wait = None, max_deliver = None, backoff = None,
                        max_ack_pending = None, dead_letter = None),
           text_signature = "($self, name, *, start='earliest', ack_wait=None, max_deliver=None, backoff=None, \
                             max_ack_pending=None, dead_letter=None)")]
    #[allow(clippy::too_many_arguments, reason = "the interface has that many")]
    fn add_group<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        start: StartAt,
        ack_wait: Option<&Bound<'py, PyAny>>,
        max_deliver: Option<&Bound<'py, PyAny>>,
        backoff: Option<&Bound<'py, PyAny>>,
        max_ack_pending: Option<&Bound<'py, PyAny>>,
        dead_letter: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, ConsumerGroup>> {
        let (py, this) = (slf.py(), slf.get());
        let text = arguments::text("name", name)?;
        let dead_letter = group::dead_letter(slf, dead_letter)?;
        let options = group::options(ack_wait, max_deliver, backoff, max_ack_pending, dead_letter.is_some())?;
        let letters = dead_letter.as_ref().map(group::letters);
        let made = this.engine.add_group(&text, start.0, &options, letters.transpose()?);
        let made = made.map_err(|error| group::not_added(this, py, error, &text, start.0))?;
        let entry = RegisteredGroup { object: None, dead_letter: dead_letter.map(Bound::unbind) };
        let before = this.groups.lock().insert(text, entry);
        drop(before);
        Self::object_of_group(slf, made, name.cast::<PyString>()?)
    }

    #[doc = doc!(Queue.get_group)]
    fn get_group<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, ConsumerGroup>>> {
        let text = arguments::text("name", name)?;
        let found = slf.get().engine.group(&text);
        found.map(|group| Self::object_of_group(slf, group, name.cast::<PyString>()?)).transpose()
    }

    #[doc = doc!(Queue.get_consumer)]
    fn get_consumer<'py>(slf: &Bound<'py, Self>, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Consumer>>> {
        let found = id_of(id)?.and_then(|id| slf.get().find(id));
        found.map(|consumer| Self::object_of(slf, consumer)).transpose()
    }

    #[doc = doc!(Queue.remove_consumer)]
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
        aio::waking(|| Ok(found.is_some_and(|consumer| this.remove(&consumer))))
    }

    #[doc = doc!(Queue.consumers)]
    #[getter]
    fn consumers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let consumers = slf.get().engine.consumers();
        let objects: Vec<_> =
            consumers.into_iter().map(|consumer| Self::object_of(slf, consumer)).collect::<PyResult<_>>()?;
        PyTuple::new(slf.py(), objects)
    }

    // --- expiration ---------------------------------------------------------------------------------------------------

    #[doc = doc!(Queue.ttl)]
    #[getter]
    fn ttl(&self) -> Option<f64> {
        self.engine.ttl().map(message::seconds)
    }

    #[setter]
    fn set_ttl(&self, ttl: Ttl) -> PyResult<()> {
        aio::waking(|| {
            self.engine.set_ttl(ttl.0);
            Ok(())
        })
    }

    #[doc = doc!(Queue.expiration_enabled)]
    #[getter]
    fn expiration_enabled(&self) -> bool {
        self.engine.expires()
    }

    #[doc = doc!(Queue.enable_expiration)]
    fn enable_expiration(&self) {
        self.engine.set_expires(true);
    }

    #[doc = doc!(Queue.disable_expiration)]
    fn disable_expiration(&self) {
        self.engine.set_expires(false);
    }

    #[doc = doc!(Queue.force_expiration)]
    fn force_expiration(&self) -> u64 {
        self.engine.force_expiration()
    }

    // --- looking ------------------------------------------------------------------------------------------------------

    #[doc = doc!(Queue.stats)]
    fn stats(&self, py: Python<'_>) -> QueueStats {
        QueueStats::new(py, self.engine.stats(), &self.name, self.created)
    }

    #[doc = doc!(Queue.consumer_stats)]
    fn consumer_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let stats: Vec<_> = self.engine.consumer_stats().into_iter().map(ConsumerStats::from).collect();
        PyList::new(py, stats)
    }

    #[doc = doc!(Queue.group_stats)]
    fn group_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let stats: Vec<_> = self.engine.group_stats().into_iter().map(GroupStats::from).collect();
        PyList::new(py, stats)
    }

    #[doc = doc!(Queue._figures)]
    fn _figures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let figures = self.engine.figures();
        let queue = QueueStats::new(py, figures.queue, &self.name, self.created);
        let consumers: Vec<_> = figures.consumers.into_iter().map(ConsumerStats::from).collect();
        let groups: Vec<_> = figures.groups.into_iter().map(GroupStats::from).collect();
        let departed: Vec<_> =
            figures.departed.into_iter().map(|past| (past.group, past.name, past.read, past.missed)).collect();
        (queue, message::seconds(figures.oldest), consumers, groups, departed).into_pyobject(py)
    }

    #[doc = doc!(Queue._look)]
    fn _look<'py>(&self, py: Python<'py>, start: u64, limit: usize) -> PyResult<Vec<Bound<'py, Message>>> {
        let mut drafts = Vec::with_capacity(limit.min(SLICE));
        self.engine.look(start, limit.min(SLICE), |delivery| drafts.push(Draft::new(py, &delivery)));
        drafts.into_iter().map(|draft| draft.finish(py, &self.source)).collect()
    }

    #[doc = doc!(Queue.is_empty)]
    fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    #[doc = doc!(Queue.memory_usage)]
    #[getter]
    fn memory_usage(&self) -> u64 {
        self.engine.memory_usage()
    }

    #[doc = doc!(Queue.closed)]
    #[getter]
    fn closed(&self) -> bool {
        self.engine.is_closed()
    }

    #[doc = doc!(Queue.__len__)]
    fn __len__(&self) -> usize {
        self.engine.len() as usize
    }

    #[doc = doc!(Queue.__bool__)]
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

    #[doc = doc!(Queue.close)]
    #[pyo3(signature = (*, immediate = false))]
    fn close(&self, immediate: bool) -> PyResult<()> {
        self.end(immediate)
    }

    #[doc = doc!(Queue.shutdown)]
    #[pyo3(signature = (immediate = Truth(false)), text_signature = "($self, immediate=False)")]
    fn shutdown(&self, immediate: Truth) -> PyResult<()> {
        self.end(immediate.0)
    }

    #[doc = doc!(Queue.join)]
    #[pyo3(signature = (timeout = Timeout::Never), text_signature = "($self, timeout=None)")]
    fn join(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        let joined =
            block(py, &self.engine, Condition::Joined, timeout, |_| Ok(self.engine.is_joined().then_some(())))?;
        Ok(joined.is_some())
    }

    #[doc = doc!(Queue.aenqueue)]
    #[pyo3(signature = (payload, *, ttl = OwnTtl::NONE, timeout = Timeout::Never),
           text_signature = "($self, payload, *, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=None)")]
    fn aenqueue(slf: Py<Self>, payload: Py<PyAny>, ttl: OwnTtl, timeout: Timeout) -> Call {
        Call::new(Operation::Enqueue(slf, payload, ttl.0), timeout)
    }

    #[doc = doc!(Queue.aenqueue_batch)]
    #[pyo3(signature = (payloads, *, ttl = OwnTtl::NONE, timeout = Timeout::Never),
           text_signature = "($self, payloads, *, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=None)")]
    fn aenqueue_batch(slf: Py<Self>, payloads: Py<PyAny>, ttl: OwnTtl, timeout: Timeout) -> Call {
        Call::new(Operation::EnqueueBatch(slf, payloads, ttl.0), timeout)
    }

    #[doc = doc!(Queue.ajoin)]
    #[pyo3(signature = (timeout = Timeout::Never), text_signature = "($self, timeout=None)")]
    fn ajoin(slf: Py<Self>, timeout: Timeout) -> Call {
        Call::new(Operation::Join(slf), timeout)
    }

    #[doc = doc!(Queue.__enter__)]
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.end(false)
    }

    // --- the object ---------------------------------------------------------------------------------------------------

    fn __reduce__(&self) -> PyResult<()> {
        Err(message::not_copied("Queue", "it is shared by the threads of one process"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut result = Ok(());
        self.engine.each_payload(|payload| {
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
        for group in self.groups.lock().values() {
            visit.call(&group.dead_letter)?;
        }
        self.futures.traverse(visit)
    }

    fn __clear__(&self) {
        self.engine.discard();
        let sizer = self.sizer.lock().take();
        let registered = std::mem::take(&mut *self.registered.lock());
        let groups = std::mem::take(&mut *self.groups.lock());
        drop((sizer, registered, groups));
        self.futures.clear();
    }
}
