//! One reading for wall and monotonic time.
//!
//! The system clocks cost a call each; a queue wants both, for every message. So both are read off the processor's
//! counter, which is set against the system clocks again every few milliseconds:
//!
//! - within that span the counter's rate, measured over seconds, is good to well under a microsecond, and steps and
//!   corrections of the wall clock show at once to a person;
//! - until a rate has been measured, and wherever a reading meets a change of the anchor, the system clocks answer.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that never steps: for deadlines.
    pub mono: u64,
    /// Nanoseconds since the Unix epoch: for people.
    pub wall: u64,
}

impl Now {
    /// The later of two readings, by either clock.
    #[inline]
    pub(crate) fn later(self, other: Now) -> Now {
        Now { mono: self.mono.max(other.mono), wall: self.wall.max(other.wall) }
    }
}

/// Where a queue takes its time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clocks.
    #[default]
    System,
    /// A clock moved by hand.
    Manual(Arc<ManualClock>),
}

impl Clock {
    /// Reads the clock.
    #[inline]
    pub fn now(&self) -> Now {
        match self {
            Clock::System => SYSTEM.now(),
            Clock::Manual(manual) => manual.now(),
        }
    }

    /// Whether time passes by itself, so that a thread can wait for a deadline.
    pub(crate) fn runs(&self) -> bool {
        matches!(self, Clock::System)
    }
}

/// A clock for tests, moved by hand.
#[derive(Debug, Default)]
pub struct ManualClock {
    /// Nanoseconds, monotonic.
    mono: AtomicU64,
    /// Nanoseconds since the epoch.
    wall: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at the given moment.
    pub fn at(now: Now) -> Arc<Self> {
        Arc::new(ManualClock { mono: AtomicU64::new(now.mono), wall: AtomicU64::new(now.wall) })
    }

    /// Moves both clocks on.
    pub fn advance(&self, nanoseconds: u64) {
        self.mono.fetch_add(nanoseconds, Ordering::SeqCst);
        self.wall.fetch_add(nanoseconds, Ordering::SeqCst);
    }

    /// Steps the wall clock alone.
    pub fn set_wall(&self, nanoseconds: u64) {
        self.wall.store(nanoseconds, Ordering::SeqCst);
    }

    fn now(&self) -> Now {
        Now { mono: self.mono.load(Ordering::SeqCst), wall: self.wall.load(Ordering::SeqCst) }
    }
}

/// The moment of a monotonic reading, for the waits of the standard library and of channels.
pub(crate) fn instant(mono: u64) -> Instant {
    let far = Duration::from_secs(86_400 * 365);
    SYSTEM.origin + Duration::from_nanos(mono).min(SYSTEM.origin.elapsed() + far)
}

static SYSTEM: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);

/// After a fork in the child: another thread may have been in the middle of setting the anchor.
pub(crate) fn reset_after_fork() {
    SYSTEM.version.store(0, Ordering::SeqCst);
    SYSTEM.scale.store(0, Ordering::SeqCst);
    if SYSTEM.baseline.is_locked() {
        SYSTEM.lost_to_fork.store(1, Ordering::SeqCst);
    }
}

/// Nanoseconds that an anchor serves. A rate that is off by a millionth is off by 5 ns at its end.
const ANCHOR_SPAN: u64 = 5_000_000;
/// Nanoseconds over which a rate is measured at least before it is used, and at most before it is measured afresh.
const SHORTEST_BASELINE: u64 = 20_000_000;
const LONGEST_BASELINE: u64 = 2_000_000_000;
/// Fractional bits of the rate, nanoseconds per tick.
const SCALE_BITS: u32 = 32;

/// One reading of all three.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Ticks of the processor's counter.
    ticks: u64,
    /// The system clocks at that tick.
    now: Now,
}

/// The processor's counter, or the system clock where it has none that is steady.
#[derive(Debug)]
enum Counter {
    /// The TSC of an x86-64 processor, read without a call: 4 ns of the 60 of a `put` from Python.
    #[cfg(target_arch = "x86_64")]
    Tsc,
    /// What quanta chooses. It measures the rate when it is made, which can take a tenth of a second, and nobody needs.
    Other(quanta::Clock),
}

impl Counter {
    fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if has_steady_tsc() {
            return Counter::Tsc;
        }
        Counter::Other(quanta::Clock::new())
    }

    #[inline]
    fn ticks(&self) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
            Counter::Tsc => unsafe { std::arch::x86_64::_rdtsc() },
            Counter::Other(clock) => clock.raw(),
        }
    }
}

