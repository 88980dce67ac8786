//! `Consumer`.

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyString, PyTuple};

use super::aio::{self, Call, Operation};
use super::arguments::{self, Count, SeekTo, Timeout, Truth};
use super::group::ConsumerGroup;
use super::list::Filling;
use super::message::{self, Draft, Message};
use super::queue::{Queue, SLICE};
use super::stats::ConsumerStats;
use super::waiting::{Interpreter, block};
use super::{errors, lifecycle};
use crate::wait::list::Condition;
use crate::{Delivery, Error};

/// The engine's consumer, of Python objects.
pub(super) type EngineConsumer = crate::Consumer<Py<PyAny>, Interpreter>;

#[doc = doc!(Consumer)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Consumer {
    pub(super) consumer: EngineConsumer,
    pub(super) queue: Py<Queue>,
    name: Option<String>,
}

impl Consumer {
    pub(super) fn new(queue: &Bound<'_, Queue>, consumer: EngineConsumer) -> Self {
        // None also where another thread has just removed it: then nothing else is left of it either.
        let name = consumer.stats().ok().and_then(|stats| stats.name);
        Consumer { consumer, queue: queue.clone().unbind(), name }
    }

    /// Reads up to `limit` messages that are there. What was missed before them is told first.
    fn take(&self, py: Python<'_>, limit: usize, visit: &mut impl FnMut(Delivery<'_, Py<PyAny>>)) -> PyResult<usize> {
        loop {
            match self.consumer.read_with(limit, &mut *visit) {
                Ok(count) => return Ok(count),
                Err(Error::Missed(count)) => match self.queue.get().on_missed(py, self.consumer.id()) {
                    Some(callback) => drop(lifecycle::call_out(py, || callback.call1(py, (count,)))?),
                    None => return Err(self.error(py, Error::Missed(count))),
                },
                Err(error) => return Err(self.error(py, error)),
            }
        }
    }

    pub(super) fn take_payload(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut taken = None;
        self.take(py, 1, &mut |delivery| taken = Some(delivery.payload.clone_ref(py)))?;
        Ok(taken)
    }

    /// The next payload in the usual case. None: nothing was done.
    #[inline]
    pub(super) fn take_payload_quickly<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.consumer.read_next(|delivery| delivery.payload.bind(py).clone())
    }

    /// The next message in the usual case. None: nothing was done.
    #[inline]
    pub(super) fn take_message_quickly<'py>(&self, py: Python<'py>) -> Option<PyResult<Bound<'py, Message>>> {
        let draft = self.consumer.read_next(|delivery| Draft::new(py, &delivery))?;
        Some(draft.finish(py, &self.queue.get().source))
    }

    fn take_draft(&self, py: Python<'_>) -> PyResult<Option<Draft>> {
        let mut taken = None;
        self.take(py, 1, &mut |delivery| taken = Some(Draft::new(py, &delivery)))?;
        Ok(taken)
    }

    pub(super) fn take_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Message>>> {
        let draft = self.take_draft(py)?;
        self.finish(py, draft)
    }

    /// Up to `limit` messages that are there; None: none are.
    pub(super) fn take_messages<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Option<Bound<'py, PyList>>> {
        let there = self.consumer.unread().unwrap_or(0);
        let mut drafts = Vec::with_capacity(limit.min(usize::try_from(there).unwrap_or(0)));
        self.take_slices(py, limit, |delivery| drafts.push(Draft::new(py, &delivery)))?;
        if drafts.is_empty() {
            return Ok(None);
        }
        let messages =
            drafts.into_iter().map(|draft| draft.finish(py, &self.queue.get().source)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, messages).map(Some)
    }

    pub(super) fn try_take_missed(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.ask(py, EngineConsumer::take_missed)
    }

    fn finish<'py>(&self, py: Python<'py>, draft: Option<Draft>) -> PyResult<Option<Bound<'py, Message>>> {
        draft.map(|draft| draft.finish(py, &self.queue.get().source)).transpose()
    }

    /// Takes what is there up to `limit`, in slices between which other threads get the interpreter: how many those were.
    fn take_slices(
        &self,
        py: Python<'_>,
        limit: usize,
        mut visit: impl FnMut(Delivery<'_, Py<PyAny>>),
    ) -> PyResult<usize> {
        let mut taken = 0;
        while taken < limit {
            let slice = (limit - taken).min(SLICE);
            let count = match taken {
                0 => self.take(py, slice, &mut visit)?,
                // Its errors stay: the next read meets them again, and it tells of what was missed meanwhile.
                _ => self.consumer.read_on_with(slice, &mut visit).unwrap_or(0),
            };
            taken += count;
            if count < slice {
                break;
            }
            if taken < limit {
                lifecycle::breathe(py);
            }
        }
        Ok(taken)
    }

    /// Up to `limit` payloads that are there; None: none are.
    fn take_payloads<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Option<Bound<'py, PyList>>> {
        let there = self.consumer.unread().unwrap_or(0);
        // One place even where nothing is there: only a read tells why.
        let mut payloads = Filling::new(py, limit.min(usize::try_from(there).unwrap_or(usize::MAX)).max(1))?;
        let places = limit.min(payloads.places());
        self.take_slices(py, places, |delivery| payloads.push(delivery.payload))?;
        Ok(if payloads.len() > 0 { Some(payloads.finish()?) } else { None })
    }

    /// Waits for something to read.
    fn wait_for<R>(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        mut attempt: impl FnMut() -> PyResult<Option<R>>,
    ) -> PyResult<Option<R>> {
        match attempt()? {
            None if !timeout.is_zero() => {
                let engine = self.consumer.queue();
                block(py, engine, Condition::Message(self.consumer.key()), timeout, |_| attempt())
            }
            result => Ok(result),
        }
    }

    fn payload(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let payload = self.wait_for(py, timeout, || self.take_payload(py))?;
        payload.ok_or_else(|| errors::empty(py))
    }

    fn error(&self, py: Python<'_>, error: Error) -> PyErr {
        errors::raise(py, error, &self.queue.get().name)
    }

    fn ask<R>(&self, py: Python<'_>, question: impl FnOnce(&EngineConsumer) -> Result<R, Error>) -> PyResult<R> {
        question(&self.consumer).map_err(|error| self.error(py, error))
    }

    /// The same, where a consumer that was removed has an answer, too: nothing.
    fn ask_until_removed<R: Default>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(&EngineConsumer) -> Result<R, Error>,
    ) -> PyResult<R> {
        match question(&self.consumer) {
            Err(Error::ConsumerClosed) => Ok(R::default()),
            answer => answer.map_err(|error| self.error(py, error)),
        }
    }
}

