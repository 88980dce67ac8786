//! What is asked of every group when messages leave: its lowest pending seq, and when it next has something to do.
//!
//! Both are kept here in arrays. To look for them in a thousand groups would take longer than the lock may be held.

use std::cell::Cell;
use std::ops::Range;

use slab::Slab;

use super::acks::Acks;
use super::readers::Group;
use super::slices::slice;
use crate::time::NEVER;

/// Number of groups that one hold of the lock may ask whether they have a message pending.
const ASKED: usize = slice(1_000);
/// To pass over so many groups, which cannot have it, takes as long as to ask one.
const PASSED: usize = 64;

/// By the keys of the groups.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    /// The lowest pending seq; `u64::MAX`: none.
    pending: Vec<u64>,
    /// When a pending delivery is next due.
    due: Vec<u64>,
}

impl Firsts {
    pub(super) fn note(&mut self, group: usize, acks: Option<&Acks>) {
        if group >= self.pending.len() {
            self.pending.resize(group + 1, u64::MAX);
            self.due.resize(group + 1, NEVER);
        }
        self.pending[group] = acks.and_then(Acks::first_pending).unwrap_or(u64::MAX);
        self.due[group] = acks.and_then(Acks::due).unwrap_or(NEVER);
    }

    /// A delivery became pending. This is called for each one, and so it does not look at the others.
    #[inline]
    pub(super) fn delivered(&mut self, group: usize, seq: u64, due: u64) {
        self.pending[group] = self.pending[group].min(seq);
        self.due[group] = self.due[group].min(due);
    }

    /// No group has anything pending any more.
    pub(super) fn clear(&mut self) {
        self.pending.fill(u64::MAX);
        self.due.fill(NEVER);
    }

    /// How many groups have pending deliveries, and the lowest seq of these.
    pub(super) fn pending(&self) -> (u64, u64) {
        let firsts = self.pending.iter().filter(|&&first| first != u64::MAX);
        firsts.fold((0, u64::MAX), |(count, lowest), &first| (count + 1, lowest.min(first)))
    }

    /// Key of the first group from `from` on that has a pending delivery before a seq.
    pub(super) fn pending_before(&self, seq: u64, from: usize) -> Option<usize> {
        (from..self.pending.len()).find(|&group| self.pending[group] < seq)
    }

    /// When a pending delivery of any group is next due.
    pub(super) fn next_due(&self) -> u64 {
        self.due.iter().copied().min().unwrap_or(NEVER)
    }

    /// Keys of the groups that have something to do by now.
    pub(super) fn due_at(&self, now: u64) -> impl Iterator<Item = usize> {
        (0..self.due.len()).filter(move |&group| self.due[group] <= now)
    }
}

/// Finds out which messages are pending, as long as one hold of the lock allows.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    firsts: &'a Firsts,
    groups: &'a Slab<Group>,
    /// The lowest pending seq of all groups.
    lowest: u64,
    left: Cell<usize>,
    /// Whether there was no time to ask for a message.
    pub(super) is_cut: Cell<bool>,
}

impl<'a> Asking<'a> {
    /// `is_whole`: whether everything has to be done in this hold.
    pub(super) fn new(firsts: &'a Firsts, groups: &'a Slab<Group>, is_whole: bool) -> Self {
        let left = Cell::new(if is_whole { usize::MAX } else { ASKED });
        Asking { firsts, groups, lowest: firsts.pending().1, left, is_cut: Cell::new(false) }
    }

    /// Whether there is time to ask for one more message.
    pub(super) fn has_time(&self) -> bool {
        self.left.get() > 0
    }

    /// Whether any group may have a message of these pending: true also if there is no time to ask.
    pub(super) fn may_be_pending(&self, seqs: Range<u64>) -> bool {
        if seqs.end <= self.lowest {
            return false;
        }
        !self.has_time()
            || self
                .have(seqs.end, |group, first| {
                    first >= seqs.start || self.acks(group).is_some_and(|acks| acks.any_in(seqs.clone()))
                })
                .any(|has| has)
    }

    /// How many groups have a message pending. None: there is no time to ask; continue in another hold.
    pub(super) fn count(&self, seq: u64) -> Option<u64> {
        if seq < self.lowest {
            return Some(0);
        }
        if !self.has_time() {
            self.is_cut.set(true);
            return None;
        }
        let have =
            self.have(seq + 1, |group, first| first == seq || self.acks(group).is_some_and(|acks| acks.contains(seq)));
        Some(have.filter(|&has| has).count() as u64)
    }

    fn acks(&self, group: usize) -> Option<&Acks> {
        self.left.update(|left| left.saturating_sub(1));
        self.groups.get(group)?.acks.as_ref()
    }

    /// The answers of the groups that have anything pending before `end`.
    fn have(&self, end: u64, has: impl Fn(usize, u64) -> bool) -> impl Iterator<Item = bool> {
        let firsts = &self.firsts.pending;
        self.left.update(|left| left.saturating_sub(1 + firsts.len() / PASSED));
        firsts.iter().enumerate().filter(move |&(_, &first)| first < end).map(move |(group, &first)| has(group, first))
    }
}

impl Firsts {
    /// Checks that they are those of the groups.
    pub(super) fn check(&self, groups: &Slab<Group>) {
        let mut expected = Firsts::default();
        (0..self.due.len()).for_each(|group| {
            expected.note(group, groups.get(group).and_then(|group| group.acks.as_ref()));
        });
        assert_eq!((&self.pending, &self.due), (&expected.pending, &expected.due));
        assert!(groups.iter().all(|(group, _)| group < self.due.len()));
    }
}
