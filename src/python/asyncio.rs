//! Asyncio: no polling, no helper thread, no executor.
//!
//! Each asynchronous method returns a [`Call`], a coroutine written by hand. It tries first: what is there is returned
//! without a future and without a trip through the loop. Otherwise it enters a waiter into the queue, as a blocked thread
//! does, and suspends on a future of its loop. Whoever wakes the waiter puts the future into the mailbox of its loop, and
//! the first to do so calls the loop, once, however many follow. The call then tries again, and only there is anything
//! taken: so a call that is cancelled, at whatever moment, has taken nothing.
//!
//! Futures are held by the queue's object, where the garbage collector finds them, and not by the waiters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopAsyncIteration, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyType, PyWeakrefMethods, PyWeakrefReference};

use super::arguments::Timeout;
use super::consumer::Consumer;
use super::message::Message;
use super::queue::{Batch, Queue};
use super::waiting::Interpreter;
use super::{errors, fast, lifecycle};
use crate::budget::Need;
use crate::state::{Ticket, What};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Clock, Lifetime};

/// Nanoseconds for which a task may await what need not wait before other tasks of its loop get their turn.
const TURN: u64 = 1_000_000;

thread_local! {
    /// When the current turn of this thread's loop began (monotonic nanoseconds); 0: with the next call.
    static TURN_BEGAN: Cell<u64> = const { Cell::new(0) };
    /// Weakly, the task that had the loop then.
    static TURN_OF: Cell<Option<Py<PyWeakrefReference>>> = const { Cell::new(None) };
    /// What was raised while this thread woke a task; None: nothing yet. Outside of [`waking`], nobody collects it.
    static RAISED: RefCell<Option<Option<PyErr>>> = const { RefCell::new(None) };
}

/// Whether a turn is under way that has not lasted long enough.
#[inline]
fn is_in_turn() -> bool {
    let began = TURN_BEGAN.get();
    began != 0 && Clock::System.now().mono.saturating_sub(began) < TURN
}

/// Whether this call has to wait until the loop has turned: one task has had it for a whole turn. Otherwise a turn begins, if
/// none is under way.
fn is_turn_over(py: Python<'_>) -> bool {
    if is_in_turn() {
        return false;
    }
    let task = lifecycle::call_out(py, || current_task(py)).ok().flatten();
    let before = TURN_OF.take();
    if let (Some(task), Some(before)) = (&task, before)
        && TURN_BEGAN.get() != 0
        && before.bind(py).upgrade().is_some_and(|before| before.is(task))
    {
        TURN_BEGAN.set(0);
        return true;
    }
    TURN_OF.set(task.and_then(|task| PyWeakrefReference::new(&task).ok()).map(Bound::unbind));
    TURN_BEGAN.set(Clock::System.now().mono.max(1));
    false
}

/// The task that runs; an error where no loop does.
fn current_task(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static CURRENT_TASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let current_task = CURRENT_TASK
        .get_or_try_init(py, || PyResult::Ok(py.import("asyncio")?.getattr("current_task")?.unbind()))?
        .bind(py);
    Ok(Some(current_task.call0()?).filter(|task| !task.is_none()))
}

/// Does what may wake tasks of event loops, and raises what was raised by that: a signal may strike there, too.
pub(super) fn waking<R>(wake: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let outer = RAISED.replace(Some(None));
    let result = wake();
    match RAISED.replace(outer).flatten() {
        // What was done stays done; a failure of the call itself counts for more.
        Some(error) if result.is_ok() => Err(error),
        _ => result,
    }
}

/// Keeps an error for whoever wakes, or, where nobody collects it, reports it.
fn set_aside(py: Python<'_>, error: PyErr, event_loop: &Bound<'_, PyAny>) {
    let uncollected = RAISED.with_borrow_mut(|raised| match raised {
        Some(first @ None) => {
            *first = Some(error);
            None
        }
        _ => Some(error),
    });
    if let Some(error) = uncollected {
        error.write_unraisable(py, Some(event_loop));
    }
}

// --- the loops --------------------------------------------------------------------------------------------------------

/// Futures of one loop that are to be completed, until the loop comes to it.
#[pyclass(module = "mpmc_queue", frozen)]
pub(super) struct Mailbox {
    /// Weak, for the mailbox is found by its loop and must not keep it alive.
    event_loop: Py<PyWeakrefReference>,
    ready: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    futures: Vec<Py<PyAny>>,
    /// Whether the loop has been asked to come to them.
    is_called: bool,
}

