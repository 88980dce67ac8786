//! The memory of a chunk's slots: filled and emptied under the queue's lock, and read without it through a [`Window`].
//!
//! This is the only place where the engine shares memory by agreement. The agreement:
//!
//! 1. The owner of the [`Slots`] has the queue's lock, or has taken the slots out of the log. So there is one owner at
//!    a time.
//! 2. Slots before `len` are initialized. A slot is written once, before its seq is published. After that it is only
//!    read, until its payload is taken out, or until it is moved or dropped with the others.
//! 3. Only the holder of a lease (`lane.rs`) reads through a window, from the position of the lease on, and only slots
//!    that were published before.
//! 4. Before the payload of a slot is taken out, or slots are moved or dropped, every lease that may read them is moved
//!    past them or revoked ([`Leases::vacate`](super::lease::Leases::vacate)).
//!
//! So a slot that a window shows is initialized and does not change. Meanwhile threads share the payloads, so payloads
//! have to be `Sync`.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Index;
use std::sync::Arc;

use super::slot::Slot;
use crate::sync::UnsafeCell;

/// Room for a slot.
struct Cell<T>(UnsafeCell<MaybeUninit<Slot<T>>>);

// SAFETY: threads that share a cell share the slot in it, or pass it from one to the other (see above).
unsafe impl<T: Send + Sync> Sync for Cell<T> {}

impl<T> Cell<T> {
    /// The slot, for reading.
    ///
    /// # Safety
    /// The slot is initialized, and does not change while the reference lives.
    #[inline(always)]
    unsafe fn get(&self) -> &Slot<T> {
        // SAFETY: the caller's promise.
        unsafe { self.0.with(|cell| (*cell).assume_init_ref()) }
    }
}

/// The slots of a chunk, in order.
pub(crate) struct Slots<T> {
    cells: Arc<[Cell<T>]>,
    /// How many are in use.
    len: usize,
}

impl<T> Slots<T> {
    /// No slots, and no capacity for any.
    pub(crate) fn none() -> Self {
        Slots::with_capacity(0)
    }

    /// Capacity for this many slots, none of them in use.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let cells = (0..capacity).map(|_| Cell(UnsafeCell::new(MaybeUninit::uninit()))).collect();
        Slots { cells, len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// Adds a slot. There must be room for it.
    #[inline(always)]
    pub(crate) fn push(&mut self, slot: Slot<T>) {
        let cell = &self.cells[self.len];
        // SAFETY: nobody reads a slot that is not published, and this one is not in use yet.
        cell.0.with_mut(|cell| unsafe { (*cell).write(slot) });
        self.len += 1;
    }

    /// Adds slots until there is no more room, or no more of them.
    #[inline(always)]
    pub(crate) fn fill(&mut self, mut each: impl Iterator<Item = Slot<T>>) {
        let mut added = 0;
        for cell in &self.cells[self.len..] {
            let Some(slot) = each.next() else { break };
            // SAFETY: as in `push`.
            cell.0.with_mut(|cell| unsafe { (*cell).write(slot) });
            added += 1;
        }
        self.len += added; // not one by one: the length would be stored for each
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&Slot<T>> {
        // SAFETY: the slot is in use, and changes only through `&mut self`.
        self.used().get(index).map(|cell| unsafe { cell.get() })
    }

    /// Whether there is room for one more.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.len < self.cells.len()
    }

    /// The cells in use.
    #[inline(always)]
    fn used(&self) -> &[Cell<T>] {
        // SAFETY: only `push` increases the length, and it stays within the cells. (A second check costs as much as the
        // first.)
        unsafe { self.cells.get_unchecked(..self.len) }
    }

    pub(crate) fn last(&self) -> Option<&Slot<T>> {
        self.get(self.len.checked_sub(1)?)
    }

    /// The slots from `index` on.
    #[inline(always)]
    pub(crate) fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &Slot<T>> {
        let cells = self.used().get(index..).unwrap_or(&[]);
        // SAFETY: as in `get`.
        cells.iter().map(|cell| unsafe { cell.get() })
    }

    /// Number of slots for which `is_before` is true. It must be true for all slots before the first for which it is
    /// false.
    pub(crate) fn partition_point(&self, is_before: impl Fn(&Slot<T>) -> bool) -> usize {
        // SAFETY: as in `get`.
        self.used().partition_point(|cell| is_before(unsafe { cell.get() }))
    }

    /// Takes the payload out of a slot. No lease may read it.
    #[inline]
    pub(crate) fn take(&mut self, index: usize) -> Option<T> {
        // SAFETY: the slot is in use, and nobody else reads it.
        self.used().get(index)?.0.with_mut(|cell| unsafe { (*cell).assume_init_mut().payload.take() })
    }

    /// Takes all slots out, one by one. No lease may read them.
    pub(crate) fn into_iter(mut self) -> impl ExactSizeIterator<Item = Slot<T>> {
        // Slots that the iterator does not reach are leaked: its callers go through all of them, or hold no payloads.
        let len = std::mem::take(&mut self.len);
        (0..len).map(move |index| {
            // SAFETY: the slot was in use, nobody else reads it, and it is moved out once.
            self.cells[index].0.with_mut(|cell| unsafe { (*cell).assume_init_read() })
        })
    }

    /// Frees unused capacity. No lease may read the slots.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.resize(self.len);
    }

    /// Reserves capacity for this many more slots. No lease may read the slots.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.resize(self.len + more);
    }

    /// Moves the slots to memory with room for `capacity` slots.
    fn resize(&mut self, capacity: usize) {
        if capacity != self.capacity() {
            let mut resized = Slots::with_capacity(capacity);
            std::mem::replace(self, Slots::none()).into_iter().for_each(|slot| resized.push(slot));
            *self = resized;
        }
    }

    /// Drops all slots. No lease may read them.
    pub(crate) fn clear(&mut self) {
        for cell in &self.cells[..std::mem::take(&mut self.len)] {
            // SAFETY: the slot was in use, nobody else reads it, and it is dropped once.
            cell.0.with_mut(|cell| unsafe { (*cell).assume_init_drop() });
        }
    }

    /// A window through which the slots can be read without the queue's lock.
    pub(super) fn window(&self) -> Window<T> {
        Window(self.cells.clone())
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = Slot<T>;

    #[inline]
    fn index(&self, index: usize) -> &Slot<T> {
        self.get(index).expect("a slot in use")
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}

/// Reads slots without the queue's lock. It keeps their memory alive.
pub(super) struct Window<T>(Arc<[Cell<T>]>);

impl<T> Window<T> {
    /// How many slots there are room for.
    #[inline(always)]
    pub(super) fn capacity(&self) -> usize {
        self.0.len()
    }

    /// A slot; None: the index is beyond the last slot.
    ///
    /// # Safety
    /// The slot was published before. For as long as the reference lives, the caller has the lock of a lane with a lease
    /// on it, and the slot is at or after the position of that lease.
    #[inline(always)]
    pub(super) unsafe fn slot(&self, index: usize) -> Option<&Slot<T>> {
        // SAFETY: by the caller's promise the slot is initialized and does not change.
        self.0.get(index).map(|cell| unsafe { cell.get() })
    }
}

impl<T> fmt::Debug for Window<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Window").field(&self.0.len()).finish()
    }
}
