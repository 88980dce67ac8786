//! Which leases are open, and how they end.
//!
//! All of this runs under the queue's lock. What a lease returns is kept until the state takes it
//! ([`Leases::take_returned`]). The state does that before it reads a cursor.

use std::sync::Arc;

use super::audit::Reads;
use super::lane::{Lane, Lease, Published};

/// Maximum number of open leases, so that all of them can be taken back in a few microseconds.
const MOST: usize = 64;
/// How many requests are refused before an old lease is taken back for a new one. Where many consumers take turns in
/// few threads, a lease would otherwise be gone before it is used.
const PATIENCE: u32 = 256;

/// Who reads through a lease: keys of the consumer and of its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) consumer: usize,
    pub(crate) cursor: usize,
}

/// An open lease.
#[derive(Debug)]
struct Open<T> {
    holder: Holder,
    lane: Arc<Lane<T>>,
    /// Key of the chunk that is read.
    chunk: usize,
    /// The position at which it was opened.
    granted: u64,
    /// The lease does not need slots before this seq any more.
    start: u64,
}

/// What a lease returns when it ends.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) holder: Holder,
    /// Key of the chunk that was read.
    pub(crate) chunk: usize,
    /// Messages read.
    pub(crate) read: u64,
    /// Messages passed over because they do not match.
    pub(crate) filtered: u64,
    /// Seq of the next message to read.
    pub(crate) position: u64,
    pub(crate) reads: Reads,
    pub(crate) last_read: u64,
}

#[derive(Debug)]
pub(crate) struct Leases<T> {
    open: Vec<Open<T>>,
    /// The lowest start of all open leases; `u64::MAX`: no lease is open.
    floor: u64,
    /// What leases have returned, until the state takes it.
    returned: Vec<Returned>,
    /// How many requests in a row were refused.
    refused: u32,
    /// Place of the lease that is taken back next when there are too many.
    oldest: usize,
    /// Shared with every lane that is made.
    pub(super) published: Arc<Published>,
}

impl<T> Leases<T> {
    pub(super) fn new() -> Self {
        Leases {
            open: Vec::new(),
            floor: u64::MAX,
            returned: Vec::new(),
            refused: 0,
            oldest: 0,
            published: Arc::default(),
        }
    }

    /// Makes a lane for a new consumer.
    pub(crate) fn lane(&self) -> Arc<Lane<T>> {
        Arc::new(Lane::new(self.published.clone()))
    }

    /// Whether a lease has returned something.
    #[inline(always)]
    pub(crate) fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// What a lease has returned.
    pub(crate) fn take_returned(&mut self) -> Option<Returned> {
        self.returned.pop()
    }

    /// Number of open leases.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether any lease is open.
    #[inline(always)]
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes back the lease of a cursor.
    pub(crate) fn revoke(&mut self, cursor: usize) {
        if let Some(place) = self.open.iter().position(|open| open.holder.cursor == cursor) {
            self.revoke_at(place);
        }
    }

    /// Takes back all leases.
    #[cold]
    pub(crate) fn revoke_all(&mut self) {
        while !self.open.is_empty() {
            self.take_back(self.open.len() - 1);
        }
        self.floor = u64::MAX;
    }

    fn revoke_at(&mut self, place: usize) {
        self.take_back(place);
        self.find_floor();
    }

    fn take_back(&mut self, place: usize) {
        let Open { holder, lane, chunk, granted, .. } = self.open.swap_remove(place);
        if let Some(lease) = lane.close() {
            let position = lease.position();
            let Lease { reads, last_read, route, .. } = lease;
            let passed = position - granted;
            let read = route.map_or(passed, |route| route.read());
            self.returned.push(Returned { holder, chunk, read, filtered: passed - read, position, reads, last_read });
        }
    }

    fn find_floor(&mut self) {
        self.floor = self.open.iter().map(|open| open.start).min().unwrap_or(u64::MAX);
    }

    /// Called before a payload is taken out of a chunk: no lease reads it afterwards. A lease that has passed it stays
    /// open.
    #[inline(always)]
    pub(super) fn vacate(&mut self, chunk: usize, seq: u64) {
        if seq >= self.floor {
            self.vacate_slowly(chunk, seq);
        }
    }

    #[cold]
    fn vacate_slowly(&mut self, chunk: usize, seq: u64) {
        for place in (0..self.open.len()).rev() {
            let open = &mut self.open[place];
            if open.chunk == chunk && open.start <= seq {
                match open.lane.pass(seq) {
                    Some(position) => open.start = position,
                    None => self.revoke_at(place),
                }
            }
        }
        self.find_floor();
    }

    /// Called before the slots of a chunk are moved or taken out of the log: no lease reads them afterwards.
    #[inline(always)]
    pub(super) fn vacate_chunk(&mut self, chunk: usize) {
        if !self.open.is_empty() {
            for place in (0..self.open.len()).rev() {
                if self.open[place].chunk == chunk {
                    self.revoke_at(place);
                }
            }
        }
    }

    /// Opens a lease for a cursor that has none, in a chunk, from a position on.
    pub(super) fn open(&mut self, holder: Holder, lane: &Arc<Lane<T>>, chunk: usize, lease: Lease<T>) {
        let start = lease.position();
        lane.open(lease);
        self.open.push(Open { holder, lane: lane.clone(), chunk, granted: start, start });
        self.floor = self.floor.min(start);
    }

    /// Whether one more lease may be opened. When there are too many, the oldest is taken back now and then.
    pub(super) fn has_room(&mut self) -> bool {
        if self.open.len() < MOST {
            return true;
        }
        self.refused += 1;
        if self.refused < PATIENCE {
            return false;
        }
        self.refused = 0;
        self.oldest = (self.oldest + 1) % MOST;
        self.revoke_at(self.oldest);
        true
    }
}
