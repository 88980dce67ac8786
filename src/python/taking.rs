//! Delivers messages to a reader: one by one, in batches, waiting for them.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::arguments::{Count, MaxBytes};
use super::engine::EngineConsumer;
use super::errors;
use super::fast::list::Filling;
use super::host::detach;
use super::host::waiting::block;
use super::message::{Draft, Message};
use super::objects::Consumer;
use super::timeouts::{Linger, Timeout};
use crate::wait::list::{Condition, Enough};
use crate::{Delivery, Error};

/// Maximum number of messages that are delivered in one hold of the lock.
const SLICE: usize = 4_000;

/// How much a batch may hold, and how long it may wait to fill once there is a message.
#[derive(Clone, Copy)]
pub(in crate::python) struct Fill {
    pub(super) limit: usize,
    /// Payload bytes; `u64::MAX`: no limit.
    pub(super) max_bytes: u64,
    pub(super) linger: Timeout,
}

impl Fill {
    pub(super) fn new(limit: Count, linger: Linger, max_bytes: Option<MaxBytes>) -> Self {
        Fill { limit: limit.0, max_bytes: max_bytes.map_or(u64::MAX, |max| max.0), linger: linger.0 }
    }

    /// How much a lingering reader waits for.
    pub(super) fn enough(self) -> Enough {
        Enough { items: self.limit as u64, bytes: self.max_bytes }
    }
}

impl Consumer {
    /// Reads up to `limit` available messages. Messages missed before them are reported first.
    pub(super) fn take(
        &self,
        py: Python<'_>,
        limit: usize,
        visit: &mut impl FnMut(Delivery<'_, Py<PyAny>>),
    ) -> PyResult<usize> {
        self.telling(py, || self.consumer.read_with(limit, &mut *visit))
    }

    /// The callback for missed messages.
    fn on_missed(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.ephemeral {
            Some(ephemeral) => ephemeral.on_missed.as_ref().map(|callback| callback.clone_ref(py)),
            None => self.queue.get().consumers.kept(py, &self.consumer.id()),
        }
    }

    /// Attempts a read until there is no gap to report before it.
    fn telling<R>(&self, py: Python<'_>, mut attempt: impl FnMut() -> Result<R, Error>) -> PyResult<R> {
        loop {
            match attempt() {
                Ok(result) => return Ok(result),
                Err(Error::Missed(count)) => match self.on_missed(py) {
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
        Some(draft.finish(py, &self.source))
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

    /// The newest message of the queue. Older messages are skipped. None: there are no messages.
    pub(super) fn take_latest<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Message>>> {
        let mut taken = None;
        self.telling(py, || self.consumer.read_latest_with(|delivery| taken = Some(Draft::new(py, &delivery))))?;
        self.finish(py, taken)
    }

    /// A batch of available messages; None: there are none.
    pub(super) fn take_messages<'py>(&self, py: Python<'py>, fill: Fill) -> PyResult<Option<Bound<'py, PyList>>> {
        let mut drafts = Vec::with_capacity(self.there(fill.limit));
        self.take_slices(py, fill, |delivery| drafts.push(Draft::new(py, &delivery)))?;
        if drafts.is_empty() {
            return Ok(None);
        }
        let mut messages = Filling::new(py, drafts.len())?;
        for draft in drafts {
            messages.push(draft.finish(py, &self.source)?.into_any());
        }
        messages.finish().map(Some)
    }

    /// Number of available messages, up to `limit`.
    fn there(&self, limit: usize) -> usize {
        let ready = self.consumer.ready(limit);
        ready.unwrap_or_else(|| usize::try_from(self.consumer.unread().unwrap_or(0)).unwrap_or(usize::MAX)).min(limit)
    }

    pub(super) fn try_take_missed(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.ask(py, EngineConsumer::take_missed)
    }

    pub(super) fn finish<'py>(&self, py: Python<'py>, draft: Option<Draft>) -> PyResult<Option<Bound<'py, Message>>> {
        draft.map(|draft| draft.finish(py, &self.source)).transpose()
    }

    /// Takes a batch of available messages, in slices between which other threads get the interpreter. Returns how many
    /// were taken.
    pub(super) fn take_slices(
        &self,
        py: Python<'_>,
        Fill { limit, max_bytes, .. }: Fill,
        mut visit: impl FnMut(Delivery<'_, Py<PyAny>>),
    ) -> PyResult<usize> {
        let (mut taken, mut left) = (0, max_bytes);
        while taken < limit {
            let slice = (limit - taken).min(SLICE);
            let goes_on = taken > 0;
            let mut attempt = || self.consumer.read_fitting(slice, &mut left, goes_on, &mut visit);
            let count = match taken {
                0 => self.telling(py, attempt)?,
                // Errors are left to the next read, which gets them again and reports what was missed in the meantime.
                _ => attempt().unwrap_or(0),
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

    /// A batch of available payloads; None: there are none.
    pub(super) fn take_payloads<'py>(&self, py: Python<'py>, fill: Fill) -> PyResult<Option<Bound<'py, PyList>>> {
        // One place even if nothing is available, because only a read tells why.
        let mut payloads = Filling::new(py, self.there(fill.limit).max(1))?;
        let places = fill.limit.min(payloads.places());
        self.take_slices(py, Fill { limit: places, ..fill }, |delivery| {
            payloads.push(delivery.payload.bind(py).clone());
        })?;
        Ok(if payloads.len() > 0 { Some(payloads.finish()?) } else { None })
    }

    /// Waits for something to read.
    pub(super) fn wait_for<R>(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        mut attempt: impl FnMut() -> PyResult<Option<R>>,
    ) -> PyResult<Option<R>> {
        if timeout.is_zero() {
            return attempt();
        }
        match self.consumer.attempt_for_a_moment(&mut attempt)? {
            None => {
                let engine = self.consumer.queue();
                block(py, engine, Condition::Message(self.consumer.key()), timeout, |_| attempt())
            }
            result => Ok(result),
        }
    }

    /// Waits for a batch: up to `timeout` for its first message, then for it to fill while it may linger. Only after
    /// that is anything taken.
    pub(super) fn batch<R>(
        &self,
        py: Python<'_>,
        fill: Fill,
        timeout: Timeout,
        mut take: impl FnMut(Fill) -> PyResult<Option<R>>,
    ) -> PyResult<Option<R>> {
        if fill.linger.is_zero() {
            return self.wait_for(py, timeout, || take(fill));
        }
        let until = timeout.deadline();
        loop {
            let left = timeout.left(until);
            if self.wait_for(py, left, || Ok(self.ask(py, EngineConsumer::is_readable)?.then_some(())))?.is_none() {
                return Ok(None);
            }
            let is_full = || self.ask(py, |consumer| consumer.is_enough(fill.enough()));
            if !is_full()? {
                let condition = Condition::Batch(self.consumer.key(), fill.enough());
                block(py, self.consumer.queue(), condition, fill.linger, |_| Ok(is_full()?.then_some(())))?;
            }
            // The messages may have expired in the meantime, or another reader may have read them.
            if let Some(taken) = take(fill)? {
                return Ok(Some(taken));
            }
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

    /// Asks the consumer. If the consumer was removed, returns the default instead of an error.
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
