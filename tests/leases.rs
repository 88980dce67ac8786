//! Reads through a lease, without the queue's lock, have the same results as other reads: one rule in each test.

mod driven;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mpmc_queue::{
    CHUNK_SIZE, Consumer, ConsumerOptions, Error, GroupOptions, Lifetime, ManualClock, MissedPolicy, Options, Overflow,
    Queue, Retention, Start,
};

use driven::{SECOND, manual};

const CHUNK: u64 = CHUNK_SIZE as u64;

/// A queue of `count` messages, each with its own seq as payload, and a consumer that has read the first and has a
/// lease.
fn leased(options: Options, count: u64) -> (Queue<u64>, Consumer<u64>, Arc<ManualClock>) {
    let (queue, clock) = manual(options);
    let reader = consumer(&queue);
    add(&queue, 0..=count - 1);
    assert_eq!(reader.read(), Ok(Some(0)));
    assert_eq!(queue.leases(), 1);
    (queue, reader, clock)
}

fn consumer(queue: &Queue<u64>) -> Consumer<u64> {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

fn read_all(consumer: &Consumer<u64>) -> Vec<u64> {
    std::iter::from_fn(|| consumer.read().unwrap_or(None)).collect()
}

/// Enqueues messages, each with its own seq as payload.
fn add(queue: &Queue<u64>, seqs: std::ops::RangeInclusive<u64>) {
    seqs.for_each(|seq| assert_eq!(queue.enqueue(seq, 8), Ok(seq)));
}

fn batch(queue: &Queue<u64>, seqs: std::ops::RangeInclusive<u64>) {
    let first = *seqs.start();
    assert_eq!(queue.enqueue_batch(seqs.map(|seq| (seq, 8)).collect()), Ok(first));
}

#[test]
fn what_is_read_with_a_lease_counts_at_once() {
    let (queue, reader, clock) = leased(Options::default(), 10);
    clock.advance(SECOND);
    assert_eq!([reader.read(), reader.read()], [Ok(Some(1)), Ok(Some(2))]);
    assert_eq!(queue.leases(), 1);
    let stats = reader.stats().unwrap();
    assert_eq!((stats.read, stats.unread, stats.unread_bytes, stats.missed), (3, 7, 56, 0));
    assert_eq!((stats.lag, stats.last_read), (SECOND, Some(queue.now().wall)));
    assert_eq!(queue.leases(), 0);
    assert_eq!(reader.read(), Ok(Some(3)));
    assert_eq!((queue.leases(), reader.position()), (1, Ok(4)));
    assert_eq!(reader.read(), Ok(Some(4)));
    assert_eq!(queue.consumer_stats()[0].read, 5);
    assert_eq!(reader.read(), Ok(Some(5)));
    assert_eq!(reader.history(9).unwrap().iter().map(|&(seq, _)| seq).collect::<Vec<_>>(), (0..=5).collect::<Vec<_>>());
    assert_eq!(queue.readings(5).len(), 1);
    queue.check();
}

#[test]
fn a_reader_sees_what_is_enqueued_while_it_has_a_lease() {
    let (queue, reader, _) = leased(Options::default(), 3);
    for seq in 1..2 * CHUNK {
        assert_eq!(reader.read(), Ok(Some(seq)));
        add(&queue, seq + 2..=seq + 2);
    }
    assert_eq!(read_all(&reader), [2 * CHUNK, 2 * CHUNK + 1]);
    queue.check();
}

#[test]
fn a_reader_with_a_lease_sees_that_there_is_nothing_and_that_the_queue_is_closed() {
    let (queue, reader, _) = leased(Options::default(), 2);
    assert_eq!((reader.read(), reader.read(), reader.read()), (Ok(Some(1)), Ok(None), Ok(None)));
    assert_eq!(queue.leases(), 1, "nobody took it back");
    assert_eq!(reader.read_with(5, |_| ()), Ok(0));
    queue.close(false);
    assert_eq!(reader.read(), Err(Error::Closed));

    let (queue, reader, _) = leased(Options::default(), CHUNK);
    assert_eq!(read_all(&reader).len() as u64, CHUNK - 1);
    assert_eq!((queue.leases(), reader.read()), (0, Ok(None)), "a chunk that is full is no end");
    add(&queue, CHUNK..=CHUNK);
    assert_eq!(reader.read(), Ok(Some(CHUNK)));
}

#[test]
fn readers_go_on_from_chunk_to_chunk_also_where_one_ends_early() {
    let (queue, reader, _) = leased(Options { max_bytes: u64::MAX, ..Options::default() }, 10);
    let other = consumer(&queue);
    assert_eq!((other.read(), reader.read()), (Ok(Some(0)), Ok(Some(1))));
    assert_eq!(queue.leases(), 2);
    let large = 12 * CHUNK + 7;
    batch(&queue, 10..=9 + large);
    add(&queue, 10 + large..=20 + large);
    assert_eq!(read_all(&reader), (2..=20 + large).collect::<Vec<_>>());
    let mut batch = Vec::new();
    while let Ok(1..) = other.read_fitting_with(600, u64::MAX, false, |delivery| batch.push(delivery.seq)) {}
    assert_eq!(batch, (1..=20 + large).collect::<Vec<_>>());
    queue.check();
}

#[test]
fn a_batch_gets_all_that_there_is_up_to_its_limits() {
    let (queue, reader, _) = leased(Options { max_bytes: u64::MAX, ..Options::default() }, 2 * CHUNK + 50);
    let take = |limit, max_bytes| {
        let (mut seqs, mut sizes) = (Vec::new(), 0);
        let visit = |delivery: mpmc_queue::Delivery<'_, u64>| {
            seqs.push(delivery.seq);
            sizes += delivery.size;
        };
        let count = reader.read_fitting_with(limit, max_bytes, false, visit).unwrap();
        assert_eq!((count, 8 * count as u64), (seqs.len(), sizes));
        seqs
    };
    assert_eq!(take(20, u64::MAX), (1..=20).collect::<Vec<_>>());
    assert_eq!(queue.leases(), 1);
    assert_eq!(take(20, 47), (21..=25).collect::<Vec<_>>());
    assert_eq!(take(20, 1), [26], "one at least");
    assert_eq!(take(CHUNK_SIZE + 1, u64::MAX), (27..=CHUNK + 27).collect::<Vec<_>>(), "over the end of a chunk");
    assert_eq!(take(CHUNK_SIZE, 8 * (CHUNK + 10)), (CHUNK + 28..=2 * CHUNK + 27).collect::<Vec<_>>());
    assert_eq!(take(100, u64::MAX), (2 * CHUNK + 28..=2 * CHUNK + 49).collect::<Vec<_>>());
    assert!(take(1, u64::MAX).is_empty());
    let seqs = reader.history(5000).unwrap();
    assert_eq!(seqs.iter().map(|&(seq, _)| seq).collect::<Vec<_>>(), (0..=2 * CHUNK + 49).collect::<Vec<_>>());
    queue.check();
}

