//! The coroutines: what an asynchronous method returns.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::future::TaskFuture;
use super::futures::TaskWaker;
use super::mailbox::Mailbox;
use super::operation::Operation;
use super::turn;
use crate::need::Need;
use crate::python::errors;
use crate::python::host::detach;
use crate::python::host::interpreter::Interpreter;
use crate::python::message::Message;
use crate::python::queue::adding::Batch;
use crate::python::timeouts::Timeout;
use crate::python::watch::Watch;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::wait::list::Ticket;

/// What a loop calls when the time of a future is up.
#[pyfunction]
fn time_is_up(future: &Bound<'_, TaskFuture>) -> PyResult<()> {
    detach::call_out(future.py(), || TaskFuture::complete(future, true))
}

/// A coroutine in the middle of its work.
struct Progress {
    operation: Operation,
    /// What is to be enqueued, once it has been sized.
    batch: Option<Box<Batch>>,
    timeout: Timeout,
    /// When its time is up, from the first suspension on.
    deadline: Option<Instant>,
    /// What it waits with.
    waiting: Option<Box<Suspended>>,
    /// While a batch waits to fill: until when, if not for ever.
    filling: Option<Option<Instant>>,
    /// Whether it has given other tasks their turn.
    paused: bool,
}

/// Where a suspended call waits.
enum Place {
    /// In one line.
    One(Ticket),
    /// At several consumers.
    Several(Watch),
}

impl Suspended {
    fn ticket(&self) -> Option<&Ticket> {
        match &self.place {
            Place::One(ticket) => Some(ticket),
            Place::Several(_) => None,
        }
    }
}

/// What a suspended call has to put away when it goes on.
struct Suspended {
    place: Place,
    number: u64,
    future: Py<TaskFuture>,
    timer: Option<Py<PyAny>>,
}

/// An asynchronous call: a coroutine. What it does is done when it is awaited.
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(in crate::python) struct Call {
    /// None while it runs, and once it has ended.
    progress: Mutex<Option<Progress>>,
    /// Whether anybody has awaited or closed it.
    is_begun: AtomicBool,
    /// The method that was called.
    name: &'static str,
}

/// A step's outcome.
enum Step {
    /// It suspends on this future, or, with None, gives others their turn.
    Suspend(Py<PyAny>),
    Done(Py<PyAny>),
}

impl Progress {
    fn step(&mut self, py: Python<'_>) -> PyResult<Step> {
        if !std::mem::replace(&mut self.paused, true) && !self.operation.is_immediate() && turn::is_over(py) {
            return Ok(Step::Suspend(py.None()));
        }
        let mut was_late = self.waiting.as_ref().map_or(Ok(false), |waiting| waiting.future.get().was_late(py))?;
        loop {
            if let Some(fill) = self.operation.lingers() {
                if self.filling.is_none() && self.operation.is_readable(py)? {
                    self.filling = Some(fill.linger.deadline());
                }
                if let Some(until) = self.filling {
                    let is_over = std::mem::take(&mut was_late) || until.is_some_and(|until| Instant::now() >= until);
                    if !is_over && !self.operation.is_full(py, fill)? {
                        match detach::call_out(py, || self.suspend(py))? {
                            Some(future) => {
                                turn::end();
                                return Ok(Step::Suspend(future));
                            }
                            None => continue,
                        }
                    }
                    self.filling = None;
                }
            }
            let ticket = self.waiting.as_ref().and_then(|waiting| waiting.ticket());
            if let Some(result) = self.operation.attempt(py, &mut self.batch, ticket)? {
                self.put_away(py, true);
                return Ok(Step::Done(result));
            }
            if was_late || self.timeout.is_zero() {
                self.put_away(py, false);
                return self.operation.give_up(py, self.batch.as_deref()).map(Step::Done);
            }
            if let Some(future) = detach::call_out(py, || self.suspend(py))? {
                turn::end();
                return Ok(Step::Suspend(future));
            }
        }
    }