/// The mailbox of a loop.
fn mailbox<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Mailbox>> {
    static MAILBOXES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = event_loop.py();
    let mailboxes = MAILBOXES
        .get_or_try_init(py, || PyResult::Ok(py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?.unbind()))?;
    let found = mailboxes.bind(py).call_method1(intern!(py, "get"), (event_loop,))?;
    if !found.is_none() {
        return Ok(found.cast_into()?);
    }
    let made = Mailbox { event_loop: PyWeakrefReference::new(event_loop)?.unbind(), ready: Mutex::default() };
    let made = Bound::new(py, made)?;
    mailboxes.bind(py).set_item(event_loop, &made)?;
    Ok(made)
}

impl Mailbox {
    /// Has a future completed by its loop. False: the loop is closed, and nobody is left to tell.
    fn post(slf: &Bound<'_, Self>, future: Py<PyAny>) -> bool {
        let py = slf.py();
        let this = slf.get();
        let was_called = {
            let mut ready = lock::<Interpreter, _>(&this.ready);
            ready.futures.push(future);
            std::mem::replace(&mut ready.is_called, true)
        };
        if was_called {
            return true;
        }
        if let Some(event_loop) = this.event_loop.bind(py).upgrade() {
            // Once more where a signal struck: its error leaves the call that wakes, and the tasks wake all the same.
            for _ in 0..2 {
                match Self::call(slf, &event_loop) {
                    Ok(()) => return true,
                    Err(_) if Self::is_closed(&event_loop) => break,
                    Err(error) => set_aside(py, error, &event_loop),
                }
            }
            if !Self::is_closed(&event_loop) {
                // They stay, and the next one asks the loop again.
                lock::<Interpreter, _>(&this.ready).is_called = false;
                return true;
            }
        }
        let undeliverable = std::mem::take(&mut *lock::<Interpreter, _>(&this.ready));
        drop(undeliverable);
        false
    }

    /// Asks the loop to come to what is ready.
    fn call(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let deliver = slf.getattr(intern!(py, "deliver"))?;
        event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (deliver,)).map(drop)
    }

    fn is_closed(event_loop: &Bound<'_, PyAny>) -> bool {
        let closed = event_loop.call_method0(intern!(event_loop.py(), "is_closed"));
        closed.and_then(|closed| closed.is_truthy()).unwrap_or(false)
    }
}

#[pymethods]
impl Mailbox {
    /// Completes the futures, in their loop.
    fn deliver(&self, py: Python<'_>) -> PyResult<()> {
        let ready = std::mem::take(&mut *lock::<Interpreter, _>(&self.ready)).futures;
        lifecycle::call_out(py, || {
            // One that fails does not keep the others waiting.
            let results: Vec<_> = ready.iter().map(|future| complete(future.bind(py), false)).collect();
            results.into_iter().collect()
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        lock::<Interpreter, _>(&self.ready).futures.iter().try_for_each(|future| visit.call(future))
    }
}

/// Completes a future, unless it is; its result says whether the time was up.
fn complete(future: &Bound<'_, PyAny>, is_late: bool) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (is_late,))?;
    }
    Ok(())
}

/// What a loop calls when the time of a future is up.
#[pyfunction]
fn time_is_up(future: &Bound<'_, PyAny>) -> PyResult<()> {
    lifecycle::call_out(future.py(), || complete(future, true))
}

// --- the waiters ------------------------------------------------------------------------------------------------------

/// The futures that wait for something of one queue, with the mailboxes of their loops.
#[derive(Default)]
pub(super) struct Futures {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    futures: HashMap<u64, Entry>,
}

struct Entry {
    future: Py<PyAny>,
    mailbox: Py<Mailbox>,
    /// Its place among the queue's waiters, once it has one.
    ticket: Option<Ticket>,
}

impl Futures {
    fn insert(&self, future: Py<PyAny>, mailbox: Py<Mailbox>) -> u64 {
        let mut waiting = lock::<Interpreter, _>(&self.waiting);
        waiting.next += 1;
        let number = waiting.next;
        waiting.futures.insert(number, Entry { future, mailbox, ticket: None });
        number
    }

    fn set_ticket(&self, number: u64, ticket: Ticket) {
        if let Some(entry) = lock::<Interpreter, _>(&self.waiting).futures.get_mut(&number) {
            entry.ticket = Some(ticket);
        }
    }

    fn remove(&self, number: u64) -> Option<Entry> {
        lock::<Interpreter, _>(&self.waiting).futures.remove(&number)
    }

