//! Asyncio: no polling, no helper thread, no executor.
//!
//! Each asynchronous method returns a [`Call`], a coroutine written by hand. It tries first: what is there is returned
//! without a future and without a trip through the loop. Otherwise it enters a waker into the queue, as a blocked thread
//! does, and suspends on a [`TaskFuture`](future::TaskFuture). Whoever wakes it puts the future into the mailbox of its loop, and
//! the first to do so calls the loop, once, however many follow. In its next turn the loop runs the tasks. The call then
//! tries again, and only there is anything taken: a call that is cancelled, at whatever moment, has taken nothing.
//!
//! Futures are held by the queue's object, where the garbage collector finds them, and not by the wakers.

pub(super) mod call;
mod future;
pub(super) mod futures;
pub(super) mod mailbox;
mod method;
pub(super) mod operation;
mod progress;
mod trio;
mod turn;

use pyo3::prelude::*;

/// Called whenever the module is imported.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    call::install(py);
    method::install_all(py)
}
