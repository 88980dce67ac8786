//! The engine's guarantees, one rule in each test. The tests move the time.

mod driven;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mpmc_queue::{
    CHUNK_SIZE, Error, GroupOptions, Lifetime, Limit, MESSAGE_OVERHEAD, MissedPolicy, Options, Overflow, Queue,
    Retention, Start,
};

use driven::{SECOND, manual};

fn queue() -> Queue<u64> {
    manual(Options::default()).0
}

fn consumer(queue: &Queue<u64>) -> mpmc_queue::Consumer<u64> {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

fn read_all(consumer: &mpmc_queue::Consumer<u64>) -> Vec<u64> {
    std::iter::from_fn(|| consumer.read().unwrap_or(None)).collect()
}

#[test]
fn every_consumer_reads_everything_in_order() {
    let queue = queue();
    let (a, b) = (consumer(&queue), consumer(&queue));
    for n in 0..2500 {
        assert_eq!(queue.enqueue(n, 8), Ok(n));
        if n % 3 == 0 {
            assert_eq!(a.read(), Ok(Some(n / 3)));
        }
    }
    queue.check();
    assert_eq!(read_all(&b), (0..2500).collect::<Vec<_>>());
    assert_eq!(read_all(&a).last(), Some(&2499));
}

#[test]
fn each_cursor_misses_exactly_the_expired_messages_it_had_not_read() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let (early, late) = (consumer(&queue), consumer(&queue));
    for n in 0..CHUNK_SIZE as u64 + 500 {
        queue.enqueue(n, 1).unwrap();
    }
    (0..7).for_each(|n| assert_eq!(early.read(), Ok(Some(n))));
    clock.advance(5 * SECOND);
    queue.enqueue(9999, 1).unwrap();
    clock.advance(5 * SECOND);
    assert_eq!(early.missed(), Ok(CHUNK_SIZE as u64 + 500 - 7));
    assert_eq!(late.missed(), Ok(CHUNK_SIZE as u64 + 500));
    assert_eq!(late.take_missed(), Ok(Some(CHUNK_SIZE as u64 + 500)));
    assert_eq!(late.take_missed(), Ok(None));
    assert_eq!((early.read(), late.read()), (Ok(Some(9999)), Ok(Some(9999))));
    queue.check();
    assert_eq!(queue.len(), 1);
    clock.advance(5 * SECOND);
    assert_eq!((queue.len(), queue.memory_usage()), (0, 0));
    queue.check();
}

#[test]
fn expired_messages_are_never_delivered_unless_expiration_is_off() {
    let (queue, clock) = manual(Options { ttl: Some(SECOND), ..Options::default() });
    let consumer = consumer(&queue);
    queue.enqueue(1, 1).unwrap();
    queue.set_expires(false);
    clock.advance(5 * SECOND);
    assert_eq!((consumer.unread(), queue.force_expiration()), (Ok(1), 0));
    queue.set_expires(true);
    assert_eq!(consumer.read(), Ok(None));
    assert_eq!(queue.stats().expired, 1);
}

#[test]
fn a_change_of_ttl_applies_to_held_messages() {
    let (queue, clock) = manual(Options::default());
    queue.enqueue(1, 1).unwrap();
    clock.advance(10 * SECOND);
    queue.enqueue(2, 1).unwrap();
    queue.set_ttl(Some(5 * SECOND));
    assert_eq!(queue.len(), 1);
    queue.set_ttl(None);
    clock.advance(1000 * SECOND);
    assert_eq!(queue.len(), 1);
}

