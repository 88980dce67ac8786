//! Sequences of operations that the fuzzer generates, with counts that are kept apart from the engine.
//!
//! After each operation this checks the engine's own invariants of its chunks and lists; the memory that it reports
//! against the payloads that exist, none of which is dropped twice or leaked; the limits; and for each reader that read
//! + missed + unread (+ pending) is the number of messages enqueued since its start. For each delivery it checks the
//! order, size and time to live.
#![no_main]

mod books;
mod input;
mod reading;
mod topics;

use libfuzzer_sys::fuzz_target;
use mpmc_queue::{
    Clock, Consumer, ConsumerOptions, Error, Filters, Group, GroupOptions, Lifetime, ManualClock, MissedPolicy, Now,
    Options, Overflow, Queue, Receipt, Retention, Start, Topic,
};
use std::sync::Arc;

use books::{Account, Ledger, Payload};
use input::{Input, Operation, Place, Setup, TICK, ticks};
use topics::Topics;

/// Maximum number of readers and groups. More of them find nothing new.
const CROWD: usize = 6;
/// Maximum number of messages held by a queue. More of them find nothing new, and take longer.
const MANY: u64 = 6000;

/// Half of the numbers of readers stand for another form of the call, so that inputs of before keep their meaning otherwise.
fn has_high_bit(who: u8) -> bool {
    who >= 128
}

struct Reader {
    handle: Consumer<Payload>,
    /// Serial number of its group, if it is a member.
    group: Option<u64>,
    filters: Option<Filters>,
    account: Account,
}

struct Team {
    handle: Group<Payload>,
    serial: u64,
    filters: Option<Filters>,
    account: Account,
}

struct Stand {
    clock: Arc<ManualClock>,
    queue: Queue<Payload>,
    dead: Queue<Payload>,
    /// Reads all dead letters, which makes room for others.
    mourner: Consumer<Payload>,
    ledger: Arc<Ledger>,
    dead_ledger: Arc<Ledger>,
    readers: Vec<Reader>,
    teams: Vec<Team>,
    receipts: Vec<Receipt>,
    teams_so_far: u64,
    topics: Topics,
}

impl Stand {
    fn new(setup: &Setup) -> Self {
        let clock = ManualClock::at(Now { mono: TICK, wall: TICK });
        let of = |options: Options| Queue::new(&Options { clock: Clock::Manual(clock.clone()), ..options });
        let queue = of(Options {
            ttl: ticks(setup.ttl),
            max_bytes: setup.max_bytes.get(),
            max_items: setup.max_items.map(u64::from),
            retention: if setup.interest { Retention::Interest } else { Retention::Limits },
            overflow: if setup.drops { Overflow::DropOldest } else { Overflow::Reject },
            audit: setup.audit,
            read_times: setup.read_times,
            created_times: true,
            ..Options::default()
        });
        let dead = of(Options {
            ttl: None,
            max_items: setup.dead_items.map(u64::from),
            retention: Retention::Interest,
            ..Options::default()
        });
        let mourner = dead.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
        Stand {
            clock,
            queue,
            dead,
            mourner,
            ledger: Arc::default(),
            dead_ledger: Arc::default(),
            readers: Vec::new(),
            teams: Vec::new(),
            receipts: Vec::new(),
            teams_so_far: 0,
            topics: Topics::new(setup),
        }
    }

    fn payload(&self, seq: u64, size: u64, lifetime: Lifetime) -> Payload {
        let at = self.queue.now().mono;
        Payload::new(&self.ledger, &self.dead_ledger, seq, size, at, lifetime)
    }

    fn start(&self, place: Place) -> Start {
        match place {
            Place::Earliest => Start::Earliest,
            Place::Latest => Start::Latest,
            Place::Seq(seq) => Start::Seq(seq.into()),
            Place::Back(count) => Start::Seq(self.queue.stats().next_seq.saturating_sub(count.into())),
            Place::Time(ticks) => Start::Time(u64::from(ticks) * TICK),
        }
    }

    /// An account for a reader that was just added.
    fn account(&self, filters: Option<&Filters>, unread: u64) -> Account {
        Account::new(self.topics.enqueued(filters), unread)
    }

