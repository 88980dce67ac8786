//! Random histories, compared with a model that accounts for each message separately, which the engine never does.

mod histories;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mpmc_queue::{
    Clock, Consumer, ConsumerOptions, Error, Filters, Lifetime, MESSAGE_OVERHEAD, ManualClock, MissedPolicy, Now,
    Options, Overflow, Queue, Retention, Start, TOPIC_ENTRY, TOPIC_OVERHEAD, Topic,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Enqueue(u64, Lifetime, Name),
    Batch(Vec<u64>, Name),
    /// Messages one after the other.
    EnqueueEach(Vec<u64>),
    /// For this many steps, does not read the figures, because reading them takes back all leases.
    Unwatched(usize),
    /// One message, with a wait of zero for room.
    EnqueueWithin(u64),
    Read(usize, usize),
    ReadOne(usize),
    /// Reads one message, with a wait of zero for it.
    ReadWithin(usize),
    /// A consumer reads up to this many messages with up to this many bytes.
    Fitting(usize, usize, u64),
    Latest(usize),
    Peek(usize),
    AddConsumer(Start, MissedPolicy, Choice),
    RemoveConsumer(usize),
    Seek(usize, Start),
    TakeMissed(usize),
    Advance(u64),
    SetTtl(Option<u64>),
    SetExpires(bool),
    SetMaxBytes(u64),
    SetMaxItems(Option<u64>),
    Force,
    Close(bool),
}

impl Op {
    /// Whether there is a consumer for it, or room to add one, among this many consumers.
    fn finds(&self, consumers: usize) -> bool {
        match self {
            Op::Read(..)
            | Op::ReadOne(_)
            | Op::ReadWithin(_)
            | Op::Fitting(..)
            | Op::Latest(_)
            | Op::Peek(_)
            | Op::RemoveConsumer(_)
            | Op::Seek(..)
            | Op::TakeMissed(_) => consumers > 0,
            Op::AddConsumer(..) => consumers < 4,
            _ => true,
        }
    }
}

/// The topic of a message.
type Name = Option<&'static str>;
/// The filters of a consumer.
type Choice = Option<&'static [&'static str]>;

const TOPICS: [&str; 5] = ["a", "a.b", "a.c", "b", "b.c.d"];
const FILTERS: [&[&str]; 7] = [&["a"], &["a.*"], &[">"], &["b.>", "a.b"], &["*"], &["*.c", "*.b", "a.>"], &["x"]];

/// The unit of time in the histories, so that moments often coincide.
const TICK: u64 = 1000;

