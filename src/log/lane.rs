//! How a cursor reads without the queue's lock.
//!
//! Each consumer has a *lane*. While a *lease* is open in it, the consumer reads the published slots of one chunk, from
//! its position on, under the lane's lock alone. So readers block neither each other nor producers. Anything unusual (a
//! hole, a message that may have expired, the end of the chunk, a wait) ends the fast path: the caller takes the
//! queue's lock, and the holder of that lock takes back the lease first. Only the holder of the queue's lock opens and
//! revokes leases (`lease.rs`).
//!
//! The lock of a lane comes after the queue's in lock order. Its holder waits for nothing, and runs no Python code.

use std::hint::cold_path;
use std::sync::Arc;

use super::audit::Reads;
use super::route::Route;
use super::slots::Window;
use crate::delivery::Delivery;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::time::NEVER;
use crate::time::clock::{Clock, LAG, Now};

/// Seq of the next message to be enqueued, for readers without the queue's lock. It has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Published(AtomicU64);

impl Published {
    /// Makes the slots before this seq visible to readers.
    #[inline(always)]
    pub(super) fn publish(&self, next: u64) {
        self.0.store(next, Ordering::Release);
    }

    /// The slots before this seq may be read.
    #[inline(always)]
    fn next(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a consumer may read without the queue's lock. It has cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Lane<T> {
    /// Whether a lease is open, and so whether the lock is worth trying.
    is_open: AtomicBool,
    lease: Mutex<Option<Lease<T>>>,
    published: Arc<Published>,
}

/// The permission to read one chunk, from a position on.
#[derive(Debug)]
pub(super) struct Lease<T> {
    pub(super) window: Window<T>,
    /// Which slots it reads; None: all from `index` on, and no message has a topic.
    pub(super) route: Option<Box<Route>>,
    /// Seq of the chunk's first slot.
    pub(super) base: u64,
    /// The next slot to read.
    pub(super) index: usize,
    /// Without a route: slots before this one are known to be published.
    pub(super) end: usize,
    /// Payload bytes of the chunk's slots before `index`.
    pub(super) through: u64,
    /// Added to the wall times of the slots.
    pub(super) wall: u64,
    /// The earliest moment at which a message at or after the position may have expired; NEVER: none expires.
    pub(super) until: u64,
    /// Whether no more messages come because the queue is closed.
    pub(super) is_closed: bool,
    /// Whether reads record the time, and whether they leave records.
    pub(super) is_timed: bool,
    pub(super) is_audited: bool,
    /// The consumer's read records. They take no more memory here: a read that needs more goes through the queue's
    /// lock.
    pub(super) reads: Reads,
    /// When the consumer last read, by the wall clock; 0: never.
    pub(super) last_read: u64,
}

/// There is no lease, or another thread is reading through it at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoLease;

/// The result of [`Lane::read_all`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Messages delivered.
    pub(crate) count: usize,
    /// Their payload bytes.
    pub(crate) bytes: u64,
    /// Whether the caller got everything it asked for, or everything there was, which may be nothing.
    pub(crate) is_all: bool,
}

impl<T> Lease<T> {
    /// Seq of the next message to read.
    pub(super) fn position(&self) -> u64 {
        self.base + self.route.as_ref().map_or(self.index, |route| route.position) as u64
    }

    /// Moves on to the next slot of the route. None: that was the last one.
    #[inline]
    fn follow_route(&mut self) -> Option<()> {
        let next = self.route.as_ref()?.next()?;
        if next != self.index {
            // SAFETY: the slot is before one that is published, it is not before the position, and only the holder of
            // the lane's lock has the lease.
            self.through = unsafe { self.window.slot(next - 1) }?.through;
            self.index = next;
        }
        Some(())
    }

    /// How many slots from the position on are published. At least `wanted`, or all published slots of the chunk.
    #[inline(always)]
    fn published(&mut self, published: &Published, wanted: usize) -> usize {
        if self.end - self.index < wanted {
            self.end = ((published.next() - self.base) as usize).min(self.window.capacity());
        }
        self.end - self.index
    }

    /// Whether the published slots of the chunk are all there are, and more may come. Only the chunk that is being
    /// filled has room after them.
    fn is_last(&self) -> bool {
        self.end < self.window.capacity() && !self.is_closed
    }

