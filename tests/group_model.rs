//! Random histories of groups, compared with a model that accounts for each message separately, which the engine never
//! does.

mod histories;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mpmc_queue::{
    Clock, Consumer, Error, Filters, Group, GroupOptions, Lifetime, MESSAGE_OVERHEAD, ManualClock, MissedPolicy, Now,
    Options, Overflow, PENDING_OVERHEAD, Queue, Receipt, Retention, Settle, Start, TOPIC_ENTRY, TOPIC_OVERHEAD, Topic,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Enqueue(u64, Lifetime),
    Batch(usize, u64),
    /// Enqueues this many messages, and lets a member read some.
    Stream(usize, u64, usize, usize, usize),
    AddGroup(Start, GroupOptions, Letters),
    CloseGroup(usize),
    AddMember(usize),
    CloseMember(usize, usize),
    Read(usize, usize, usize),
    Peek(usize, usize),
    Settle(usize, Settle),
    /// Settles this many of the latest deliveries.
    SettleLatest(usize, Settle),
    Seek(usize, Start),
    TakeMissed(usize, usize),
    AddConsumer(Start),
    CloseConsumer(usize),
    ReadAlone(usize, usize),
    Advance(u64),
    SetTtl(Option<u64>),
    SetExpires(bool),
    SetMaxBytes(u64),
    SetMaxItems(Option<u64>),
    /// Sets the clock forward by this many nanoseconds, and forces expiration.
    Force(u64),
    /// Reads this many dead letters, which makes room for others.
    ReadDead(usize),
    CloseDead,
    Close(bool),
}

impl Op {
    /// Whether it is one call to the queue that causes no burials except those that are due.
    fn is_one_call(&self) -> bool {
        matches!(
            self,
            Op::Enqueue(..)
                | Op::Batch(..)
                | Op::Read(..)
                | Op::Peek(..)
                | Op::Seek(..)
                | Op::TakeMissed(..)
                | Op::AddConsumer(_)
                | Op::CloseConsumer(_)
                | Op::ReadAlone(..)
                | Op::SetMaxBytes(_)
                | Op::SetMaxItems(_)
                | Op::Close(_)
        )
    }
}

/// How many messages one hold of the lock reads: with a filter, and in an acknowledging group.
const FILTERED_SLICE: usize = 256;
const PENDING_SLICE: usize = if cfg!(debug_assertions) { 3 } else { 200 };

/// What a group does with messages that it cannot deliver.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Letters {
    /// It has no dead letter queue.
    None,
    /// It buries what was delivered too often or was termed.
    Buried,
    /// Its dead letter queue also takes what it would miss, if no other group's does. (With two such groups it would
    /// depend on the chunks which of them comes first.)
    Rescued,
}

/// The unit of time in the histories, so that moments often coincide.
const TICK: u64 = 1000;
const GROUPS: usize = 3;
/// The limit of the dead letter queue in bytes.
const DEAD_BYTES: u64 = 1 << 30;

/// Whether the dead letter queue can never take a message.
fn is_large(seq: u64) -> bool {
    seq % 7 == 6
}

/// The topic of a message, if there are topics.
fn topic_of(seq: u64) -> Option<Topic> {
    let text = [None, Some("a.x"), Some("a.y"), Some("b")][seq as usize % 4];
    text.map(|text| Topic::new(text).unwrap())
}

/// The filters of a group, if there are topics.
fn filters_of(number: u64) -> Option<Filters> {
    let texts: [&[&str]; 4] = [&[], &["a.*"], &["b", "a.x"], &[">"]];
    Filters::new(texts[number as usize % 4].iter().copied()).ok()
}

fn ticks(range: std::ops::Range<u64>) -> impl Strategy<Value = u64> {
    range.prop_map(|ticks| ticks * TICK)
}

fn group_options() -> impl Strategy<Value = GroupOptions> {
    (
        prop::option::weighted(0.85, ticks(1..12)),
        prop::option::of(1..4u32),
        prop::collection::vec(ticks(0..6), 0..3),
        prop::option::of(1..8u64),
    )
        .prop_map(|(ack_wait, max_deliver, backoff, max_pending)| GroupOptions {
            ack_wait,
            max_deliver,
            backoff,
            max_pending,
            ..GroupOptions::default()
        })
}

