//! The host of the engine in a Python program: how a thread waits for a lock, and where payloads are dropped.

use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::detach::{self, FREE_THREADED};
use crate::sync::Host;
use crate::sync::host::back_off;

/// How long payloads are dropped before other threads get the interpreter.
const DROP_SLICE: Duration = Duration::from_millis(1);

/// How long a thread that released the interpreter stays away, so that another thread gets it. A thread that was
/// signalled needs some time to wake up. A thread that is always too late does not request the interpreter either: it
/// does so only after a whole switch interval without a switch.
const LETTING_IN: Duration = Duration::from_micros(100);
/// Number of dropped chunks (or thousands of payloads) after which memory is returned to the system: 8 MB of slots.
const TRIM_AFTER: u32 = 256;

/// The host of a queue in a Python program.
#[derive(Clone, Copy, Debug)]
pub(in crate::python) struct Interpreter;

impl Host for Interpreter {
    // With the GIL, only the expiration thread can run before the GIL is released.
    const TRIES: u32 = if FREE_THREADED { 6 } else { 0 };

    fn pause(tries: u32) {
        // SAFETY: the function takes no arguments, and may be called from any thread at any time.
        let is_attached = unsafe { pyo3::ffi::PyGILState_Check() } == 1;
        // None inside a traversal of the garbage collector, where the interpreter must not be released.
        let paused = is_attached.then(|| Python::try_attach(|py| detach::detach(py, || back_off(tries)))).flatten();
        if paused.is_none() {
            back_off(tries);
        }
    }

    fn dispose(run: &mut dyn FnMut() -> bool) {
        // SAFETY: the function takes no arguments, and may be called from any thread at any time.
        let is_attached = unsafe { pyo3::ffi::PyGILState_Check() } == 1;
        let mut steps = 0;
        let mut more = true;
        while more {
            let attached = Python::try_attach(|py| {
                let began = Instant::now();
                detach::call_out(py, || {
                    while more && began.elapsed() < DROP_SLICE {
                        more = run();
                        steps += 1;
                    }
                });
                if more && is_attached {
                    detach::detach(py, || thread::sleep(LETTING_IN));
                }
            });
            if attached.is_none() {
                return; // the interpreter is shutting down, and frees the payloads
            }
            if more && !is_attached {
                thread::sleep(LETTING_IN);
            }
        }
        if steps >= TRIM_AFTER {
            match is_attached {
                true => drop(Python::try_attach(|py| detach::detach(py, trim))),
                false => trim(),
            }
        }
    }
}

/// Returns freed memory to the system. The allocator of glibc keeps free memory that is below memory in use.
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call only touches the data of the allocator, which has locks of its own.
    unsafe {
        libc::malloc_trim(0);
    }
}
