//! Waiting: the lists of those who wait, and how a thread does.

pub(crate) mod list;
pub(crate) mod parker;
