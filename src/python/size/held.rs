//! What objects hold in places that are neither attributes nor items: bound methods, closures, frames, files in memory.

use std::mem::offset_of;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use super::estimate::Estimate;
use super::layout::{GC_HEADER, POINTER};
use super::owners;
use crate::python::host::detach;

unsafe extern "C" {
    static mut PyMethod_Type: ffi::PyTypeObject;
    fn PyMethod_Self(method: *mut ffi::PyObject) -> *mut ffi::PyObject;
    fn PyMethod_Function(method: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

impl<'py> Estimate<'py> {
    /// Visits an object that was made for this purpose, or found by a look-up.
    pub(super) fn visit_bound(&mut self, object: &Bound<'py, PyAny>) {
        // Remembered even with a single reference: another one exists elsewhere.
        if self.seen.insert(object.as_ptr().addr()) {
            self.found.push(object.clone());
        }
    }

    /// Visits what a bound method is bound to, and the cells of a closure. Whether it was one of the two.
    pub(super) fn walk_function(&mut self, object: &Bound<'py, PyAny>) -> bool {
        let py = object.py();
        let function = object.as_ptr();
        // SAFETY: each is read after the check for its type, and holds what is borrowed from it. Closures never change.
        unsafe {
            let kind = ffi::Py_TYPE(function);
            if kind == &raw mut PyMethod_Type {
                // Made anew each time, as the functions below that have an object of their own.
                self.add(GC_HEADER + (*kind).tp_basicsize as usize);
                self.visit(py, PyMethod_Self(function));
                self.visit(py, PyMethod_Function(function));
                true
            } else if ffi::PyCFunction_Check(function) != 0 {
                let of = ffi::PyCFunction_GetSelf(function);
                if !of.is_null() && ffi::PyModule_Check(of) == 0 {
                    self.add(GC_HEADER + (*kind).tp_basicsize as usize);
                    self.visit(py, of);
                }
                true
            } else if kind == &raw mut ffi::PyFunction_Type {
                let closure = ffi::PyFunction_GetClosure(function);
                if !closure.is_null() {
                    // A function with a closure is made anew each time, and not a part of the program.
                    let count = ffi::PyTuple_GET_SIZE(closure);
                    let cell = GC_HEADER + size_of::<ffi::PyCellObject>();
                    let tuple = GC_HEADER + offset_of!(ffi::PyTupleObject, ob_item);
                    self.add(GC_HEADER + (*kind).tp_basicsize as usize + tuple + count as usize * (POINTER + cell));
                    for index in 0..count {
                        let content = ffi::PyCell_Get(ffi::PyTuple_GET_ITEM(closure, index));
                        if let Some(content) = Bound::from_owned_ptr_or_opt(py, content) {
                            self.visit_bound(&content);
                        }
                    }
                }
                true
            } else {
                false
            }
        }
    }

    /// Visits what an object holds that only its own methods tell: the part that may run Python code.
    pub(super) fn ask_held(
        &mut self,
        object: &Bound<'py, PyAny>,
        kind: &Bound<'py, PyType>,
        size: usize,
    ) -> PyResult<()> {
        let py = object.py();
        // SAFETY: live objects.
        let (is_generator, is_iterator, is_awaitable) = unsafe {
            let class = kind.as_type_ptr();
            let is_generator = class == &raw mut ffi::PyGen_Type
                || class == &raw mut ffi::PyCoro_Type
                || class == &raw mut ffi::PyAsyncGen_Type;
            let of_async = (*class).tp_as_async;
            let is_awaitable = !of_async.is_null() && (*of_async).am_await.is_some();
            (is_generator, !is_generator && (*class).tp_iternext.is_some(), is_awaitable)
        };
        if is_generator {
            let frame = ["gi_frame", "cr_frame", "ag_frame"].iter().find_map(|name| object.getattr(*name).ok());
            let Some(frame) = frame.filter(|frame| !frame.is_none()) else { return Ok(()) };
            let locals = PyDict::new(py);
            detach::call_out(py, || {
                locals.call_method1(intern!(py, "update"), (frame.getattr(intern!(py, "f_locals"))?,))
            })?;
            locals.iter().for_each(|(_, value)| self.visit_bound(&value));
            return Ok(());
        }
        if is_iterator && self.is_iterator_of_c(kind) {
            // SAFETY: an instance of the class, which guards its instances as all of them do.
            unsafe { self.traverse(object, kind.as_type_ptr()) };
        }
        let (bytes_io, string_io) = (BYTES_IO.import(py, "io", "BytesIO")?, STRING_IO.import(py, "io", "StringIO")?);
        if owners::is_of(object, bytes_io) {
            // It may share its bytes with whoever gave them, and then does not say them.
            let length = contents(bytes_io, object);
            self.add(if size < length { length } else { 0 });
        } else if owners::is_of(object, string_io) {
            self.add(4 * contents(string_io, object));
        } else if is_awaitable
            && let Some(future) = owners::loaded(py, &FUTURE, "_asyncio", "Future")
            && kind.is(&future)
        {
            match detach::call_out(py, || object.getattr(intern!(py, "_result"))) {
                Ok(result) => self.visit_bound(&result),
                Err(error) if error.is_instance_of::<PyException>(py) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether it is an iterator of the interpreter itself: what it goes over, it shows the garbage collector.
    fn is_iterator_of_c(&self, kind: &Bound<'py, PyType>) -> bool {
        // SAFETY: a live class, and its class.
        let (is_plain, is_static) = unsafe {
            let is_plain = ffi::Py_TYPE(kind.as_ptr()) == &raw mut ffi::PyType_Type;
            (is_plain, ffi::PyType_HasFeature(kind.as_type_ptr(), ffi::Py_TPFLAGS_HEAPTYPE) == 0)
        };
        if !is_plain {
            return false; // its class may run Python code
        }
        let module = kind.module().map(|module| module.to_string()).unwrap_or_default();
        module == "itertools" || module == "builtins" && is_static
    }
}

static BYTES_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static STRING_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static FUTURE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// How much is in a file in memory; 0 where it is closed.
fn contents(class: &Bound<'_, PyType>, file: &Bound<'_, PyAny>) -> usize {
    let contents = detach::call_out(file.py(), || class.call_method1(intern!(file.py(), "getvalue"), (file,)));
    contents.and_then(|contents| contents.len()).unwrap_or(0)
}
