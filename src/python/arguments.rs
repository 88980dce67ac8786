//! Checks of the arguments that callers pass. Each error names the argument and the value.

use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBoolMethods, PyDateTime, PyDelta, PyDeltaAccess, PyFloat, PyIterator, PyString, PyTzInfo, PyTzInfoAccess,
};

use super::refusals::{too_large, type_error, value_error};
use super::timeouts::seconds;
use crate::{Lifetime, Overflow, Retention, Start};

/// The largest position or limit, so that sums of two of them still fit.
const LARGEST: u64 = i64::MAX as u64;

/// A time to live in nanoseconds; None: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ttl(pub(super) Option<u64>);

impl<'py> FromPyObject<'_, 'py> for Ttl {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Ttl(None));
        }
        span("ttl", &value).map(Ttl)
    }
}

/// A span above zero, as seconds or a timedelta, in nanoseconds; None: no limit.
pub(super) fn span(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    let duration = match value.cast::<PyDelta>() {
        Ok(delta) => match delta_nanoseconds(delta) {
            nanoseconds if nanoseconds < 0 => {
                return Err(value_error(name, "more than zero", value));
            }
            nanoseconds => u64::try_from(nanoseconds).ok().filter(|&n| n <= LARGEST).map(Duration::from_nanos),
        },
        Err(_) if value.is_instance_of::<PyBool>() || value.is_instance_of::<PyString>() => {
            return Err(type_error(name, "a number of seconds or a timedelta", value));
        }
        Err(_) => match seconds(name, value) {
            Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => {
                return Err(type_error(name, "a number of seconds or a timedelta", value));
            }
            other => other?,
        },
    };
    match duration.map(|duration| duration.as_nanos() as u64) {
        Some(0) => Err(value_error(name, "more than zero", value)),
        nanoseconds => Ok(nanoseconds),
    }
}

fn delta_nanoseconds(delta: &Bound<'_, PyDelta>) -> i128 {
    let seconds = i128::from(delta.get_days()) * 86_400 + i128::from(delta.get_seconds());
    (seconds * 1_000_000 + i128::from(delta.get_microseconds())) * 1000
}

/// A whole number of at least `least`, such as a limit.
pub(super) fn whole(name: &str, least: u64, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    if value.is_instance_of::<PyBool>() || value.is_instance_of::<PyFloat>() {
        return Err(type_error(name, "an int", value));
    }
    match value.extract::<i128>() {
        Ok(number) if number < i128::from(least) => Err(value_error(name, &format!("at least {least}"), value)),
        Ok(number) => {
            u64::try_from(number).ok().filter(|&number| number <= LARGEST).ok_or_else(|| too_large(name, value))
        }
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => match value.lt(0)? {
            true => Err(value_error(name, &format!("at least {least}"), value)),
            false => Err(too_large(name, value)),
        },
        Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => Err(type_error(name, "an int", value)),
        Err(error) => Err(error),
    }
}

/// Maximum number of messages in a batch.
pub(super) struct Count(pub(super) usize);

impl<'py> FromPyObject<'_, 'py> for Count {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        whole("limit", 1, &value).map(|count| Count(usize::try_from(count).unwrap_or(usize::MAX)))
    }
}

/// `max_bytes`.
pub(super) struct MaxBytes(pub(super) u64);

impl<'py> FromPyObject<'_, 'py> for MaxBytes {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        whole("max_bytes", 1, &value).map(MaxBytes)
    }
}

/// `max_items`; None: no limit.
pub(super) struct MaxItems(pub(super) Option<u64>);

impl<'py> FromPyObject<'_, 'py> for MaxItems {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(MaxItems(None));
        }
        whole("max_items", 1, &value).map(|max| MaxItems(Some(max)))
    }
}

