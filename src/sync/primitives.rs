//! The only switch between the atomics and threads of the standard library and those of loom. The loom models (`make
//! loom`) explore the interleavings of threads.

#[cfg(not(loom))]
pub(crate) use super::cell::UnsafeCell;
#[cfg(loom)]
pub(crate) use super::modelled::{atomic, thread};
#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(not(loom))]
pub(crate) use std::{sync::atomic, thread};
