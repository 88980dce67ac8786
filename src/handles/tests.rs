//! Which call wakes which waiters, one rule in each test. The wakers count their calls, so no thread has to sleep.

#[cfg(not(loom))]
mod wakeups;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};

use crate::error::Error;
use crate::need::{Need, PENDING_OVERHEAD};
use crate::options::{ConsumerOptions, Lifetime, MissedPolicy, Options, Overflow, Retention, Start};
use crate::state::producing::How;
use crate::time::clock::{Clock, ManualClock, Now};
use crate::topics::Topic;
use crate::wait::list::{Condition, Ticket};
use crate::{Consumer, GroupOptions, Queue, Settle};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A waiter that counts its wake-ups.
struct Waiting {
    count: Arc<Count>,
    ticket: Ticket,
}

impl Waiting {
    fn on(queue: &Queue<u64>, condition: Condition) -> Self {
        let count: Arc<Count> = Arc::default();
        let ticket = queue.wait(condition, &Waker::from(count.clone())).expect("there is nothing yet");
        Waiting { count, ticket }
    }

    /// How often it was woken since the last call.
    fn woken(&self) -> usize {
        self.count.0.swap(0, SeqCst)
    }
}

fn manual(options: Options) -> (Queue<u64>, Arc<ManualClock>) {
    let clock = ManualClock::at(Now { mono: 1000, wall: 1000 });
    (Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options }), clock)
}

fn full_of(count: u64) -> Queue<u64> {
    let (queue, _) = manual(Options { max_items: Some(count), retention: Retention::Interest, ..Options::default() });
    (0..count).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    queue
}

