//! The usual case of the hottest methods, without the ceremony of a call.
//!
//! PyO3 checks and converts the arguments of a method, counts the attachment of the thread, and calls a method without
//! arguments in a way that CPython 3.11 and 3.12 do not specialize. Together that is as much as all the rest of an
//! `enqueue`. So a few methods get a *front*: a function in CPython's own calling convention (`METH_FASTCALL |
//! METH_KEYWORDS`), which does what is usual, where nothing waits, nothing is dropped, and no Python code runs, and hands
//! everything else, with the arguments as they came, to the method behind it, which PyO3 made. That one alone says what
//! the method means; a front only gets there sooner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyMethodDef, PyObject};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::arguments::Timeout;
use super::asyncio::{Call, Operation};
use super::consumer::Consumer;
use super::queue::Queue;

/// The error for what should never happen: a panic that reached the border to Python.
pub(super) fn panicked() -> PyErr {
    PanicException::new_err("internal error of mpmc_queue")
}

/// The method behind a front.
struct Method(AtomicPtr<PyMethodDef>);

/// The front of a method of the class `Self::Class`.
trait Front {
    type Class: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync;
    /// Name of the method.
    const NAME: &'static str;
    /// What is behind.
    const METHOD: &'static Method;

    /// Does it, if that takes only what is usual. None: nothing was done.
    ///
    /// The thread's attachment is not counted: no `Py` may be dropped here.
    fn usual<'py>(
        py: Python<'py>,
        this: Borrowed<'_, 'py, Self::Class>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>>;
}

/// What CPython calls.
///
/// # Safety
///
/// CPython's promises for such a method: the thread is attached, `slf` is an instance of the class, `args` are `count`
/// objects and the values of `names`, a tuple or null; all of them live during the call.
unsafe extern "C" fn call<F: Front>(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's promises. A Borrowed is a pointer to an object (`repr(transparent)`) that needs to live as
    // long as it is used; a slice of no objects may not start at null.
    unsafe {
        let py = Python::assume_attached();
        if names.is_null() {
            let this = Borrowed::from_ptr(py, slf).cast_unchecked::<F::Class>();
            let args = match count {
                0 => &[],
                count => std::slice::from_raw_parts(args.cast::<Borrowed<'_, '_, PyAny>>(), count as usize),
            };
            match catch_unwind(AssertUnwindSafe(|| F::usual(py, this, args))) {
                Ok(None) => {}
                Ok(Some(Ok(result))) => return result.into_ptr(),
                Ok(Some(Err(error))) => {
                    error.restore(py);
                    return ptr::null_mut();
                }
                Err(_) => {
                    panicked().restore(py);
                    return ptr::null_mut();
                }
            }
        }
        F::METHOD.call(slf, args, count, names)
    }
}

impl Method {
    const fn new() -> Self {
        Method(AtomicPtr::new(ptr::null_mut()))
    }

    /// Calls the method behind the front.
    ///
    /// # Safety
    ///
    /// That of [`call`]; it has been installed.
    #[cold]
    unsafe fn call(
        &self,
        slf: *mut PyObject,
        args: *const *mut PyObject,
        count: ffi::Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: the definition of a method of a class that lives as long as the module; the flags tell which kind of
        // function it has, and the arguments are as the caller promises.
        unsafe {
            let method = &*self.0.load(Ordering::Relaxed);
            if method.ml_flags == ffi::METH_FASTCALL | ffi::METH_KEYWORDS {
                return (method.ml_meth.PyCFunctionFastWithKeywords)(slf, args.cast_mut(), count, names);
            }
            let given = count + if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
            if given == 0 {
                return (method.ml_meth.PyCFunction)(slf, ptr::null_mut());
            }
            let name = std::ffi::CStr::from_ptr(method.ml_name).to_string_lossy();
            let message = format!("{name}() takes no arguments ({given} given)");
            PyTypeError::new_err(message).restore(Python::assume_attached());
            ptr::null_mut()
        }
    }
}