    /// Takes out everything that waits in the loop of a mailbox.
    fn remove_all_of(&self, mailbox: &Py<Mailbox>) -> Vec<Entry> {
        let mut waiting = lock::<Interpreter, _>(&self.waiting);
        let numbers = waiting.futures.iter().filter(|(_, entry)| entry.mailbox.is(mailbox));
        let numbers: Vec<u64> = numbers.map(|(&number, _)| number).collect();
        numbers.into_iter().filter_map(|number| waiting.futures.remove(&number)).collect()
    }

    pub(super) fn clear(&self) {
        let futures = std::mem::take(&mut lock::<Interpreter, _>(&self.waiting).futures);
        drop(futures);
    }

    pub(super) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        lock::<Interpreter, _>(&self.waiting).futures.values().try_for_each(|entry| {
            visit.call(&entry.future)?;
            visit.call(&entry.mailbox)
        })
    }
}

/// Wakes one future. It holds no Python object, so that it can be dropped anywhere.
struct TaskWaker {
    futures: Arc<Futures>,
    number: u64,
    queue: lifecycle::Registered,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Python::try_attach(|py| {
            let Some(Entry { future, mailbox, ticket }) = self.futures.remove(self.number) else { return };
            if lifecycle::call_out(py, || Mailbox::post(mailbox.bind(py), future)) {
                return;
            }
            // Nobody in that loop will ever come back: they all leave, and what this one was woken for goes to another.
            let mut gone = self.futures.remove_all_of(&mailbox);
            let tickets = gone.iter_mut().filter_map(|entry| entry.ticket.take()).chain(ticket);
            if let Some(queue) = self.queue.upgrade() {
                tickets.for_each(|ticket| queue.leave(&ticket));
            }
        });
    }
}

// --- the calls --------------------------------------------------------------------------------------------------------

/// What is called, with what it is called on.
pub(super) enum Operation {
    Read(Py<Consumer>),
    ReadBatch(Py<Consumer>, usize),
    Get(Py<Consumer>),
    Next(Py<Consumer>),
    TakeMissed(Py<Consumer>),
    Enqueue(Py<Queue>, Py<PyAny>, Lifetime),
    EnqueueBatch(Py<Queue>, Py<PyAny>, Lifetime),
    Join(Py<Queue>),
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
    /// Whether it has given other tasks their turn.
    paused: bool,
}

/// What a suspended call has to put away when it goes on.
struct Suspended {
    ticket: Ticket,
    number: u64,
    future: Py<PyAny>,
    timer: Option<Py<PyAny>>,
}

/// An asynchronous call: a coroutine. What it does is done when it is awaited.
#[pyclass(module = "mpmc_queue", frozen, weakref)]
pub(super) struct Call {
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

impl Operation {
    /// The method that it is of.
    fn name(&self) -> &'static str {
        match self {
            Operation::Read(_) => "Consumer.aread",
            Operation::ReadBatch(..) => "Consumer.aread_batch",
            Operation::Get(_) => "Consumer.aget",
            Operation::Next(_) => "Consumer.__anext__",
            Operation::TakeMissed(_) => "Consumer.atake_missed",
            Operation::Enqueue(..) => "Queue.aenqueue",
            Operation::EnqueueBatch(..) => "Queue.aenqueue_batch",
            Operation::Join(_) => "Queue.ajoin",
        }
    }

    fn queue(&self) -> &Py<Queue> {
        match self {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::Get(consumer)
            | Operation::Next(consumer)
            | Operation::TakeMissed(consumer) => &consumer.get().queue,
            Operation::Enqueue(queue, ..) | Operation::EnqueueBatch(queue, ..) | Operation::Join(queue) => queue,
        }
    }

    fn what(&self, need: Need) -> What {
        match self {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::Get(consumer)
            | Operation::Next(consumer) => What::Message(consumer.get().consumer.key()),
            Operation::TakeMissed(consumer) => What::Missed(consumer.get().consumer.key()),
            Operation::Enqueue(..) | Operation::EnqueueBatch(..) => What::Space(need),
            Operation::Join(_) => What::Joined,
        }
    }
}

