//! Reads through a lease of consumers with filters, and of messages with topics: one rule in each test.

mod driven;

use std::sync::Arc;
use std::time::Duration;

use mpmc_queue::{
    CHUNK_SIZE, Consumer, ConsumerOptions, ConsumerStats, Filters, Lifetime, ManualClock, Options, Overflow, Queue,
    Topic,
};

use driven::{SECOND, manual};

const CHUNK: u64 = CHUNK_SIZE as u64;

/// A message as a reader sees it: seq, size, topic, and how many were missed before it.
type Seen = (u64, u64, Option<String>, u64);

/// Enqueues messages, each with its own seq as payload: every third under "a.3", "a.6" and so on up to "a.9", the next one
/// under "b", the last one without a topic. The sizes differ.
fn add(queue: &Queue<u64>, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        let topic = topic_of(seq).map(|topic| Topic::new(&topic).unwrap());
        let added = match topic {
            Some(topic) => queue.enqueue_under(&topic, seq, seq % 7, Lifetime::Queue),
            None => queue.enqueue(seq, seq % 7),
        };
        assert_eq!(added, Ok(seq));
    }
}

fn topic_of(seq: u64) -> Option<String> {
    match seq % 3 {
        0 => Some(format!("a.{}", seq % 12)),
        1 => Some("b".to_owned()),
        _ => None,
    }
}

fn seen(seq: u64) -> Seen {
    (seq, seq % 7, topic_of(seq), 0)
}

fn filtered(queue: &Queue<u64>, text: &str) -> Consumer<u64> {
    let filters = Some(Filters::new([text]).unwrap());
    queue.add_consumer_with(&ConsumerOptions { filters, ..ConsumerOptions::default() }).unwrap()
}

fn everything(queue: &Queue<u64>) -> Consumer<u64> {
    queue.add_consumer_with(&ConsumerOptions::default()).unwrap()
}

fn next(consumer: &Consumer<u64>) -> Option<Seen> {
    let mut seen = None;
    consumer
        .read_with(1, |delivery| {
            assert_eq!(*delivery.payload, delivery.seq);
            let topic = delivery.topic.map(|topic| topic.as_str().to_owned());
            seen = Some((delivery.seq, delivery.size, topic, delivery.missed));
        })
        .unwrap();
    seen
}

fn with_room() -> (Queue<u64>, Arc<ManualClock>) {
    manual(Options { max_bytes: u64::MAX, ..Options::default() })
}

fn figures(stats: &ConsumerStats) -> (u64, u64, u64, u64) {
    (stats.read, stats.unread, stats.missed, stats.filtered)
}

#[test]
fn a_reader_with_a_filter_counts_exactly_what_it_reads_and_passes_over() {
    let (queue, _) = with_room();
    let reader = filtered(&queue, "a.*");
    add(&queue, 0..2 * CHUNK);
    let mut leases = 0;
    for (read, seq) in (0..2 * CHUNK).step_by(3).enumerate() {
        assert_eq!(reader.read().unwrap(), Some(seq));
        leases += queue.leases();
        if read % 100 == 99 {
            let read = read as u64 + 1;
            let stats = reader.stats().unwrap();
            assert_eq!(figures(&stats), (read, (2 * CHUNK).div_ceil(3) - read, 0, 2 * (read - 1)));
            assert_eq!((reader.position(), queue.leases()), (Ok((seq + 3).min(2 * CHUNK)), 0));
            queue.check();
        }
    }
    assert!(leases > 600, "nearly all reads end with a lease: {leases}");
    assert_eq!(reader.read().unwrap(), None);
    let history = reader.history(5_000).unwrap();
    assert!(history.iter().map(|&(seq, _)| seq).eq((0..2 * CHUNK).step_by(3)));
    assert_eq!((queue.readings(3).len(), queue.readings(4).len()), (1, 0));
    queue.check();
}

