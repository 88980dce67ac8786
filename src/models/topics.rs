//! Topics: a match wakes a waiter, a message is read with its topic, and a new filter counts each message once.

use super::*;
use crate::{ConsumerOptions, Filters, Lifetime, Topic};

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

fn enqueue_under(queue: &Queue, text: &str, content: u64) {
    queue.enqueue_under(&topic(text), Letter::new(content), SIZE, Lifetime::Queue).unwrap();
}

fn filtered(queue: &Queue, text: &str) -> Consumer {
    let filters = Some(Filters::new([text]).unwrap());
    queue.add_consumer_with(&ConsumerOptions { filters, ..ConsumerOptions::default() }).unwrap()
}

#[test]
fn a_match_wakes_a_waiting_reader_whatever_comes_beside_it() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = filtered(&queue, "a");
        let reading = spawn(&reader, |reader| await_one(&reader).unwrap());
        let other = spawn(&queue, |queue| enqueue_under(&queue, "b", 1));
        enqueue_under(&queue, "a", 2);
        assert_eq!(reading.join().unwrap(), 2);
        other.join().unwrap();
        queue.check();
    });
}

#[test]
fn two_that_wait_with_one_filter_get_one_of_two_matches_each() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = filtered(&queue, "a");
        let readings = [(), ()].map(|()| spawn(&reader, |reader| await_one(&reader).unwrap()));
        enqueue_under(&queue, "a", 1);
        enqueue(&queue, 2).unwrap();
        enqueue_under(&queue, "a", 3);
        let mut contents = readings.map(|reading| reading.join().unwrap());
        contents.sort_unstable();
        assert_eq!(contents, [1, 3]);
        queue.check();
    });
}

#[test]
fn a_reader_without_the_lock_reads_no_message_without_its_topic() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        enqueue_all(&queue, 1..=2);
        assert_eq!(read(&reader), Ok(Some(1)));
        let producing = spawn(&queue, |queue| enqueue_under(&queue, "a", 3));
        let mut seen = Vec::new();
        for _ in 0..3 {
            reader
                .read_with(1, |delivery| {
                    seen.push((delivery.payload.content(), delivery.topic.map(|topic| topic.as_str().to_owned())))
                })
                .unwrap();
        }
        producing.join().unwrap();
        assert!(seen.starts_with(&[(2, None)]));
        assert!(seen.len() == 1 || seen[1] == (3, Some("a".to_owned())), "{seen:?}");
        queue.check();
    });
}

#[test]
fn a_new_filter_counts_what_comes_and_expires_meanwhile_once() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        count_with_a_new_filter(&queue, move |queue| {
            enqueue_under(&queue, "a", 3);
            clock.advance(TTL);
            queue.force_expiration();
        });
    });
}

#[test]
fn a_new_filter_counts_what_expires_and_comes_meanwhile_once() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        count_with_a_new_filter(&queue, move |queue| {
            clock.advance(TTL);
            queue.force_expiration();
            enqueue_under(&queue, "a", 3);
        });
    });
}

/// One message matches at first, and `others` adds one that matches while the filter is added.
fn count_with_a_new_filter(queue: &Queue, others: impl FnOnce(Queue) + Send + 'static) {
    enqueue_under(queue, "a", 1);
    enqueue_under(queue, "b", 2);
    let others = spawn(queue, others);
    let reader = filtered(queue, "a");
    others.join().unwrap();
    let stats = reader.stats().unwrap();
    assert!(stats.unread + stats.missed <= 2 && stats.unread <= 1, "{stats:?}");
    queue.check();
    assert_eq!(drain(&reader).len() as u64, stats.unread);
}

#[test]
fn what_only_a_filter_wants_leaves_once_it_is_read() {
    explore(|| {
        let (queue, _) = queue(Options { retention: Retention::Interest, ..untimed() });
        let readers = ["a", "b"].map(|text| filtered(&queue, text));
        let producing = spawn(&queue, |queue| {
            enqueue_under(&queue, "b", 1);
            enqueue_under(&queue, "c", 2);
        });
        let reading = spawn(&readers[1], |reader| await_one(&reader).unwrap());
        enqueue_under(&queue, "a", 3);
        assert_eq!(await_one(&readers[0]), Ok(3));
        assert_eq!(reading.join().unwrap(), 1);
        producing.join().unwrap();
        assert_eq!(queue.len(), 0);
        queue.check();
    });
}

/// A reader of what is under "a" that has a lease with a route to the second match, behind a message that does not match.
fn on_route(queue: &Queue) -> Consumer {
    let reader = filtered(queue, "a");
    enqueue_under(queue, "a", 1);
    enqueue_under(queue, "b", 2);
    enqueue_under(queue, "a", 3);
    assert_eq!(read(&reader), Ok(Some(1)));
    assert_eq!(queue.leases(), 1);
    reader
}

#[test]
fn a_match_ahead_of_a_lease_is_read_or_missed_when_it_is_dropped() {
    explore(|| {
        let (queue, _) = queue(Options { max_items: Some(3), overflow: Overflow::DropOldest, ..untimed() });
        let reader = on_route(&queue);
        let producing = spawn(&queue, |queue| {
            for content in 4..=6 {
                enqueue_under(&queue, "a", content);
            }
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            let visit = |delivery: Delivery<'_, Letter>| {
                assert_eq!(delivery.topic.map(Topic::as_str), Some("a"));
                seen.push(delivery.payload.content());
            };
            reader.read_with(1, visit).unwrap();
        }
        producing.join().unwrap();
        seen.extend(drain(&reader));
        let stats = reader.stats().unwrap();
        assert_eq!(stats.missed, u64::from(!seen.contains(&3)));
        assert_eq!(seen, (3 + stats.missed..=6).collect::<Vec<_>>());
        assert!(stats.filtered <= 1);
        queue.check();
    });
}

#[test]
fn a_match_ahead_of_a_lease_is_read_in_time_or_missed() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = on_route(&queue);
        let expiration = spawn(&queue, move |queue| {
            clock.advance(TTL);
            queue.force_expiration();
            enqueue_under(&queue, "a", 4);
        });
        let mut contents: Vec<u64> = [read(&reader), read(&reader)].into_iter().filter_map(Result::unwrap).collect();
        expiration.join().unwrap();
        contents.extend(drain(&reader));
        let stats = reader.stats().unwrap();
        assert_eq!(contents, if stats.missed == 0 { vec![3, 4] } else { vec![4] });
        assert_eq!((stats.read + stats.missed, stats.unread), (3, 0));
        queue.check();
    });
}

#[test]
fn two_handles_on_a_route_share_what_matches() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = on_route(&queue);
        enqueue_under(&queue, "a", 4);
        let reading = spawn(&reader, |reader| drain(&reader));
        let mut contents = drain(&reader);
        contents.extend(reading.join().unwrap());
        contents.sort_unstable();
        assert_eq!(contents, [3, 4]);
        assert_eq!(reader.stats().unwrap().filtered, 1);
        queue.check();
    });
}
