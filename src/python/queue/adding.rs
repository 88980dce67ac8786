//! Adds payloads to a queue: sizes, batches, waiting for room.

use std::hint::cold_path;
use std::ops::Range;
use std::sync::atomic::Ordering;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyList, PyRange, PySet, PyTuple};

use crate::log::batch::{Batch as Prepared, LARGE};
use crate::need::Need;
use crate::python::aio::mailbox::waking;
use crate::python::arguments;
use crate::python::host::detach::{self, FREE_THREADED};
use crate::python::host::waiting::block;
use crate::python::objects::Queue;
use crate::python::timeouts::Timeout;
use crate::python::{errors, size};
use crate::state::producing::How;
use crate::wait::list::{Condition, Ticket};
use crate::{Error, Full, Lifetime, Limit, Topic};

/// Maximum number of messages that are added or delivered in one hold of the interpreter, before other threads may have
/// it.
pub(in crate::python) const SLICE: usize = 10_000;

/// How payloads are enqueued.
#[derive(Clone, Debug, Default)]
pub(in crate::python) struct Terms {
    pub(in crate::python) lifetime: Lifetime,
    pub(in crate::python) topic: Option<Topic>,
}

impl Terms {
    fn how(&self) -> How<'_> {
        How { lifetime: self.lifetime, topic: self.topic.as_ref() }
    }

    /// The need of the payloads, including the topic.
    fn need(&self, need: Need) -> Need {
        need.under(self.topic.as_ref())
    }
}

/// Payloads that are added together or not at all.
pub(in crate::python) struct Batch {
    terms: Terms,
    /// Payloads with their sizes. Nothing is taken out before all of them are admitted.
    payloads: std::vec::IntoIter<(Py<PyAny>, u64)>,
    /// Large batches are in slots instead. Then `payloads` is empty.
    prepared: Option<Prepared<Py<PyAny>>>,
    need: Need,
    /// Why the batch was not admitted.
    refused: Error,
}

impl Batch {
    fn new(need: Need, terms: Terms) -> Self {
        Batch { terms, payloads: Vec::new().into_iter(), prepared: None, need, refused: Error::Closed }
    }

    /// The condition that the batch waits for.
    pub(in crate::python) fn space(&self) -> Condition {
        Condition::Space(self.need, self.terms.topic.clone())
    }

    pub(in crate::python) fn payloads(&self) -> impl Iterator<Item = &Py<PyAny>> {
        let prepared = self.prepared.iter().flat_map(Prepared::payloads);
        self.payloads.as_slice().iter().map(|(payload, _)| payload).chain(prepared)
    }
}

/// The objects in a list or tuple that cannot change while they are used. With the GIL the thread keeps the interpreter,
/// so no other thread can access the list. Without the GIL the thread keeps the list's lock ([`holding_still`]).
fn unchanging<'a, 'py>(container: &'a Bound<'py, PyAny>) -> Option<&'a [Borrowed<'a, 'py, PyAny>]> {
    let object = container.as_ptr();
    // SAFETY: the layouts of an exact list and tuple, whose length says how many objects there are. They do not
    // change, for the reason above. The reference keeps the container itself, and that holds the objects. A Borrowed
    // is a pointer to an object (`repr(transparent)`).
    unsafe {
        if container.is_exact_instance_of::<PyTuple>() {
            let items = (&raw const (*object.cast::<ffi::PyTupleObject>()).ob_item).cast();
            Some(std::slice::from_raw_parts(items, ffi::PyTuple_GET_SIZE(object) as usize))
        } else if container.is_exact_instance_of::<PyList>() && ffi::PyList_GET_SIZE(object) > 0 {
            let items = (*object.cast::<ffi::PyListObject>()).ob_item.cast_const();
            Some(std::slice::from_raw_parts(items.cast(), ffi::PyList_GET_SIZE(object) as usize))
        } else {
            None
        }
    }
}

/// Runs a closure during which a list must not change.
fn holding_still<R>(container: &Bound<'_, PyAny>, act: impl FnOnce() -> R) -> R {
    match FREE_THREADED && container.is_exact_instance_of::<PyList>() {
        true => with_critical_section(container, act),
        false => act(),
    }
}

/// Number of payloads, if it is certain without running Python code; 0: it is not.
fn known_length(payloads: &Bound<'_, PyAny>) -> usize {
    let is_sure = payloads.is_exact_instance_of::<PyList>()
        || payloads.is_exact_instance_of::<PyTuple>()
        || payloads.is_exact_instance_of::<PySet>()
        || payloads.is_exact_instance_of::<PyDict>()
        || payloads.is_exact_instance_of::<PyRange>();
    if is_sure { payloads.len().unwrap_or(0) } else { 0 }
}