    /// The time, if a read needs it. None: a message may have expired.
    ///
    /// Unless a message expires soon, a time that has just been says as certainly that none has. Times of reads are
    /// for people, who see no difference.
    #[inline(always)]
    fn time(&self, clock: &Clock) -> Option<Now> {
        if !self.is_timed && self.until == NEVER {
            return Some(Now::default());
        }
        let recent = clock.recent();
        if recent.mono.saturating_add(LAG) < self.until {
            return Some(recent);
        }
        cold_path();
        Some(clock.now()).filter(|now| now.mono < self.until)
    }

    /// Delivers the next message: see [`Lane::read`].
    #[inline(always)]
    fn read<R>(
        &mut self,
        published: &Published,
        clock: &Clock,
        visit: &mut Option<impl FnOnce(Delivery<'_, T>) -> R>,
    ) -> Option<R> {
        if self.route.is_some() {
            self.follow_route()?;
        } else if self.published(published, 1) == 0 {
            return None;
        }
        let now = self.time(clock)?;
        // SAFETY: the slot is published, and only the holder of the lane's lock has the lease.
        let slot = unsafe { self.window.slot(self.index) }?;
        let payload = slot.payload.as_ref()?;
        let (seq, created) = (self.base + self.index as u64, slot.wall + self.wall);
        let at = self.read_time(now, created);
        if self.is_audited
            && !self.reads.single_in_place(seq, at)
            && !(self.route.is_some() && self.reads.sparse_in_place(seq, at))
        {
            return None;
        }
        let size = slot.through.wrapping_sub(self.through);
        self.through = slot.through;
        self.index += 1;
        self.last_read = at;
        let topic = self.route.as_mut().and_then(|route| route.pass());
        // The visit comes last, after all counts are updated, because foreign code may panic.
        visit.take().map(|visit| {
            visit(Delivery { payload, seq, size, created, topic, missed: 0, deliveries: 1, receipt: None })
        })
    }

    /// Wall time of a read: not before the message was enqueued, nor before the last read.
    #[inline(always)]
    fn read_time(&self, now: Now, created: u64) -> u64 {
        if self.is_timed { now.wall.max(created).max(self.last_read) } else { 0 }
    }
}

impl<T> Lane<T> {
    pub(super) fn new(published: Arc<Published>) -> Self {
        // For loom: both the bit made by `default` and the try of the lock create loom's values before other threads
        // can use them.
        let lane = Lane { is_open: AtomicBool::default(), lease: Mutex::new(None), published };
        drop(lane.lease.try_lock());
        lane
    }

    /// Takes the lock, if a lease may be open and nobody else has the lock.
    #[inline(always)]
    fn enter(&self) -> Option<MutexGuard<'_, Option<Lease<T>>>> {
        if self.is_open.load(Ordering::Relaxed) { self.lease.try_lock() } else { None }
    }