#[test]
fn the_limits_are_hard_and_their_errors_carry_the_figures() {
    let (queue, _) =
        manual(Options { max_bytes: 3 * (MESSAGE_OVERHEAD + 10), max_items: Some(5), ..Options::default() });
    for n in 0..3 {
        queue.enqueue(n, 10).unwrap();
    }
    let Err(Error::Full(full)) = queue.enqueue(3, 10) else { panic!() };
    assert_eq!((full.limit, full.current, full.max), (Limit::Memory, queue.memory_usage(), queue.max_bytes()));
    assert_eq!(full.needed, MESSAGE_OVERHEAD + 10);
    queue.set_max_bytes(1 << 20);
    assert_eq!(queue.enqueue_batch(vec![(3, 1), (4, 1)]), Ok(3));
    let Err(Error::Full(full)) = queue.enqueue_batch(vec![(5, 1), (6, 1)]) else { panic!() };
    assert_eq!((full.limit, full.current, full.max, full.needed), (Limit::Items, 5, 5, 2));
    assert_eq!((queue.len(), queue.stats().rejected), (5, 3));
}

#[test]
fn drop_oldest_makes_just_enough_room() {
    let (queue, _) = manual(Options { max_items: Some(3), overflow: Overflow::DropOldest, ..Options::default() });
    let consumer = consumer(&queue);
    (0..10).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    assert_eq!((queue.len(), queue.stats().dropped, consumer.missed()), (3, 7, Ok(7)));
    assert!(queue.enqueue_batch((0..4).map(|n| (n, 1)).collect()).is_err());
    assert_eq!(read_all(&consumer), [7, 8, 9]);
    queue.check();
}

#[test]
fn with_interest_removing_the_slowest_consumer_frees_all_it_had_not_read_however_much() {
    let (queue, _) =
        manual(Options { ttl: None, retention: Retention::Interest, max_bytes: u64::MAX, ..Options::default() });
    let [slow, fast] = [(); 2].map(|()| queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap());
    queue.enqueue_batch((0..300_000).map(|n| (n, 1)).collect()).unwrap();
    fast.seek(Start::Seq(299_999)).unwrap();
    slow.close();
    assert_eq!((queue.len(), queue.stats().first_seq), (1, 299_999));
    queue.check();
}

#[test]
fn a_batch_drops_no_more_than_it_needs_whole_chunks_or_parts() {
    for (held, batch) in [(2_500, 1_500), (2_500, 999), (3_000, 1_000), (3_000, 1_001), (3_000, 3_000), (500, 1)] {
        let (queue, _) =
            manual(Options { overflow: Overflow::DropOldest, max_items: Some(held), ..Options::default() });
        queue.enqueue_batch((0..held).map(|n| (n, 1)).collect()).unwrap();
        queue.enqueue_batch((0..batch).map(|n| (n, 1)).collect()).unwrap();
        let stats = queue.stats();
        assert_eq!((stats.dropped, stats.first_seq, stats.total_items), (batch, batch, held));
        queue.check();
    }
}

#[test]
fn with_interest_a_message_leaves_when_all_have_read_it() {
    let (queue, _) = manual(Options { retention: Retention::Interest, ..Options::default() });
    (0..3).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    let (a, b) = (consumer(&queue), consumer(&queue));
    assert_eq!(read_all(&a), [0, 1, 2]);
    assert_eq!(queue.len(), 3);
    b.read().unwrap();
    assert_eq!(queue.len(), 2);
    assert!(b.close());
    assert_eq!((queue.len(), queue.memory_usage()), (0, 0));
    assert_eq!(a.missed(), Ok(0));
}

#[test]
fn seeking_backwards_counts_nothing_as_missed_and_forwards_counts_as_read() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let consumer = consumer(&queue);
    (0..5).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    clock.advance(5 * SECOND);
    (5..10).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    assert_eq!(read_all(&consumer).len(), 10);
    clock.advance(5 * SECOND);
    consumer.seek(Start::Seq(0)).unwrap();
    assert_eq!((consumer.position(), consumer.missed()), (Ok(5), Ok(0)));
    consumer.seek(Start::Seq(8)).unwrap();
    assert_eq!((consumer.unread(), consumer.stats().unwrap().read), (Ok(2), 13));
    assert_eq!(consumer.seek(Start::Seq(11)), Err(Error::BeyondEnd(10)));
}

