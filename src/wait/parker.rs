//! A parked thread as a waker.

use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, Thread};
use crate::time::LONGEST_SLEEP;

/// A parked thread.
#[derive(Debug)]
pub(crate) struct Parker {
    thread: Thread,
    notified: AtomicBool,
}

impl Parker {
    /// A parker for the current thread.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Parker { thread: thread::current(), notified: AtomicBool::default() })
    }

    /// Parks the current thread until it is woken, at most for `limit`, and not longer than [`LONGEST_SLEEP`] if there
    /// is one. Returns whether it was woken.
    pub(crate) fn park(&self, limit: Option<Duration>) -> bool {
        if self.notified.swap(false, Ordering::Acquire) {
            return true;
        }
        match limit {
            None => thread::park(),
            Some(limit) => thread::park_timeout(limit.min(LONGEST_SLEEP)),
        }
        self.notified.swap(false, Ordering::Acquire)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notified.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
