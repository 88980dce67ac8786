//! Pending deliveries and redelivery.
//!
//! A delivery of an acknowledging group is *pending* until it is settled. It is in one of the states below. If a state
//! ends by time, the delivery stores that time:
//!
//! ```text
//! read ──▶ Held ──ack_wait, nack──▶ Waiting ──its time──▶ Ready ──read──▶ Held …
//!           │ │                                             ▲
//!           │ └──member closed──────────────────────────────┘
//!           └──term, or max_deliver reached──▶ Dying ──moved to the dead letter queue──▶ settled
//!                                                └──it has no room──▶ Dying, tried again a backoff later
//! ```

use std::ops::Range;

use super::pending::{Pending, PendingMap, Stage};
use super::slices::slice;
use crate::options::{GroupOptions, Settle};
use crate::time::NEVER;

/// The pending deliveries of an acknowledging group.
#[derive(Debug)]
pub(crate) struct Acks {
    ack_wait: u64,
    max_deliver: u32,
    backoff: Vec<u64>,
    max_pending: u64,
    pending: PendingMap,
    /// Deliveries of the group so far.
    delivered: u64,
}

/// Number of deliveries that one call of the timers processes. It may exceed this by the rest of a block.
const AT_ONCE: usize = 256;

/// Number of deliveries that one hold of the lock looks at for those of a removed member, and that it gives back.
const LOOKED_AT: usize = slice(4_000);
const GIVEN_BACK: usize = slice(200);

/// The result of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleOutcome {
    /// Nothing changed: the delivery was settled or removed before, or it no longer counts.
    TooLate,
    /// The message is no longer pending.
    Done,
    /// The message is still pending.
    Pending,
    /// The message is to be moved to the dead letter queue.
    Dying,
}

impl Acks {
    pub(crate) fn new(options: &GroupOptions) -> Option<Self> {
        Some(Acks {
            ack_wait: options.ack_wait?,
            max_deliver: options.max_deliver.unwrap_or(u32::MAX),
            backoff: options.backoff.clone(),
            max_pending: options.max_pending.unwrap_or(u64::MAX),
            pending: PendingMap::default(),
            delivered: 0,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.len() == 0
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.pending.get(seq).is_some()
    }

    pub(crate) fn any_in(&self, seqs: Range<u64>) -> bool {
        self.pending.range(seqs).next().is_some()
    }

    /// Number of new messages that may be delivered in addition to the pending ones.
    pub(crate) fn room(&self) -> u64 {
        self.max_pending.saturating_sub(self.len())
    }

    /// Messages that are ready for redelivery.
    pub(crate) fn ready(&self) -> u64 {
        self.pending.ready().0
    }

    /// Payload bytes of the messages that are ready for redelivery.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.pending.ready().1
    }

    /// Messages that were delivered and are neither settled nor ready for redelivery.
    pub(crate) fn in_flight(&self) -> u64 {
        self.len() - self.ready()
    }

    /// Payload bytes of each message that is ready for redelivery, in the order of delivery.
    pub(crate) fn ready_sizes(&self) -> impl Iterator<Item = u64> {
        self.pending.ready_ones().map(|pending| pending.size)
    }

    /// The lowest pending seq.
    pub(crate) fn first_pending(&self) -> Option<u64> {
        self.pending.first()
    }

    pub(crate) fn first_ready(&self) -> Option<u64> {
        self.pending.first_ready()
    }

    /// How often a message has been delivered.
    pub(crate) fn deliveries(&self, seq: u64) -> u32 {
        self.pending.get(seq).map_or(0, |pending| pending.deliveries)
    }

    /// Number of the next delivery, counted over all deliveries of the group.
    pub(crate) fn next_number(&self) -> u64 {
        self.delivered
    }

    /// Whether a message is on its way to the dead letter queue.
    pub(crate) fn is_dying(&self, seq: u64) -> bool {
        self.pending.get(seq).is_some_and(|pending| pending.stage == Stage::Dying)
    }

    /// Marks a dying message as being moved. From then on it cannot be settled. Returns false if the message is not
    /// dying.
    pub(crate) fn begin_to_move(&mut self, seq: u64) -> bool {
        match self.pending.get_mut(seq).filter(|pending| pending.stage == Stage::Dying) {
            Some(pending) => {
                pending.is_moving = true;
                true
            }
            None => false,
        }
    }

    /// A moment before which no stage ends by time.
    pub(crate) fn due(&self) -> Option<u64> {
        self.pending.due()
    }

    /// Removes a pending message that has left the queue, unless it is already being moved to the dead letter queue.
    /// Returns false if it was not removed.
    pub(crate) fn rescue(&mut self, seq: u64) -> bool {
        self.pending.get(seq).is_some_and(|pending| !pending.is_moving) && self.remove(seq)
    }

    /// Removes a pending message for good.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        self.pending.remove(seq)
    }