fn op() -> impl Strategy<Value = Op> {
    let lifetime = prop_oneof![
        6 => Just(Lifetime::Queue),
        2 => ticks(1..20).prop_map(Lifetime::Own),
        1 => Just(Lifetime::Forever),
    ];
    let start = || {
        prop_oneof![
            6 => Just(Start::Earliest),
            2 => Just(Start::Latest),
            2 => (0..40u64).prop_map(Start::Seq),
            1 => ticks(0..100).prop_map(Start::Time),
        ]
    };
    let to = prop_oneof![
        1 => Just(Start::Earliest),
        1 => Just(Start::Latest),
        8 => (0..100u64).prop_map(Start::Seq),
        2 => ticks(0..300).prop_map(Start::Time),
    ];
    let how = || {
        prop_oneof![
            4 => Just(Settle::Ack),
            2 => Just(Settle::Nack(0)),
            2 => ticks(1..8).prop_map(Settle::Nack),
            1 => Just(Settle::Term),
            1 => Just(Settle::InProgress),
        ]
    };
    let letters = prop_oneof![Just(Letters::None), Just(Letters::Buried), Just(Letters::Rescued)];
    let who = || 0..GROUPS;
    prop_oneof![
        12 => (0..200u64, lifetime).prop_map(|(size, lifetime)| Op::Enqueue(size, lifetime)),
        4 => (0..12usize, 0..50u64).prop_map(|(count, size)| Op::Batch(count, size)),
        1 => (900..2100usize, 0..2u64).prop_map(|(count, size)| Op::Batch(count, size)),
        4 => (0..12usize, 0..50u64, 0..3usize, 0..3usize, 1..9usize)
            .prop_map(|(count, size, team, member, limit)| Op::Stream(count, size, team, member, limit)),
        1 => (990..1050usize, 0..2u64, 0..3usize, 0..3usize, 1..2000usize)
            .prop_map(|(count, size, team, member, limit)| Op::Stream(count, size, team, member, limit)),
        4 => (start(), group_options(), letters).prop_map(|(start, how, letters)| Op::AddGroup(start, how, letters)),
        1 => who().prop_map(Op::CloseGroup),
        4 => who().prop_map(Op::AddMember),
        2 => (who(), any::<usize>()).prop_map(|(group, member)| Op::CloseMember(group, member)),
        16 => (who(), any::<usize>(), 1..6usize).prop_map(|(group, member, limit)| Op::Read(group, member, limit)),
        2 => (who(), any::<usize>(), 500..1500usize).prop_map(|(group, member, limit)| Op::Read(group, member, limit)),
        2 => (who(), any::<usize>()).prop_map(|(group, member)| Op::Peek(group, member)),
        10 => (any::<usize>(), how()).prop_map(|(receipt, how)| Op::Settle(receipt, how)),
        6 => (1..8usize, how()).prop_map(|(count, how)| Op::SettleLatest(count, how)),
        1 => (500..1500usize).prop_map(|count| Op::SettleLatest(count, Settle::Ack)),
        1 => (who(), to).prop_map(|(group, to)| Op::Seek(group, to)),
        2 => (who(), any::<usize>()).prop_map(|(group, member)| Op::TakeMissed(group, member)),
        1 => start().prop_map(Op::AddConsumer),
        1 => (0..2usize).prop_map(Op::CloseConsumer),
        4 => (0..2usize, 1..10usize).prop_map(|(who, limit)| Op::ReadAlone(who, limit)),
        1 => (0..2usize).prop_map(|who| Op::ReadAlone(who, 5000)),
        12 => ticks(1..8).prop_map(Op::Advance),
        1 => prop::option::of(ticks(1..30)).prop_map(Op::SetTtl),
        1 => prop::bool::weighted(0.7).prop_map(Op::SetExpires),
        1 => (1..100_000u64).prop_map(Op::SetMaxBytes),
        1 => prop::option::of(1..2000u64).prop_map(Op::SetMaxItems),
        1 => ticks(0..8).prop_map(Op::Force),
        2 => (1..4usize).prop_map(Op::ReadDead),
        1 => prop::option::weighted(0.1, Just(Op::CloseDead)).prop_map(|op| op.unwrap_or(Op::ReadDead(9))),
        1 => prop::option::weighted(0.2, any::<bool>()).prop_map(|now| now.map_or(Op::ReadDead(9), Op::Close)),
    ]
}

#[derive(Clone, Debug)]
struct Held {
    seq: u64,
    size: u64,
    at: u64,
    lifetime: Lifetime,
    topic: Option<Topic>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Held by a member, given by its number, until a moment.
    Held(u64, u64),
    Waiting(u64),
    Ready,
    /// The next attempt is at a moment.
    Dying(u64),
}

#[derive(Clone, Debug)]
struct Pending {
    stage: Stage,
    deliveries: u32,
    /// Numbers of the first and of the latest delivery.
    first: u64,
    latest: u64,
    is_termed: bool,
}

#[derive(Debug)]
struct Member {
    handle: Consumer<u64>,
    number: u64,
    read: u64,
}

#[derive(Debug)]
struct Team {
    handle: Group<u64>,
    number: u64,
    /// Where it stands among the groups. New groups take the places of closed ones, the latest first.
    place: usize,
    options: GroupOptions,
    letters: Letters,
    members: Vec<Member>,
    position: u64,
    pending: BTreeMap<u64, Pending>,
    /// Number of messages that it has to account for.
    owed: u64,
    read: u64,
    missed: u64,
    /// How many of the missed messages were dropped, and how many were delivered in vain.
    dropped: u64,
    undeliverable: u64,
    taken: u64,
    /// Missed messages that deliveries have reported.
    told: u64,
    redelivered: u64,
    dead_lettered: u64,
    refused_dead_letters: u64,
    seeked: bool,
}

impl Team {
    fn backoff(&self, deliveries: u32) -> u64 {
        let index = (deliveries as usize - 1).min(self.options.backoff.len().saturating_sub(1));
        self.options.backoff.get(index).copied().unwrap_or(0)
    }

    fn is_used_up(&self, deliveries: u32) -> bool {
        self.options.max_deliver.is_some_and(|max| deliveries >= max)
    }

    /// The stage of a delivery that failed at a moment; None: it dies.
    fn fail(&self, deliveries: u32, at: u64, delay: u64) -> Option<Stage> {
        match self.backoff(deliveries).max(delay) {
            _ if self.is_used_up(deliveries) => None,
            0 => Some(Stage::Ready),
            wait => Some(Stage::Waiting(at + wait)),
        }
    }

    fn ready(&self) -> Option<u64> {
        self.pending.iter().find(|(_, pending)| pending.stage == Stage::Ready).map(|(&seq, _)| seq)
    }

