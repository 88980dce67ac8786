//! `QueueStats`, `ConsumerStats` and `GroupStats`: the figures of one moment.

use super::message::{datetime, seconds, uuid};
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyString};

/// A queue's figures, all taken at the same moment.
///
/// >>> q = Queue("q", max_items=10)
/// >>> _ = q.enqueue_batch("abc")
/// >>> stats = q.stats()
/// >>> stats.total_items, stats.max_items, stats.next_seq
/// (3, 10, 3)
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct QueueStats {
    stats: crate::QueueStats,
    /// The queue's name.
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
    /// Messages held.
    #[getter]
    fn total_items(&self) -> u64 {
        self.stats.total_items
    }

    /// Bytes held, payloads and overhead.
    #[getter]
    fn memory_usage(&self) -> u64 {
        self.stats.memory_usage
    }

    /// `memory_usage` in percent of `max_bytes`.
    #[getter]
    fn memory_percent(&self) -> f64 {
        100.0 * self.stats.memory_usage as f64 / self.stats.max_bytes as f64
    }

    /// The limit in bytes.
    #[getter]
    fn max_bytes(&self) -> u64 {
        self.stats.max_bytes
    }

    /// The limit in messages; None when there is none.
    #[getter]
    fn max_items(&self) -> Option<u64> {
        self.stats.max_items
    }

    /// Bytes held by the read records, apart from `memory_usage`.
    #[getter]
    fn audit_bytes(&self) -> u64 {
        self.stats.audit_bytes
    }

    /// Consumers registered.
    #[getter]
    fn consumer_count(&self) -> u64 {
        self.stats.consumers
    }

    /// When the queue was made, as an aware datetime in UTC.
    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.created)
    }

    /// Seconds a message lives; None: for ever.
    #[getter]
    fn ttl(&self) -> Option<f64> {
        self.stats.ttl.map(seconds)
    }

    /// Messages enqueued since creation.
    #[getter]
    fn enqueued(&self) -> u64 {
        self.stats.next_seq
    }

    /// Messages removed by their TTL since creation.
    #[getter]
    fn expired(&self) -> u64 {
        self.stats.expired
    }

    /// Messages removed to make room since creation.
    #[getter]
    fn dropped(&self) -> u64 {
        self.stats.dropped
    }

    /// Messages refused with QueueFullError since creation; a refused batch counts each of its messages.
    #[getter]
    fn rejected(&self) -> u64 {
        self.stats.rejected
    }

    /// The oldest message held; `next_seq` when there is none.
    #[getter]
    fn first_seq(&self) -> u64 {
        self.stats.first_seq
    }

    /// What the next enqueue returns.
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

/// A consumer's figures, all taken at the same moment, in O(1) however much is unread.
///
/// The books balance: `total_items_read + missed_items + unread_items` is what has been enqueued since the consumer's
/// start (until it seeks).
///
/// >>> q = Queue("q")
/// >>> reader = q.add_consumer("reader")
/// >>> _ = q.enqueue_batch("abc")
/// >>> _ = reader.get()
/// >>> stats = reader.stats()
/// >>> stats.total_items_read, stats.missed_items, stats.unread_items
/// (1, 0, 2)
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
    /// The consumer's id.
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        uuid(py, self.stats.id)
    }

    /// Its name, if it was given one.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.stats.name.as_deref()
    }

    /// The name of its group, if it is a member of one.
    #[getter]
    fn group(&self) -> Option<&str> {
        self.stats.group.as_deref()
    }

    /// Messages read, those passed over by `read_where` or by seeking forward included; of a member of a group, the
    /// deliveries it was given.
    #[getter]
    fn total_items_read(&self) -> u64 {
        self.stats.read
    }

    /// Messages that reading on would deliver now.
    #[getter]
    fn unread_items(&self) -> u64 {
        self.stats.unread
    }

    /// Their size in bytes.
    #[getter]
    fn unread_bytes(&self) -> u64 {
        self.stats.unread_bytes
    }

    /// Seconds since the oldest unread message was enqueued; 0.0 when there is none.
    #[getter]
    fn lag(&self) -> f64 {
        seconds(self.stats.lag)
    }

    /// Messages that left before this consumer read them.
    #[getter]
    fn missed_items(&self) -> u64 {
        self.stats.missed
    }

    /// When it last read, as an aware datetime in UTC; None before the first read.
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

/// A group's figures, all taken at the same moment.
///
/// The books balance: `total_items_read + unread_items + pending_items + missed_items + dead_lettered_items` is what has been
/// enqueued since the group's start (until it seeks).
///
/// >>> q = Queue("q")
/// >>> workers = q.add_group("workers", ack_wait=30)
/// >>> worker = workers.add_consumer()
/// >>> _ = q.enqueue_batch("abc")
/// >>> worker.read().ack()
/// True
/// >>> message = worker.read()
/// >>> stats = workers.stats()
/// >>> stats.total_items_read, stats.pending_items, stats.unread_items
/// (1, 1, 1)
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
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.stats.name.as_str()
    }

    /// Members there are.
    #[getter]
    fn member_count(&self) -> u64 {
        self.stats.members
    }

    /// Messages settled: acked, or termed where there is no dead letter queue; without ack_wait, delivered.
    #[getter]
    fn total_items_read(&self) -> u64 {
        self.stats.read
    }

    /// Messages that wait to be delivered: new ones, and those ready to be delivered again.
    #[getter]
    fn unread_items(&self) -> u64 {
        self.stats.unread
    }

    /// Their size in bytes.
    #[getter]
    fn unread_bytes(&self) -> u64 {
        self.stats.unread_bytes
    }

    /// Seconds since the oldest of them was enqueued; 0.0 when there is none.
    #[getter]
    fn lag(&self) -> f64 {
        seconds(self.stats.lag)
    }

    /// Messages delivered, not settled, and not ready to be delivered again.
    #[getter]
    fn pending_items(&self) -> u64 {
        self.stats.pending
    }

    /// Messages that expired or were dropped, or that were delivered max_deliver times and have no dead letter queue.
    #[getter]
    fn missed_items(&self) -> u64 {
        self.stats.missed
    }

    /// Of the missed: those that the dead letter queue could never take, for it is too small for them.
    #[getter]
    fn refused_dead_letters(&self) -> u64 {
        self.stats.refused_dead_letters
    }

    /// Deliveries that were not the first of their message.
    #[getter]
    fn redelivered_items(&self) -> u64 {
        self.stats.redelivered
    }

    /// Messages moved to the dead letter queue.
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
