//! Views: objects that show memory of another object. A view weighs its header plus its owner, because it keeps the
//! owner alive.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use super::estimate::Estimate;
use super::layout::{GC_HEADER, POINTER};
use crate::python::host::detach;

/// Size of what a memoryview keeps beside itself: an object with a count, flags, and the buffer that it got from the
/// owner.
const MANAGED_BUFFER: usize = GC_HEADER + size_of::<ffi::PyObject>() + 2 * POINTER + size_of::<ffi::Py_buffer>();

/// What an array of numpy's `StringDType` has for itself: a type with an allocator.
const STRING_TYPE: usize = 350;
/// The longest string of numpy's `StringDType` that an array has among its items.
const SHORT_STRING: usize = 15;

/// A class of a module, if the module has been imported.
pub(super) fn loaded<'py>(
    py: Python<'py>,
    found: &'static PyOnceLock<Py<PyType>>,
    module: &str,
    name: &str,
) -> Option<Bound<'py, PyType>> {
    if let Some(class) = found.get(py) {
        return Some(class.bind(py).clone());
    }
    let modules = py.import("sys").ok()?.getattr("modules").ok()?.cast_into::<PyDict>().ok()?;
    let class = modules.get_item(module).ok()??.getattr(name).ok()?.cast_into::<PyType>().ok()?;
    Some(found.get_or_init(py, || class.unbind()).bind(py).clone())
}

/// Whether objects of a class show memory. Views, arrays and maps do, and few others.
pub(super) fn shows_memory(kind: &Bound<'_, PyType>) -> bool {
    // SAFETY: a live class.
    unsafe {
        let protocol = (*kind.as_type_ptr()).tp_as_buffer;
        !protocol.is_null() && (*protocol).bf_getbuffer.is_some()
    }
}

/// Whether an object is an instance of a class, ignoring its `__class__`. No Python code runs.
pub(super) fn is_of(object: &Bound<'_, PyAny>, class: &Bound<'_, PyType>) -> bool {
    // SAFETY: a live object's class, and another class.
    unsafe { ffi::PyType_IsSubtype(ffi::Py_TYPE(object.as_ptr()), class.as_type_ptr()) != 0 }
}

/// `numpy.ndarray`
pub(super) fn array_class(py: Python<'_>) -> Option<Bound<'_, PyType>> {
    static ARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    loaded(py, &ARRAY, "numpy", "ndarray")
}

/// Whether it is the memory map of a file. Its pages belong to the system, which takes them back when it needs them.
pub(super) fn is_file_map(object: &Bound<'_, PyAny>) -> bool {
    static MAP: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = object.py();
    let Some(class) = loaded(py, &MAP, "mmap", "mmap").filter(|class| is_of(object, class)) else { return false };
    // A map without a file cannot report the size of its file.
    detach::call_out(py, || class.call_method1(intern!(py, "size"), (object,))).is_ok()
}

/// The object whose memory a view shows; None: it is not a view.
pub(super) fn owner<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    // SAFETY: a live object.
    let owner = if unsafe { ffi::PyMemoryView_Check(object.as_ptr()) } != 0 {
        match object.getattr(intern!(py, "obj")) {
            Ok(owner) => owner,
            Err(_) => return Ok(None), // it was released
        }
    } else {
        let Some(class) = array_class(py).filter(|class| is_of(object, class)) else {
            return Ok(None);
        };
        // The class's own attribute, even if a subclass overrides it.
        let base = class.getattr(intern!(py, "base"))?;
        detach::call_out(py, || base.call_method1(intern!(py, "__get__"), (object,)))?
    };
    Ok(Some(owner).filter(|owner| !owner.is_none()))
}

/// Why a refused payload is larger than it looks, and what to do about it.
pub(in crate::python) fn hint(payload: &Bound<'_, PyAny>) -> Option<String> {
    if let Some(what) = Estimate::absurd_in(payload) {
        return Some(what);
    }
    let mut owner_of_all = owner(payload).ok()??;
    while let Ok(Some(next)) = owner(&owner_of_all) {
        owner_of_all = next;
    }
    let size = super::deep_size(&owner_of_all).ok()?;
    let (view, kind) = (payload.get_type(), owner_of_all.get_type());
    Some(format!(
        "it is a view ({}) of an object ({}) of {size} bytes, which it keeps alive: enqueue a copy of what it shows",
        view.name().ok()?,
        kind.name().ok()?
    ))
}

impl<'py> Estimate<'py> {
    /// Visits the owner of a view. Returns false if the object is not a view.
    pub(super) fn visit_owner(&mut self, object: &Bound<'py, PyAny>) -> PyResult<bool> {
        let Some(owner) = owner(object)? else { return Ok(false) };
        // SAFETY: a live object.
        if unsafe { ffi::PyMemoryView_Check(object.as_ptr()) } != 0 {
            self.add(MANAGED_BUFFER);
        }
        self.visit_bound(&owner);
        Ok(true)
    }

    /// Counts the strings of an array of numpy's `StringDType`. It has short ones (up to 15 bytes of UTF-8) among its
    /// items, and all others in an arena, each behind its length; the arena has room for up to a quarter more. The array
    /// does not tell how large the arena is.
    fn add_strings(&mut self, array: &Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> PyResult<()> {
        let py = array.py();
        let items = class.getattr(intern!(py, "flat"))?.call_method1(intern!(py, "__get__"), (array,))?;
        let mut arena = 0usize;
        for item in items.try_iter()? {
            let item = item?;
            // Others stand for a value that is missing.
            let length = item.cast::<PyString>().ok().and_then(|text| text.to_str().ok()).map_or(0, str::len);
            arena += match length {
                length if length <= SHORT_STRING => 0,
                ..=0xFF => 1 + length,
                _ => size_of::<usize>() + length,
            };
        }
        self.add(STRING_TYPE + arena + arena / 4);
        Ok(())
    }

    /// Visits the objects in the fields of a structured array, or counts the strings of an array.
    pub(super) fn visit_fields(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = object.py();
        let Some(class) = array_class(py).filter(|class| is_of(object, class)) else {
            return Ok(());
        };
        let attribute = |name: &str| class.getattr(name)?.call_method1(intern!(py, "__get__"), (object,));
        detach::call_out(py, || {
            let kind = attribute("dtype")?;
            if kind.getattr(intern!(py, "char"))?.cast::<PyString>().is_ok_and(|code| code == "T") {
                return self.add_strings(object, &class);
            }
            let fields = kind.getattr(intern!(py, "fields"))?;
            if !fields.is_none() {
                // The dtype belongs to the array, unless many arrays share it.
                self.visit_bound(&kind);
                self.found.push(fields.clone()); // created for this call: its address may be reused later
            }
            if fields.is_none() || !kind.getattr(intern!(py, "hasobject"))?.is_truthy()? {
                return Ok(());
            }
            for name in kind.getattr(intern!(py, "names"))?.try_iter()? {
                let field = class.call_method1(intern!(py, "__getitem__"), (object, name?))?;
                if class
                    .getattr(intern!(py, "dtype"))?
                    .call_method1(intern!(py, "__get__"), (&field,))?
                    .getattr(intern!(py, "hasobject"))?
                    .is_truthy()?
                {
                    self.visit_fields(&field)?;
                    self.visit_items(&field)?;
                }
            }
            Ok(())
        })
    }
}