#[test]
fn a_ring_tells_a_reader_with_a_lease_what_it_missed() {
    let options = Options { max_items: Some(200), overflow: Overflow::DropOldest, ..Options::default() };
    let (queue, reader, _) = leased(options.clone(), 200);
    add(&queue, 200..=202);
    assert_eq!((queue.len(), queue.stats().dropped, reader.missed()), (200, 3, Ok(2)));
    assert_eq!(reader.read(), Ok(Some(3)));

    let (queue, reader, _) = leased(options.clone(), 200);
    add(&queue, 200..=299);
    batch(&queue, 300..=400);
    assert_eq!(read_all(&reader), (201..=400).collect::<Vec<_>>());
    assert_eq!((reader.missed(), reader.stats().unwrap().read), (Ok(200), 201));
    queue.check();

    // A reader that stays ahead of the messages that leave keeps its lease.
    let (queue, reader, _) = leased(options, 200);
    for seq in 200..900 {
        assert_eq!(reader.read(), Ok(Some(seq - 199)));
        add(&queue, seq..=seq);
        assert_eq!(queue.leases(), 1);
    }
    assert_eq!(reader.missed(), Ok(0));
    queue.check();
}

#[test]
fn with_a_lease_messages_expire_at_their_time_and_not_before() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let reader = consumer(&queue);
    add(&queue, 0..=2);
    clock.advance(4 * SECOND);
    add(&queue, 3..=4);
    assert_eq!([reader.read(), reader.read()], [Ok(Some(0)), Ok(Some(1))]);
    clock.advance(6 * SECOND - 1);
    assert_eq!((queue.leases(), reader.read()), (1, Ok(Some(2))));
    clock.advance(1);
    assert_eq!((reader.read(), queue.leases()), (Ok(Some(3)), 1));
    assert_eq!(queue.stats().expired, 3, "the first three have expired");
    clock.advance(4 * SECOND);
    assert_eq!((reader.read(), reader.missed(), queue.len()), (Ok(None), Ok(1), 0));
    add(&queue, 5..=6);
    assert_eq!(reader.read(), Ok(Some(5)));
    assert_eq!(queue.leases(), 1);
    queue.set_ttl(Some(SECOND));
    clock.advance(SECOND);
    assert_eq!((reader.read(), reader.missed()), (Ok(None), Ok(2)));
    queue.check();
}