impl Progress {
    /// Does it, if it can be done now.
    fn attempt(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let ticket = self.waiting.as_ref().map(|waiting| &waiting.ticket);
        Ok(match &self.operation {
            Operation::Read(consumer) => consumer.get().take_message(py)?.map(|message| message.into_any().unbind()),
            Operation::ReadBatch(consumer, limit) => {
                consumer.get().take_messages(py, *limit)?.map(|messages| messages.into_any().unbind())
            }
            Operation::Get(consumer) => consumer.get().take_payload(py)?,
            Operation::Next(consumer) => match consumer.get().take_message(py) {
                Err(error) if errors::is_closed(py, &error) => return Err(PyStopAsyncIteration::new_err(())),
                message => message?.map(|message| message.into_any().unbind()),
            },
            Operation::TakeMissed(consumer) => match consumer.get().try_take_missed(py)? {
                Some(count) => Some(count.into_pyobject(py)?.into_any().unbind()),
                None => None,
            },
            Operation::Enqueue(queue, payload, lifetime) => {
                if self.batch.is_none() {
                    self.batch = Some(Box::new(queue.get().batch_of_one(payload.bind(py))?));
                }
                match self.batch.as_mut().map(|batch| queue.get().try_add(py, batch, *lifetime, ticket)).transpose()? {
                    Some(Some(seqs)) => Some(seqs.start.into_pyobject(py)?.into_any().unbind()),
                    _ => None,
                }
            }
            Operation::EnqueueBatch(queue, payloads, lifetime) => {
                if self.batch.is_none() {
                    self.batch = Some(Box::new(queue.get().collect(payloads.bind(py))?));
                }
                match self.batch.as_mut().map(|batch| queue.get().try_add(py, batch, *lifetime, ticket)).transpose()? {
                    Some(Some(seqs)) => Some(super::queue::range(py, seqs)?.into_any().unbind()),
                    _ => None,
                }
            }
            Operation::Join(queue) => {
                let joined = queue.get().engine.is_joined();
                joined
                    .then(|| true.into_pyobject(py).map(|joined| joined.to_owned().into_any().unbind()))
                    .transpose()?
            }
        })
    }

