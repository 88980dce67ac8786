//! Memory that threads share by agreement instead of by a lock. The interface is that of loom's cell.

/// A value that threads access by agreement, without a lock. loom's cell of the same name fails a model in which two
/// accesses can overlap.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<V>(std::cell::UnsafeCell<V>);

impl<V> UnsafeCell<V> {
    #[inline]
    pub(crate) const fn new(value: V) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Passes the address of the value, for reading.
    #[inline(always)]
    pub(crate) fn with<R>(&self, look: impl FnOnce(*const V) -> R) -> R {
        look(self.0.get())
    }

    /// Passes the address of the value, for changing it.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut V) -> R) -> R {
        change(self.0.get())
    }
}
