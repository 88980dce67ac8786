//! Posting in the inbox while others read, wait, expire, close, add.

use super::enqueuing::{close_while_enqueuing, expire_while_enqueuing, read_while_enqueuing};
use super::*;

#[test]
fn posted_messages_are_read_once_and_in_order() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        assert!(queue.open_inbox());
        read_while_enqueuing(&queue, &reader);
    });
}

#[test]
fn a_post_and_a_batch_get_seqs_of_their_own_and_every_consumer_the_same_order() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let (one, other) = (consumer(&queue), consumer(&queue));
        assert!(queue.open_inbox());
        let posting = spawn(&queue, |queue| enqueue(&queue, 1).unwrap());
        let batching = spawn(&queue, |queue| queue.enqueue_batch(vec![(Letter::new(2), SIZE)]).unwrap());
        let early = read(&one).unwrap();
        let seqs = [posting.join().unwrap(), batching.join().unwrap()];
        let order = if seqs == [0, 1] { [1, 2] } else { [2, 1] };
        assert_eq!(early.into_iter().chain(drain(&one)).collect::<Vec<_>>(), order);
        assert_eq!(drain(&other), order);
        queue.check();
    });
}

#[test]
fn a_post_leaves_no_waiter_waiting() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let readers = [consumer(&queue), consumer(&queue)];
        assert!(queue.open_inbox());
        let readings = readers.map(|reader| spawn(&reader, |reader| await_one(&reader)));
        enqueue(&queue, 1).unwrap();
        assert_eq!(readings.map(|reading| reading.join().unwrap()), [Ok(1), Ok(1)]);
        queue.check();
    });
}

#[test]
fn whoever_waits_for_all_to_be_read_waits_for_what_was_posted_before() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        assert!(queue.open_inbox());
        enqueue(&queue, 1).unwrap();
        let joining = spawn(&queue, |queue| {
            assert!(queue.join(None));
            queue.consumer_stats().iter().map(|stats| stats.read).sum::<u64>()
        });
        assert_eq!(drain(&reader), [1]);
        assert_eq!(joining.join().unwrap(), 1, "it was read when the wait was over");
        queue.check();
    });
}

#[test]
fn exactly_the_messages_posted_before_a_close_are_read() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        assert!(queue.open_inbox());
        close_while_enqueuing(&queue, &reader);
    });
}

#[test]
fn a_message_posted_during_expiry_is_either_expired_or_held() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        let reader = consumer(&queue);
        enqueue(&queue, 1).unwrap();
        assert!(queue.open_inbox());
        expire_while_enqueuing(&queue, &reader, &clock);
    });
}

#[test]
fn a_consumer_added_meanwhile_reads_messages_posted_after_its_start() {
    explore(|| {
        let (queue, _) = queue(untimed());
        assert!(queue.open_inbox());
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 1..=2));
        let late = queue.add_consumer(None, Start::Latest, MissedPolicy::Skip).unwrap();
        let start = late.position().unwrap();
        producer.join().unwrap();
        assert_eq!(drain(&late), (start + 1..=2).collect::<Vec<_>>());
        queue.check();
    });
}
