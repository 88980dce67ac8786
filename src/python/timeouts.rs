//! How long a call may wait, as callers specify it.

use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::host::detach;
use super::refusals::{shown, type_error, value_error};

/// A time in nanoseconds of at least this length means no limit.
const LARGEST: u128 = i64::MAX as u128;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    After(Duration),
    Never,
}

impl Timeout {
    pub(super) const NOW: Self = Timeout::After(Duration::ZERO);

    pub(super) fn is_zero(self) -> bool {
        self == Timeout::NOW
    }

    /// The deadline of a wait that begins now; None: no limit.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Timeout::After(limit) => Instant::now().checked_add(limit),
            Timeout::Never => None,
        }
    }

    /// The time that is left until a deadline.
    pub(super) fn left(self, deadline: Option<Instant>) -> Self {
        match deadline {
            Some(deadline) if !self.is_zero() => Timeout::After(deadline.saturating_duration_since(Instant::now())),
            _ => self,
        }
    }
}

/// Seconds as a duration; None: no limit.
pub(super) fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    if value.is_instance_of::<PyBool>() {
        return Err(type_error(name, "a number of seconds", value));
    }
    let seconds = if let Ok(float) = value.cast::<PyFloat>() {
        float.value()
    } else if value.is_instance_of::<PyInt>() || value.hasattr("__index__")? || value.hasattr("__float__")? {
        match value.extract::<f64>() {
            Ok(seconds) => seconds,
            // An int too large for a float.
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => match value.lt(0)? {
                true => f64::NEG_INFINITY,
                false => f64::INFINITY,
            },
            Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => {
                return Err(type_error(name, "a number of seconds", value));
            }
            Err(error) => return Err(error),
        }
    } else {
        return Err(type_error(name, "a number of seconds", value));
    };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(value_error(name, "a number of seconds that is not negative", value));
    }
    // A time too large to represent means no limit. A time below the clock's resolution becomes the shortest one that
    // the clock can measure.
    let shortest = Duration::from_nanos(u64::from(seconds > 0.0));
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|d| d.as_nanos() < LARGEST);
    Ok(duration.map(|duration| duration.max(shortest)))
}

impl<'py> FromPyObject<'_, 'py> for Timeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Timeout::Never);
        }
        if let Ok(float) = value.cast_exact::<PyFloat>()
            && float.value() == 0.0
        {
            return Ok(Timeout::NOW);
        }
        Ok(seconds("timeout", &value)?.map_or(Timeout::Never, Timeout::After))
    }
}

/// The argument `block`. Its truth value is used, as in the standard library. A number other than a truth value is a
/// timeout in the wrong position.
#[derive(Clone, Copy)]
pub(super) struct Block(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Block {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let is_number = value.is_exact_instance_of::<PyInt>() || value.is_exact_instance_of::<PyFloat>();
        if is_number && value.ne(0)? && value.ne(1)? {
            let meant = shown("timeout", &value);
            return Err(PyTypeError::new_err(format!(
                "block must be true or false: pass {meant} by name to wait so long"
            )));
        }
        value.extract().map(|Truth(block)| Block(block))
    }
}

/// An argument whose truth value is used, as in the standard library.
#[derive(Clone, Copy)]
pub(super) struct Truth(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        detach::call_out(value.py(), || value.is_truthy()).map(Truth)
    }
}

/// How long a call with the standard library's `block` and `timeout` may wait. Without `block` the timeout is ignored.
pub(super) fn patience(block: Block, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Timeout> {
    match timeout {
        _ if !block.0 => Ok(Timeout::NOW),
        None => Ok(Timeout::Never),
        Some(timeout) => timeout.extract(),
    }
}

/// The argument `linger`: how long a batch may wait to fill.
#[derive(Clone, Copy)]
pub(super) struct Linger(pub(super) Timeout);

impl<'py> FromPyObject<'_, 'py> for Linger {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Linger(seconds("linger", &value)?.map_or(Timeout::Never, Timeout::After)))
    }
}