    fn has_room(&self) -> bool {
        self.options.max_pending.is_none_or(|max| (self.pending.len() as u64) < max)
    }

    /// Accounts for a message that has left. Returns whether it goes to the dead letter queue.
    fn lose(&mut self, held: &Held, is_drop: bool) -> bool {
        let is_lost = self.has_ahead(held) || self.pending.remove(&held.seq).is_some();
        let is_rescued = is_lost && self.letters == Letters::Rescued;
        *(if is_rescued { &mut self.dead_lettered } else { &mut self.missed }) += u64::from(is_lost);
        self.dropped += u64::from(is_lost && !is_rescued && is_drop);
        is_rescued
    }

    fn wants(&self, topic: Option<&Topic>) -> bool {
        let filters = self.options.filters.as_ref();
        filters.is_none_or(|filters| topic.is_some_and(|topic| filters.match_topic(topic.as_str())))
    }

    /// Whether it still has to read a message.
    fn has_ahead(&self, held: &Held) -> bool {
        held.seq >= self.position && self.wants(held.topic.as_ref())
    }
}

#[derive(Debug)]
struct Alone {
    handle: Consumer<u64>,
    position: u64,
    read: u64,
    missed: u64,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    receipt: Receipt,
    team: u64,
    seq: u64,
    number: u64,
}

struct Model {
    options: Options,
    has_topics: bool,
    now: u64,
    expires: bool,
    closed: bool,
    held: VecDeque<Held>,
    next: u64,
    teams: Vec<Team>,
    alone: Vec<Alone>,
    given: Vec<Given>,
    numbers: u64,
    /// Places of closed groups.
    vacant: Vec<usize>,
    expired: u64,
    dropped: u64,
    rejected: u64,
    /// What the group that rescues has lost, and what is still to be moved to the dead letter queue: the messages that
    /// left together, in whatever order.
    lost: VecDeque<(bool, BTreeSet<u64>)>,
    /// The letters: each is one of those that left together.
    dead: VecDeque<Rc<RefCell<BTreeSet<u64>>>>,
    dead_max: u64,
    dead_next: u64,
    dead_rejected: u64,
    dead_closed: bool,
    /// Burials that are due, and that the current call does after its first hold of the lock.
    dying: Vec<(u64, u64)>,
}

impl Model {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The charge for the message and its pending deliveries.
    fn charge(&self, held: &Held) -> u64 {
        let pending = self.teams.iter().filter(|team| team.pending.contains_key(&held.seq)).count() as u64;
        held.size + MESSAGE_OVERHEAD + pending * PENDING_OVERHEAD
    }

    fn bytes(&self) -> u64 {
        self.held.iter().map(|held| self.charge(held)).sum::<u64>() + self.of_topics()
    }

    /// The charge for topics.
    fn of_topics(&self) -> u64 {
        let topics: HashSet<&Topic> = self.held.iter().filter_map(|held| held.topic.as_ref()).collect();
        let each = self.held.iter().filter(|held| held.topic.is_some()).count() as u64;
        topics.into_iter().map(|topic| topic.as_str().len() as u64 + TOPIC_ENTRY).sum::<u64>() + each * TOPIC_OVERHEAD
    }

    /// The memory usage that is reported: pending deliveries in a full queue count only up to the limit.
    fn usage(&self) -> u64 {
        let messages: u64 = self.held.iter().map(|held| held.size + MESSAGE_OVERHEAD).sum();
        self.bytes().min(self.options.max_bytes.max(messages + self.of_topics()))
    }

    fn head(&self) -> u64 {
        self.held.front().map_or(self.next, |held| held.seq)
    }

    /// Removes messages unread. Every reader that has not reached a message, or has it pending, has missed it.
    fn lose(&mut self, leaves: impl Fn(&Held) -> bool, is_drop: bool) -> u64 {
        let (gone, stay): (Vec<_>, Vec<_>) = self.held.drain(..).partition(leaves);
        self.held = stay.into();
        let mut lost = BTreeSet::new();
        for held in &gone {
            for team in &mut self.teams {
                if team.lose(held, is_drop) {
                    lost.insert(held.seq);
                }
            }
            for alone in self.alone.iter_mut().filter(|alone| alone.position <= held.seq) {
                alone.missed += 1;
                alone.dropped += u64::from(is_drop);
            }
        }
        self.lost.push_back((is_drop, lost));
        gone.len() as u64
    }

    /// Moves what was lost to the dead letter queue, as far as that takes it.
    fn rescue(&mut self) {
        for (is_drop, mut lost) in std::mem::take(&mut self.lost) {
            let count = lost.len() as u64;
            lost.retain(|&seq| !is_large(seq));
            let room = if self.dead_closed { 0 } else { self.dead_max.saturating_sub(self.dead.len() as u64) };
            let taken = room.min(lost.len() as u64);
            let team = self.teams.iter_mut().find(|team| team.letters == Letters::Rescued);
            if let Some(team) = team {
                team.dead_lettered -= count - taken;
                team.missed += count - taken;
                team.dropped += if is_drop { count - taken } else { 0 };
            }
            self.dead_rejected += if self.dead_closed { 0 } else { count - taken };
            self.dead_next += taken;
            let lost = Rc::new(RefCell::new(lost));
            self.dead.extend((0..taken).map(|_| lost.clone()));
        }
    }