#[test]
fn a_gap_is_told_once_where_asked_for() {
    let (queue, clock) = manual(Options { ttl: Some(SECOND), ..Options::default() });
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Tell).unwrap();
    queue.enqueue_batch((0..4).map(|n| (n, 1)).collect()).unwrap();
    clock.advance(2 * SECOND);
    queue.enqueue(4, 1).unwrap();
    assert_eq!(consumer.read(), Err(Error::Missed(4)));
    assert_eq!(consumer.read(), Ok(Some(4)));
}

#[test]
fn closing_lets_consumers_drain_unless_immediate() {
    let (a, b) = (queue(), queue());
    for queue in [&a, &b] {
        queue.enqueue(1, 1).unwrap();
    }
    let (of_a, of_b) = (consumer(&a), consumer(&b));
    a.close(false);
    b.close(true);
    assert_eq!(a.enqueue(2, 1), Err(Error::Closed));
    assert_eq!((of_a.read(), of_a.read()), (Ok(Some(1)), Err(Error::Closed)));
    assert_eq!((of_b.read(), of_b.missed(), b.memory_usage()), (Err(Error::Closed), Ok(0), 0));
}

#[test]
fn a_refusal_behind_others_names_their_limit_with_figures_that_do_not_fit() {
    let (queue, _) = manual(Options { max_items: Some(5), ..Options::default() });
    for n in 0..3 {
        queue.enqueue(n, 1).unwrap();
    }
    let ahead = thread::spawn({
        let queue = queue.clone();
        move || queue.enqueue_within(3, 1 << 19, None)
    });
    assert_eq!(ahead.join().unwrap(), Ok(3), "it fits");
    queue.set_max_bytes(1 << 20);
    let ahead = thread::spawn({
        let queue = queue.clone();
        move || queue.enqueue_within(4, 1 << 19, None)
    });
    while queue.waiting_producers() == 0 {
        thread::yield_now();
    }
    // Alone it would fit, but then the waiting producer would wait longer.
    let Err(Error::Full(full)) = queue.enqueue(9, 1) else { panic!("it went in ahead of who waits") };
    assert_eq!(full.limit, Limit::Memory);
    assert_eq!((full.current, full.max), (queue.memory_usage(), 1 << 20));
    assert_eq!((full.needed, full.ahead), ((1 << 19) + 1 + 2 * MESSAGE_OVERHEAD, (1 << 19) + MESSAGE_OVERHEAD));
    assert!(full.current + full.needed > full.max && !full.is_hopeless());
    let behind = queue.enqueue_within(9, 1, Some(Duration::from_millis(20)));
    assert!(
        matches!(behind, Err(Error::Full(full)) if full.ahead > 0),
        "it had a place in line, behind the other: {behind:?}"
    );
    assert_eq!(queue.enqueue_batch(Vec::new()), Ok(4), "nothing needs no room");
    queue.set_max_bytes(1 << 21);
    assert_eq!(ahead.join().unwrap(), Ok(4));
}

#[test]
fn a_gap_between_two_parts_of_a_call_is_told_by_the_next_call() {
    let (queue, clock) = manual(Options::default());
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Tell).unwrap();
    queue.enqueue(0, 1).unwrap();
    queue.enqueue_for(1, 1, Lifetime::Own(SECOND)).unwrap();
    queue.enqueue(2, 1).unwrap();
    clock.advance(SECOND);
    assert_eq!(consumer.read_with(1, |_| ()), Ok(1));
    assert_eq!(consumer.read_fitting_with(9, u64::MAX, true, |_| ()), Ok(0), "the call returns what it has");
    assert_eq!(consumer.read_with(9, |_| ()), Err(Error::Missed(1)));
    assert_eq!(consumer.read_with(9, |_| ()), Ok(1));
}

