//! How messages get to their reader: one by one, in batches, waiting for them.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::arguments::Timeout;
use super::engine::EngineConsumer;
use super::errors;
use super::fast::list::Filling;
use super::host::detach;
use super::host::waiting::block;
use super::message::{Draft, Message};
use super::objects::Consumer;
use crate::wait::list::Condition;
use crate::{Delivery, Error};

/// Messages that one hold of the lock hands over at the most.
const SLICE: usize = 4_000;

impl Consumer {
    /// Reads up to `limit` messages that are there. What was missed before them is told first.
    pub(super) fn take(
        &self,
        py: Python<'_>,
        limit: usize,
        visit: &mut impl FnMut(Delivery<'_, Py<PyAny>>),
    ) -> PyResult<usize> {
        loop {
            match self.consumer.read_with(limit, &mut *visit) {
                Ok(count) => return Ok(count),
                Err(Error::Missed(count)) => match self.queue.get().consumers.kept(py, &self.consumer.id()) {
                    Some(callback) => drop(detach::call_out(py, || callback.call1(py, (count,)))?),
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
    pub(super) fn take_payload_fast<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.consumer.read_fast(|delivery| delivery.payload.bind(py).clone())
    }

    /// The next message in the usual case. None: nothing was done.
    #[inline]
    pub(super) fn take_message_fast<'py>(&self, py: Python<'py>) -> Option<PyResult<Bound<'py, Message>>> {
        let draft = self.consumer.read_fast(|delivery| Draft::new(py, &delivery))?;
        Some(draft.finish(py, &self.queue.get().source))
    }

    pub(super) fn take_draft(&self, py: Python<'_>) -> PyResult<Option<Draft>> {
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

    pub(super) fn finish<'py>(&self, py: Python<'py>, draft: Option<Draft>) -> PyResult<Option<Bound<'py, Message>>> {
        draft.map(|draft| draft.finish(py, &self.queue.get().source)).transpose()
    }

    /// Takes what is there up to `limit`, in slices between which other threads get the interpreter: how many those were.
    pub(super) fn take_slices(
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
                // Errors are left to the next read, which meets them again and reports what was missed meanwhile.
                _ => self.consumer.read_on_with(slice, &mut visit).unwrap_or(0),
            };
            taken += count;
            if count < slice {
                break;
            }
            if taken < limit {
                detach::breathe(py);
            }
        }
        Ok(taken)
    }

    /// Up to `limit` payloads that are there; None: none are.
    pub(super) fn take_payloads<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Option<Bound<'py, PyList>>> {
        let there = self.consumer.unread().unwrap_or(0);
        // One place even if nothing is there: only a read tells why.
        let mut payloads = Filling::new(py, limit.min(usize::try_from(there).unwrap_or(usize::MAX)).max(1))?;
        let places = limit.min(payloads.places());
        self.take_slices(py, places, |delivery| payloads.push(delivery.payload))?;
        Ok(if payloads.len() > 0 { Some(payloads.finish()?) } else { None })
    }

    /// Waits for something to read.
    pub(super) fn wait_for<R>(
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

    pub(super) fn payload(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let payload = self.wait_for(py, timeout, || self.take_payload(py))?;
        payload.ok_or_else(|| errors::empty(py))
    }

    pub(super) fn error(&self, py: Python<'_>, error: Error) -> PyErr {
        errors::raise(py, error, &self.queue.get().name)
    }

    pub(super) fn ask<R>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(&EngineConsumer) -> Result<R, Error>,
    ) -> PyResult<R> {
        question(&self.consumer).map_err(|error| self.error(py, error))
    }

    /// The same, but a removed consumer answers with the default instead of an error.
    pub(super) fn ask_until_removed<R: Default>(
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
