//! Members of a group, and the results of their deliveries.

use super::*;

#[test]
fn each_message_goes_to_one_member() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let group = queue.add_group("group", Start::Earliest, &GroupOptions::default(), None).unwrap();
        let members = [(), ()].map(|()| group.add_consumer(None).unwrap());
        let readings = members.map(|member| spawn(&member, |member| await_one(&member).unwrap()));
        enqueue_all(&queue, 1..=2);
        let mut contents = readings.map(|reading| reading.join().unwrap());
        contents.sort_unstable();
        assert_eq!(contents, [1, 2]);
        assert_eq!(group.stats().unwrap().read, 2);
        queue.check();
    });
}

#[test]
fn an_ack_and_a_redelivery_settle_a_message_once() {
    explore(|| {
        let (queue, clock) = queue(untimed());
        let (group, one, other) = acknowledging(&queue);
        enqueue(&queue, 1).unwrap();
        let (_, _, receipt) = receive(&one).unwrap();
        let acking = spawn(&queue, move |queue| queue.settle(&receipt, Settle::Ack));
        clock.advance(TTL);
        let again = receive(&other);
        if let Some((content, deliveries, receipt)) = again {
            assert_eq!((content, deliveries), (1, 2));
            queue.settle(&receipt, Settle::Ack);
        }
        acking.join().unwrap();
        let stats = group.stats().unwrap();
        assert_eq!((stats.read, stats.pending, stats.missed), (1, 0, 0));
        assert_eq!(stats.redelivered, u64::from(again.is_some()));
        queue.check();
    });
}

#[test]
fn an_unacknowledged_message_wakes_a_waiting_member() {
    explore(|| {
        let (queue, clock) = queue(untimed());
        let (group, one, other) = acknowledging(&queue);
        enqueue(&queue, 1).unwrap();
        receive(&one).unwrap();
        let waiting = spawn(&other, |other| await_one(&other));
        clock.advance(TTL);
        queue.force_expiration();
        assert_eq!(waiting.join().unwrap(), Ok(1));
        assert_eq!(group.stats().unwrap().redelivered, 1);
        queue.check();
    });
}

#[test]
fn a_returned_delivery_wakes_a_waiting_member() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let (group, one, other) = acknowledging(&queue);
        enqueue(&queue, 1).unwrap();
        let (_, _, receipt) = receive(&one).unwrap();
        let waiting = spawn(&other, |other| await_one(&other));
        queue.settle(&receipt, Settle::Nack(0));
        assert_eq!(waiting.join().unwrap(), Ok(1));
        assert_eq!(group.stats().unwrap().redelivered, 1);
        queue.check();
    });
}

#[test]
fn deliveries_of_a_closing_member_go_to_a_waiting_one() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let (group, one, other) = acknowledging(&queue);
        enqueue(&queue, 1).unwrap();
        receive(&one).unwrap();
        let waiting = spawn(&other, |other| await_one(&other));
        assert!(one.close());
        assert_eq!(waiting.join().unwrap(), Ok(1));
        assert_eq!(group.stats().unwrap().redelivered, 1);
        queue.check();
    });
}

#[test]
fn the_last_ack_of_a_closed_queue_ends_the_waiting() {
    explore(|| {
        let (queue, _) = queue(untimed());
        let (_, one, other) = acknowledging(&queue);
        enqueue(&queue, 1).unwrap();
        let (_, _, receipt) = receive(&one).unwrap();
        let waiting = spawn(&other, |other| await_one(&other));
        let closing = spawn(&queue, |queue| queue.close(false));
        queue.settle(&receipt, Settle::Ack);
        assert_eq!(waiting.join().unwrap(), Err(Error::Closed));
        closing.join().unwrap();
        queue.check();
    });
}
