//! Order between consumers: a cursor that follows others reads a message only after each of them is done with it.
//!
//! A cursor is done with the messages before its position; in an acknowledging group, only with those that are not
//! pending. So the lowest of these seqs is how far a follower may read, and nothing is stored for each message.

use super::acks::Acks;
use super::cursor::Cursor;
use super::{Effects, State};
use crate::error::Error;
use crate::keys::{Key, Predecessor};
use crate::stats::{Follows, Reader};

impl<T> State<T> {
    /// Makes a new cursor follow others. Predecessors that have been removed are ignored.
    pub(super) fn put_after(&mut self, cursor: usize, after: &[Predecessor]) {
        for predecessor in after {
            let before = match predecessor.0 {
                Key::Consumer(key) => self.consumer(key).map(|consumer| consumer.cursor),
                Key::Group(key) => self.group(key).map(|group| group.cursor),
            };
            if let Ok(before) = before
                && !self.cursors[cursor].after.contains(&before)
            {
                self.cursors[cursor].after.push(before);
                if self.cursors[before].followers.is_empty() {
                    self.leaders.push(before);
                }
                self.cursors[before].followers.push(cursor);
                self.note_usual(before);
            }
        }
    }

    /// Takes a cursor that is removed out of the order. Its followers no longer wait for it.
    pub(super) fn leave_order(&mut self, cursor: usize, fx: &mut Effects<T>) {
        let (after, followers) = {
            let at = &mut self.cursors[cursor];
            (std::mem::take(&mut at.after), std::mem::take(&mut at.followers))
        };
        for before in after {
            self.cursors[before].followers.retain(|&other| other != cursor);
            if self.cursors[before].followers.is_empty() {
                self.leaders.retain(|&other| other != before);
            }
            self.note_usual(before);
        }
        self.leaders.retain(|&other| other != cursor);
        for follower in followers {
            self.cursors[follower].after.retain(|&other| other != cursor);
            self.wake_follower(follower, fx);
        }
    }

    /// Updates whether reads of a consumer that is not a member of a group may take the fast path.
    fn note_usual(&mut self, cursor: usize) {
        let at = &self.cursors[cursor];
        if let Some(consumer) = at.consumer.and_then(|index| self.consumers.get_mut(index)) {
            consumer.is_usual = at.is_usual();
        }
    }

    /// Which readers follow which.
    pub(super) fn order(&self) -> Vec<Follows> {
        let reader = |cursor: usize| {
            let at = &self.cursors[cursor];
            match (at.group, at.consumer) {
                (Some(group), _) => Some(Reader::Group(self.groups[group].name.clone())),
                (None, consumer) => Some(Reader::Consumer(self.consumers[consumer?].id)),
            }
        };
        let of = |&before: &usize| {
            let followers = self.cursors[before].followers.iter();
            followers
                .filter_map(move |&cursor| Some(Follows { follower: reader(cursor)?, predecessor: reader(before)? }))
        };
        self.leaders.iter().flat_map(of).collect()
    }

    /// The seq from which on a cursor may not read yet.
    #[inline]
    pub(super) fn limit_of(&self, cursor: &Cursor) -> u64 {
        match cursor.after.is_empty() {
            true => u64::MAX,
            false => {
                cursor.after.iter().map(|&before| self.done_before(&self.cursors[before])).min().unwrap_or(u64::MAX)
            }
        }
    }

    /// The seq before which a cursor is done with all messages.
    fn done_before(&self, cursor: &Cursor) -> u64 {
        let pending = self.acks_of(cursor).and_then(Acks::first_pending);
        // Messages that do not match its filter do not have to be read.
        let position = match cursor.filter {
            None => cursor.position,
            Some(_) => cursor.next(&self.log).map_or(self.log.next(), |found| found.seq),
        };
        pending.map_or(position, |pending| pending.min(position))
    }

    /// Number of new messages that a cursor may read now.
    pub(super) fn unread_within(&self, cursor: &Cursor) -> u64 {
        let unread = cursor.unread(&self.log);
        match self.limit_of(cursor) {
            u64::MAX => unread,
            limit if limit <= cursor.position => 0,
            limit => unread - self.log.count_for(cursor.filter, limit, cursor.hint),
        }
    }

    /// Wakes readers of the followers of a cursor that has advanced.
    pub(super) fn wake_followers(&mut self, cursor: usize, fx: &mut Effects<T>) {
        for place in 0..self.cursors.get(cursor).map_or(0, |at| at.followers.len()) {
            self.wake_follower(self.cursors[cursor].followers[place], fx);
        }
    }

    /// Wakes the readers of a follower that can go on now.
    fn wake_follower(&mut self, follower: usize, fx: &mut Effects<T>) {
        let at = &self.cursors[follower];
        if !(at.readers.is_empty() && at.batches.is_empty()) {
            self.wake_readers(follower, self.reads_served(follower), fx);
        }
    }

    /// Wakes readers of all followers that can go on because messages left: their predecessors no longer have to read
    /// or settle these, and they themselves have missed them.
    pub(super) fn wake_all_followers(&mut self, fx: &mut Effects<T>) {
        for place in 0..self.leaders.len() {
            self.wake_followers(self.leaders[place], fx);
        }
    }

    /// Whether everything that a closed queue holds for a cursor has been read, so that nothing more can come.
    pub(super) fn is_drained(&self, cursor: &Cursor) -> bool {
        cursor.group.is_none_or(|group| self.groups[group].unsettled() == 0)
            && (cursor.after.is_empty() || cursor.unread(&self.log) == 0)
    }

    /// Whether a read at a cursor that finds nothing has come to the end of a closed queue.
    pub(super) fn is_over(&self, cursor: usize) -> bool {
        self.closed && self.is_drained(&self.cursors[cursor])
    }

    /// The result of a read that found nothing.
    pub(super) fn nothing_read(&self, cursor: usize) -> Result<usize, Error> {
        match self.is_over(cursor) {
            true => Err(Error::Closed),
            false => Ok(0),
        }
    }
}