/// Seqs as a Python range.
pub(in crate::python) fn range(py: Python<'_>, seqs: Range<u64>) -> PyResult<Bound<'_, PyRange>> {
    PyRange::new(py, seqs.start as isize, seqs.end as isize)
}

impl Queue {
    pub(in crate::python) fn size(&self, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        if self.has_sizer.load(Ordering::Relaxed) {
            return self.ask_sizer(payload);
        }
        Ok(size::deep_size(payload)? as u64)
    }

    #[cold]
    fn ask_sizer(&self, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = payload.py();
        let Some(sizer) = self.sizer.lock().as_ref().map(|sizer| sizer.clone_ref(py)) else { return Ok(0) };
        let answer = detach::call_out(py, || sizer.bind(py).call1((payload,)))?;
        arguments::whole("what the sizer returns", 0, &answer)
    }

    /// Adds one message in the usual case: its size is known at once, and there is room. None: nothing was done.
    #[inline(always)]
    pub(in crate::python) fn add_fast(&self, payload: &Bound<'_, PyAny>) -> Option<u64> {
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
        let seq = self.engine.enqueue_fast(&mut payload, size as u64);
        if let Some(payload) = payload {
            cold_path();
            // This may drop the last reference to the removed payload, whose destructor may run Python code.
            detach::call_out(py, || payload.drop_ref(py));
        }
        seq
    }

    /// Adds one message under a topic in the usual case: other messages are held under it, the size is known at once,
    /// and there is room. None: nothing was done.
    #[inline]
    pub(in crate::python) fn add_under_fast(&self, payload: &Bound<'_, PyAny>, topic: &str) -> Option<u64> {
        if self.has_sizer.load(Ordering::Relaxed) {
            return None;
        }
        let size = size::quick_size(payload)?;
        let py = payload.py();
        let mut payload = Some(payload.clone().unbind());
        let seq = self.engine.enqueue_under_fast(&mut payload, size as u64, topic);
        if let Some(payload) = payload {
            cold_path();
            detach::call_out(py, || payload.drop_ref(py));
        }
        seq
    }

    /// Adds one message. Waits for space up to `timeout`.
    pub(in crate::python) fn add(&self, payload: Bound<'_, PyAny>, terms: Terms, timeout: Timeout) -> PyResult<u64> {
        let py = payload.py();
        let size = self.size(&payload)?;
        let mut one = Some((payload.unbind(), size)).into_iter();
        match waking(|| Ok(self.engine.try_enqueue(&mut one, Need::one(size), terms.how(), None)))? {
            Ok(seq) => Ok(seq),
            Err(refused) => {
                let payloads = Vec::from_iter(one).into_iter();
                let batch = Batch { payloads, refused, ..Batch::new(Need::one(size), terms) };
                self.add_slowly(py, batch, timeout).map(|seqs| seqs.start)
            }
        }
    }

    /// Waits for space, if that can help and the caller allows it. Counts a refusal.
    #[cold]
    pub(in crate::python) fn add_slowly(
        &self,
        py: Python<'_>,
        mut batch: Batch,
        timeout: Timeout,
    ) -> PyResult<Range<u64>> {
        let can_wait = matches!(batch.refused, Error::Full(full) if !full.is_hopeless()) && !timeout.is_zero();
        let added = match can_wait {
            true => block(py, &self.engine, batch.space(), timeout, |ticket| self.try_add(py, &mut batch, ticket))?,
            false => None,
        };
        added.ok_or_else(|| self.refusal(py, &batch))
    }

    /// Adds a batch; None: there is no room now.
    pub(in crate::python) fn try_add(
        &self,
        py: Python<'_>,
        batch: &mut Batch,
        ticket: Option<&Ticket>,
    ) -> PyResult<Option<Range<u64>>> {
        if batch.payloads.len() >= LARGE {
            let payloads = std::mem::take(&mut batch.payloads);
            let lifetime = batch.terms.lifetime;
            batch.prepared = Some(detach::detach(py, || Prepared::new(payloads, lifetime)));
        }
        let added = || {
            Ok(match &mut batch.prepared {
                Some(prepared) => self.engine.try_enqueue_prepared(prepared, batch.terms.topic.as_ref(), ticket),
                None => self.engine.try_enqueue(&mut batch.payloads, batch.need, batch.terms.how(), ticket),
            })
        };
        match waking(added)? {
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

    /// Counts a refusal, and returns its error.
    pub(in crate::python) fn refusal(&self, py: Python<'_>, batch: &Batch) -> PyErr {
        if let Error::Full(_) = batch.refused {
            self.engine.reject(batch.need);
        }
        let error = errors::raise(py, batch.refused, &self.name);
        if let Error::Full(full) = batch.refused
            && full.is_hopeless()
            && !self.has_sizer.load(Ordering::Relaxed)
            && let Some((payload, _)) = batch.payloads.as_slice().first().filter(|_| batch.need.items == 1)
            && let Some(hint) = size::owners::hint(payload.bind(py))
        {
            errors::add_hint(py, &error, &hint);
        }
        if let Error::Full(full) = batch.refused
            && !full.is_hopeless()
            && self.engine.is_read_by_all()
        {
            errors::is_all_read(py, &error);
        }
        error
    }

    /// Makes a batch of one payload.
    pub(in crate::python) fn batch_of_one(&self, payload: &Bound<'_, PyAny>, terms: &Terms) -> PyResult<Batch> {
        let size = self.size(payload)?;
        let payloads = vec![(payload.clone().unbind(), size)].into_iter();
        Ok(Batch { payloads, ..Batch::new(Need::one(size), terms.clone()) })
    }

    /// Adds the payloads in a list or tuple in the usual case: all sizes are known at once, and there is room. None:
    /// nothing was done.
    ///
    /// The container is walked twice, first for the sizes, and nothing is built in between. This is 2 to 3 times as
    /// fast.
    pub(in crate::python) fn add_all_fast(&self, payloads: &Bound<'_, PyAny>) -> Option<Range<u64>> {
        // Checked once: a sizer that another thread registers meanwhile is for the next batch.
        if self.has_sizer.load(Ordering::Relaxed) || !size::has_quick_sizes() {
            return None;
        }
        holding_still(payloads, || self.add_each(payloads))
    }

    fn add_each(&self, payloads: &Bound<'_, PyAny>) -> Option<Range<u64>> {
        let each = unchanging(payloads).filter(|each| each.len() <= SLICE)?;
        let mut need = Need { bytes: 0, items: each.len() as u64 };
        for payload in each {
            need.bytes = need.bytes.saturating_add(size::layout_size(payload)? as u64);
        }
        let sized = each.iter().map(|payload| {
            let size = size::layout_size(payload).unwrap_or(0) as u64;
            (Bound::clone(payload).unbind(), size)
        });
        let first = self.engine.enqueue_batch_fast(sized, need)?;
        Some(first..first + need.items)
    }

    /// The payloads of a batch with their sizes. A batch that can never fit fails. If its length is known, the error
    /// has all figures. Otherwise it fails as soon as it exceeds the limit, because it may have no end.
    pub(in crate::python) fn collect(&self, payloads: &Bound<'_, PyAny>, terms: &Terms) -> PyResult<Batch> {
        let py = payloads.py();
        let mut need = Need { bytes: 0, items: 0 };
        let (max_bytes, max_items) = self.engine.limits();
        let max_items = max_items.unwrap_or(u64::MAX);
        let length = known_length(payloads);
        let mut batch = Vec::with_capacity(length.min(SLICE));
        // Returns whether to continue.
        let mut take = |payload: Bound<'_, PyAny>| {
            let size = self.size(&payload)?;
            need.bytes = need.bytes.saturating_add(size);
            need.items += 1;
            if terms.need(need).charge() <= max_bytes && need.items <= max_items {
                batch.push((payload.unbind(), size));
            } else {
                batch.clear();
                if need.items >= length as u64 {
                    return Ok(false);
                }
            }
            if need.items.is_multiple_of(SLICE as u64) {
                detach::breathe(py);
            }
            PyResult::Ok(true)
        };
        if let Ok(list) = payloads.cast_exact::<PyList>() {
            // Moving on to the next item runs no Python code.
            for payload in list.iter() {
                if !take(payload)? {
                    break;
                }
            }
        } else {
            let mut payloads = detach::call_out(py, || arguments::iterate("payloads", payloads))?;
            while let Some(payload) = detach::call_out(py, || payloads.next()) {
                if !take(payload?)? {
                    break;
                }
            }
        }
        let mut collected = Batch { payloads: batch.into_iter(), ..Batch::new(need, terms.clone()) };
        if collected.payloads.len() as u64 == need.items {
            return Ok(collected);
        }
        if !self.engine.is_closed() {
            let stats = self.engine.stats();
            let charge = terms.need(need).charge();
            collected.refused = Error::Full(match charge > max_bytes {
                true => {
                    let current = stats.memory_usage;
                    Full { limit: Limit::Memory, current, max: max_bytes, needed: charge, ahead: 0 }
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
}
