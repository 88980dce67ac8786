//! Memory that is shared by agreement instead of by a lock, with the face of loom's cell.

/// A value to which access is a matter of agreement. loom's cell of the same name fails a model where two accesses may meet.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<V>(std::cell::UnsafeCell<V>);

impl<V> UnsafeCell<V> {
    #[inline]
    pub(crate) const fn new(value: V) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Shows where the value is, to read it.
    #[inline(always)]
    pub(crate) fn with<R>(&self, look: impl FnOnce(*const V) -> R) -> R {
        look(self.0.get())
    }

    /// Shows where the value is, to change it.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut V) -> R) -> R {
        change(self.0.get())
    }
}