#[test]
fn payloads_are_dropped_once_and_not_under_the_lock() {
    struct Counted(Arc<AtomicUsize>, Option<Queue<Counted>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            if let Some(queue) = &self.1 {
                let _ = queue.len(); // would deadlock under the lock
            }
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let queue = Queue::<Counted>::new(&Options { ttl: None, max_bytes: 1 << 30, ..Options::default() });
    for _ in 0..10 * CHUNK_SIZE + 7 {
        queue.enqueue(Counted(drops.clone(), Some(queue.clone())), 1).unwrap();
    }
    queue.close(true);
    assert_eq!(drops.load(Ordering::SeqCst), 10 * CHUNK_SIZE + 7);
}

#[test]
fn messages_due_at_an_immediate_close_have_expired_and_are_missed() {
    let (queue, clock) = manual(Options { ttl: Some(SECOND), ..Options::default() });
    let consumer = consumer(&queue);
    queue.enqueue(0, 1).unwrap();
    clock.advance(SECOND);
    queue.enqueue_for(1, 1, Lifetime::Forever).unwrap();
    queue.enqueue(2, 1).unwrap();
    clock.advance(SECOND);
    queue.close(true);
    assert_eq!((queue.stats().expired, queue.stats().total_items), (2, 0));
    let figures = consumer.stats().unwrap();
    assert_eq!((figures.missed, figures.unread, figures.read), (2, 0, 0));
}

#[test]
fn a_blocked_reader_wakes_for_a_message_a_close_and_its_time() {
    let queue = Queue::<u64>::new(&Options::default());
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    assert_eq!(consumer.read_within(Some(Duration::from_millis(5))), Ok(None));
    let reader = {
        let consumer = consumer.clone();
        thread::spawn(move || (consumer.read_within(None), consumer.read_within(None)))
    };
    queue.enqueue(7, 1).unwrap();
    while consumer.unread() != Ok(0) {
        thread::yield_now();
    }
    queue.close(false);
    assert_eq!(reader.join().unwrap(), (Ok(Some(7)), Err(Error::Closed)));
}

#[test]
fn a_blocked_producer_wakes_for_space() {
    let queue = Queue::<u64>::new(&Options { max_items: Some(1), ttl: None, ..Options::default() });
    queue.enqueue(1, 1).unwrap();
    assert!(matches!(queue.enqueue_within(2, 1, Some(Duration::from_millis(5))), Err(Error::Full(_))));
    let producer = {
        let queue = queue.clone();
        thread::spawn(move || queue.enqueue_within(2, 1, None))
    };
    queue.set_max_items(Some(2));
    assert_eq!(producer.join().unwrap(), Ok(1));
    assert_eq!(queue.stats().rejected, 1);
}

#[test]
fn the_expiration_thread_comes_by_itself() {
    let queue = Queue::<u64>::new(&Options { ttl: Some(20_000_000), ..Options::default() });
    let dropped = {
        struct Last(std::sync::mpsc::Sender<()>);
        impl Drop for Last {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let queue = Queue::<Last>::new(&Options { ttl: Some(20_000_000), ..Options::default() });
        queue.enqueue(Last(sender), 1).unwrap();
        let dropped = receiver.recv_timeout(Duration::from_secs(10));
        assert_eq!(queue.len(), 0);
        dropped
    };
    assert_eq!(dropped, Ok(()));
    drop(queue);
}

#[test]
fn a_join_ends_when_everyone_has_read_everything() {
    let queue = Queue::<u64>::new(&Options::default());
    assert!(queue.join(None));
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    queue.enqueue(1, 1).unwrap();
    assert!(!queue.join(Some(Duration::from_millis(5))));
    let joiner = {
        let queue = queue.clone();
        thread::spawn(move || queue.join(None))
    };
    consumer.read().unwrap();
    assert!(joiner.join().unwrap());
}

#[test]
fn sizes_that_no_number_can_hold_together_are_refused() {
    let (queue, _) = manual(Options { max_bytes: u64::MAX, ..Options::default() });
    assert!(matches!(queue.enqueue(0, u64::MAX), Err(Error::Full(full)) if full.is_hopeless()));
    assert_eq!(queue.enqueue(0, u64::MAX / 3), Ok(0));
    assert!(matches!(queue.enqueue(1, u64::MAX / 3), Err(Error::Full(full)) if !full.is_hopeless()));
    assert!(queue.enqueue_batch(vec![(1, u64::MAX), (2, 2)]).is_err());
    assert_eq!((queue.len(), queue.memory_usage()), (1, u64::MAX / 3 + MESSAGE_OVERHEAD));
    queue.set_max_bytes(u64::MAX);
    assert!(queue.enqueue(1, u64::MAX - MESSAGE_OVERHEAD).is_err());
    queue.check();
}

#[test]
fn sizes_that_come_to_more_than_a_number_holds_over_time_stay_exact() {
    const HUGE: u64 = 1 << 62;
    let (queue, _) = manual(Options {
        max_bytes: HUGE + 2 * MESSAGE_OVERHEAD + 100,
        max_items: Some(2),
        overflow: Overflow::DropOldest,
        ..Options::default()
    });
    let consumer = consumer(&queue);
    for n in 0..10 {
        assert_eq!(queue.enqueue(2 * n, HUGE), Ok(2 * n));
        assert_eq!(queue.enqueue_batch(vec![(2 * n + 1, 7)]), Ok(2 * n + 1));
        queue.check();
        assert_eq!(queue.memory_usage(), HUGE + 7 + 2 * MESSAGE_OVERHEAD);
        assert_eq!(consumer.stats().unwrap().unread_bytes, HUGE + 7);
    }
    queue.close(true);
    assert_eq!(queue.memory_usage(), 0);
}

/// Number of messages that fit into one chunk.
const CHUNK: u64 = CHUNK_SIZE as u64;

#[test]
fn a_message_with_a_longer_ttl_stays_when_its_neighbours_expire() {
    let (queue, clock) = manual(Options { ttl: Some(10), max_bytes: 1 << 30, ..Options::default() });
    let consumer = consumer(&queue);
    for n in 0..3 * CHUNK {
        let lifetime = if n == CHUNK + 7 { Lifetime::Forever } else { Lifetime::Queue };
        assert_eq!(queue.enqueue_for(n, 1, lifetime), Ok(n));
    }
    clock.advance(10);
    assert_eq!((queue.len(), queue.memory_usage()), (1, 1 + MESSAGE_OVERHEAD));
    queue.check();
    assert_eq!((consumer.missed(), read_all(&consumer)), (Ok(3 * CHUNK - 1), vec![CHUNK + 7]));
}

#[test]
fn only_expired_messages_leave_a_chunk() {
    let (queue, clock) = manual(Options { ttl: Some(10), ..Options::default() });
    for n in 0..CHUNK {
        clock.advance(u64::from(n == CHUNK / 2));
        assert_eq!(queue.enqueue(n, 1), Ok(n));
    }
    clock.advance(9);
    assert_eq!((queue.len(), queue.stats().first_seq), (CHUNK / 2, CHUNK / 2));
    clock.advance(1);
    assert_eq!((queue.len(), queue.memory_usage()), (0, 0));
    queue.check();
}

#[test]
fn an_emptied_full_chunk_is_unlinked_even_if_it_is_the_last() {
    let (queue, clock) = manual(Options { ttl: None, max_bytes: 1 << 30, ..Options::default() });
    let consumer = consumer(&queue);
    (0..CHUNK).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    (CHUNK..2 * CHUNK).for_each(|n| assert_eq!(queue.enqueue_for(n, 1, Lifetime::Own(5)), Ok(n)));
    clock.advance(5);
    assert_eq!(queue.len(), CHUNK);
    queue.check();
    assert_eq!(queue.enqueue(2 * CHUNK, 1), Ok(2 * CHUNK));
    queue.check();
    let expected: Vec<u64> = (0..CHUNK).chain([2 * CHUNK]).collect();
    assert_eq!(read_all(&consumer), expected);
    assert_eq!(consumer.missed(), Ok(CHUNK));
}

#[test]
fn positions_at_the_border_of_a_chunk_are_exact() {
    let (queue, _) = manual(Options { ttl: None, max_bytes: 1 << 30, ..Options::default() });
    let batches = [CHUNK - 1, 1, CHUNK, 1, 2 * CHUNK - 1];
    for count in batches {
        let next = queue.stats().next_seq;
        assert_eq!(queue.enqueue_batch((next..next + count).map(|n| (n, n)).collect()), Ok(next));
        queue.check();
    }
    let end = queue.stats().next_seq;
    for start in [0, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 3 * CHUNK, end - 1, end] {
        let consumer = queue.add_consumer(None, Start::Seq(start), MissedPolicy::Skip).unwrap();
        let stats = consumer.stats().unwrap();
        assert_eq!((stats.unread, stats.unread_bytes), (end - start, (start..end).sum()));
        assert_eq!((consumer.position(), consumer.read()), (Ok(start), Ok((start < end).then_some(start))));
    }
}

#[test]
fn dropping_one_for_one_keeps_the_counts_exact() {
    let (queue, clock) = manual(Options {
        max_items: Some(CHUNK + 3),
        max_bytes: 1 << 30,
        overflow: Overflow::DropOldest,
        ..Options::default()
    });
    let consumer = consumer(&queue);
    // The first two have lifetimes of their own. One never ends, and the other has not ended when the message is
    // dropped.
    queue.enqueue_for(0, 10, Lifetime::Forever).unwrap();
    queue.enqueue_for(1, 20, Lifetime::Own(SECOND)).unwrap();
    for n in 2..3 * CHUNK {
        assert_eq!(queue.enqueue(n, n % 7), Ok(n));
        queue.check();
        let held = queue.stats().first_seq..n + 1;
        let size = |n: u64| [10, 20].get(n as usize).copied().unwrap_or(n % 7) + MESSAGE_OVERHEAD;
        assert_eq!(queue.memory_usage(), held.map(size).sum::<u64>());
    }
    let gone = 2 * CHUNK - 3;
    assert_eq!((queue.stats().dropped, consumer.missed(), consumer.read()), (gone, Ok(gone), Ok(Some(gone))));
    clock.advance(SECOND);
    assert_eq!((queue.stats().expired, queue.len()), (0, CHUNK + 3));
}

#[test]
fn a_forever_message_makes_room_like_any_other() {
    let (queue, _) = manual(Options { max_items: Some(2), overflow: Overflow::DropOldest, ..Options::default() });
    queue.enqueue_for(0, 1, Lifetime::Forever).unwrap();
    (1..4).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    queue.check();
    assert_eq!((queue.len(), queue.stats().first_seq), (2, 2));
}

#[test]
fn a_batch_ends_before_a_gap_that_has_to_be_told() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Tell).unwrap();
    for n in 0..5 {
        let lifetime = if (1..3).contains(&n) { Lifetime::Own(5) } else { Lifetime::Forever };
        queue.enqueue_for(n, 1, lifetime).unwrap();
    }
    clock.advance(5);
    let read = |limit| {
        let mut seqs = Vec::new();
        consumer.read_with(limit, |delivery| seqs.push((delivery.seq, delivery.missed))).map(|_| seqs)
    };
    assert_eq!(read(9), Ok(vec![(0, 0)]));
    assert_eq!(read(9), Err(Error::Missed(2)));
    assert_eq!(read(9), Ok(vec![(3, 2), (4, 0)]));
}

