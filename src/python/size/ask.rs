//! Asks an object for its size: the part of an estimate that may run Python code.

use std::ffi::CStr;
use std::slice;

use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyFunction, PyString, PyType};

use super::estimate::Estimate;
use super::layout::{GC_HEADER, POINTER, PREHEADER_FLAGS};
use super::{owners, sizers};
use crate::python::host::detach;

/// A size above this cannot be right.
const ABSURD: usize = 1 << 44;

/// The `__sizeof__` of a class that returns what an object itself takes. That of pandas also includes what the object
/// holds, which is visited and would count twice.
fn sizeof<'py>(kind: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = kind.py();
    let method = kind.getattr(intern!(py, "__sizeof__"))?;
    if method.is_exact_instance_of::<PyFunction>() {
        let module = method.getattr(intern!(py, "__module__"))?;
        if module.cast::<PyString>().is_ok_and(|module| module.to_string_lossy().starts_with("pandas.")) {
            return py.get_type::<PyAny>().getattr(intern!(py, "__sizeof__"));
        }
    }
    Ok(method)
}

impl<'py> Estimate<'py> {
    /// Counts an object as its type reports it.
    pub(super) fn ask(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = object.py();
        let kind = object.get_type();
        if let Some(sizer) = sizers::of(&kind) {
            self.add(sizers::ask(sizer.bind(py), object)?);
            return Ok(());
        }
        let answer = detach::call_out(py, || sizeof(&kind)?.call1((object,)))?;
        let mut overflow = 0;
        // SAFETY: both are live objects, and the number is converted only if it is an int.
        let (is_int, size, flags) = unsafe {
            let is_int = ffi::PyLong_Check(answer.as_ptr()) != 0;
            let size = if is_int { ffi::PyLong_AsLongLongAndOverflow(answer.as_ptr(), &mut overflow) } else { 0 };
            (is_int, size, ffi::PyType_GetFlags(kind.as_type_ptr()))
        };
        if !is_int {
            let (kind, answer) = (kind.name()?, answer.get_type().name()?);
            return Err(PyTypeError::new_err(format!("{kind}.__sizeof__() returned {answer}, not int")));
        }
        if overflow < 0 || overflow == 0 && size < 0 {
            return Err(PyValueError::new_err(format!("{}.__sizeof__() returned a negative number", kind.name()?)));
        }
        let size = if overflow > 0 { usize::MAX } else { size as usize };
        self.add(size);
        if size > ABSURD && self.absurd.is_none() {
            self.absurd = Some((kind.clone(), size));
        }
        if flags & ffi::Py_TPFLAGS_HAVE_GC != 0 {
            self.add(GC_HEADER);
        }
        if flags & PREHEADER_FLAGS != 0 {
            self.add(2 * POINTER);
        }
        self.ask_held(object, &kind, size)?;
        if !owners::shows_memory(&kind) || self.visit_owner(object)? || owners::is_file_map(object) {
            return Ok(());
        }
        self.visit_fields(object)?;
        let bytes = self.visit_items(object)?;
        // SAFETY: a live class.
        let header = unsafe { (*kind.as_type_ptr()).tp_basicsize as usize };
        // An array includes the bytes that it shows. An object that shows other memory does not.
        if size < bytes.saturating_add(header) {
            self.add(bytes);
        }
        Ok(())
    }

    /// Visits the objects in an array, and returns the number of bytes that the object shows.
    pub(super) fn visit_items(&mut self, object: &Bound<'py, PyAny>) -> PyResult<usize> {
        // Without the GIL not every type guards its count of views. At least two estimates must not disturb it.
        with_critical_section(object, || self.buffer(object))
    }

    /// The bytes that `object` shows through the buffer protocol; 0 if it has none to show now.
    ///
    /// If these bytes are references (an array of objects), the objects that they refer to are visited.
    fn buffer(&mut self, object: &Bound<'py, PyAny>) -> PyResult<usize> {
        let py = object.py();
        // SAFETY: a live object. An acquired view keeps its memory in place until it is released, which happens before
        // this returns. Items of its format `O` are references to objects.
        unsafe {
            let says_all = ffi::PyBytes_Check(object.as_ptr()) != 0 || ffi::PyByteArray_Check(object.as_ptr()) != 0;
            if says_all {
                return Ok(0);
            }
            let mut view = ffi::Py_buffer::new();
            // Not every array can name its format. Then the view is acquired without a format.
            for flags in [ffi::PyBUF_FULL_RO, ffi::PyBUF_INDIRECT] {
                if ffi::PyObject_GetBuffer(object.as_ptr(), &mut view, flags) == 0 {
                    let is_plain = view.suboffsets.is_null() && view.itemsize == POINTER as isize;
                    if is_plain && !view.format.is_null() && CStr::from_ptr(view.format) == c"O" {
                        self.visit_array(py, &view);
                    }
                    let bytes = view.len as usize;
                    ffi::PyBuffer_Release(&mut view);
                    return Ok(bytes);
                }
                let error = PyErr::fetch(py);
                if !error.is_instance_of::<PyException>(py) {
                    return Err(error);
                }
            }
        }
        Ok(0)
    }

    /// Visits the objects in an array. An axis that repeats the same objects is visited once, because it may be
    /// endless.
    ///
    /// # Safety
    ///
    /// The items of `view` are references. It has its shape and strides, unless they are the natural ones.
    unsafe fn visit_array(&mut self, py: Python<'py>, view: &ffi::Py_buffer) {
        // SAFETY: shape and strides have `ndim` items each, what they reach are references, and no Python code runs.
        unsafe {
            let natural = ([view.len / view.itemsize], [view.itemsize]);
            let (shape, strides) = if view.shape.is_null() || view.strides.is_null() {
                (&natural.0[..], &natural.1[..])
            } else {
                let axes = view.ndim as usize;
                (slice::from_raw_parts(view.shape, axes), slice::from_raw_parts(view.strides, axes))
            };
            if view.len == 0 {
                return;
            }
            let mut item = view.buf.cast::<u8>();
            let mut index = vec![0; shape.len()];
            loop {
                self.visit(py, item.cast::<*mut PyObject>().read_unaligned());
                // Like an odometer: the last axis that is not at its end advances, and those after it start again.
                let Some(axis) = (0..index.len()).rfind(|&axis| {
                    let can_move = strides[axis] != 0 && index[axis] + 1 < shape[axis];
                    if !can_move {
                        item = item.offset(-index[axis] * strides[axis]);
                        index[axis] = 0;
                    }
                    can_move
                }) else {
                    return;
                };
                index[axis] += 1;
                item = item.offset(strides[axis]);
            }
        }
    }
}
