//! `QueueStats` and `ConsumerStats`: the figures of one moment.

use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyString};
use uuid::Uuid;

use super::message::{datetime, seconds};

/// See the stub, `_mpmc_queue.pyi`, for what users are told.
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct QueueStats {
    stats: crate::QueueStats,
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
    #[getter]
    fn total_items(&self) -> u64 {
        self.stats.total_items
    }

    #[getter]
    fn memory_usage(&self) -> u64 {
        self.stats.memory_usage
    }

    #[getter]
    fn memory_percent(&self) -> f64 {
        100.0 * self.stats.memory_usage as f64 / self.stats.max_bytes as f64
    }

    #[getter]
    fn max_bytes(&self) -> u64 {
        self.stats.max_bytes
    }

    #[getter]
    fn max_items(&self) -> Option<u64> {
        self.stats.max_items
    }

    #[getter]
    fn audit_bytes(&self) -> u64 {
        self.stats.audit_bytes
    }

    #[getter]
    fn consumer_count(&self) -> u64 {
        self.stats.consumers
    }

    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.created)
    }

    #[getter]
    fn ttl(&self) -> Option<f64> {
        self.stats.ttl.map(seconds)
    }

    #[getter]
    fn enqueued(&self) -> u64 {
        self.stats.next_seq
    }

    #[getter]
    fn expired(&self) -> u64 {
        self.stats.expired
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.stats.dropped
    }

    #[getter]
    fn rejected(&self) -> u64 {
        self.stats.rejected
    }

    #[getter]
    fn first_seq(&self) -> u64 {
        self.stats.first_seq
    }

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

/// See the stub, `_mpmc_queue.pyi`, for what users are told.
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
    #[getter]
    fn id(&self) -> Uuid {
        self.stats.id
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.stats.name.as_deref()
    }

    #[getter]
    fn group(&self) -> Option<&str> {
        self.stats.group.as_deref()
    }

    #[getter]
    fn total_items_read(&self) -> u64 {
        self.stats.read
    }

    #[getter]
    fn unread_items(&self) -> u64 {
        self.stats.unread
    }

    #[getter]
    fn unread_bytes(&self) -> u64 {
        self.stats.unread_bytes
    }

    #[getter]
    fn lag(&self) -> f64 {
        seconds(self.stats.lag)
    }

    #[getter]
    fn missed_items(&self) -> u64 {
        self.stats.missed
    }

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