#[pymethods]
impl Consumer {
    #[doc = doc!(Consumer.id)]
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        message::uuid(py, self.consumer.id())
    }

    #[doc = doc!(Consumer.name)]
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[doc = doc!(Consumer.queue)]
    #[getter]
    fn queue(&self, py: Python<'_>) -> Py<Queue> {
        self.queue.clone_ref(py)
    }

    #[doc = doc!(Consumer.group)]
    #[getter]
    fn group<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, ConsumerGroup>>> {
        let Some(name) = self.consumer.stats().ok().and_then(|stats| stats.group) else { return Ok(None) };
        let Some(group) = self.consumer.queue().group(&name) else { return Ok(None) };
        Queue::object_of_group(self.queue.bind(py), group, &PyString::new(py, &name)).map(Some)
    }

    // --- messages -----------------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.read)]
    #[pyo3(signature = (*, timeout = Timeout::NOW), text_signature = "($self, *, timeout=0.0)")]
    fn read<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<Option<Bound<'py, Message>>> {
        self.wait_for(py, timeout, || self.take_message(py))
    }

    #[doc = doc!(Consumer.read_batch)]
    #[pyo3(signature = (limit, *, timeout = Timeout::NOW), text_signature = "($self, limit, *, timeout=0.0)")]
    fn read_batch<'py>(&self, py: Python<'py>, limit: Count, timeout: Timeout) -> PyResult<Bound<'py, PyList>> {
        let messages = self.wait_for(py, timeout, || self.take_messages(py, limit.0))?;
        Ok(messages.unwrap_or_else(|| PyList::empty(py)))
    }

    #[doc = doc!(Consumer.read_where)]
    #[pyo3(signature = (predicate, *, timeout = Timeout::NOW),
           text_signature = "($self, predicate, *, timeout=0.0)")]
    fn read_where<'py>(
        &self,
        py: Python<'py>,
        predicate: &Bound<'py, PyAny>,
        timeout: Timeout,
    ) -> PyResult<Option<Bound<'py, Message>>> {
        arguments::callable("predicate", Some(predicate))?;
        self.wait_for(py, timeout, || {
            while let Some(message) = self.take_message(py)? {
                let missed = message.get().draft.missed;
                let matches = lifecycle::call_out(py, || predicate.call1((&message,))?.is_truthy());
                if matches.as_ref().is_ok_and(|&matches| matches) {
                    return Ok(Some(message));
                }
                // Passed over: in a group it is settled as read, and what was missed before it comes with the next that is
                // delivered.
                message.get().pass_over(py);
                if missed > 0 {
                    self.consumer.untell(missed);
                }
                matches?;
            }
            Ok(None)
        })
    }

    #[doc = doc!(Consumer.peek)]
    fn peek<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Message>>> {
        let draft = self.ask(py, |consumer| consumer.peek_with(|delivery| Draft::new(py, &delivery)))?;
        self.finish(py, draft)
    }

    // --- payloads -----------------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.get)]
    #[pyo3(signature = (block = Truth(true), timeout = None), text_signature = "($self, block=True, timeout=None)")]
    fn get(&self, py: Python<'_>, block: Truth, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        self.payload(py, arguments::patience(block, timeout)?)
    }

    #[doc = doc!(Consumer.get_nowait)]
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.take_payload(py)? {
            Some(payload) => Ok(payload),
            None => Err(errors::empty(py)),
        }
    }

    #[doc = doc!(Consumer.get_batch)]
    #[pyo3(signature = (limit, *, timeout = Timeout::NOW), text_signature = "($self, limit, *, timeout=0.0)")]
    fn get_batch<'py>(&self, py: Python<'py>, limit: Count, timeout: Timeout) -> PyResult<Bound<'py, PyList>> {
        let payloads = self.wait_for(py, timeout, || self.take_payloads(py, limit.0))?;
        Ok(payloads.unwrap_or_else(|| PyList::empty(py)))
    }

    #[doc = doc!(Consumer.__iter__)]
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Message>> {
        let message = self.wait_for(py, Timeout::Never, || match self.take_message(py) {
            Err(error) if errors::is_closed(py, &error) => Err(PyStopIteration::new_err(())),
            result => result,
        })?;
        message.ok_or_else(|| PyStopIteration::new_err(()))
    }

    // --- asyncio ------------------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.aread)]
    #[pyo3(signature = (*, timeout = Timeout::Never), text_signature = "($self, *, timeout=None)")]
    fn aread(slf: Py<Self>, timeout: Timeout) -> Call {
        Call::new(Operation::Read(slf), timeout)
    }

    #[doc = doc!(Consumer.aread_batch)]
    #[pyo3(signature = (limit, *, timeout = Timeout::Never), text_signature = "($self, limit, *, timeout=None)")]
    fn aread_batch(slf: Py<Self>, limit: Count, timeout: Timeout) -> Call {
        Call::new(Operation::ReadBatch(slf, limit.0), timeout)
    }

    #[doc = doc!(Consumer.aget)]
    fn aget(slf: Py<Self>) -> Call {
        Call::new(Operation::Get(slf), Timeout::Never)
    }

    #[doc = doc!(Consumer.atake_missed)]
    #[pyo3(signature = (*, timeout = Timeout::Never), text_signature = "($self, *, timeout=None)")]
    fn atake_missed(slf: Py<Self>, timeout: Timeout) -> Call {
        Call::new(Operation::TakeMissed(slf), timeout)
    }

    #[doc = doc!(Consumer.__aiter__)]
    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: Py<Self>) -> Call {
        Call::new(Operation::Next(slf), Timeout::Never)
    }

    // --- position -----------------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.position)]
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, EngineConsumer::position)
    }

    #[doc = doc!(Consumer.unread_count)]
    #[getter]
    fn unread_count(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask_until_removed(py, EngineConsumer::unread)
    }

    #[doc = doc!(Consumer.has_more_data)]
    fn has_more_data(&self, py: Python<'_>) -> PyResult<bool> {
        self.ask_until_removed(py, EngineConsumer::has_more)
    }

    #[doc = doc!(Consumer.seek)]
    fn seek(&self, py: Python<'_>, to: SeekTo) -> PyResult<()> {
        aio::waking(|| Ok(self.consumer.seek(to.0)))?.map_err(|error| match error {
            Error::BeyondEnd(next) => arguments::beyond_end("to", to.0, next),
            error => self.error(py, error),
        })
    }

    // --- what was missed ----------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.missed_count)]
    #[getter]
    fn missed_count(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, EngineConsumer::missed)
    }

    #[doc = doc!(Consumer.take_missed)]
    #[pyo3(signature = (*, timeout = Timeout::NOW), text_signature = "($self, *, timeout=0.0)")]
    fn take_missed(&self, py: Python<'_>, timeout: Timeout) -> PyResult<u64> {
        let attempt = || self.try_take_missed(py);
        let taken = match attempt()? {
            None if !timeout.is_zero() => {
                let what = Condition::Missed(self.consumer.key());
                block(py, self.consumer.queue(), what, timeout, |_| attempt())?
            }
            taken => taken,
        };
        Ok(taken.unwrap_or(0))
    }

    #[doc = doc!(Consumer.history)]
    #[pyo3(signature = (limit = None))]
    fn history<'py>(&self, py: Python<'py>, limit: Option<Count>) -> PyResult<Vec<(u64, Bound<'py, PyDateTime>)>> {
        let limit = limit.map_or(usize::MAX, |limit| limit.0);
        let readings = self.ask(py, |consumer| consumer.history(limit))?;
        readings.into_iter().map(|(seq, at)| Ok((seq, message::datetime(py, at * 1000)?))).collect()
    }

    #[doc = doc!(Consumer.stats)]
    fn stats(&self, py: Python<'_>) -> PyResult<ConsumerStats> {
        self.ask(py, EngineConsumer::stats).map(ConsumerStats::from)
    }

    // --- the object ---------------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.close)]
    fn close(&self) -> PyResult<()> {
        aio::waking(|| {
            self.queue.get().remove(&self.consumer);
            Ok(())
        })
    }

    #[doc = doc!(Consumer.__enter__)]
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self.name.as_ref().map_or_else(|| self.consumer.id().to_string(), |name| format!("{name:?}"));
        let queue = self.queue.get().name.bind(py).repr()?;
        Ok(match self.consumer.stats() {
            Ok(stats) => format!("<Consumer {name} of {queue}: {} unread, {} missed>", stats.unread, stats.missed),
            Err(_) => format!("<Consumer {name} of {queue}: removed>"),
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(message::not_copied("Consumer", "its position is shared by the threads of one process"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}
