//! The steps of a call while it is awaited: try, suspend, try again.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::future::TaskFuture;
use super::futures::TaskWaker;
use super::mailbox::Mailbox;
use super::operation::Operation;
use super::trio::{self, Awaited};
use super::turn;
use crate::python::host::detach;
use crate::python::queue::adding::Batch;
use crate::python::timeouts::Timeout;
use crate::python::watch::Watch;
use crate::wait::list::Ticket;

/// Called by the loop when the time of a future is up.
#[pyfunction]
fn time_is_up(future: &Bound<'_, TaskFuture>) -> PyResult<()> {
    detach::call_out(future.py(), || TaskFuture::complete(future, true))
}

/// The state of a running coroutine.
pub(super) struct Progress {
    pub(super) operation: Operation,
    /// The payloads to enqueue, after they have been sized.
    pub(super) batch: Option<Box<Batch>>,
    pub(super) timeout: Timeout,
    /// When the time is up. Set at the first suspension.
    pub(super) deadline: Option<Instant>,
    /// The state of the current wait.
    waiting: Option<Box<Suspended>>,
    /// While a batch waits to fill: until when; inner None: without limit.
    pub(super) filling: Option<Option<Instant>>,
    /// In a task of trio: the stand-in for its loop, and the coroutine that trio resumes.
    pub(super) trio: Option<Py<PyAny>>,
    pub(super) awaited: Option<Awaited>,
    /// Whether it has given other tasks their turn.
    pub(super) paused: bool,
}

/// Where a suspended call waits.
enum Place {
    /// In one wait list.
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

/// What a suspended call has to clean up when it continues.
struct Suspended {
    place: Place,
    number: u64,
    future: Py<TaskFuture>,
    timer: Option<Py<PyAny>>,
}

/// The outcome of a step.
pub(super) enum Step {
    /// It suspends on this future. If it is Python's None, it gives other tasks their turn.
    Suspend(Py<PyAny>),
    Done(Py<PyAny>),
}

impl Progress {
    pub(super) fn step(&mut self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Step> {
        if let Some(awaited) = self.awaited.take()
            && let Some(trap) = awaited.resume(py, value)?
        {
            self.awaited = Some(awaited);
            return Ok(Step::Suspend(trap));
        }
        if !std::mem::replace(&mut self.paused, true) && !self.operation.is_immediate() {
            self.trio = trio::running(py)?;
            if self.trio.is_some() {
                return self.give_to_trio(py, Awaited::checkpoint(py)?);
            }
            if turn::is_over(py) {
                return Ok(Step::Suspend(py.None()));
            }
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
                            Some(future) => return self.suspended(py, future),
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
                return self.suspended(py, future);
            }
        }
    }

    /// Suspends on a future.
    fn suspended(&mut self, py: Python<'_>, future: Py<PyAny>) -> PyResult<Step> {
        if self.trio.is_some() {
            return self.give_to_trio(py, Awaited::future(py, &future)?);
        }
        turn::end();
        Ok(Step::Suspend(future))
    }

    /// Suspends the way a coroutine of trio does. (Both coroutines that we await do suspend.)
    fn give_to_trio(&mut self, py: Python<'_>, awaited: Awaited) -> PyResult<Step> {
        let trap = awaited.resume(py, None)?;
        self.awaited = Some(awaited);
        Ok(Step::Suspend(trap.unwrap_or_else(|| py.None())))
    }

    /// Enters a waker, and returns the future to suspend on; None: try again.
    fn suspend(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let get_running_loop = GET_RUNNING_LOOP
            .get_or_try_init(py, || PyResult::Ok(py.import("asyncio")?.getattr("get_running_loop")?.unbind()))?;
        let event_loop = match &self.trio {
            Some(run) => run.bind(py).clone(),
            None => get_running_loop.bind(py).call0()?,
        };
        let future = TaskFuture::new(&event_loop)?;
        let mailbox = Mailbox::of(&event_loop)?;
        let Some(queue) = self.operation.queue().map(Py::get) else { return Ok(None) };
        let filling = self.filling.and(self.operation.lingers()).and_then(|fill| self.operation.filling(fill));
        // A producer keeps its place. Its waker changes, because each suspension has a future of its own.
        let ticket = self.waiting.as_ref().and_then(|waiting| waiting.ticket().cloned());
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
                let condition = filling.unwrap_or_else(|| self.operation.condition(self.batch.as_deref()));
                queue.engine.wait(condition, &waker).map(Place::One)
            }
        };
        let Some(place) = place else {
            queue.futures.remove(number);
            return Ok(None);
        };
        if let Place::One(ticket) = &place {
            queue.futures.set_ticket(number, ticket.clone());
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

    /// Ends the wait. `is_satisfied`: whether it got what it waited for.
    pub(super) fn put_away(&mut self, py: Python<'_>, is_satisfied: bool) {
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

impl Progress {
    pub(super) fn new(operation: Operation, timeout: Timeout) -> Self {
        Progress {
            operation,
            batch: None,
            timeout,
            deadline: None,
            waiting: None,
            filling: None,
            trio: None,
            awaited: None,
            paused: false,
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.operation.traverse(visit)?;
        if let Some(batch) = &self.batch {
            batch.payloads().try_for_each(|payload| visit.call(payload))?;
        }
        if let Some(waiting) = &self.waiting {
            visit.call(&waiting.future)?;
            visit.call(&waiting.timer)?;
        }
        visit.call(&self.trio)?;
        self.awaited.as_ref().map_or(Ok(()), |awaited| visit.call(awaited.object()))
    }
}
