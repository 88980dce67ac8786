//! The binding: puts the engine into Python's hands. Argument checks, conversions, sizes, waiting; no queue logic.

mod arguments;
mod asyncio;
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
mod _mpmc_queue {
    use super::*;

    #[pymodule_export]
    use super::consumer::Consumer;
    #[pymodule_export]
    use super::group::ConsumerGroup;
    #[pymodule_export]
    use super::message::{Event, Message};
    #[pymodule_export]
    use super::queue::Queue;
    #[pymodule_export]
    use super::stats::{ConsumerStats, GroupStats, QueueStats};

    #[pymodule_export]
    const CHUNK_SIZE: usize = crate::CHUNK_SIZE;
    #[pymodule_export]
    const DEFAULT_TTL: f64 = crate::DEFAULT_TTL.as_secs() as f64;
    #[pymodule_export]
    const DEFAULT_MAX_BYTES: u64 = crate::DEFAULT_MAX_BYTES;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        lifecycle::refuse_subinterpreters(module.py())?;
        // Nothing should be measured then.
        module.setattr("_IS_DEBUG_BUILD", cfg!(debug_assertions))?;
        message::install(module.py())?;
        asyncio::install(module.py());
        fast::install_all(module.py())?;
        lifecycle::install(module.py())
    }
}