/// Where to begin reading. `name`: the argument, `start` or `to`.
fn start(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Start> {
    const EXPECTED: &str = "'earliest', 'latest', a seq or an aware datetime";
    if let Ok(word) = value.cast::<PyString>() {
        return match &*word.to_cow()? {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            _ => Err(value_error(name, EXPECTED, value)),
        };
    }
    if let Ok(moment) = value.cast::<PyDateTime>() {
        if moment.get_tzinfo().is_none() || moment.call_method0("utcoffset")?.is_none() {
            return Err(value_error(name, "an aware datetime (this one is naive: give it a tzinfo)", value));
        }
        let utc = PyTzInfo::utc(value.py())?;
        let epoch = PyDateTime::new(value.py(), 1970, 1, 1, 0, 0, 0, 0, Some(&utc))?;
        let since = moment.sub(epoch)?;
        let nanoseconds = delta_nanoseconds(since.cast::<PyDelta>()?).max(0);
        return Ok(Start::Time(u64::try_from(nanoseconds).unwrap_or(u64::MAX)));
    }
    match whole(name, 0, value) {
        Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => Err(type_error(name, EXPECTED, value)),
        seq => seq.map(Start::Seq),
    }
}

/// The argument `start`.
pub(super) struct StartAt(pub(super) Start);

impl<'py> FromPyObject<'_, 'py> for StartAt {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        start("start", &value).map(StartAt)
    }
}

/// The argument `to`.
pub(super) struct SeekTo(pub(super) Start);

impl<'py> FromPyObject<'_, 'py> for SeekTo {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        start("to", &value).map(SeekTo)
    }
}

/// The Python error for a position beyond the end.
pub(super) fn beyond_end(name: &str, at: Start, next: u64) -> PyErr {
    let shown = if let Start::Seq(seq) = at { seq.to_string() } else { format!("{at:?}") };
    PyValueError::new_err(format!("{name} must be at most {next}, the seq of the next message, not {shown}"))
}

/// The argument `on_missed`.
pub(super) enum OnMissed {
    Skip,
    Raise,
    Call(Py<PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for OnMissed {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        const EXPECTED: &str = "'skip', 'raise' or a callable";
        if value.is_callable() {
            return Ok(OnMissed::Call(value.to_owned().unbind()));
        }
        match value.cast::<PyString>() {
            Ok(word) if word == "skip" => Ok(OnMissed::Skip),
            Ok(word) if word == "raise" => Ok(OnMissed::Raise),
            Ok(_) => Err(value_error("on_missed", EXPECTED, &value)),
            Err(_) => Err(type_error("on_missed", EXPECTED, &value)),
        }
    }
}

/// A bool.
fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.cast::<PyBool>().map(PyBoolMethods::is_true).map_err(|_| type_error(name, "a bool", value))
}

/// The argument `audit`.
pub(super) struct Audit(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Audit {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        flag("audit", &value).map(Audit)
    }
}

/// The argument `dead_letter_missed`.
pub(super) struct DeadLetterMissed(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for DeadLetterMissed {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        flag("dead_letter_missed", &value).map(DeadLetterMissed)
    }
}

/// The argument `ephemeral`.
pub(super) struct Ephemeral(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Ephemeral {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        flag("ephemeral", &value).map(Ephemeral)
    }
}

/// Delays in seconds, converted to nanoseconds. `ever` replaces delays that are too long.
pub(super) fn delays(name: &str, value: &Bound<'_, PyAny>, ever: u64) -> PyResult<Vec<u64>> {
    if value.is_instance_of::<PyString>() {
        return Err(type_error(name, "a sequence of seconds", value));
    }
    iterate(name, value)?
        .map(|delay| Ok(seconds(name, &delay?)?.map_or(ever, |delay| delay.as_nanos() as u64)))
        .collect()
}

/// The argument `delay`, in nanoseconds.
pub(super) struct Delay(pub(super) u64);

impl<'py> FromPyObject<'_, 'py> for Delay {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Delay(seconds("delay", &value)?.map_or(LARGEST, |delay| delay.as_nanos() as u64)))
    }
}

