//! What a payload weighs: the estimate behind `max_bytes`.
//!
//! [`quick_size`] computes the size of plain values from their C layout. [`deep_size`] starts with that and continues
//! with everything that the payload holds. The estimate is meant to be conservative: where it cannot be exact it errs
//! upwards.
//!
//! # How a payload is walked
//!
//! In two steps, so that the payload does not change while it is read:
//!
//! 1. *Walk*: everything the payload reaches is found through the C API, with an explicit stack instead of recursion.
//!    No Python code of the user's runs here, so with the GIL this sees one consistent state. (At most the garbage
//!    collector runs, when 3.11 creates the `__dict__` of an instance; nothing borrowed is held at that point.)
//! 2. *Ask*: objects whose layout is not known here are asked, through the `__sizeof__` of their type and their buffer.
//!    That may run any Python code, including code that changes the payload.
//!
//! Without the GIL other threads may change the payload at any time. Therefore a container is only read inside its
//! critical section. Nothing in there can block or run Python code, which would suspend the critical section.
//! Everything that is kept for later is kept by a strong reference.

mod addresses;
mod ask;
mod estimate;
mod held;
pub(super) mod layout;
pub(super) mod owners;
pub(super) mod sizers;

use std::hint::cold_path;

use pyo3::prelude::*;

use estimate::Estimate;
use layout::quick_size_of;

/// The size of an exact `int`, `str`, `bytes`, `float`, `bool`, or of a singleton; `None` for everything else.
///
/// It takes a handful of instructions and no call into the interpreter. Most payloads never need more.
#[inline]
pub(crate) fn quick_size(object: &Bound<'_, PyAny>) -> Option<usize> {
    if !has_quick_sizes() {
        cold_path();
        return None;
    }
    layout_size(object)
}

/// Whether [`quick_size`] knows any sizes now: nobody has registered a sizer for one of its classes.
#[inline]
pub(crate) fn has_quick_sizes() -> bool {
    !sizers::is_for_plain()
}

/// As [`quick_size`], whatever sizers there are.
#[inline]
pub(crate) fn layout_size(object: &Bound<'_, PyAny>) -> Option<usize> {
    // SAFETY: `object` is a live object.
    unsafe { quick_size_of(object.as_ptr()) }
}

/// The bytes of `object` and of everything that belongs to it, each object counted once.
///
/// At most `isize::MAX`, so that the caller's overhead can be added without a check. The error is the one that a
/// `__sizeof__` raised, or reports that it returned nonsense.
#[inline]
pub(crate) fn deep_size(object: &Bound<'_, PyAny>) -> PyResult<usize> {
    match quick_size(object) {
        Some(size) => Ok(size),
        None => Estimate::of(object),
    }
}

#[doc = doc!(estimate_size)]
#[pyfunction]
pub(in crate::python) fn estimate_size(payload: &Bound<'_, PyAny>) -> PyResult<usize> {
    deep_size(payload)
}