#[test]
fn seeking_forward_over_a_gap_counts_each_message_once() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    let consumer = queue.add_consumer(None, Start::Earliest, MissedPolicy::Tell).unwrap();
    for n in 0..6 {
        queue.enqueue_for(n, 1, if n < 2 { Lifetime::Own(5) } else { Lifetime::Forever }).unwrap();
    }
    clock.advance(5);
    consumer.seek(Start::Seq(4)).unwrap();
    let stats = consumer.stats().unwrap();
    assert_eq!((stats.read, stats.missed, stats.unread), (2, 2, 2));
    assert_eq!(consumer.read(), Err(Error::Missed(2)));
    assert_eq!(read_all(&consumer), [4, 5]);
}

#[test]
fn messages_removed_before_a_consumer_was_added_are_not_missed() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    for n in 0..6 {
        queue.enqueue_for(n, 1, Lifetime::Own(if n == 2 { 5 } else { 10 + n })).unwrap();
    }
    clock.advance(5);
    let consumer = consumer(&queue);
    assert_eq!((consumer.missed(), consumer.unread()), (Ok(0), Ok(5)));
    clock.advance(6); // 0 and 1 are missed
    assert_eq!(consumer.missed(), Ok(2));
    assert_eq!(read_all(&consumer), [3, 4, 5]);
    assert_eq!(consumer.missed(), Ok(2));
}

