//! Enqueueing while other threads read, expire, close or remove.

use super::*;

#[test]
fn messages_are_read_once_and_in_order() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        read_while_enqueuing(&queue, &reader);
    });
}

/// Enqueued messages are read once and in order.
fn read_while_enqueuing(queue: &Queue, reader: &Consumer) {
    let producer = spawn(queue, |queue| enqueue_all(&queue, 1..=2));
    let mut contents: Vec<u64> = [read(reader), read(reader)].into_iter().filter_map(Result::unwrap).collect();
    producer.join().unwrap();
    contents.extend(drain(reader));
    assert_eq!(contents, [1, 2]);
    queue.check();
}

#[test]
fn two_producers_get_two_seqs_and_every_consumer_the_same_order() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let (one, other) = (consumer(&queue), consumer(&queue));
        let producers = [1, 2].map(|n| spawn(&queue, move |queue| enqueue(&queue, n).unwrap()));
        let early = read(&one).unwrap();
        let seqs = producers.map(|producer| producer.join().unwrap());
        let order = if seqs == [0, 1] { [1, 2] } else { [2, 1] };
        assert_eq!(early.into_iter().chain(drain(&one)).collect::<Vec<_>>(), order);
        assert_eq!(drain(&other), order);
        queue.check();
    });
}

#[test]
fn an_expiring_message_is_either_read_in_time_or_missed() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = consumer(&queue);
        enqueue(&queue, 1).unwrap();
        let expiration = spawn(&queue, move |queue| {
            clock.advance(TTL);
            queue.force_expiration();
            enqueue(&queue, 2).unwrap();
        });
        let mut contents = Vec::from_iter(read(&reader).unwrap());
        contents.extend(read(&reader).unwrap());
        expiration.join().unwrap();
        contents.extend(drain(&reader));
        let missed = reader.missed().unwrap();
        assert_eq!(contents, if missed == 0 { vec![1, 2] } else { vec![2] });
        assert_eq!((queue.stats().expired, queue.len()), (1, 1));
        queue.check();
    });
}

#[test]
fn expired_messages_are_not_delivered_before_they_are_removed() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = consumer(&queue);
        enqueue_all(&queue, 1..=2);
        assert_eq!(read(&reader), Ok(Some(1)), "and the next read is a usual one");
        let expiration = spawn(&queue, |queue| queue.force_expiration());
        clock.advance(TTL);
        assert_eq!(read(&reader), Ok(None));
        expiration.join().unwrap();
        assert_eq!((reader.missed(), queue.stats().expired, queue.len()), (Ok(1), 2, 0));
        queue.check();
    });
}

#[test]
fn an_enqueue_during_expiry_is_expired_or_held_but_not_both() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = consumer(&queue);
        enqueue(&queue, 1).unwrap();
        expire_while_enqueuing(&queue, &reader, &clock);
    });
}

/// One message is held, and another is added while the first expires. The second one is expired or held, but not both.
fn expire_while_enqueuing(queue: &Queue, reader: &Consumer, clock: &ManualClock) {
    let producer = spawn(queue, |queue| enqueue(&queue, 2).unwrap());
    clock.advance(TTL);
    queue.force_expiration();
    producer.join().unwrap();
    let (expired, left) = (queue.stats().expired, queue.len());
    assert!(expired >= 1 && expired + left == 2);
    assert_eq!(reader.missed(), Ok(expired));
    assert_eq!(drain(reader).len() as u64, left);
    queue.check();
}

#[test]
fn a_closed_queue_delivers_exactly_what_it_accepted() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        close_while_enqueuing(&queue, &reader);
    });
}

/// Messages that were accepted before the close are read, and nothing else.
pub(super) fn close_while_enqueuing(queue: &Queue, reader: &Consumer) {
    let producer = spawn(queue, |queue| (1..=2).take_while(|&n| enqueue(&queue, n).is_ok()).count());
    let reading = spawn(reader, |reader| std::iter::from_fn(|| await_one(&reader).ok()).collect::<Vec<_>>());
    queue.close(false);
    let accepted = producer.join().unwrap();
    assert_eq!(reading.join().unwrap(), (1..=accepted as u64).collect::<Vec<_>>());
    assert_eq!(read(reader), Err(Error::Closed));
    queue.check();
}

#[test]
fn messages_discarded_by_an_immediate_close_are_neither_read_nor_missed() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        let empty = queue.memory_usage();
        let producer = spawn(&queue, |queue| enqueue(&queue, 1));
        let reading = spawn(&reader, |reader| await_one(&reader));
        queue.close(true);
        let (accepted, received) = (producer.join().unwrap(), reading.join().unwrap());
        assert!(received == Err(Error::Closed) || (accepted.is_ok() && received == Ok(1)));
        assert_eq!((read(&reader), reader.missed()), (Err(Error::Closed), Ok(0)));
        assert_eq!(queue.memory_usage(), empty);
        queue.check();
    });
}

#[test]
fn waiters_of_a_removed_consumer_find_it_closed() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let (reader, other) = (consumer(&queue), consumer(&queue));
        let reading = spawn(&reader, |reader| await_one(&reader));
        let producer = spawn(&queue, |queue| enqueue(&queue, 1).unwrap());
        assert!(reader.close());
        assert!(matches!(reading.join().unwrap(), Ok(1) | Err(Error::ConsumerClosed)));
        producer.join().unwrap();
        assert_eq!(drain(&other), [1]);
        queue.check();
    });
}

#[test]
fn messages_without_readers_make_room_for_a_waiting_producer() {
    explore(|| {
        let queue = narrow();
        let (fast, slow) = (consumer(&queue), consumer(&queue));
        enqueue(&queue, 1).unwrap();
        assert_eq!(read(&fast), Ok(Some(1)));
        let producer = spawn(&queue, |queue| enqueue_within(&queue, 2, None));
        assert!(slow.close());
        producer.join().unwrap().unwrap();
        assert_eq!(drain(&fast), [2]);
        queue.check();
    });
}

#[test]
fn a_dropped_message_was_either_read_or_is_missed() {
    explore(|| {
        let (queue, _) = queue(Options { max_items: Some(2), overflow: Overflow::DropOldest, ..untimed() });
        let reader = consumer(&queue);
        enqueue_all(&queue, 1..=2);
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 3..=4));
        let mut contents: Vec<u64> = [read(&reader), read(&reader)].into_iter().filter_map(Result::unwrap).collect();
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert!(contents.is_sorted_by(|before, after| before < after) && contents.ends_with(&[3, 4]));
        assert_eq!(contents.len() as u64 + reader.missed().unwrap(), 4);
        assert_eq!((queue.len(), queue.stats().dropped), (2, 2));
        queue.check();
    });
}