    fn expire(&mut self) -> u64 {
        if !self.expires {
            return 0;
        }
        let (now, ttl) = (self.now, self.options.ttl);
        let count = self.lose(
            |held| match held.lifetime {
                Lifetime::Queue => ttl.is_some_and(|ttl| held.at + ttl <= now),
                Lifetime::Own(ttl) => held.at + ttl <= now,
                Lifetime::Forever => false,
            },
            false,
        );
        self.expired += count;
        count
    }

    /// Removes messages that no reader needs.
    fn collect(&mut self) {
        if self.options.retention == Retention::Interest && !(self.teams.is_empty() && self.alone.is_empty()) {
            let (teams, alone) = (&self.teams, &self.alone);
            self.held.retain(|held| {
                teams.iter().any(|team| team.has_ahead(held) || team.pending.contains_key(&held.seq))
                    || alone.iter().any(|alone| alone.position <= held.seq)
            });
        }
    }

    /// Does what is due.
    fn tick(&mut self) {
        let dying = self.due();
        self.bury_all(dying);
    }

    /// Does what is due except burials, which happen after the call itself. Returns the group and seq of each burial.
    fn due(&mut self) -> Vec<(u64, u64)> {
        self.expire();
        let now = self.now;
        let mut dying = Vec::new();
        let mut in_order: Vec<&mut Team> = self.teams.iter_mut().collect();
        in_order.sort_by_key(|team| team.place);
        for team in in_order {
            let mut of_team = Vec::new();
            let seqs: Vec<u64> = team.pending.keys().copied().collect();
            for seq in seqs {
                let Pending { stage, deliveries, .. } = team.pending[&seq];
                let stage = match stage {
                    Stage::Held(_, until) if until <= now => match team.fail(deliveries, until, 0) {
                        Some(Stage::Waiting(until)) if until <= now => Stage::Ready,
                        Some(stage) => stage,
                        None => {
                            of_team.push((until, seq));
                            Stage::Dying(u64::MAX)
                        }
                    },
                    Stage::Waiting(until) if until <= now => Stage::Ready,
                    Stage::Dying(at) if at <= now => {
                        of_team.push((at, seq));
                        Stage::Dying(u64::MAX)
                    }
                    stage => stage,
                };
                team.pending.get_mut(&seq).unwrap().stage = stage;
            }
            of_team.sort();
            dying.extend(of_team.into_iter().map(|(_, seq)| (team.number, seq)));
        }
        dying
    }

    fn bury_rest(&mut self) {
        let dying = std::mem::take(&mut self.dying);
        self.bury_all(dying);
    }

    fn bury_all(&mut self, dying: Vec<(u64, u64)>) {
        self.rescue();
        for (number, seq) in dying {
            let team = self.teams.iter().find(|team| team.number == number);
            let pending = team.and_then(|team| team.pending.get(&seq));
            if pending.is_some_and(|pending| matches!(pending.stage, Stage::Dying(_))) {
                self.bury(number, seq, false);
            }
        }
        self.collect();
    }

    fn bury(&mut self, team: u64, seq: u64, is_termed: bool) {
        let team = self.teams.iter_mut().find(|other| other.number == team).unwrap();
        let mut pending = team.pending.remove(&seq).unwrap();
        if team.letters == Letters::None {
            *(if is_termed { &mut team.read } else { &mut team.missed }) += 1;
            team.undeliverable += u64::from(!is_termed);
        } else if is_large(seq) && !self.dead_closed {
            self.dead_rejected += 1;
            team.missed += 1;
            team.undeliverable += 1;
            team.refused_dead_letters += 1;
        } else if !self.dead_closed && (self.dead.len() as u64) < self.dead_max {
            self.dead.push_back(Rc::new(RefCell::new(BTreeSet::from([seq]))));
            self.dead_next += 1;
            team.dead_lettered += 1;
        } else {
            self.dead_rejected += u64::from(!self.dead_closed);
            let wait = Some(team.backoff(pending.deliveries)).filter(|&wait| wait > 0).or(team.options.ack_wait);
            pending.stage = Stage::Dying(self.now + wait.unwrap());
            team.pending.insert(seq, pending);
        }
    }

    /// The bytes that so many messages of a size need: always, and while no other message is held under their topic.
    fn need(&self, count: u64, size: u64) -> (u64, u64) {
        let topic = topic_of(self.next).filter(|_| self.has_topics);
        let of_topic = topic.as_ref().map_or(0, |_| TOPIC_OVERHEAD);
        let text = topic.as_ref().map_or(0, |topic| topic.as_str().len() as u64 + TOPIC_ENTRY);
        (count * (size + MESSAGE_OVERHEAD + of_topic), text)
    }

    fn fits(&self, count: u64, size: u64) -> bool {
        let topic = topic_of(self.next).filter(|_| self.has_topics);
        let (needed, text) = self.need(count, size);
        let text = if self.held.iter().any(|held| held.topic == topic) { 0 } else { text };
        count == 0
            || self.bytes() + needed + text <= self.options.max_bytes
                && self.held.len() as u64 + count <= self.options.max_items.unwrap_or(u64::MAX)
    }