#[test]
fn messages_missed_before_a_discard_remain_missed() {
    let (queue, clock) = manual(Options { ttl: Some(10), ..Options::default() });
    let consumer = consumer(&queue);
    (0..3).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    clock.advance(10);
    assert_eq!(queue.enqueue(3, 1), Ok(3));
    queue.close(true);
    assert_eq!((consumer.missed(), consumer.unread()), (Ok(3), Ok(0)));
}

#[test]
fn dropping_before_a_gap_moves_the_head_behind_the_gap() {
    let (queue, clock) = manual(Options { max_items: Some(3), overflow: Overflow::DropOldest, ..Options::default() });
    for n in 0..3 {
        queue.enqueue_for(n, 1, if n == 1 { Lifetime::Own(5) } else { Lifetime::Queue }).unwrap();
    }
    clock.advance(5);
    queue.enqueue_batch(vec![(3, 1)]).unwrap();
    assert_eq!(queue.enqueue(4, 1), Ok(4));
    queue.check();
    assert_eq!((queue.len(), queue.stats().first_seq), (3, 2));
}

#[test]
fn a_position_by_time_is_the_first_message_of_that_time() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    let start = queue.now().wall;
    for n in 0..6 {
        queue.enqueue(n, 1).unwrap();
        clock.advance(n % 2); // two of each time
    }
    for (wall, seq) in [(start - 1, 0), (start, 0), (start + 1, 2), (start + 2, 4), (start + 3, 6)] {
        let consumer = queue.add_consumer(None, Start::Time(wall), MissedPolicy::Skip).unwrap();
        assert_eq!(consumer.position(), Ok(seq));
    }
}

