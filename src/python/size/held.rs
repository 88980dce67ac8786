//! What objects hold outside of attributes and items: bound methods, closures, frames, files in memory.

use std::mem::offset_of;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use super::estimate::Estimate;
use super::layout::{GC_HEADER, POINTER, static_base};
use super::{layout_size, owners};
use crate::python::host::detach;

/// Size of the dict of a `staticmethod` or `classmethod`: five attributes.
const WRAPPER_DICT: usize = 200;

/// What a `StringIO` takes beside its text: a list of its parts, or a writer.
const WRITER: usize = 96;

impl<'py> Estimate<'py> {
    /// Visits an object that was created for this purpose, or found by a look-up.
    pub(super) fn visit_bound(&mut self, object: &Bound<'py, PyAny>) {
        // It is remembered even with a single reference, because another one exists elsewhere.
        if self.seen.insert(object.as_ptr().addr()) {
            self.found.push(object.clone());
        }
    }

    /// Visits what a bound method is bound to, and the cells of a closure. Returns whether it was one of the two.
    pub(super) fn walk_function(&mut self, object: &Bound<'py, PyAny>) -> bool {
        let py = object.py();
        let function = object.as_ptr();
        // SAFETY: each is read after the check for its type, and holds what is borrowed from it. Closures never change.
        unsafe {
            let kind = ffi::Py_TYPE(function);
            if kind == self.known.method.as_ptr().cast() {
                // Created anew each time, like the functions below that have an object of their own.
                self.add(GC_HEADER + (*kind).tp_basicsize as usize);
                for name in [intern!(py, "__self__"), intern!(py, "__func__")] {
                    // The reference is dropped before the visit, which counts references. The method keeps its own.
                    let held = object.getattr(name).map(|held| held.as_ptr());
                    held.into_iter().for_each(|held| self.visit(py, held));
                }
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
                    // A function with a closure is created anew each time, and is not a part of the program.
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
            } else if kind == &raw mut ffi::PyStaticMethod_Type || kind == &raw mut ffi::PyClassMethod_Type {
                // Its dict has copies of the function's attributes. The attributes themselves belong to the program.
                self.add(GC_HEADER + (*kind).tp_basicsize as usize + WRAPPER_DICT);
                if let Ok(function) = object.getattr(intern!(py, "__func__")) {
                    self.visit_bound(&function);
                }
                true
            } else {
                false
            }
        }
    }

    /// Visits what an object of a type of the interpreter holds, as far as it shows that to the garbage collector:
    /// views of dicts, iterators, generators and coroutines, cells, properties. Returns whether it is one of these.
    pub(super) fn walk_shown(&mut self, object: &Bound<'py, PyAny>, kind: &Bound<'py, PyType>) -> bool {
        let class = kind.as_type_ptr();
        // SAFETY: a live class and its class; an instance of the class, which guards its instances as all of them do.
        unsafe {
            let is_shown = ffi::Py_TYPE(kind.as_ptr()) == &raw mut ffi::PyType_Type // otherwise its class may run Python code
                && (*class).tp_traverse.is_some()
                && !self.is_written_in_python(class)
                && ffi::PyExceptionInstance_Check(object.as_ptr()) == 0
                && ffi::PyMemoryView_Check(object.as_ptr()) == 0
                // These lead to the callers of the program.
                && class != &raw mut ffi::PyTraceBack_Type
                && class != &raw mut ffi::PyFrame_Type
                && is_of_interpreter(kind)
                && !is_running(object);
            if is_shown {
                self.traverse(object, class);
            }
            is_shown
        }
    }

