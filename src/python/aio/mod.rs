//! Asyncio: no polling, no helper thread, no executor.
//!
//! Each asynchronous method returns a [`Call`], a hand-written coroutine. It tries first: a message that is already
//! there is returned without a future and without a turn of the loop. Otherwise the call enters a waker into the queue,
//! as a blocked thread does, and suspends on a [`TaskFuture`](future::TaskFuture). The thread that wakes it puts the
//! future into the mailbox of its loop. The first future in a mailbox schedules a callback in the loop; later ones need
//! no callback. In its next turn the loop runs the tasks. The call then tries again, and only then is anything taken: a
//! call that is cancelled at any moment has taken nothing.
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
