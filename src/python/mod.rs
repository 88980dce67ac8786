//! The binding: puts the engine into Python's hands. Argument checks, conversions, sizes, waiting; no queue logic.

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

mod aio;
mod arguments;
mod consumer;
mod errors;
mod fast;
mod group;
mod lifecycle;
mod list;
mod message;
mod queue;
mod seq;
mod size;
mod stats;
mod waiting;

use pyo3::prelude::*;

/// The extension module.
#[pymodule(gil_used = false)]
fn _mpmc_queue(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // Before the classes: they are the process's, and must not be made in an interpreter that ends before it.
    lifecycle::refuse_subinterpreters(py)?;
    module.add_class::<consumer::Consumer>()?;
    module.add_class::<group::ConsumerGroup>()?;
    module.add_class::<message::Event>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<queue::Queue>()?;
    module.add_class::<stats::ConsumerStats>()?;
    module.add_class::<stats::GroupStats>()?;
    module.add_class::<stats::QueueStats>()?;
    module.add("CHUNK_SIZE", crate::CHUNK_SIZE)?;
    module.add("DEFAULT_TTL", crate::DEFAULT_TTL.as_secs_f64())?;
    module.add("DEFAULT_MAX_BYTES", crate::DEFAULT_MAX_BYTES)?;
    // Nothing should be measured then.
    module.add("_IS_DEBUG_BUILD", cfg!(debug_assertions))?;
    message::install(py)?;
    fast::install_all(py)?;
    aio::install(py)?;
    lifecycle::install(py)
}