    fn enqueue(&mut self, count: u64, size: u64, lifetime: Lifetime) -> Option<u64> {
        if self.closed {
            return None;
        }
        let topic = topic_of(self.next).filter(|_| self.has_topics);
        let (needed, text) = self.need(count, size);
        let max_items = self.options.max_items.unwrap_or(u64::MAX);
        let has_readers = !(self.teams.is_empty() && self.alone.is_empty());
        let is_wanted = !self.alone.is_empty() || self.teams.iter().any(|team| team.wants(topic.as_ref()));
        let first = self.next;
        let is_hopeless = count > 0 && (needed + text > self.options.max_bytes || count > max_items);
        if self.options.retention == Retention::Interest && has_readers && !is_hopeless && !is_wanted {
            self.next += count;
            return Some(first);
        }
        if is_hopeless || self.options.overflow == Overflow::Reject && !self.fits(count, size) {
            self.rejected += count;
            return None;
        }
        while !self.fits(count, size) {
            let oldest = self.head();
            self.dropped += self.lose(|held| held.seq == oldest, true);
        }
        for _ in 0..count {
            self.held.push_back(Held { seq: self.next, size, at: self.now, lifetime, topic: topic.clone() });
            self.next += 1;
        }
        for team in self.teams.iter_mut().filter(|team| team.wants(topic.as_ref())) {
            team.owed += count;
        }
        Some(first)
    }

    fn resolve(&self, start: Start) -> Option<u64> {
        match start {
            Start::Latest => Some(self.next),
            Start::Seq(seq) => (seq <= self.next).then(|| seq.max(self.head())),
            Start::Time(wall) => Some(self.held.iter().find(|held| held.at >= wall).map_or(self.next, |held| held.seq)),
            Start::Earliest => Some(self.head()),
        }
    }

    fn ahead_of(&self, team: &Team) -> u64 {
        self.held.iter().filter(|held| team.has_ahead(held)).count() as u64
    }

    fn held_from(&self, seq: u64) -> u64 {
        self.held.iter().filter(|held| held.seq >= seq).count() as u64
    }

    /// The deliveries of a member's read: seq, and how often it was delivered.
    fn read(&mut self, team: usize, member: usize, limit: usize) -> Vec<(u64, u32)> {
        let mut read = Vec::new();
        while read.len() < limit {
            let number = self.number();
            let (now, team) = (self.now, &mut self.teams[team]);
            let again = team.ready();
            let Some(seq) = again.or_else(|| {
                let next = self.held.iter().find(|held| team.has_ahead(held)).map(|held| held.seq);
                next.filter(|_| team.has_room())
            }) else {
                break;
            };
            let Some(ack_wait) = team.options.ack_wait else {
                team.position = seq + 1;
                team.read += 1;
                team.members[member].read += 1;
                read.push((seq, 1));
                continue;
            };
            let stage = Stage::Held(team.members[member].number, now + ack_wait);
            let fresh = Pending { stage, deliveries: 0, first: number, latest: number, is_termed: false };
            let pending = team.pending.entry(seq).or_insert(fresh);
            (pending.stage, pending.latest) = (stage, number);
            pending.deliveries += 1;
            team.members[member].read += 1;
            read.push((seq, pending.deliveries));
            match again {
                Some(_) => team.redelivered += 1,
                None => team.position = seq + 1,
            }
        }
        read
    }

    /// Whether the settlement counts.
    fn settle(&mut self, given: Given, how: Settle) -> bool {
        let Given { seq, number, .. } = given;
        let Some(team) = self.teams.iter_mut().find(|team| team.number == given.team) else { return false };
        let Some(Pending { stage, deliveries, first, latest, is_termed }) = team.pending.get(&seq).cloned() else {
            return false;
        };
        let is_held = matches!(stage, Stage::Held(..)) && number == latest;
        let is_dying = matches!(stage, Stage::Dying(_));
        match (how, stage) {
            _ if number < first || is_termed => return false,
            (Settle::Ack, _) => {
                team.pending.remove(&seq);
                team.read += 1;
            }
            (Settle::Term, _) if !is_dying => {
                team.pending.get_mut(&seq).unwrap().is_termed = true;
                self.bury(given.team, seq, true);
            }
            (Settle::InProgress, Stage::Held(member, _)) if is_held => {
                let until = self.now + team.options.ack_wait.unwrap();
                team.pending.get_mut(&seq).unwrap().stage = Stage::Held(member, until);
            }
            (Settle::Nack(delay), _) if is_held => match team.fail(deliveries, self.now, delay) {
                Some(stage) => team.pending.get_mut(&seq).unwrap().stage = stage,
                None => self.bury(given.team, seq, false),
            },
            _ => return false,
        }
        true
    }

    fn close_member(&mut self, team: usize, member: usize) {
        let team = &mut self.teams[team];
        let gone = team.members.remove(member);
        assert!(gone.handle.close());
        assert_eq!(gone.handle.read(), Err(Error::ConsumerClosed));
        let mut dying = Vec::new();
        for (&seq, pending) in &mut team.pending {
            if matches!(pending.stage, Stage::Held(by, _) if by == gone.number) {
                pending.stage = Stage::Ready;
                dying.extend(team.options.max_deliver.is_some_and(|max| pending.deliveries >= max).then_some(seq));
            }
        }
        let number = team.number;
        dying.into_iter().for_each(|seq| self.bury(number, seq, false));
    }
}

/// The queue under test and its surroundings.
struct Stand {
    queue: Queue<u64>,
    clock: Arc<ManualClock>,
    dead: Queue<u64>,
    graves: Consumer<u64>,
}

