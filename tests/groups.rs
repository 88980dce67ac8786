//! The guarantees of groups, one rule in each test. The tests move the time.

mod driven;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mpmc_queue::{
    CHUNK_SIZE, Consumer, Error, Group, GroupOptions, Lifetime, MESSAGE_OVERHEAD, ManualClock, MissedPolicy, Options,
    Overflow, PENDING_OVERHEAD, Queue, Receipt, Retention, Settle, Start,
};

use driven::{SECOND, manual};

/// Options with ten seconds to acknowledge.
fn acks() -> GroupOptions {
    GroupOptions { ack_wait: Some(10 * SECOND), ..GroupOptions::default() }
}

/// A queue with a group of two members.
struct Fixture {
    queue: Queue<u64>,
    clock: Arc<ManualClock>,
    group: Group<u64>,
    a: Consumer<u64>,
    b: Consumer<u64>,
}

fn fixture_of(options: Options, how: &GroupOptions, dead: Option<&Queue<u64>>) -> Fixture {
    let (queue, clock) = manual(options);
    let group =
        queue.add_group("g", Start::Earliest, how, dead.map(|dead| dead.dead_letter(|n| *n, |_| Some(1)))).unwrap();
    let (a, b) = (group.add_consumer(None).unwrap(), group.add_consumer(None).unwrap());
    Fixture { queue, clock, group, a, b }
}

fn fixture(how: GroupOptions) -> Fixture {
    fixture_of(Options::default(), &how, None)
}

impl Fixture {
    fn enqueue(&self, count: u64) {
        let next = self.queue.stats().next_seq;
        (next..next + count).for_each(|n| assert_eq!(self.queue.enqueue(n, 1), Ok(n)));
    }

    fn seconds(&self, count: u64) {
        self.clock.advance(count * SECOND);
        self.queue.len(); // processes what is due
    }

    /// Settles a delivery. Returns whether that counted.
    fn settle(&self, receipt: Receipt, how: Settle) -> bool {
        let counted = self.queue.settle(&receipt, how);
        self.check();
        counted
    }

    /// The counts: pending, unread, missed, read.
    fn books(&self) -> [u64; 4] {
        self.check();
        let stats = self.group.stats().unwrap();
        [stats.pending, stats.unread, stats.missed, stats.read]
    }

    fn check(&self) {
        self.queue.check();
        let stats = self.group.stats().unwrap();
        let accounted = stats.pending + stats.unread + stats.missed + stats.read + stats.dead_lettered;
        assert_eq!(accounted, self.queue.stats().next_seq, "the books balance: {stats:?}");
    }

    /// Asserts that nothing can be read for `seconds - 1` seconds, and something after one more.
    fn ready_in(&self, seconds: u64) -> (u64, u32, Receipt) {
        self.seconds(seconds - 1);
        assert_eq!(take(&self.a), None, "too early");
        self.seconds(1);
        take(&self.b).expect("it is time")
    }
}

/// Reads one delivery of an acknowledging group: seq, deliveries, receipt.
fn take(member: &Consumer<u64>) -> Option<(u64, u32, Receipt)> {
    let mut taken = None;
    let result = member.read_with(1, |delivery| {
        assert_eq!(*delivery.payload, delivery.seq);
        taken = Some((delivery.seq, delivery.deliveries, delivery.receipt.unwrap()));
    });
    assert_eq!(result, Ok(usize::from(taken.is_some())));
    taken
}

fn receipt(member: &Consumer<u64>) -> Receipt {
    take(member).expect("a delivery").2
}

fn seqs(member: &Consumer<u64>, limit: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    member.read_with(limit, |delivery| seqs.push(delivery.seq)).unwrap();
    seqs
}

// --- without acknowledgements -----------------------------------------------------------------------------------------

#[test]
fn each_message_goes_to_one_member_and_settles_itself() {
    let f = fixture(GroupOptions::default());
    f.enqueue(6);
    assert_eq!((f.a.read(), f.b.read(), f.b.read()), (Ok(Some(0)), Ok(Some(1)), Ok(Some(2))));
    f.a.read_with(1, |delivery| assert_eq!((delivery.deliveries, delivery.receipt), (1, None))).unwrap();
    assert_eq!(f.books(), [0, 2, 0, 4]);
    assert!(f.a.close());
    assert_eq!(f.a.read(), Err(Error::ConsumerClosed));
    f.seconds(100);
    assert_eq!(seqs(&f.b, 10), [4, 5]);
    assert_eq!((f.books(), f.b.read()), ([0, 0, 0, 6], Ok(None)));
}

#[test]
fn a_group_is_one_reader_beside_the_others() {
    let f = fixture(GroupOptions::default());
    let alone = f.queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    let other = f.queue.add_group("other", Start::Earliest, &acks(), None).unwrap();
    let member = other.add_consumer(None).unwrap();
    f.enqueue(4);
    assert_eq!((seqs(&f.a, 2), seqs(&f.b, 9)), (vec![0, 1], vec![2, 3]));
    assert_eq!((seqs(&alone, 9), seqs(&member, 9)), (vec![0, 1, 2, 3], vec![0, 1, 2, 3]));
}

#[test]
fn a_group_misses_messages_removed_before_they_are_read() {
    let f = fixture_of(
        Options { ttl: Some(5 * SECOND), ..Options::default() },
        &GroupOptions { ..Default::default() },
        None,
    );
    f.enqueue(3);
    f.a.read().unwrap();
    f.seconds(5);
    f.enqueue(1);
    assert_eq!(f.books(), [0, 1, 2, 1]);
    f.b.read_with(1, |delivery| assert_eq!((delivery.seq, delivery.missed), (3, 2))).unwrap();
}