#[test]
fn messages_have_their_topics_and_sizes_with_a_lease() {
    let (queue, _) = with_room();
    let (all, some) = (everything(&queue), filtered(&queue, "a.>"));
    add(&queue, 0..CHUNK);
    for seq in 0..200 {
        assert_eq!(next(&all), Some(seen(seq)));
    }
    for seq in (0..600).step_by(3) {
        assert_eq!(next(&some), Some(seen(seq)));
    }
    queue.check();
}

#[test]
fn a_batch_has_what_matches_up_to_its_limits() {
    let (queue, _) = with_room();
    let reader = filtered(&queue, "a.*");
    add(&queue, 0..3 * CHUNK);
    let mut expected = (0..3 * CHUNK).step_by(3);
    for limit in (1..90).cycle() {
        let max_bytes = if limit % 3 == 0 { limit } else { u64::MAX };
        let (mut seqs, mut bytes) = (Vec::new(), 0);
        let visit = |delivery: mpmc_queue::Delivery<'_, u64>| {
            assert_eq!(
                (delivery.size, delivery.topic.map(Topic::as_str)),
                (delivery.seq % 7, topic_of(delivery.seq).as_deref())
            );
            seqs.push(delivery.seq);
            bytes += delivery.size;
        };
        let count = reader.read_fitting_with(limit as usize, max_bytes, false, visit).unwrap();
        let wanted: Vec<u64> = expected.by_ref().take(count).collect();
        assert_eq!(seqs, wanted);
        assert!(bytes <= max_bytes || count == 1);
        let following = wanted.last().map_or(0, |last| (last + 3) % 7);
        if count == 0 {
            break;
        }
        let is_last = wanted.last().is_some_and(|last| last + 3 >= 3 * CHUNK);
        assert!(count as u64 == limit || bytes + following > max_bytes || is_last, "{count} of {limit}");
    }
    assert_eq!(figures(&reader.stats().unwrap()), (CHUNK, 0, 0, 2 * CHUNK));
    assert!(reader.history(5_000).unwrap().iter().map(|&(seq, _)| seq).eq((0..3 * CHUNK).step_by(3)));
    queue.check();
}

#[test]
fn a_reader_sees_what_comes_and_matches_while_it_has_a_lease() {
    let (queue, _) = with_room();
    let reader = filtered(&queue, "b");
    add(&queue, 0..9);
    for seq in (1..3 * CHUNK).step_by(3) {
        assert_eq!(reader.read().unwrap(), Some(seq));
        add(&queue, seq + 8..seq + 11);
    }
    queue.check();
}

#[test]
fn a_ring_tells_a_reader_with_a_filter_what_it_missed() {
    let options = Options { max_items: Some(300), overflow: Overflow::DropOldest, ..Options::default() };
    let (queue, _) = manual(options);
    let reader = filtered(&queue, "a.*");
    add(&queue, 0..300);
    assert_eq!((reader.read().unwrap(), reader.read().unwrap(), queue.leases()), (Some(0), Some(3), 1));
    // What it has passed leaves: the lease stays.
    add(&queue, 300..303);
    assert_eq!((queue.leases(), reader.read().unwrap()), (1, Some(6)));
    // What leaves before the next match does not match, and is neither missed nor passed over.
    add(&queue, 303..309);
    assert_eq!(reader.read().unwrap(), Some(9));
    assert_eq!(figures(&reader.stats().unwrap()), (4, 99, 0, 4));
    add(&queue, 309..320);
    assert_eq!(next(&reader), Some((21, 0, Some("a.9".to_owned()), 3)));
    assert_eq!(figures(&reader.stats().unwrap()), (5, 99, 3, 5));
    queue.check();
}

#[test]
fn messages_expire_in_time_for_a_reader_with_a_filter() {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let reader = filtered(&queue, "b");
    add(&queue, 0..6);
    clock.advance(4 * SECOND);
    add(&queue, 6..30);
    assert_eq!((reader.read().unwrap(), queue.leases()), (Some(1), 1));
    clock.advance(6 * SECOND - 1);
    assert_eq!((reader.read().unwrap(), queue.leases()), (Some(4), 1));
    clock.advance(1);
    assert_eq!(reader.read().unwrap(), Some(7));
    assert_eq!((queue.leases(), queue.stats().expired), (1, 6));
    clock.advance(4 * SECOND);
    assert_eq!((reader.read().unwrap(), reader.missed(), queue.len()), (None, Ok(7), 0));
    queue.check();
}