    /// Delivers a message to a member. Returns how often it has been delivered, and until when it
    /// has to be settled.
    pub(crate) fn deliver(&mut self, seq: u64, size: u64, member: u64, now: u64) -> (u32, u64) {
        let number = self.delivered;
        self.delivered += 1;
        let fresh = Pending {
            stage: Stage::Held,
            member,
            size,
            deliveries: 0,
            is_termed: false,
            is_moving: false,
            numbers: (number, number),
            until: NEVER,
        };
        let pending = self.pending.get_or_insert(seq, fresh);
        pending.member = member;
        pending.numbers.1 = number;
        pending.deliveries += 1;
        let deliveries = pending.deliveries;
        let until = now.saturating_add(self.ack_wait);
        self.pending.set(seq, Stage::Held, until);
        (deliveries, until)
    }

    /// How long to wait before the next redelivery, after this many deliveries.
    fn backoff(&self, deliveries: u32) -> u64 {
        let index = (deliveries.max(1) - 1) as usize;
        self.backoff.get(index).or(self.backoff.last()).copied().unwrap_or(0)
    }

    /// Handles a failed delivery. Returns whether the message is ready at once, waits, or is to be buried.
    fn fail(&mut self, seq: u64, deliveries: u32, now: u64, delay: u64) -> Stage {
        let (stage, until) = if deliveries >= self.max_deliver {
            (Stage::Dying, NEVER)
        } else {
            match self.backoff(deliveries).max(delay) {
                0 => (Stage::Ready, NEVER),
                wait => (Stage::Waiting, now.saturating_add(wait)),
            }
        };
        self.pending.set(seq, stage, until);
        stage
    }

    /// Settles delivery `number`. For an earlier delivery only an ack or a term counts. A delivery from before the
    /// message was taken back does not count at all.
    pub(crate) fn settle(&mut self, seq: u64, number: u64, how: Settle, now: u64) -> SettleOutcome {
        let Some(pending) = self.pending.get_mut(seq) else { return SettleOutcome::TooLate };
        let (deliveries, stage, (first, latest)) = (pending.deliveries, pending.stage, pending.numbers);
        if number < first || pending.is_termed || pending.is_moving {
            return SettleOutcome::TooLate;
        }
        let is_current = number == latest && stage == Stage::Held;
        match how {
            // This also applies while the message waits for room in the dead letter queue, because it is not settled
            // yet.
            Settle::Ack => {
                self.remove(seq);
                SettleOutcome::Done
            }
            Settle::Term if stage != Stage::Dying => {
                pending.is_termed = true;
                self.pending.set(seq, Stage::Dying, NEVER);
                SettleOutcome::Dying
            }
            Settle::InProgress if is_current => {
                self.pending.set(seq, Stage::Held, now.saturating_add(self.ack_wait));
                SettleOutcome::Pending
            }
            Settle::Nack(delay) if is_current => match self.fail(seq, deliveries, now, delay) {
                Stage::Dying => SettleOutcome::Dying,
                _ => SettleOutcome::Pending,
            },
            _ => SettleOutcome::TooLate,
        }
    }

