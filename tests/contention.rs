//! Concurrent threads in real time: producers, readers with leases, expiry, dropping, seeking, removals, figures.
//! `STRESS_SECONDS` sets the duration; `make tsan` runs this under ThreadSanitizer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mpmc_queue::{
    Consumer, ConsumerOptions, Delivery, Error, Filters, Lifetime, MissedPolicy, Options, Overflow, Queue, Start, Topic,
};

/// A message that stores its producer and its number. Messages that exist are counted.
#[derive(Debug)]
struct Letter {
    producer: u64,
    number: u64,
    alive: Arc<AtomicU64>,
}

impl Letter {
    fn new(producer: u64, number: u64, alive: &Arc<AtomicU64>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Letter { producer, number, alive: alive.clone() }
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

const PRODUCERS: u64 = 2;

fn duration() -> Duration {
    let seconds = std::env::var("STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(1.0))
}

/// What a reader has received.
#[derive(Default)]
struct Seen {
    /// Seq after the last message.
    next: u64,
    /// Number of the last message of each producer.
    last: [Option<u64>; PRODUCERS as usize],
    read: u64,
    missed: u64,
}

impl Seen {
    fn take(&mut self, delivery: &Delivery<'_, Letter>) {
        assert!(delivery.seq >= self.next, "in order of seq");
        assert_eq!(delivery.seq - self.next, delivery.missed, "every gap is told");
        let last = &mut self.last[delivery.payload.producer as usize];
        assert!(last.is_none_or(|last| last < delivery.payload.number), "in the order of each producer");
        *last = Some(delivery.payload.number);
        (self.next, self.read, self.missed) = (delivery.seq + 1, self.read + 1, self.missed + delivery.missed);
    }
}

fn consumer(queue: &Queue<Letter>, start: Start) -> Consumer<Letter> {
    queue.add_consumer(None, start, MissedPolicy::Skip).unwrap()
}

/// Reads from the first message on, one by one or in batches, until the queue is closed and empty. Then compares the
/// counts.
fn read(reader: &Consumer<Letter>, limit: usize) {
    let mut seen = Seen::default();
    loop {
        match reader.read_fitting_with(limit, u64::MAX, false, |delivery| seen.take(&delivery)) {
            Ok(0) => thread::yield_now(),
            Ok(count) => assert!(count <= limit),
            Err(Error::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
        if seen.read % 64 == 0 {
            let stats = reader.stats().unwrap();
            assert_eq!(stats.read, seen.read);
            assert!(stats.missed >= seen.missed);
        }
    }
    let stats = reader.stats().unwrap();
    assert_eq!((stats.read, stats.unread), (seen.read, 0));
    assert_eq!(stats.read + stats.missed, reader.queue().stats().next_seq);
}

/// Called when the queue was dropped.
fn expect_no_letter(alive: &AtomicU64) {
    let patience = Instant::now() + Duration::from_secs(20);
    while alive.load(Ordering::Relaxed) > 0 && Instant::now() < patience {
        thread::yield_now(); // the expiration thread may be about to drop the last one
    }
    assert_eq!(alive.load(Ordering::Relaxed), 0, "every payload is dropped once");
}

fn meet(options: Options) {
    let queue = Queue::<Letter>::new(&options);
    let (alive, is_over) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let readers = [1, 7, 300].map(|limit| (consumer(&queue, Start::Earliest), limit));
    let end = Instant::now() + duration();
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (queue, alive) = (&queue, &alive);
                scope.spawn(move || {
                    let mut number = 0;
                    while Instant::now() < end {
                        let batch = if number % 1000 < 990 { 1 } else { 1 + number % 37 };
                        let letters = (number..number + batch).map(|number| (Letter::new(producer, number, alive), 8));
                        let _ = match number % 50 {
                            7 => queue.enqueue_for(Letter::new(producer, number, alive), 8, Lifetime::Own(1_000_000)),
                            _ if batch == 1 => queue.enqueue(Letter::new(producer, number, alive), 8),
                            _ => queue.enqueue_batch(letters.collect()),
                        };
                        number += batch;
                    }
                })
            })
            .collect();
        for (reader, limit) in &readers {
            scope.spawn(move || read(reader, *limit));
        }
        let visitors = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let visitor = consumer(&queue, Start::Latest);
                let mut last = None;
                for round in 0..200 {
                    let visit = |delivery: Delivery<'_, Letter>| {
                        assert!(last.is_none_or(|last| last < delivery.seq));
                        last = Some(delivery.seq);
                    };
                    let _ = visitor.read_fitting_with(1 + round % 3, u64::MAX, false, visit);
                    if round % 50 == 0 && visitor.seek(Start::Earliest) == Ok(()) {
                        last = None;
                    }
                }
                assert!(visitor.close());
                queue.check();
            }
        });
        for producer in producers {
            producer.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        visitors.join().unwrap();
        queue.close(false);
    });
    let stats = queue.stats();
    assert!(stats.next_seq > 0);
    drop(readers);
    drop(queue);
    expect_no_letter(&alive);
}

