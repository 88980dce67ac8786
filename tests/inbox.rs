//! What is posted in the inbox is in the queue: one rule a test.

mod driven;

use std::sync::Arc;
use std::time::Duration;

use mpmc_queue::{
    CHUNK_SIZE, Consumer, Error, Lifetime, Limit, MESSAGE_OVERHEAD, ManualClock, MissedPolicy, Options, Overflow,
    Queue, Start,
};

use driven::{SECOND, manual};

/// A queue with a consumer, a message that has been read, and its inbox open.
fn open(options: Options) -> (Queue<u64>, Consumer<u64>, Arc<ManualClock>) {
    let (queue, clock) = manual(options);
    let reader = consumer(&queue);
    assert_eq!(queue.enqueue(0, 8), Ok(0));
    assert_eq!(reader.read(), Ok(Some(0)));
    assert!(queue.open_inbox());
    (queue, reader, clock)
}

fn consumer(queue: &Queue<u64>) -> Consumer<u64> {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

fn read_all(consumer: &Consumer<u64>) -> Vec<u64> {
    std::iter::from_fn(|| consumer.read().unwrap_or(None)).collect()
}

/// Enqueues these, each of which is its own seq.
fn post(queue: &Queue<u64>, seqs: std::ops::RangeInclusive<u64>) {
    seqs.for_each(|seq| assert_eq!(queue.enqueue(seq, 8), Ok(seq)));
}

#[test]
fn a_posted_message_counts_at_once() {
    let (queue, reader, _) = open(Options::default());
    post(&queue, 1..=3);
    let stats = queue.stats();
    assert_eq!((stats.total_items, stats.next_seq), (4, 4));
    assert_eq!(stats.memory_usage, 4 * (8 + MESSAGE_OVERHEAD));
    queue.open_inbox();
    post(&queue, 4..=5);
    assert_eq!((reader.unread(), reader.missed()), (Ok(5), Ok(0)));
    queue.open_inbox();
    post(&queue, 6..=6);
    assert_eq!(reader.seek(Start::Seq(6)), Ok(()));
    assert_eq!(reader.peek_with(|delivery| *delivery.payload), Ok(Some(6)));
    queue.check();
}

#[test]
fn readers_go_on_from_the_log_to_the_inbox() {
    let (queue, reader, _) = open(Options::default());
    let other = consumer(&queue);
    queue.open_inbox();
    for n in 1..=40 {
        post(&queue, n..=n);
        if n % 3 == 0 {
            assert_eq!([reader.read(), reader.read()], [Ok(Some(n / 3 * 2 - 1)), Ok(Some(n / 3 * 2))]);
        }
    }
    assert_eq!(read_all(&reader), (27..=40).collect::<Vec<_>>());
    post(&queue, 41..=42);
    let mut batch = Vec::new();
    assert_eq!(other.read_with(100, |delivery| batch.push(delivery.seq)), Ok(43));
    assert_eq!(batch, (0..=42).collect::<Vec<_>>());
    queue.check();
}

#[test]
fn an_inbox_that_is_full_goes_on_in_the_log() {
    let (queue, reader, _) = open(Options::default());
    let last = 2 * CHUNK_SIZE as u64 + 500;
    post(&queue, 1..=last);
    assert_eq!(queue.len(), last + 1);
    assert!(queue.open_inbox());
    post(&queue, last + 1..=last + 700);
    assert_eq!(read_all(&reader), (1..=last + 700).collect::<Vec<_>>());
    queue.check();
}

#[test]
fn the_limits_hold_to_the_last_message_and_the_last_byte() {
    let (queue, _, _) = open(Options { max_items: Some(200), ..Options::default() });
    post(&queue, 1..=199);
    let Err(Error::Full(full)) = queue.enqueue(200, 8) else { panic!("200 are the limit") };
    assert_eq!((full.limit, full.current, full.max), (Limit::Items, 200, 200));
    assert_eq!((queue.len(), queue.stats().rejected), (200, 1));

    let (queue, _, _) = open(Options { max_bytes: 200 * (8 + MESSAGE_OVERHEAD), ..Options::default() });
    post(&queue, 1..=198);
    let Err(Error::Full(full)) = queue.enqueue(199, 9) else { panic!("a byte too many") };
    assert_eq!(
        (full.limit, full.current, full.max),
        (Limit::Memory, 199 * (8 + MESSAGE_OVERHEAD), 200 * (8 + MESSAGE_OVERHEAD))
    );
    post(&queue, 199..=199);
    assert!(queue.enqueue(200, 0).is_err());
    assert_eq!((queue.memory_usage(), queue.stats().rejected), (200 * (8 + MESSAGE_OVERHEAD), 2));
}

#[test]
fn a_ring_drops_no_more_than_needed() {
    let (queue, reader, _) =
        open(Options { max_items: Some(200), overflow: Overflow::DropOldest, ..Options::default() });
    post(&queue, 1..=300);
    assert_eq!((queue.len(), queue.stats().dropped), (200, 101));
    assert_eq!(read_all(&reader), (101..=300).collect::<Vec<_>>());
    assert_eq!(reader.missed(), Ok(100));
    assert!(!queue.open_inbox(), "there is no room");
}

#[test]
fn posted_messages_expire_at_their_time_and_not_before() {
    let (queue, reader, clock) = open(Options { ttl: Some(10 * SECOND), ..Options::default() });
    clock.advance(4 * SECOND);
    post(&queue, 1..=2);
    clock.advance(6 * SECOND);
    post(&queue, 3..=3);
    assert_eq!((queue.len(), queue.stats().expired), (3, 1));
    queue.open_inbox();
    clock.advance(4 * SECOND);
    post(&queue, 4..=4);
    assert_eq!(reader.read(), Ok(Some(3)));
    assert_eq!((reader.missed(), queue.stats().expired), (Ok(2), 3));
    clock.advance(10 * SECOND);
    assert_eq!((queue.len(), queue.memory_usage()), (0, 0));
    queue.check();
}

#[test]
fn a_message_without_ttl_does_not_keep_later_posts() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    post(&queue, 0..=0);
    queue.enqueue_for(1, 8, Lifetime::Forever).unwrap();
    clock.advance(10 * SECOND);
    assert_eq!(queue.force_expiration(), 1);
    assert!(!queue.open_inbox(), "nothing is due that would show when the next is");
    post(&queue, 2..=2);
    assert!(queue.open_inbox());
    post(&queue, 3..=3);
    clock.advance(10 * SECOND);
    assert_eq!(queue.force_expiration(), 2);
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_message_is_read_no_earlier_than_it_was_posted() {
    let (queue, reader, clock) = open(Options::default());
    clock.advance(SECOND);
    let at = queue.now().wall;
    post(&queue, 1..=1);
    let mut created = 0;
    clock.set_wall(at - SECOND / 2);
    reader.read_with(1, |delivery| created = delivery.created).unwrap();
    assert_eq!(created, at);
    assert_eq!(reader.history(1), Ok(vec![(1, at / 1000)]));
    post(&queue, 2..=2);
    let mut later = 0;
    reader.read_with(1, |delivery| later = delivery.created).unwrap();
    assert_eq!(later, at);
}

#[test]
fn whoever_waits_closes_the_inbox() {
    let (queue, reader, _) = open(Options::default());
    assert_eq!(reader.read_within(Some(Duration::ZERO)), Ok(None));
    queue.open_inbox();
    post(&queue, 1..=1);
    assert!(!queue.join(Some(Duration::ZERO)), "one is not read");
    queue.open_inbox();
    post(&queue, 2..=2);
    assert_eq!(read_all(&reader), [1, 2]);
    assert!(queue.join(Some(Duration::ZERO)));
}

#[test]
fn messages_posted_before_a_close_are_read_after_it() {
    let (queue, reader, _) = open(Options::default());
    post(&queue, 1..=3);
    queue.close(false);
    assert_eq!(queue.enqueue(4, 8), Err(Error::Closed));
    assert!(!queue.open_inbox());
    assert_eq!(read_all(&reader), [1, 2, 3]);
    assert_eq!(reader.read(), Err(Error::Closed));

    let (queue, reader, _) = open(Options::default());
    post(&queue, 1..=3);
    queue.close(true);
    assert_eq!((reader.read(), reader.missed(), queue.memory_usage()), (Err(Error::Closed), Ok(0), 0));
}

#[test]
fn posted_messages_are_dropped_with_the_queue() {
    let queue = Queue::<Arc<()>>::new(&Options::default());
    let payload = Arc::new(());
    queue.enqueue(payload.clone(), 8).unwrap();
    assert!(queue.open_inbox());
    queue.enqueue(payload.clone(), 8).unwrap();
    assert_eq!(Arc::strong_count(&payload), 3);
    drop(queue);
    assert_eq!(Arc::strong_count(&payload), 1);
}
