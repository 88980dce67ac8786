//! Figures for callers that watch a queue: sums that never decrease, and a view that changes nothing.

use std::collections::HashMap;

use std::thread;
use std::time::Duration;

use mpmc_queue::{
    Consumer, ConsumerOptions, Follows, GroupOptions, MissedPolicy, Options, Overflow, Queue, Reader, Retention, Start,
};

fn queue(options: Options) -> Queue<u64> {
    Queue::new(&Options { ttl: None, ..options })
}

fn consumer(queue: &Queue<u64>, name: Option<&str>) -> Consumer<u64> {
    queue.add_consumer(name.map(str::to_owned), Start::Earliest, MissedPolicy::Skip).unwrap()
}

fn read(consumer: &Consumer<u64>, count: usize) {
    (0..count).for_each(|_| assert!(consumer.read().unwrap().is_some()));
}

fn enqueue(queue: &Queue<u64>, count: u64) {
    (0..count).for_each(|n| assert_eq!(queue.enqueue(n, 7), Ok(n)));
}

type Sums = HashMap<(Option<String>, Option<String>), (u64, u64)>;

/// What consumers read and missed, including removed ones, by group and name.
fn sums(queue: &Queue<u64>) -> Sums {
    let figures = queue.figures();
    let mut sums = Sums::new();
    for consumer in figures.consumers {
        let missed = if consumer.group.is_some() { 0 } else { consumer.missed };
        let sum = sums.entry((consumer.group, consumer.name)).or_default();
        *sum = (sum.0 + consumer.read, sum.1 + missed);
    }
    for past in figures.departed {
        let sum = sums.entry((past.group, past.name)).or_default();
        *sum = (sum.0 + past.read, sum.1 + past.missed);
    }
    sums
}

fn key(group: Option<&str>, name: Option<&str>) -> (Option<String>, Option<String>) {
    (group.map(str::to_owned), name.map(str::to_owned))
}

#[test]
fn sums_of_unnamed_consumers_stay() {
    let queue = queue(Options { max_items: Some(4), overflow: Overflow::DropOldest, ..Options::default() });
    let (gone, stays) = (consumer(&queue, None), consumer(&queue, None));
    enqueue(&queue, 6);
    read(&gone, 3);
    read(&stays, 1);
    assert_eq!(sums(&queue)[&key(None, None)], (4, 4));
    gone.close();
    assert_eq!(sums(&queue)[&key(None, None)], (4, 4));
    stays.close();
    assert_eq!(sums(&queue)[&key(None, None)], (4, 4));
}

#[test]
fn the_sum_of_a_name_lasts_while_a_consumer_has_that_name() {
    let queue = queue(Options::default());
    let (one, other) = (consumer(&queue, Some("twin")), consumer(&queue, Some("twin")));
    enqueue(&queue, 5);
    read(&one, 5);
    read(&other, 2);
    one.close();
    assert_eq!(sums(&queue)[&key(None, Some("twin"))], (7, 0));
    other.close();
    assert_eq!(sums(&queue), Sums::new());
    read(&consumer(&queue, Some("twin")), 1);
    assert_eq!(queue.figures().departed, []);
}

#[test]
fn reads_of_members_are_summed_by_group_and_go_with_it() {
    let queue = queue(Options::default());
    let group = queue.add_group("workers", Start::Earliest, &GroupOptions::default(), None).unwrap();
    let (one, other) = (group.add_consumer(None).unwrap(), group.add_consumer(None).unwrap());
    enqueue(&queue, 5);
    read(&one, 2);
    read(&other, 1);
    one.close();
    assert_eq!(sums(&queue)[&key(Some("workers"), None)], (3, 0));
    let figures = queue.figures().groups.remove(0);
    assert_eq!((figures.name.as_str(), figures.read, figures.unread, figures.unread_bytes), ("workers", 3, 2, 14));
    let names: Vec<_> = queue.group_stats().into_iter().map(|figures| (figures.name, figures.members)).collect();
    assert_eq!(names, [("workers".to_owned(), 1)]);
    group.close();
    assert_eq!(sums(&queue), Sums::new());
}

#[test]
fn a_look_shows_held_messages_and_changes_nothing() {
    let queue = queue(Options { retention: Retention::Interest, ..Options::default() });
    let reader = consumer(&queue, None);
    enqueue(&queue, 2500);
    read(&reader, 1200);
    let look = |seq, limit| {
        let mut seen = Vec::new();
        queue.look(seq, limit, |delivery| seen.push((delivery.seq, *delivery.payload, delivery.size)));
        seen
    };
    assert_eq!(look(0, 2), [(1200, 1200, 7), (1201, 1201, 7)]);
    assert_eq!(look(2499, 10), [(2499, 2499, 7)]);
    assert_eq!(look(1990, 20).len(), 20);
    assert_eq!(look(2500, 10), []);
    assert_eq!(look(0, 0), []);
    assert_eq!(look(u64::MAX, 1), []);
    assert_eq!(queue.len(), 1300);
    assert_eq!(reader.read(), Ok(Some(1200)));
    assert!(queue.figures().oldest > 0);
    queue.check();
}

#[test]
fn figures_tell_the_settings_who_waits_for_room_and_who_follows_whom() {
    let queue = queue(Options { max_items: Some(1), retention: Retention::Interest, ..Options::default() });
    let first = consumer(&queue, None);
    let group = queue.add_group("g", Start::Earliest, &GroupOptions::default(), None).unwrap();
    let after = vec![first.predecessor(), group.predecessor()];
    let last = queue.add_consumer_with(&ConsumerOptions { after, ..ConsumerOptions::default() }).unwrap();
    let figures = queue.figures();
    assert_eq!((figures.retention, figures.overflow), (Retention::Interest, Overflow::Reject));
    let follower = Reader::Consumer(last.id());
    let expected = [Reader::Consumer(first.id()), Reader::Group("g".to_owned())]
        .map(|predecessor| Follows { follower: follower.clone(), predecessor });
    assert_eq!(figures.order, expected);
    group.close();
    assert_eq!(queue.figures().order, expected[..1]);
    enqueue(&queue, 1);
    thread::scope(|scope| {
        scope.spawn(|| queue.enqueue_within(1, 7, Some(Duration::from_secs(60))));
        while queue.figures().waiting_producers == 0 {
            thread::yield_now();
        }
        queue.close(true);
    });
    assert_eq!(queue.figures().waiting_producers, 0);
}
