//! Payloads that panic in `clone`, use the queue when they are dropped, or have no size.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mpmc_queue::{
    Clock, Consumer, Error, GroupOptions, Lifetime, ManualClock, MissedPolicy, Now, Options, Queue, Retention, Start,
};

const SECOND: u64 = 1_000_000_000;

/// Panics when it is cloned, unless it is tame. Uses its queue when it is dropped, which would deadlock under the lock.
struct Touchy {
    is_tame: bool,
    drops: Arc<AtomicUsize>,
    queue: Queue<Touchy>,
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        assert!(self.is_tame, "a clone that panics");
        Touchy { is_tame: true, drops: self.drops.clone(), queue: self.queue.clone() }
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        self.queue.len();
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

struct Fixture {
    queue: Queue<Touchy>,
    clock: Arc<ManualClock>,
    drops: Arc<AtomicUsize>,
}

fn fixture(options: Options) -> Fixture {
    let clock = ManualClock::at(Now { mono: SECOND, wall: SECOND });
    let queue = Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options });
    Fixture { queue, clock, drops: Arc::default() }
}

impl Fixture {
    fn payload(&self, is_tame: bool) -> Touchy {
        Touchy { is_tame, drops: self.drops.clone(), queue: self.queue.clone() }
    }

    fn consumer(&self) -> Consumer<Touchy> {
        self.queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.queue.close(true); // the payloads of that queue refer to it
    }
}

fn panics(consumer: &Consumer<Touchy>) -> bool {
    catch_unwind(AssertUnwindSafe(|| consumer.read().is_ok())).is_err()
}

#[test]
fn the_position_moves_past_a_payload_that_panics_in_clone() {
    for group in
        [None, Some(GroupOptions::default()), Some(GroupOptions { ack_wait: Some(SECOND), ..GroupOptions::default() })]
    {
        let f = fixture(Options::default());
        let consumer = match &group {
            None => f.consumer(),
            Some(how) => f.queue.add_group("g", Start::Earliest, how, None).unwrap().add_consumer(None).unwrap(),
        };
        f.queue.enqueue(f.payload(false), 1).unwrap();
        f.queue.enqueue(f.payload(true), 1).unwrap();
        assert!(panics(&consumer));
        f.queue.check();
        assert_eq!((consumer.position(), consumer.stats().unwrap().read), (Ok(1), 1));
        assert!(consumer.read().unwrap().is_some());
        f.queue.check();
        assert_eq!(consumer.history(9).unwrap().len(), 2, "both reads are in the audit trail");
    }
}

#[test]
fn a_batch_that_panics_has_read_up_to_there() {
    let f = fixture(Options { retention: Retention::Interest, ..Options::default() });
    let consumer = f.consumer();
    for is_tame in [true, true, false, true] {
        f.queue.enqueue(f.payload(is_tame), 1).unwrap();
    }
    let read = AtomicUsize::new(0);
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        consumer.read_with(9, |delivery| {
            assert!(delivery.payload.is_tame, "a visit that panics");
            read.fetch_add(1, Ordering::SeqCst);
        })
    }));
    assert!(attempt.is_err());
    f.queue.check();
    assert_eq!((read.into_inner(), consumer.position()), (2, Ok(3)));
    assert_eq!(consumer.history(9).unwrap().len(), 3);
    assert_eq!(consumer.read_with(9, |delivery| assert!(delivery.payload.is_tame)), Ok(1));
    assert_eq!(f.queue.len(), 0, "what was read by everyone has left");
}

#[test]
fn expiry_in_a_panicking_read_drops_without_the_lock_and_wakes_waiters() {
    let f = fixture(Options { max_items: Some(3), ttl: None, ..Options::default() });
    let consumer = f.consumer();
    f.queue.enqueue_for(f.payload(true), 1, Lifetime::Own(5 * SECOND)).unwrap();
    f.queue.enqueue(f.payload(false), 1).unwrap();
    f.queue.enqueue(f.payload(true), 1).unwrap();
    let payload = f.payload(true);
    let queue = f.queue.clone();
    let producer = thread::spawn(move || queue.enqueue_within(payload, 1, Some(Duration::from_secs(20))));
    while f.queue.waiting_producers() == 0 {
        thread::yield_now();
    }
    f.clock.advance(5 * SECOND);
    let began = Instant::now();
    assert!(panics(&consumer));
    assert_eq!(producer.join().unwrap(), Ok(3));
    assert!(began.elapsed() < Duration::from_secs(10), "the producer was woken, and not by its own time");
    assert_eq!(f.drops.load(Ordering::SeqCst), 1);
    f.queue.check();
}

#[test]
fn a_refused_batch_is_dropped_without_the_lock() {
    let f = fixture(Options { max_items: Some(1), ..Options::default() });
    let batch = (0..2).map(|_| (f.payload(true), 1)).collect();
    assert!(matches!(f.queue.enqueue_batch(batch), Err(Error::Full(_))));
    f.queue.close(false);
    assert_eq!(f.queue.enqueue_batch(vec![(f.payload(true), 1)]), Err(Error::Closed));
    assert_eq!(f.drops.load(Ordering::SeqCst), 3);
}

#[test]
fn payloads_without_a_size_are_payloads() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    #[derive(Clone)]
    struct Empty;
    impl Drop for Empty {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }
    let clock = ManualClock::at(Now { mono: SECOND, wall: SECOND });
    let queue = Queue::<Empty>::new(&Options { clock: Clock::Manual(clock.clone()), ..Options::default() });
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    queue.enqueue_for(Empty, 0, Lifetime::Own(SECOND)).unwrap();
    queue.enqueue_batch(vec![(Empty, 0), (Empty, 0)]).unwrap();
    assert!(consumer.read().unwrap().is_some());
    clock.advance(SECOND);
    queue.check();
    assert_eq!((queue.len(), DROPS.load(Ordering::SeqCst)), (2, 2), "the copy that was read, and the expired one");
    queue.close(true);
    assert_eq!((queue.len(), queue.memory_usage(), DROPS.load(Ordering::SeqCst)), (0, 0, 4));
    queue.check();
}

#[test]
fn a_queue_of_units_works() {
    let queue = Queue::<()>::new(&Options::default());
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    queue.enqueue((), 0).unwrap();
    queue.enqueue_batch(vec![((), 0); 1500]).unwrap();
    let mut count = 0;
    while consumer.read().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 1501);
    queue.close(true);
    assert_eq!(queue.memory_usage(), 0);
}
