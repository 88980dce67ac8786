//! Which operations stay equally fast when a thousand times as much is held: `cargo bench --bench growth`.
//!
//! There are two tables. *Cost against size*: the same operation on a small queue and on a large one, in turns. The
//! ratio of the fastest rounds may be at most 1.3. *Longest hold* (with `--features holds`): the longest time that the
//! queue's lock was held, by the function that held it, with 4 million messages, 10,000 consumers and 1,000 groups. The
//! result of a round is its longest hold. The result of the table is the best of a few rounds, because the machine may
//! interrupt a hold. The limit is 100 µs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpmc_queue::{
    Clock, Consumer, ConsumerOptions, Filters, GroupOptions, Lifetime, ManualClock, MissedPolicy, Now, Options,
    Overflow, Queue, Retention, Start, Topic,
};

const SECOND: u64 = 1_000_000_000;
/// How much a cost may grow, as a factor.
const GROWTH: f64 = 1.3;
/// Small number of messages, consumers or groups. The large number is a thousand times that.
const FEW: u64 = 1_000;
/// Large number of messages.
const MANY: u64 = 1_000_000;
/// Rounds for each side of a row.
const ROUNDS: usize = 25;

/// An operation that can be repeated, and how often a round repeats it.
struct Side {
    run: Box<dyn FnMut()>,
    times: u32,
}

fn side(times: u32, run: impl FnMut() + 'static) -> Side {
    Side { run: Box::new(run), times }
}

impl Side {
    fn round(&mut self) -> f64 {
        let started = Instant::now();
        for _ in 0..self.times {
            (self.run)();
        }
        started.elapsed().as_nanos() as f64 / f64::from(self.times)
    }
}

struct Row {
    what: &'static str,
    few: Side,
    many: Side,
}

fn options() -> Options {
    Options { ttl: None, max_bytes: u64::MAX, ..Options::default() }
}

/// A queue that holds `held` messages, created at intervals of a microsecond, on a clock that does not move.
fn filled(held: u64, options: &Options) -> (Queue<u64>, Arc<ManualClock>) {
    let clock = ManualClock::at(Now { mono: SECOND, wall: SECOND });
    let queue = Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options.clone() });
    for seq in 0..held {
        clock.advance(1000);
        queue.enqueue(seq, 8).unwrap();
    }
    (queue, clock)
}

fn consumer(queue: &Queue<u64>) -> Consumer<u64> {
    queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap()
}

/// A queue with a hole in each chunk, and a consumer at its middle.
fn with_holes(held: u64) -> Consumer<u64> {
    let clock = ManualClock::at(Now { mono: SECOND, wall: SECOND });
    let queue = Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options() });
    for seq in 0..held {
        let lifetime = if seq % 1000 == 500 { Lifetime::Own(1) } else { Lifetime::Queue };
        queue.enqueue_for(seq, 8, lifetime).unwrap();
    }
    clock.advance(10);
    queue.force_expiration();
    let consumer = consumer(&queue);
    // Half of a chunk is ahead on both sides.
    consumer.seek(Start::Seq(held / 2000 * 1000 + 499)).unwrap();
    consumer.read().unwrap();
    consumer
}

fn filtered(queue: &Queue<u64>, text: &str) -> Consumer<u64> {
    let filters = Some(Filters::new([text]).unwrap());
    queue.add_consumer_with(&ConsumerOptions { filters, ..ConsumerOptions::default() }).unwrap()
}

fn topics(count: u64) -> Vec<Topic> {
    (0..count).map(|number| Topic::new(&format!("topic.{number}")).unwrap()).collect()
}

/// Enqueues under one of many topics, while consumers wait for other topics.
fn under(count: u64, filters: u64) -> Side {
    let held = Options { overflow: Overflow::DropOldest, max_items: Some(20_000), ..options() };
    let (queue, _) = filled(0, &held);
    let topics = topics(count);
    for topic in &topics {
        queue.enqueue_under(topic, 0, 8, Lifetime::Queue).unwrap();
    }
    let readers: Vec<_> = (0..filters).map(|number| filtered(&queue, &format!("other.{number}.>"))).collect();
    let mut next = 0;
    side(1000, move || {
        black_box(&readers);
        next += 1;
        queue.enqueue_under(&topics[next % topics.len()], 1, 8, Lifetime::Queue).unwrap();
    })
}

