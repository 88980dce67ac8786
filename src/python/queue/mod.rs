//! `Queue`.

pub(super) mod adding;
mod finding;
mod joining;
mod making;

use std::sync::atomic::Ordering;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyRange, PyString, PyTuple};

use super::aio::call::Call;
use super::aio::mailbox::waking;
use super::aio::operation::Operation;
use super::arguments::{
    self, Audit, DeadLetterMissed, Ephemeral, MaxBytes, MaxItems, OnMissed, Overflows, OwnTtl, Retains, StartAt, Ttl,
};
use super::host::waiting::block;
use super::message::{Draft, Message};
use super::objects::{self, Consumer, ConsumerGroup, Queue};
use super::refusals;
use super::stats::{self, ConsumerStats, GroupStats, QueueStats};
use super::timeouts::{self, Block, Timeout, Truth};
use super::topics::{Under, Wanted};
use super::{grouping, message};
use crate::wait::list::Condition;
use crate::{ConsumerOptions, GroupOptions, Lifetime, Options, Overflow, Retention, Start};
use adding::{SLICE, Terms, range};

impl Queue {
    fn end(&self, immediate: bool) -> PyResult<()> {
        waking(|| {
            self.engine.close(immediate);
            Ok(())
        })
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (name, *by_position, ttl = Ttl(Some(600_000_000_000)), max_bytes = MaxBytes(1_048_576), max_items = MaxItems(None),
                        retention = Retains(Retention::Limits), overflow = Overflows(Overflow::Reject),
                        sizer = None, audit = Audit(true)),
           text_signature = "(name, *, ttl=600.0, max_bytes=1048576, max_items=None, retention='limits', \
                             overflow='reject', sizer=None, audit=True)")]
    #[allow(clippy::too_many_arguments, reason = "the interface has that many")]
    fn new(
        name: &Bound<'_, PyAny>,
        by_position: &Bound<'_, PyTuple>,
        ttl: Ttl,
        max_bytes: MaxBytes,
        max_items: MaxItems,
        retention: Retains,
        overflow: Overflows,
        sizer: Option<&Bound<'_, PyAny>>,
        audit: Audit,
    ) -> PyResult<Self> {
        let by_name = ["ttl", "max_bytes", "max_items", "retention", "overflow", "sizer", "audit"];
        refusals::none_by_position("Queue(name)", by_position, &by_name)?;
        arguments::text("name", name)?;
        let name = name.cast::<PyString>()?.clone();
        let sizer = arguments::callable("sizer", sizer)?;
        let options = Options {
            ttl: ttl.0,
            max_bytes: max_bytes.0,
            max_items: max_items.0,
            audit: audit.0,
            retention: retention.0,
            overflow: overflow.0,
            ..Options::default()
        };
        Queue::make(name, &options, sizer)
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
        waking(|| {
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
        waking(|| {
            self.engine.set_max_items(max_items.0);
            Ok(())
        })
    }

    // --- producing ----------------------------------------------------------------------------------------------------

    #[doc = doc!(Queue.enqueue)]
    #[pyo3(signature = (payload, *, topic = Under(None), ttl = OwnTtl::NONE, timeout = Timeout::NOW),
           text_signature = "($self, payload, *, topic=None, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=0.0)")]
    fn enqueue(&self, payload: Bound<'_, PyAny>, topic: Under, ttl: OwnTtl, timeout: Timeout) -> PyResult<u64> {
        self.add(payload, Terms { lifetime: ttl.0, topic: topic.0 }, timeout)
    }

    #[doc = doc!(Queue.enqueue_batch)]
    #[pyo3(signature = (payloads, *, topic = Under(None), ttl = OwnTtl::NONE, timeout = Timeout::NOW),
           text_signature = "($self, payloads, *, topic=None, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=0.0)")]
    fn enqueue_batch<'py>(
        &self,
        payloads: &Bound<'py, PyAny>,
        topic: Under,
        ttl: OwnTtl,
        timeout: Timeout,
    ) -> PyResult<Bound<'py, PyRange>> {
        let py = payloads.py();
        if ttl.0 == Lifetime::Queue
            && topic.0.is_none()
            && let Some(seqs) = self.add_all_fast(payloads)
        {
            return range(py, seqs);
        }
        let mut batch = self.collect(payloads, &Terms { lifetime: ttl.0, topic: topic.0 })?;
        let seqs = match self.try_add(py, &mut batch, None)? {
            Some(seqs) => seqs,
            None => self.add_slowly(py, batch, timeout)?,
        };
        range(py, seqs)
    }

    #[doc = doc!(Queue.put)]
    #[pyo3(signature = (item, block = Block(true), timeout = None),
           text_signature = "($self, item, block=True, timeout=None)")]
    fn put(&self, item: Bound<'_, PyAny>, block: Block, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = timeouts::patience(block, timeout)?;
        self.add(item, Terms::default(), timeout).map(|_| ())
    }

    #[doc = doc!(Queue.put_nowait)]
    fn put_nowait(&self, item: Bound<'_, PyAny>) -> PyResult<()> {
        self.add(item, Terms::default(), Timeout::NOW).map(|_| ())
    }

    // --- consumers ----------------------------------------------------------------------------------------------------

    #[doc = doc!(Queue.add_consumer)]
    #[pyo3(signature = (name = None, *, start = StartAt(Start::Earliest), on_missed = OnMissed::Skip, topics = Wanted(None),
                        ephemeral = Ephemeral(false), after = None),
           text_signature = "($self, name=None, *, start='earliest', on_missed='skip', topics=None, ephemeral=False, \
                             after=())")]
    fn add_consumer<'py>(
        slf: &Bound<'py, Self>,
        name: Option<&Bound<'py, PyAny>>,
        start: StartAt,
        on_missed: OnMissed,
        topics: Wanted,
        ephemeral: Ephemeral,
        after: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Consumer>> {
        let name = name.map(|name| arguments::text("name", name)).transpose()?;
        let after = finding::predecessors(slf.get(), after)?;
        let options = ConsumerOptions { name, start: start.0, filters: topics.0, after, ..ConsumerOptions::default() };
        joining::add_consumer(slf, options, on_missed, ephemeral)
    }

    #[doc = doc!(Queue.add_group)]
    #[pyo3(signature = (name, *, start = StartAt(Start::Earliest), ack_wait = None, max_deliver = None, backoff = None,
                        max_ack_pending = None, dead_letter = None, dead_letter_missed = DeadLetterMissed(false),
                        topics = Wanted(None), after = None),
           text_signature = "($self, name, *, start='earliest', ack_wait=None, max_deliver=None, backoff=None, \
                             max_ack_pending=None, dead_letter=None, dead_letter_missed=False, topics=None, after=())")]
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
        dead_letter_missed: DeadLetterMissed,
        topics: Wanted,
        after: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, ConsumerGroup>> {
        arguments::text("name", name)?;
        let dead_letter = grouping::dead_letter(slf, dead_letter)?;
        let (has_letters, rescues) = (dead_letter.is_some(), dead_letter_missed.0);
        let options = grouping::options(ack_wait, max_deliver, backoff, max_ack_pending, has_letters, rescues)?;
        let after = finding::predecessors(slf.get(), after)?;
        let options = GroupOptions { filters: topics.0, after, ..options };
        joining::add_group(slf, name.cast::<PyString>()?, start.0, &options, dead_letter)
    }

    #[doc = doc!(Queue.get_group)]
    fn get_group<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, ConsumerGroup>>> {
        let text = arguments::text("name", name)?;
        slf.get().engine.group(&text).map(|group| objects::group(slf, group, name.cast::<PyString>()?)).transpose()
    }

    #[doc = doc!(Queue.get_consumer)]
    fn get_consumer<'py>(slf: &Bound<'py, Self>, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Consumer>>> {
        finding::by_id(slf.get(), id)?.map(|consumer| objects::consumer(slf, consumer)).transpose()
    }

    #[doc = doc!(Queue.remove_consumer)]
    fn remove_consumer(slf: &Bound<'_, Self>, consumer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let this = slf.get();
        let found = finding::consumer(this, consumer)?;
        waking(|| Ok(found.is_some_and(|consumer| this.remove(&consumer))))
    }

    #[doc = doc!(Queue.consumers)]
    #[getter]
    fn consumers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let consumers = slf.get().engine.consumers();
        let objects: Vec<_> =
            consumers.into_iter().map(|consumer| objects::consumer(slf, consumer)).collect::<PyResult<_>>()?;
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
        waking(|| {
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
        stats::figures(py, self.engine.figures(), &self.name, self.created)
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
    #[pyo3(signature = (payload, *, topic = Under(None), ttl = OwnTtl::NONE, timeout = Timeout::Never),
           text_signature = "($self, payload, *, topic=None, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=None)")]
    fn aenqueue(slf: Py<Self>, payload: Py<PyAny>, topic: Under, ttl: OwnTtl, timeout: Timeout) -> Call {
        Call::new(Operation::Enqueue(slf, payload, Terms { lifetime: ttl.0, topic: topic.0 }), timeout)
    }

    #[doc = doc!(Queue.aenqueue_batch)]
    #[pyo3(signature = (payloads, *, topic = Under(None), ttl = OwnTtl::NONE, timeout = Timeout::Never),
           text_signature = "($self, payloads, *, topic=None, ttl=mpmc_queue._defaults.QUEUE_TTL, timeout=None)")]
    fn aenqueue_batch(slf: Py<Self>, payloads: Py<PyAny>, topic: Under, ttl: OwnTtl, timeout: Timeout) -> Call {
        Call::new(Operation::EnqueueBatch(slf, payloads, Terms { lifetime: ttl.0, topic: topic.0 }), timeout)
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

    #[doc = doc!(Queue.__aenter__)]
    fn __aenter__(slf: Py<Self>) -> Call {
        Call::entering("Queue.__aenter__", slf)
    }

    #[pyo3(signature = (*_exc))]
    fn __aexit__(slf: Py<Self>, _exc: &Bound<'_, PyTuple>) -> Call {
        Call::closing("Queue.__aexit__", slf)
    }

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
        self.consumers.traverse(&visit)?;
        self.groups.traverse(&visit)?;
        self.futures.traverse(visit)
    }

    fn __clear__(&self) {
        self.engine.discard();
        let sizer = self.sizer.lock().take();
        drop(sizer);
        self.consumers.clear();
        self.groups.clear();
        self.futures.clear();
    }
}
