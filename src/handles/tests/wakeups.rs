//! Random histories with waiters of every kind. After each step no waiter waits for what is there: a lost wake-up would
//! be a call that hangs.
//!
//! The waiters behave as the blocking calls do. A woken one tries, and waits again if it tried in vain.

#[path = "../../../tests/histories/mod.rs"]
mod histories;

use std::sync::Arc;

use proptest::prelude::*;

use super::{Count, SeqCst, manual};
use crate::error::Error;
use crate::keys::ConsumerKey;
use crate::need::Need;
use crate::options::{ConsumerOptions, GroupOptions, MissedPolicy, Options, Overflow, Retention, Settle, Start};
use crate::state::producing::How;
use crate::time::clock::ManualClock;
use crate::topics::{Filters, Topic};
use crate::wait::list::{Condition, Enough, Ticket};
use crate::{Consumer, Queue, Receipt};

/// Readers at the most.
const CROWD: usize = 6;

#[derive(Clone, Copy, Debug)]
enum What {
    Message,
    /// Any of all readers, as `wait_any` waits.
    Any,
    Batch(Enough),
    Missed,
    Space(u64),
    Joined,
}

#[derive(Clone, Debug)]
enum Op {
    Enqueue(u64),
    Batch(u64),
    /// A reader with filters, and after an earlier one, if these are given.
    Add(Option<usize>, Option<usize>, MissedPolicy, Start),
    /// A member of the group, which is made if there is none.
    Join(Option<u64>, Option<usize>),
    Leave(usize),
    CloseGroup,
    Read(usize, usize),
    ReadLatest(usize),
    Settle(usize, Settle),
    Seek(usize, Start),
    Advance(u64),
    SetTtl(Option<u64>),
    SetMaxItems(Option<u64>),
    Close(bool),
    Wait(What, usize),
    GiveUp(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let start = || prop_oneof![Just(Start::Earliest), Just(Start::Latest), (0..30u64).prop_map(Start::Seq)];
    let who = || 0..CROWD;
    let policy = prop_oneof![Just(MissedPolicy::Skip), Just(MissedPolicy::Tell)];
    let enough = (1..6u64, 1..9u64).prop_map(|(items, bytes)| Enough { items, bytes });
    let what = prop_oneof![
        3 => Just(What::Message),
        2 => Just(What::Any),
        2 => enough.prop_map(What::Batch),
        1 => Just(What::Missed),
        3 => (1..5u64).prop_map(What::Space),
        1 => Just(What::Joined),
    ];
    let how = prop_oneof![3 => Just(Settle::Ack), 1 => Just(Settle::Nack(0)), 1 => Just(Settle::Nack(5)), 1 => Just(Settle::Term)];
    prop_oneof![
        6 => (0..4u64).prop_map(Op::Enqueue),
        2 => (0..9u64).prop_map(Op::Batch),
        3 => (prop::option::of(0..3usize), prop::option::of(who()), policy, start())
            .prop_map(|(filters, after, policy, start)| Op::Add(filters, after, policy, start)),
        2 => (prop::option::of(1..3u64), prop::option::of(0..3usize)).prop_map(|(most, filters)| Op::Join(most, filters)),
        1 => who().prop_map(Op::Leave),
        1 => prop::option::weighted(0.3, Just(Op::CloseGroup)).prop_map(|op| op.unwrap_or(Op::Advance(1))),
        6 => (who(), 1..4usize).prop_map(|(who, limit)| Op::Read(who, limit)),
        1 => who().prop_map(Op::ReadLatest),
        4 => (any::<usize>(), how).prop_map(|(which, how)| Op::Settle(which, how)),
        1 => (who(), start()).prop_map(|(who, start)| Op::Seek(who, start)),
        3 => (1..12u64).prop_map(Op::Advance),
        1 => prop::option::of(1..20u64).prop_map(Op::SetTtl),
        1 => prop::option::of(1..8u64).prop_map(Op::SetMaxItems),
        1 => prop::option::weighted(0.1, any::<bool>()).prop_map(|close| close.map_or(Op::Advance(3), Op::Close)),
        9 => (what, who()).prop_map(|(what, who)| Op::Wait(what, who)),
        2 => any::<usize>().prop_map(Op::GiveUp),
    ]
}

fn topic(number: u64) -> Option<Topic> {
    [None, Some("a.x"), Some("a.y"), Some("b")][number as usize % 4].map(|text| Topic::new(text).unwrap())
}

fn filters(number: Option<usize>) -> Option<Filters> {
    let texts: [&[&str]; 3] = [&["a.*"], &["b"], &["a.x", "b"]];
    number.map(|number| Filters::new(texts[number].iter().copied()).unwrap())
}

struct Waiter {
    what: What,
    /// Of whom: one reader, or several for [`What::Any`].
    readers: Vec<Consumer<u64>>,
    /// Where it stands in line; several for [`What::Any`].
    tickets: Vec<Ticket>,
    count: Arc<Count>,
}

struct Stand {
    queue: Queue<u64>,
    clock: Arc<ManualClock>,
    readers: Vec<Consumer<u64>>,
    receipts: Vec<Receipt>,
    waiters: Vec<Waiter>,
}

impl Stand {
    fn conditions(&self, what: What, readers: &[Consumer<u64>]) -> Vec<Condition> {
        let of = |key: ConsumerKey, enough| Condition::Batch(key, enough);
        match (what, readers) {
            (What::Any, _) => readers.iter().map(|reader| of(reader.key(), Enough::READABLE)).collect(),
            (What::Message, [reader]) => vec![Condition::Message(reader.key())],
            (What::Batch(enough), [reader]) => vec![of(reader.key(), enough)],
            (What::Missed, [reader]) => vec![Condition::Missed(reader.key())],
            (What::Space(count), _) => vec![Condition::Space(need(count), topic(count))],
            (What::Joined, _) => vec![Condition::Joined],
            _ => Vec::new(),
        }
    }

