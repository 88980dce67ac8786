//! Random histories against a model that keeps books message by message, which the engine never does.

use std::collections::VecDeque;
use std::sync::Arc;

use mpmc_queue::{
    Clock, Consumer, Error, Lifetime, MESSAGE_OVERHEAD, ManualClock, MissedPolicy, Now, Options, Overflow, Queue,
    Retention, Start,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Enqueue(u64, Lifetime),
    Batch(Vec<u64>),
    Read(usize, usize),
    AddConsumer(Start),
    RemoveConsumer(usize),
    Seek(usize, u64),
    TakeMissed(usize),
    Advance(u64),
    SetTtl(Option<u64>),
    SetExpires(bool),
    SetMaxBytes(u64),
    SetMaxItems(Option<u64>),
    Force,
    Discard,
}

/// Time in the histories goes in these steps, so that moments meet often.
const TICK: u64 = 1000;

fn op() -> impl Strategy<Value = Op> {
    let lifetime = prop_oneof![
        6 => Just(Lifetime::Queue),
        2 => (1..20u64).prop_map(|ticks| Lifetime::Own(ticks * TICK)),
        1 => Just(Lifetime::Forever),
    ];
    let start = prop_oneof![
        Just(Start::Earliest),
        Just(Start::Latest),
        (0..40u64).prop_map(Start::Seq),
        (0..60u64).prop_map(|ticks| Start::Time(ticks * TICK)),
    ];
    prop_oneof![
        10 => (0..200u64, lifetime).prop_map(|(size, lifetime)| Op::Enqueue(size, lifetime)),
        4 => prop::collection::vec(0..50u64, 0..30).prop_map(Op::Batch),
        1 => prop::collection::vec(0..2u64, 900..2100).prop_map(Op::Batch),
        10 => (0..4usize, 1..5usize).prop_map(|(who, limit)| Op::Read(who, limit)),
        2 => (0..4usize, 500..1500usize).prop_map(|(who, limit)| Op::Read(who, limit)),
        2 => start.prop_map(Op::AddConsumer),
        1 => (0..4usize).prop_map(Op::RemoveConsumer),
        2 => (0..4usize, 0..5000u64).prop_map(|(who, seq)| Op::Seek(who, seq)),
        2 => (0..4usize).prop_map(Op::TakeMissed),
        8 => (1..8u64).prop_map(|ticks| Op::Advance(ticks * TICK)),
        1 => prop::option::of((1..20u64).prop_map(|ticks| ticks * TICK)).prop_map(Op::SetTtl),
        1 => any::<bool>().prop_map(Op::SetExpires),
        1 => (1..100_000u64).prop_map(Op::SetMaxBytes),
        1 => prop::option::of(1..3000u64).prop_map(Op::SetMaxItems),
        1 => Just(Op::Force),
        1 => prop::bool::weighted(0.02).prop_map(|all| if all { Op::Discard } else { Op::Force }),
    ]
}

#[derive(Clone, Debug)]
struct Held {
    seq: u64,
    size: u64,
    at: u64,
    lifetime: Lifetime,
}

#[derive(Debug)]
struct Reader {
    handle: Consumer<u64>,
    position: u64,
    /// Messages that it has to account for, beyond those enqueued from now on.
    begun_with: i64,
    read: u64,
    missed: u64,
    taken: u64,
    delivered: u64,
    seeked: bool,
}

