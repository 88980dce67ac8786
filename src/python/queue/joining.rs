//! Adds consumers and groups.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::python::arguments::{self, Ephemeral, OnMissed};
use crate::python::host::detach;
use crate::python::objects::{self, Consumer, ConsumerGroup, Queue};
use crate::python::{errors, grouping};
use crate::{ConsumerOptions, Error, GroupOptions, MissedPolicy, Start};

/// Adds a consumer, with a callback for missed messages.
pub(super) fn add_consumer<'py>(
    queue: &Bound<'py, Queue>,
    options: ConsumerOptions,
    on_missed: OnMissed,
    ephemeral: Ephemeral,
) -> PyResult<Bound<'py, Consumer>> {
    let (policy, callback) = match on_missed {
        OnMissed::Skip => (MissedPolicy::Skip, None),
        OnMissed::Raise => (MissedPolicy::Tell, None),
        OnMissed::Call(callback) => (MissedPolicy::Tell, Some(callback)),
    };
    let options = ConsumerOptions { policy, ..options };
    let engine = &queue.get().engine;
    let added = match options.filters {
        // It takes in what is held.
        Some(_) => detach::detach(queue.py(), || engine.add_consumer_with(&options)),
        None => engine.add_consumer_with(&options),
    };
    let consumer = added.map_err(|error| match error {
        Error::BeyondEnd(next) => arguments::beyond_end("start", options.start, next),
        error => errors::raise(queue.py(), error, &queue.get().name),
    })?;
    objects::new_consumer(queue, consumer, callback, ephemeral.0)
}

/// Adds a group, with its dead letter queue.
pub(super) fn add_group<'py>(
    queue: &Bound<'py, Queue>,
    name: &Bound<'py, PyString>,
    start: Start,
    options: &GroupOptions,
    dead_letter: Option<Bound<'py, Queue>>,
) -> PyResult<Bound<'py, ConsumerGroup>> {
    let (this, text) = (queue.get(), name.to_string_lossy().into_owned());
    let letters = dead_letter.as_ref().map(grouping::letters).transpose()?;
    let made = match options.filters {
        Some(_) => detach::detach(queue.py(), || this.engine.add_group(&text, start, options, letters)),
        None => this.engine.add_group(&text, start, options, letters),
    };
    let made = made.map_err(|error| grouping::not_added(this, queue.py(), error, &text, start))?;
    this.groups.enter(text, dead_letter.map(|queue| queue.into_any().unbind()));
    objects::group(queue, made, name)
}