    /// Visits what an object holds that only its own methods return. This part may run Python code.
    pub(super) fn ask_held(
        &mut self,
        object: &Bound<'py, PyAny>,
        kind: &Bound<'py, PyType>,
        size: usize,
    ) -> PyResult<()> {
        let py = object.py();
        // SAFETY: a live class.
        let is_awaitable = unsafe {
            let of_async = (*kind.as_type_ptr()).tp_as_async;
            !of_async.is_null() && (*of_async).am_await.is_some()
        };
        if is_running(object) {
            let frame = ["gi_frame", "cr_frame", "ag_frame"].iter().find_map(|name| object.getattr(*name).ok());
            let Some(frame) = frame.filter(|frame| !frame.is_none()) else { return Ok(()) };
            let locals = PyDict::new(py);
            detach::call_out(py, || {
                locals.call_method1(intern!(py, "update"), (frame.getattr(intern!(py, "f_locals"))?,))
            })?;
            locals.iter().for_each(|(_, value)| self.visit_bound(&value));
            return Ok(());
        }
        self.visit_zone(object)?;
        let (bytes_io, string_io) = (BYTES_IO.import(py, "io", "BytesIO")?, STRING_IO.import(py, "io", "StringIO")?);
        if owners::is_of(object, bytes_io) {
            // It may share its bytes with the code that passed them, and then does not count them.
            let length = contents(bytes_io, object).and_then(|contents| contents.len()).unwrap_or(0);
            self.add(if size < length { length } else { 0 });
        } else if owners::is_of(object, string_io) {
            self.add_text(&contents(string_io, object));
        } else if let Some(class) = owners::loaded(py, &MATCH, "re", "Match").filter(|class| kind.is(class)) {
            self.passed_over = object.getattr(intern!(py, "re"))?.as_ptr();
            // SAFETY: it is an instance of the class, which never changes but for a tuple that it keeps once it is made.
            unsafe { self.traverse(object, class.as_type_ptr()) };
            self.passed_over = std::ptr::null_mut();
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
}

impl<'py> Estimate<'py> {
    /// Counts the text in a `StringIO`, none if it is closed. The file does not tell how it keeps it: as characters of
    /// four bytes, with room for an eighth more, or as a string with room for a quarter more.
    fn add_text(&mut self, contents: &PyResult<Bound<'py, PyAny>>) {
        let Some(text) = contents.as_ref().ok().and_then(|contents| contents.cast::<PyString>().ok()) else { return };
        let Ok(characters) = text.len() else { return };
        let size = layout_size(text).unwrap_or(0);
        self.add(WRITER + (characters * 9 / 2).max(size + size / 4));
    }

    /// Visits the time zone of a time, and what a time zone holds. Zones that the whole program shares are not counted.
    fn visit_zone(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        static DATETIME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static TIME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static TIMEZONE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = object.py();
        // SAFETY: a live object's class.
        let is_plain = unsafe {
            let base = static_base(ffi::Py_TYPE(object.as_ptr()));
            base == &raw mut ffi::PyBaseObject_Type || ffi::PyType_HasFeature(base, ffi::Py_TPFLAGS_HAVE_GC) != 0
        };
        if is_plain {
            return Ok(()); // most objects: times and zones are written in C, and the collector does not track them
        }
        for (found, name) in [(&DATETIME, "datetime"), (&TIME, "time")] {
            let Some(class) = owners::loaded(py, found, "datetime", name).filter(|class| owners::is_of(object, class))
            else {
                continue;
            };
            // The class's own attribute, even if a subclass overrides it.
            let zone = class.getattr(intern!(py, "tzinfo"))?.call_method1(intern!(py, "__get__"), (object,))?;
            let timezone = owners::loaded(py, &TIMEZONE, "datetime", "timezone");
            let is_own = timezone.is_some_and(|class| {
                owners::is_of(&zone, &class) && class.getattr(intern!(py, "utc")).is_ok_and(|utc| !utc.is(&zone))
            });
            if is_own {
                self.visit_bound(&zone);
            }
            return Ok(());
        }
        if let Some(class) =
            owners::loaded(py, &TIMEZONE, "datetime", "timezone").filter(|class| owners::is_of(object, class))
        {
            let parts = class.call_method1(intern!(py, "__getinitargs__"), (object,))?;
            parts.try_iter()?.try_for_each(|part| part.map(|part| self.visit_bound(&part)))?;
        }
        Ok(())
    }
}

/// Whether a class is one of the interpreter's own, whose instances show the garbage collector everything that they
/// hold.
fn is_of_interpreter(kind: &Bound<'_, PyType>) -> bool {
    // SAFETY: a live class.
    let is_static = unsafe { ffi::PyType_HasFeature(kind.as_type_ptr(), ffi::Py_TPFLAGS_HEAPTYPE) == 0 };
    let module = kind.module().map(|module| module.to_string()).unwrap_or_default();
    match module.as_str() {
        "builtins" | "types" => is_static,
        "itertools" | "_queue" => true,
        _ => false,
    }
}

/// Whether it is a generator, a coroutine or an asynchronous generator that is running. Then its frame is in use.
fn is_running(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object.
    let kind = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    let name = if kind == &raw mut ffi::PyGen_Type {
        "gi_running"
    } else if kind == &raw mut ffi::PyCoro_Type {
        "cr_running"
    } else if kind == &raw mut ffi::PyAsyncGen_Type {
        "ag_running"
    } else {
        return false;
    };
    object.getattr(name).is_ok_and(|running| running.is_truthy().unwrap_or(true))
}

static BYTES_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static STRING_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static MATCH: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static FUTURE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The contents of an in-memory file. Those of a `StringIO` are put together for this, if they were still in parts.
fn contents<'py>(class: &Bound<'py, PyType>, file: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    detach::call_out(file.py(), || class.call_method1(intern!(file.py(), "getvalue"), (file,)))
}
