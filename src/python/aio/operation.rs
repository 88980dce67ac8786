//! The operations of asynchronous calls, step by step without waiting.

use std::task::Waker;

use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::need::Need;
use crate::python::engine::EngineConsumer;
use crate::python::errors;
use crate::python::objects::{Consumer, Queue};
use crate::python::queue::adding::{self, Batch, Terms};
use crate::python::taking::Fill;
use crate::python::watch::{self, Watch};
use crate::wait::list::{Condition, Ticket};

/// The operation, and the objects that it uses.
pub(in crate::python) enum Operation {
    Read(Py<Consumer>),
    ReadBatch(Py<Consumer>, Fill),
    ReadLatest(Py<Consumer>),
    Get(Py<Consumer>),
    GetBatch(Py<Consumer>, Fill),
    Next(Py<Consumer>),
    TakeMissed(Py<Consumer>),
    Enqueue(Py<Queue>, Py<PyAny>, Terms),
    EnqueueBatch(Py<Queue>, Py<PyAny>, Terms),
    Join(Py<Queue>),
    /// Several consumers: returns those that are readable.
    Any(Vec<Py<Consumer>>),
    /// `async with`: the name of the method, and the object that is entered or closed.
    Enter(&'static str, Py<PyAny>),
    Close(&'static str, Py<PyAny>),
}

impl Operation {
    /// The name of the method.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Operation::Read(_) => "Consumer.aread",
            Operation::ReadBatch(..) => "Consumer.aread_batch",
            Operation::ReadLatest(_) => "Consumer.aread_latest",
            Operation::Get(_) => "Consumer.aget",
            Operation::GetBatch(..) => "Consumer.aget_batch",
            Operation::Next(_) => "Consumer.__anext__",
            Operation::TakeMissed(_) => "Consumer.atake_missed",
            Operation::Enqueue(..) => "Queue.aenqueue",
            Operation::EnqueueBatch(..) => "Queue.aenqueue_batch",
            Operation::Join(_) => "Queue.ajoin",
            Operation::Any(_) => "await_any",
            Operation::Enter(name, _) | Operation::Close(name, _) => name,
        }
    }

    /// Whether it never waits, and does not give other tasks their turn either.
    pub(super) fn is_immediate(&self) -> bool {
        matches!(self, Operation::Enter(..) | Operation::Close(..))
    }

    /// The consumer that reads.
    fn consumer(&self) -> Option<&Py<Consumer>> {
        match self {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::ReadLatest(consumer)
            | Operation::Get(consumer)
            | Operation::GetBatch(consumer, _)
            | Operation::Next(consumer)
            | Operation::TakeMissed(consumer) => Some(consumer),
            _ => None,
        }
    }

    /// The queue that it waits for; None: it [never waits](Self::is_immediate).
    pub(super) fn queue(&self) -> Option<&Py<Queue>> {
        match self {
            Operation::Enqueue(queue, ..) | Operation::EnqueueBatch(queue, ..) | Operation::Join(queue) => Some(queue),
            // Its futures are stored in the first of the queues.
            Operation::Any(consumers) => consumers.first().map(|consumer| &consumer.get().queue),
            _ => self.consumer().map(|consumer| &consumer.get().queue),
        }
    }

    /// Whether it waits for several consumers.
    pub(super) fn is_any(&self) -> bool {
        matches!(self, Operation::Any(_))
    }

    /// Enters a waker at each consumer that it waits for; None: one of them may be readable.
    pub(super) fn watch(&self, waker: &Waker) -> Option<Watch> {
        match self {
            Operation::Any(consumers) => Watch::on(consumers, waker),
            _ => None,
        }
    }

    /// How the batch fills, if it may wait for that.
    pub(super) fn lingers(&self) -> Option<Fill> {
        match self {
            Operation::ReadBatch(_, fill) | Operation::GetBatch(_, fill) => {
                Some(*fill).filter(|fill| !fill.linger.is_zero())
            }
            _ => None,
        }
    }

    /// Whether a read would return or raise something now.
    pub(super) fn is_readable(&self, py: Python<'_>) -> PyResult<bool> {
        self.consumer().map_or(Ok(true), |consumer| consumer.get().ask(py, EngineConsumer::is_readable))
    }

    /// Whether a batch can stop waiting to fill.
    pub(super) fn is_full(&self, py: Python<'_>, fill: Fill) -> PyResult<bool> {
        self.consumer()
            .map_or(Ok(true), |consumer| consumer.get().ask(py, |consumer| consumer.is_enough(fill.enough())))
    }

    /// The condition that a batch waits for while it fills.
    pub(super) fn filling(&self, fill: Fill) -> Option<Condition> {
        self.consumer().map(|consumer| Condition::Batch(consumer.get().consumer.key(), fill.enough()))
    }

