//! Seqs as Python ints.

use std::ffi::c_long;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::python::host::detach::FREE_THREADED;
use crate::python::size::layout::IntObject;

/// The int that was created last, kept for reuse: a freelist of one.
///
/// Most callers drop the seq that `enqueue` returns. Then the reference kept here is the only one, and the int cannot
/// be distinguished from a new one. Writing the next seq into it is 15 ns cheaper (of 80) than freeing it and creating
/// another. This works only with the GIL: without it, the count that is checked here does not include references of
/// other threads.
#[derive(Debug)]
pub(in crate::python) struct LastSeq(AtomicPtr<PyObject>);

/// Bits in a digit of CPython's ints, and the largest int that CPython preallocates.
const DIGIT_BITS: u32 = 30;
const LARGEST_SHARED: u64 = 256;

impl LastSeq {
    pub(in crate::python) const fn new() -> Self {
        LastSeq(AtomicPtr::new(ptr::null_mut()))
    }

    /// A seq as an int: a new reference, or null with an error set.
    #[inline]
    pub(in crate::python) fn int(&self, _py: Python<'_>, seq: u64) -> *mut PyObject {
        let last = self.0.load(Ordering::Relaxed);
        // SAFETY: the thread is attached. The kept object is an int of one digit, which is alive, and with the GIL only
        // this thread accesses it. The one reference is ours, so nobody sees it change.
        unsafe {
            if seq >> DIGIT_BITS == 0 && seq > LARGEST_SHARED && !last.is_null() && ffi::Py_REFCNT(last) == 1 {
                (*last.cast::<IntObject>()).digits[0] = seq as u32;
                ffi::Py_INCREF(last);
                return last;
            }
        }
        self.new_int(seq)
    }

    #[inline(never)]
    fn new_int(&self, seq: u64) -> *mut PyObject {
        // SAFETY: the thread is attached. The int is kept with a reference of its own, in place of the last one, whose
        // reference is released; that runs no Python code.
        unsafe {
            let Ok(small) = c_long::try_from(seq) else { return ffi::PyLong_FromUnsignedLongLong(seq) };
            let int = ffi::PyLong_FromLong(small);
            if !FREE_THREADED && seq >> DIGIT_BITS == 0 && seq > LARGEST_SHARED && !int.is_null() {
                ffi::Py_INCREF(int);
                ffi::Py_XDECREF(self.0.swap(int, Ordering::Relaxed));
            }
            int
        }
    }
}

impl Drop for LastSeq {
    fn drop(&mut self) {
        let last = *self.0.get_mut();
        Python::try_attach(|_| {
            // SAFETY: the thread is attached, and the reference is ours.
            unsafe { ffi::Py_XDECREF(last) }
        });
    }
}
