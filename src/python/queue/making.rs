//! Creates a queue.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::Options;
use crate::python::engine::Engine;
use crate::python::fast::seq::LastSeq;
use crate::python::host::lifecycle;
use crate::python::message::Source;
use crate::python::objects::Queue;
use crate::python::registry::Registry;

impl Queue {
    /// Creates a queue with a name.
    pub(super) fn make(name: Bound<'_, PyString>, options: &Options, sizer: Option<Py<PyAny>>) -> PyResult<Self> {
        let engine = Engine::new(options);
        let source = Py::new(name.py(), Source::new(name.clone(), &engine))?;
        lifecycle::register(engine.number(), engine.downgrade());
        Ok(Queue {
            created: engine.now().wall,
            engine,
            name: name.unbind(),
            has_sizer: AtomicBool::new(sizer.is_some()),
            sizer: Mutex::new(sizer),
            consumers: Registry::default(),
            futures: Arc::default(),
            groups: Registry::default(),
            source,
            last_seq: LastSeq::new(),
        })
    }
}