#[test]
fn names_are_unique_until_the_group_is_closed() {
    let f = fixture(GroupOptions::default());
    let again = || f.queue.add_group("g", Start::Earliest, &acks(), None);
    assert_eq!(again().err(), Some(Error::NameTaken));
    assert_eq!((f.group.members().len(), f.queue.group_names()), (2, vec!["g".to_owned()]));
    assert!(f.group.close());
    assert!(!f.group.close());
    assert_eq!((f.a.read(), f.group.stats()), (Err(Error::ConsumerClosed), Err(Error::GroupClosed)));
    assert_eq!(f.group.add_consumer(None).err(), Some(Error::GroupClosed));
    assert!(f.queue.group("g").is_none() && again().is_ok());
    assert_eq!(f.group.stats(), Err(Error::GroupClosed));
}

// --- with acknowledgements --------------------------------------------------------------------------------------------

#[test]
fn an_acknowledged_message_is_never_delivered_again() {
    let f = fixture(acks());
    f.enqueue(3);
    let receipts = [receipt(&f.a), receipt(&f.b), receipt(&f.a)];
    assert_eq!((f.books(), take(&f.b)), ([3, 0, 0, 0], None));
    receipts.into_iter().for_each(|receipt| assert!(f.settle(receipt, Settle::Ack)));
    assert_eq!(f.books(), [0, 0, 0, 3]);
    receipts.into_iter().for_each(|receipt| assert!(!f.settle(receipt, Settle::Ack)));
    f.seconds(100);
    assert_eq!((f.books(), take(&f.a)), ([0, 0, 0, 3], None));
    assert_eq!((f.a.stats().unwrap().read, f.b.stats().unwrap().read), (2, 1));
}

#[test]
fn an_unacknowledged_message_goes_to_the_next_reader() {
    let f = fixture(acks());
    f.enqueue(2);
    let late = receipt(&f.a);
    assert_eq!((late, f.books()), (late, [1, 1, 0, 0]));
    f.seconds(9);
    assert_eq!(take(&f.b).map(|(seq, deliveries, _)| (seq, deliveries)), Some((1, 1)));
    f.seconds(1);
    let (seq, deliveries, again) = take(&f.b).unwrap();
    assert_eq!((seq, deliveries), (0, 2));
    assert_eq!(f.group.stats().unwrap().redelivered, 1);
    f.settle(again, Settle::Ack);
    f.settle(late, Settle::Ack);
    assert_eq!(f.books(), [1, 0, 0, 1]);
}

