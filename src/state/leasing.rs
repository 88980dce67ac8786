//! Leases as the state uses them: who gets one, and what it returns.
//!
//! While a cursor is leased, its position and its consumer's records and figures are in the lane. Every access to them
//! takes the lease back first.

use super::State;
use crate::keys::ConsumerKey;
use crate::log::granting::{Beginning, Terms};
use crate::log::lease::{Holder, Returned};
use crate::options::Retention;

/// How many stops the route of a lease has. It costs time to make, and is in vain if the lease ends early: so a route has
/// at most twice as many stops as were read of the last one, or half as many as that one had.
pub(super) const FEWEST_STOPS: usize = 4;
const MOST_STOPS: usize = 256;

impl<T> State<T> {
    /// Takes back all leases.
    #[inline]
    pub(crate) fn recall_all(&mut self) {
        if self.log.leases.any_open() {
            self.log.leases.revoke_all();
        }
        self.take_returned();
    }

    /// Takes back the lease of a cursor.
    #[inline]
    pub(super) fn recall(&mut self, cursor: usize) {
        if self.cursors.get(cursor).is_some_and(|cursor| cursor.is_leased) {
            self.log.leases.revoke(cursor);
        }
        self.take_returned();
    }

    /// Takes back the lease of a consumer's cursor.
    #[inline]
    pub(crate) fn recall_of(&mut self, key: ConsumerKey) {
        if let Ok(cursor) = self.consumer(key).map(|consumer| consumer.cursor) {
            self.recall(cursor);
        }
    }

    /// Processes what leases have returned since the log was changed.
    #[inline]
    pub(super) fn take_returned(&mut self) {
        while let Some(returned) = self.log.leases.take_returned() {
            self.take_in(returned);
        }
    }

    fn take_in(&mut self, returned: Returned) {
        let Returned { holder, chunk, read, filtered, position, reads, last_read } = returned;
        let cursor = &mut self.cursors[holder.cursor];
        cursor.is_leased = false;
        cursor.move_on_by_lease(position, chunk, read, filtered);
        let consumer = &mut self.consumers[holder.consumer];
        consumer.read += read;
        consumer.stops = (2 * read as usize).max(consumer.stops / 2).clamp(FEWEST_STOPS, MOST_STOPS);
        (consumer.reads, consumer.last_read) = (reads, last_read);
    }

    /// Grants a lease to a consumer that has just read, if there is more to read and its reads have no further effects.
    ///
    /// `at_end`: grants it even if there is nothing more to read yet but more may come.
    pub(crate) fn lease(&mut self, key: ConsumerKey, at_end: bool) {
        let deadline = self.deadline();
        let Some(consumer) = self.consumers.get_mut(key.index).filter(|consumer| consumer.serial == key.serial) else {
            return;
        };
        let cursor = &mut self.cursors[consumer.cursor];
        let may = consumer.group.is_none()
            && cursor.is_alone()
            && self.retention == Retention::Limits
            && self.joiners.is_empty()
            && !cursor.is_leased
            && (at_end || cursor.position < self.log.next())
            && cursor.missed_just_before() == 0
            && !(consumer.tells && cursor.has_untold())
            && cursor.has_no_waiters();
        if !may {
            return;
        }
        let holder = Holder { consumer: key.index, cursor: consumer.cursor };
        let terms = Terms {
            lives: self.lives,
            deadline,
            is_closed: self.closed,
            is_timed: self.is_read_timed,
            is_audited: self.audit.is_on(),
        };
        let from =
            Beginning { position: cursor.position, hint: cursor.hint, filter: cursor.filter, stops: consumer.stops };
        cursor.is_leased =
            self.log.grant(&consumer.lane, holder, &from, &terms, &mut consumer.reads, consumer.last_read);
        // An older lease may have been taken back for this one.
        self.take_returned();
    }
}