#[test]
fn the_next_message_of_a_lease_says_when_it_ends() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let reader = consumer(&queue);
    add(&queue, 0..=1);
    clock.advance(4 * SECOND);
    add(&queue, 2..=3);
    assert_eq!((reader.read(), queue.leases()), (Ok(Some(0)), 1));
    clock.advance(6 * SECOND);
    assert_eq!((reader.read(), reader.missed()), (Ok(Some(2)), Ok(1)));
    queue.check();
}

#[test]
fn a_lease_at_the_end_of_the_log_ends_with_the_first_that_may_come() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let reader = consumer(&queue);
    add(&queue, 0..=0);
    assert_eq!((reader.read(), reader.read(), queue.leases()), (Ok(Some(0)), Ok(None), 1));
    add(&queue, 1..=1);
    clock.advance(5 * SECOND);
    add(&queue, 2..=2);
    clock.advance(5 * SECOND);
    assert_eq!((reader.read(), reader.missed()), (Ok(Some(2)), Ok(1)));
    queue.check();
}

#[test]
fn a_gap_that_was_passed_comes_with_the_next_message() {
    let (queue, clock) = manual(Options { audit: false, ..Options::default() });
    let reader = consumer(&queue);
    add(&queue, 0..=0);
    queue.enqueue_for(1, 8, Lifetime::Own(SECOND)).unwrap();
    queue.enqueue_for(2, 8, Lifetime::Own(SECOND)).unwrap();
    add(&queue, 3..=CHUNK + 3); // so that the last chunk has no message with a ttl of its own
    assert_eq!(reader.read(), Ok(Some(0)));
    clock.advance(SECOND);
    assert_eq!(reader.seek(Start::Latest), Ok(()));
    assert_eq!(reader.read(), Ok(None));
    add(&queue, CHUNK + 4..=CHUNK + 4);
    let mut missed = 0;
    assert_eq!(reader.read_with(1, |delivery| missed = delivery.missed), Ok(1));
    assert_eq!(missed, 2);
    queue.check();
}

#[test]
fn expiry_leaves_a_lease_alone_that_has_passed_what_leaves() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let reader = consumer(&queue);
    add(&queue, 0..=9);
    clock.advance(SECOND);
    add(&queue, 10..=19);
    (0..15).for_each(|seq| assert_eq!(reader.read(), Ok(Some(seq))));
    reader.position().unwrap();
    assert_eq!((reader.read(), queue.leases()), (Ok(Some(15)), 1));
    clock.advance(9 * SECOND);
    assert_eq!((queue.force_expiration(), queue.leases()), (10, 1));
    assert_eq!(read_all(&reader), [16, 17, 18, 19]);
    assert_eq!(reader.missed(), Ok(0));
    queue.check();
}

#[test]
fn a_ttl_of_its_own_holds_for_a_reader_with_a_lease() {
    let (queue, reader, clock) = leased(Options::default(), 3);
    queue.enqueue_for(3, 8, Lifetime::Own(SECOND)).unwrap();
    add(&queue, 4..=4);
    assert_eq!((reader.read(), queue.leases()), (Ok(Some(1)), 0), "its chunk has no leases");
    clock.advance(SECOND);
    assert_eq!(read_all(&reader), [2, 4]);
    assert_eq!((reader.missed(), queue.stats().expired), (Ok(1), 1));
    queue.check();
}