/// The figures of a consumer with a filter, in the middle of the held messages.
fn choosing(held: u64) -> Side {
    let clock = ManualClock::at(Now { mono: SECOND, wall: SECOND });
    let queue = Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options() });
    let reader = filtered(&queue, "topic.3");
    let topics = topics(10);
    for seq in 0..held {
        let lifetime = if seq % 1000 == 503 { Lifetime::Own(1) } else { Lifetime::Queue };
        queue.enqueue_under(&topics[(seq % 10) as usize], seq, 8, lifetime).unwrap();
    }
    clock.advance(10);
    queue.force_expiration();
    reader.seek(Start::Seq(held / 2000 * 1000 + 499)).unwrap();
    reader.read().unwrap();
    side(1000, move || drop(black_box(reader.stats())))
}

/// A read that skips many messages that do not match.
fn passing(count: u64) -> Side {
    let (queue, _) = filled(0, &Options { overflow: Overflow::DropOldest, max_items: Some(MANY), ..options() });
    let (common, rare) = (Topic::new("common").unwrap(), Topic::new("rare").unwrap());
    let reader = filtered(&queue, "rare");
    let batches = MANY / (count + 1);
    for _ in 0..batches {
        queue.enqueue_batch_under(Some(&common), vec![(0, 8); count as usize]).unwrap();
        queue.enqueue_under(&rare, 1, 8, Lifetime::Queue).unwrap();
    }
    side(20, move || {
        if reader.read().unwrap().is_none() {
            reader.seek(Start::Earliest).unwrap();
        }
    })
}

