//! Waits for several consumers at once, of any queues.

use std::task::Waker;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::aio::call::Call;
use super::aio::operation::Operation;
use super::arguments;
use super::host::waiting::park;
use super::objects::Consumer;
use super::timeouts::Timeout;
use super::watch::{Watch, readable};
use crate::wait::parker::Parker;

#[doc = doc!(wait_any)]
#[pyfunction]
#[pyo3(signature = (consumers, *, timeout = Timeout::Never), text_signature = "(consumers, *, timeout=None)")]
pub(super) fn wait_any<'py>(consumers: &Bound<'py, PyAny>, timeout: Timeout) -> PyResult<Bound<'py, PyList>> {
    let py = consumers.py();
    let consumers = listed(consumers)?;
    let deadline = timeout.deadline();
    let parker = Parker::new();
    let waker = Waker::from(parker.clone());
    loop {
        let ready = readable(py, &consumers);
        if !ready.is_empty() || timeout.is_zero() {
            return PyList::new(py, ready);
        }
        let Some(watch) = Watch::on(&consumers, &waker) else { continue };
        loop {
            let left = timeout.left(deadline);
            if left.is_zero() {
                drop(watch);
                return PyList::new(py, readable(py, &consumers));
            }
            if park(py, &parker, left)? {
                break;
            }
        }
    }
}

#[doc = doc!(await_any)]
#[pyfunction]
#[pyo3(signature = (consumers, *, timeout = Timeout::Never), text_signature = "(consumers, *, timeout=None)")]
pub(super) fn await_any(consumers: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<Call> {
    Ok(Call::new(Operation::Any(listed(consumers)?), timeout))
}

/// The consumers to wait for, checked.
fn listed(consumers: &Bound<'_, PyAny>) -> PyResult<Vec<Py<Consumer>>> {
    let refused = |value: &Bound<'_, PyAny>| -> PyResult<PyErr> {
        let kind = value.get_type().name()?;
        Ok(PyTypeError::new_err(format!("consumers must be an iterable of Consumers, not {kind}")))
    };
    if consumers.is_instance_of::<Consumer>() {
        return Err(PyTypeError::new_err("consumers must be an iterable of Consumers, not one: pass [consumer]"));
    }
    let each = arguments::iterate_or(consumers, || refused(consumers).unwrap_or_else(|error| error))?;
    let mut list = Vec::new();
    for consumer in each {
        let consumer = consumer?;
        match consumer.cast::<Consumer>() {
            Ok(consumer) => list.push(consumer.clone().unbind()),
            Err(_) => return Err(PyTypeError::new_err(format!("{}, in it", refused(&consumer)?.value(consumer.py())))),
        }
    }
    match list.is_empty() {
        true => Err(PyValueError::new_err("consumers must be at least one consumer")),
        false => Ok(list),
    }
}
