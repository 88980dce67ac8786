//! Waiting: the lists of waiters, and how a thread waits.

pub(crate) mod list;
pub(crate) mod parker;
