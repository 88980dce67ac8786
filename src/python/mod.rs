//! The binding: makes the engine available to Python. Argument checks, conversions, sizes, waiting; no queue logic.

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

mod aio;
mod any;
mod arguments;
mod consumer;
mod engine;
mod errors;
mod fast;
mod group;
mod grouping;
mod host;
mod message;
mod objects;
mod queue;
mod refusals;
mod registry;
mod size;
mod stats;
mod taking;
mod timeouts;
mod topics;
mod watch;

use pyo3::prelude::*;
use pyo3::types::PyString;

use host::lifecycle;

/// The extension module.
#[pymodule(gil_used = false)]
fn _mpmc_queue(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // Before the classes: they belong to the process, and must not be created in an interpreter that ends before the
    // process.
    lifecycle::refuse_subinterpreters(py)?;
    module.add_class::<objects::Consumer>()?;
    module.add_class::<objects::ConsumerGroup>()?;
    module.add_class::<message::Event>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<objects::Queue>()?;
    module.add_class::<stats::ConsumerStats>()?;
    module.add_class::<stats::GroupStats>()?;
    module.add_class::<stats::QueueStats>()?;
    module.add("CHUNK_SIZE", crate::CHUNK_SIZE)?;
    module.add("DEFAULT_TTL", crate::DEFAULT_TTL.as_secs_f64())?;
    module.add("DEFAULT_MAX_BYTES", crate::DEFAULT_MAX_BYTES)?;
    module.add_function(wrap_pyfunction!(any::wait_any, module)?)?;
    module.add_function(wrap_pyfunction!(any::await_any, module)?)?;
    module.add_function(wrap_pyfunction!(size::estimate_size, module)?)?;
    module.add_function(wrap_pyfunction!(size::sizers::register_sizer, module)?)?;
    for check in [wrap_pyfunction!(topics::check_topic, module)?, wrap_pyfunction!(topics::check_filters, module)?] {
        module.setattr(check.getattr("__name__")?.cast::<PyString>()?, &check)?; // not public: not in `__all__`
    }
    // A debug build should not be measured.
    module.setattr("_IS_DEBUG_BUILD", cfg!(debug_assertions))?;
    message::memory::install(py)?;
    fast::fronts::install_all(py)?;
    aio::install(py)?;
    lifecycle::install(py)
}
