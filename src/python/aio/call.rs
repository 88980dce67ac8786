//! The coroutines that asynchronous methods return.

use std::ffi::CString;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::operation::Operation;
use super::progress::{Progress, Step};
use super::turn;
use crate::python::errors;
use crate::python::host::detach;
use crate::python::host::interpreter::Interpreter;
use crate::python::message::Message;
use crate::python::objects::Consumer;
use crate::python::timeouts::Timeout;
use crate::sync::{Mutex, MutexGuard, lock};

/// An asynchronous call: a coroutine. It runs when it is awaited.
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(in crate::python) struct Call {
    stage: Mutex<Stage>,
}

/// How far a call has come.
enum Stage {
    /// It was never awaited.
    New(Operation, Timeout),
    Suspended(Box<Progress>),
    /// It runs, or has ended.
    Away,
    /// It was never awaited, and the collector took what it refers to. Its name is still needed for the warning.
    Collected(&'static str),
}

impl Drop for Call {
    fn drop(&mut self) {
        let unawaited = match self.stage.get_mut() {
            Stage::New(operation, _) => operation.name(),
            Stage::Collected(name) => name,
            Stage::Suspended(progress) => {
                Python::try_attach(|py| progress.put_away(py, false));
                return;
            }
            Stage::Away => return,
        };
        Python::try_attach(|py| detach::call_out(py, || warn_of_no_await(py, unawaited)));
    }
}

/// Warns about a coroutine that was never awaited.
#[cold]
#[allow(deprecated, reason = "what replaces them is missing from CPython 3.11")]
fn warn_of_no_await(py: Python<'_>, name: &str) {
    // A call may be dropped while an error is being raised.
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the thread is attached. The three may be null, all of them, and are restored as they were fetched.
    // (`PyErr::take` would resume a panic.)
    unsafe { ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback) };
    let text = CString::new(format!("coroutine '{name}' was never awaited")).unwrap_or_default();
    if let Err(error) = PyErr::warn(py, py.get_type::<PyRuntimeWarning>().as_any(), &text, 1) {
        error.write_unraisable(py, None);
    }
    // SAFETY: as above. The call takes over the references.
    unsafe { ffi::PyErr_Restore(class, value, traceback) };
}

impl Call {
    pub(in crate::python) fn new(operation: Operation, timeout: Timeout) -> Self {
        Call { stage: Mutex::new(Stage::New(operation, timeout)) }
    }

    /// `__aenter__`, with the name of the method.
    pub(in crate::python) fn entering<T>(name: &'static str, object: Py<T>) -> Self {
        Call::new(Operation::Enter(name, object.into_any()), Timeout::NOW)
    }

    /// `__aexit__`, with the name of the method.
    pub(in crate::python) fn closing<T>(name: &'static str, object: Py<T>) -> Self {
        Call::new(Operation::Close(name, object.into_any()), Timeout::NOW)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        lock::<Interpreter, _>(&self.stage)
    }

    /// Takes what the caller goes on with, or ends.
    fn take(&self) -> Stage {
        mem::replace(&mut self.stage(), Stage::Away)
    }

    fn step(&self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Step> {
        let mut progress = match self.take() {
            Stage::New(operation, timeout) => Progress::new(operation, timeout),
            Stage::Suspended(progress) => *progress,
            Stage::Away | Stage::Collected(_) => {
                return Err(PyRuntimeError::new_err("cannot reuse an awaited call, nor await it twice at once"));
            }
        };
        let step = progress.step(py, value);
        match &step {
            Ok(Step::Suspend(_)) => *self.stage() = Stage::Suspended(Box::new(progress)),
            Ok(Step::Done(_)) => {}
            Err(_) => progress.put_away(py, false),
        }
        step
    }

    fn go_on(&self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        match self.step(py, value)? {
            Step::Suspend(future) => Ok(future),
            Step::Done(result) => Err(PyStopIteration::new_err((result,))),
        }
    }

    /// Reads a message that is already there, as [`step`](Self::step) would. None: nothing was done.
    fn read_fast<'py>(&self, py: Python<'py>) -> Option<PyResult<Bound<'py, Message>>> {
        if !turn::is_under_way() {
            return None;
        }
        let (consumer, timeout) = self.stage().take_read()?;
        let message = consumer.get().take_message_fast(py);
        if message.is_none() {
            *self.stage() = Stage::New(Operation::Read(consumer), timeout);
        } else {
            consumer.drop_ref(py);
        }
        message
    }
}