#[test]
fn messages_removed_before_a_seek_back_are_not_missed() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    let consumer = consumer(&queue);
    for n in 0..6 {
        queue.enqueue_for(n, 1, if n == 2 || n == 4 { Lifetime::Own(5) } else { Lifetime::Forever }).unwrap();
    }
    (0..4).for_each(|n| assert_eq!(consumer.read(), Ok(Some(n))));
    clock.advance(5); // 2 was already read, 4 was not
    assert_eq!(consumer.missed(), Ok(1));
    consumer.seek(Start::Seq(1)).unwrap();
    assert_eq!((consumer.missed(), read_all(&consumer)), (Ok(1), vec![1, 3, 5]));
    assert_eq!((consumer.missed(), consumer.stats().unwrap().read), (Ok(1), 7));
}

#[test]
fn no_stamp_runs_backwards_with_the_wall_clock() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    let consumer = consumer(&queue);
    let start = queue.now().wall;
    for wall in [start, start + 5, start - 100, start + 7] {
        clock.set_wall(wall);
        queue.enqueue(0, 1).unwrap();
    }
    let mut stamps = Vec::new();
    consumer.read_with(9, |delivery| stamps.push(delivery.created)).unwrap();
    assert_eq!(stamps, [start, start + 5, start + 5, start + 7]);
}

#[test]
fn each_read_is_on_record_with_its_time_as_long_as_the_message_is_held() {
    let (queue, clock) = manual(Options { ttl: Some(SECOND), ..Options::default() });
    let (one_by_one, at_once) = (consumer(&queue), consumer(&queue));
    (0..4).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    let start = queue.now().wall / 1000;
    for n in 0..4 {
        clock.advance(1000);
        assert_eq!(one_by_one.read(), Ok(Some(n)));
    }
    assert_eq!(at_once.read_with(9, |_| ()), Ok(4));
    assert_eq!(one_by_one.history(9), Ok((0..4).map(|n| (n, start + n + 1)).collect()));
    assert_eq!(queue.readings(1), [(one_by_one.id(), start + 2), (at_once.id(), start + 4)]);
    clock.advance(SECOND);
    assert_eq!((one_by_one.history(9), queue.readings(1)), (Ok(vec![]), vec![]));
    assert_eq!(queue.stats().audit_bytes, 0);
}

