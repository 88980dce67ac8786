//! The usual case of the hottest methods, without the overhead of a call.
//!
//! PyO3 checks and converts the arguments of a method, counts the attachment of the thread, and calls a method without
//! arguments in a way that CPython 3.11 and 3.12 do not specialize. Together that costs as much as all the rest of an
//! `enqueue`. So a few methods get a *front*: a function in CPython's own calling convention (`METH_FASTCALL |
//! METH_KEYWORDS`). It handles the usual case, where nothing waits, nothing is dropped, and no Python code runs. It
//! passes everything else, with unchanged arguments, to the method behind it, which PyO3 made. Only that method defines
//! the behaviour; a front gives the same result faster.

use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyMethodDef, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::python::aio::call::Call;
use crate::python::aio::operation::Operation;
use crate::python::errors;
use crate::python::objects::{Consumer, Queue};
use crate::python::timeouts::Timeout;

/// The method behind a front.
struct Method(AtomicPtr<PyMethodDef>);

/// The front of a method of the class `Self::Class`.
trait Front {
    type Class: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync;
    /// The name of the method.
    const NAME: &'static str;
    /// The method behind the front.
    const METHOD: &'static Method;

    /// Performs the call in the usual case. The thread's attachment is not counted, so no `Py` may be dropped here.
    fn usual<'py>(py: Python<'py>, this: Borrowed<'_, 'py, Self::Class>, args: &[Borrowed<'_, 'py, PyAny>]) -> Outcome;

    /// Performs a call with arguments by name in the usual case. Their values follow the other arguments.
    #[inline(always)]
    fn usual_by_name<'py>(
        _py: Python<'py>,
        _this: Borrowed<'_, 'py, Self::Class>,
        _args: &[Borrowed<'_, 'py, PyAny>],
        _names: Borrowed<'_, 'py, PyTuple>,
    ) -> Outcome {
        Outcome::UNUSUAL
    }
}

/// The result: what CPython gets (an object, or null with an error set), or [`Outcome::UNUSUAL`].
///
/// It is one word, so that it stays in a register. An `Option<PyResult<Bound>>` goes through memory. It was written in
/// pieces and read as a whole, which delayed every call by 7 ns.
struct Outcome(*mut PyObject);

impl Outcome {
    /// It was not the usual case, and nothing was done. No object has this address.
    const UNUSUAL: Self = Outcome(ptr::without_provenance_mut(1));

    fn new<T>(object: Bound<'_, T>) -> Self {
        Outcome(object.into_ptr())
    }

    fn from<T>(result: PyResult<Bound<'_, T>>, py: Python<'_>) -> Self {
        match result {
            Ok(object) => Outcome::new(object),
            Err(error) => {
                error.restore(py);
                Outcome(ptr::null_mut())
            }
        }
    }
}