#[test]
fn changes_reach_a_reader_with_a_lease_at_once() {
    let (queue, reader, _) = leased(Options::default(), 20);
    assert_eq!((reader.seek(Start::Seq(10)), reader.read()), (Ok(()), Ok(Some(10))));
    assert_eq!((queue.leases(), reader.seek(Start::Seq(4)), reader.read()), (1, Ok(()), Ok(Some(4))));
    queue.close(false);
    assert_eq!(read_all(&reader), (5..20).collect::<Vec<_>>());
    assert_eq!(reader.read(), Err(Error::Closed));

    let (queue, reader, _) = leased(Options::default(), 20);
    queue.close(true);
    assert_eq!((reader.read(), reader.missed(), queue.memory_usage()), (Err(Error::Closed), Ok(0), 0));

    let (queue, reader, _) = leased(Options::default(), 20);
    let handle = queue.consumer(reader.id()).unwrap();
    assert_eq!((handle.read(), reader.read()), (Ok(Some(1)), Ok(Some(2))), "handles share a lease");
    assert!(reader.close());
    assert_eq!((handle.read(), queue.leases()), (Err(Error::ConsumerClosed), 0));
    assert_eq!(queue.len(), 20);
    queue.check();
}

#[test]
fn whoever_waits_for_all_to_be_read_does_not_wait_for_a_lease() {
    let (queue, reader, _) = leased(Options::default(), 3);
    assert!(!queue.join(Some(Duration::ZERO)));
    assert_eq!(read_all(&reader), [1, 2]);
    assert!(queue.join(Some(Duration::ZERO)));
}

#[test]
fn only_readers_that_nothing_follows_from_have_leases() {
    let (queue, _) = manual(Options { retention: Retention::Interest, ..Options::default() });
    let reader = consumer(&queue);
    add(&queue, 0..=3);
    assert_eq!((reader.read(), queue.leases(), queue.len()), (Ok(Some(0)), 0, 3));

    let (queue, _) = manual(Options::default());
    let group = queue.add_group("group", Start::Earliest, &GroupOptions::default(), None).unwrap();
    let member = group.add_consumer(None).unwrap();
    let first = consumer(&queue);
    let second = queue
        .add_consumer_with(&ConsumerOptions { after: vec![first.predecessor()], ..ConsumerOptions::default() })
        .unwrap();
    add(&queue, 0..=3);
    assert_eq!((member.read(), queue.leases()), (Ok(Some(0)), 0));
    assert_eq!((second.read(), first.read(), second.read(), queue.leases()), (Ok(None), Ok(Some(0)), Ok(Some(0)), 0));

    let (queue, reader, _) = leased(Options::default(), 5);
    let after = queue
        .add_consumer_with(&ConsumerOptions { after: vec![reader.predecessor()], ..ConsumerOptions::default() })
        .unwrap();
    assert_eq!((reader.read(), queue.leases()), (Ok(Some(1)), 0));
    assert_eq!((after.read(), after.read(), after.read()), (Ok(Some(0)), Ok(Some(1)), Ok(None)));
    queue.check();
}

#[test]
fn a_thousand_consumers_read_everything_and_hold_few_leases() {
    let (queue, _) = manual(Options::default());
    add(&queue, 0..=29);
    let readers: Vec<_> = (0..1000).map(|_| consumer(&queue)).collect();
    for seq in 0..29 {
        readers.iter().for_each(|reader| assert_eq!(reader.read(), Ok(Some(seq))));
        assert!(queue.leases() <= 64);
    }
    assert!(queue.consumer_stats().iter().all(|stats| (stats.read, stats.unread, stats.missed) == (29, 1, 0)));
    queue.check();
}

#[test]
fn records_of_reads_with_a_lease_stay_within_their_limit() {
    let (queue, clock) = manual(Options { max_bytes: 100_000, ..Options::default() });
    let readers: Vec<_> = (0..40).map(|_| consumer(&queue)).collect();
    add(&queue, 0..=1999);
    for n in 1..2000 {
        clock.advance(SECOND / 500);
        readers.iter().for_each(|reader| assert!(reader.read().unwrap().is_some()));
        assert!(queue.leases() > 0, "{n}");
    }
    let stats = queue.stats();
    assert!(stats.audit_bytes <= 100_000 && !stats.is_audit_complete, "{stats:?}");
    queue.check();
}

