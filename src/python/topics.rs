//! Topics and filters as callers pass and see them.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use super::arguments;
use super::refusals::{bad_text, type_error};
use crate::{Filters, Topic};

/// `topic`; None: the message has no topic.
#[derive(Clone)]
pub(super) struct Under(pub(super) Option<Topic>);

impl<'py> FromPyObject<'_, 'py> for Under {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Under(None));
        }
        let text = text_of("topic", "a str or None", &value, &value)?;
        let topic =
            Topic::new(&text).map_err(|bad| bad_text("topic", "tokens joined by \".\"", &value, &bad.to_string()))?;
        Ok(Under(Some(topic)))
    }
}

/// `topics`; None: all messages.
pub(super) struct Wanted(pub(super) Option<Filters>);

impl<'py> FromPyObject<'_, 'py> for Wanted {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Wanted(None));
        }
        let expected = "a str, an iterable of str, or None";
        let mut texts = Vec::new();
        if value.is_instance_of::<PyString>() {
            texts.push(filter(&value, &value, expected)?);
        } else if value.is_instance_of::<PyBytes>() {
            return Err(type_error("topics", expected, &value));
        } else {
            let each = arguments::iterate_or(&value, || type_error("topics", expected, &value))?;
            for one in each {
                texts.push(filter(&one?, &value, expected)?);
            }
        }
        match Filters::new(texts.iter().map(String::as_str)) {
            Ok(filters) => Ok(Wanted(Some(filters))),
            Err(bad) => Err(bad_text("topics", "at least one filter", &value, &bad.to_string())),
        }
    }
}

/// The text of one filter, checked.
fn filter(one: &Bound<'_, PyAny>, all: &Bound<'_, PyAny>, expected: &str) -> PyResult<String> {
    let text = text_of("topics", expected, one, all)?;
    match Filters::new([&*text]) {
        Ok(_) => Ok(text),
        Err(bad) => Err(bad_text("topics", "filters of tokens joined by \".\"", one, &bad.to_string())),
    }
}

fn text_of(name: &str, expected: &str, value: &Bound<'_, PyAny>, all: &Bound<'_, PyAny>) -> PyResult<String> {
    let Ok(text) = value.cast::<PyString>() else {
        let of = if value.is(all) { value } else { return Err(not_text(name, expected, value)) };
        return Err(type_error(name, expected, of));
    };
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(bad_text(name, "text that UTF-8 can hold", value, "it holds a lone surrogate")),
    }
}

fn not_text(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let kind = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    pyo3::exceptions::PyTypeError::new_err(format!("{name} must be {expected}, not an iterable of {kind}"))
}

#[doc = doc!(_check_topic)]
#[pyfunction(name = "_check_topic")]
pub(super) fn check_topic(topic: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    Ok(topic.extract::<Under>()?.0.map(|topic| topic.as_str().to_owned()))
}

#[doc = doc!(_check_filters)]
#[pyfunction(name = "_check_filters")]
pub(super) fn check_filters<'py>(topics: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyTuple>>> {
    texts(topics.py(), topics.extract::<Wanted>()?.0.as_ref())
}

/// The texts of filters, as they were given; None: all messages.
pub(super) fn texts<'py>(py: Python<'py>, filters: Option<&Filters>) -> PyResult<Option<Bound<'py, PyTuple>>> {
    filters.map(|filters| PyTuple::new(py, filters.texts())).transpose()
}