    pub(super) fn condition(&self, batch: Option<&Batch>) -> Condition {
        match self {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::ReadLatest(consumer)
            | Operation::Get(consumer)
            | Operation::GetBatch(consumer, _)
            | Operation::Next(consumer) => Condition::Message(consumer.get().consumer.key()),
            Operation::TakeMissed(consumer) => Condition::Missed(consumer.get().consumer.key()),
            Operation::Enqueue(..) | Operation::EnqueueBatch(..) => {
                batch.map_or(Condition::Space(Need { bytes: 0, items: 0 }, None), Batch::space)
            }
            Operation::Join(_) | Operation::Any(_) | Operation::Enter(..) | Operation::Close(..) => Condition::Joined,
        }
    }

    /// Performs the operation, if that is possible now.
    pub(super) fn attempt(
        &self,
        py: Python<'_>,
        batch: &mut Option<Box<Batch>>,
        ticket: Option<&Ticket>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Ok(match self {
            Operation::Read(consumer) => consumer.get().take_message(py)?.map(|message| message.into_any().unbind()),
            Operation::ReadBatch(consumer, fill) => {
                consumer.get().take_messages(py, *fill)?.map(|messages| messages.into_any().unbind())
            }
            Operation::ReadLatest(consumer) => {
                consumer.get().take_latest(py)?.map(|message| message.into_any().unbind())
            }
            Operation::Get(consumer) => consumer.get().take_payload(py)?,
            Operation::GetBatch(consumer, fill) => {
                consumer.get().take_payloads(py, *fill)?.map(|payloads| payloads.into_any().unbind())
            }
            Operation::Any(consumers) => match watch::readable(py, consumers) {
                ready if ready.is_empty() => None,
                ready => Some(PyList::new(py, ready)?.into_any().unbind()),
            },
            Operation::Enter(_, object) => Some(object.clone_ref(py)),
            Operation::Close(_, object) => {
                object.bind(py).call_method0(intern!(py, "close"))?;
                Some(py.None())
            }
            Operation::Next(consumer) => match consumer.get().take_message(py) {
                Err(error) if errors::is_closed(py, &error) => return Err(PyStopAsyncIteration::new_err(())),
                message => message?.map(|message| message.into_any().unbind()),
            },
            Operation::TakeMissed(consumer) => match consumer.get().try_take_missed(py)? {
                Some(count) => Some(count.into_pyobject(py)?.into_any().unbind()),
                None => None,
            },
            Operation::Enqueue(queue, payload, terms) => {
                if batch.is_none() {
                    *batch = Some(Box::new(queue.get().batch_of_one(payload.bind(py), terms)?));
                }
                match batch.as_mut().map(|batch| queue.get().try_add(py, batch, ticket)).transpose()? {
                    Some(Some(seqs)) => Some(seqs.start.into_pyobject(py)?.into_any().unbind()),
                    _ => None,
                }
            }
            Operation::EnqueueBatch(queue, payloads, terms) => {
                if batch.is_none() {
                    *batch = Some(Box::new(queue.get().collect(payloads.bind(py), terms)?));
                }
                match batch.as_mut().map(|batch| queue.get().try_add(py, batch, ticket)).transpose()? {
                    Some(Some(seqs)) => Some(adding::range(py, seqs)?.into_any().unbind()),
                    _ => None,
                }
            }
            Operation::Join(queue) => {
                let joined = queue.get().engine.is_joined();
                joined
                    .then(|| true.into_pyobject(py).map(|joined| joined.to_owned().into_any().unbind()))
                    .transpose()?
            }
        })
    }

    /// The result after the time is up.
    pub(super) fn give_up(&self, py: Python<'_>, batch: Option<&Batch>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Operation::Get(_) => return Err(errors::empty(py)),
            Operation::Read(_) | Operation::ReadLatest(_) | Operation::Next(_) => py.None(),
            Operation::Enter(..) | Operation::Close(..) => py.None(),
            Operation::ReadBatch(..) | Operation::GetBatch(..) | Operation::Any(_) => {
                PyList::empty(py).into_any().unbind()
            }
            Operation::TakeMissed(_) => 0u64.into_pyobject(py)?.into_any().unbind(),
            Operation::Join(_) => false.into_pyobject(py)?.to_owned().into_any().unbind(),
            Operation::Enqueue(queue, ..) | Operation::EnqueueBatch(queue, ..) => {
                return Err(match batch {
                    Some(batch) => queue.get().refusal(py, batch),
                    None => errors::raise(py, crate::Error::Closed, &queue.get().name),
                });
            }
        })
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Operation::Enqueue(queue, payload, _) | Operation::EnqueueBatch(queue, payload, _) => {
                visit.call(queue)?;
                visit.call(payload)
            }
            Operation::Enter(_, object) | Operation::Close(_, object) => visit.call(object),
            Operation::Join(queue) => visit.call(queue),
            Operation::Any(consumers) => consumers.iter().try_for_each(|consumer| visit.call(consumer)),
            _ => self.consumer().map_or(Ok(()), |consumer| visit.call(consumer)),
        }
    }
}