#[test]
fn payloads_go_when_they_leave_though_a_reader_has_a_lease() {
    let queue =
        Queue::<Arc<()>>::new(&Options { max_items: Some(10), overflow: Overflow::DropOldest, ..Options::default() });
    let payload = Arc::new(());
    let reader = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    for _ in 0..10 {
        queue.enqueue(payload.clone(), 8).unwrap();
    }
    drop(reader.read());
    assert_eq!((queue.leases(), Arc::strong_count(&payload)), (1, 11));
    for _ in 0..3 * CHUNK {
        queue.enqueue(payload.clone(), 8).unwrap();
        assert_eq!(Arc::strong_count(&payload), 11);
        drop(reader.read());
    }
    drop(queue);
    drop(reader);
    assert_eq!(Arc::strong_count(&payload), 1);
}

/// Panics while it is cloned, if it is armed.
#[derive(Debug)]
struct Hostile(Arc<AtomicBool>);

impl Clone for Hostile {
    fn clone(&self) -> Self {
        assert!(!self.0.load(Ordering::SeqCst), "no clone");
        Hostile(self.0.clone())
    }
}

#[test]
fn a_payload_that_panics_in_clone_leaves_a_lease_as_it_should_be() {
    let queue = Queue::<Hostile>::new(&Options::default());
    let panics = Arc::new(AtomicBool::new(false));
    let reader = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    for _ in 0..10 {
        queue.enqueue(Hostile(panics.clone()), 8).unwrap();
    }
    assert!(reader.read().unwrap().is_some());
    panics.store(true, Ordering::SeqCst);
    assert_eq!(queue.leases(), 1);
    assert!(catch_unwind(AssertUnwindSafe(|| reader.read())).is_err());
    let batch = || reader.read_fitting_with(5, u64::MAX, false, |delivery| drop(delivery.payload.clone()));
    assert!(catch_unwind(AssertUnwindSafe(batch)).is_err());
    panics.store(false, Ordering::SeqCst);
    assert_eq!((reader.position(), reader.history(9).unwrap().len()), (Ok(3), 3), "they count as read");
    assert!(reader.read().unwrap().is_some());
    queue.check();

    let (queue, reader, _) = leased(Options { audit: false, ..Options::default() }, 10);
    let batch = || reader.read_fitting_with(5, u64::MAX, false, |delivery| assert!(delivery.seq < 3));
    assert!(catch_unwind(AssertUnwindSafe(batch)).is_err());
    assert_eq!((queue.leases(), reader.position()), (1, Ok(4)));
    queue.check();
}

#[test]
fn a_message_is_read_no_earlier_than_it_was_enqueued() {
    let (queue, reader, clock) = leased(Options::default(), 2);
    assert_eq!(reader.read(), Ok(Some(1)));
    clock.advance(SECOND);
    let at = queue.now().wall;
    add(&queue, 2..=3);
    clock.set_wall(at - SECOND / 2);
    assert_eq!(queue.leases(), 1);
    let mut created = 0;
    reader.read_fitting_with(1, u64::MAX, false, |delivery| created = delivery.created).unwrap();
    assert_eq!(reader.read(), Ok(Some(3)));
    assert_eq!(created, at);
    assert_eq!(reader.history(2), Ok(vec![(2, at / 1000), (3, at / 1000)]));
}

#[test]
fn readers_and_producers_at_the_same_time_agree() {
    let queue =
        Queue::<u64>::new(&Options { max_items: Some(500), overflow: Overflow::DropOldest, ..Options::default() });
    const COUNT: u64 = 60_000;
    std::thread::scope(|scope| {
        let readers = [(); 3].map(|()| {
            let reader = consumer(&queue);
            scope.spawn(move || {
                let (mut next, mut missed) = (0, 0);
                while next < COUNT {
                    let limit = 1 + (next % 70) as usize;
                    let visit = |delivery: mpmc_queue::Delivery<'_, u64>| {
                        assert_eq!((*delivery.payload, delivery.seq), (next + delivery.missed, next + delivery.missed));
                        missed += delivery.missed;
                        next = delivery.seq + 1;
                    };
                    reader.read_fitting_with(limit, u64::MAX, false, visit).unwrap();
                }
                let stats = reader.stats().unwrap();
                assert_eq!((stats.missed, stats.read, stats.unread), (missed, COUNT - missed, 0));
            })
        });
        scope.spawn(|| (0..COUNT).for_each(|seq| assert_eq!(queue.enqueue(seq, 8), Ok(seq))));
        while readers.iter().any(|reader| !reader.is_finished()) {
            queue.check();
            std::thread::yield_now();
        }
    });
    queue.check();
}