/// The function that CPython calls.
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
    // long as it is used. A slice of no objects may not start at null.
    unsafe {
        let py = Python::assume_attached();
        let this = Borrowed::from_ptr(py, slf).cast_unchecked::<F::Class>();
        let slice = |count| match count {
            0 => &[],
            count => std::slice::from_raw_parts(args.cast::<Borrowed<'_, '_, PyAny>>(), count as usize),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| match names.is_null() {
            true => F::usual(py, this, slice(count)),
            false => {
                let all = slice(count + ffi::PyTuple_GET_SIZE(names));
                F::usual_by_name(py, this, all, Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>())
            }
        }));
        let outcome = outcome.unwrap_or_else(|_| Outcome::from(Err::<Bound<'_, PyAny>, _>(errors::panicked()), py));
        if outcome.0 != Outcome::UNUSUAL.0 {
            return outcome.0;
        }
        cold_path();
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
    /// That of [`call`]. The front has been installed.
    #[cold]
    unsafe fn call(
        &self,
        slf: *mut PyObject,
        args: *const *mut PyObject,
        count: ffi::Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: the definition of a method of a class that lives as long as the module. The flags tell which kind
        // of function it has, and the arguments are as the caller promises.
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
    // definition is never freed. The result is a new reference to a descriptor, or null with an error set.
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
pub(in crate::python) fn install_all(py: Python<'_>) -> PyResult<()> {
    install::<Enqueue>(py)?;
    install::<Put>(py)?;
    install::<Get>(py)?;
    install::<GetNowait>(py)?;
    install::<Read>(py)?;
    install::<Aread>(py)
}

/// Whether `topic` is the only argument by name. (Compiled code interns its names.)
fn is_topic(names: &Bound<'_, PyTuple>) -> bool {
    let mut names = names.iter_borrowed();
    names.next().is_some_and(|name| name.is(intern!(name.py(), "topic"))) && names.next().is_none()
}

/// Defines the front of one method.
macro_rules! front {
    (
        $(#[$doc:meta])* $front:ident, $class:ty, $name:literal, |$py:ident, $this:ident, $args:ident| $usual:expr
        $(, |$py_:ident, $this_:ident, $args_:ident, $names:ident| $by_name:expr)?
    ) => {
        $(#[$doc])*
        struct $front;

        impl Front for $front {
            type Class = $class;
            const NAME: &'static str = $name;
            const METHOD: &'static Method = {
                static METHOD: Method = Method::new();
                &METHOD
            };

            #[inline(always)]
            fn usual<'py>(
                $py: Python<'py>,
                $this: Borrowed<'_, 'py, $class>,
                $args: &[Borrowed<'_, 'py, PyAny>],
            ) -> Outcome {
                $usual
            }

            $(
                #[inline(always)]
                fn usual_by_name<'py>(
                    $py_: Python<'py>,
                    $this_: Borrowed<'_, 'py, $class>,
                    $args_: &[Borrowed<'_, 'py, PyAny>],
                    $names: Borrowed<'_, 'py, PyTuple>,
                ) -> Outcome {
                    $by_name
                }
            )?
        }
    };
}

front!(
    /// `queue.enqueue(payload)`, `queue.enqueue(payload, topic="a.b")`
    Enqueue, Queue, "enqueue", |py, queue, args| match args {
        [payload] => queue.get().add_fast(payload).map_or(Outcome::UNUSUAL, |seq| Outcome(queue.get().last_seq.int(py, seq))),
        _ => Outcome::UNUSUAL,
    },
    |py, queue, args, names| match args {
        [payload, topic] if is_topic(&names) && topic.is_exact_instance_of::<PyString>() => {
            // SAFETY: it is a str.
            let topic = unsafe { topic.cast_unchecked::<PyString>() };
            let seq = topic.to_str().ok().and_then(|topic| queue.get().add_under_fast(payload, topic));
            seq.map_or(Outcome::UNUSUAL, |seq| Outcome(queue.get().last_seq.int(py, seq)))
        }
        _ => Outcome::UNUSUAL,
    }
);

front!(
    /// `queue.put(item)`
    Put, Queue, "put", |py, queue, args| match args {
        [item] => queue.get().add_fast(item).map_or(Outcome::UNUSUAL, |_| Outcome::new(py.None().into_bound(py))),
        _ => Outcome::UNUSUAL,
    }
);

front!(
    /// `consumer.get()`
    Get, Consumer, "get", |py, consumer, args| match args {
        [] => consumer.get().take_payload_fast(py).map_or(Outcome::UNUSUAL, Outcome::new),
        _ => Outcome::UNUSUAL,
    }
);

front!(
    /// `consumer.get_nowait()`
    GetNowait, Consumer, "get_nowait", |py, consumer, args| match args {
        [] => consumer.get().take_payload_fast(py).map_or(Outcome::UNUSUAL, Outcome::new),
        _ => Outcome::UNUSUAL,
    }
);

front!(
    /// `consumer.read()`
    Read, Consumer, "read", |py, consumer, args| match args {
        [] => consumer.get().take_message_fast(py).map_or(Outcome::UNUSUAL, |made| Outcome::from(made, py)),
        _ => Outcome::UNUSUAL,
    }
);

front!(
    /// `consumer.aread()`
    Aread, Consumer, "aread", |py, consumer, args| match args {
        [] => {
            let call = Call::new(Operation::Read(consumer.to_owned().unbind()), Timeout::Never);
            Outcome::from(Bound::new(py, call), py)
        }
        _ => Outcome::UNUSUAL,
    }
);