fn rows() -> Vec<Row> {
    let stats = |held: u64| {
        let (queue, _) = filled(held, &options());
        let consumer = consumer(&queue);
        side(1000, move || drop(black_box(consumer.stats())))
    };
    let holes = |held: u64| {
        let consumer = with_holes(held);
        side(1000, move || drop(black_box(consumer.stats())))
    };
    let all_stats = |consumers: usize| {
        let consumer = with_holes(MANY);
        let queue = consumer.queue().clone();
        let all: Vec<_> =
            (1..consumers).map(|_| queue.add_consumer(None, Start::Seq(MANY / 2), MissedPolicy::Skip)).collect();
        let mut next = 0;
        side(1000, move || {
            next += 1;
            let look = all.get(next % consumers).and_then(|one| one.as_ref().ok()).unwrap_or(&consumer);
            drop(black_box(look.stats()));
        })
    };
    let idle = |consumers: usize| {
        let (queue, _) = filled(0, &Options { overflow: Overflow::DropOldest, max_items: Some(FEW), ..options() });
        let all: Vec<_> = (0..consumers).map(|_| consumer(&queue)).collect();
        side(1000, move || {
            black_box(&all);
            queue.enqueue(1, 8).unwrap();
        })
    };
    let departed = |consumers: usize| {
        let (queue, _) = filled(FEW, &Options { overflow: Overflow::DropOldest, max_items: Some(FEW), ..options() });
        for _ in 0..consumers {
            consumer(&queue).close();
        }
        side(1000, move || {
            queue.enqueue(1, 8).unwrap();
        })
    };
    let interest = |consumers: usize| {
        let (queue, _) = filled(0, &Options { retention: Retention::Interest, ..options() });
        let slowest = consumer(&queue);
        let others: Vec<_> = (1..consumers).map(|_| consumer(&queue)).collect();
        side(1000, move || {
            black_box(&others);
            queue.enqueue(1, 8).unwrap();
            slowest.read().unwrap();
        })
    };
    let joining = |consumers: usize| {
        let (queue, _) = filled(1, &options());
        let behind = consumer(&queue);
        let others: Vec<_> =
            (1..consumers).map(|_| queue.add_consumer(None, Start::Latest, MissedPolicy::Skip)).collect();
        side(1000, move || {
            black_box((&others, &behind));
            black_box(queue.join(Some(Duration::ZERO)));
        })
    };
    let finding = |consumers: usize| {
        let (queue, _) = filled(0, &options());
        let all: Vec<_> = (0..consumers).map(|_| consumer(&queue)).collect();
        let id = all[consumers / 2].id();
        side(1000, move || {
            black_box(&all);
            drop(black_box(queue.consumer(id)));
        })
    };
    let grouping = |groups: usize| {
        let (queue, _) = filled(0, &options());
        for number in 0..groups {
            queue.add_group(&number.to_string(), Start::Earliest, &GroupOptions::default(), None).unwrap();
        }
        side(100, move || {
            let group = queue.add_group("one more", Start::Earliest, &GroupOptions::default(), None).unwrap();
            group.close();
        })
    };
    let readings = |runs: u64| {
        let (queue, clock) = filled(0, &options());
        let all: Vec<_> = (0..100).map(|_| consumer(&queue)).collect();
        for number in 0..runs * 20 {
            queue.enqueue(number, 8).unwrap();
            if number % 20 == 19 {
                clock.advance(1000);
                all.iter().for_each(|one| assert_eq!(one.read_with(20, |_| ()), Ok(20)));
            }
        }
        side(100, move || {
            black_box(&all);
            black_box(queue.readings(10));
        })
    };
    let seeking = |held: u64| {
        let (queue, _) = filled(held, &options());
        let consumer = consumer(&queue);
        let mut seed = 1u64;
        side(1000, move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Close to each other, so that the search is measured and not the caches.
            let wall = SECOND + (held / 2 + seed % 100) * 1000;
            consumer.seek(Start::Time(wall)).unwrap();
        })
    };
    vec![
        Row { what: "consumer.stats: held", few: stats(FEW), many: stats(MANY) },
        Row { what: "consumer.stats, a hole in each chunk: held", few: holes(FEW), many: holes(MANY) },
        Row { what: "each of consumer_stats: consumers (10, 10,000)", few: all_stats(10), many: all_stats(10_000) },
        Row { what: "enqueue: idle consumers (10, 10,000)", few: idle(10), many: idle(10_000) },
        Row {
            what: "enqueue with drop_oldest: consumers come and gone",
            few: departed(FEW as usize),
            many: departed(MANY as usize),
        },
        Row { what: "interest, the slowest reads: consumers (10, 10,000)", few: interest(10), many: interest(10_000) },
        Row { what: "join: consumers (10, 10,000)", few: joining(10), many: joining(10_000) },
        Row { what: "get_consumer: consumers (10, 10,000)", few: finding(10), many: finding(10_000) },
        Row { what: "add_group and close: groups (10, 10,000)", few: grouping(10), many: grouping(10_000) },
        Row {
            what: "events of a message: 100 consumers, runs each (2, 2,000)",
            few: readings(2),
            many: readings(2_000),
        },
        Row { what: "seek to a time: held", few: seeking(FEW), many: seeking(MANY) },
        Row { what: "enqueue under a topic: topics (10, 10,000)", few: under(10, 1), many: under(10_000, 1) },
        Row { what: "enqueue under a topic: filters (1, 1,000)", few: under(10, 1), many: under(10, 1_000) },
        Row { what: "stats with a filter: held, a hole in each chunk", few: choosing(FEW), many: choosing(MANY) },
        Row { what: "read with a filter: passed over (1, 1,000)", few: passing(1), many: passing(1_000) },
    ]
}

/// Prints the table of costs, and returns the rows that exceed the limit.
fn costs(only: &str) -> Vec<String> {
    let mut over = Vec::new();
    if only == "holds" {
        return over;
    }
    println!("{:<58} {:>9} {:>9} {:>6}", "cost against size", "few, ns", "many, ns", "ratio");
    for Row { what, mut few, mut many } in rows().into_iter().filter(|row| row.what.contains(only)) {
        let (mut fast, mut slow) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            fast = fast.min(few.round());
            slow = slow.min(many.round());
        }
        let ratio = slow / fast;
        println!("{what:<58} {fast:>9.0} {slow:>9.0} {ratio:>6.2}");
        if ratio > GROWTH {
            over.push(format!("{what}: {ratio:.2}"));
        }
    }
    over
}