    /// Tries what a waiter waits for. Returns whether its call would return.
    fn attempt(&mut self, what: What, readers: &[Consumer<u64>], ticket: Option<&Ticket>) -> bool {
        match (what, readers) {
            (What::Any, _) => readers.iter().any(|reader| reader.is_readable().unwrap_or(true)),
            (What::Message, [reader]) => self.read(reader, 1) != Ok(0),
            (What::Batch(enough), [reader]) => reader.is_enough(enough).unwrap_or(true),
            (What::Missed, [reader]) => reader.take_missed() != Ok(None),
            (What::Space(count), _) => {
                let each = (0..count as usize).map(|_| (0, 1));
                let topic = topic(count);
                let how = How { topic: topic.as_ref(), ..How::default() };
                !matches!(
                    self.queue.try_enqueue(each, need(count), how, ticket),
                    Err(Error::Full(full)) if !full.is_hopeless()
                )
            }
            (What::Joined, _) => self.queue.is_joined(),
            _ => true,
        }
    }

    fn read(&mut self, reader: &Consumer<u64>, limit: usize) -> Result<usize, Error> {
        reader.read_with(limit, |delivery| self.receipts.extend(delivery.receipt))
    }

    /// Lets a call wait, unless it returns at once.
    fn wait(&mut self, what: What, readers: Vec<Consumer<u64>>) {
        let count: Arc<Count> = Arc::default();
        loop {
            if self.attempt(what, &readers, None) {
                return;
            }
            let mut tickets = Vec::new();
            let conditions = self.conditions(what, &readers);
            let waits = conditions.into_iter().all(|condition| {
                let ticket = self.queue.wait(condition, &count.clone().into());
                ticket.map(|ticket| tickets.push(ticket)).is_some()
            });
            if waits {
                return self.waiters.push(Waiter { what, readers, tickets, count });
            }
            tickets.iter().for_each(|ticket| self.queue.remove_waiter(ticket));
        }
    }

    /// Lets the woken waiters try, until none is left.
    fn settle(&mut self) {
        self.queue.len(); // does what is due
        while let Some(woken) = self.waiters.iter().position(|waiter| waiter.count.0.load(SeqCst) > 0) {
            let keeps_place = matches!(self.waiters[woken].what, What::Space(_));
            if keeps_place {
                let Waiter { what, tickets, count, .. } = &self.waiters[woken];
                let (what, ticket) = (*what, tickets[0].clone());
                count.0.store(0, SeqCst);
                if self.attempt(what, &[], Some(&ticket)) {
                    self.waiters.remove(woken);
                    self.queue.remove_waiter(&ticket);
                }
                continue;
            }
            let Waiter { what, readers, tickets, .. } = self.waiters.remove(woken);
            if matches!(what, What::Any) {
                tickets.iter().for_each(|ticket| self.queue.remove_waiter(ticket));
            }
            self.wait(what, readers);
        }
    }

    /// Checks that nobody waits for what is there.
    fn check(&self) {
        for waiter in &self.waiters {
            match waiter.what {
                What::Any => {
                    let unreadable = |reader: &Consumer<u64>| reader.is_readable() == Ok(false);
                    assert!(waiter.readers.iter().all(unreadable), "wait_any waits in vain");
                }
                What::Space(_) => {} // below
                what => {
                    for condition in self.conditions(what, &waiter.readers) {
                        let count: Arc<Count> = Arc::default();
                        let ticket = self.queue.wait(condition.clone(), &count.into());
                        let ticket = ticket.unwrap_or_else(|| panic!("{condition:?} holds, and nobody is woken"));
                        self.queue.remove_waiter(&ticket);
                    }
                }
            }
        }
        let producers = self.waiters.iter().filter(|waiter| matches!(waiter.what, What::Space(_)));
        if let Some(first) = producers.min_by_key(|waiter| waiter.tickets[0].number) {
            let still_waits = self.queue.wait_on(&first.tickets[0], &first.count.clone().into());
            assert!(still_waits, "the first producer could go on, and is not woken");
        }
        self.queue.check();
    }