#[test]
fn nothing_comes_after_a_message_that_is_larger_than_a_batch() {
    let (queue, _) = manual(Options { max_bytes: u64::MAX, ..Options::default() });
    let reader = consumer(&queue);
    for start in [0, CHUNK - 1] {
        // In the middle of a chunk, and at its end.
        (queue.stats().next_seq..start).for_each(|seq| assert_eq!(queue.enqueue(seq, 0), Ok(seq)));
        for size in [0, 20, 0, 0] {
            queue.enqueue(0, size).unwrap();
        }
        while reader.position().unwrap() < start {
            assert!(reader.read().unwrap().is_some());
        }
        assert_eq!(reader.read_with(1, |_| ()), Ok(1));
        let mut sizes = Vec::new();
        let read = reader.read_fitting_with(5, 10, false, |delivery| sizes.push(delivery.size));
        assert_eq!((read, sizes), (Ok(1), vec![20]));
        let mut sizes = Vec::new();
        let read = reader.read_fitting_with(5, 10, false, |delivery| sizes.push(delivery.size));
        assert_eq!((read, sizes), (Ok(2), vec![0, 0]));
    }
}

#[test]
fn a_large_batch_drops_as_many_as_it_needs_and_no_more() {
    let max = 300 * CHUNK;
    let options =
        Options { max_items: Some(max), max_bytes: u64::MAX, overflow: Overflow::DropOldest, ..Options::default() };
    let (queue, _) = manual(options);
    let reader = consumer(&queue);
    batch(&queue, 0..=max - 8);
    assert_eq!((reader.read(), queue.leases()), (Ok(Some(0)), 1));
    let large = 290 * CHUNK + 321; // more than can leave in one hold of the lock
    batch(&queue, max - 7..=max - 8 + large);
    assert_eq!((queue.len(), queue.stats().dropped), (max, large - 7));
    assert_eq!(reader.missed(), Ok(large - 8));
    assert_eq!(reader.read(), Ok(Some(large - 7)));
    let refused = queue.enqueue_batch((0..=max).map(|seq| (seq, 8)).collect());
    assert!(matches!(refused, Err(Error::Full(full)) if full.is_hopeless()), "it could never fit");
    assert_eq!((queue.len(), queue.stats().dropped), (max, large - 7), "and so nothing left for it");
    queue.check();
}

#[test]
fn a_lease_delivers_up_to_the_last_moment_and_not_after_it() {
    for ttl in [SECOND / 2, 60 * SECOND] {
        let (_, reader, clock) = leased(Options { ttl: Some(ttl), ..Options::default() }, 10);
        clock.advance(ttl - 1);
        assert_eq!(reader.read(), Ok(Some(1)));
        clock.advance(1);
        assert_eq!(reader.read(), Ok(None));
        assert_eq!(reader.stats().unwrap().missed, 8);
    }
}

#[test]
fn a_message_without_a_time_of_its_own_has_the_last_one_read_unless_it_may_expire() {
    let untimed = Options { created_times: false, ttl: None, ..Options::default() };
    let (queue, clock) = manual(untimed.clone());
    let began = queue.now().wall;
    clock.advance(SECOND);
    assert_eq!(queue.enqueue(0, 8), Ok(0));
    assert_eq!(consumer(&queue).peek_with(|delivery| delivery.created), Ok(Some(began)));
    let (queue, clock) = manual(Options { ttl: Some(SECOND), ..untimed });
    for seq in 0..2 {
        clock.advance(SECOND / 2);
        assert_eq!(queue.enqueue(seq, 8), Ok(seq));
        clock.advance(SECOND - 1);
        assert_eq!(queue.len(), 1);
        clock.advance(1);
        assert_eq!(queue.len(), 0);
    }
}
