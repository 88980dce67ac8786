//! A list that is filled one by one: also in a place where no Python object may be created, under a lock.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// A list with a number of places, of which the first ones are filled.
pub(in crate::python) struct Filling<'py> {
    list: Bound<'py, PyList>,
    places: usize,
    filled: usize,
}

impl<'py> Filling<'py> {
    /// Creates the list. Nothing else sees it before it is finished, not even the garbage collector.
    pub(in crate::python) fn new(py: Python<'py>, places: usize) -> PyResult<Self> {
        // SAFETY: the result is a new list with that many empty places, or null with an error set. It is tracked by the
        // collector.
        let list = unsafe {
            let list = ffi::PyList_New(places.try_into()?);
            let list = Bound::from_owned_ptr_or_err(py, list)?;
            ffi::PyObject_GC_UnTrack(list.as_ptr().cast());
            list.cast_into_unchecked()
        };
        Ok(Filling { list, places, filled: 0 })
    }

    /// Number of places.
    pub(in crate::python) fn places(&self) -> usize {
        self.places
    }

    /// Number of filled places.
    pub(in crate::python) fn len(&self) -> usize {
        self.filled
    }

    /// Fills the next place, if there is one.
    #[inline]
    pub(in crate::python) fn push(&mut self, object: Bound<'py, PyAny>) {
        if self.filled < self.places {
            let object = object.into_ptr();
            // SAFETY: there is such a place, and it is still empty. It takes over the reference.
            unsafe { ffi::PyList_SET_ITEM(self.list.as_ptr(), self.filled as ffi::Py_ssize_t, object) };
            self.filled += 1;
        }
    }

    /// The list, shortened to its filled places.
    pub(in crate::python) fn finish(self) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: it was untracked by `new`, and every place that is left is filled.
        unsafe { ffi::PyObject_GC_Track(self.list.as_ptr().cast()) };
        if self.filled < self.places {
            self.list.del_slice(self.filled, self.places)?;
        }
        Ok(self.list)
    }
}