/// Whether `--features holds` measures them.
#[cfg(not(feature = "holds"))]
fn holds() -> Vec<String> {
    println!("\nThe longest holds are measured with --features holds.");
    Vec::new()
}

#[cfg(feature = "holds")]
fn holds() -> Vec<String> {
    use std::collections::BTreeMap;

    /// The longest time that the lock may be held.
    const LIMIT: Duration = Duration::from_micros(100);
    const TIMES: usize = 3;

    let mut fastest: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
    for _ in 0..TIMES {
        mpmc_queue::take_holds();
        hold_everything();
        for hold in mpmc_queue::take_holds() {
            let seen = fastest.entry(hold.what).or_insert((hold.count, hold.longest));
            *seen = (hold.count, seen.1.min(hold.longest));
        }
    }
    println!("\n{:<90} {:>9} {:>11}", "longest hold", "holds", "longest, µs");
    for (what, (count, longest)) in &fastest {
        println!("{:<90} {count:>9} {:>11.1}", short(what), longest.as_nanos() as f64 / 1000.0);
    }
    let over = fastest.iter().filter(|(_, (_, longest))| *longest > LIMIT);
    over.map(|(what, (_, longest))| format!("{}: {longest:?}", short(what))).collect()
}

/// The name of a function, without paths and types.
#[cfg(feature = "holds")]
fn short(what: &str) -> String {
    what.replace("mpmc_queue::", "").replace("<u64, sync::host::Threads>", "").replace("handles::", "")
}

