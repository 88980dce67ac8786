//! How many random histories are played, how long they are, and which.
//!
//! `cargo test` plays the same few histories each time. With `SOAK_SECONDS` in the environment, other histories are
//! played for this long, each ten times as long. They begin at `SOAK_SEED`, or at a seed from the clock.

use std::cell::Cell;
use std::env;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// Number of histories between two readings of the clock.
const ROUND: u32 = 50;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Plays histories made by `strategy`, which receives their maximum length. `play` returns the number of steps of a
/// history.
pub(crate) fn play_all<S: Strategy>(
    cases: u32,
    longest: usize,
    strategy: impl Fn(usize) -> S,
    play: impl Fn(S::Value) -> usize,
) where
    S::Value: std::fmt::Debug,
{
    let steps = Cell::new(0);
    let round = |strategy: &S, cases, seed| {
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_iters: 20_000,
            ..ProptestConfig::default()
        };
        let played = TestRunner::new(config).run(strategy, |history| {
            steps.set(steps.get() + play(history));
            Ok(())
        });
        played.unwrap_or_else(|failure| panic!("with seed {seed}: {failure}"));
    };
    let Some(seconds) = number("SOAK_SECONDS") else {
        round(&strategy(longest), cases, 1);
        println!("{cases} histories, {} steps", steps.get());
        return;
    };
    let by_clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let first = number("SOAK_SEED").unwrap_or_else(by_clock);
    let (start, strategy, mut rounds) = (Instant::now(), strategy(10 * longest), 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        round(&strategy, ROUND, first + rounds);
        rounds += 1;
    }
    let (histories, last) = (rounds * u64::from(ROUND), first + rounds.saturating_sub(1));
    println!("{histories} histories, {} steps, seeds {first} to {last}", steps.get());
}
