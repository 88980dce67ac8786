use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::*;

#[test]
fn readings_stay_close_to_the_system_clocks() {
    let clock = Clock::System;
    let start = Instant::now();
    let mut worst = 0;
    while start.elapsed().as_millis() < 300 {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let now = clock.now();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        worst = worst.max(before.saturating_sub(now.wall)).max(now.wall.saturating_sub(after));
    }
    assert!(worst < 20_000, "off by {worst} ns");
}

#[test]
fn a_recent_time_is_at_most_a_little_earlier() {
    let clock = Clock::System;
    let start = Instant::now();
    while start.elapsed().as_millis() < 50 {
        let (before, recent, after) = (clock.now(), clock.recent(), clock.now());
        assert!(recent.mono <= after.mono + 1_000 && recent.mono + LAG >= before.mono);
        assert!(recent.wall <= after.wall + 100_000_000 && recent.wall + LAG >= before.wall);
    }
}

#[test]
fn no_sleep_is_longer_than_windows_can_count() {
    let before = Instant::now();
    let soon = instant(Clock::System.now().mono + 1_000_000_000);
    let far = [crate::time::NEVER, 60 * 24 * HOUR].map(instant);
    let after = Instant::now();
    assert!(soon > before && soon <= after + 2 * Duration::from_secs(1));
    assert!(far.iter().all(|&far| far >= before + LONGEST_SLEEP && far <= after + LONGEST_SLEEP));
    assert!(LONGEST_SLEEP.as_millis() < u128::from(u32::MAX));
}

#[test]
fn a_manual_clock_moves_only_by_hand() {
    let manual = ManualClock::at(Now { mono: 5, wall: 7 });
    let clock = Clock::Manual(manual.clone());
    assert_eq!(clock.now(), Now { mono: 5, wall: 7 });
    manual.advance(10);
    assert_eq!(clock.now(), Now { mono: 15, wall: 17 });
    manual.set_wall(3);
    assert_eq!(clock.now(), Now { mono: 15, wall: 3 });
}

/// A machine whose counter and clocks the test moves. Each reading of the counter takes a short time.
#[derive(Debug)]
struct Moved {
    ticks: AtomicU64,
    mono: AtomicU64,
    wall: AtomicU64,
}

impl Source for Moved {
    fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    fn mono(&self) -> u64 {
        self.mono.load(Ordering::Relaxed)
    }

    fn wall(&self) -> u64 {
        self.wall.load(Ordering::Relaxed)
    }

    /// As of the last tick: one every 4 ms.
    fn coarse(&self) -> Option<u64> {
        let mono = self.mono();
        Some(mono - mono % (4 * MILLISECOND))
    }
}

const MILLISECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MILLISECOND;

/// A clock of a machine with a 3 GHz counter, and the last reading.
struct Awake {
    clock: SystemClock<Moved>,
    /// Ticks in 1000 ns.
    rate: u64,
    last: Now,
}

impl Awake {
    fn new() -> Self {
        let moved = Moved {
            ticks: AtomicU64::new(1 << 40),
            mono: AtomicU64::new(0),
            wall: AtomicU64::new(1_700_000_000_000 * MILLISECOND),
        };
        Awake { clock: SystemClock::new(moved), rate: 3000, last: Now::default() }
    }

    fn pass(&self, nanoseconds: u64) {
        let Moved { ticks, mono, wall } = &self.clock.source;
        mono.fetch_add(nanoseconds, Ordering::Relaxed);
        wall.fetch_add(nanoseconds, Ordering::Relaxed);
        ticks.fetch_add(nanoseconds * self.rate / 1000, Ordering::Relaxed);
    }

    /// Lets time pass, with a reading at each step. No reading runs backwards, repeats the last one, or is far from the
    /// system's clocks.
    fn live(&mut self, nanoseconds: u64, step: u64) {
        let began = self.clock.source.mono();
        let mut moved_at = began;
        for _ in 0..nanoseconds / step {
            self.pass(step);
            let (recent, now, mono) = (self.clock.recent(), self.clock.now(), self.clock.source.mono());
            assert!(recent.mono <= mono && mono - recent.mono <= 5 * MILLISECOND, "{} at {mono}", recent.mono);
            assert!(now.mono >= self.last.mono, "it runs backwards");
            if now.mono > self.last.mono {
                moved_at = mono;
            }
            assert!(mono - moved_at <= 5 * MILLISECOND, "it stands still");
            assert!(now.mono.abs_diff(mono) <= 5 * MILLISECOND, "{} at {mono}", now.mono);
            // A step of the wall clock appears with the next anchor.
            assert!(mono - began <= 5 * MILLISECOND || now.wall.abs_diff(self.clock.source.wall()) <= 5 * MILLISECOND);
            // And then with a tick.
            let is_stepped = mono - began <= 10 * MILLISECOND;
            assert!(is_stepped || recent.wall.abs_diff(self.clock.source.wall()) <= 10 * MILLISECOND);
            self.last = now;
        }
    }

    fn is_fast(&self) -> bool {
        self.clock.scale.load(Ordering::Relaxed) != 0
    }
}

#[test]
fn no_reading_stands_still_or_runs_backwards_whatever_the_counter_does() {
    type Change = fn(&mut Awake);
    let changes: [(&str, Change); 5] = [
        ("eight hours later", |awake| {
            awake.clock.source.ticks.fetch_add(8 * HOUR * 3, Ordering::Relaxed);
        }),
        ("back to the start", |awake| awake.clock.source.ticks.store(0, Ordering::Relaxed)),
        ("one percent faster", |awake| awake.rate = 3030),
        ("one percent slower", |awake| awake.rate = 2970),
        ("an hour on the wall", |awake| {
            awake.clock.source.wall.fetch_add(HOUR, Ordering::Relaxed);
        }),
    ];
    for (what, change) in changes {
        for idle in [0, HOUR] {
            let mut awake = Awake::new();
            awake.live(60 * MILLISECOND, MILLISECOND / 20);
            awake.pass(idle);
            awake.live(60 * MILLISECOND, MILLISECOND / 20);
            assert!(awake.is_fast(), "the counter serves after 120 ms");
            change(&mut awake);
            awake.live(300 * MILLISECOND, MILLISECOND / 100); // steps small enough to see a step back of 50 µs
            awake.live(10_000 * MILLISECOND, MILLISECOND / 10);
            assert!(awake.is_fast(), "{what}: the counter serves again");
        }
    }
}

#[test]
fn a_rate_serves_once_two_agree() {
    let mut awake = Awake::new();
    awake.live(30 * MILLISECOND, MILLISECOND);
    assert!(!awake.is_fast());
    awake.live(30 * MILLISECOND, MILLISECOND);
    assert!(awake.is_fast());
}
