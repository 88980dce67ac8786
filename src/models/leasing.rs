//! Reads with a lease, without the queue's lock, while other threads enqueue, expire, drop, close, look or fork. The
//! slots are loom's cells: loom fails a model in which a slot may be read while it is written or emptied.

use super::enqueuing::close_while_enqueuing;
use super::*;
use crate::ConsumerOptions;

/// A consumer that has read the first of some messages, and may read the others through its lease.
fn leased(queue: &Queue, contents: RangeInclusive<u64>) -> Consumer {
    let reader = consumer(queue);
    enqueue_all(queue, contents);
    assert!(read(&reader).unwrap().is_some());
    assert_eq!(queue.leases(), 1);
    reader
}

/// The results of two reads.
fn read_twice(reader: &Consumer) -> Vec<u64> {
    [read(reader), read(reader)].into_iter().filter_map(Result::unwrap).collect()
}

#[test]
fn what_is_published_is_read_once_and_in_order() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 8..=9);
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 10..=11));
        let mut contents = read_twice(&reader);
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert_eq!(contents, [9, 10, 11]);
        queue.check();
    });
}

#[test]
fn a_batch_is_read_up_to_what_is_published() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 8..=9);
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 10..=11));
        let mut contents = Vec::new();
        let visit = |delivery: Delivery<'_, Letter>| contents.push(delivery.payload.content());
        let count = reader.read_fitting_with(9, u64::MAX, false, visit).unwrap();
        assert_eq!((contents.len(), contents[0]), (count, 9));
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert_eq!(contents, [9, 10, 11]);
        queue.check();
    });
}

#[test]
fn readers_of_one_queue_do_not_disturb_each_other() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let other = consumer(&queue);
        let reader = leased(&queue, 8..=10);
        assert_eq!(read(&other), Ok(Some(8)));
        assert_eq!(queue.leases(), 2);
        // Two readers with leases share nothing whose order could vary. A producer does share something with them.
        let reading = spawn(&other, |other| drain(&other));
        enqueue(&queue, 11).unwrap();
        assert_eq!(drain(&reader), [9, 10, 11]);
        let mut contents = reading.join().unwrap();
        contents.extend(drain(&other));
        assert_eq!(contents, [9, 10, 11]);
        queue.check();
    });
}

#[test]
fn two_handles_of_a_consumer_share_what_there_is() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 8..=10);
        let reading = spawn(&reader, |reader| drain(&reader));
        let mut contents = drain(&reader);
        contents.extend(reading.join().unwrap());
        contents.sort_unstable();
        assert_eq!(contents, [9, 10]);
        queue.check();
    });
}

#[test]
fn a_lease_ends_with_its_chunk() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=3);
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 4..=6));
        let mut contents = read_twice(&reader);
        contents.extend(read_twice(&reader));
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert_eq!(contents, [2, 3, 4, 5, 6]);
        queue.check();
    });
}

#[test]
fn with_a_lease_a_message_is_either_read_in_time_or_missed() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = leased(&queue, 1..=2);
        let expiration = spawn(&queue, move |queue| {
            clock.advance(TTL);
            queue.force_expiration();
            enqueue(&queue, 3).unwrap();
        });
        let mut contents = read_twice(&reader);
        expiration.join().unwrap();
        contents.extend(drain(&reader));
        let missed = reader.missed().unwrap();
        assert_eq!(contents, if missed == 0 { vec![2, 3] } else { vec![3] });
        assert_eq!((queue.stats().expired, queue.len()), (2, 1));
        queue.check();
    });
}

#[test]
fn with_a_lease_no_expired_message_is_read() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = leased(&queue, 1..=3);
        let expiration = spawn(&queue, |queue| queue.force_expiration());
        clock.advance(TTL);
        assert_eq!(read(&reader), Ok(None));
        expiration.join().unwrap();
        assert_eq!((reader.missed(), queue.stats().expired, queue.len()), (Ok(2), 3, 0));
        queue.check();
    });
}

#[test]
fn with_a_lease_a_dropped_message_was_either_read_or_is_missed() {
    explore(|| {
        let (queue, _) = queue(Options { max_items: Some(3), overflow: Overflow::DropOldest, ..untimed() });
        let reader = leased(&queue, 1..=3);
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 4..=5));
        let mut contents = read_twice(&reader);
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert!(contents.is_sorted_by(|before, after| before < after) && contents.ends_with(&[4, 5]));
        assert_eq!(contents.len() as u64 + reader.missed().unwrap(), 4);
        assert_eq!((queue.len(), queue.stats().dropped), (3, 2));
        queue.check();
    });
}

#[test]
fn a_batch_that_drops_the_oldest_takes_no_message_from_a_reader() {
    explore(|| {
        let (queue, _) = queue(Options { max_items: Some(3), overflow: Overflow::DropOldest, ..untimed() });
        let reader = leased(&queue, 1..=3);
        let producer = spawn(&queue, |queue| {
            queue.enqueue_batch((4..=5).map(|content| (Letter::new(content), SIZE)).collect()).unwrap()
        });
        let mut contents = read_twice(&reader);
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert!(contents.is_sorted_by(|before, after| before < after) && contents.ends_with(&[4, 5]));
        assert_eq!(contents.len() as u64 + reader.missed().unwrap(), 4);
        queue.check();
    });
}

