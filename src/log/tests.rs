//! The log against a map: after any additions and removals, in any order, both give the same answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::batch::Batch;
use super::chunk::NIL;
use super::{Log, Removed};
use crate::options::Lifetime;
use crate::time::NEVER;
use crate::time::clock::Now;

#[derive(Clone, Debug)]
enum Step {
    /// Adds `count` messages, one by one or together. `own`: their deadline is this much later than now.
    Append { count: u64, own: Option<u64> },
    /// Adds a batch that was put into slots first.
    Prepared { count: u64, own: Option<u64> },
    /// Removes messages from a part of the log, one in every `one_in`. `from` and `to` are thousandths of its length.
    Remove { from: u64, to: u64, one_in: u64 },
    /// Moves the time forward and removes what is overdue.
    Expire(u64),
    /// Removes the oldest messages, up to this many thousandths of the log.
    Sweep(u64),
    /// Removes the oldest message.
    Pop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let own = prop_oneof![2 => Just(None), 1 => (0u64..50).prop_map(Some), 1 => Just(Some(NEVER))];
    let step = prop_oneof![
        3 => (1u64..1500, own.clone()).prop_map(|(count, own)| Step::Append { count, own }),
        2 => (1u64..3000, own).prop_map(|(count, own)| Step::Prepared { count, own }),
        4 => (0u64..1000, 0u64..1000, 1u64..6).prop_map(|(from, to, one_in)| Step::Remove { from, to, one_in }),
        2 => (0u64..30).prop_map(Step::Expire),
        1 => (0u64..400).prop_map(Step::Sweep),
        1 => Just(Step::Pop),
    ];
    proptest::collection::vec(step, 1..25)
}

/// A message as the map stores it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Message {
    size: u64,
    deadline: u64,
    wall: u64,
}

struct Both {
    log: Log<u64>,
    map: BTreeMap<u64, Message>,
    now: Now,
}

impl Both {
    fn apply(&mut self, step: &Step) {
        let mut removed = Removed::new();
        match *step {
            Step::Append { count, own } => {
                let deadline = own.map(|ttl| self.now.mono.saturating_add(ttl));
                self.expect(count, deadline.unwrap_or(NEVER));
                let first = self.log.next();
                match (count, deadline) {
                    (..=3, None) => {
                        (first..first + count).for_each(|seq| {
                            self.log.append(seq, seq % 7, self.now);
                        });
                    }
                    _ => drop(self.log.append_all((0..count).map_len(first), deadline, self.now)),
                }
            }
            Step::Prepared { count, own } => {
                let deadline = own.map(|ttl| self.now.mono.saturating_add(ttl));
                self.expect(count, deadline.unwrap_or(NEVER));
                let lifetime = match own {
                    None => Lifetime::Queue,
                    Some(NEVER) => Lifetime::Forever,
                    Some(ttl) => Lifetime::Own(ttl),
                };
                let mut batch = Batch::new((0..count).map_len(self.log.next()), lifetime);
                self.log.append_batch(&mut batch, self.now);
            }
            Step::Remove { from, to, one_in } => {
                let (head, next) = (self.log.head(), self.log.next());
                let at = |thousandths: u64| head + (next - head) * thousandths / 1000;
                for seq in (at(from.min(to))..at(from.max(to))).step_by(one_in as usize) {
                    let expected = self.map.remove(&seq).map(|message| message.size);
                    let need = self.log.remove(seq, NIL, &mut removed);
                    assert_eq!(need.map(|need| need.bytes), expected);
                }
            }
            Step::Expire(passed) => {
                self.now = Now { mono: self.now.mono + passed, wall: self.now.wall + passed };
                let before = self.map.len();
                let mono = self.now.mono;
                self.map.retain(|_, message| message.deadline > mono);
                let mut count = 0;
                loop {
                    let swept = self.log.remove_overdue(mono, 2, &mut removed, |_| true);
                    count += swept.need.items as usize;
                    if swept.done {
                        break;
                    }
                }
                assert_eq!(count, before - self.map.len());
            }
            Step::Sweep(thousandths) => {
                let (head, next) = (self.log.head(), self.log.next());
                let upto = head + (next - head) * thousandths / 1000;
                self.map.retain(|&seq, _| seq >= upto);
                let leaves = |chunk: &super::Chunk<u64>, index| (chunk.seq(index) < upto).then_some(true);
                self.log.sweep(0, usize::MAX, &mut removed, |chunk| chunk.end() <= upto, leaves);
            }
            Step::Pop => {
                if let Some((payload, need)) = self.log.pop_front(|_| true) {
                    let (seq, message) = self.map.pop_first().expect("it is held");
                    assert_eq!((payload, need.bytes), (seq, message.size));
                }
            }
        }
    }

