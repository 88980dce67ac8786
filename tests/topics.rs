//! The guarantees of topics and filters, one rule in each test, in addition to what `model.rs` compares.

mod driven;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mpmc_queue::{
    CHUNK_SIZE, Consumer, ConsumerOptions, Filters, Lifetime, MissedPolicy, Options, Overflow, Queue, Retention, Start,
    Topic,
};

use driven::manual;

fn filtered(queue: &Queue<u64>, texts: &[&str]) -> Consumer<u64> {
    let filters = Some(Filters::new(texts.iter().copied()).unwrap());
    queue.add_consumer_with(&ConsumerOptions { filters, ..ConsumerOptions::default() }).unwrap()
}

fn enqueue(queue: &Queue<u64>, topic: &str, payload: u64) -> u64 {
    queue.enqueue_under(&Topic::new(topic).unwrap(), payload, 1, Lifetime::Queue).unwrap()
}

fn drain(consumer: &Consumer<u64>) -> Vec<u64> {
    let mut read = Vec::new();
    while consumer.read_with(usize::MAX, |delivery| read.push(*delivery.payload)).unwrap() > 0 {}
    read
}

#[test]
fn a_filter_that_comes_while_others_enqueue_and_messages_leave_keeps_exact_books() {
    let queue: Queue<u64> = Queue::new(&Options {
        ttl: None,
        max_items: Some(20_000),
        overflow: Overflow::DropOldest,
        max_bytes: u64::MAX,
        ..Options::default()
    });
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for which in 0..2 {
            let (queue, is_over) = (&queue, &is_over);
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    enqueue(queue, ["a.x", "a.y", "b"][(number % 3) as usize], number * 2 + which);
                    number += 1;
                }
            });
        }
        for _ in 0..60 {
            let (some, all) = (filtered(&queue, &["a.*"]), filtered(&queue, &["b", "a.>"]));
            let read = drain(&some).len() as u64;
            assert!(read <= queue.stats().next_seq);
            all.seek(Start::Latest).unwrap();
            drain(&all);
            queue.check();
            some.close();
            all.close();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    queue.check();
    let (reader, everything) =
        (filtered(&queue, &[">"]), queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip));
    assert_eq!(reader.unread().unwrap(), everything.unwrap().unread().unwrap());
}

#[test]
fn what_does_not_match_is_passed_over_in_one_step() {
    let queue: Queue<u64> = Queue::new(&Options { ttl: None, max_bytes: u64::MAX, ..Options::default() });
    let reader = filtered(&queue, &["rare"]);
    let common = Topic::new("common").unwrap();
    for round in 0..20 {
        let batch = (0..10 * CHUNK_SIZE as u64).map(|payload| (payload, 1)).collect();
        queue.enqueue_batch_under(Some(&common), batch).unwrap();
        enqueue(&queue, "rare", round);
    }
    assert_eq!(drain(&reader), (0..20).collect::<Vec<_>>());
    assert_eq!(reader.stats().unwrap().filtered, 200 * CHUNK_SIZE as u64);
    queue.check();
}

#[test]
fn what_left_from_the_middle_counts_for_those_it_matches_in_compacted_chunks_too() {
    let (queue, clock) = manual(Options { ttl: None, max_bytes: u64::MAX, ..Options::default() });
    let readers = [filtered(&queue, &["t.0"]), filtered(&queue, &["t.1", "t.2"])];
    let topics: Vec<_> = (0..4).map(|number| Topic::new(&format!("t.{number}")).unwrap()).collect();
    let total = 5 * CHUNK_SIZE as u64;
    for number in 0..total {
        let lifetime = if number % 10 == 0 { Lifetime::Forever } else { Lifetime::Own(10) };
        queue.enqueue_under(&topics[(number % 4) as usize], number, 1, lifetime).unwrap();
    }
    clock.advance(10);
    assert_eq!(queue.len(), total / 10);
    queue.check();
    // A filter that is added now knows only the held messages.
    let late = filtered(&queue, &["t.2"]);
    assert_eq!((late.missed(), late.unread()), (Ok(0), Ok(total / 20)));
    for (reader, share) in readers.iter().zip([total / 4, total / 2]) {
        let stats = reader.stats().unwrap();
        assert_eq!(stats.missed + stats.unread, share);
        let mut missed = Vec::new();
        while reader.read_with(100, |delivery| missed.push(delivery.missed)).unwrap() > 0 {}
        let stats = reader.stats().unwrap();
        assert_eq!((stats.read + stats.missed, stats.unread), (share, 0));
        // One in 20 is left. Of each 20, the other messages of one topic, or of two topics, are gone.
        let each = 20 * share / total - 1;
        assert!(missed[1..].iter().all(|&missed| missed == each), "{missed:?}");
    }
    queue.check();
}