/// Puts a front before its method.
fn install<F: Front>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<F::Class>();
    // SAFETY: `tp_methods` of a class ends with a definition without a name, and lives as long as the class. The new
    // definition is never freed. A new reference to a descriptor, or null with an error set, is what comes back.
    let descriptor = unsafe {
        let mut behind = (*class.as_type_ptr()).tp_methods;
        while std::ffi::CStr::from_ptr((*behind).ml_name).to_bytes() != F::NAME.as_bytes() {
            behind = behind.add(1);
        }
        F::METHOD.0.store(behind, Ordering::Relaxed);
        let front = Box::new(PyMethodDef {
            ml_name: (*behind).ml_name,
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call::<F> },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: (*behind).ml_doc,
        });
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), Box::leak(front)))?
    };
    class.setattr(PyString::intern(py, F::NAME), descriptor)
}

/// Puts all fronts before their methods.
pub(super) fn install_all(py: Python<'_>) -> PyResult<()> {
    install::<Enqueue>(py)?;
    install::<Put>(py)?;
    install::<Get>(py)?;
    install::<GetNowait>(py)?;
    install::<Read>(py)?;
    install::<Aread>(py)
}

/// A seq as an int: CPython is quicker to make one from a `long`.
///
/// # Safety
///
/// The thread is attached.
unsafe fn int(seq: u64) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        match std::ffi::c_long::try_from(seq) {
            Ok(seq) => ffi::PyLong_FromLong(seq),
            Err(_) => ffi::PyLong_FromUnsignedLongLong(seq),
        }
    }
}

/// `queue.enqueue(payload)`
struct Enqueue;

impl Front for Enqueue {
    type Class = Queue;
    const NAME: &'static str = "enqueue";
    const METHOD: &'static Method = {
        static METHOD: Method = Method::new();
        &METHOD
    };

    fn usual<'py>(
        py: Python<'py>,
        queue: Borrowed<'_, 'py, Queue>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let [payload] = args else { return None };
        let seq = queue.get().add_quickly(payload)?;
        // SAFETY: the thread is attached; a new reference, or null with an error set, is what comes back.
        Some(unsafe { Bound::from_owned_ptr_or_err(py, int(seq)) })
    }
}

/// `queue.put(item)`
struct Put;

impl Front for Put {
    type Class = Queue;
    const NAME: &'static str = "put";
    const METHOD: &'static Method = {
        static METHOD: Method = Method::new();
        &METHOD
    };

    fn usual<'py>(
        py: Python<'py>,
        queue: Borrowed<'_, 'py, Queue>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let [item] = args else { return None };
        queue.get().add_quickly(item)?;
        Some(Ok(py.None().into_bound(py)))
    }
}

/// `consumer.get()`
struct Get;

impl Front for Get {
    type Class = Consumer;
    const NAME: &'static str = "get";
    const METHOD: &'static Method = {
        static METHOD: Method = Method::new();
        &METHOD
    };

    fn usual<'py>(
        py: Python<'py>,
        consumer: Borrowed<'_, 'py, Consumer>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        args.is_empty().then(|| consumer.get().take_payload_quickly(py))?.map(Ok)
    }
}

/// `consumer.get_nowait()`
struct GetNowait;

impl Front for GetNowait {
    type Class = Consumer;
    const NAME: &'static str = "get_nowait";
    const METHOD: &'static Method = {
        static METHOD: Method = Method::new();
        &METHOD
    };

    fn usual<'py>(
        py: Python<'py>,
        consumer: Borrowed<'_, 'py, Consumer>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        args.is_empty().then(|| consumer.get().take_payload_quickly(py))?.map(Ok)
    }
}

/// `consumer.read()`
struct Read;

impl Front for Read {
    type Class = Consumer;
    const NAME: &'static str = "read";
    const METHOD: &'static Method = {
        static METHOD: Method = Method::new();
        &METHOD
    };

    fn usual<'py>(
        py: Python<'py>,
        consumer: Borrowed<'_, 'py, Consumer>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let message = args.is_empty().then(|| consumer.get().take_message_quickly(py))??;
        Some(message.map(Bound::into_any))
    }
}

/// `consumer.aread()`
struct Aread;

impl Front for Aread {
    type Class = Consumer;
    const NAME: &'static str = "aread";
    const METHOD: &'static Method = {
        static METHOD: Method = Method::new();
        &METHOD
    };

    fn usual<'py>(
        py: Python<'py>,
        consumer: Borrowed<'_, 'py, Consumer>,
        args: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let call = || Call::new(Operation::Read(consumer.to_owned().unbind()), Timeout::Never);
        args.is_empty().then(|| Bound::new(py, call()).map(Bound::into_any))
    }
}
