//! Waiting: no wake-up is lost.

use super::*;
use crate::ConsumerOptions;
use crate::handles::blocking::park;
use crate::wait::list::{Condition, Enough};

#[test]
fn an_enqueue_wakes_the_waiting_reader_of_every_consumer() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let readers = [consumer(&queue), consumer(&queue)].map(|reader| spawn(&reader, |reader| await_one(&reader)));
        enqueue(&queue, 1).unwrap();
        assert_eq!(readers.map(|reading| reading.join().unwrap()), [Ok(1), Ok(1)]);
        queue.check();
    });
}

#[test]
fn two_that_wait_at_one_consumer_get_one_of_two_messages_each() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        let readings = [(), ()].map(|()| spawn(&reader, |reader| await_one(&reader).unwrap()));
        enqueue_all(&queue, 1..=2);
        let mut contents = readings.map(|reading| reading.join().unwrap());
        contents.sort_unstable();
        assert_eq!(contents, [1, 2]);
        queue.check();
    });
}

#[test]
fn a_batch_wakes_as_many_as_it_serves() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        let readings = [(), ()].map(|()| spawn(&reader, |reader| await_one(&reader).unwrap()));
        queue.enqueue_batch((1..=2).map(|n| (Letter::new(n), SIZE)).collect()).unwrap();
        let mut contents = readings.map(|reading| reading.join().unwrap());
        contents.sort_unstable();
        assert_eq!(contents, [1, 2]);
        queue.check();
    });
}

#[test]
fn a_reader_that_waits_for_a_batch_wakes_when_it_is_full_and_takes_no_wake_up_from_another() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        let reading = spawn(&reader, |reader| await_one(&reader).unwrap());
        let filling = spawn(&reader, |reader| {
            let enough = Enough { items: 1, bytes: u64::MAX };
            let is_full = |_: Option<&_>| Ok::<_, Error>(reader.is_enough(enough)?.then_some(()));
            reader.queue().block(Condition::Batch(reader.key(), enough), None, is_full, park)
        });
        enqueue_all(&queue, 1..=2);
        assert_eq!(reading.join().unwrap(), 1);
        assert_eq!(filling.join().unwrap(), Ok(Some(())));
        queue.check();
    });
}

#[test]
fn a_reader_wakes_when_the_one_before_it_has_read() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let first = consumer(&queue);
        let last = queue
            .add_consumer_with(&ConsumerOptions { after: vec![first.predecessor()], ..ConsumerOptions::default() })
            .unwrap();
        let reading = spawn(&last, |last| await_one(&last));
        let before = spawn(&first, |first| await_one(&first));
        enqueue(&queue, 1).unwrap();
        assert_eq!((before.join().unwrap(), reading.join().unwrap()), (Ok(1), Ok(1)));
        queue.check();
    });
}

#[test]
fn a_reader_that_goes_without_hands_its_wake_up_on() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        let patient = spawn(&reader, |reader| await_one(&reader));
        let hasty = spawn(&reader, |reader| reader.read_within(AT_ONCE).unwrap());
        enqueue(&queue, 1).unwrap();
        match hasty.join().unwrap() {
            None => assert_eq!(patient.join().unwrap(), Ok(1)),
            Some(_) => {
                queue.close(false);
                assert_eq!(patient.join().unwrap(), Err(Error::Closed));
            }
        }
        queue.check();
    });
}

#[test]
fn a_read_wakes_the_producer_that_waits_for_room() {
    explore(|| {
        let queue = narrow();
        let reader = consumer(&queue);
        enqueue(&queue, 1).unwrap();
        let producer = spawn(&queue, |queue| enqueue_within(&queue, 2, None));
        assert_eq!([(); 2].map(|()| await_one(&reader)), [Ok(1), Ok(2)]);
        assert_eq!(producer.join().unwrap(), Ok(1));
        queue.check();
    });
}

#[test]
fn expiry_wakes_the_producer_that_waits_for_room() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), max_items: Some(1), ..untimed() });
        enqueue(&queue, 1).unwrap();
        let producer = spawn(&queue, |queue| enqueue_within(&queue, 2, None));
        clock.advance(TTL);
        queue.force_expiration();
        assert_eq!(producer.join().unwrap(), Ok(1));
        assert_eq!((queue.stats().expired, queue.len()), (1, 1));
        queue.check();
    });
}

#[test]
fn a_higher_limit_wakes_the_producer_that_waits_for_room() {
    explore(|| {
        let queue = narrow();
        enqueue(&queue, 1).unwrap();
        let producer = spawn(&queue, |queue| enqueue_within(&queue, 2, None));
        queue.set_max_items(Some(2));
        assert_eq!(producer.join().unwrap(), Ok(1));
        queue.check();
    });
}

#[test]
fn a_producer_that_goes_without_lets_the_next_in() {
    explore(|| {
        let queue = narrow();
        let reader = consumer(&queue);
        enqueue(&queue, 1).unwrap();
        let patient = spawn(&queue, |queue| enqueue_within(&queue, 2, None));
        let hasty = spawn(&queue, |queue| enqueue_within(&queue, 3, AT_ONCE));
        let mut contents = Vec::from_iter(read(&reader).unwrap());
        let got_in = hasty.join().unwrap().is_ok();
        contents.extend((0..=u64::from(got_in)).map(|_| await_one(&reader).unwrap()));
        patient.join().unwrap().unwrap();
        contents.sort_unstable();
        assert_eq!(contents, if got_in { vec![1, 2, 3] } else { vec![1, 2] });
        assert_eq!(queue.stats().rejected, u64::from(!got_in));
        queue.check();
    });
}

#[test]
fn a_close_wakes_the_producer_that_waits_for_room() {
    explore(|| {
        let queue = narrow();
        enqueue(&queue, 1).unwrap();
        let producer = spawn(&queue, |queue| enqueue_within(&queue, 2, None));
        queue.close(false);
        assert_eq!(producer.join().unwrap(), Err(Error::Closed));
        queue.check();
    });
}

#[test]
fn the_last_read_wakes_a_join() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let reader = consumer(&queue);
        enqueue_all(&queue, 1..=2);
        let joining = spawn(&queue, |queue| queue.join(None));
        assert_eq!([read(&reader), read(&reader)], [Ok(Some(1)), Ok(Some(2))]);
        assert!(joining.join().unwrap());
        queue.check();
    });
}