struct Model {
    options: Options,
    now: u64,
    expires: bool,
    closed: bool,
    held: VecDeque<Held>,
    next: u64,
    readers: Vec<Reader>,
    expired: u64,
    dropped: u64,
    rejected: u64,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.held.iter().map(|held| held.size + MESSAGE_OVERHEAD).sum()
    }

    fn head(&self) -> u64 {
        self.held.front().map_or(self.next, |held| held.seq)
    }

    /// Takes messages out; each reader that has not come to one has missed it.
    fn take_out(&mut self, leaves: impl Fn(&Held) -> bool, is_missed: bool) -> u64 {
        let (gone, stay): (Vec<_>, Vec<_>) = self.held.drain(..).partition(leaves);
        self.held = stay.into();
        for reader in self.readers.iter_mut().filter(|_| is_missed) {
            reader.missed += gone.iter().filter(|held| held.seq >= reader.position).count() as u64;
        }
        gone.len() as u64
    }

    fn expire(&mut self) -> u64 {
        if !self.expires {
            return 0;
        }
        let (now, ttl) = (self.now, self.options.ttl);
        let count = self.take_out(
            |held| match held.lifetime {
                Lifetime::Queue => ttl.is_some_and(|ttl| held.at + ttl <= now),
                Lifetime::Own(ttl) => held.at + ttl <= now,
                Lifetime::Forever => false,
            },
            true,
        );
        self.expired += count;
        count
    }

    fn collect(&mut self) {
        if self.options.retention == Retention::Interest && !self.readers.is_empty() {
            let floor = self.readers.iter().map(|reader| reader.position).min().unwrap();
            self.take_out(|held| held.seq < floor, false);
        }
    }

    fn enqueue(&mut self, sizes: &[u64], lifetime: Lifetime) -> Result<u64, ()> {
        if self.closed {
            return Err(());
        }
        let needed: u64 = sizes.iter().map(|size| size + MESSAGE_OVERHEAD).sum();
        let count = sizes.len() as u64;
        let max_items = self.options.max_items.unwrap_or(u64::MAX);
        let fits = |bytes: u64, items: u64| {
            count == 0 || bytes + needed <= self.options.max_bytes && items + count <= max_items
        };
        if !fits(0, 0) || self.options.overflow == Overflow::Reject && !fits(self.bytes(), self.held.len() as u64) {
            self.rejected += count;
            return Err(());
        }
        let (mut bytes, mut items, mut gone) = (self.bytes(), self.held.len() as u64, 0);
        while !fits(bytes, items) {
            bytes -= self.held[gone].size + MESSAGE_OVERHEAD;
            items -= 1;
            gone += 1;
        }
        let kept = self.held.get(gone).map_or(self.next, |held| held.seq);
        self.dropped += self.take_out(|held| held.seq < kept, true);
        let first = self.next;
        for &size in sizes {
            self.held.push_back(Held { seq: self.next, size, at: self.now, lifetime });
            self.next += 1;
        }
        Ok(first)
    }

    fn resolve(&self, start: Start) -> Option<u64> {
        match start {
            Start::Earliest => Some(self.head()),
            Start::Latest => Some(self.next),
            Start::Seq(seq) => (seq <= self.next).then(|| seq.max(self.head())),
            Start::Time(wall) => Some(self.held.iter().find(|held| held.at >= wall).map_or(self.next, |held| held.seq)),
        }
    }
}

fn run(options: Options, ops: Vec<Op>) {
    let clock = ManualClock::at(Now { mono: TICK, wall: TICK });
    let queue = Queue::<u64>::new(&Options { clock: Clock::Manual(clock.clone()), ..options.clone() });
    let mut model = Model {
        options,
        now: TICK,
        expires: true,
        closed: false,
        held: VecDeque::new(),
        next: 0,
        readers: Vec::new(),
        expired: 0,
        dropped: 0,
        rejected: 0,
    };
    for op in ops {
        step(&queue, &clock, &mut model, op);
        compare(&queue, &mut model);
    }
}