    fn step(&mut self, op: Op) {
        let reader = |who: usize| self.readers.get(who).cloned();
        match op {
            Op::Enqueue(number) => {
                let _ = match topic(number) {
                    None => self.queue.enqueue(0, 1),
                    Some(topic) => self.queue.enqueue_under(&topic, 0, 1, Default::default()),
                };
            }
            Op::Batch(count) => {
                let _ = self.queue.enqueue_batch_under(topic(count).as_ref(), vec![(0, 1); count as usize]);
            }
            Op::Add(number, after, policy, start) => {
                let after = after.and_then(reader).map(|reader| reader.predecessor()).into_iter().collect();
                let options = ConsumerOptions { filters: filters(number), after, policy, start, name: None };
                if self.readers.len() < CROWD {
                    self.readers.extend(self.queue.add_consumer_with(&options));
                }
            }
            Op::Join(max_pending, number) => {
                let options = GroupOptions {
                    ack_wait: max_pending.map(|_| 7),
                    max_pending,
                    max_deliver: Some(2),
                    filters: filters(number),
                    ..GroupOptions::default()
                };
                let group = self
                    .queue
                    .group("g")
                    .map_or_else(|| self.queue.add_group("g", Start::Earliest, &options, None), Ok);
                if self.readers.len() < CROWD {
                    self.readers.push(group.unwrap().add_consumer(None).unwrap());
                }
            }
            Op::Leave(who) => {
                if who < self.readers.len() {
                    self.readers.remove(who).close();
                }
            }
            Op::CloseGroup => {
                self.queue.group("g").into_iter().for_each(|group| assert!(group.close()));
                self.readers.retain(|reader| !reader.is_closed());
            }
            Op::Read(who, limit) => {
                reader(who).map(|reader| self.read(&reader, limit));
            }
            Op::ReadLatest(who) => {
                reader(who).map(|reader| reader.read_latest_with(|_| ()));
            }
            Op::Settle(which, how) => {
                if !self.receipts.is_empty() {
                    let receipt = self.receipts.swap_remove(which % self.receipts.len());
                    self.queue.settle(&receipt, how);
                }
            }
            Op::Seek(who, start) => {
                reader(who).map(|reader| reader.seek(start));
            }
            Op::Advance(nanoseconds) => self.clock.advance(nanoseconds),
            Op::SetTtl(ttl) => self.queue.set_ttl(ttl),
            Op::SetMaxItems(max) => self.queue.set_max_items(max),
            Op::Close(immediate) => self.queue.close(immediate),
            Op::Wait(what, who) => {
                let readers = match what {
                    What::Any => self.readers.clone(),
                    What::Space(_) | What::Joined => Vec::new(),
                    _ => Vec::from_iter(reader(who)),
                };
                if !readers.is_empty() || matches!(what, What::Space(_) | What::Joined) {
                    self.wait(what, readers);
                }
            }
            Op::GiveUp(which) => {
                if !self.waiters.is_empty() {
                    let waiter = self.waiters.remove(which % self.waiters.len());
                    let is_any = matches!(waiter.what, What::Any);
                    let leave = if is_any { Queue::remove_waiter } else { Queue::give_up };
                    waiter.tickets.iter().for_each(|ticket| leave(&self.queue, ticket));
                }
            }
        }
    }
}

fn need(items: u64) -> Need {
    Need { items, bytes: items }
}

fn options() -> impl Strategy<Value = Options> {
    (prop::option::of(5..20u64), prop::option::of(2..8u64), any::<[bool; 2]>()).prop_map(
        |(ttl, max_items, [interest, drops])| Options {
            ttl,
            max_items,
            max_bytes: 1000,
            retention: if interest { Retention::Interest } else { Retention::Limits },
            overflow: if drops { Overflow::DropOldest } else { Overflow::Reject },
            ..Options::default()
        },
    )
}

fn run(options: Options, ops: Vec<(Op, bool)>) -> usize {
    let steps = ops.len();
    let (queue, clock) = manual(options);
    let mut stand = Stand { queue, clock, readers: Vec::new(), receipts: Vec::new(), waiters: Vec::new() };
    for (op, settles) in ops {
        stand.step(op);
        // Otherwise the woken waiters have not run yet when the next step is taken.
        if settles {
            stand.settle();
            stand.check();
        }
    }
    stand.settle();
    stand.check();
    steps
}

#[test]
fn nobody_waits_for_what_is_there() {
    let history = |longest| (options(), prop::collection::vec((op(), prop::bool::weighted(0.8)), 1..longest));
    histories::play_all(300, 300, history, |(options, ops)| run(options, ops));
}