    /// Processes a slice of what is due; the rest is still due afterwards. Returns the seqs to bury, and how many
    /// messages have become ready.
    pub(crate) fn run_timers(&mut self, now: u64) -> (Vec<u64>, u64) {
        let (mut dying, mut ready) = (Vec::new(), 0);
        let mut ended: Vec<(u64, u64)> = Vec::new();
        while ended.len() < AT_ONCE
            && let Some(of_block) = self.pending.take_due(now)
        {
            ended.extend(of_block);
        }
        ended.sort_unstable();
        for (at, seq) in ended {
            let Some(&Pending { stage, deliveries, .. }) = self.pending.get(seq) else { continue };
            let next = match stage {
                Stage::Held => self.fail(seq, deliveries, at, 0),
                Stage::Waiting | Stage::Ready => {
                    self.pending.set(seq, Stage::Ready, NEVER);
                    Stage::Ready
                }
                Stage::Dying => {
                    self.pending.set(seq, Stage::Dying, NEVER);
                    Stage::Dying
                }
            };
            ready += u64::from(next == Stage::Ready);
            if next == Stage::Dying {
                dying.push(seq);
            }
        }
        (dying, ready)
    }

    /// Schedules the next attempt to bury a message that could not be buried now. It comes after a backoff.
    pub(crate) fn bury_later(&mut self, seq: u64, now: u64) {
        let wait = match self.backoff(self.deliveries(seq)) {
            0 => self.ack_wait,
            wait => wait,
        };
        if let Some(pending) = self.pending.get_mut(seq) {
            pending.is_moving = false;
        }
        self.pending.set(seq, Stage::Dying, now.saturating_add(wait.max(1)));
    }

    /// Gives back a slice of what a removed member held, from a seq on. Returns the seqs to bury, and where to
    /// continue; None: it holds no more.
    pub(crate) fn give_back(&mut self, member: u64, from: u64) -> (Vec<u64>, Option<u64>) {
        let mut pending = self.pending.range(from..u64::MAX);
        let held = |(_, pending): &(u64, &Pending)| pending.stage == Stage::Held && pending.member == member;
        let seqs: Vec<u64> =
            pending.by_ref().take(LOOKED_AT).filter(held).map(|(seq, _)| seq).take(GIVEN_BACK).collect();
        let next = match seqs.len() < GIVEN_BACK {
            true => pending.next().map(|(seq, _)| seq),
            false => seqs.last().map(|seq| seq + 1),
        };
        drop(pending);
        let mut dying = Vec::new();
        for seq in seqs {
            if self.deliveries(seq) >= self.max_deliver {
                self.pending.set(seq, Stage::Dying, NEVER);
                dying.push(seq);
            } else {
                self.pending.set(seq, Stage::Ready, NEVER);
            }
        }
        (dying, next)
    }

    /// Removes the pending deliveries in a range of seqs whose messages the queue no longer holds. Returns how many
    /// there were.
    pub(crate) fn forget(&mut self, seqs: Range<u64>, is_held: impl Fn(u64) -> bool) -> u64 {
        if self.pending.first().is_none_or(|first| first >= seqs.end) {
            return 0; // the usual case, and much quicker
        }
        let gone: Vec<u64> = self.pending.range(seqs).map(|(seq, _)| seq).filter(|&seq| !is_held(seq)).collect();
        gone.iter().filter(|&&seq| self.remove(seq)).count() as u64
    }

    /// How far back towards `goal` one hold of the lock can take out pending deliveries.
    pub(crate) fn step_back(&self, goal: u64) -> u64 {
        self.pending.step_back(goal)
    }

    /// Takes out the pending deliveries from `from` on. They are only to be dropped.
    pub(super) fn take_from(&mut self, from: u64) -> PendingMap {
        self.pending.split_off(from)
    }

    /// Checks the invariants between operations.
    pub(crate) fn check(&self) {
        self.pending.check();
    }
}
