//! The process around the engine: the interpreter, waiting without it, fork and exit.

pub(super) mod detach;
pub(super) mod interpreter;
pub(super) mod lifecycle;
pub(super) mod waiting;