#[test]
fn threads_agree_about_a_ring() {
    meet(Options { max_items: Some(3_000), overflow: Overflow::DropOldest, ..Options::default() });
}

#[test]
fn threads_agree_about_what_expires() {
    meet(Options { ttl: Some(2_000_000), max_bytes: 1 << 24, ..Options::default() });
}

#[test]
fn threads_agree_about_a_small_ring_without_records() {
    meet(Options {
        max_items: Some(20),
        overflow: Overflow::DropOldest,
        audit: false,
        ttl: None,
        ..Options::default()
    });
}

/// Reads what matches, until the queue is closed and empty. `only`: the producer whose messages match; None: those of all
/// producers do. Returns how many messages were read and missed.
fn read_matches(reader: &Consumer<Letter>, limit: usize, only: Option<u64>) -> u64 {
    let (mut read, mut missed, mut last) = (0, 0, [None; PRODUCERS as usize]);
    loop {
        let visit = |delivery: Delivery<'_, Letter>| {
            let producer = delivery.payload.producer;
            assert!(only.is_none_or(|only| only == producer));
            assert_eq!(delivery.topic.map(Topic::as_str), Some(TOPICS[producer as usize]));
            let last = &mut last[producer as usize];
            assert!(last.is_none_or(|last| last < delivery.payload.number), "in the order of each producer");
            *last = Some(delivery.payload.number);
            (read, missed) = (read + 1, missed + delivery.missed);
        };
        match reader.read_fitting_with(limit, u64::MAX, false, visit) {
            Ok(0) => thread::yield_now(),
            Ok(_) => {}
            Err(Error::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
        if read % 64 == 0 {
            assert_eq!(reader.stats().unwrap().read, read);
        }
    }
    let stats = reader.stats().unwrap();
    assert_eq!((stats.read, stats.unread), (read, 0));
    assert!(stats.missed >= missed);
    stats.read + stats.missed
}

const TOPICS: [&str; PRODUCERS as usize] = ["letters.of.one", "letters.of.the.other"];

#[test]
fn threads_agree_about_what_matches() {
    let options = Options { max_items: Some(2_000), overflow: Overflow::DropOldest, ..Options::default() };
    let queue = Queue::<Letter>::new(&options);
    let alive = Arc::new(AtomicU64::new(0));
    let readers = [(Some(0), 1), (Some(1), 1), (None, 1), (Some(0), 90), (None, 20)].map(|(only, limit)| {
        let text = only.map_or("letters.>", |only: u64| TOPICS[only as usize]);
        let filters = Some(Filters::new([text]).unwrap());
        let reader = queue.add_consumer_with(&ConsumerOptions { filters, ..ConsumerOptions::default() }).unwrap();
        (reader, limit, only)
    });
    let end = Instant::now() + duration();
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (queue, alive) = (&queue, &alive);
                scope.spawn(move || {
                    let topic = Topic::new(TOPICS[producer as usize]).unwrap();
                    let mut number = 0;
                    while Instant::now() < end {
                        let letter = Letter::new(producer, number, alive);
                        queue.enqueue_under(&topic, letter, 8, Lifetime::Queue).unwrap();
                        number += 1;
                    }
                    number
                })
            })
            .collect();
        let reading: Vec<_> = readers
            .iter()
            .map(|(reader, limit, only)| (*only, scope.spawn(move || read_matches(reader, *limit, *only))))
            .collect();
        let added: Vec<u64> = producers.into_iter().map(|producer| producer.join().unwrap()).collect();
        queue.close(false);
        for (only, reader) in reading {
            let matches = only.map_or(added.iter().sum(), |only| added[only as usize]);
            assert_eq!(reader.join().unwrap(), matches);
        }
        queue.check();
    });
    drop(readers);
    drop(queue);
    expect_no_letter(&alive);
}
