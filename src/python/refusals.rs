//! Errors for bad arguments: each names the argument and the value.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// Characters of a topic or filter that an error shows: all that it may have.
const SHOWN: usize = 257;

pub(super) fn type_error(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let kind = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!("{name} must be {expected}, not {kind}"))
}

pub(super) fn value_error(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let shown = value.repr().map_or_else(|_| "?".into(), |shown| shown.to_string());
    let shown: String = shown.chars().take(80).collect();
    PyValueError::new_err(format!("{name} must be {expected}, not {shown}"))
}

/// The error for a bad text, with what is wrong with it.
pub(super) fn bad_text(name: &str, expected: &str, value: &Bound<'_, PyAny>, why: &str) -> PyErr {
    // That of its text: the `repr` of a subclass may be anything.
    let shown = match value.is_instance_of::<PyString>() {
        true => value.py().get_type::<PyString>().call_method1(intern!(value.py(), "__repr__"), (value,)),
        false => value.repr().map(Bound::into_any),
    };
    let shown = shown.and_then(|shown| shown.str());
    let shown = shown.map_or_else(|_| "?".into(), |shown| shown.to_string_lossy().into_owned());
    let cut = if shown.chars().count() > SHOWN { "..." } else { "" };
    let shown: String = shown.chars().take(SHOWN).collect();
    PyValueError::new_err(format!("{name} must be {expected}, not {shown}{cut}: {why}"))
}

pub(super) fn too_large(name: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let shown = value.repr().map_or_else(|_| "?".into(), |shown| shown.to_string());
    let shown: String = shown.chars().take(40).collect();
    PyOverflowError::new_err(format!("{name} must be below 2**63, not {shown}"))
}

/// Refuses arguments that have to be passed by name.
pub(super) fn none_by_position(call: &str, extra: &Bound<'_, PyTuple>, names: &[&str]) -> PyResult<()> {
    if extra.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = names.iter().zip(extra).map(|(name, value)| shown(name, &value)).collect();
    let wanted = if wanted.is_empty() { "its options".into() } else { wanted.join(", ") };
    Err(PyTypeError::new_err(format!("{call} takes its options by name only: pass {wanted}")))
}

pub(super) fn shown(name: &str, value: &Bound<'_, PyAny>) -> String {
    let shown = value.repr().map_or_else(|_| "...".into(), |shown| shown.to_string());
    format!("{name}={}", shown.chars().take(40).collect::<String>())
}