    /// Records that a message or batch was added under a topic, or why it was not.
    fn admitted(&mut self, added: Result<u64, Error>, next: u64, count: u64, topic: Option<&Topic>) {
        if added.is_ok() {
            self.topics.add(topic, count);
        }
        books::admitted(added, next);
    }

    fn run(&mut self, operation: &Operation) {
        let next = self.queue.stats().next_seq;
        let index = |who: u8, len: usize| if len == 0 { usize::MAX } else { usize::from(who) % len };
        let readers = self.readers.len();
        let reader = |who: u8| index(who, readers);
        match *operation {
            Operation::Enqueue(size, life) => {
                let lifetime = life.get();
                let payload = self.payload(next, size.into(), lifetime);
                let topic = self.topics.of(next);
                let added = match (&topic, lifetime) {
                    (Some(topic), _) => self.queue.enqueue_under(topic, payload, size.into(), lifetime),
                    (None, Lifetime::Queue) => self.queue.enqueue(payload, size.into()),
                    (None, _) => self.queue.enqueue_for(payload, size.into(), lifetime),
                };
                self.admitted(added, next, 1, topic.as_ref());
            }
            Operation::EnqueueLarge(size) => {
                let payload = self.payload(next, size.get(), Lifetime::Queue);
                let added = self.queue.enqueue(payload, size.get());
                self.admitted(added, next, 1, None);
            }
            Operation::Batch(count, size) => {
                let count = u64::from(count).min(MANY.saturating_sub(self.queue.len()));
                let batch =
                    (next..next + count).map(|seq| (self.payload(seq, size.into(), Lifetime::Queue), size.into()));
                let (batch, topic) = (batch.collect(), self.topics.of(next));
                let added = self.queue.enqueue_batch_under(topic.as_ref(), batch);
                self.admitted(added, next, count, topic.as_ref());
            }
            Operation::Read(who, limit) if has_high_bit(who) => self.read(reader(who), usize::MAX, limit.into()),
            Operation::Read(who, limit) => self.read(reader(who), limit.into(), u64::MAX),
            Operation::ReadAll(who) if has_high_bit(who) => self.read_latest(reader(who)),
            Operation::ReadAll(who) => self.read(reader(who), usize::MAX, u64::MAX),
            Operation::ReadOne(who) if has_high_bit(who) => self.check_readable(reader(who)),
            Operation::ReadOne(who) => self.read_one(reader(who)),
            Operation::Stream { count, size, who, reads } => {
                let room = MANY.saturating_sub(self.queue.len());
                let mut seq = next;
                for number in 0..u64::from(count).min(room) {
                    let payload = self.payload(seq, size.into(), Lifetime::Queue);
                    let topic = self.topics.of(seq);
                    let added = match &topic {
                        Some(topic) => self.queue.enqueue_under(topic, payload, size.into(), Lifetime::Queue),
                        None => self.queue.enqueue(payload, size.into()),
                    };
                    let is_added = added.is_ok();
                    self.admitted(added, seq, 1, topic.as_ref());
                    seq += u64::from(is_added);
                    if number % 16 < u64::from(reads) {
                        self.read_one(reader(who));
                    }
                }
            }
            Operation::Peek(who) => {
                let Some(reader) = self.readers.get(reader(who)) else { return };
                let seen = reader.handle.peek_with(|delivery| (delivery.seq, delivery.payload.seq)).unwrap();
                assert!(seen.is_none_or(|(seq, payload)| seq == payload));
            }
            Operation::AddConsumer(place, tells) => {
                if self.readers.len() == CROWD {
                    return;
                }
                let policy = if tells { MissedPolicy::Tell } else { MissedPolicy::Skip };
                let (start, filters) = (self.start(place), self.topics.next_filters());
                let options = ConsumerOptions { start, policy, filters: filters.clone(), ..ConsumerOptions::default() };
                match self.queue.add_consumer_with(&options) {
                    Ok(handle) => {
                        let account = self.account(filters.as_ref(), handle.unread().unwrap());
                        self.readers.push(Reader { handle, group: None, filters, account });
                    }
                    Err(error) => assert_eq!(error, Error::BeyondEnd(next)),
                }
            }
            Operation::CloseReader(who) => {
                let who = reader(who);
                if who < self.readers.len() {
                    let reader = self.readers.swap_remove(who);
                    assert!(reader.handle.close() && !reader.handle.close());
                    assert!(matches!(reader.handle.read(), Err(Error::ConsumerClosed)));
                }
            }
            Operation::Seek(who, place) => {
                let start = self.start(place);
                let Some(reader) = self.readers.get_mut(reader(who)) else { return };
                match reader.handle.seek(start) {
                    Ok(()) => {
                        let serial = reader.group;
                        for reader in self.readers.iter_mut().filter(|other| other.group == serial || serial.is_none())
                        {
                            reader.account.order_is_anew();
                        }
                        self.audit_anew();
                    }
                    Err(error) => assert_eq!(error, Error::BeyondEnd(next)),
                }
            }
            Operation::TakeMissed(who) => {
                let Some(reader) = self.readers.get_mut(reader(who)) else { return };
                let taken = reader.handle.take_missed().unwrap();
                assert!(taken != Some(0) || self.queue.is_closed());
                assert!(!matches!(reader.handle.take_missed(), Ok(Some(1..))), "told once");
            }
            Operation::History(who, limit) => {
                let Some(reader) = self.readers.get(reader(who)) else { return };
                let history = reader.handle.history(limit.into()).unwrap();
                let first = self.queue.stats().first_seq;
                assert!(history.len() <= limit.into() && history.iter().all(|&(seq, _)| (first..next).contains(&seq)));
            }
            Operation::Readings(back) => {
                let readings = self.queue.readings(next.saturating_sub(back.into()));
                assert!(readings.is_sorted_by_key(|&(_, at)| at));
            }
            Operation::AddGroup { start, ack_wait, max_deliver, ref backoff, max_pending, buries } => {
                if self.teams.len() == CROWD {
                    return;
                }
                let options = GroupOptions {
                    ack_wait: ticks(ack_wait),
                    max_deliver: max_deliver.map(u32::from),
                    backoff: backoff.iter().map(|&count| u64::from(count) * TICK).collect(),
                    max_pending: max_pending.map(u64::from),
                    filters: self.topics.next_filters(),
                    ..GroupOptions::default()
                };
                let rescues_missed = buries && self.teams_so_far % 2 == 1;
                let options = GroupOptions { rescues_missed, ..options };
                let buries = buries.then(|| self.dead.dead_letter(Payload::bury, |_| Some(1)));
                self.teams_so_far += 1;
                let serial = self.teams_so_far;
                match self.queue.add_group(&serial.to_string(), self.start(start), &options, buries) {
                    Ok(handle) => {
                        let account = self.account(options.filters.as_ref(), handle.stats().unwrap().unread);
                        self.teams.push(Team { handle, serial, filters: options.filters, account });
                    }
                    Err(error) => assert_eq!(error, Error::BeyondEnd(next)),
                }
            }
            Operation::AddMember(who) if has_high_bit(who) => self.add_follower(usize::from(who)),
            Operation::AddMember(who) => {
                let Some(team) = self.teams.get(index(who, self.teams.len())) else { return };
                if self.readers.len() < CROWD {
                    let handle = team.handle.add_consumer(None).unwrap();
                    let (group, filters) = (Some(team.serial), team.filters.clone());
                    self.readers.push(Reader { handle, group, filters, account: Account::new(0, 0) });
                }
            }
            Operation::CloseGroup(who) => {
                let who = index(who, self.teams.len());
                if who < self.teams.len() {
                    let team = self.teams.swap_remove(who);
                    assert!(team.handle.close() && !team.handle.close());
                    self.readers.retain(|reader| reader.group != Some(team.serial));
                }
            }
            Operation::Settle(which, say) => {
                let which = index(which, self.receipts.len());
                if which < self.receipts.len() {
                    // The receipt is kept, because settling twice has no effect.
                    self.queue.settle(&self.receipts[which], say.get());
                }
            }
            Operation::SettleAll(say) => {
                for receipt in std::mem::take(&mut self.receipts) {
                    self.queue.settle(&receipt, say.get());
                }
            }
            Operation::Advance(count) => {
                self.clock.advance(u64::from(count) * TICK);
            }
            Operation::SetWall(count) => self.clock.set_wall(u64::from(count) * TICK),
            Operation::SetTtl(ttl) => self.queue.set_ttl(ticks(ttl)),
            Operation::SetExpires(expires) => self.queue.set_expires(expires),
            Operation::SetMaxBytes(bytes) => self.queue.set_max_bytes(bytes.get()),
            Operation::SetMaxItems(items) => self.queue.set_max_items(items.map(u64::from)),
            Operation::Force => {
                let before = self.queue.stats().expired;
                let count = self.queue.force_expiration();
                assert!(self.queue.stats().expired >= before + count);
            }
            Operation::ReadDead(limit) => {
                let _ = self.mourner.read_with(limit.into(), |_| ());
            }
            Operation::CloseDead => self.dead.close(false),
            Operation::Close(immediate) => {
                self.queue.close(immediate);
                if immediate {
                    // Discarded messages count as neither read nor missed.
                    self.audit_anew();
                }
            }
        }
    }