fn step(queue: &Queue<u64>, clock: &Arc<ManualClock>, model: &mut Model, op: Op) {
    let who = |who: usize, model: &Model| (!model.readers.is_empty()).then(|| who % model.readers.len());
    if !matches!(op, Op::Advance(_) | Op::SetTtl(_) | Op::SetExpires(_) | Op::Force) {
        model.expire();
    }
    match op {
        Op::Enqueue(size, lifetime) => {
            let seq = queue.enqueue_for(model.next, size, lifetime);
            assert_eq!(seq.ok(), model.enqueue(&[size], lifetime).ok());
        }
        Op::Batch(sizes) => {
            let batch = sizes.iter().zip(model.next..).map(|(&size, payload)| (payload, size)).collect();
            let first = queue.enqueue_batch(batch);
            assert_eq!(first.ok(), model.enqueue(&sizes, Lifetime::Queue).ok());
        }
        Op::Read(index, limit) => {
            let Some(index) = who(index, model) else { return };
            let (held, reader) = (&model.held, &mut model.readers[index]);
            let mut read = Vec::new();
            let result = reader.handle.read_with(limit, |delivery| {
                assert_eq!(*delivery.payload, delivery.seq);
                read.push((delivery.seq, delivery.size, delivery.created, delivery.missed));
            });
            let expected: Vec<_> = held.iter().filter(|held| held.seq >= reader.position).take(limit).collect();
            assert_eq!(read.len(), expected.len());
            for (read, held) in read.iter().zip(expected) {
                assert_eq!((read.0, read.1, read.2), (held.seq, held.size, held.at));
                if !reader.seeked {
                    reader.delivered += read.3;
                }
                reader.position = held.seq + 1;
                reader.read += 1;
            }
            match read.is_empty() {
                true if model.closed => assert_eq!(result, Err(Error::Closed)),
                true => assert_eq!(result, Ok(0)),
                false => assert_eq!(result, Ok(read.len())),
            }
            if model.readers[index].handle.unread() == Ok(0) && !read.is_empty() {
                let reader = &model.readers[index];
                assert!(reader.seeked || reader.delivered <= reader.missed);
            }
            model.collect();
        }
        Op::AddConsumer(start) => {
            if model.readers.len() == 4 {
                return;
            }
            let handle = queue.add_consumer(None, start, MissedPolicy::Skip);
            match (handle, model.resolve(start)) {
                (Ok(handle), Some(start)) => model.readers.push(Reader {
                    handle,
                    position: start,
                    begun_with: model.held.iter().filter(|held| held.seq >= start).count() as i64 - model.next as i64,
                    read: 0,
                    missed: 0,
                    taken: 0,
                    delivered: 0,
                    seeked: false,
                }),
                (Err(Error::BeyondEnd(next)), None) => assert_eq!(next, model.next),
                other => panic!("{other:?}"),
            }
            model.collect();
        }
        Op::RemoveConsumer(index) => {
            let Some(index) = who(index, model) else { return };
            let reader = model.readers.remove(index);
            assert!(reader.handle.close());
            assert!(!reader.handle.close());
            assert_eq!(reader.handle.read(), Err(Error::ConsumerClosed));
            model.collect();
        }
        Op::Seek(index, seq) => {
            let Some(index) = who(index, model) else { return };
            let to = model.resolve(Start::Seq(seq));
            let result = model.readers[index].handle.seek(Start::Seq(seq));
            assert_eq!(result.is_ok(), to.is_some());
            if let Some(to) = to {
                let skipped = |held: &&Held| held.seq >= model.readers[index].position && held.seq < to;
                let skipped = model.held.iter().filter(skipped).count() as u64;
                let reader = &mut model.readers[index];
                reader.read += skipped;
                reader.seeked |= to < reader.position;
                reader.position = to;
                model.collect();
            }
        }
        Op::TakeMissed(index) => {
            let Some(index) = who(index, model) else { return };
            let reader = &mut model.readers[index];
            let taken = reader.handle.take_missed().unwrap();
            assert_eq!(taken.unwrap_or(0), reader.missed - reader.taken);
            assert_eq!(taken.is_none(), reader.missed == reader.taken && !model.closed);
            reader.taken = reader.missed;
        }
        Op::Advance(nanoseconds) => {
            clock.advance(nanoseconds);
            model.now += nanoseconds;
        }
        Op::SetTtl(ttl) => {
            model.expire();
            queue.set_ttl(ttl);
            model.options.ttl = ttl;
        }
        Op::SetExpires(expires) => {
            model.expire();
            queue.set_expires(expires);
            model.expires = expires;
        }
        Op::SetMaxBytes(max) => {
            queue.set_max_bytes(max);
            model.options.max_bytes = max;
        }
        Op::SetMaxItems(max) => {
            queue.set_max_items(max);
            model.options.max_items = max;
        }
        Op::Force => assert_eq!(queue.force_expiration(), model.expire()),
        Op::Discard => {
            queue.close(true);
            model.closed = true;
            model.take_out(|_| true, false);
            for reader in &mut model.readers {
                reader.position = model.next;
                reader.seeked = true;
            }
        }
    }
}

fn compare(queue: &Queue<u64>, model: &mut Model) {
    model.expire();
    let stats = queue.stats();
    queue.check();
    assert_eq!(stats.total_items, model.held.len() as u64);
    assert_eq!(stats.memory_usage, model.bytes());
    assert_eq!((stats.first_seq, stats.next_seq), (model.head(), model.next));
    assert_eq!((stats.expired, stats.dropped, stats.rejected), (model.expired, model.dropped, model.rejected));
    for reader in &model.readers {
        let unread: Vec<_> = model.held.iter().filter(|held| held.seq >= reader.position).collect();
        let figures = reader.handle.stats().unwrap();
        assert_eq!(figures.unread, unread.len() as u64);
        assert_eq!(figures.unread_bytes, unread.iter().map(|held| held.size).sum::<u64>());
        assert_eq!(figures.lag, unread.first().map_or(0, |held| model.now - held.at));
        assert_eq!((figures.read, figures.missed), (reader.read, reader.missed));
        assert_eq!(reader.handle.position().unwrap(), unread.first().map_or(model.next, |held| held.seq));
        if !reader.seeked {
            let books = (figures.read + figures.missed + figures.unread) as i64;
            assert_eq!(books, model.next as i64 + reader.begun_with, "the books balance");
        }
    }
}

fn options() -> impl Strategy<Value = Options> {
    let ttl = prop::option::of((1..20u64).prop_map(|ticks| ticks * TICK));
    let max_items = prop::option::of(1..3000u64);
    (ttl, 500..200_000u64, max_items, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(ttl, max_bytes, max_items, interest, drops, audit)| Options {
            ttl,
            max_bytes,
            max_items,
            retention: if interest { Retention::Interest } else { Retention::Limits },
            overflow: if drops { Overflow::DropOldest } else { Overflow::Reject },
            audit,
            read_times: true,
            clock: Clock::System,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_as_the_model_says(options in options(), ops in prop::collection::vec(op(), 1..120)) {
        run(options, ops);
    }
}