#[test]
fn redeliveries_come_before_new_messages_oldest_first() {
    let f = fixture(acks());
    f.enqueue(6);
    assert_eq!(seqs(&f.a, 3), [0, 1, 2]);
    f.seconds(10);
    assert_eq!(seqs(&f.b, 5), [0, 1, 2, 3, 4]);
    f.seconds(10);
    assert_eq!(seqs(&f.b, 9), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn peek_shows_the_redelivery_that_is_next() {
    let f = fixture(acks());
    f.enqueue(2);
    receipt(&f.a);
    let peek = || f.b.peek_with(|delivery| (delivery.seq, delivery.deliveries)).unwrap();
    assert_eq!(peek(), Some((1, 1)));
    f.seconds(10);
    assert_eq!(peek(), Some((0, 2)));
    assert_eq!(take(&f.b).map(|(seq, deliveries, _)| (seq, deliveries)), Some((0, 2)));
}

#[test]
fn deliveries_are_counted_exactly() {
    let f = fixture(acks());
    f.enqueue(1);
    for expected in 1..50 {
        let (seq, deliveries, receipt) = take(&f.a).unwrap();
        assert_eq!((seq, deliveries), (0, expected));
        match expected % 3 {
            0 => assert!(f.settle(receipt, Settle::Nack(0))),
            1 => f.seconds(10),
            _ => assert!(f.settle(receipt, Settle::Nack(0))),
        }
    }
    assert_eq!(f.group.stats().unwrap().redelivered, 48);
}

#[test]
fn a_nack_goes_back_at_once_or_after_its_delay() {
    let f = fixture(acks());
    f.enqueue(1);
    f.settle(receipt(&f.a), Settle::Nack(0));
    f.settle(receipt(&f.b), Settle::Nack(3 * SECOND));
    assert_eq!(f.books(), [1, 0, 0, 0]);
    let (_, deliveries, receipt) = f.ready_in(3);
    assert_eq!(deliveries, 3);
    f.settle(receipt, Settle::Nack(100 * SECOND));
    assert_eq!(f.ready_in(100).1, 4);
}

#[test]
fn backoff_delays_each_redelivery_and_its_last_is_repeated() {
    let f = fixture(GroupOptions { backoff: vec![2 * SECOND, 5 * SECOND], ..acks() });
    f.enqueue(1);
    f.settle(receipt(&f.a), Settle::Nack(0));
    f.settle(f.ready_in(2).2, Settle::Nack(0));
    f.settle(f.ready_in(5).2, Settle::Nack(0));
    // A delivery that times out waits for its backoff too. A longer delay of a nack counts, a shorter one does not.
    f.ready_in(5);
    f.settle(f.ready_in(10 + 5).2, Settle::Nack(7 * SECOND));
    f.settle(f.ready_in(7).2, Settle::Nack(SECOND));
    assert_eq!(f.ready_in(5).1, 7);
}

#[test]
fn a_clock_that_jumps_makes_up_for_both_the_wait_and_the_backoff() {
    let f = fixture(GroupOptions { backoff: vec![5 * SECOND], ..acks() });
    f.enqueue(1);
    receipt(&f.a);
    f.clock.advance(15 * SECOND);
    assert_eq!(take(&f.b).unwrap().1, 2);
}

#[test]
fn in_progress_starts_the_wait_afresh() {
    let f = fixture(acks());
    f.enqueue(1);
    let first = receipt(&f.a);
    for _ in 0..5 {
        f.seconds(9);
        f.settle(first, Settle::InProgress);
    }
    assert_eq!(f.ready_in(10).1, 2);
    f.seconds(9);
    f.settle(first, Settle::InProgress); // of an earlier delivery, so it does not count
    f.seconds(1);
    assert_eq!(take(&f.a).unwrap().1, 3);
}

#[test]
fn for_an_earlier_delivery_only_ack_and_term_count() {
    let f = fixture(acks());
    f.enqueue(3);
    let first = [receipt(&f.a), receipt(&f.a), receipt(&f.a)];
    f.seconds(10);
    let second = [receipt(&f.b), receipt(&f.b), receipt(&f.b)];
    first.into_iter().for_each(|receipt| assert!(!f.settle(receipt, Settle::Nack(0))));
    assert_eq!((take(&f.a), f.books()), (None, [3, 0, 0, 0]));
    f.settle(first[0], Settle::Ack);
    f.settle(first[1], Settle::Term);
    assert_eq!(f.books(), [1, 0, 0, 2]);
    f.settle(second[0], Settle::Nack(0));
    f.settle(second[1], Settle::Nack(0));
    assert_eq!((take(&f.a), f.books()), (None, [1, 0, 0, 2]));
    f.settle(second[2], Settle::Nack(0));
    assert_eq!(take(&f.a).unwrap().0, 2);
}

#[test]
fn an_ack_counts_while_the_message_waits_for_redelivery() {
    let f = fixture(GroupOptions { backoff: vec![5 * SECOND], ..acks() });
    f.enqueue(2);
    let (waiting, ready) = (receipt(&f.a), receipt(&f.a));
    f.seconds(10);
    f.settle(waiting, Settle::Ack);
    f.seconds(5);
    f.settle(ready, Settle::Ack);
    assert_eq!((take(&f.b), f.books()), (None, [0, 0, 0, 2]));
}

#[test]
fn max_deliver_counts_as_missed_where_there_is_no_dead_letter_queue() {
    let f = fixture(GroupOptions { max_deliver: Some(2), ..acks() });
    f.enqueue(2);
    let first = receipt(&f.a);
    f.seconds(10);
    assert_eq!(take(&f.b).unwrap().1, 2);
    f.settle(first, Settle::Nack(0));
    f.seconds(10);
    assert_eq!(f.books(), [0, 1, 1, 0]);
    f.settle(first, Settle::Ack);
    assert_eq!((f.books(), f.a.take_missed()), ([0, 1, 1, 0], Ok(Some(1))));
    assert_eq!(f.queue.len(), 2, "it stays for the others");
}

#[test]
fn max_deliver_by_nack_ends_it_at_once() {
    let f = fixture(GroupOptions { max_deliver: Some(1), ..acks() });
    f.enqueue(1);
    f.settle(receipt(&f.a), Settle::Nack(5 * SECOND));
    assert_eq!(f.books(), [0, 0, 1, 0]);
}

#[test]
fn term_counts_as_read_where_there_is_no_dead_letter_queue() {
    let f = fixture(acks());
    f.enqueue(1);
    f.settle(receipt(&f.a), Settle::Term);
    f.seconds(100);
    assert_eq!((take(&f.b), f.books()), (None, [0, 0, 0, 1]));
}

#[test]
fn undeliverable_messages_go_to_the_dead_letter_queue() {
    let (dead, _) = manual(Options::default());
    let how = GroupOptions { max_deliver: Some(2), ..acks() };
    let f = fixture_of(Options::default(), &how, Some(&dead));
    let graves = dead.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    f.enqueue(3);
    f.settle(receipt(&f.a), Settle::Term);
    assert_eq!(graves.read(), Ok(Some(0)));
    (0..2).for_each(|_| assert!(f.settle(receipt(&f.a), Settle::Nack(0))));
    assert_eq!(graves.read(), Ok(Some(1)));
    receipt(&f.a);
    f.ready_in(10);
    f.seconds(10);
    assert_eq!((graves.read(), graves.read()), (Ok(Some(2)), Ok(None)));
    assert_eq!((f.books(), f.group.stats().unwrap().dead_lettered), ([0, 0, 0, 0], 3));
    dead.check();
}

#[test]
fn while_the_dead_letter_queue_is_full_the_message_stays_pending() {
    let (dead, _) = manual(Options { max_items: Some(1), retention: Retention::Interest, ..Options::default() });
    let graves = dead.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    let how = GroupOptions { backoff: vec![3 * SECOND], ..acks() };
    let f = fixture_of(Options::default(), &how, Some(&dead));
    f.enqueue(2);
    let (first, second) = (receipt(&f.a), receipt(&f.a));
    f.settle(first, Settle::Term);
    f.settle(second, Settle::Term);
    assert_eq!((f.books(), dead.stats().rejected), ([1, 0, 0, 0], 1));
    // A message that was given up is never delivered, and settling it has no effect.
    for how in [Settle::Ack, Settle::Nack(0), Settle::InProgress, Settle::Term] {
        assert!(!f.settle(second, how));
    }
    f.seconds(3);
    assert_eq!((take(&f.b), f.books(), dead.stats().rejected), (None, [1, 0, 0, 0], 2));
    assert_eq!(graves.read(), Ok(Some(0)));
    f.seconds(2);
    assert_eq!(f.books(), [1, 0, 0, 0]);
    f.seconds(1);
    assert_eq!((f.books(), graves.read()), ([0, 0, 0, 0], Ok(Some(1))));
    assert_eq!(f.group.stats().unwrap().dead_lettered, 2);
}

#[test]
fn a_dead_letter_that_its_queue_can_never_take_counts_as_missed() {
    let how = GroupOptions { max_deliver: Some(1), ..acks() };
    let refused = |dead: &Queue<u64>| {
        let f = fixture_of(Options::default(), &how, Some(dead));
        f.enqueue(2);
        let first = receipt(&f.a);
        assert!(f.settle(first, Settle::Term));
        assert!(f.settle(receipt(&f.a), Settle::Nack(0)));
        assert!(!f.settle(first, Settle::Ack), "it was given up");
        let stats = f.group.stats().unwrap();
        assert_eq!((f.books(), stats.dead_lettered, stats.refused_dead_letters), ([0, 0, 2, 0], 0, 2));
        assert_eq!(f.a.take_missed(), Ok(Some(2)));
        assert!(f.queue.join(Some(Duration::ZERO)));
    };
    let (small, _) = manual(Options { max_bytes: MESSAGE_OVERHEAD, ..Options::default() });
    refused(&small);
}

#[test]
fn while_the_dead_letter_queue_is_closed_or_gone_the_message_stays_pending() {
    let (dead, _) = manual(Options::default());
    dead.close(false);
    let f = fixture_of(Options::default(), &GroupOptions { max_deliver: Some(1), ..acks() }, Some(&dead));
    f.enqueue(1);
    let only = receipt(&f.a);
    f.seconds(10);
    drop(dead);
    f.seconds(100); // without a backoff, the next attempt is after each ack_wait
    assert_eq!((take(&f.b), f.books()), (None, [1, 0, 0, 0]));
    assert!(f.settle(only, Settle::Ack), "nobody has settled it");
    assert_eq!((f.books(), f.group.stats().unwrap().dead_lettered), ([0, 0, 0, 1], 0));
}

#[test]
fn a_redelivery_that_is_ready_counts_as_unread_and_not_as_pending() {
    let f = fixture(GroupOptions { max_pending: Some(2), ..acks() });
    f.enqueue(4);
    let (first, second) = (receipt(&f.a), receipt(&f.b));
    assert_eq!((f.books(), f.a.has_more(), f.a.unread()), ([2, 2, 0, 0], Ok(false), Ok(2)));
    assert_eq!(f.a.peek_with(|delivery| delivery.seq), Ok(None), "as many as may be are pending");
    f.seconds(1);
    assert!(f.settle(first, Settle::Nack(0)));
    assert_eq!((f.books(), f.a.has_more(), f.a.unread()), ([1, 3, 0, 0], Ok(true), Ok(3)));
    let stats = f.group.stats().unwrap();
    assert_eq!((stats.unread_bytes, stats.lag), (3, SECOND));
    assert_eq!(f.a.peek_with(|delivery| (delivery.seq, delivery.deliveries)), Ok(Some((0, 2))));
    assert!(f.b.close(), "what it held is ready, too");
    assert_eq!(f.books(), [0, 4, 0, 0]);
    assert!(f.settle(second, Settle::Ack), "late, but nobody else has settled it");
    assert_eq!((f.books(), f.a.stats().unwrap().unread), ([0, 3, 0, 1], 3));
}

#[test]
fn settling_says_whether_it_counted() {
    let f = fixture(acks());
    f.enqueue(1);
    let first = receipt(&f.a);
    assert!(f.settle(first, Settle::InProgress));
    let (_, _, second) = f.ready_in(10);
    assert!(!f.settle(first, Settle::Nack(0)), "a later delivery is at work");
    assert!(!f.settle(first, Settle::InProgress));
    assert!(f.settle(second, Settle::Nack(0)));
    assert!(!f.settle(second, Settle::InProgress), "it was given back");
    let third = receipt(&f.b);
    assert!(f.settle(first, Settle::Ack), "late, but nobody else has settled it");
    for how in [Settle::Ack, Settle::Nack(0), Settle::InProgress, Settle::Term] {
        assert!(!f.settle(third, how), "it is settled");
    }
    f.enqueue(1);
    let only = receipt(&f.a);
    assert!(f.group.close());
    assert!(!f.queue.settle(&only, Settle::Ack), "the group is closed");
}

#[test]
fn a_pending_message_that_expires_is_missed_and_its_late_ack_does_nothing() {
    let f = fixture_of(Options { ttl: Some(5 * SECOND), ..Options::default() }, &acks(), None);
    f.enqueue(2);
    let (late, unread) = (receipt(&f.a), 1);
    f.seconds(5);
    assert_eq!(f.books(), [0, 0, 1 + unread, 0]);
    for how in [Settle::Ack, Settle::Nack(0), Settle::InProgress, Settle::Term] {
        f.settle(late, how);
    }
    assert_eq!((f.books(), take(&f.b)), ([0, 0, 2, 0], None));
    assert_eq!((f.a.take_missed(), f.queue.memory_usage()), (Ok(Some(2)), 0));
    f.enqueue(1);
    f.b.read_with(1, |delivery| assert_eq!((delivery.seq, delivery.missed), (2, 1), "one was lost undelivered"))
        .unwrap();
}

#[test]
fn a_dying_message_that_expires_is_missed() {
    let (dead, _) = manual(Options { max_items: Some(1), ..Options::default() });
    dead.enqueue(0, 1).unwrap();
    let f = fixture_of(Options { ttl: Some(50 * SECOND), ..Options::default() }, &acks(), Some(&dead));
    f.enqueue(1);
    f.settle(receipt(&f.a), Settle::Term);
    assert_eq!(dead.stats().rejected, 1);
    f.seconds(49);
    assert_eq!(f.books(), [1, 0, 0, 0]);
    f.seconds(1);
    assert_eq!(f.books(), [0, 0, 1, 0]);
}

#[test]
fn a_pending_message_that_is_dropped_is_missed() {
    let options = Options { max_items: Some(2), overflow: Overflow::DropOldest, ..Options::default() };
    let f = fixture_of(options, &acks(), None);
    f.enqueue(2);
    let late = receipt(&f.a);
    f.enqueue(1);
    f.settle(late, Settle::Ack);
    assert_eq!((f.books(), f.queue.stats().dropped), ([0, 2, 1, 0], 1));
}

#[test]
fn max_pending_holds_new_deliveries_back_but_not_redeliveries() {
    let f = fixture(GroupOptions { max_pending: Some(2), ..acks() });
    f.enqueue(5);
    assert_eq!(seqs(&f.a, 5), [0, 1]);
    assert_eq!((take(&f.b), f.books()), (None, [2, 3, 0, 0]));
    f.seconds(10);
    let (seq, _, receipt) = take(&f.b).unwrap();
    assert_eq!((seq, seqs(&f.b, 5)), (0, vec![1]));
    f.settle(receipt, Settle::Ack);
    assert_eq!((seqs(&f.a, 5), f.books()), (vec![2], [2, 2, 0, 1]));
}

#[test]
fn deliveries_of_a_closed_member_are_ready_at_once() {
    let f = fixture(GroupOptions { backoff: vec![60 * SECOND], ..acks() });
    f.enqueue(4);
    let (nacked, late, kept) = (receipt(&f.a), receipt(&f.a), receipt(&f.b));
    f.settle(nacked, Settle::Nack(0));
    assert!(f.a.close());
    f.check();
    let (seq, deliveries, again) = take(&f.b).unwrap();
    assert_eq!((seq, deliveries), (1, 2), "what it had nacked waits for its backoff");
    assert_eq!(take(&f.b).unwrap().0, 3);
    f.settle(late, Settle::Nack(0));
    f.settle(late, Settle::InProgress);
    f.settle(again, Settle::Ack);
    f.settle(kept, Settle::Ack);
    assert_eq!(f.books(), [2, 0, 0, 2]);
}

#[test]
fn a_late_ack_of_a_closed_member_counts() {
    let f = fixture(acks());
    f.enqueue(1);
    let late = receipt(&f.a);
    f.a.close();
    f.settle(late, Settle::Ack);
    assert_eq!((take(&f.b), f.books()), (None, [0, 0, 0, 1]));
}

#[test]
fn the_last_delivery_of_a_closed_member_is_dead_lettered() {
    let (dead, _) = manual(Options::default());
    let f = fixture_of(Options::default(), &GroupOptions { max_deliver: Some(1), ..acks() }, Some(&dead));
    f.enqueue(2);
    assert_eq!(seqs(&f.a, 2), [0, 1]);
    f.a.close();
    assert_eq!((dead.len(), f.books(), take(&f.b)), (2, [0, 0, 0, 0], None));
}

#[test]
fn the_last_member_may_go_and_another_come() {
    let f = fixture(acks());
    f.enqueue(2);
    receipt(&f.a);
    assert!(f.a.close() && f.b.close());
    assert_eq!(f.books(), [0, 2, 0, 0]);
    let c = f.group.add_consumer(None).unwrap();
    let first = take(&c).map(|(seq, deliveries, _)| (seq, deliveries));
    assert_eq!((first, seqs(&c, 5)), (Some((0, 2)), vec![1]));
}

#[test]
fn receipts_of_a_closed_group_are_worth_nothing_to_another() {
    let f = fixture(acks());
    f.enqueue(1);
    let old = receipt(&f.a);
    assert!(f.group.close());
    let group = f.queue.add_group("g", Start::Earliest, &acks(), None).unwrap();
    let member = group.add_consumer(None).unwrap();
    receipt(&member);
    f.queue.settle(&old, Settle::Ack);
    assert_eq!(group.stats().unwrap().pending, 1);
}

#[test]
fn seeking_back_takes_back_pending_deliveries_from_there_on() {
    let f = fixture(GroupOptions { max_deliver: Some(3), ..acks() });
    f.enqueue(4);
    let receipts = [receipt(&f.a), receipt(&f.a), receipt(&f.a)];
    f.a.seek(Start::Seq(1)).unwrap();
    assert_eq!(f.books(), [1, 3, 0, 0]);
    f.settle(receipts[2], Settle::Ack); // the message is unread again
    f.seconds(10);
    assert_eq!(seqs(&f.b, 1), [0]);
    assert_eq!([(); 3].map(|()| take(&f.b).unwrap()).map(|(seq, times, _)| (seq, times)), [(1, 1), (2, 1), (3, 1)]);
    for how in [Settle::Ack, Settle::Nack(0), Settle::Term] {
        f.settle(receipts[2], how); // of a delivery that was taken back
    }
    let stats = f.group.stats().unwrap();
    assert_eq!((f.books(), stats.redelivered), ([4, 0, 0, 0], 1));
}

#[test]
fn a_message_taken_back_that_expires_is_missed_once() {
    let f = fixture_of(Options { ttl: Some(5 * SECOND), ..Options::default() }, &acks(), None);
    f.enqueue(2);
    seqs(&f.a, 2);
    f.a.seek(Start::Earliest).unwrap();
    f.seconds(5);
    assert_eq!(f.books(), [0, 0, 2, 0]);
}

#[test]
fn seeking_forward_keeps_pending_deliveries() {
    let f = fixture(acks());
    f.enqueue(4);
    let pending = receipt(&f.a);
    f.a.seek(Start::Latest).unwrap();
    assert_eq!(f.books(), [1, 0, 0, 3]);
    f.settle(pending, Settle::Ack);
    assert_eq!(f.books(), [0, 0, 0, 4]);
}

// --- with retention by interest ---------------------------------------------------------------------------------------

#[test]
fn with_interest_what_is_pending_pins_its_own_slot_only() {
    let f = fixture_of(Options { retention: Retention::Interest, ..Options::default() }, &acks(), None);
    let count = 2 * CHUNK_SIZE as u64 + 10;
    f.enqueue(count);
    let mut receipts = Vec::new();
    f.a.read_with(usize::MAX, |delivery| receipts.extend(delivery.receipt)).unwrap();
    assert_eq!(f.queue.len(), count);
    let pinned = receipts.remove(1500);
    let first = receipts.remove(0);
    receipts.into_iter().for_each(|receipt| assert!(f.queue.settle(&receipt, Settle::Ack)));
    assert_eq!(f.queue.memory_usage(), 2 * (1 + MESSAGE_OVERHEAD + PENDING_OVERHEAD));
    f.settle(first, Settle::Ack);
    assert_eq!((f.queue.len(), f.queue.stats().first_seq), (1, 1500));
    f.seconds(10);
    assert_eq!(take(&f.b).unwrap().0, 1500);
    f.settle(pinned, Settle::Ack);
    assert_eq!((f.queue.len(), f.queue.memory_usage()), (0, 0));
    assert_eq!(f.books(), [0, 0, 0, count]);
}

#[test]
fn with_interest_a_message_stays_for_each_who_needs_it() {
    let f = fixture_of(Options { retention: Retention::Interest, ..Options::default() }, &acks(), None);
    let alone = f.queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    f.enqueue(3);
    let receipts = [receipt(&f.a), receipt(&f.a), receipt(&f.a)];
    f.settle(receipts[0], Settle::Ack);
    assert_eq!((f.queue.len(), alone.read(), f.queue.len()), (3, Ok(Some(0)), 2));
    assert_eq!((alone.read(), f.queue.len()), (Ok(Some(1)), 2));
    f.settle(receipts[1], Settle::Term);
    assert_eq!(f.queue.len(), 1);
    alone.read().unwrap();
    f.group.close();
    assert_eq!(f.queue.len(), 0, "what a closed group had pending is nobody's");
    f.queue.check();
}

#[test]
fn with_interest_what_was_pinned_and_is_read_once_more_leaves_after_that() {
    let f = fixture_of(Options { retention: Retention::Interest, ..Options::default() }, &acks(), None);
    let alone = f.queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    f.enqueue(3);
    let pinned = [receipt(&f.a), receipt(&f.a)];
    f.settle(receipt(&f.a), Settle::Ack);
    assert_eq!((seqs(&alone, 9), f.queue.len()), (vec![0, 1, 2], 2));
    // One cursor goes back to the pinned messages, and a new one starts there.
    alone.seek(Start::Seq(1)).unwrap();
    f.settle(pinned[1], Settle::Ack);
    assert_eq!((seqs(&alone, 9), f.queue.len()), (vec![1], 1));
    let late = f.queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    f.settle(pinned[0], Settle::Ack);
    assert_eq!((seqs(&late, 9), f.queue.len()), (vec![0], 0));
    assert_eq!(f.queue.memory_usage(), 0);
}

#[test]
fn with_interest_what_was_buried_leaves() {
    let (dead, _) = manual(Options::default());
    let options = Options { retention: Retention::Interest, ..Options::default() };
    let f = fixture_of(options, &GroupOptions { max_deliver: Some(1), ..acks() }, Some(&dead));
    f.enqueue(2);
    seqs(&f.a, 2);
    f.seconds(10);
    assert_eq!((dead.len(), f.queue.len(), f.books()), (2, 0, [0, 0, 0, 0]));
}

#[test]
fn with_interest_an_ack_gives_a_blocked_producer_its_space() {
    let options = Options { retention: Retention::Interest, max_items: Some(1), ..Options::default() };
    let f = fixture_of(options, &acks(), None);
    f.enqueue(1);
    let receipt = receipt(&f.a);
    let producer = thread::spawn({
        let queue = f.queue.clone();
        move || queue.enqueue_within(1, 1, None)
    });
    thread::sleep(Duration::from_millis(20));
    assert!(!producer.is_finished());
    f.queue.settle(&receipt, Settle::Ack);
    assert_eq!(producer.join().unwrap(), Ok(1));
    assert_eq!(f.books(), [0, 1, 0, 1]);
}

// --- closing and waiting ----------------------------------------------------------------------------------------------

#[test]
fn join_waits_for_pending_deliveries() {
    let f = fixture(acks());
    f.enqueue(1);
    let receipt = receipt(&f.a);
    assert!(!f.queue.join(Some(Duration::ZERO)));
    f.settle(receipt, Settle::Ack);
    assert!(f.queue.join(Some(Duration::ZERO)));
}

#[test]
fn join_waits_for_the_pending_deliveries_of_every_group() {
    let f = fixture(acks());
    let others = ["second", "third"].map(|name| f.queue.add_group(name, Start::Earliest, &acks(), None).unwrap());
    let members = others.each_ref().map(|group| group.add_consumer(None).unwrap());
    f.enqueue(1);
    let receipts = [&f.a, &members[0], &members[1]].map(receipt);
    for receipt in receipts {
        assert!(!f.queue.join(Some(Duration::ZERO)));
        f.settle(receipt, Settle::Ack);
    }
    assert!(f.queue.join(Some(Duration::ZERO)));
}

#[test]
fn a_closed_queue_is_drained_when_nothing_is_pending() {
    let f = fixture(acks());
    f.enqueue(1);
    let receipt = receipt(&f.a);
    f.queue.close(false);
    assert_eq!(f.b.read(), Ok(None));
    let waiters = [f.a.clone(), f.b.clone()].map(|member| thread::spawn(move || member.read_within(None)));
    f.settle(receipt, Settle::Ack);
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Err(Error::Closed)));
    assert_eq!(f.a.read(), Err(Error::Closed));
}