fn consumer(queue: &Queue<u64>) -> Consumer<u64> {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

fn space(items: u64) -> Condition {
    Condition::Space(Need { bytes: items, items }, None)
}

fn enqueue_as(queue: &Queue<u64>, waiting: Option<&Waiting>) -> Result<u64, Error> {
    queue.try_enqueue([(7, 1)].into_iter(), Need::one(1), How::default(), waiting.map(|waiting| &waiting.ticket))
}

#[test]
fn each_message_wakes_one_reader_of_each_position() {
    // Without a ttl the fast paths are taken.
    let (queue, _) = manual(Options { ttl: None, ..Options::default() });
    let (a, b) = (consumer(&queue), consumer(&queue));
    let of_a = [(); 3].map(|()| Waiting::on(&queue, Condition::Message(a.key())));
    let of_b = Waiting::on(&queue, Condition::Message(b.key()));
    queue.enqueue(0, 1).unwrap();
    assert_eq!((of_a.each_ref().map(Waiting::woken), of_b.woken()), ([1, 0, 0], 1));
    queue.enqueue_batch(vec![(1, 1), (2, 1)]).unwrap();
    assert_eq!((of_a.each_ref().map(Waiting::woken), of_b.woken()), ([0, 1, 1], 0));
}

#[test]
fn a_woken_reader_that_leaves_without_its_message_wakes_the_next() {
    let (queue, _) = manual(Options::default());
    let reader = consumer(&queue);
    let [first, second] = [(); 2].map(|()| Waiting::on(&queue, Condition::Message(reader.key())));
    queue.enqueue(0, 1).unwrap();
    assert_eq!((first.woken(), second.woken()), (1, 0));
    queue.give_up(&first.ticket);
    assert_eq!(second.woken(), 1);
}

#[test]
fn a_reader_that_was_not_woken_wakes_no_other_when_it_leaves() {
    let (queue, _) = manual(Options::default());
    let reader = consumer(&queue);
    let [first, second] = [(); 2].map(|()| Waiting::on(&queue, Condition::Message(reader.key())));
    queue.give_up(&first.ticket);
    assert_eq!((first.woken(), second.woken()), (0, 0));
    queue.enqueue(0, 1).unwrap();
    assert_eq!((first.woken(), second.woken()), (0, 1));
}

#[test]
fn waiters_that_leave_in_any_order_leave_the_others_waiting() {
    let (queue, _) = manual(Options::default());
    let readers = [(); 4].map(|()| consumer(&queue));
    let waiting = readers.each_ref().map(|reader| Waiting::on(&queue, Condition::Message(reader.key())));
    for left in [0, 3, 1] {
        queue.give_up(&waiting[left].ticket);
        queue.check();
    }
    queue.enqueue(0, 1).unwrap();
    queue.check();
    assert_eq!(waiting.each_ref().map(Waiting::woken), [0, 0, 1, 0]);
}

#[test]
fn seeking_back_wakes_waiting_readers() {
    let (queue, _) = manual(Options::default());
    let reader = consumer(&queue);
    queue.enqueue(0, 1).unwrap();
    reader.read().unwrap();
    let waiting = Waiting::on(&queue, Condition::Message(reader.key()));
    reader.seek(Start::Earliest).unwrap();
    assert_eq!(waiting.woken(), 1);
}

#[test]
fn whoever_waits_for_something_missed_wakes_for_that() {
    let (queue, clock) = manual(Options { ttl: Some(10), ..Options::default() });
    let reader = consumer(&queue);
    let waiting = Waiting::on(&queue, Condition::Missed(reader.key()));
    queue.enqueue(0, 1).unwrap();
    assert_eq!(waiting.woken(), 0);
    clock.advance(10);
    assert_eq!((queue.len(), waiting.woken()), (0, 1));
}

#[test]
fn closing_wakes_everyone() {
    let (queue, _) = manual(Options { max_items: Some(1), ..Options::default() });
    queue.enqueue(0, 1).unwrap();
    let reader = queue.add_consumer(None, Start::Latest, MissedPolicy::Skip).unwrap();
    let (late, early) = (Condition::Message(reader.key()), Condition::Missed(reader.key()));
    let waiting = [late, early, space(1)].map(|what| Waiting::on(&queue, what));
    queue.close(false);
    assert_eq!(waiting.each_ref().map(Waiting::woken), [1, 1, 1]);
}

#[test]
fn a_removed_consumer_wakes_its_waiters() {
    let (queue, _) = manual(Options::default());
    let reader = consumer(&queue);
    let waiting =
        [Condition::Message(reader.key()), Condition::Missed(reader.key())].map(|what| Waiting::on(&queue, what));
    reader.close();
    assert_eq!(waiting.each_ref().map(Waiting::woken), [1, 1]);
}

#[test]
fn a_join_wakes_when_the_last_message_is_read() {
    let (queue, _) = manual(Options::default());
    let (a, b) = (consumer(&queue), consumer(&queue));
    queue.enqueue_batch(vec![(0, 1), (1, 1)]).unwrap();
    // From the second message on, a read may take the fast path.
    assert_eq!((a.read(), b.read()), (Ok(Some(0)), Ok(Some(0))));
    let waiting = Waiting::on(&queue, Condition::Joined);
    a.read().unwrap();
    assert_eq!(waiting.woken(), 0);
    b.read().unwrap();
    assert_eq!(waiting.woken(), 1);
}

#[test]
fn a_join_wakes_when_the_consumer_that_had_not_read_is_removed() {
    let (queue, _) = manual(Options::default());
    let reader = consumer(&queue);
    queue.enqueue(0, 1).unwrap();
    let waiting = Waiting::on(&queue, Condition::Joined);
    reader.close();
    assert_eq!(waiting.woken(), 1);
}

#[test]
fn a_producer_wakes_when_it_fits_and_not_before() {
    let queue = full_of(2);
    let reader = consumer(&queue);
    let waiting = Waiting::on(&queue, space(2));
    reader.read().unwrap();
    assert_eq!(waiting.woken(), 0);
    reader.read().unwrap();
    assert_eq!(waiting.woken(), 1);
}

#[test]
fn a_higher_limit_wakes_the_first_producer_and_a_lower_one_those_that_can_never_fit() {
    let queue = full_of(2);
    let [first, second] = [1, 2].map(|items| Waiting::on(&queue, space(items)));
    queue.set_max_items(Some(3));
    assert_eq!((first.woken(), second.woken()), (1, 0));
    queue.set_max_items(Some(1));
    assert_eq!((first.woken(), second.woken()), (0, 1));
}

#[test]
fn no_producer_overtakes_a_waiting_one() {
    let queue = full_of(2);
    let reader = consumer(&queue);
    let waiting = Waiting::on(&queue, space(1));
    assert_eq!(reader.read(), Ok(Some(0)));
    assert_eq!(waiting.woken(), 1);
    assert!(matches!(queue.enqueue(2, 1), Err(Error::Full(_))));
    assert!(matches!(enqueue_as(&queue, None), Err(Error::Full(_))));
    assert_eq!(enqueue_as(&queue, Some(&waiting)), Ok(2));
    assert_eq!(reader.read(), Ok(Some(1)));
    assert_eq!(queue.enqueue(3, 1), Ok(3), "its place is free");
}

#[test]
fn producers_wake_one_after_the_other() {
    let queue = full_of(2);
    let reader = consumer(&queue);
    let [first, second] = [(); 2].map(|()| Waiting::on(&queue, space(1)));
    reader.read().unwrap();
    reader.read().unwrap();
    assert!(first.woken() >= 1);
    assert_eq!(second.woken(), 0);
    assert_eq!(enqueue_as(&queue, Some(&first)), Ok(2));
    assert_eq!(second.woken(), 1);
}

#[test]
fn a_producer_that_goes_away_lets_the_next_in() {
    let queue = full_of(2);
    let reader = consumer(&queue);
    let [large, small] = [2, 1].map(|items| Waiting::on(&queue, space(items)));
    reader.read().unwrap();
    assert_eq!((large.woken(), small.woken()), (0, 0));
    queue.give_up(&large.ticket);
    assert_eq!(small.woken(), 1);
}

#[test]
fn a_drop_wakes_waiters_for_missed_messages() {
    let (queue, _) = manual(Options { max_items: Some(1), overflow: Overflow::DropOldest, ..Options::default() });
    let reader = consumer(&queue);
    queue.enqueue(0, 1).unwrap();
    let waiting = Waiting::on(&queue, Condition::Missed(reader.key()));
    queue.enqueue(1, 1).unwrap();
    assert_eq!((waiting.woken(), reader.take_missed()), (1, Ok(Some(1))));
}

#[test]
fn a_member_wakes_when_its_group_may_deliver() {
    let (queue, clock) = manual(Options::default());
    let how = GroupOptions { ack_wait: Some(10), max_pending: Some(1), ..GroupOptions::default() };
    let group = queue.add_group("g", Start::Earliest, &how, None).unwrap();
    let member = group.add_consumer(None).unwrap();
    let [first, second] = [(); 2].map(|()| Waiting::on(&queue, Condition::Message(member.key())));
    queue.enqueue_batch(vec![(0, 1), (1, 1)]).unwrap();
    assert_eq!((first.woken(), second.woken()), (1, 0), "one may be pending");
    let mut receipt = None;
    member.read_with(1, |delivery| receipt = delivery.receipt).unwrap();
    clock.advance(10);
    queue.len();
    assert_eq!(second.woken(), 1, "for the redelivery");
    member.read_with(1, |delivery| receipt = delivery.receipt).unwrap();
    let third = Waiting::on(&queue, Condition::Message(member.key()));
    queue.settle(&receipt.unwrap(), Settle::Ack);
    assert_eq!(third.woken(), 1, "for the room that the acknowledgement made");
}

#[test]
fn a_producer_under_a_topic_that_is_held_wakes_when_it_fits_without_the_text() {
    let topic = Topic::new("a").unwrap();
    let full = Need { bytes: 3, items: 3 }.under(Some(&topic)).charge();
    let (queue, _) =
        manual(Options { max_bytes: full, retention: Retention::Interest, ttl: None, ..Options::default() });
    let reader = consumer(&queue);
    for payload in 0..3 {
        queue.enqueue_under(&topic, payload, 1, Lifetime::Queue).unwrap();
    }
    let waiting = Waiting::on(&queue, Condition::Space(Need::one(1), Some(topic.clone())));
    assert_eq!(waiting.woken(), 0);
    reader.read().unwrap();
    assert_eq!(waiting.woken(), 1);
    let other = Condition::Space(Need::one(1), Some(Topic::new("b").unwrap()));
    assert_eq!(Waiting::on(&queue, other).woken(), 0);
}

#[test]
fn a_producer_wakes_when_a_delivery_that_is_charged_is_settled() {
    let message = Need::one(1).charge();
    let max_bytes = 2 * message + PENDING_OVERHEAD - 1;
    let (queue, _) = manual(Options { max_bytes, ttl: None, ..Options::default() });
    let acking = GroupOptions { ack_wait: Some(10), ..GroupOptions::default() };
    let member = queue.add_group("g", Start::Earliest, &acking, None).unwrap().add_consumer(None).unwrap();
    queue.enqueue(0, 1).unwrap();
    let mut receipt = None;
    member.read_with(1, |delivery| receipt = delivery.receipt).unwrap();
    let waiting = Waiting::on(&queue, Condition::Space(Need::one(1), None));
    assert_eq!(waiting.woken(), 0, "the message fits, but not beside the pending delivery");
    queue.settle(&receipt.unwrap(), Settle::Ack);
    assert_eq!(waiting.woken(), 1);
}

fn follower(queue: &Queue<u64>, before: &Consumer<u64>, policy: MissedPolicy) -> Consumer<u64> {
    let after = vec![before.predecessor()];
    queue.add_consumer_with(&ConsumerOptions { after, policy, ..ConsumerOptions::default() }).unwrap()
}

#[test]
fn a_follower_in_a_closed_queue_wakes_when_nothing_more_can_come() {
    for expires in [false, true] {
        let (queue, clock) = manual(Options::default());
        let first = consumer(&queue);
        let second = follower(&queue, &first, MissedPolicy::Skip);
        queue.enqueue_for(0, 1, Lifetime::Own(10)).unwrap();
        queue.close(false);
        let waiting = [(); 3].map(|()| Waiting::on(&queue, Condition::Message(second.key())));
        if expires {
            clock.advance(10);
            queue.len();
        } else {
            assert_eq!(first.read(), Ok(Some(0)));
            assert_eq!(waiting.each_ref().map(Waiting::woken), [1, 0, 0]);
            assert_eq!(second.read(), Ok(Some(0)));
        }
        assert_eq!(waiting.iter().map(Waiting::woken).sum::<usize>(), if expires { 3 } else { 2 });
        assert_eq!(second.read(), Err(Error::Closed));
    }
}

#[test]
fn a_follower_that_tells_of_gaps_wakes_for_one() {
    let (queue, clock) = manual(Options::default());
    let second = follower(&queue, &consumer(&queue), MissedPolicy::Tell);
    queue.enqueue_for(0, 1, Lifetime::Own(10)).unwrap();
    queue.enqueue(1, 1).unwrap();
    let waiting = Waiting::on(&queue, Condition::Message(second.key()));
    clock.advance(10);
    queue.len();
    assert_eq!((waiting.woken(), second.read()), (1, Err(Error::Missed(1))));
}

#[test]
fn a_member_that_was_woken_for_a_gap_and_leaves_wakes_the_next() {
    let (queue, clock) = manual(Options { ttl: Some(10), ..Options::default() });
    let group = queue.add_group("g", Start::Earliest, &GroupOptions::default(), None).unwrap();
    let members = [(); 2].map(|()| group.add_consumer(None).unwrap());
    let [first, second] = members.each_ref().map(|member| Waiting::on(&queue, Condition::Missed(member.key())));
    queue.enqueue(0, 1).unwrap();
    clock.advance(10);
    queue.len();
    assert_eq!((first.woken(), second.woken()), (1, 0));
    members[0].close();
    assert_eq!((second.woken(), members[1].take_missed()), (1, Ok(Some(1))));
}

#[test]
fn a_follower_of_a_group_wakes_when_the_message_is_settled() {
    let (queue, _) = manual(Options::default());
    let acking = GroupOptions { ack_wait: Some(10), ..GroupOptions::default() };
    let group = queue.add_group("g", Start::Earliest, &acking, None).unwrap();
    let second = follower(&queue, &group.add_consumer(None).unwrap(), MissedPolicy::Skip);
    queue.enqueue(0, 1).unwrap();
    let mut receipt = None;
    group.members()[0].read_with(1, |delivery| receipt = delivery.receipt).unwrap();
    let waiting = Waiting::on(&queue, Condition::Message(second.key()));
    queue.settle(&receipt.unwrap(), Settle::Ack);
    assert_eq!((waiting.woken(), second.read()), (1, Ok(Some(0))));
}
