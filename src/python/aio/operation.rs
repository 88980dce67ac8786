//! What an asynchronous call does, step by step without waiting.

use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::Lifetime;
use crate::need::Need;
use crate::python::errors;
use crate::python::objects::{Consumer, Queue};
use crate::python::queue::adding::{self, Batch};
use crate::wait::list::{Condition, Ticket};

/// What is called, with what it is called on.
pub(in crate::python) enum Operation {
    Read(Py<Consumer>),
    ReadBatch(Py<Consumer>, usize),
    Get(Py<Consumer>),
    Next(Py<Consumer>),
    TakeMissed(Py<Consumer>),
    Enqueue(Py<Queue>, Py<PyAny>, Lifetime),
    EnqueueBatch(Py<Queue>, Py<PyAny>, Lifetime),
    Join(Py<Queue>),
}

impl Operation {
    /// The method that it is of.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Operation::Read(_) => "Consumer.aread",
            Operation::ReadBatch(..) => "Consumer.aread_batch",
            Operation::Get(_) => "Consumer.aget",
            Operation::Next(_) => "Consumer.__anext__",
            Operation::TakeMissed(_) => "Consumer.atake_missed",
            Operation::Enqueue(..) => "Queue.aenqueue",
            Operation::EnqueueBatch(..) => "Queue.aenqueue_batch",
            Operation::Join(_) => "Queue.ajoin",
        }
    }

    pub(super) fn queue(&self) -> &Py<Queue> {
        match self {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::Get(consumer)
            | Operation::Next(consumer)
            | Operation::TakeMissed(consumer) => &consumer.get().queue,
            Operation::Enqueue(queue, ..) | Operation::EnqueueBatch(queue, ..) | Operation::Join(queue) => queue,
        }
    }

    pub(super) fn condition(&self, need: Need) -> Condition {
        match self {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::Get(consumer)
            | Operation::Next(consumer) => Condition::Message(consumer.get().consumer.key()),
            Operation::TakeMissed(consumer) => Condition::Missed(consumer.get().consumer.key()),
            Operation::Enqueue(..) | Operation::EnqueueBatch(..) => Condition::Space(need),
            Operation::Join(_) => Condition::Joined,
        }
    }

    /// Does it, if it can be done now.
    pub(super) fn attempt(
        &self,
        py: Python<'_>,
        batch: &mut Option<Box<Batch>>,
        ticket: Option<&Ticket>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Ok(match self {
            Operation::Read(consumer) => consumer.get().take_message(py)?.map(|message| message.into_any().unbind()),
            Operation::ReadBatch(consumer, limit) => {
                consumer.get().take_messages(py, *limit)?.map(|messages| messages.into_any().unbind())
            }
            Operation::Get(consumer) => consumer.get().take_payload(py)?,
            Operation::Next(consumer) => match consumer.get().take_message(py) {
                Err(error) if errors::is_closed(py, &error) => return Err(PyStopAsyncIteration::new_err(())),
                message => message?.map(|message| message.into_any().unbind()),
            },
            Operation::TakeMissed(consumer) => match consumer.get().try_take_missed(py)? {
                Some(count) => Some(count.into_pyobject(py)?.into_any().unbind()),
                None => None,
            },
            Operation::Enqueue(queue, payload, lifetime) => {
                if batch.is_none() {
                    *batch = Some(Box::new(queue.get().batch_of_one(payload.bind(py))?));
                }
                match batch.as_mut().map(|batch| queue.get().try_add(py, batch, *lifetime, ticket)).transpose()? {
                    Some(Some(seqs)) => Some(seqs.start.into_pyobject(py)?.into_any().unbind()),
                    _ => None,
                }
            }
            Operation::EnqueueBatch(queue, payloads, lifetime) => {
                if batch.is_none() {
                    *batch = Some(Box::new(queue.get().collect(payloads.bind(py))?));
                }
                match batch.as_mut().map(|batch| queue.get().try_add(py, batch, *lifetime, ticket)).transpose()? {
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

    /// What it comes to when its time is up.
    pub(super) fn give_up(&self, py: Python<'_>, batch: Option<&Batch>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Operation::Read(_) | Operation::Get(_) | Operation::Next(_) => py.None(),
            Operation::ReadBatch(..) => pyo3::types::PyList::empty(py).into_any().unbind(),
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
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::Get(consumer)
            | Operation::Next(consumer)
            | Operation::TakeMissed(consumer) => visit.call(consumer),
            Operation::Enqueue(queue, payload, _) | Operation::EnqueueBatch(queue, payload, _) => {
                visit.call(queue)?;
                visit.call(payload)
            }
            Operation::Join(queue) => visit.call(queue),
        }
    }
}