/// `with_topics`: the number of messages and consumers with topics for each one without.
fn op(with_topics: u32) -> impl Strategy<Value = Op> {
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
    let to = prop_oneof![
        1 => Just(Start::Earliest),
        1 => Just(Start::Latest),
        4 => (0..5000u64).prop_map(Start::Seq),
        2 => (0..5000u64).prop_map(|ticks| Start::Time(ticks * TICK)),
    ];
    let policy = prop_oneof![Just(MissedPolicy::Skip), Just(MissedPolicy::Tell)];
    let name = || prop_oneof![1 => Just(None), with_topics => (0..TOPICS.len()).prop_map(|at| Some(TOPICS[at]))];
    let choice = prop_oneof![1 => Just(None), with_topics => (0..FILTERS.len()).prop_map(|at| Some(FILTERS[at]))];
    prop_oneof![
        10 => (0..200u64, lifetime, name()).prop_map(|(size, lifetime, name)| Op::Enqueue(size, lifetime, name)),
        4 => (prop::collection::vec(0..50u64, 0..30), name()).prop_map(|(sizes, name)| Op::Batch(sizes, name)),
        1 => (prop::collection::vec(0..2u64, 900..2100), name()).prop_map(|(sizes, name)| Op::Batch(sizes, name)),
        3 => prop::collection::vec(0..50u64, 1..30).prop_map(Op::EnqueueEach),
        1 => prop::collection::vec(0..2u64, 990..1050).prop_map(Op::EnqueueEach),
        6 => (1..8usize).prop_map(Op::Unwatched),
        10 => (0..4usize, 1..5usize).prop_map(|(who, limit)| Op::Read(who, limit)),
        2 => (0..4usize, 500..1500usize).prop_map(|(who, limit)| Op::Read(who, limit)),
        2 => (0..200u64).prop_map(Op::EnqueueWithin),
        6 => (0..4usize).prop_map(Op::ReadOne),
        2 => (0..4usize).prop_map(Op::ReadWithin),
        3 => (0..4usize, 1..20usize, 0..300u64).prop_map(|(who, limit, bytes)| Op::Fitting(who, limit, bytes)),
        1 => (0..4usize).prop_map(Op::Latest),
        2 => (0..4usize).prop_map(Op::Peek),
        2 => (start, policy, choice).prop_map(|(start, policy, choice)| Op::AddConsumer(start, policy, choice)),
        1 => (0..4usize).prop_map(Op::RemoveConsumer),
        2 => (0..4usize, to).prop_map(|(who, to)| Op::Seek(who, to)),
        2 => (0..4usize).prop_map(Op::TakeMissed),
        8 => (1..8u64).prop_map(|ticks| Op::Advance(ticks * TICK)),
        1 => prop::option::of((1..20u64).prop_map(|ticks| ticks * TICK)).prop_map(Op::SetTtl),
        1 => any::<bool>().prop_map(Op::SetExpires),
        1 => (1..100_000u64).prop_map(Op::SetMaxBytes),
        1 => prop::option::of(1..3000u64).prop_map(Op::SetMaxItems),
        1 => Just(Op::Force),
        1 => prop::option::weighted(0.04, any::<bool>()).prop_map(|now| now.map_or(Op::Force, Op::Close)),
    ]
}

#[derive(Clone, Debug)]
struct Held {
    seq: u64,
    size: u64,
    at: u64,
    lifetime: Lifetime,
    topic: Name,
}

#[derive(Debug)]
struct Reader {
    handle: Consumer<u64>,
    filters: Option<Filters>,
    position: u64,
    /// Number of messages that it has to account for.
    owed: u64,
    filtered: u64,
    read: u64,
    passed: u64,
    missed: u64,
    /// How many of the missed messages were dropped.
    dropped: u64,
    taken: u64,
    tells: bool,
    /// Seqs at or after the position that left unread.
    ahead: BTreeSet<u64>,
    /// How many of the missed messages were passed since the last delivery.
    undelivered: u64,
    /// How many of the missed messages were passed since a read last failed because of them.
    untold: u64,
    /// Seqs and microseconds, in the order of reading.
    reads: Vec<(u64, u64)>,
    seeked: bool,
}

/// Why messages leave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Expired,
    Dropped,
    Discarded,
}

impl Reader {
    fn wants(&self, topic: Name) -> bool {
        self.filters.as_ref().is_none_or(|filters| topic.is_some_and(|topic| filters.match_topic(topic)))
    }

    /// The held messages that it has to read.
    fn unread<'a>(&self, held: &'a VecDeque<Held>) -> Vec<&'a Held> {
        held.iter().filter(|held| held.seq >= self.position && self.wants(held.topic)).collect()
    }

    /// Moves the position forward to a seq.
    fn pass_to(&mut self, seq: u64, held: &VecDeque<Held>) {
        let passed = held.iter().filter(|held| (self.position..seq).contains(&held.seq));
        self.filtered += passed.filter(|held| !self.wants(held.topic)).count() as u64;
        let ahead = self.ahead.split_off(&seq);
        let passed = std::mem::replace(&mut self.ahead, ahead).len() as u64;
        (self.undelivered, self.untold) = (self.undelivered + passed, self.untold + passed);
        self.position = seq;
    }

    fn missed_before(&self, seq: u64) -> u64 {
        self.undelivered + self.ahead.range(..seq).count() as u64
    }
}

/// The charge for a message with this topic, apart from its topic's text.
fn charge(topic: Name) -> u64 {
    topic.map_or(0, |_| TOPIC_OVERHEAD)
}