#[test]
fn the_audit_trail_never_holds_more_than_the_queue_may() {
    let max_bytes = 100 * (8 + MESSAGE_OVERHEAD);
    let (queue, clock) = manual(Options { ttl: None, max_bytes, ..Options::default() });
    let consumers: Vec<_> = (0..300).map(|_| consumer(&queue)).collect();
    assert_eq!(queue.enqueue_batch((0..100).map(|n| (n, 8)).collect()), Ok(0));
    for round in 0..100 {
        for consumer in &consumers {
            assert_eq!(consumer.read(), Ok(Some(round)));
            clock.advance(10_000);
            assert!(queue.stats().audit_bytes <= max_bytes);
        }
    }
    assert!(!queue.stats().is_audit_complete);
    // The lost records are removed with their messages, so the trail is complete again.
    queue.set_ttl(Some(1));
    assert_eq!((queue.len(), queue.stats().audit_bytes), (0, 0));
    assert!(queue.stats().is_audit_complete);
}

#[test]
fn reads_within_a_millisecond_become_one_record_when_room_is_short_and_none_is_lost() {
    let max_bytes = 2_000 * (8 + MESSAGE_OVERHEAD);
    let (queue, clock) = manual(Options { ttl: None, max_bytes, ..Options::default() });
    let consumers: Vec<_> = (0..40).map(|_| consumer(&queue)).collect();
    assert_eq!(queue.enqueue_batch((0..2_000).map(|n| (n, 8)).collect()), Ok(0));
    for consumer in &consumers {
        while consumer.read().unwrap().is_some() {
            clock.advance(5_000); // 200 reads per millisecond
        }
    }
    let stats = queue.stats();
    assert!(stats.audit_bytes <= max_bytes && !stats.is_audit_complete);
    for consumer in &consumers {
        let history = consumer.history(usize::MAX).unwrap();
        assert_eq!(history.iter().map(|&(seq, _)| seq).collect::<Vec<_>>(), (0..2_000).collect::<Vec<_>>());
        assert!(history.is_sorted_by_key(|&(_, at)| at));
    }
}

#[test]
fn a_lowered_limit_holds_for_the_audit_trail_too() {
    let (queue, clock) = manual(Options { ttl: None, ..Options::default() });
    let reader = consumer(&queue);
    queue.enqueue_batch((0..5_000).map(|n| (n, 0)).collect()).unwrap();
    while reader.read().unwrap().is_some() {
        clock.advance(10_000_000);
    }
    assert!(queue.stats().audit_bytes > 10_000 && queue.stats().is_audit_complete);
    queue.set_max_bytes(10_000);
    assert!(queue.stats().audit_bytes <= 10_000 && !queue.stats().is_audit_complete);
}

#[test]
fn consumers_are_found_by_id_and_groups_by_name_after_many_came_and_went() {
    let (queue, _) = manual(Options::default());
    let all: Vec<_> = (0..50).map(|_| consumer(&queue)).collect();
    for gone in all.iter().step_by(3) {
        assert!(gone.close());
    }
    for (n, consumer) in all.iter().enumerate() {
        assert_eq!(queue.consumer(consumer.id()).is_some(), n % 3 != 0);
    }
    let add = |name: &str| queue.add_group(name, Start::Earliest, &GroupOptions::default(), None);
    let (one, _two) = (add("one").unwrap(), add("two").unwrap());
    let member = one.add_consumer(None).unwrap();
    assert!(one.close());
    assert!(queue.group("one").is_none() && queue.consumer(member.id()).is_none());
    assert!(queue.group("two").is_some() && add("two").is_err() && add("one").is_ok());
    queue.check();
}