    /// Enters a waker, and gives the future to suspend on; None: try again.
    fn suspend(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let get_running_loop = GET_RUNNING_LOOP
            .get_or_try_init(py, || PyResult::Ok(py.import("asyncio")?.getattr("get_running_loop")?.unbind()))?;
        let event_loop = get_running_loop.bind(py).call0()?;
        let future = TaskFuture::new(&event_loop)?;
        let mailbox = Mailbox::of(&event_loop)?;
        let Some(queue) = self.operation.queue().map(Py::get) else { return Ok(None) };
        let filling = self.filling.and(self.operation.lingers()).and_then(|fill| self.operation.filling(fill));
        // A producer keeps its place; its waker changes, for each suspension has a future of its own.
        let ticket = self.waiting.as_ref().and_then(|waiting| waiting.ticket().copied());
        let keeps_place = matches!(self.operation, Operation::Enqueue(..) | Operation::EnqueueBatch(..));
        let number = queue.futures.insert(future.clone_ref(py), mailbox.unbind());
        let waker = Waker::from(Arc::new(TaskWaker {
            futures: queue.futures.clone(),
            number,
            queue: queue.engine.downgrade(),
        }));
        let place = match ticket {
            Some(ticket) if keeps_place => queue.engine.wait_on(&ticket, &waker).then_some(Place::One(ticket)),
            _ if self.operation.is_any() => self.operation.watch(&waker).map(Place::Several),
            _ => {
                let need = self.batch.as_ref().map_or(Need { bytes: 0, items: 0 }, |batch| batch.need());
                let condition = filling.unwrap_or_else(|| self.operation.condition(need));
                queue.engine.wait(condition, &waker).map(Place::One)
            }
        };
        let Some(place) = place else {
            queue.futures.remove(number);
            return Ok(None);
        };
        if let Place::One(ticket) = place {
            queue.futures.set_ticket(number, ticket);
        }
        let waiting = Suspended { place, number, future: future.clone_ref(py), timer: None };
        let before = self.waiting.replace(Box::new(waiting));
        if let Some(timer) = before.and_then(|before| before.timer) {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let deadline = match (self.filling, self.timeout) {
            (Some(until), _) => until,
            (None, Timeout::Never) => None,
            (None, Timeout::After(limit)) => {
                Some(*self.deadline.get_or_insert_with(|| Instant::now() + limit.min(Duration::from_secs(1 << 31))))
            }
        };
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
            let expire = wrap_pyfunction!(time_is_up, py)?;
            let timer = event_loop.call_method1(intern!(py, "call_later"), (left, expire, &future))?;
            if let Some(waiting) = &mut self.waiting {
                waiting.timer = Some(timer.unbind());
            }
        }
        Ok(Some(future.into_any()))
    }

    /// Ends the waiting, with what it waited for or without.
    fn put_away(&mut self, py: Python<'_>, is_satisfied: bool) {
        let Some(waiting) = self.waiting.take() else { return };
        let Some(queue) = self.operation.queue().map(Py::get) else { return };
        queue.futures.remove(waiting.number);
        match waiting.place {
            Place::One(ticket) if is_satisfied => queue.engine.remove_waiter(&ticket),
            Place::One(ticket) => queue.engine.give_up(&ticket),
            Place::Several(watch) => drop(watch),
        }
        if let Some(timer) = waiting.timer {
            let _ = detach::call_out(py, || timer.call_method0(py, intern!(py, "cancel")));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !*self.is_begun.get_mut() {
            Python::try_attach(|py| detach::call_out(py, || warn_of_no_await(py, self.name)));
        }
        if let Some(mut progress) = self.progress.get_mut().take() {
            Python::try_attach(|py| progress.put_away(py, false));
        }
    }
}

/// The warning of a coroutine that was called and forgotten.
#[cold]
#[allow(deprecated, reason = "what replaces them is missing from CPython 3.11")]
fn warn_of_no_await(py: Python<'_>, name: &str) {
    // Calls may be let go of while an error is on its way.
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the thread is attached. The three may be null, all of them, and go back as they came. (`PyErr::take` would go
    // on with a panic.)
    unsafe { ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback) };
    let text = CString::new(format!("coroutine '{name}' was never awaited")).unwrap_or_default();
    if let Err(error) = PyErr::warn(py, py.get_type::<PyRuntimeWarning>().as_any(), &text, 1) {
        error.write_unraisable(py, None);
    }
    // SAFETY: as above; it takes the references over.
    unsafe { ffi::PyErr_Restore(class, value, traceback) };
}

impl Call {
    pub(in crate::python) fn new(operation: Operation, timeout: Timeout) -> Self {
        let name = operation.name();
        let progress =
            Progress { operation, batch: None, timeout, deadline: None, waiting: None, filling: None, paused: false };
        Call { progress: Mutex::new(Some(progress)), is_begun: AtomicBool::new(false), name }
    }

