//! Asyncio: no polling, no helper thread, no executor.
//!
//! Each asynchronous method returns a [`Call`], a coroutine written by hand. It tries first: what is there is returned
//! without a future and without a trip through the loop. Otherwise it enters a waker into the queue, as a blocked thread
//! does, and suspends on a [`TaskFuture`](future::TaskFuture). Whoever wakes it puts the future into the mailbox of its loop, and
//! the first to do so calls the loop, once, however many follow. In its next turn the loop runs the tasks. The call then
//! tries again, and only there is anything taken: a call that is cancelled, at whatever moment, has taken nothing.
//!
//! Futures are held by the queue's object, where the garbage collector finds them, and not by the wakers.

mod call;
mod future;
mod futures;
mod mailbox;
mod method;
mod turn;

use pyo3::prelude::*;

pub(super) use call::{Call, Operation};
pub(super) use futures::Futures;
pub(super) use mailbox::waking;

/// Called whenever the module is imported.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    call::install(py);
    method::install_all(py)
}