    /// What it comes to when its time is up.
    fn give_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match &self.operation {
            Operation::Read(_) | Operation::Get(_) | Operation::Next(_) => py.None(),
            Operation::ReadBatch(..) => pyo3::types::PyList::empty(py).into_any().unbind(),
            Operation::TakeMissed(_) => 0u64.into_pyobject(py)?.into_any().unbind(),
            Operation::Join(_) => false.into_pyobject(py)?.to_owned().into_any().unbind(),
            Operation::Enqueue(queue, ..) | Operation::EnqueueBatch(queue, ..) => {
                return Err(match &self.batch {
                    Some(batch) => queue.get().refusal(py, batch),
                    None => errors::raise(py, crate::Error::Closed, &queue.get().name),
                });
            }
        })
    }

    fn step(&mut self, py: Python<'_>) -> PyResult<Step> {
        if !std::mem::replace(&mut self.paused, true) && is_turn_over(py) {
            return Ok(Step::Suspend(py.None()));
        }
        let was_late = self.waiting.is_some() && lifecycle::call_out(py, || self.resume(py))?;
        loop {
            if let Some(result) = self.attempt(py)? {
                self.put_away(py, true);
                return Ok(Step::Done(result));
            }
            if was_late || self.timeout.is_zero() {
                self.put_away(py, false);
                return self.give_up(py).map(Step::Done);
            }
            if let Some(future) = lifecycle::call_out(py, || self.suspend(py))? {
                TURN_BEGAN.set(0);
                return Ok(Step::Suspend(future));
            }
        }
    }

    /// Looks at the future that it was suspended on: whether the time was up.
    fn resume(&mut self, py: Python<'_>) -> PyResult<bool> {
        let Some(waiting) = &self.waiting else { return Ok(false) };
        let future = waiting.future.bind(py);
        if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Err(PyRuntimeError::new_err("a call of mpmc_queue was resumed before what it waits for was there"));
        }
        future.call_method0(intern!(py, "result"))?.is_truthy()
    }

    /// Enters a waiter, and gives the future to suspend on; None: try again.
    fn suspend(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let get_running_loop = GET_RUNNING_LOOP
            .get_or_try_init(py, || PyResult::Ok(py.import("asyncio")?.getattr("get_running_loop")?.unbind()))?;
        let event_loop = get_running_loop.bind(py).call0()?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        let mailbox = mailbox(&event_loop)?;
        let queue = self.operation.queue().get();
        // A producer keeps its place; its waker changes, for each suspension has a future of its own.
        let ticket = self.waiting.as_ref().map(|waiting| waiting.ticket);
        let keeps_place = matches!(self.operation, Operation::Enqueue(..) | Operation::EnqueueBatch(..));
        let number = queue.futures.insert(future.clone().unbind(), mailbox.unbind());
        let waker = Waker::from(Arc::new(TaskWaker {
            futures: queue.futures.clone(),
            number,
            queue: queue.engine.downgrade(),
        }));
        let ticket = match ticket {
            Some(ticket) if keeps_place => queue.engine.wait_on(&ticket, &waker).then_some(ticket),
            _ => {
                let need = self.batch.as_ref().map_or(Need { bytes: 0, items: 0 }, |batch| batch.need());
                queue.engine.wait(self.operation.what(need), &waker)
            }
        };
        let Some(ticket) = ticket else {
            drop(queue.futures.remove(number));
            return Ok(None);
        };
        queue.futures.set_ticket(number, ticket);
        let waiting = Suspended { ticket, number, future: future.clone().unbind(), timer: None };
        let before = self.waiting.replace(Box::new(waiting));
        if let Some(timer) = before.and_then(|before| before.timer) {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        if let Timeout::After(limit) = self.timeout {
            let deadline =
                *self.deadline.get_or_insert_with(|| Instant::now() + limit.min(Duration::from_secs(1 << 31)));
            let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
            let expire = wrap_pyfunction!(time_is_up, py)?;
            let timer = event_loop.call_method1(intern!(py, "call_later"), (left, expire, &future))?;
            if let Some(waiting) = &mut self.waiting {
                waiting.timer = Some(timer.unbind());
            }
        }
        // How a future tells its task that it is waited for: what its own `__await__` does.
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        Ok(Some(future.unbind()))
    }

    /// Ends the waiting, with what it waited for or without.
    fn put_away(&mut self, py: Python<'_>, is_satisfied: bool) {
        let Some(waiting) = self.waiting.take() else { return };
        let queue = self.operation.queue().get();
        drop(queue.futures.remove(waiting.number));
        match is_satisfied {
            true => queue.engine.satisfied(&waiting.ticket),
            false => queue.engine.leave(&waiting.ticket),
        }
        if let Some(timer) = waiting.timer {
            let _ = lifecycle::call_out(py, || timer.call_method0(py, intern!(py, "cancel")));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !*self.is_begun.get_mut() {
            Python::try_attach(|py| lifecycle::call_out(py, || warn_of_no_await(py, self.name)));
        }
        if let Some(mut progress) = self.progress.get_mut().take() {
            Python::try_attach(|py| progress.put_away(py, false));
        }
    }
}

/// The warning of a coroutine that was called and forgotten.
#[cold]
fn warn_of_no_await(py: Python<'_>, name: &str) {
    // Calls may be let go of while an error is on its way.
    let error = PyErr::take(py);
    let text = CString::new(format!("coroutine '{name}' was never awaited")).unwrap_or_default();
    if let Err(error) = PyErr::warn(py, py.get_type::<PyRuntimeWarning>().as_any(), &text, 1) {
        error.write_unraisable(py, None);
    }
    if let Some(error) = error {
        error.restore(py);
    }
}

impl Call {
    pub(super) fn new(operation: Operation, timeout: Timeout) -> Self {
        let name = operation.name();
        let progress = Progress { operation, batch: None, timeout, deadline: None, waiting: None, paused: false };
        Call { progress: Mutex::new(Some(progress)), is_begun: AtomicBool::new(false), name }
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
    fn read_quickly<'py>(&self, py: Python<'py>) -> Option<PyResult<Bound<'py, Message>>> {
        let is_usual =
            |progress: &mut Progress| matches!(progress, Progress { operation: Operation::Read(_), waiting: None, .. });
        if !is_in_turn() {
            return None;
        }
        let progress = self.progress().take_if(is_usual)?;
        self.is_begun.store(true, Ordering::Relaxed);
        let Operation::Read(consumer) = &progress.operation else { return None };
        let message = consumer.get().take_message_quickly(py);
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
        if let Some(message) = this.get().read_quickly(this.py()) {
            return message.map(|message| Step::Done(message.into_any().unbind()));
        }
        Python::attach(|py| this.get().step(py))
    };
    let step = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| Err(fast::panicked()));
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
        match &progress.operation {
            Operation::Read(consumer)
            | Operation::ReadBatch(consumer, _)
            | Operation::Get(consumer)
            | Operation::Next(consumer)
            | Operation::TakeMissed(consumer) => visit.call(consumer)?,
            Operation::Enqueue(queue, payload, _) | Operation::EnqueueBatch(queue, payload, _) => {
                visit.call(queue)?;
                visit.call(payload)?;
            }
            Operation::Join(queue) => visit.call(queue)?,
        }
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