/// Whether the TSC goes at the same rate whatever the processor does ("invariant TSC": Intel SDM, volume 3, 18.17.1; AMD
/// APM, volume 3, appendix E.4.7).
#[cfg(target_arch = "x86_64")]
fn has_steady_tsc() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    __cpuid(0x8000_0000).eax >= POWER_MANAGEMENT && __cpuid(POWER_MANAGEMENT).edx & 1 << 8 != 0
}

#[derive(Debug)]
struct SystemClock {
    counter: Counter,
    /// Where `mono` counts from.
    origin: Instant,
    /// Odd while the anchor is being changed.
    version: AtomicU64,
    /// The anchor: ticks, and the clocks at that tick.
    ticks: AtomicU64,
    mono: AtomicU64,
    wall: AtomicU64,
    /// Nanoseconds per tick, fixed point; 0 while unknown.
    scale: AtomicU64,
    /// Ticks after the anchor for which it serves.
    span: AtomicU64,
    /// The sample that the rate is measured from. Only ever tried, so that a reading never waits.
    baseline: Mutex<Option<Sample>>,
    /// 1 in a child that was forked while another thread held `baseline`: the system clocks answer from then on.
    lost_to_fork: AtomicU64,
}

impl SystemClock {
    fn new() -> Self {
        SystemClock {
            counter: Counter::new(),
            origin: Instant::now(),
            version: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            mono: AtomicU64::new(0),
            wall: AtomicU64::new(0),
            scale: AtomicU64::new(0),
            span: AtomicU64::new(0),
            baseline: Mutex::new(None),
            lost_to_fork: AtomicU64::new(0),
        }
    }

    #[inline]
    fn now(&self) -> Now {
        let version = self.version.load(Ordering::Acquire);
        let ticks = self.ticks.load(Ordering::Relaxed);
        let mono = self.mono.load(Ordering::Relaxed);
        let wall = self.wall.load(Ordering::Relaxed);
        let scale = self.scale.load(Ordering::Relaxed);
        let span = self.span.load(Ordering::Relaxed);
        let passed = self.counter.ticks().wrapping_sub(ticks);
        fence(Ordering::Acquire);
        if passed < span && scale != 0 && version & 1 == 0 && self.version.load(Ordering::Relaxed) == version {
            // passed < span < 2^32 ticks and scale < 2^32 * 2^4: no overflow for any counter above 0.1 GHz
            let nanoseconds = ((u128::from(passed) * u128::from(scale)) >> SCALE_BITS) as u64;
            return Now { mono: mono + nanoseconds, wall: wall + nanoseconds };
        }
        self.anchor()
    }

    /// Reads the system clocks, and sets the anchor there if nobody else is at it.
    #[cold]
    fn anchor(&self) -> Now {
        let sample = self.sample();
        if self.lost_to_fork.load(Ordering::Relaxed) == 1 {
            return sample.now;
        }
        let Some(mut baseline) = self.baseline.try_lock() else { return sample.now };
        let Some(start) = *baseline else {
            *baseline = Some(sample);
            return sample.now;
        };
        let nanoseconds = sample.now.mono.saturating_sub(start.now.mono);
        let ticks = sample.ticks.wrapping_sub(start.ticks);
        if nanoseconds < SHORTEST_BASELINE || ticks == 0 {
            return sample.now;
        }
        let scale = ((u128::from(nanoseconds) << SCALE_BITS) / u128::from(ticks)) as u64;
        if scale == 0 {
            return sample.now;
        }
        if nanoseconds > LONGEST_BASELINE {
            *baseline = Some(sample);
        }
        let span = ((u128::from(ANCHOR_SPAN) << SCALE_BITS) / u128::from(scale)) as u64;
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.ticks.store(sample.ticks, Ordering::Relaxed);
        self.mono.store(sample.now.mono, Ordering::Relaxed);
        self.wall.store(sample.now.wall, Ordering::Relaxed);
        self.scale.store(scale, Ordering::Relaxed);
        self.span.store(span, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
        sample.now
    }

    fn sample(&self) -> Sample {
        let mono = self.origin.elapsed().as_nanos() as u64;
        let before = self.counter.ticks();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let after = self.counter.ticks();
        // The reading of the wall clock lies between the two of the counter.
        let ticks = before.wrapping_add(after.wrapping_sub(before) / 2);
        Sample { ticks, now: Now { mono, wall } }
    }
}

#[cfg(test)]
mod tests {
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
    fn a_manual_clock_moves_only_by_hand() {
        let manual = ManualClock::at(Now { mono: 5, wall: 7 });
        let clock = Clock::Manual(manual.clone());
        assert_eq!(clock.now(), Now { mono: 5, wall: 7 });
        manual.advance(10);
        assert_eq!(clock.now(), Now { mono: 15, wall: 17 });
        manual.set_wall(3);
        assert_eq!(clock.now(), Now { mono: 15, wall: 3 });
    }
}
