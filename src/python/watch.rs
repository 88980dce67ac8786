//! Finds the readable ones of several consumers, and waits at all of them.

use std::collections::HashSet;
use std::task::Waker;

use pyo3::prelude::*;

use super::engine::{Engine, EngineConsumer};
use super::objects::Consumer;
use crate::wait::list::{Condition, Enough, Ticket};

/// The consumers for which a read would return or raise something now.
pub(super) fn readable<'py>(py: Python<'py>, consumers: &[Py<Consumer>]) -> Vec<Bound<'py, Consumer>> {
    let is_readable = |consumer: &EngineConsumer| consumer.is_readable().unwrap_or(true);
    consumers
        .iter()
        .filter(|consumer| is_readable(&consumer.get().consumer))
        .map(|consumer| consumer.bind(py).clone())
        .collect()
}

/// A place in the line of each consumer, until this is dropped.
pub(super) struct Watch {
    places: Vec<(Engine, Ticket)>,
}

impl Watch {
    /// Enters a waker at each consumer; None: one of them may be readable; check again.
    pub(super) fn on(consumers: &[Py<Consumer>], waker: &Waker) -> Option<Self> {
        let mut watch = Watch { places: Vec::with_capacity(consumers.len()) };
        let mut seen = HashSet::new();
        for consumer in consumers.iter().map(Py::get) {
            let (queue, key) = (consumer.consumer.queue(), consumer.consumer.key());
            if seen.insert((queue.number(), key.serial)) {
                let ticket = queue.wait(Condition::Batch(key, Enough::READABLE), waker)?;
                watch.places.push((queue.clone(), ticket));
            }
        }
        Some(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.places.iter().for_each(|(queue, ticket)| queue.remove_waiter(ticket));
    }
}