    /// Hands over the next message, if there is a lease. None: it is not there, or may have expired, and `visit` stays where it is.
    #[inline(always)]
    pub(crate) fn read<R>(
        &self,
        clock: &Clock,
        visit: &mut Option<impl FnOnce(Delivery<'_, T>) -> R>,
    ) -> Result<Option<R>, NoLease> {
        let mut guard = self.enter().ok_or(NoLease)?;
        let lease = guard.as_mut().ok_or(NoLease)?;
        Ok(lease.read(&self.published, clock, visit))
    }

    /// Seq of the next message to be enqueued.
    #[inline]
    pub(crate) fn published(&self) -> u64 {
        self.published.next()
    }

    /// The position, if the lease had no more messages when that was last checked.
    pub(crate) fn end(&self) -> Option<u64> {
        let guard = self.enter()?;
        guard.as_ref().filter(|lease| lease.route.is_none() && lease.index == lease.end).map(Lease::position)
    }

    /// How many messages there are to read, up to `limit`, if the lane can tell.
    #[inline]
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn ready(&self, limit: usize) -> Option<usize> {
        let mut guard = self.enter()?;
        let lease = guard.as_mut()?;
        if let Some(route) = &lease.route {
            return Some(limit).filter(|&limit| limit <= route.left());
        }
        let ready = lease.published(&self.published, limit);
        (ready >= limit || ready > 0 && lease.is_last()).then_some(ready)
    }

    /// Delivers up to `limit` messages of up to `max_bytes` payload bytes, but at least one message, however large it
    /// is.
    pub(crate) fn read_all(
        &self,
        clock: &Clock,
        limit: usize,
        max_bytes: u64,
        mut visit: impl FnMut(Delivery<'_, T>),
    ) -> Run {
        let Some(mut guard) = self.enter() else { return Run::default() };
        let Some(lease) = guard.as_mut() else { return Run::default() };
        let is_routed = lease.route.is_some();
        let most = match &lease.route {
            Some(route) => route.left().min(limit),
            None => lease.published(&self.published, limit).min(limit),
        };
        if most == 0 {
            return Run { is_all: !is_routed && lease.is_last(), ..Run::default() };
        }
        let Some(now) = lease.time(clock) else { return Run::default() };
        if lease.is_audited
            && !is_routed
            && !lease.reads.has_place_for(lease.position(), most, now.wall.max(lease.last_read))
        {
            return Run::default();
        }
        let mut reading = Reading { count: 0, most, now, created: 0, lease };
        let mut bytes = 0u64;
        let mut is_full = false;
        for _ in 0..most {
            let lease = &mut *reading.lease;
            if is_routed && lease.follow_route().is_none() {
                break;
            }
            // SAFETY: the slot is published, and this is the lease's holder.
            let slot = unsafe { lease.window.slot(lease.index) };
            let Some((slot, payload)) = slot.and_then(|slot| Some((slot, slot.payload.as_ref()?))) else { break };
            let size = slot.through.wrapping_sub(lease.through);
            let sum = bytes.saturating_add(size);
            if sum > max_bytes && reading.count > 0 {
                is_full = true;
                break;
            }
            let (seq, created) = (lease.base + lease.index as u64, slot.wall + lease.wall);
            if is_routed && lease.is_audited {
                let at = lease.read_time(now, created);
                if !lease.reads.single_in_place(seq, at) && !lease.reads.sparse_in_place(seq, at) {
                    break;
                }
            }
            bytes = sum;
            reading.count += 1;
            reading.created = created;
            lease.through = slot.through;
            lease.index += 1;
            let topic = lease.route.as_mut().and_then(|route| route.pass());
            visit(Delivery { payload, seq, size, created, topic, missed: 0, deliveries: 1, receipt: None });
        }
        let lease = &*reading.lease;
        let count = reading.count;
        let is_end = !is_routed && lease.index == lease.end && lease.is_last();
        Run { count, bytes, is_all: count == limit || is_full || count > 0 && is_end }
    }

    /// Opens a lease. The caller has the queue's lock, and no lease is open here.
    pub(super) fn open(&self, lease: Lease<T>) {
        *self.lease.lock() = Some(lease);
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Moves the start of the lease past a seq, if the consumer has already read that message. Returns the position in
    /// that case. The caller has the queue's lock.
    pub(super) fn pass(&self, seq: u64) -> Option<u64> {
        let lease = self.lease.lock();
        lease.as_ref().map(Lease::position).filter(|&position| position > seq)
    }

    /// Ends the lease. The caller has the queue's lock.
    pub(super) fn close(&self) -> Option<Lease<T>> {
        self.is_open.store(false, Ordering::Relaxed);
        self.lease.lock().take()
    }

    /// Called in the child of a fork, after every lease was revoked: a thread of the parent may have held the lock to
    /// look for a lease.
    #[allow(dead_code, reason = "for the binding")]
    pub(crate) fn reset_after_fork(&self) {
        if self.lease.is_locked() {
            crate::sync::release(&self.lease);
        }
    }
}

/// A batch that is being read. Dropping this records what was read, even if foreign code panics.
struct Reading<'a, T> {
    lease: &'a mut Lease<T>,
    /// How many messages were read, and the maximum.
    count: usize,
    most: usize,
    /// When the read takes place, and when its last message was enqueued, by the wall clock.
    now: Now,
    created: u64,
}

impl<T> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        let count = self.count as u64;
        let lease = &mut *self.lease;
        if count > 0 {
            let at = lease.read_time(self.now, self.created);
            lease.last_read = at;
            if lease.is_audited && lease.route.is_none() {
                lease.reads.in_place(lease.position() - count, count, self.most, at);
            }
        }
    }
}