#[test]
fn closing_at_once_discards_pending_messages_and_counts_none_missed() {
    let f = fixture(acks());
    f.enqueue(2);
    let receipt = receipt(&f.a);
    f.queue.close(true);
    f.queue.settle(&receipt, Settle::Ack);
    f.queue.check();
    let stats = f.group.stats().unwrap();
    assert_eq!((stats.pending, stats.unread, stats.missed, stats.read), (0, 0, 0, 0));
    assert_eq!((f.b.read(), f.queue.memory_usage()), (Err(Error::Closed), 0));
}

const MILLISECOND: u64 = 1_000_000;

/// A queue in real time, with a group of two members and one message for each lifetime.
fn real(how: &GroupOptions, lifetimes: &[Lifetime]) -> (Queue<u64>, Group<u64>, Consumer<u64>, Consumer<u64>) {
    let queue = Queue::new(&Options::default());
    let group = queue.add_group("g", Start::Earliest, how, None).unwrap();
    for (n, &lifetime) in (0..).zip(lifetimes) {
        queue.enqueue_for(n, 1, lifetime).unwrap();
    }
    let (a, b) = (group.add_consumer(None).unwrap(), group.add_consumer(None).unwrap());
    (queue, group, a, b)
}

#[test]
fn a_blocked_member_wakes_for_a_redelivery_at_its_moment() {
    let how = GroupOptions { ack_wait: Some(100 * MILLISECOND), ..GroupOptions::default() };
    let (_queue, group, a, b) = real(&how, &[Lifetime::Queue]);
    let begun = Instant::now();
    receipt(&a);
    assert_eq!(b.read_within(Some(Duration::from_secs(30))), Ok(Some(0)));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(group.stats().unwrap().redelivered, 1);
}

