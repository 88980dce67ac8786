//! `Consumer`.

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyList, PyTuple};
use uuid::Uuid;

use super::arguments::{self, Count, SeekTo, Timeout};
use super::message::{self, Draft, Message};
use super::queue::{Queue, SLICE};
use super::stats::ConsumerStats;
use super::waiting::{Interpreter, block};
use super::{errors, lifecycle};
use crate::state::What;
use crate::{Delivery, Error};

/// The engine's consumer, of Python objects.
pub(super) type EngineConsumer = crate::Consumer<Py<PyAny>, Interpreter>;

/// See the stub, `_mpmc_queue.pyi`, for what users are told.
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Consumer {
    pub(super) consumer: EngineConsumer,
    pub(super) queue: Py<Queue>,
    name: Option<String>,
}

impl Consumer {
    pub(super) fn new(queue: &Bound<'_, Queue>, consumer: EngineConsumer) -> PyResult<Self> {
        let name = consumer.stats().map_err(|error| errors::raise(queue.py(), error))?.name;
        Ok(Consumer { consumer, queue: queue.clone().unbind(), name })
    }

    /// Reads up to `limit` messages that are there. What was missed before them is told first.
    fn take(&self, py: Python<'_>, limit: usize, mut visit: impl FnMut(Delivery<'_, Py<PyAny>>)) -> PyResult<usize> {
        loop {
            match self.consumer.read_with(limit, &mut visit) {
                Ok(count) => return Ok(count),
                Err(Error::Missed(count)) => match self.queue.get().on_missed(py, self.consumer.id()) {
                    Some(callback) => drop(callback.call1(py, (count,))?),
                    None => return Err(errors::raise(py, Error::Missed(count))),
                },
                Err(error) => return Err(errors::raise(py, error)),
            }
        }
    }

    fn take_payload(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut taken = None;
        self.take(py, 1, |delivery| taken = Some(delivery.payload.clone_ref(py)))?;
        Ok(taken)
    }

    fn take_draft(&self, py: Python<'_>) -> PyResult<Option<Draft>> {
        let mut taken = None;
        self.take(py, 1, |delivery| taken = Some(Draft::new(py, &delivery)))?;
        Ok(taken)
    }

    fn finish<'py>(&self, py: Python<'py>, draft: Option<Draft>) -> PyResult<Option<Bound<'py, Message>>> {
        draft.map(|draft| draft.finish(py, &self.queue)).transpose()
    }

    /// Takes what is there up to `limit`, in slices between which other threads get the interpreter.
    fn take_many<R>(
        &self,
        py: Python<'_>,
        limit: usize,
        mut take: impl FnMut(Delivery<'_, Py<PyAny>>) -> R,
    ) -> PyResult<Vec<R>> {
        let there = self.consumer.unread().unwrap_or(0);
        let mut taken = Vec::with_capacity(limit.min(usize::try_from(there).unwrap_or(0)));
        while taken.len() < limit {
            let slice = (limit - taken.len()).min(SLICE);
            match self.take(py, slice, |delivery| taken.push(take(delivery))) {
                Ok(count) if count == slice => lifecycle::breathe(py),
                Ok(_) => break,
                // What was taken is not lost; the next read meets the error again, unless it tells of what was missed.
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
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
                block(py, engine, What::Message(self.consumer.key()), timeout, |_| attempt())
            }
            result => Ok(result),
        }
    }

    fn payload(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let payload = self.wait_for(py, timeout, || self.take_payload(py))?;
        payload.ok_or_else(|| errors::empty(py))
    }

    fn ask<R>(&self, py: Python<'_>, question: impl FnOnce(&EngineConsumer) -> Result<R, Error>) -> PyResult<R> {
        question(&self.consumer).map_err(|error| errors::raise(py, error))
    }
}

fn not_empty<R>(taken: Vec<R>) -> Option<Vec<R>> {
    Some(taken).filter(|taken| !taken.is_empty())
}

#[pymethods]
impl Consumer {
    #[getter]
    fn id(&self) -> Uuid {
        self.consumer.id()
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[getter]
    fn queue(&self, py: Python<'_>) -> Py<Queue> {
        self.queue.clone_ref(py)
    }

    // --- messages -----------------------------------------------------------------------------------------------------

    #[pyo3(signature = (*, timeout = Timeout::NOW), text_signature = "($self, *, timeout=0.0)")]
    fn read<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<Option<Bound<'py, Message>>> {
        let draft = self.wait_for(py, timeout, || self.take_draft(py))?;
        self.finish(py, draft)
    }

