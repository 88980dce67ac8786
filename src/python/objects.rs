//! The data of the objects of queues, consumers and groups. Their methods are in `queue/`, `consumer.rs` and
//! `group.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyString;
use uuid::Uuid;

use super::aio::futures::Futures;
use super::aio::mailbox::waking;
use super::engine::{Engine, EngineConsumer, EngineGroup};
use super::fast::seq::LastSeq;
use super::host::lifecycle;
use super::message::Source;
use super::registry::Registry;
use crate::Filters;

#[doc = doc!(Queue)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Queue {
    pub(super) engine: Engine,
    pub(super) name: Py<PyString>,
    /// Nanoseconds since the epoch.
    pub(super) created: u64,
    /// Whether there is a sizer. The lock beside it is only taken if there is one.
    pub(super) has_sizer: AtomicBool,
    pub(super) sizer: Mutex<Option<Py<PyAny>>>,
    /// The objects of the consumers, by id. Kept with each: the callback for missed messages.
    pub(super) consumers: Registry<Uuid>,
    /// The futures that asynchronous calls wait on.
    pub(super) futures: Arc<Futures>,
    /// The objects of the groups, by name. Kept with each: the dead letter queue.
    pub(super) groups: Registry<String>,
    /// What messages know of this queue.
    pub(super) source: Py<Source>,
    /// The int that the last `enqueue` returned.
    pub(super) last_seq: LastSeq,
}

impl Drop for Queue {
    fn drop(&mut self) {
        lifecycle::unregister(self.engine.number());
    }
}

#[doc = doc!(Consumer)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct Consumer {
    pub(super) consumer: EngineConsumer,
    pub(super) queue: Py<Queue>,
    /// What the messages of this consumer know of the queue.
    pub(super) source: Py<Source>,
    pub(super) name: Option<String>,
    /// Its filters; None: it reads everything.
    pub(super) filters: Option<Filters>,
    /// For a consumer that is removed together with this object. There is never a second object for it.
    pub(super) ephemeral: Option<Ephemeral>,
}

/// What the object of an ephemeral consumer keeps itself.
pub(super) struct Ephemeral {
    /// The callback for missed messages. The queue does not hold it, because it may refer to the consumer.
    pub(super) on_missed: Option<Py<PyAny>>,
}

impl Consumer {
    fn new(queue: &Bound<'_, Queue>, consumer: EngineConsumer, ephemeral: Option<Ephemeral>) -> Self {
        // None is also possible if another thread has just removed it.
        let (name, filters) = consumer.stats().map_or((None, None), |stats| (stats.name, stats.filters));
        let source = Source::of_consumer(queue.py(), &queue.get().source);
        Consumer { consumer, queue: queue.clone().unbind(), source, name, filters, ephemeral }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.ephemeral.is_some() {
            Python::try_attach(|py| {
                let removed = waking(|| {
                    self.queue.get().remove(&self.consumer);
                    Ok(())
                });
                removed.unwrap_or_else(|error| error.write_unraisable(py, None));
            });
        }
    }
}

#[doc = doc!(ConsumerGroup)]
#[pyclass(module = "mpmc_queue", frozen, weakref, generic)]
pub(super) struct ConsumerGroup {
    pub(super) group: EngineGroup,
    pub(super) queue: Py<Queue>,
    pub(super) name: Py<PyString>,
}

/// The object of a consumer: the existing one, or a new one.
pub(super) fn consumer<'py>(queue: &Bound<'py, Queue>, consumer: EngineConsumer) -> PyResult<Bound<'py, Consumer>> {
    let id = consumer.id();
    queue.get().consumers.object(queue.py(), &id, || Consumer::new(queue, consumer, None))
}

/// The object of a new consumer, with the callback for missed messages.
pub(super) fn new_consumer<'py>(
    queue: &Bound<'py, Queue>,
    consumer: EngineConsumer,
    on_missed: Option<Py<PyAny>>,
    is_ephemeral: bool,
) -> PyResult<Bound<'py, Consumer>> {
    let (py, consumers, id) = (queue.py(), &queue.get().consumers, consumer.id());
    if !is_ephemeral {
        consumers.enter(id, on_missed);
        return self::consumer(queue, consumer);
    }
    consumers.enter(id, None);
    consumers.object(py, &id, || Consumer::new(queue, consumer, Some(Ephemeral { on_missed })))
}

/// The object of a group: the existing one, or a new one.
pub(super) fn group<'py>(
    queue: &Bound<'py, Queue>,
    group: EngineGroup,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, ConsumerGroup>> {
    queue.get().groups.object(queue.py(), &*name.to_string_lossy(), || ConsumerGroup {
        group,
        queue: queue.clone().unbind(),
        name: name.clone().unbind(),
    })
}

impl Queue {
    /// Removes a consumer.
    pub(super) fn remove(&self, consumer: &EngineConsumer) -> bool {
        let removed = consumer.close();
        self.consumers.remove(&consumer.id());
        removed
    }

    /// Removes the data of a group that was closed.
    pub(super) fn forget_group(&self, name: &str, group: &EngineGroup) {
        // Another group with that name may have been added in the meantime.
        let is_replaced = self.engine.group(name).is_some_and(|other| other.serial() != group.serial());
        if !is_replaced {
            self.groups.remove(name);
        }
    }
}
