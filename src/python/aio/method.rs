//! Asynchronous methods that say what they are: `inspect.iscoroutinefunction` is true of them, from CPython 3.12 on.
//!
//! Frameworks ask it to decide whether to await what a function returns. The mark that `inspect.markcoroutinefunction`
//! sets is an attribute, and a method of a class that is not written in Python takes none. So a descriptor of our own
//! stands before each such method. CPython calls it as it calls any method, without making a bound one first.

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::python::objects::{Consumer, Queue};

/// The methods, by class.
const OF_QUEUE: [&str; 3] = ["aenqueue", "aenqueue_batch", "ajoin"];
const OF_CONSUMER: [&str; 6] = ["aread", "aread_batch", "aread_latest", "aget", "aget_batch", "atake_missed"];

// Stands before a method of a class. (Not its documentation: that of an object is the method's.)
#[pyclass(name = "coroutine_method", module = "mpmc_queue", frozen)]
struct CoroutineMethod {
    /// What CPython calls, found by its place in the object.
    vectorcall: ffi::vectorcallfunc,
    /// The method's own descriptor.
    behind: Py<PyAny>,
}

unsafe extern "C" {
    fn PyMethod_New(function: *mut PyObject, of: *mut PyObject) -> *mut PyObject;
}

/// Calls the method behind.
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
    // SAFETY: the caller's promises; they hold for the method behind, which takes the same arguments.
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
        if of.is_none() {
            return Ok(slf.clone().into_any());
        }
        // SAFETY: a function and what it is bound to, neither of them null; a new reference, or null with an error set.
        unsafe { Bound::from_owned_ptr_or_err(slf.py(), PyMethod_New(slf.as_ptr(), of.as_ptr())) }
    }

    /// Everything but the mark is the method's own.
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

/// The attributes that `inspect` gives a function that it marks; none as long as nobody has imported it, who could ask?
fn marks(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let inspect = modules.call_method1("get", ("inspect",))?;
    let function = py.eval(c"lambda: None", None, None)?;
    if !inspect.is_none() && inspect.hasattr("markcoroutinefunction")? {
        inspect.call_method1("markcoroutinefunction", (&function,))?;
    }
    Ok(function.getattr("__dict__")?.cast_into()?)
}

/// Puts a descriptor before each asynchronous method.
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
        // From an import before this one.
        return Ok(());
    }
    let behind = behind.unbind();
    let method = Bound::new(py, CoroutineMethod { vectorcall: call, behind })?;
    let offset = (&raw const method.get().vectorcall).addr() - method.as_ptr().addr();
    // SAFETY: each object of the class has a function that can be called so, at this place. The class is ours, made at
    // run time and used by nobody else yet.
    unsafe {
        let class = method.get_type().as_type_ptr();
        (*class).tp_vectorcall_offset = offset as ffi::Py_ssize_t;
        (*class).tp_call = Some(ffi::PyVectorcall_Call);
        // An atomic on free-threaded builds, of the same layout.
        let flags = (&raw mut (*class).tp_flags).cast::<std::ffi::c_ulong>();
        *flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
        ffi::PyType_Modified(class);
    }
    class.setattr(name, method)
}