#[test]
fn a_batch_that_ends_a_chunk_early_moves_no_slot_that_is_read() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=2);
        let producer = spawn(&queue, |queue| {
            queue.enqueue_batch((3..=5).map(|content| (Letter::new(content), SIZE)).collect()).unwrap()
        });
        let mut contents = read_twice(&reader);
        producer.join().unwrap();
        contents.extend(drain(&reader));
        assert_eq!(contents, [2, 3, 4, 5]);
        queue.check();
    });
}

#[test]
fn exactly_the_messages_before_a_close_are_read_with_a_lease() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 8..=9);
        assert_eq!(read(&reader), Ok(Some(9)));
        assert_eq!(queue.leases(), 1);
        close_while_enqueuing(&queue, &reader);
    });
}

#[test]
fn an_immediate_close_takes_what_a_lease_could_read() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=2);
        let reading = spawn(&reader, |reader| read(&reader));
        queue.close(true);
        assert!(matches!(reading.join().unwrap(), Ok(Some(2)) | Err(Error::Closed)));
        assert_eq!((read(&reader), reader.missed(), queue.memory_usage()), (Err(Error::Closed), Ok(0), 0));
        queue.check();
    });
}

#[test]
fn a_seek_during_a_read_comes_before_or_after_it() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=3);
        let reading = spawn(&reader, |reader| read(&reader).unwrap().unwrap());
        reader.seek(Start::Seq(0)).unwrap();
        let early = reading.join().unwrap();
        assert!(matches!((early, reader.position().unwrap()), (2, 0) | (1, 1)));
        queue.check();
    });
}

#[test]
fn a_removed_consumer_reads_nothing_more() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=2);
        let reading = spawn(&reader, |reader| read(&reader));
        assert!(reader.close());
        assert!(matches!(reading.join().unwrap(), Ok(Some(2)) | Err(Error::ConsumerClosed)));
        assert_eq!((read(&reader), queue.leases()), (Err(Error::ConsumerClosed), 0));
        queue.check();
    });
}

#[test]
fn figures_are_exact_while_a_consumer_reads() {
    explore(|| {
        let (queue, _) = queue(Options { audit: true, ..untimed() });
        let reader = leased(&queue, 1..=3);
        let reading = spawn(&reader, |reader| read_twice(&reader));
        let stats = queue.consumer_stats().remove(0);
        assert_eq!((stats.read + stats.unread, stats.missed), (3, 0));
        assert_eq!(queue.readings(0).len(), 1);
        assert_eq!(reading.join().unwrap(), [2, 3]);
        assert_eq!(reader.stats().map(|stats| (stats.read, stats.unread)), Ok((3, 0)));
        assert_eq!(reader.history(9).unwrap().len(), 3);
        queue.check();
    });
}

#[test]
fn whoever_waits_for_all_to_be_read_sees_reads_with_a_lease() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=3);
        let joining = spawn(&queue, |queue| assert!(queue.join(None)));
        assert_eq!(drain(&reader), [2, 3]);
        joining.join().unwrap();
        queue.check();
    });
}

#[test]
fn a_reader_that_waits_after_its_lease_is_woken() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=2);
        let reading = spawn(&reader, |reader| [await_one(&reader), await_one(&reader)]);
        enqueue(&queue, 3).unwrap();
        assert_eq!(reading.join().unwrap(), [Ok(2), Ok(3)]);
        queue.check();
    });
}

#[test]
fn a_shorter_ttl_holds_for_the_next_read() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(2 * TTL), ..untimed() });
        let reader = leased(&queue, 1..=2);
        clock.advance(TTL);
        let changing = spawn(&queue, |queue| queue.set_ttl(Some(TTL)));
        let early = read(&reader).unwrap();
        changing.join().unwrap();
        assert_eq!(read(&reader), Ok(None));
        assert_eq!(reader.missed(), Ok(u64::from(early.is_none())));
        queue.check();
    });
}

#[test]
fn what_is_put_behind_others_is_read_after_them_at_once() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let first = leased(&queue, 1..=2);
        let adding = spawn(&queue, {
            let before = first.predecessor();
            move |queue| {
                queue.add_consumer_with(&ConsumerOptions { after: vec![before], ..ConsumerOptions::default() }).unwrap()
            }
        });
        let early = drain(&first).len();
        let second = adding.join().unwrap();
        assert_eq!((early, drain(&second)), (1, vec![1, 2]));
        queue.check();
    });
}

#[test]
fn a_fork_finds_every_lease_taken_back() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = leased(&queue, 1..=3);
        let reading = spawn(&reader, |reader| read_twice(&reader));
        queue.before_fork();
        queue.after_fork(false);
        assert_eq!(reading.join().unwrap(), [2, 3]);
        queue.check();
    });
}
