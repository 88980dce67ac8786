//! Finds the consumers that arguments refer to.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use uuid::Uuid;

use crate::Predecessor;
use crate::python::arguments;
use crate::python::engine::EngineConsumer;
use crate::python::objects::{Consumer, ConsumerGroup, Queue};

/// The consumer of a queue with an id, given as a UUID or in its string form.
pub(super) fn by_id(queue: &Queue, id: &Bound<'_, PyAny>) -> PyResult<Option<EngineConsumer>> {
    Ok(id_of(id)?.and_then(|id| queue.engine.consumer(id)))
}

/// The consumer of a queue, given as its object or its id.
pub(super) fn consumer(queue: &Queue, consumer: &Bound<'_, PyAny>) -> PyResult<Option<EngineConsumer>> {
    match consumer.cast::<Consumer>() {
        Ok(consumer) => Ok(Some(&consumer.get().consumer).filter(|it| it.queue().is(&queue.engine)).cloned()),
        Err(_) => by_id(queue, consumer).map_err(|_| {
            let kind = consumer.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
            PyTypeError::new_err(format!("consumer must be a Consumer, a UUID or a str, not {kind}"))
        }),
    }
}

/// An id, as a UUID or in its string form; None: the string is not an id.
fn id_of(id: &Bound<'_, PyAny>) -> PyResult<Option<Uuid>> {
    if let Ok(text) = id.cast::<PyString>() {
        return Ok(Uuid::parse_str(&text.to_string_lossy()).ok());
    }
    id.extract::<Uuid>().map(Some).map_err(|_| {
        let kind = id.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("id must be a UUID or a str, not {kind}"))
    })
}

/// The consumers and groups of this queue that `after=` names.
pub(super) fn predecessors(queue: &Queue, after: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Predecessor>> {
    let Some(after) = after else { return Ok(Vec::new()) };
    let kind = |value: &Bound<'_, PyAny>| value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    let expected = "after must be an iterable of Consumers and ConsumerGroups";
    if after.is_instance_of::<Consumer>() || after.is_instance_of::<ConsumerGroup>() {
        return Err(PyTypeError::new_err(format!("{expected}, not one {}: pass [it]", kind(after))));
    }
    let refused = || PyTypeError::new_err(format!("{expected}, not {}", kind(after)));
    let each = arguments::iterate_or(after, refused)?;
    each.map(|one| {
        let one = one?;
        let (engine, predecessor) = if let Ok(consumer) = one.cast::<Consumer>() {
            (consumer.get().consumer.queue().clone(), consumer.get().consumer.predecessor())
        } else if let Ok(group) = one.cast::<ConsumerGroup>() {
            (group.get().group.queue().clone(), group.get().group.predecessor())
        } else {
            return Err(PyTypeError::new_err(format!("{expected}, not of {}", kind(&one))));
        };
        match engine.is(&queue.engine) {
            true => Ok(predecessor),
            false => Err(PyValueError::new_err("after must name consumers and groups of this queue, not of another")),
        }
    })
    .collect()
}