fn run(options: Options, dead_max: u64, has_topics: bool, ops: Vec<Op>) -> usize {
    let steps = ops.len();
    let clock = ManualClock::at(Now { mono: TICK, wall: TICK });
    let options = Options { clock: Clock::Manual(clock.clone()), ..options };
    let dead = Queue::new(&Options {
        ttl: None,
        max_items: Some(dead_max),
        retention: Retention::Interest,
        overflow: Overflow::Reject,
        max_bytes: DEAD_BYTES,
        ..options.clone()
    });
    let graves = dead.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    let stand = Stand { queue: Queue::new(&options), clock, dead, graves };
    let mut model = Model {
        options,
        has_topics,
        now: TICK,
        expires: true,
        closed: false,
        held: VecDeque::new(),
        next: 0,
        teams: Vec::new(),
        alone: Vec::new(),
        given: Vec::new(),
        numbers: 0,
        vacant: Vec::new(),
        expired: 0,
        dropped: 0,
        rejected: 0,
        lost: VecDeque::new(),
        dead: VecDeque::new(),
        dead_max,
        dead_next: 0,
        dead_rejected: 0,
        dead_closed: false,
        dying: Vec::new(),
    };
    for op in ops {
        // If the operation is one call, it is the operation that processes what is due, and not a read of the figures.
        if !matches!(op, Op::Advance(_) | Op::ReadDead(_) | Op::CloseDead) && !op.is_one_call() {
            stand.queue.len();
            model.tick();
        }
        let is_silent = matches!(op, Op::Advance(_));
        model.dying = if op.is_one_call() { model.due() } else { Vec::new() };
        let added = match op {
            Op::Enqueue(size, _) => (1, size),
            Op::Batch(count, size) => (count as u64, size),
            _ => (0, 0),
        };
        // Messages may have to be dropped in slices, so what is due is over before the call itself.
        if model.options.overflow == Overflow::DropOldest && !model.teams.is_empty() && !model.fits(added.0, added.1) {
            model.bury_rest();
        }
        step(&stand, &mut model, op);
        if !is_silent {
            model.bury_rest();
            compare(&stand, &mut model);
        }
    }
    compare(&stand, &mut model);
    steps
}

fn enqueue(queue: &Queue<u64>, model: &Model, size: u64, lifetime: Lifetime) -> Option<u64> {
    match topic_of(model.next).filter(|_| model.has_topics) {
        None => queue.enqueue_for(model.next, size, lifetime).ok(),
        Some(topic) => queue.enqueue_under(&topic, model.next, size, lifetime).ok(),
    }
}