    /// `__aenter__`, with the name that the method goes by.
    pub(in crate::python) fn entering<T>(name: &'static str, object: Py<T>) -> Self {
        Call::new(Operation::Enter(name, object.into_any()), Timeout::NOW)
    }

    /// `__aexit__`, likewise.
    pub(in crate::python) fn closing<T>(name: &'static str, object: Py<T>) -> Self {
        Call::new(Operation::Close(name, object.into_any()), Timeout::NOW)
    }

    fn progress(&self) -> MutexGuard<'_, Option<Progress>> {
        lock::<Interpreter, _>(&self.progress)
    }

    fn step(&self, py: Python<'_>) -> PyResult<Step> {
        self.is_begun.store(true, Ordering::Relaxed);
        let Some(mut progress) = self.progress().take() else {
            return Err(PyRuntimeError::new_err("cannot reuse an awaited call, nor await it twice at once"));
        };
        let step = progress.step(py);
        match &step {
            Ok(Step::Suspend(_)) => *self.progress() = Some(progress),
            Ok(Step::Done(_)) => {}
            Err(_) => progress.put_away(py, false),
        }
        step
    }

    fn go_on(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.step(py)? {
            Step::Suspend(future) => Ok(future),
            Step::Done(result) => Err(PyStopIteration::new_err((result,))),
        }
    }

    /// A read whose message is there, as [`step`](Self::step) would do it. None: nothing was done.
    fn read_fast<'py>(&self, py: Python<'py>) -> Option<PyResult<Bound<'py, Message>>> {
        let is_usual =
            |progress: &mut Progress| matches!(progress, Progress { operation: Operation::Read(_), waiting: None, .. });
        if !turn::is_under_way() {
            return None;
        }
        let progress = self.progress().take_if(is_usual)?;
        self.is_begun.store(true, Ordering::Relaxed);
        let Operation::Read(consumer) = &progress.operation else { return None };
        let message = consumer.get().take_message_fast(py);
        if message.is_none() {
            *self.progress() = Some(progress);
        } else if let Operation::Read(consumer) = progress.operation {
            consumer.drop_ref(py);
        }
        message
    }
}

/// What `await` calls where it can, up to CPython 3.11: a result comes back as it is, and not inside a `StopIteration`.
///
/// # Safety
///
/// CPython's promises for `am_send`: the thread is attached, `slf` is a `Call`, `result` is written to.
unsafe extern "C" fn send(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let step = || {
        // SAFETY: the caller's promises.
        let this = unsafe { Borrowed::from_ptr(Python::assume_attached(), slf).cast_unchecked::<Call>() };
        if let Some(message) = this.get().read_fast(this.py()) {
            return message.map(|message| Step::Done(message.into_any().unbind()));
        }
        Python::attach(|py| this.get().step(py))
    };
    let step = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| Err(errors::panicked()));
    let (object, outcome) = match step {
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
    // SAFETY: the class was made just now, and has no instance yet; it is a class made at run time, which has a place for
    // these functions.
    unsafe {
        let functions = (*py.get_type::<Call>().as_type_ptr()).tp_as_async;
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
        self.go_on(py)
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.go_on(py)
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
        self.is_begun.store(true, Ordering::Relaxed);
        self.clear(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let progress = self.progress();
        let Some(progress) = &*progress else { return Ok(()) };
        progress.operation.traverse(&visit)?;
        if let Some(batch) = &progress.batch {
            batch.payloads().try_for_each(|payload| visit.call(payload))?;
        }
        if let Some(waiting) = &progress.waiting {
            visit.call(&waiting.future)?;
            visit.call(&waiting.timer)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        Python::attach(|py| self.clear(py));
    }
}

impl Call {
    fn clear(&self, py: Python<'_>) {
        let progress = self.progress().take();
        if let Some(mut progress) = progress {
            progress.put_away(py, false);
        }
    }
}
