//! The futures of one queue, and how the engine wakes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Wake;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::future::TaskFuture;
use super::mailbox::Mailbox;
use crate::python::engine::WeakEngine;
use crate::python::host::detach;
use crate::python::host::interpreter::Interpreter;
use crate::sync::{Mutex, lock};
use crate::wait::list::Ticket;

/// The futures that wait for one queue, with the mailboxes of their loops.
#[derive(Default)]
pub(in crate::python) struct Futures {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// The number that was assigned last.
    last: u64,
    entries: HashMap<u64, Entry>,
}

/// A waiting future.
struct Entry {
    future: Py<TaskFuture>,
    mailbox: Py<Mailbox>,
    /// Its ticket in the wait list of the queue, once it has one.
    ticket: Option<Ticket>,
}

impl Futures {
    pub(super) fn insert(&self, future: Py<TaskFuture>, mailbox: Py<Mailbox>) -> u64 {
        let mut table = lock::<Interpreter, _>(&self.table);
        table.last += 1;
        let number = table.last;
        table.entries.insert(number, Entry { future, mailbox, ticket: None });
        number
    }

    pub(super) fn set_ticket(&self, number: u64, ticket: Ticket) {
        if let Some(entry) = lock::<Interpreter, _>(&self.table).entries.get_mut(&number) {
            entry.ticket = Some(ticket);
        }
    }

    /// Removes a future, if it is still there.
    pub(super) fn remove(&self, number: u64) {
        drop(self.take(number));
    }

    fn take(&self, number: u64) -> Option<Entry> {
        lock::<Interpreter, _>(&self.table).entries.remove(&number)
    }

    /// Removes all futures that wait in the loop of a mailbox.
    fn take_all_of(&self, mailbox: &Py<Mailbox>) -> Vec<Entry> {
        let mut table = lock::<Interpreter, _>(&self.table);
        let numbers = table.entries.iter().filter(|(_, entry)| entry.mailbox.is(mailbox));
        let numbers: Vec<u64> = numbers.map(|(&number, _)| number).collect();
        numbers.into_iter().filter_map(|number| table.entries.remove(&number)).collect()
    }

    pub(in crate::python) fn clear(&self) {
        let entries = std::mem::take(&mut lock::<Interpreter, _>(&self.table).entries);
        drop(entries);
    }

    pub(in crate::python) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        lock::<Interpreter, _>(&self.table).entries.values().try_for_each(|entry| {
            visit.call(&entry.future)?;
            visit.call(&entry.mailbox)
        })
    }
}

/// Wakes one future. It holds no Python object, so that it can be dropped anywhere.
pub(super) struct TaskWaker {
    pub futures: Arc<Futures>,
    /// The number of the future in `futures`.
    pub number: u64,
    pub queue: WeakEngine,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Python::try_attach(|py| {
            let Some(Entry { future, mailbox, ticket }) = self.futures.take(self.number) else { return };
            if detach::call_out(py, || Mailbox::post(mailbox.bind(py), future)) {
                return;
            }
            // That loop will never run again: all its futures are removed, and the wake-up of this one is passed on.
            let mut gone = self.futures.take_all_of(&mailbox);
            let tickets = gone.iter_mut().filter_map(|entry| entry.ticket.take()).chain(ticket);
            if let Some(queue) = self.queue.upgrade() {
                tickets.for_each(|ticket| queue.give_up(&ticket));
            }
        });
    }
}
