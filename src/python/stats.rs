//! `QueueStats`, `ConsumerStats` and `GroupStats`: the figures of one moment.

use super::arguments::{OVERFLOWS, RETENTIONS, word_for};
use super::message::{datetime, seconds, uuid};
use super::topics::texts;
use crate::Reader;
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyString, PyTuple};

#[doc = doc!(QueueStats)]
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct QueueStats {
    stats: crate::QueueStats,
    #[doc = doc!(QueueStats.name)]
    #[pyo3(get)]
    name: Py<PyString>,
    created: u64,
}

impl QueueStats {
    pub(super) fn new(py: Python<'_>, stats: crate::QueueStats, name: &Py<PyString>, created: u64) -> Self {
        QueueStats { stats, name: name.clone_ref(py), created }
    }
}

#[pymethods]
impl QueueStats {
    #[doc = doc!(QueueStats.total_items)]
    #[getter]
    fn total_items(&self) -> u64 {
        self.stats.total_items
    }

    #[doc = doc!(QueueStats.memory_usage)]
    #[getter]
    fn memory_usage(&self) -> u64 {
        self.stats.memory_usage
    }

    #[doc = doc!(QueueStats.memory_percent)]
    #[getter]
    fn memory_percent(&self) -> f64 {
        100.0 * self.stats.memory_usage as f64 / self.stats.max_bytes as f64
    }

    #[doc = doc!(QueueStats.max_bytes)]
    #[getter]
    fn max_bytes(&self) -> u64 {
        self.stats.max_bytes
    }

    #[doc = doc!(QueueStats.max_items)]
    #[getter]
    fn max_items(&self) -> Option<u64> {
        self.stats.max_items
    }

    #[doc = doc!(QueueStats.audit_bytes)]
    #[getter]
    fn audit_bytes(&self) -> u64 {
        self.stats.audit_bytes
    }

    #[doc = doc!(QueueStats.audit_complete)]
    #[getter]
    fn audit_complete(&self) -> bool {
        self.stats.is_audit_complete
    }

    #[doc = doc!(QueueStats.consumer_count)]
    #[getter]
    fn consumer_count(&self) -> u64 {
        self.stats.consumers
    }

    #[doc = doc!(QueueStats.created_at)]
    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.created)
    }

    #[doc = doc!(QueueStats.ttl)]
    #[getter]
    fn ttl(&self) -> Option<f64> {
        self.stats.ttl.map(seconds)
    }

    #[doc = doc!(QueueStats.enqueued)]
    #[getter]
    fn enqueued(&self) -> u64 {
        self.stats.next_seq
    }

    #[doc = doc!(QueueStats.expired)]
    #[getter]
    fn expired(&self) -> u64 {
        self.stats.expired
    }

    #[doc = doc!(QueueStats.dropped)]
    #[getter]
    fn dropped(&self) -> u64 {
        self.stats.dropped
    }

    #[doc = doc!(QueueStats.rejected)]
    #[getter]
    fn rejected(&self) -> u64 {
        self.stats.rejected
    }

    #[doc = doc!(QueueStats.first_seq)]
    #[getter]
    fn first_seq(&self) -> u64 {
        self.stats.first_seq
    }

    #[doc = doc!(QueueStats.next_seq)]
    #[getter]
    fn next_seq(&self) -> u64 {
        self.stats.next_seq
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let stats = &self.stats;
        Ok(format!(
            "QueueStats(name={}, total_items={}, memory_usage={}, max_bytes={}, consumer_count={}, enqueued={}, \
             expired={}, dropped={}, rejected={})",
            self.name.bind(py).repr()?,
            stats.total_items,
            stats.memory_usage,
            stats.max_bytes,
            stats.consumers,
            stats.next_seq,
            stats.expired,
            stats.dropped,
            stats.rejected
        ))
    }
}

#[doc = doc!(ConsumerStats)]
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct ConsumerStats {
    stats: crate::ConsumerStats,
}

impl From<crate::ConsumerStats> for ConsumerStats {
    fn from(stats: crate::ConsumerStats) -> Self {
        ConsumerStats { stats }
    }
}

#[pymethods]
impl ConsumerStats {
    #[doc = doc!(ConsumerStats.id)]
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        uuid(py, self.stats.id)
    }

    #[doc = doc!(ConsumerStats.name)]
    #[getter]
    fn name(&self) -> Option<&str> {
        self.stats.name.as_deref()
    }

    #[doc = doc!(ConsumerStats.group)]
    #[getter]
    fn group(&self) -> Option<&str> {
        self.stats.group.as_deref()
    }

    #[doc = doc!(ConsumerStats.total_items_read)]
    #[getter]
    fn total_items_read(&self) -> u64 {
        self.stats.read
    }

    #[doc = doc!(ConsumerStats.passed_items)]
    #[getter]
    fn passed_items(&self) -> u64 {
        self.stats.passed
    }

    #[doc = doc!(ConsumerStats.unread_items)]
    #[getter]
    fn unread_items(&self) -> u64 {
        self.stats.unread
    }

    #[doc = doc!(ConsumerStats.unread_bytes)]
    #[getter]
    fn unread_bytes(&self) -> u64 {
        self.stats.unread_bytes
    }

    #[doc = doc!(ConsumerStats.lag)]
    #[getter]
    fn lag(&self) -> f64 {
        seconds(self.stats.lag)
    }

    #[doc = doc!(ConsumerStats.missed_items)]
    #[getter]
    fn missed_items(&self) -> u64 {
        self.stats.missed
    }

    #[doc = doc!(ConsumerStats.dropped_items)]
    #[getter]
    fn dropped_items(&self) -> u64 {
        self.stats.dropped
    }

    #[doc = doc!(ConsumerStats.topics)]
    #[getter]
    fn topics<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        texts(py, self.stats.filters.as_ref())
    }

    #[doc = doc!(ConsumerStats.filtered_items)]
    #[getter]
    fn filtered_items(&self) -> u64 {
        self.stats.filtered
    }

    #[doc = doc!(ConsumerStats.last_read_time)]
    #[getter]
    fn last_read_time<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDateTime>>> {
        self.stats.last_read.map(|at| datetime(py, at)).transpose()
    }

    fn __repr__(&self) -> String {
        let stats = &self.stats;
        format!(
            "ConsumerStats(name={:?}, total_items_read={}, unread_items={}, missed_items={}, lag={:.3})",
            stats.name.as_deref().unwrap_or(""),
            stats.read,
            stats.unread,
            stats.missed,
            seconds(stats.lag)
        )
    }
}