#[test]
fn a_chunk_that_leaves_whole_takes_its_topics_along() {
    let (queue, clock) = manual(Options { ttl: Some(10), max_bytes: u64::MAX, ..Options::default() });
    let empty = queue.memory_usage();
    let reader = filtered(&queue, &["a"]);
    for number in 0..3 * CHUNK_SIZE as u64 {
        enqueue(&queue, if number % 2 == 0 { "a" } else { "b" }, number);
    }
    clock.advance(10);
    assert_eq!((queue.memory_usage(), queue.len()), (empty, 0));
    let stats = reader.stats().unwrap();
    assert_eq!((stats.missed, stats.unread, stats.filtered), (3 * CHUNK_SIZE as u64 / 2, 0, 0));
    queue.check();
}

#[test]
fn interest_lets_go_of_a_large_backlog_in_slices() {
    let queue: Queue<u64> =
        Queue::new(&Options { ttl: None, max_bytes: u64::MAX, retention: Retention::Interest, ..Options::default() });
    let slow = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    let reader = filtered(&queue, &["a"]);
    for number in 0..12_000 {
        enqueue(&queue, if number % 3 == 0 { "a" } else { "b" }, number);
    }
    assert_eq!(drain(&reader).len(), 4_000);
    assert_eq!(queue.len(), 12_000);
    slow.close();
    assert_eq!(queue.len(), 0);
    queue.check();
}

#[test]
fn what_was_dropped_counts_for_those_whose_next_match_it_was_and_for_no_others() {
    let (queue, _) =
        manual(Options { max_items: Some(4), overflow: Overflow::DropOldest, ttl: None, ..Options::default() });
    let add = |numbers: std::ops::Range<u64>| numbers.for_each(|n| _ = enqueue(&queue, ["a", "b"][n as usize % 2], n));
    let dropped = |reader: &Consumer<u64>| {
        let stats = reader.stats().unwrap();
        assert_eq!(stats.missed, stats.dropped);
        stats.dropped
    };
    let all = || queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    let early = [all(), filtered(&queue, &["a"]), filtered(&queue, &["b"])];
    add(0..7); // drops 0, 1 and 2
    assert_eq!(early.each_ref().map(dropped), [3, 2, 1]);
    let late = [all(), filtered(&queue, &["a"]), filtered(&queue, &["b"])];
    assert_eq!(late.each_ref().map(dropped), [0; 3]);
    for reader in early.iter().chain(&late) {
        assert!(reader.read().unwrap().is_some()); // 3 or 4
        reader.seek(Start::Earliest).unwrap();
    }
    assert_eq!(early.each_ref().map(dropped), [3, 2, 1]);
    assert_eq!(late.each_ref().map(dropped), [0; 3]);
    add(7..9); // drops 3 and 4
    assert_eq!(early.each_ref().map(dropped), [5, 3, 2]);
    assert_eq!(late.each_ref().map(dropped), [2, 1, 1]);
    early.iter().chain(&late).for_each(|reader| reader.seek(Start::Latest).unwrap());
    add(9..13);
    assert_eq!(early.each_ref().map(dropped), [5, 3, 2]);
    assert_eq!(late.each_ref().map(dropped), [2, 1, 1]);
    queue.check();
}
