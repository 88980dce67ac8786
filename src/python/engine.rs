//! The engine's types for Python objects as payloads and the interpreter as host.

use pyo3::prelude::*;

use super::host::interpreter::Interpreter;

pub(super) type Engine = crate::Queue<Py<PyAny>, Interpreter>;
pub(super) type WeakEngine = crate::handles::WeakQueue<Py<PyAny>, Interpreter>;
pub(super) type EngineConsumer = crate::Consumer<Py<PyAny>, Interpreter>;
pub(super) type EngineGroup = crate::Group<Py<PyAny>, Interpreter>;