    /// Adds a consumer that reads after another reader or a group.
    fn add_follower(&mut self, who: usize) {
        let readers = self.readers.iter().map(|reader| reader.handle.predecessor());
        let teams = self.teams.iter().map(|team| team.handle.predecessor());
        let all: Vec<_> = readers.chain(teams).collect();
        if all.is_empty() || self.readers.len() == CROWD {
            return;
        }
        let after = [who, who / 7].map(|who| all[who % all.len()].clone()).to_vec();
        let policy = if who % 2 == 0 { MissedPolicy::Tell } else { MissedPolicy::Skip };
        let filters = self.topics.next_filters();
        let options = ConsumerOptions { policy, filters: filters.clone(), after, ..ConsumerOptions::default() };
        let handle = self.queue.add_consumer_with(&options).unwrap();
        let account = self.account(filters.as_ref(), handle.unread().unwrap());
        self.readers.push(Reader { handle, group: None, filters, account });
    }

    /// Starts new accounts.
    fn audit_anew(&mut self) {
        for reader in self.readers.iter_mut().filter(|reader| reader.group.is_none()) {
            let stats = reader.handle.stats().unwrap();
            reader
                .account
                .begin(self.topics.enqueued(reader.filters.as_ref()), stats.read + stats.missed + stats.unread);
        }
        for team in &mut self.teams {
            let stats = team.handle.stats().unwrap();
            let accounted = stats.read + stats.missed + stats.unread + stats.pending + stats.dead_lettered;
            team.account.begin(self.topics.enqueued(team.filters.as_ref()), accounted);
        }
    }

