//! The engine's guarantees between threads, one rule in each model. loom runs each model in every order of its steps
//! that has up to three preemptions (`LOOM_MAX_PREEMPTIONS` changes that), and with every value that a load may see.
//! `make loom` runs the models; `docs/reliability.md` describes what they show.
//!
//! A thread that waits here waits without a limit: a lost wake-up is a deadlock, which loom finds. The models move the
//! time and call the expiration thread's work themselves. A model that fails may end the process: unwinding drops the
//! queue, which loom no longer allows. The first message is the failure.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};

use crate::{
    Clock, Delivery, Error, Group, GroupOptions, ManualClock, MissedPolicy, Now, Options, Overflow, Receipt, Retention,
    Settle, Start,
};

mod enqueuing;
mod grouped;
mod leasing;
mod parts;
mod topics;
mod waiting;

type Queue = crate::Queue<Letter>;
type Consumer = crate::Consumer<Letter>;

const TTL: u64 = 10;
/// Does not wait.
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
/// Size that is stated for each payload.
const SIZE: u64 = 8;

/// A payload that loom watches: each read of it must come after its write.
#[derive(Clone, Debug)]
struct Letter(Arc<Sheet>);

#[derive(Debug)]
struct Sheet(UnsafeCell<u64>);

// SAFETY: the value is written before anybody else has it, and only read from then on. loom checks that the queue keeps
// to this order: it fails the model otherwise.
unsafe impl Sync for Sheet {}

impl Letter {
    fn new(content: u64) -> Self {
        let sheet = Sheet(UnsafeCell::new(0));
        // SAFETY: nobody else has it yet.
        sheet.0.with_mut(|inside| unsafe { *inside = content });
        Letter(Arc::new(sheet))
    }

    fn content(&self) -> u64 {
        // SAFETY: nobody writes it any more.
        self.0.0.with(|inside| unsafe { *inside })
    }
}

/// Runs a model in every order, and prints the number of orders.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{runs:>8} executions: {}", std::thread::current().name().unwrap_or_default());
    assert!(runs > 1, "nobody met anybody");
}

/// Messages never expire, unless a model says otherwise. Then the usual case of an enqueue is taken from the first
/// message on.
fn untimed() -> Options {
    Options { ttl: None, audit: false, ..Options::default() }
}

fn queue(options: Options) -> (Queue, Arc<ManualClock>) {
    let clock = ManualClock::at(Now { mono: 1_000, wall: 1_000 });
    (Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options }), clock)
}

/// A queue that holds one message, until every consumer has read it.
fn narrow() -> Queue {
    queue(Options { max_items: Some(1), retention: Retention::Interest, ..untimed() }).0
}

fn consumer(queue: &Queue) -> Consumer {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

/// An acknowledging group, and two members of it.
fn acknowledging(queue: &Queue) -> (Group<Letter>, Consumer, Consumer) {
    let options = GroupOptions { ack_wait: Some(TTL), ..GroupOptions::default() };
    let group = queue.add_group("group", Start::Earliest, &options, None).unwrap();
    let (one, other) = (group.add_consumer(None).unwrap(), group.add_consumer(None).unwrap());
    (group, one, other)
}

fn enqueue(queue: &Queue, content: u64) -> Result<u64, Error> {
    queue.enqueue(Letter::new(content), SIZE)
}

fn enqueue_all(queue: &Queue, contents: RangeInclusive<u64>) {
    contents.for_each(|content| assert!(enqueue(queue, content).is_ok()));
}

fn enqueue_within(queue: &Queue, content: u64, limit: Option<Duration>) -> Result<u64, Error> {
    queue.enqueue_within(Letter::new(content), SIZE, limit)
}

fn read(consumer: &Consumer) -> Result<Option<u64>, Error> {
    Ok(consumer.read()?.map(|letter| letter.content()))
}

/// Reads a message. Waits for it without a limit.
fn await_one(consumer: &Consumer) -> Result<u64, Error> {
    Ok(consumer.read_within(None)?.expect("without a deadline, a read waits for a message").content())
}

/// Reads all messages that are there.
fn drain(consumer: &Consumer) -> Vec<u64> {
    std::iter::from_fn(|| read(consumer).unwrap_or(None)).collect()
}

/// Reads a message with the receipt for settling it.
fn receive(consumer: &Consumer) -> Option<(u64, u32, Receipt)> {
    let mut received = None;
    let visit = |delivery: Delivery<'_, Letter>| {
        received = Some((delivery.payload.content(), delivery.deliveries, delivery.receipt.unwrap()));
    };
    consumer.read_with(1, visit).unwrap();
    received
}

/// Runs a closure in another thread with a handle of its own.
fn spawn<S: Clone + 'static, R: 'static>(handle: &S, run: impl FnOnce(S) -> R + 'static) -> JoinHandle<R> {
    let handle = handle.clone();
    thread::spawn(move || run(handle))
}
