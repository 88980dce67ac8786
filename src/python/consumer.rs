//! `Consumer`.

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyString, PyTuple};

use super::aio::call::Call;
use super::aio::mailbox::waking;
use super::aio::operation::Operation;
use super::arguments::{self, Count, MaxBytes, SeekTo};
use super::engine::EngineConsumer;
use super::errors;
use super::host::detach;
use super::host::waiting::block;
use super::message::{self, Draft, Message};
use super::objects::{self, Consumer, ConsumerGroup, Queue};
use super::stats::ConsumerStats;
use super::taking::Fill;
use super::timeouts::{self, Block, Linger, Timeout};
use super::topics;
use crate::Error;
use crate::wait::list::Condition;

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

    #[doc = doc!(Consumer.topics)]
    #[getter]
    fn topics<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        topics::texts(py, self.filters.as_ref())
    }

    #[doc = doc!(Consumer.group)]
    #[getter]
    fn group<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, ConsumerGroup>>> {
        let Some(name) = self.consumer.stats().ok().and_then(|stats| stats.group) else { return Ok(None) };
        let Some(group) = self.consumer.queue().group(&name) else { return Ok(None) };
        objects::group(self.queue.bind(py), group, &PyString::new(py, &name)).map(Some)
    }

    // --- messages -----------------------------------------------------------------------------------------------------

    #[doc = doc!(Consumer.read)]
    #[pyo3(signature = (*, timeout = Timeout::NOW), text_signature = "($self, *, timeout=0.0)")]
    fn read<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<Option<Bound<'py, Message>>> {
        self.wait_for(py, timeout, || self.take_message(py))
    }

    #[doc = doc!(Consumer.read_batch)]
    #[pyo3(signature = (limit, *, timeout = Timeout::NOW, linger = Linger(Timeout::NOW), max_bytes = None),
           text_signature = "($self, limit, *, timeout=0.0, linger=0.0, max_bytes=None)")]
    fn read_batch<'py>(
        &self,
        py: Python<'py>,
        limit: Count,
        timeout: Timeout,
        linger: Linger,
        max_bytes: Option<MaxBytes>,
    ) -> PyResult<Bound<'py, PyList>> {
        let fill = Fill::new(limit, linger, max_bytes);
        let messages = self.batch(py, fill, timeout, |fill| self.take_messages(py, fill))?;
        Ok(messages.unwrap_or_else(|| PyList::empty(py)))
    }

    #[doc = doc!(Consumer.read_latest)]
    #[pyo3(signature = (*, timeout = Timeout::NOW), text_signature = "($self, *, timeout=0.0)")]
    fn read_latest<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<Option<Bound<'py, Message>>> {
        self.wait_for(py, timeout, || self.take_latest(py))
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
                let matches = detach::call_out(py, || predicate.call1((&message,))?.is_truthy());
                if matches.as_ref().is_ok_and(|&matches| matches) {
                    return Ok(Some(message));
                }
                // It is skipped. In a group it is settled as read, and the next delivery reports the gap before it.
                message.get().pass_over(py);
                self.consumer.pass_over(missed);
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
    #[pyo3(signature = (block = Block(true), timeout = None), text_signature = "($self, block=True, timeout=None)")]
    fn get(&self, py: Python<'_>, block: Block, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        self.payload(py, timeouts::patience(block, timeout)?)
    }

    #[doc = doc!(Consumer.get_nowait)]
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.take_payload(py)? {
            Some(payload) => Ok(payload),
            None => Err(errors::empty(py)),
        }
    }

    #[doc = doc!(Consumer.get_batch)]
    #[pyo3(signature = (limit, *, timeout = Timeout::NOW, linger = Linger(Timeout::NOW), max_bytes = None),
           text_signature = "($self, limit, *, timeout=0.0, linger=0.0, max_bytes=None)")]
    fn get_batch<'py>(
        &self,
        py: Python<'py>,
        limit: Count,
        timeout: Timeout,
        linger: Linger,
        max_bytes: Option<MaxBytes>,
    ) -> PyResult<Bound<'py, PyList>> {
        let fill = Fill::new(limit, linger, max_bytes);
        let payloads = self.batch(py, fill, timeout, |fill| self.take_payloads(py, fill))?;
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
    #[pyo3(signature = (limit, *, timeout = Timeout::Never, linger = Linger(Timeout::NOW), max_bytes = None),
           text_signature = "($self, limit, *, timeout=None, linger=0.0, max_bytes=None)")]
    fn aread_batch(slf: Py<Self>, limit: Count, timeout: Timeout, linger: Linger, max_bytes: Option<MaxBytes>) -> Call {
        Call::new(Operation::ReadBatch(slf, Fill::new(limit, linger, max_bytes)), timeout)
    }

    #[doc = doc!(Consumer.aread_latest)]
    #[pyo3(signature = (*, timeout = Timeout::Never), text_signature = "($self, *, timeout=None)")]
    fn aread_latest(slf: Py<Self>, timeout: Timeout) -> Call {
        Call::new(Operation::ReadLatest(slf), timeout)
    }

    #[doc = doc!(Consumer.aget)]
    #[pyo3(signature = (*, timeout = Timeout::Never), text_signature = "($self, *, timeout=None)")]
    fn aget(slf: Py<Self>, timeout: Timeout) -> Call {
        Call::new(Operation::Get(slf), timeout)
    }

    #[doc = doc!(Consumer.aget_batch)]
    #[pyo3(signature = (limit, *, timeout = Timeout::Never, linger = Linger(Timeout::NOW), max_bytes = None),
           text_signature = "($self, limit, *, timeout=None, linger=0.0, max_bytes=None)")]
    fn aget_batch(slf: Py<Self>, limit: Count, timeout: Timeout, linger: Linger, max_bytes: Option<MaxBytes>) -> Call {
        Call::new(Operation::GetBatch(slf, Fill::new(limit, linger, max_bytes)), timeout)
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
        waking(|| Ok(self.consumer.seek(to.0)))?.map_err(|error| match error {
            Error::BeyondEnd(next) => arguments::beyond_end("to", to.0, next),
            error => self.error(py, error),
        })
    }

    // --- missed messages ----------------------------------------------------------------------------------------------

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
                let condition = Condition::Missed(self.consumer.key());
                block(py, self.consumer.queue(), condition, timeout, |_| attempt())?
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
        waking(|| {
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

    #[doc = doc!(Consumer.__aenter__)]
    fn __aenter__(slf: Py<Self>) -> Call {
        Call::entering("Consumer.__aenter__", slf)
    }

    #[pyo3(signature = (*_exc))]
    fn __aexit__(slf: Py<Self>, _exc: &Bound<'_, PyTuple>) -> Call {
        Call::closing("Consumer.__aexit__", slf)
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
        visit.call(&self.queue)?;
        self.ephemeral.as_ref().map_or(Ok(()), |ephemeral| visit.call(&ephemeral.on_missed))
    }
}
