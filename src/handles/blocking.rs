//! How a thread waits for a queue: try, park, try again.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::Queue;
use crate::sync::Host;
use crate::wait::list::{Condition, Ticket};
use crate::wait::parker::Parker;

/// A waiting thread. Dropping this removes it from the wait list.
struct InLine<'a, T: Send + Sync + 'static, H: Host> {
    queue: &'a Queue<T, H>,
    ticket: Ticket,
}

impl<T: Send + Sync + 'static, H: Host> InLine<'_, T, H> {
    /// Ends a wait that succeeded. The wake-up need not be passed on.
    fn done(self) {
        self.queue.remove_waiter(&self.ticket);
        std::mem::forget(self);
    }
}

impl<T: Send + Sync + 'static, H: Host> Drop for InLine<'_, T, H> {
    fn drop(&mut self) {
        self.queue.give_up(&self.ticket);
    }
}

/// The moment after `limit`. None: never, also if the moment is too far away to represent.
pub(crate) fn deadline(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

/// Parks a plain Rust thread.
pub(crate) fn park<E>(parker: &Parker, limit: Option<Duration>) -> Result<bool, E> {
    Ok(parker.park(limit))
}

impl<T: Send + Sync + 'static, H: Host> Queue<T, H> {
    /// Adds a waiter. None: its condition may hold now; try again.
    pub(crate) fn wait(&self, condition: Condition, waker: &Waker) -> Option<Ticket> {
        self.core.with_leases(|state, _, _| state.wait(condition, waker))
    }

    /// Changes the waker of a producer that keeps its place. Returns false if the caller has to try again.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn wait_on(&self, ticket: &Ticket, waker: &Waker) -> bool {
        self.core.with_leases(|state, _, fx| state.wait_on(ticket, waker, fx))
    }

    /// Removes a waiter whose wait succeeded.
    pub(crate) fn remove_waiter(&self, ticket: &Ticket) {
        self.core.with_leases(|state, _, fx| {
            state.remove_waiter(ticket, fx);
        });
    }

    /// Removes a waiter whose wait did not succeed.
    pub(crate) fn give_up(&self, ticket: &Ticket) {
        self.core.with_leases(|state, _, fx| state.give_up(ticket, fx));
    }

    /// Waits and calls `attempt`, in turns. The caller has already called it without success. Returns the result of
    /// `attempt`, the first error of `attempt` or `sleep`, or None after the deadline. `sleep` parks the thread for at
    /// most the given time, and returns whether it was woken.
    pub(crate) fn block<R, E>(
        &self,
        condition: Condition,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Option<&Ticket>) -> Result<Option<R>, E>,
        mut sleep: impl FnMut(&Parker, Option<Duration>) -> Result<bool, E>,
    ) -> Result<Option<R>, E> {
        let parker = Parker::new();
        let waker = Waker::from(parker.clone());
        // A producer keeps its place in line until it is admitted. Other waiters enter again at the end of their line.
        let keeps_place = matches!(condition, Condition::Space(..));
        loop {
            let Some(ticket) = self.wait(condition.clone(), &waker) else {
                match attempt(None)? {
                    Some(result) => return Ok(Some(result)),
                    None => continue,
                }
            };
            let line = InLine { queue: self, ticket };
            loop {
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let is_late = left.is_some_and(|left| left.is_zero());
                let woken = !is_late && sleep(&parker, left)?;
                if let Some(result) = attempt(Some(&line.ticket))? {
                    match woken && !keeps_place {
                        true => std::mem::forget(line), // a call that wakes a waiter also removes it
                        false => line.done(),
                    }
                    return Ok(Some(result));
                }
                if is_late {
                    return Ok(None);
                }
                if woken && !keeps_place {
                    break;
                }
            }
        }
    }
}
