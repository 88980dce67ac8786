//! A list that is filled where no Python object may be made: under a lock.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// A list with places for so many objects, the first of which are taken.
pub(in crate::python) struct Filling<'py> {
    list: Bound<'py, PyList>,
    places: usize,
    filled: usize,
}

impl<'py> Filling<'py> {
    /// Makes the list. Nobody else gets to see it before it is finished, the garbage collector included.
    pub(in crate::python) fn new(py: Python<'py>, places: usize) -> PyResult<Self> {
        // SAFETY: a new list with that many empty places, or null with an error set, is what comes back. It is tracked by
        // the collector.
        let list = unsafe {
            let list = ffi::PyList_New(places.try_into()?);
            let list = Bound::from_owned_ptr_or_err(py, list)?;
            ffi::PyObject_GC_UnTrack(list.as_ptr().cast());
            list.cast_into_unchecked()
        };
        Ok(Filling { list, places, filled: 0 })
    }

    /// How many places there are.
    pub(in crate::python) fn places(&self) -> usize {
        self.places
    }

    /// How many of them are taken.
    pub(in crate::python) fn len(&self) -> usize {
        self.filled
    }

    /// Fills the next place, if there is one.
    #[inline]
    pub(in crate::python) fn push(&mut self, object: &Py<PyAny>) {
        if self.filled < self.places {
            let object = object.clone_ref(self.list.py()).into_ptr();
            // SAFETY: there is such a place, and nothing in it yet; it takes the reference over.
            unsafe { ffi::PyList_SET_ITEM(self.list.as_ptr(), self.filled as ffi::Py_ssize_t, object) };
            self.filled += 1;
        }
    }

    /// The list, as long as it was filled.
    pub(in crate::python) fn finish(self) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: it was untracked by `new`, and every place that is left is taken.
        unsafe { ffi::PyObject_GC_Track(self.list.as_ptr().cast()) };
        if self.filled < self.places {
            self.list.del_slice(self.filled, self.places)?;
        }
        Ok(self.list)
    }
}