/// The charge for the topic itself, once for all its messages.
fn charge_once(topic: Name) -> u64 {
    topic.map_or(0, |topic| topic.len() as u64 + TOPIC_ENTRY)
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
        let topics: BTreeSet<Name> = self.held.iter().map(|held| held.topic).collect();
        let each = self.held.iter().map(|held| held.size + MESSAGE_OVERHEAD + charge(held.topic));
        each.chain(topics.into_iter().map(charge_once)).sum()
    }

    fn head(&self) -> u64 {
        self.held.front().map_or(self.next, |held| held.seq)
    }

    /// Removes messages. Every reader that has not reached a message has missed it, unless they are discarded.
    fn take_out(&mut self, leaves: impl Fn(&Held) -> bool, why: Why) -> u64 {
        let (gone, stay): (Vec<_>, Vec<_>) = self.held.drain(..).partition(leaves);
        self.held = stay.into();
        for reader in self.readers.iter_mut().filter(|_| why != Why::Discarded) {
            let unread = gone.iter().filter(|held| held.seq >= reader.position && reader.wants(held.topic));
            let unread: Vec<u64> = unread.map(|held| held.seq).collect();
            let before = reader.ahead.len();
            reader.ahead.extend(unread);
            reader.missed += (reader.ahead.len() - before) as u64;
            reader.dropped += if why == Why::Dropped { (reader.ahead.len() - before) as u64 } else { 0 };
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
            Why::Expired,
        );
        self.expired += count;
        count
    }

    fn collect(&mut self) {
        if self.options.retention == Retention::Interest && !self.readers.is_empty() {
            let needs = |reader: &Reader, held: &Held| held.seq >= reader.position && reader.wants(held.topic);
            self.held.retain(|held| self.readers.iter().any(|reader| needs(reader, held)));
        }
    }

    fn enqueue(&mut self, sizes: &[u64], lifetime: Lifetime, topic: Name) -> Result<u64, ()> {
        if self.closed {
            return Err(());
        }
        let needed: u64 = sizes.iter().map(|size| size + MESSAGE_OVERHEAD + charge(topic)).sum();
        let count = sizes.len() as u64;
        let max_items = self.options.max_items.unwrap_or(u64::MAX);
        let fits = |model: &Model| {
            let text = if model.held.iter().any(|held| held.topic == topic) { 0 } else { charge_once(topic) };
            count == 0
                || model.bytes() + needed + text <= model.options.max_bytes
                    && model.held.len() as u64 + count <= max_items
        };
        let is_hopeless = count > 0 && (needed + charge_once(topic) > self.options.max_bytes || count > max_items);
        let is_interest = self.options.retention == Retention::Interest && !self.readers.is_empty();
        if is_interest && !is_hopeless && !self.readers.iter().any(|reader| reader.wants(topic)) {
            let first = self.next;
            self.next += count;
            return Ok(first);
        }
        if is_hopeless || self.options.overflow == Overflow::Reject && !fits(self) {
            self.rejected += count;
            return Err(());
        }
        while !fits(self) {
            let oldest = self.head();
            self.dropped += self.take_out(|held| held.seq == oldest, Why::Dropped);
        }
        let first = self.next;
        for &size in sizes {
            self.held.push_back(Held { seq: self.next, size, at: self.now, lifetime, topic });
            self.next += 1;
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.wants(topic)) {
            reader.owed += count;
        }
        Ok(first)
    }

    /// The deliveries of a read of up to `limit`: seq, size, enqueue time, and the number of messages missed before it.
    fn read(&mut self, index: usize, limit: usize) -> Result<Vec<(u64, u64, u64, u64)>, Error> {
        let reader = &mut self.readers[index];
        let mut read = Vec::new();
        let mut unread = reader.unread(&self.held).into_iter();
        while read.len() < limit {
            let next = unread.next();
            reader.pass_to(next.map_or(self.next, |held| held.seq), &self.held);
            if reader.tells && reader.untold > 0 {
                if read.is_empty() {
                    return Err(Error::Missed(std::mem::take(&mut reader.untold)));
                }
                break;
            }
            let Some(held) = next else { break };
            read.push((held.seq, held.size, held.at, std::mem::take(&mut reader.undelivered)));
            reader.reads.push((held.seq, self.now / 1000));
            reader.position = held.seq + 1;
            reader.read += 1;
        }
        self.collect();
        if read.is_empty() && self.closed { Err(Error::Closed) } else { Ok(read) }
    }

    /// The deliveries of a read of up to `limit` messages and `bytes`, but at least one message.
    fn read_fitting(&mut self, index: usize, limit: usize, bytes: u64) -> Result<Vec<(u64, u64, u64, u64)>, Error> {
        let sums = self.readers[index].unread(&self.held).into_iter().scan(0, |sum, held| {
            *sum += held.size;
            Some(*sum)
        });
        let count = sums.take(limit).take_while(|&sum| sum <= bytes).count();
        self.read(index, count.max(1))
    }

    /// The seq of the newest message, and the number of messages missed before it. Older messages are skipped.
    fn read_latest(&mut self, index: usize) -> Result<Option<(u64, u64)>, Error> {
        loop {
            let unread = self.readers[index].unread(&self.held).len();
            let read = self.read(index, unread.clamp(1, 4000))?;
            let missed = read.iter().map(|read| read.3).sum();
            let reader = &mut self.readers[index];
            match read.last() {
                None => return Ok(None),
                Some(last) if read.len() == unread => {
                    reader.passed += read.len() as u64 - 1;
                    return Ok(Some((last.0, missed)));
                }
                Some(_) => {
                    reader.passed += read.len() as u64;
                    reader.undelivered += missed;
                }
            }
        }
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

fn run(options: Options, ops: Vec<Op>) -> usize {
    let steps = ops.len();
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
    let mut unseen = 0;
    for op in ops {
        unseen = match op {
            Op::Unwatched(steps) => steps,
            _ => unseen.saturating_sub(1),
        };
        // The next operation processes what is due, and not a read of the figures.
        let is_silent = matches!(op, Op::Advance(_)) || unseen > 0;
        step(&queue, &clock, &mut model, op);
        if !is_silent {
            compare(&queue, &mut model);
        }
    }
    compare(&queue, &mut model);
    steps
}

fn step(queue: &Queue<u64>, clock: &Arc<ManualClock>, model: &mut Model, op: Op) {
    if !op.finds(model.readers.len()) {
        return;
    }
    if !matches!(op, Op::Advance(_) | Op::Unwatched(_) | Op::SetTtl(_) | Op::SetExpires(_) | Op::Force) {
        model.expire();
    }
    match op {
        Op::Enqueue(size, lifetime, None) => {
            let seq = queue.enqueue_for(model.next, size, lifetime);
            assert_eq!(seq.ok(), model.enqueue(&[size], lifetime, None).ok());
        }
        Op::Enqueue(size, lifetime, Some(name)) => {
            let seq = queue.enqueue_under(&Topic::new(name).unwrap(), model.next, size, lifetime);
            assert_eq!(seq.ok(), model.enqueue(&[size], lifetime, Some(name)).ok());
        }
        Op::Batch(sizes, name) => {
            let batch = sizes.iter().zip(model.next..).map(|(&size, payload)| (payload, size)).collect();
            let first = queue.enqueue_batch_under(name.map(|name| Topic::new(name).unwrap()).as_ref(), batch);
            assert_eq!(first.ok(), model.enqueue(&sizes, Lifetime::Queue, name).ok());
        }
        Op::EnqueueEach(sizes) => {
            for size in sizes {
                let seq = queue.enqueue(model.next, size);
                assert_eq!(seq.ok(), model.enqueue(&[size], Lifetime::Queue, None).ok());
            }
        }
        Op::Unwatched(_) => {}
        Op::EnqueueWithin(size) => {
            let seq = queue.enqueue_within(model.next, size, Some(Duration::ZERO));
            assert_eq!(seq.ok(), model.enqueue(&[size], Lifetime::Queue, None).ok());
        }
        Op::Read(index, limit) => {
            let index = index % model.readers.len();
            let mut read = Vec::new();
            let result = model.readers[index].handle.read_with(limit, |delivery| {
                assert_eq!(*delivery.payload, delivery.seq);
                assert_eq!((delivery.deliveries, delivery.receipt), (1, None));
                let held = &model.held[model.held.partition_point(|held| held.seq < delivery.seq)];
                assert_eq!(delivery.topic.map(Topic::as_str), held.topic);
                read.push((delivery.seq, delivery.size, delivery.created, delivery.missed));
            });
            assert_eq!(result.map(|count| (count, read)), model.read(index, limit).map(|read| (read.len(), read)));
        }
        Op::ReadOne(index) | Op::ReadWithin(index) => {
            let index = index % model.readers.len();
            let handle = &model.readers[index].handle;
            let read = match op {
                Op::ReadOne(_) => handle.read(),
                _ => handle.read_within(Some(Duration::ZERO)),
            };
            assert_eq!(read, model.read(index, 1).map(|read| read.first().map(|read| read.0)));
        }
        Op::Fitting(index, limit, bytes) => {
            let index = index % model.readers.len();
            let mut read = Vec::new();
            let result = model.readers[index].handle.read_fitting_with(limit, bytes, false, |delivery| {
                read.push((delivery.seq, delivery.size, delivery.created, delivery.missed));
            });
            let expected = model.read_fitting(index, limit, bytes);
            assert_eq!(result.map(|count| (count, read)), expected.map(|read| (read.len(), read)));
        }
        Op::Latest(index) => {
            let index = index % model.readers.len();
            let mut latest = None;
            let result = model.readers[index].handle.read_latest_with(|delivery| {
                assert_eq!(latest.replace((delivery.seq, delivery.missed)), None);
            });
            assert_eq!(result.map(|is_there| latest.filter(|_| is_there)), model.read_latest(index));
        }
        Op::Peek(index) => {
            let index = index % model.readers.len();
            let reader = &model.readers[index];
            let peeked = reader.handle.peek_with(|delivery| (delivery.seq, delivery.size, delivery.missed));
            let next = reader.unread(&model.held).first().copied();
            assert_eq!(peeked, Ok(next.map(|held| (held.seq, held.size, reader.missed_before(held.seq)))));
        }
        Op::AddConsumer(start, policy, choice) => {
            let filters = choice.map(|texts| Filters::new(texts.iter().copied()).unwrap());
            let options = ConsumerOptions { start, policy, filters: filters.clone(), ..ConsumerOptions::default() };
            match (queue.add_consumer_with(&options), model.resolve(start)) {
                (Ok(handle), Some(start)) => model.readers.push(Reader {
                    handle,
                    filters,
                    position: start,
                    owed: 0,
                    filtered: 0,
                    read: 0,
                    passed: 0,
                    missed: 0,
                    dropped: 0,
                    taken: 0,
                    tells: policy == MissedPolicy::Tell,
                    ahead: BTreeSet::new(),
                    undelivered: 0,
                    untold: 0,
                    reads: Vec::new(),
                    seeked: false,
                }),
                (Err(Error::BeyondEnd(next)), None) => assert_eq!(next, model.next),
                other => panic!("{other:?}"),
            }
            if let Some(reader) = model.readers.last_mut() {
                reader.owed = reader.owed.max(reader.unread(&model.held).len() as u64);
            }
            model.collect();
        }
        Op::RemoveConsumer(index) => {
            let index = index % model.readers.len();
            let reader = model.readers.remove(index);
            assert!(reader.handle.close());
            assert!(!reader.handle.close());
            assert_eq!(reader.handle.read(), Err(Error::ConsumerClosed));
            model.collect();
        }
        Op::Seek(index, to) => {
            let index = index % model.readers.len();
            let result = model.readers[index].handle.seek(to);
            let to = model.resolve(to);
            assert_eq!(result.is_ok(), to.is_some());
            if let Some(to) = to {
                let unread = model.readers[index].unread(&model.held);
                let skipped = unread.iter().filter(|held| held.seq < to).count() as u64;
                let reader = &mut model.readers[index];
                reader.read += skipped;
                reader.passed += skipped;
                reader.seeked |= to < reader.position;
                reader.pass_to(to, &model.held);
                model.collect();
            }
        }
        Op::TakeMissed(index) => {
            let index = index % model.readers.len();
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
            model.expire();
        }
        Op::SetExpires(expires) => {
            model.expire();
            queue.set_expires(expires);
            model.expires = expires;
            model.expire();
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
        Op::Close(immediate) => {
            queue.close(immediate);
            model.closed = true;
            if immediate {
                model.take_out(|_| true, Why::Discarded);
                for reader in &mut model.readers {
                    reader.pass_to(model.next, &model.held);
                    reader.seeked = true;
                }
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
    assert_eq!(
        (queue.len(), queue.is_empty(), queue.is_closed()),
        (stats.total_items, model.held.is_empty(), model.closed)
    );
    assert_eq!((queue.ttl(), queue.expires()), (model.options.ttl, model.expires));
    assert_eq!((queue.max_bytes(), queue.max_items()), (model.options.max_bytes, model.options.max_items));
    let ids = |handles: &[Consumer<u64>]| handles.iter().map(Consumer::id).collect::<Vec<_>>();
    let of_model: Vec<_> = model.readers.iter().map(|reader| reader.handle.clone()).collect();
    assert_eq!(ids(&queue.consumers()), ids(&of_model));
    let all_figures = queue.consumer_stats();
    let is_joined = model.readers.iter().all(|reader| reader.unread(&model.held).is_empty());
    assert_eq!(queue.join(Some(Duration::ZERO)), is_joined);
    for reader in &mut model.readers {
        let unread = reader.unread(&model.held);
        let figures = reader.handle.stats().unwrap();
        assert!(all_figures.contains(&figures));
        assert_eq!((reader.handle.unread(), reader.handle.missed()), (Ok(figures.unread), Ok(figures.missed)));
        assert_eq!(figures.unread, unread.len() as u64);
        assert_eq!(figures.unread_bytes, unread.iter().map(|held| held.size).sum::<u64>());
        assert_eq!(figures.lag, unread.first().map_or(0, |held| model.now - held.at));
        assert_eq!((figures.read, figures.passed, figures.missed), (reader.read, reader.passed, reader.missed));
        assert_eq!(figures.dropped, reader.dropped);
        assert_eq!((figures.filters, figures.filtered), (reader.filters.clone(), reader.filtered));
        assert_eq!(reader.handle.position().unwrap(), unread.first().map_or(model.next, |held| held.seq));
        if !reader.seeked {
            assert_eq!(figures.read + figures.missed + figures.unread, reader.owed, "the books balance");
        }
        // Records of messages that are read repeatedly are removed, the oldest first.
        reader.reads.retain(|&(seq, _)| model.held.binary_search_by_key(&seq, |held| held.seq).is_ok());
        let history = reader.handle.history(usize::MAX).unwrap();
        let expected = if model.options.audit { reader.reads.as_slice() } else { &[] };
        assert!(expected.ends_with(&history) && (reader.seeked || expected.len() == history.len()));
        let last = reader.handle.history(3).unwrap();
        assert_eq!(last, history[history.len().saturating_sub(3)..]);
        if let Some(&(seq, at)) = history.last() {
            assert!(queue.readings(seq).contains(&(figures.id, at)));
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
            created_times: true,
            clock: Clock::System,
        },
    )
}

#[test]
fn the_engine_does_as_the_model_says() {
    let history = |longest| (options(), prop::collection::vec(op(0), 1..longest));
    histories::play_all(300, 120, history, |(options, ops)| run(options, ops));
}

#[test]
fn with_topics_it_does_so_too() {
    let history = |longest| (options(), prop::collection::vec(op(4), 1..longest));
    histories::play_all(150, 120, history, |(options, ops)| run(options, ops));
}