    fn check(&self) {
        let stats = self.queue.stats();
        self.queue.check();
        self.dead.check();
        let teams = self.teams.iter().map(|team| team.handle.stats().unwrap());
        let deliveries = teams.fold((0, 0), |sum, team| (sum.0 + team.pending, sum.1 + team.unread));
        let charged = self.topics.charged(&self.queue);
        self.ledger.check(stats.total_items, stats.memory_usage, charged, stats.max_bytes, deliveries);
        self.dead_ledger.check_count(self.dead.len());
        assert!(stats.first_seq + stats.total_items <= stats.next_seq);
        for reader in self.readers.iter().filter(|reader| reader.group.is_none()) {
            let figures = reader.handle.stats().unwrap();
            let enqueued = self.topics.enqueued(reader.filters.as_ref());
            reader.account.check(enqueued, figures.read + figures.missed + figures.unread);
        }
        for team in &self.teams {
            let figures = team.handle.stats().unwrap();
            let accounted = figures.read + figures.missed + figures.unread + figures.pending + figures.dead_lettered;
            team.account.check(self.topics.enqueued(team.filters.as_ref()), accounted);
        }
    }

    /// Checks the limits: what they refuse, and what they admit.
    fn limits(&self, before: (u64, u64)) {
        let stats = self.queue.stats();
        assert!(stats.memory_usage <= stats.max_bytes.max(before.0), "{} bytes held", stats.memory_usage);
        assert!(stats.total_items <= stats.max_items.unwrap_or(u64::MAX).max(before.1));
    }
}

fuzz_target!(|input: Input| {
    let mut stand = Stand::new(&input.setup);
    for operation in &input.operations {
        let before = stand.queue.stats();
        stand.run(operation);
        stand.limits((before.memory_usage, before.total_items));
        stand.check();
    }
    let (ledger, dead_ledger) = (stand.ledger.clone(), stand.dead_ledger.clone());
    drop(stand);
    ledger.check(0, 0, 0, 0, (0, 0));
    dead_ledger.check_count(0);
});