#[test]
fn a_blocked_member_wakes_when_a_pending_message_expires_and_makes_room() {
    let how = GroupOptions { max_pending: Some(1), ..acks() };
    let (_queue, group, a, b) = real(&how, &[Lifetime::Own(100 * MILLISECOND), Lifetime::Queue]);
    let begun = Instant::now();
    receipt(&a);
    assert_eq!(b.read_within(Some(Duration::from_secs(10))), Ok(Some(1)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(group.stats().unwrap().missed, 1);
}

#[test]
fn a_blocked_member_wakes_for_deliveries_of_a_closed_member() {
    let (_queue, _group, a, b) = real(&acks(), &[Lifetime::Queue]);
    receipt(&a);
    let blocked = thread::spawn(move || b.read_within(Some(Duration::from_secs(30))));
    thread::sleep(Duration::from_millis(20));
    a.close();
    assert_eq!(blocked.join().unwrap(), Ok(Some(0)));
}

#[test]
fn what_many_groups_have_pending_expires_whole_and_counts_once() {
    const GROUPS: u64 = 40;
    let count = 2 * CHUNK_SIZE as u64 + 300;
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let groups: Vec<_> = (0..GROUPS)
        .map(|number| queue.add_group(&format!("{number}"), Start::Earliest, &acks(), None).unwrap())
        .collect();
    let members: Vec<_> = groups.iter().map(|group| group.add_consumer(None).unwrap()).collect();
    (0..count).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    clock.advance(SECOND);
    (count..count + 50).for_each(|n| assert_eq!(queue.enqueue(n, 1), Ok(n)));
    for member in &members {
        assert_eq!(member.read_with(usize::MAX, |_| ()), Ok(count as usize + 50));
    }
    clock.advance(9 * SECOND);
    assert_eq!((queue.force_expiration(), queue.len()), (count, 50));
    for group in &groups {
        let stats = group.stats().unwrap();
        assert_eq!((stats.missed, stats.pending, stats.unread), (count, 50, 0));
    }
    queue.check();
}

#[test]
fn what_groups_have_pending_expires_by_its_own_ttl_and_the_rest_stays() {
    [1, 2, 120].into_iter().for_each(expires_by_its_own_ttl);
}

fn expires_by_its_own_ttl(groups: u64) {
    let (queue, clock) = manual(Options { ttl: Some(10 * SECOND), ..Options::default() });
    let groups: Vec<_> = (0..groups)
        .map(|number| queue.add_group(&format!("{number}"), Start::Earliest, &acks(), None).unwrap())
        .collect();
    for n in 0..30 {
        let lifetime = if n % 3 == 0 { Lifetime::Own(SECOND) } else { Lifetime::Forever };
        assert_eq!(queue.enqueue_for(n, 1, lifetime), Ok(n));
    }
    for group in &groups {
        assert_eq!(group.add_consumer(None).unwrap().read_with(usize::MAX, |_| ()), Ok(30));
    }
    clock.advance(SECOND);
    assert_eq!((queue.force_expiration(), queue.len()), (10, 20));
    clock.advance(20 * SECOND);
    assert_eq!((queue.force_expiration(), queue.len()), (0, 20));
    for group in &groups {
        let stats = group.stats().unwrap();
        assert_eq!((stats.missed, stats.pending + stats.unread), (10, 20));
    }
    queue.check();
}

#[test]
fn a_member_that_held_much_gives_all_of_it_back() {
    let f = fixture(acks());
    f.enqueue(5_000);
    let mut of_a = Vec::new();
    // By turns at first, then many at once.
    for (member, count) in [(&f.a, 1), (&f.b, 1)].into_iter().cycle().take(2_000).chain([(&f.a, 3_000)]) {
        let read = seqs(member, count);
        assert_eq!(read.len(), count);
        if std::ptr::eq(member, &f.a) {
            of_a.extend(read);
        }
    }
    f.a.close();
    assert_eq!(f.books(), [1_000, 4_000, 0, 0]);
    assert_eq!(seqs(&f.b, 10_000), of_a);
}

#[test]
fn a_group_goes_back_over_much_that_is_pending() {
    let f = fixture(acks());
    f.enqueue(20_000);
    assert_eq!(seqs(&f.a, 20_000).len(), 20_000);
    f.b.seek(Start::Seq(1_234)).unwrap();
    assert_eq!(f.books(), [1_234, 18_766, 0, 0]);
    assert_eq!(seqs(&f.b, 20_000), (1_234..20_000).collect::<Vec<_>>());
    // The same with deliveries that are ready again.
    assert_eq!(f.books(), [20_000, 0, 0, 0]);
    f.b.close();
    assert_eq!(f.books(), [1_234, 18_766, 0, 0]);
    f.a.seek(Start::Seq(5_000)).unwrap();
    assert_eq!(f.books(), [1_234, 18_766, 0, 0]);
    assert_eq!(seqs(&f.a, 3_766), (1_234..5_000).collect::<Vec<_>>());
    f.a.seek(Start::Earliest).unwrap();
    assert_eq!(f.books(), [0, 20_000, 0, 0]);
}

#[test]
fn a_batch_drops_as_much_that_is_pending_as_it_needs() {
    let options = Options { overflow: Overflow::DropOldest, max_items: Some(5_000), ..Options::default() };
    let f = fixture_of(Options { max_bytes: u64::MAX >> 1, ..options }, &acks(), None);
    f.enqueue(5_000);
    assert_eq!(seqs(&f.a, 4_500).len(), 4_500);
    f.queue.enqueue_batch((0..4_000).map(|n| (n, 1)).collect()).unwrap();
    assert_eq!(f.books(), [500, 4_500, 4_000, 0]);
    assert_eq!((f.queue.len(), f.queue.stats().dropped), (5_000, 4_000));
}

#[test]
fn a_group_of_many_is_closed_for_all_of_its_members_and_those_who_wait() {
    let f = fixture(acks());
    let members: Vec<_> = (0..20).map(|_| f.group.add_consumer(None).unwrap()).collect();
    f.enqueue(10);
    for member in &members[..5] {
        assert_eq!(member.read_with(2, |_| ()), Ok(2));
    }
    thread::scope(|scope| {
        let waiting = scope.spawn(|| members[10].read_within(None));
        assert!(f.group.close());
        assert_eq!(waiting.join().unwrap(), Err(Error::ConsumerClosed));
    });
    assert!(members.iter().all(|member| member.read() == Err(Error::ConsumerClosed)));
    assert_eq!((f.group.members().len(), f.group.stats(), f.group.close()), (0, Err(Error::GroupClosed), false));
    assert_eq!(f.queue.memory_usage(), 10 * (1 + MESSAGE_OVERHEAD), "nothing is pending any more");
    f.queue.check();
}

#[test]
fn missed_messages_are_counted_by_reason_and_rescued_ones_are_not() {
    let ring =
        || Options { max_items: Some(3), overflow: Overflow::DropOldest, ttl: Some(10 * SECOND), ..Options::default() };
    let reasons = |f: &Fixture| {
        let stats = f.group.stats().unwrap();
        (stats.missed, stats.dropped, stats.undeliverable)
    };
    for has_pending in [false, true] {
        // Pending or unread: two are dropped, and three expire.
        let f = fixture_of(ring(), &acks(), None);
        f.enqueue(3);
        if has_pending {
            assert_eq!(f.a.read_with(3, |_| ()), Ok(3));
        }
        f.enqueue(2);
        assert_eq!(reasons(&f), (2, 2, 0));
        f.seconds(10);
        assert_eq!(reasons(&f), (5, 2, 0));
    }
    // One is delivered in vain.
    let f = fixture_of(ring(), &GroupOptions { max_deliver: Some(1), ..acks() }, None);
    f.enqueue(1);
    let mut receipt = None;
    f.a.read_with(1, |delivery| receipt = delivery.receipt).unwrap();
    assert!(f.settle(receipt.unwrap(), Settle::Nack(0)));
    assert_eq!(reasons(&f), (1, 0, 1));
    // The dead letter queue takes what is dropped, and, once it is closed, nothing.
    let (dead, _) = manual(Options::default());
    let f = fixture_of(ring(), &GroupOptions { rescues_missed: true, ..acks() }, Some(&dead));
    f.enqueue(5);
    assert_eq!((reasons(&f), dead.len()), ((0, 0, 0), 2));
    dead.close(false);
    f.enqueue(1);
    assert_eq!(reasons(&f), (1, 1, 0));
    f.seconds(10);
    assert_eq!(reasons(&f), (4, 1, 0));
}