    #[pyo3(signature = (limit, *, timeout = Timeout::NOW), text_signature = "($self, limit, *, timeout=0.0)")]
    fn read_batch<'py>(&self, py: Python<'py>, limit: Count, timeout: Timeout) -> PyResult<Bound<'py, PyList>> {
        let drafts = self.wait_for(py, timeout, || {
            self.take_many(py, limit.0, |delivery| Draft::new(py, &delivery)).map(not_empty)
        })?;
        let messages = drafts.unwrap_or_default().into_iter().map(|draft| draft.finish(py, &self.queue));
        PyList::new(py, messages.collect::<PyResult<Vec<_>>>()?)
    }

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
            while let Some(draft) = self.take_draft(py)? {
                let missed = draft.missed;
                let message = draft.finish(py, &self.queue)?;
                match predicate.call1((&message,)).and_then(|answer| answer.is_truthy()) {
                    Ok(true) => return Ok(Some(message)),
                    // Passed over: what was missed before it comes with the next that is delivered.
                    other if missed > 0 => {
                        self.consumer.untell(missed);
                        other?
                    }
                    other => other?,
                };
            }
            Ok(None)
        })
    }

    fn peek<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Message>>> {
        let draft = self.ask(py, |consumer| consumer.peek_with(|delivery| Draft::new(py, &delivery)))?;
        self.finish(py, draft)
    }

    // --- payloads -----------------------------------------------------------------------------------------------------

    #[pyo3(signature = (block = true, timeout = Timeout::Never), text_signature = "($self, block=True, timeout=None)")]
    fn get(&self, py: Python<'_>, block: bool, timeout: Timeout) -> PyResult<Py<PyAny>> {
        self.payload(py, if block { timeout } else { Timeout::NOW })
    }

    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.take_payload(py)? {
            Some(payload) => Ok(payload),
            None => Err(errors::empty(py)),
        }
    }

    #[pyo3(signature = (limit, *, timeout = Timeout::NOW), text_signature = "($self, limit, *, timeout=0.0)")]
    fn get_batch<'py>(&self, py: Python<'py>, limit: Count, timeout: Timeout) -> PyResult<Bound<'py, PyList>> {
        let payloads = self.wait_for(py, timeout, || {
            self.take_many(py, limit.0, |delivery| delivery.payload.clone_ref(py)).map(not_empty)
        })?;
        PyList::new(py, payloads.unwrap_or_default())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Message>> {
        let draft = self.wait_for(py, Timeout::Never, || match self.take_draft(py) {
            Err(error) if errors::is_closed(py, &error) => Err(PyStopIteration::new_err(())),
            result => result,
        })?;
        self.finish(py, draft)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    // --- position -----------------------------------------------------------------------------------------------------

    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, EngineConsumer::position)
    }

    #[getter]
    fn unread_count(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, EngineConsumer::unread)
    }

    fn has_more_data(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.ask(py, EngineConsumer::unread)? > 0)
    }

    fn seek(&self, py: Python<'_>, to: SeekTo) -> PyResult<()> {
        self.consumer.seek(to.0).map_err(|error| match error {
            Error::BeyondEnd(next) => arguments::beyond_end("to", to.0, next),
            error => errors::raise(py, error),
        })
    }

    // --- what was missed ----------------------------------------------------------------------------------------------

    #[getter]
    fn missed_count(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, EngineConsumer::missed)
    }

    #[pyo3(signature = (*, timeout = Timeout::NOW), text_signature = "($self, *, timeout=0.0)")]
    fn take_missed(&self, py: Python<'_>, timeout: Timeout) -> PyResult<u64> {
        let attempt = || self.ask(py, EngineConsumer::take_missed);
        let taken = match attempt()? {
            None if !timeout.is_zero() => {
                let what = What::Missed(self.consumer.key());
                block(py, self.consumer.queue(), what, timeout, |_| attempt())?
            }
            taken => taken,
        };
        Ok(taken.unwrap_or(0))
    }

    #[pyo3(signature = (limit = None))]
    fn history<'py>(&self, py: Python<'py>, limit: Option<Count>) -> PyResult<Vec<(u64, Bound<'py, PyDateTime>)>> {
        let limit = limit.map_or(usize::MAX, |limit| limit.0);
        let readings = self.ask(py, |consumer| consumer.history(limit))?;
        readings.into_iter().map(|(seq, at)| Ok((seq, message::datetime(py, at * 1000)?))).collect()
    }

    fn stats(&self, py: Python<'_>) -> PyResult<ConsumerStats> {
        self.ask(py, EngineConsumer::stats).map(ConsumerStats::from)
    }

    // --- the object ---------------------------------------------------------------------------------------------------

    fn close(&self) {
        self.queue.get().remove(&self.consumer);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyTuple>) {
        self.close();
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