fn step(stand: &Stand, model: &mut Model, op: Op) {
    let Stand { queue, clock, dead, graves } = stand;
    let team_of = |index: usize, model: &Model| (!model.teams.is_empty()).then(|| index % model.teams.len());
    let member_of = |team: usize, member: usize, model: &Model| {
        let team = team_of(team, model)?;
        let count = model.teams[team].members.len();
        (count > 0).then(|| (team, member % count))
    };
    match op {
        Op::Enqueue(size, lifetime) => {
            let seq = enqueue(queue, model, size, lifetime);
            assert_eq!(seq, model.enqueue(1, size, lifetime));
        }
        Op::Batch(count, size) => {
            let batch = (model.next..).map(|payload| (payload, size)).take(count).collect();
            let topic = topic_of(model.next).filter(|_| model.has_topics);
            let first = queue.enqueue_batch_under(topic.as_ref(), batch);
            assert_eq!(first.ok(), model.enqueue(count as u64, size, Lifetime::Queue));
        }
        Op::Stream(count, size, team, member, limit) => {
            for part in [count / 2, count - count / 2] {
                for _ in 0..part {
                    let seq = enqueue(queue, model, size, Lifetime::Queue);
                    assert_eq!(seq, model.enqueue(1, size, Lifetime::Queue));
                    model.rescue();
                }
                step(stand, model, Op::Read(team, member, limit));
                model.collect();
            }
        }
        Op::AddGroup(start, how, mut letters) => {
            if model.teams.len() == GROUPS {
                return;
            }
            let number = model.number();
            if letters == Letters::Rescued && model.teams.iter().any(|team| team.letters == Letters::Rescued) {
                letters = Letters::Buried;
            }
            let filters = filters_of(number).filter(|_| model.has_topics);
            let how = GroupOptions { filters, rescues_missed: letters == Letters::Rescued, ..how };
            let dead_letter = (letters != Letters::None)
                .then(|| dead.dead_letter(|payload| *payload, |&seq| Some(if is_large(seq) { DEAD_BYTES } else { 1 })));
            let handle = queue.add_group(&number.to_string(), start, &how, dead_letter);
            let Some(position) = model.resolve(start) else {
                assert_eq!(handle.err(), Some(Error::BeyondEnd(model.next)));
                return;
            };
            let mut team = Team {
                handle: handle.unwrap(),
                number,
                place: model.vacant.pop().unwrap_or(model.teams.len()),
                options: how,
                letters,
                members: Vec::new(),
                position,
                pending: BTreeMap::new(),
                owed: 0,
                read: 0,
                missed: 0,
                dropped: 0,
                undeliverable: 0,
                taken: 0,
                told: 0,
                redelivered: 0,
                dead_lettered: 0,
                refused_dead_letters: 0,
                seeked: false,
            };
            team.owed = model.ahead_of(&team);
            model.teams.push(team);
            step(stand, model, Op::AddMember(model.teams.len() - 1));
        }
        Op::CloseGroup(team) => {
            let Some(team) = team_of(team, model) else { return };
            let team = model.teams.remove(team);
            model.vacant.push(team.place);
            assert!(team.handle.close());
            assert_eq!(team.handle.stats(), Err(Error::GroupClosed));
            for member in team.members {
                assert_eq!(member.handle.read(), Err(Error::ConsumerClosed));
            }
        }
        Op::AddMember(team) => {
            let Some(team) = team_of(team, model) else { return };
            let number = model.number();
            if model.teams[team].members.len() < 3 {
                let handle = model.teams[team].handle.add_consumer(None).unwrap();
                model.teams[team].members.push(Member { handle, number, read: 0 });
            }
        }
        Op::CloseMember(team, member) => {
            if let Some((team, member)) = member_of(team, member, model) {
                model.close_member(team, member);
            }
        }
        Op::Read(team, member, limit) => {
            let Some((team, member)) = member_of(team, member, model) else { return };
            let handle = model.teams[team].members[member].handle.clone();
            let mut read = Vec::new();
            let result = handle.read_with(limit, |delivery| {
                assert_eq!(*delivery.payload, delivery.seq);
                read.push((delivery.seq, delivery.deliveries, delivery.size, delivery.created, delivery.receipt));
                model.teams[team].told += delivery.missed;
            });
            for &(seq, _, size, created, _) in &read {
                let index = model.held.binary_search_by_key(&seq, |held| held.seq).unwrap();
                assert_eq!((size, created), (model.held[index].size, model.held[index].at));
            }
            let slice = match &model.teams[team].options {
                GroupOptions { filters: Some(_), .. } => FILTERED_SLICE,
                GroupOptions { ack_wait: Some(_), .. } => PENDING_SLICE,
                _ => usize::MAX,
            };
            let mut expected = Vec::new();
            loop {
                let most = slice.min(limit - expected.len());
                let part = model.read(team, member, most);
                let is_all = part.len() < most;
                expected.extend(part);
                if is_all || expected.len() == limit {
                    break;
                }
                model.bury_rest();
            }
            assert_eq!(read.iter().map(|read| (read.0, read.1)).collect::<Vec<_>>(), expected);
            let team = &model.teams[team];
            let is_drained = model.closed && team.pending.is_empty();
            assert_eq!(result, if read.is_empty() && is_drained { Err(Error::Closed) } else { Ok(read.len()) });
            for (seq, _, _, _, receipt) in read {
                assert_eq!(receipt.is_some(), team.options.ack_wait.is_some());
                if let Some(receipt) = receipt {
                    let number = team.pending[&seq].latest;
                    model.given.push(Given { receipt, team: team.number, seq, number });
                }
            }
        }
        Op::Peek(team, member) => {
            let Some((team, member)) = member_of(team, member, model) else { return };
            let team = &model.teams[team];
            let peeked = team.members[member].handle.peek_with(|delivery| (delivery.seq, delivery.deliveries));
            let expected = match team.ready() {
                Some(seq) => Some((seq, team.pending[&seq].deliveries + 1)),
                None if !team.has_room() => None,
                None => model.held.iter().find(|held| team.has_ahead(held)).map(|held| (held.seq, 1)),
            };
            assert_eq!(peeked, Ok(expected));
        }
        Op::Settle(which, how) => {
            if !model.given.is_empty() {
                let given = model.given[which % model.given.len()];
                assert_eq!(queue.settle(&given.receipt, how), model.settle(given, how));
            }
        }
        Op::SettleLatest(count, how) => {
            let latest: Vec<_> = model.given.iter().rev().take(count).copied().collect();
            for given in latest {
                assert_eq!(queue.settle(&given.receipt, how), model.settle(given, how));
                model.collect();
            }
        }
        Op::Seek(team, to) => {
            let Some((team, member)) = member_of(team, 0, model) else { return };
            let result = model.teams[team].members[member].handle.seek(to);
            let to = model.resolve(to);
            assert_eq!(result.is_ok(), to.is_some());
            let Some(to) = to else { return };
            let ahead = model.held.iter().filter(|held| model.teams[team].has_ahead(held));
            let skipped = ahead.filter(|held| held.seq < to).count() as u64;
            let team = &mut model.teams[team];
            team.read += skipped;
            team.members[member].read += skipped;
            team.pending.split_off(&to);
            // Messages in between that were read, settled or missed are accounted for twice.
            team.seeked |= to < team.position;
            team.position = to;
        }
        Op::TakeMissed(team, member) => {
            let Some((team, member)) = member_of(team, member, model) else { return };
            let team = &mut model.teams[team];
            let taken = team.members[member].handle.take_missed().unwrap();
            assert_eq!(taken.unwrap_or(0), team.missed - team.taken);
            assert_eq!(taken.is_none(), team.missed == team.taken && !model.closed);
            team.taken = team.missed;
        }
        Op::AddConsumer(start) => {
            if model.alone.len() < 2
                && let Some(position) = model.resolve(start)
            {
                let handle = queue.add_consumer(None, start, MissedPolicy::Skip).unwrap();
                model.alone.push(Alone { handle, position, read: 0, missed: 0, dropped: 0 });
            }
        }
        Op::CloseConsumer(who) => {
            if who < model.alone.len() {
                assert!(model.alone.remove(who).handle.close());
            }
        }
        Op::ReadAlone(who, limit) => {
            let Some(alone) = model.alone.get_mut(who) else { return };
            let mut read = Vec::new();
            let result = alone.handle.read_with(limit, |delivery| read.push(delivery.seq));
            let held = model.held.iter().map(|held| held.seq);
            assert_eq!(read, held.filter(|&seq| seq >= alone.position).take(limit).collect::<Vec<_>>());
            assert_eq!(result.is_err(), model.closed && read.is_empty());
            alone.read += read.len() as u64;
            alone.position = read.last().map_or(alone.position, |seq| seq + 1);
        }
        Op::Advance(nanoseconds) => {
            clock.advance(nanoseconds);
            model.now += nanoseconds;
        }
        Op::SetTtl(ttl) => {
            queue.set_ttl(ttl);
            model.options.ttl = ttl;
        }
        Op::SetExpires(expires) => {
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
        Op::Force(nanoseconds) => {
            clock.advance(nanoseconds);
            model.now += nanoseconds;
            assert_eq!(queue.force_expiration(), model.expire());
            model.rescue();
        }
        Op::ReadDead(count) => {
            for _ in 0..count {
                let letter = graves.read().unwrap_or(None);
                let expected = model.dead.pop_front();
                assert_eq!(letter.is_some(), expected.is_some());
                assert!(letter.is_none_or(|seq| expected.is_some_and(|of| of.borrow_mut().remove(&seq))));
            }
        }
        Op::CloseDead => {
            dead.close(false);
            model.dead_closed = true;
        }
        Op::Close(immediate) => {
            queue.close(immediate);
            model.closed = true;
            if immediate {
                model.held.clear();
                for team in &mut model.teams {
                    team.pending.clear();
                    team.position = model.next;
                    team.seeked = true;
                }
                model.alone.iter_mut().for_each(|alone| alone.position = model.next);
            }
        }
    }
}

fn compare(stand: &Stand, model: &mut Model) {
    let Stand { queue, dead, .. } = stand;
    // What is due happens at the next call of any kind.
    queue.len();
    model.tick();
    let stats = queue.stats();
    queue.check();
    dead.check();
    assert_eq!(stats.total_items, model.held.len() as u64);
    assert_eq!(stats.memory_usage, model.usage());
    assert_eq!((stats.first_seq, stats.next_seq), (model.head(), model.next));
    assert_eq!((stats.expired, stats.dropped, stats.rejected), (model.expired, model.dropped, model.rejected));
    let letters = dead.stats();
    assert_eq!(letters.total_items, model.dead.len() as u64);
    assert_eq!((letters.next_seq, letters.rejected), (model.dead_next, model.dead_rejected));
    let mut is_joined = true;
    for team in &model.teams {
        let unread_new = model.ahead_of(team);
        let ready = team.pending.iter().filter(|(_, pending)| pending.stage == Stage::Ready).map(|(&seq, _)| seq);
        let ready: Vec<u64> = ready.collect();
        let unread = unread_new + ready.len() as u64;
        let figures = team.handle.stats().unwrap();
        assert_eq!((figures.pending, figures.unread), ((team.pending.len() - ready.len()) as u64, unread));
        let waiting = model.held.iter().filter(|held| team.has_ahead(held) || ready.contains(&held.seq));
        let (bytes, oldest) =
            waiting.fold((0, u64::MAX), |(bytes, oldest), held| (bytes + held.size, oldest.min(held.at)));
        assert_eq!((figures.unread_bytes, figures.lag), (bytes, model.now.saturating_sub(oldest)));
        assert_eq!(figures.members, team.members.len() as u64);
        assert_eq!(figures.refused_dead_letters, team.refused_dead_letters);
        assert_eq!((figures.missed, figures.read), (team.missed, team.read));
        assert_eq!((figures.dropped, figures.undeliverable), (team.dropped, team.undeliverable));
        assert_eq!((figures.redelivered, figures.dead_lettered), (team.redelivered, team.dead_lettered));
        let has_more = !ready.is_empty() || team.has_room() && unread_new > 0;
        for member in &team.members {
            assert_eq!(member.handle.has_more(), Ok(has_more));
            let stats = member.handle.stats().unwrap();
            assert_eq!((stats.read, stats.unread, stats.missed), (member.read, unread, team.missed));
            assert_eq!(member.handle.unread(), Ok(unread));
        }
        if !team.seeked {
            let books = figures.read + figures.missed + figures.unread + figures.pending + figures.dead_lettered;
            assert_eq!(books, team.owed, "the books balance");
            assert!(team.told <= team.missed);
        }
        is_joined &= unread_new == 0 && team.pending.is_empty();
    }
    for alone in &model.alone {
        let figures = alone.handle.stats().unwrap();
        assert_eq!((figures.read, figures.missed), (alone.read, alone.missed));
        assert_eq!(figures.dropped, alone.dropped);
        assert_eq!(figures.unread, model.held_from(alone.position));
        is_joined &= figures.unread == 0;
    }
    assert_eq!(queue.join(Some(Duration::ZERO)), is_joined);
}

fn options() -> impl Strategy<Value = Options> {
    let max_items = prop::option::of(1..2000u64);
    (prop::option::of(ticks(1..30)), 500..200_000u64, max_items, any::<[bool; 3]>()).prop_map(
        |(ttl, max_bytes, max_items, [interest, drops, audit])| Options {
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
fn groups_do_as_the_model_says() {
    let history = |longest| (options(), 1..6u64, prop::collection::vec(op(), 1..longest));
    histories::play_all(300, 150, history, |(options, dead_max, ops)| run(options, dead_max, false, ops));
}

#[test]
fn with_topics_they_do_so_too() {
    let history = |longest| (options(), 1..6u64, prop::collection::vec(op(), 1..longest));
    histories::play_all(100, 150, history, |(options, dead_max, ops)| run(options, dead_max, true, ops));
}