/// The argument `ttl` of one message.
#[derive(Clone, Copy)]
pub(super) struct OwnTtl(pub(super) Lifetime);

impl OwnTtl {
    /// The argument was not passed.
    pub(super) const NONE: Self = OwnTtl(Lifetime::Queue);
}

impl<'py> FromPyObject<'_, 'py> for OwnTtl {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if is_queue_ttl(&value)? {
            return Ok(Self::NONE);
        }
        let ttl = value.extract::<Ttl>()?;
        Ok(OwnTtl(ttl.0.map_or(Lifetime::Forever, Lifetime::Own)))
    }
}

/// Whether it is the default shown in the signature, which callers of `inspect.Signature.bind` pass explicitly.
fn is_queue_ttl(value: &Borrowed<'_, '_, PyAny>) -> PyResult<bool> {
    static QUEUE_TTL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    if value.is_none() || value.is_exact_instance_of::<PyFloat>() || !value.is_instance_of::<PyFloat>() {
        return Ok(false);
    }
    let defaults = || PyResult::Ok(py.import("mpmc_queue._defaults")?.getattr("QUEUE_TTL")?.unbind());
    Ok(QUEUE_TTL.get_or_try_init(py, defaults)?.is(value))
}

/// A choice among a few words, as Python has it.
pub(super) type Words<T> = [(&'static str, T); 2];

pub(super) const RETENTIONS: Words<Retention> = [("limits", Retention::Limits), ("interest", Retention::Interest)];
pub(super) const OVERFLOWS: Words<Overflow> = [("reject", Overflow::Reject), ("drop_oldest", Overflow::DropOldest)];

/// The word for a choice.
pub(super) fn word_for<T: Copy + PartialEq>(words: &Words<T>, meaning: T) -> &'static str {
    let found = words.iter().find(|(_, other)| *other == meaning);
    found.map_or("", |&(word, _)| word)
}

/// The argument `retention`.
pub(super) struct Retains(pub(super) Retention);

impl<'py> FromPyObject<'_, 'py> for Retains {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        word("retention", &RETENTIONS, &value).map(Retains)
    }
}

/// The argument `overflow`.
pub(super) struct Overflows(pub(super) Overflow);

impl<'py> FromPyObject<'_, 'py> for Overflows {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        word("overflow", &OVERFLOWS, &value).map(Overflows)
    }
}

/// One of a few words.
fn word<T: Copy>(name: &str, words: &[(&str, T)], value: &Bound<'_, PyAny>) -> PyResult<T> {
    let expected = words.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
    let Ok(given) = value.cast::<PyString>() else { return Err(type_error(name, &expected, value)) };
    let found = words.iter().find(|(word, _)| given == *word);
    found.map(|&(_, meaning)| meaning).ok_or_else(|| value_error(name, &expected, value))
}

/// An iterator over an iterable.
pub(super) fn iterate<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    iterate_or(value, || type_error(name, "an iterable", value))
}

/// The same with the error for what cannot be iterated. What its iterating raised stays what it is.
pub(super) fn iterate_or<'py>(
    value: &Bound<'py, PyAny>,
    refused: impl FnOnce() -> PyErr,
) -> PyResult<Bound<'py, PyIterator>> {
    value.try_iter().map_err(|error| match error.is_instance_of::<PyTypeError>(value.py()) && !has_iter(value) {
        true => refused(),
        false => error,
    })
}

fn has_iter(value: &Bound<'_, PyAny>) -> bool {
    value.get_type().hasattr("__iter__").unwrap_or(false)
}

/// A callable, or None.
pub(super) fn callable(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
    match value {
        Some(value) if !value.is_callable() => Err(type_error(name, "callable", value)),
        other => Ok(other.map(|value| value.clone().unbind())),
    }
}

/// A name.
pub(super) fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(text.to_str()?.to_owned()),
        Err(_) => Err(type_error(name, "a str", value)),
    }
}