#[doc = doc!(GroupStats)]
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct GroupStats {
    stats: crate::GroupStats,
}

impl From<crate::GroupStats> for GroupStats {
    fn from(stats: crate::GroupStats) -> Self {
        GroupStats { stats }
    }
}

#[pymethods]
impl GroupStats {
    #[doc = doc!(GroupStats.name)]
    #[getter]
    fn name(&self) -> &str {
        self.stats.name.as_str()
    }

    #[doc = doc!(GroupStats.member_count)]
    #[getter]
    fn member_count(&self) -> u64 {
        self.stats.members
    }

    #[doc = doc!(GroupStats.total_items_read)]
    #[getter]
    fn total_items_read(&self) -> u64 {
        self.stats.read
    }

    #[doc = doc!(GroupStats.unread_items)]
    #[getter]
    fn unread_items(&self) -> u64 {
        self.stats.unread
    }

    #[doc = doc!(GroupStats.unread_bytes)]
    #[getter]
    fn unread_bytes(&self) -> u64 {
        self.stats.unread_bytes
    }

    #[doc = doc!(GroupStats.lag)]
    #[getter]
    fn lag(&self) -> f64 {
        seconds(self.stats.lag)
    }

    #[doc = doc!(GroupStats.pending_items)]
    #[getter]
    fn pending_items(&self) -> u64 {
        self.stats.pending
    }

    #[doc = doc!(GroupStats.missed_items)]
    #[getter]
    fn missed_items(&self) -> u64 {
        self.stats.missed
    }

    #[doc = doc!(GroupStats.dropped_items)]
    #[getter]
    fn dropped_items(&self) -> u64 {
        self.stats.dropped
    }

    #[doc = doc!(GroupStats.undeliverable_items)]
    #[getter]
    fn undeliverable_items(&self) -> u64 {
        self.stats.undeliverable
    }

    #[doc = doc!(GroupStats.refused_dead_letters)]
    #[getter]
    fn refused_dead_letters(&self) -> u64 {
        self.stats.refused_dead_letters
    }

    #[doc = doc!(GroupStats.topics)]
    #[getter]
    fn topics<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        texts(py, self.stats.filters.as_ref())
    }

    #[doc = doc!(GroupStats.filtered_items)]
    #[getter]
    fn filtered_items(&self) -> u64 {
        self.stats.filtered
    }

    #[doc = doc!(GroupStats.redelivered_items)]
    #[getter]
    fn redelivered_items(&self) -> u64 {
        self.stats.redelivered
    }

    #[doc = doc!(GroupStats.dead_lettered_items)]
    #[getter]
    fn dead_lettered_items(&self) -> u64 {
        self.stats.dead_lettered
    }

    fn __repr__(&self) -> String {
        let stats = &self.stats;
        format!(
            "GroupStats(name={:?}, total_items_read={}, unread_items={}, pending_items={}, missed_items={}, \
             dead_lettered_items={}, lag={:.3})",
            stats.name,
            stats.read,
            stats.unread,
            stats.pending,
            stats.missed,
            stats.dead_lettered,
            seconds(stats.lag)
        )
    }
}

/// All figures, for `Queue._figures`.
pub(super) fn figures<'py>(
    py: Python<'py>,
    figures: crate::Figures,
    name: &Py<PyString>,
    created: u64,
) -> PyResult<Bound<'py, PyTuple>> {
    let queue = QueueStats::new(py, figures.queue, name, created);
    let consumers: Vec<_> = figures.consumers.into_iter().map(ConsumerStats::from).collect();
    let groups: Vec<_> = figures.groups.into_iter().map(GroupStats::from).collect();
    let departed = figures.departed.into_iter();
    let departed: Vec<_> = departed.map(|past| (past.group, past.name, past.read, past.missed, past.dropped)).collect();
    let settings = (word_for(&RETENTIONS, figures.retention), word_for(&OVERFLOWS, figures.overflow));
    let reader = |reader| match reader {
        Reader::Consumer(id) => uuid(py, id),
        Reader::Group(name) => Ok(PyString::new(py, &name).into_any()),
    };
    let pairs = figures.order.into_iter().map(|pair| Ok((reader(pair.follower)?, reader(pair.predecessor)?)));
    let order = pairs.collect::<PyResult<Vec<_>>>()?;
    let oldest = seconds(figures.oldest);
    (queue, oldest, consumers, groups, departed, settings, figures.waiting_producers, order).into_pyobject(py)
}
