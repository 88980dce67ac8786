//! The engine's promises where threads meet, one rule a model. loom runs each in every order of its steps that has up to
//! three preemptions (`LOOM_MAX_PREEMPTIONS` says otherwise), and with every value that a load may see in it. `make loom`
//! runs them; `docs/reliability.md` tells what they show.
//!
//! A thread that waits here waits for ever: a lost wake-up is a deadlock, which loom finds. Time is moved by hand, and what
//! the expiration thread does is called by hand. A model that fails may end the process: what unwinds leaves the queue, which
//! loom no longer lets it. What it says first is the failure.

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
/// Not a moment.
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
/// Bytes stated for each payload.
const SIZE: u64 = 8;

/// A payload that loom watches: whoever reads it must come after whoever wrote it.
#[derive(Clone, Debug)]
struct Letter(Arc<Sheet>);

#[derive(Debug)]
struct Sheet(UnsafeCell<u64>);

// SAFETY: it is written before anybody else has it, and only read from then on. That the queue keeps to this order is
// what loom watches: it fails the model otherwise.
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

/// Runs a model in every order, and tells in how many.
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

/// For ever, unless a model says otherwise: then the usual case of an enqueue is taken from the first.
fn untimed() -> Options {
    Options { ttl: None, audit: false, ..Options::default() }
}

fn queue(options: Options) -> (Queue, Arc<ManualClock>) {
    let clock = ManualClock::at(Now { mono: 1_000, wall: 1_000 });
    (Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options }), clock)
}

/// A queue that holds one message, until everyone has read it.
fn narrow() -> Queue {
    queue(Options { max_items: Some(1), retention: Retention::Interest, ..untimed() }).0
}

fn consumer(queue: &Queue) -> Consumer {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

/// A group whose members acknowledge, with two of them.
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

/// What a consumer reads, waiting for it as long as it takes.
fn await_one(consumer: &Consumer) -> Result<u64, Error> {
    Ok(consumer.read_within(None)?.expect("nobody waits for ever in vain").content())
}

/// What is there to read.
fn drain(consumer: &Consumer) -> Vec<u64> {
    std::iter::from_fn(|| read(consumer).unwrap_or(None)).collect()
}

/// Reads with what it takes to settle it.
fn receive(consumer: &Consumer) -> Option<(u64, u32, Receipt)> {
    let mut received = None;
    let visit = |delivery: Delivery<'_, Letter>| {
        received = Some((delivery.payload.content(), delivery.deliveries, delivery.receipt.unwrap()));
    };
    consumer.read_with(1, visit).unwrap();
    received
}

/// Does something in another thread with a handle of its own.
fn spawn<S: Clone + 'static, R: 'static>(handle: &S, run: impl FnOnce(S) -> R + 'static) -> JoinHandle<R> {
    let handle = handle.clone();
    thread::spawn(move || run(handle))
}