impl Stage {
    /// Takes a read that was never awaited; None: it is something else.
    fn take_read(&mut self) -> Option<(Py<Consumer>, Timeout)> {
        if !matches!(self, Stage::New(Operation::Read(_), _)) {
            return None;
        }
        match mem::replace(self, Stage::Away) {
            Stage::New(Operation::Read(consumer), timeout) => Some((consumer, timeout)),
            _ => None,
        }
    }
}

/// One step of a call, without the overhead of a method.
///
/// # Safety
///
/// The thread is attached, `slf` is a `Call`, `value` is an object or null.
unsafe fn step_once(slf: *mut ffi::PyObject, value: *mut ffi::PyObject) -> PyResult<Step> {
    let step = || {
        // SAFETY: the caller's promises.
        let this = unsafe { Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Call>() };
        if let Some(message) = this.get().read_fast(this.py()) {
            return message.map(|message| Step::Done(message.into_any().unbind()));
        }
        // SAFETY: an object, or null.
        let value = unsafe { Bound::from_borrowed_ptr_or_opt(this.py(), value) };
        Python::attach(|py| this.get().step(py, value.as_ref()))
    };
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| Err(errors::panicked()))
}

/// What `await` calls from CPython 3.12 on. The result is returned inside a `StopIteration`.
///
/// # Safety
///
/// CPython's promises for `tp_iternext`: the thread is attached, `slf` is a `Call`.
unsafe extern "C" fn next(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller's promises. The exception is created with the result as its one argument; a tuple that was set
    // directly would be taken for several arguments. The reference to the exception is released once it is set, and so
    // is that to the result.
    unsafe {
        match step_once(slf, ptr::null_mut()) {
            Ok(Step::Suspend(future)) => return future.into_ptr(),
            Ok(Step::Done(result)) => {
                let result = result.into_ptr();
                let stop = ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, result);
                ffi::Py_DECREF(result);
                if !stop.is_null() {
                    ffi::PyErr_SetObject(ffi::PyExc_StopIteration, stop);
                    ffi::Py_DECREF(stop);
                }
            }
            Err(error) => error.restore(Python::assume_attached()),
        }
    }
    ptr::null_mut()
}

/// What `await` calls if it can, up to CPython 3.11. The result is returned as it is, and not inside a `StopIteration`.
///
/// # Safety
///
/// CPython's promises for `am_send`: the thread is attached, `slf` is a `Call`, `result` is written to.
unsafe extern "C" fn send(
    slf: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the caller's promises.
    let (object, outcome) = match unsafe { step_once(slf, value) } {
        Ok(Step::Suspend(future)) => (future.into_ptr(), ffi::PySendResult::PYGEN_NEXT),
        Ok(Step::Done(message)) => (message.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
        Err(error) => {
            // SAFETY: the caller's promise.
            error.restore(unsafe { Python::assume_attached() });
            (ptr::null_mut(), ffi::PySendResult::PYGEN_ERROR)
        }
    };
    // SAFETY: the caller's promise.
    unsafe { result.write(object) };
    outcome
}

/// Called once, when the module is first imported.
pub(super) fn install(py: Python<'_>) {
    // SAFETY: the class was created just now and has no instance yet. It is a class created at run time, which has a
    // place for these functions.
    unsafe {
        let class = py.get_type::<Call>().as_type_ptr();
        (*class).tp_iternext = Some(next);
        let functions = (*class).tp_as_async;
        // A coroutine is its own iterator.
        (*functions).am_await = Some(ffi::PyObject_SelfIter);
        (*functions).am_send = Some(send);
    }
}

#[pymethods]
impl Call {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.go_on(py, None)
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.go_on(py, Some(value))
    }

    #[pyo3(signature = (error, value = None, traceback = None))]
    fn throw(
        &self,
        py: Python<'_>,
        error: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        self.close(py);
        let error = match (error.cast::<PyType>(), value) {
            (Ok(_), Some(value)) if value.is_instance(&error)? => value,
            (Ok(_), Some(value)) => error.call1((value,))?,
            (Ok(_), None) => error.call0()?,
            (Err(_), _) => error,
        };
        Err(PyErr::from_value(error))
    }

    fn close(&self, py: Python<'_>) {
        if let Stage::Suspended(mut progress) = self.take() {
            progress.put_away(py, false);
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &*self.stage() {
            Stage::New(operation, _) => operation.traverse(&visit),
            Stage::Suspended(progress) => progress.traverse(&visit),
            Stage::Away | Stage::Collected(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        match self.take() {
            Stage::New(operation, _) => *self.stage() = Stage::Collected(operation.name()),
            Stage::Suspended(mut progress) => Python::attach(|py| progress.put_away(py, false)),
            Stage::Away => {}
            Stage::Collected(name) => *self.stage() = Stage::Collected(name),
        }
    }
}
