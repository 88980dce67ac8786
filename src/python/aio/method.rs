//! Asynchronous methods that report what they are: `inspect.iscoroutinefunction` returns true for them, from CPython
//! 3.12 on.
//!
//! Frameworks use it to decide whether to await what a function returns. The mark that `inspect.markcoroutinefunction`
//! sets is an attribute, and a method of a class that is not written in Python accepts no attributes. So each such
//! method is wrapped in a descriptor of our own. CPython calls the descriptor like any method, without creating a bound
//! method first.

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use crate::python::objects::{Consumer, Queue};

/// The methods, by class.
const OF_QUEUE: [&str; 3] = ["aenqueue", "aenqueue_batch", "ajoin"];
const OF_CONSUMER: [&str; 6] = ["aread", "aread_batch", "aread_latest", "aget", "aget_batch", "atake_missed"];

// Wraps a method of a class. (This is not a doc comment, because the documentation of an object is that of the method.)
#[pyclass(name = "coroutine_method", module = "mpmc_queue", frozen)]
struct CoroutineMethod {
    /// The function that CPython calls. CPython finds it by its offset in the object.
    vectorcall: ffi::vectorcallfunc,
    /// The descriptor of the wrapped method.
    behind: Py<PyAny>,
}

/// Calls the wrapped method.
///
/// # Safety
///
/// CPython's promises for a vectorcall: the thread is attached, `slf` is a [`CoroutineMethod`], and the rest are arguments.
unsafe extern "C" fn call(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's promises. They also hold for the wrapped method, which takes the same arguments.
    unsafe {
        let this = Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<CoroutineMethod>();
        ffi::PyObject_Vectorcall(this.get().behind.as_ptr(), args, count, names)
    }
}

#[pymethods]
impl CoroutineMethod {
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        of: &Bound<'py, PyAny>,
        _class: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        if of.is_none() {
            return Ok(slf.clone().into_any());
        }
        METHOD.import(slf.py(), "types", "MethodType")?.call1((slf, of))
    }

    /// All attributes except the mark are those of the method.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let error = match self.behind.bind(py).getattr(name) {
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => error,
            found => return found,
        };
        match marks(py)?.get_item(name)? {
            Some(mark) => Ok(mark),
            None => Err(error),
        }
    }

    #[getter(__doc__)]
    fn doc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.behind.bind(py).getattr("__doc__")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.behind.bind(py).repr()?.to_string())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.behind.bind(py).call_method0("__reduce__")
    }
}

/// The attributes that `inspect` sets on a function that it marks. None of them before `inspect` is imported, because
/// nothing can ask before that.
fn marks(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let inspect = modules.call_method1("get", ("inspect",))?;
    let function = py.eval(c"lambda: None", None, None)?;
    if !inspect.is_none() && inspect.hasattr("markcoroutinefunction")? {
        inspect.call_method1("markcoroutinefunction", (&function,))?;
    }
    Ok(function.getattr("__dict__")?.cast_into()?)
}

/// Wraps each asynchronous method in a descriptor.
pub(super) fn install_all(py: Python<'_>) -> PyResult<()> {
    if py.version_info() < (3, 12) {
        return Ok(());
    }
    for name in OF_QUEUE {
        install(&py.get_type::<Queue>().into_any(), name)?;
    }
    for name in OF_CONSUMER {
        install(&py.get_type::<Consumer>().into_any(), name)?;
    }
    Ok(())
}

fn install(class: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
    let py = class.py();
    let name = PyString::intern(py, name);
    let behind = class.getattr(&name)?;
    if behind.is_instance_of::<CoroutineMethod>() {
        // It was wrapped by an earlier import.
        return Ok(());
    }
    let behind = behind.unbind();
    let method = Bound::new(py, CoroutineMethod { vectorcall: call, behind })?;
    let offset = (&raw const method.get().vectorcall).addr() - method.as_ptr().addr();
    // SAFETY: each object of the class has a function with this calling convention at this offset. The class is ours,
    // was created at run time, and is not used by anybody else yet.
    unsafe {
        let class = method.get_type().as_type_ptr();
        (*class).tp_vectorcall_offset = offset as ffi::Py_ssize_t;
        (*class).tp_call = Some(ffi::PyVectorcall_Call);
        // On free-threaded builds this is an atomic of the same layout.
        let flags = (&raw mut (*class).tp_flags).cast::<std::ffi::c_ulong>();
        *flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
        ffi::PyType_Modified(class);
    }
    class.setattr(name, method)
}