    fn expect(&mut self, count: u64, deadline: u64) {
        let first = self.log.next();
        for seq in first..first + count {
            self.map.insert(seq, Message { size: seq % 7, deadline, wall: self.now.wall });
        }
    }

    fn compare(&self) {
        let Both { log, map, .. } = self;
        log.check();
        assert_eq!(log.len(), map.len() as u64);
        assert_eq!(log.head(), map.first_key_value().map_or(log.next(), |(&seq, _)| seq));
        let (mut seq, mut hint) = (0, NIL);
        for (&expected, message) in map {
            let found = log.first_at(seq, &mut hint).expect("it is held");
            assert_eq!(
                (found.seq, *found.payload, found.size, found.wall),
                (expected, expected, message.size, message.wall)
            );
            seq = expected + 1;
        }
        assert!(log.first_at(seq, &mut hint).is_none());
        for from in (log.head()..=log.next()).step_by(97) {
            let held = map.range(from..).fold((0, 0), |(count, bytes), (_, message)| (count + 1, bytes + message.size));
            assert_eq!((log.live_from(from, NIL), log.count_from(from, hint)), (held, held.0));
            assert_eq!(log.contains(from), map.contains_key(&from));
            let holes: u64 = log.holes(from..log.next()).iter().map(|gap| gap.count).sum();
            assert_eq!(holes, log.next() - from - held.0);
        }
        for wall in 0..=self.now.wall + 1 {
            let first = map.iter().find(|(_, message)| message.wall >= wall).map_or(log.next(), |(&seq, _)| seq);
            assert_eq!(log.seq_at(wall), first);
        }
    }
}

/// Messages with their sizes: the payload is the seq, and the size is the seq modulo 7.
trait MapLen {
    fn map_len(self, first: u64) -> std::vec::IntoIter<(u64, u64)>;
}

impl MapLen for std::ops::Range<u64> {
    fn map_len(self, first: u64) -> std::vec::IntoIter<(u64, u64)> {
        self.map(|n| (first + n, (first + n) % 7)).collect::<Vec<_>>().into_iter()
    }
}

fn run(steps: &[Step]) -> Both {
    let mut both = Both { log: Log::new(), map: BTreeMap::new(), now: Now { mono: 5, wall: 1 } };
    for step in steps {
        both.apply(step);
        both.compare();
    }
    both
}

#[test]
fn memory_of_chunks_follows_held_messages() {
    let mut both = run(&[Step::Append { count: 10_000, own: None }]);
    let mut removed = Removed::new();
    for seq in (0..10_000).filter(|seq| seq % 10 != 0) {
        both.log.remove(seq, NIL, &mut removed);
        both.map.remove(&seq);
    }
    both.compare();
    let footprint: usize = both.log.chunks.iter().map(|(_, chunk)| chunk.footprint()).sum();
    // The first and the last chunk are not compacted. Of each thousand messages in the others, a hundred are held.
    assert!(footprint < 2 * 32_000 + 800 * 45, "{footprint}");
    assert!(both.log.chunks.len() <= 4);
}

#[test]
fn sums_from_within_a_compacted_chunk_are_right_once_all_before_it_has_left() {
    let mut both = run(&[Step::Append { count: 3_000, own: None }]);
    let mut removed = Removed::new();
    for seq in 1_000..1_990 {
        both.log.remove(seq, NIL, &mut removed);
        both.map.remove(&seq);
    }
    both.log.sweep(0, usize::MAX, &mut removed, |_| false, |chunk, index| (chunk.seq(index) < 1_990).then_some(true));
    both.map.retain(|&seq, _| seq >= 1_990);
    both.compare();
    let bytes = both.map.range(1_995..).map(|(_, message)| message.size).sum();
    assert_eq!(both.log.live_from(1_995, NIL), (1_005, bytes));
}

#[test]
fn a_chunk_that_has_emptied_is_not_kept_behind_a_batch() {
    let both = run(&[
        Step::Append { count: 1, own: None },
        Step::Append { count: 1_000, own: Some(0) },
        Step::Expire(0),
        Step::Prepared { count: 1, own: None },
    ]);
    assert_eq!(both.log.chunks.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_map_by_seq(steps in steps()) {
        run(&steps);
    }
}