/// Does everything that a queue can do, with 4 million messages, 10,000 consumers and 1,000 groups.
#[cfg(feature = "holds")]
fn hold_everything() {
    use mpmc_queue::Settle;

    const HELD: u64 = 4_000_000;
    let (queue, clock) = filled(0, &Options { max_items: Some(2 * HELD), ttl: Some(60 * SECOND), ..options() });
    for part in 0..4 {
        queue.enqueue_batch((0..MANY).map(|seq| (part * MANY + seq, 8)).collect()).unwrap();
        clock.advance(SECOND);
    }
    let all: Vec<_> = (0..10_000).map(|_| consumer(&queue)).collect();
    let acking = GroupOptions { ack_wait: Some(SECOND), ..GroupOptions::default() };
    let groups: Vec<_> =
        (0..1000).map(|number| queue.add_group(&number.to_string(), Start::Earliest, &acking, None).unwrap()).collect();
    // Every second one of the newest 100,000 messages leaves from the middle.
    for number in 0..100_000 {
        queue
            .enqueue_for(number, 8, if number % 2 == 0 { Lifetime::Own(SECOND / 2) } else { Lifetime::Queue })
            .unwrap();
    }
    clock.advance(SECOND);
    queue.force_expiration();
    let members: Vec<_> = groups.iter().map(|group| group.add_consumer(None).unwrap()).collect();
    for member in &members {
        let mut receipts = Vec::new();
        member.read_with(100, |delivery| receipts.push(delivery.receipt)).unwrap();
        for receipt in receipts.into_iter().flatten().take(10) {
            queue.settle(&receipt, Settle::Ack);
        }
    }
    for one in all.iter().take(100) {
        one.read().unwrap();
        one.read_with(1000, |_| ()).unwrap();
        one.stats().unwrap();
        one.seek(Start::Time(SECOND + 2 * SECOND)).unwrap();
        one.missed().unwrap();
        one.take_missed().unwrap();
        one.history(10).unwrap();
    }
    queue.readings(5);
    drop((queue.stats(), queue.consumer_stats(), queue.group_stats(), queue.figures(), queue.consumers()));
    assert!(!queue.is_empty() && queue.memory_usage() > 0);
    queue.look(HELD / 2, 100, |_| ());
    queue.join(Some(Duration::ZERO));
    clock.advance(2 * SECOND); // redeliveries
    queue.force_expiration();
    queue.set_ttl(Some(30 * SECOND));
    queue.set_max_bytes(u64::MAX >> 2);
    all[0].close();
    members[0].close();
    groups[0].close();
    let (crowded, _) = filled(0, &options());
    let crowd = crowded.add_group("crowd", Start::Latest, &acking, None).unwrap();
    (0..5_000).for_each(|_| _ = crowd.add_consumer(None).unwrap());
    crowd.close();
    clock.advance(40 * SECOND);
    queue.force_expiration();

    // Pending messages that expire: by a ttl of their own, at both ends of what one group has pending; and one that many
    // groups have pending.
    let (jobs, clock) = filled(0, &Options { ttl: Some(60 * SECOND), ..options() });
    let group = jobs.add_group("one", Start::Earliest, &acking, None).unwrap();
    let member = group.add_consumer(None).unwrap();
    for number in 0..300_000 {
        let is_short = number < 2_000 || number >= 298_000;
        let lifetime = if is_short { Lifetime::Own(SECOND / 2) } else { Lifetime::Queue };
        jobs.enqueue_for(number, 8, lifetime).unwrap();
    }
    member.read_with(300_000, |_| ()).unwrap();
    clock.advance(SECOND / 2);
    jobs.force_expiration();
    member.close();
    let member = group.add_consumer(None).unwrap();
    member.read_with(100_000, |_| ()).unwrap();
    member.seek(Start::Seq(150_000)).unwrap();
    member.read_with(100_000, |_| ()).unwrap();
    member.seek(Start::Earliest).unwrap();
    member.read_with(300_000, |_| ()).unwrap();
    group.close();
    let groups: Vec<_> =
        (0..1000).map(|number| jobs.add_group(&number.to_string(), Start::Latest, &acking, None).unwrap()).collect();
    for number in 0..20 {
        let lifetime = if number < 10 { Lifetime::Own(SECOND / 2) } else { Lifetime::Queue };
        jobs.enqueue_for(number, 8, lifetime).unwrap();
    }
    for group in &groups {
        group.add_consumer(None).unwrap().read_with(20, |_| ()).unwrap();
    }
    clock.advance(SECOND / 2);
    jobs.force_expiration();
    clock.advance(60 * SECOND);
    jobs.force_expiration();

    let bounded = Options { overflow: Overflow::DropOldest, max_items: Some(MANY), ..options() };
    let (ring, _) = filled(MANY, &bounded);
    ring.enqueue_batch((0..MANY).map(|seq| (seq, 8)).collect()).unwrap();

    // Topics: a large batch under one topic, filters that are added and removed, reads that skip many messages, and
    // messages that only one consumer wanted.
    let (bus, clock) = filled(0, &Options { ttl: Some(SECOND), ..options() });
    let topics = topics(10_000);
    for (number, topic) in topics.iter().cycle().take(MANY as usize / 2).enumerate() {
        bus.enqueue_under(topic, number as u64, 8, Lifetime::Queue).unwrap();
    }
    bus.enqueue_batch_under(Some(&topics[0]), (0..MANY).map(|seq| (seq, 8)).collect()).unwrap();
    for filter in ["topic.7", "topic.*", ">"] {
        let reader = filtered(&bus, filter);
        reader.stats().unwrap();
        reader.read_with(1_000, |_| ()).unwrap();
        reader.seek(Start::Latest).unwrap();
        reader.close();
    }
    clock.advance(SECOND);
    bus.force_expiration();
    let (wanted, _) = filled(0, &Options { retention: Retention::Interest, ..options() });
    let (some, slow) = (filtered(&wanted, "topic.*"), consumer(&wanted));
    for topic in topics.iter().cycle().take(100_000) {
        wanted.enqueue_under(topic, 0, 8, Lifetime::Queue).unwrap();
    }
    slow.close();
    some.close();

    let (shared, _) = filled(MANY, &Options { retention: Retention::Interest, ..options() });
    let (slow, fast) = (consumer(&shared), consumer(&shared));
    fast.seek(Start::Latest).unwrap();
    slow.close();
    assert!(shared.is_empty());
}

fn main() {
    if cfg!(debug_assertions) {
        return println!("a debug build: nothing is measured");
    }
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut over = costs(&only);
    if only.is_empty() || only == "holds" {
        over.extend(holds());
    }
    if !over.is_empty() {
        println!("\nOver the limit:\n  {}", over.join("\n  "));
    }
}