#[test]
fn changes_reach_a_reader_with_a_filter_at_once() {
    let (queue, clock) = with_room();
    let reader = filtered(&queue, "a.0");
    add(&queue, 0..600);
    let leased = |seq| {
        assert_eq!((reader.read().unwrap(), queue.leases()), (Some(seq), 1));
    };
    leased(0);
    leased(12);
    reader.seek(mpmc_queue::Start::Seq(120)).unwrap();
    leased(120);
    leased(132);
    leased(144);
    queue.set_ttl(Some(SECOND));
    clock.advance(SECOND);
    assert_eq!((reader.read().unwrap(), queue.len()), (None, 0));
    add(&queue, 600..700);
    leased(600);
    assert!(!queue.join(Some(Duration::ZERO)));
    queue.close(false);
    assert_eq!(reader.read(), Ok(Some(612)));
    queue.check();
}

#[test]
fn what_has_left_from_the_middle_is_neither_passed_over_nor_read() {
    // Without records, no read needs the queue's lock for them.
    let (queue, clock) = manual(Options { audit: false, ..Options::default() });
    let readers = ["a.*", "b"].map(|text| filtered(&queue, text));
    add(&queue, 0..6);
    for seq in 6..9 {
        let seq_under = queue.enqueue_under(&Topic::new("a.6").unwrap(), seq, 1, Lifetime::Own(SECOND));
        assert_eq!(seq_under, Ok(seq));
    }
    add(&queue, 9..30);
    clock.advance(SECOND);
    assert_eq!(queue.len(), 27);
    for (reader, (first, missed)) in readers.iter().zip([(0, 3), (1, 0)]) {
        let seqs: Vec<u64> = std::iter::from_fn(|| reader.read().unwrap()).collect();
        assert!(seqs.iter().copied().eq((0..30).filter(|seq| seq % 3 == first && !(6..9).contains(seq))));
        let passed = (0..30).filter(|seq| seq % 3 != first && !(6..9).contains(seq)).count() as u64;
        assert_eq!(figures(&reader.stats().unwrap()), (9, 0, missed, passed));
    }
    queue.check();
}

#[test]
fn a_reader_with_a_filter_that_others_follow_has_no_lease() {
    let (queue, _) = with_room();
    let first = filtered(&queue, "a.*");
    let options = ConsumerOptions { after: vec![first.predecessor()], ..ConsumerOptions::default() };
    let second = queue.add_consumer_with(&options).unwrap();
    add(&queue, 0..9);
    assert_eq!((second.read(), first.read(), queue.leases()), (Ok(None), Ok(Some(0)), 0));
    assert_eq!((second.read(), first.read(), queue.leases()), (Ok(Some(0)), Ok(Some(3)), 0));
    assert_eq!([second.read(), second.read(), second.read()], [Ok(Some(1)), Ok(Some(2)), Ok(Some(3))]);
    queue.check();
}

#[test]
fn each_message_has_its_topic_where_all_differ() {
    let (queue, _) = with_room();
    let readers = [everything(&queue), filtered(&queue, "t.*")];
    let name = |seq: u64| format!("t.{}", seq * 7919 % 700);
    for seq in 0..1_500 {
        assert_eq!(queue.enqueue_under(&Topic::new(&name(seq)).unwrap(), seq, 1, Lifetime::Queue), Ok(seq));
    }
    for reader in readers {
        let mut leases = 0;
        for seq in 0..1_500 {
            assert_eq!(next(&reader), Some((seq, 1, Some(name(seq)), 0)));
            leases += queue.leases();
        }
        assert!(leases > 1_400);
    }
    queue.check();
}
