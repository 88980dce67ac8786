//! One reading for wall and monotonic time.
//!
//! A system clock costs a call for each reading, and a queue needs both times for every message. So both are computed
//! from the processor's counter. The counter is anchored to the system clocks again every few milliseconds:
//!
//! - Within that span the counter's rate, measured over seconds, is accurate to well under a microsecond. Steps and
//!   corrections of the wall clock appear so soon that a person sees no delay.
//! - The system clocks answer until two measurements of the rate agree, and whenever the anchor changes during a
//!   reading. A rate that disagrees with the previous one is discarded: the counter jumps, restarts or changes its rate
//!   when the machine suspends or hibernates, or when a virtual machine is moved.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::LONGEST_SLEEP;
use super::counter::{Machine, Source};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that never steps. For deadlines.
    pub mono: u64,
    /// Nanoseconds since the Unix epoch. For people.
    pub wall: u64,
}

impl Now {
    /// The later of two readings, for each clock separately.
    #[inline]
    pub(crate) fn later(self, other: Now) -> Now {
        Now { mono: self.mono.max(other.mono), wall: self.wall.max(other.wall) }
    }
}

/// Where a queue gets its time from.
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

    /// A time that has just been, by up to [`LAG`] earlier than [`now`](Self::now): for what is not due soon, and for
    /// people.
    #[inline]
    pub(crate) fn recent(&self) -> Now {
        match self {
            Clock::System => SYSTEM.recent(),
            Clock::Manual(manual) => manual.recent(),
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
    /// A clock that starts at the given moment and does not move by itself.
    pub fn at(now: Now) -> Arc<Self> {
        Arc::new(ManualClock { mono: AtomicU64::new(now.mono), wall: AtomicU64::new(now.wall) })
    }

    /// Moves both clocks forward.
    pub fn advance(&self, nanoseconds: u64) {
        self.mono.fetch_add(nanoseconds, Ordering::SeqCst);
        self.wall.fetch_add(nanoseconds, Ordering::SeqCst);
    }

    /// Sets the wall clock only.
    pub fn set_wall(&self, nanoseconds: u64) {
        self.wall.store(nanoseconds, Ordering::SeqCst);
    }

    fn now(&self) -> Now {
        Now { mono: self.mono.load(Ordering::SeqCst), wall: self.wall.load(Ordering::SeqCst) }
    }

    /// By the monotonic clock this is late, so that tests find who takes it for the exact time.
    fn recent(&self) -> Now {
        let now = self.now();
        Now { mono: now.mono.saturating_sub(LAG), ..now }
    }
}

/// Converts a monotonic reading to an `Instant` to sleep until. For a far moment, it is [`LONGEST_SLEEP`] away.
pub(crate) fn instant(mono: u64) -> Instant {
    let origin = SYSTEM.source.origin;
    origin + Duration::from_nanos(mono).min(origin.elapsed() + LONGEST_SLEEP)
}

static SYSTEM: LazyLock<SystemClock<Machine>> = LazyLock::new(|| SystemClock::new(Machine::new()));

/// Called in the child after a fork: another thread of the parent may have been in the middle of setting the anchor.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn reset_after_fork() {
    SYSTEM.version.store(0, Ordering::SeqCst);
    SYSTEM.scale.store(0, Ordering::SeqCst);
    SYSTEM.span.store(0, Ordering::SeqCst);
    if SYSTEM.measuring.is_locked() {
        SYSTEM.lost_to_fork.store(1, Ordering::SeqCst);
    }
}

/// Nanoseconds by which [`Clock::recent`] may be late. The kernel's clock is late by one or two ticks of up to 10 ms, or
/// for as long as the processor that moves it stands still while others run: under a hypervisor that gives it no time.
pub(crate) const LAG: u64 = 1_000_000_000;

/// Nanoseconds for which an anchor is used. A rate that is off by a millionth is off by 5 ns at the end of the span.
const ANCHOR_SPAN: u64 = 5_000_000;
/// Nanoseconds over which a rate is measured: the minimum before it is used, and the maximum before it is measured
/// again.
const SHORTEST_BASELINE: u64 = 20_000_000;
const LONGEST_BASELINE: u64 = 2_000_000_000;
/// Nanoseconds within which all three are read if nothing interrupts, and how often a sample is tried.
const TIGHT: u64 = 2_000;
const SAMPLES: u32 = 4;
/// Two rates agree if they differ by less than one part in this many.
const AGREES: u64 = 1000;
/// Fractional bits of the rate (nanoseconds per tick).
const SCALE_BITS: u32 = 32;

/// One reading of the counter and both clocks.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Ticks of the processor's counter.
    ticks: u64,
    /// The system clocks at that tick.
    now: Now,
}

#[derive(Debug)]
struct SystemClock<S> {
    source: S,
    /// Odd while the anchor is being changed.
    version: AtomicU64,
    /// The anchor: ticks, and the clocks at that tick.
    ticks: AtomicU64,
    mono: AtomicU64,
    wall: AtomicU64,
    /// Nanoseconds per tick, fixed point; 0 while unknown.
    scale: AtomicU64,
    /// How many ticks after itself the anchor is used for; 0 while the rate is unknown.
    span: AtomicU64,
    /// By how much the wall clock is ahead of the monotonic clock, wrapping, and until when by the latter that is taken
    /// for true. They need not belong together: both are those of a few milliseconds ago at most.
    ahead: AtomicU64,
    ahead_until: AtomicU64,
    /// An upper bound for every reading of the monotonic clock up to the moment when the anchor was last set.
    floor: AtomicU64,
    /// This lock is only tried, so a reading never waits.
    measuring: Mutex<Measuring>,
    /// 1 in a child that was forked while another thread held `measuring`. From then on the system clocks answer.
    lost_to_fork: AtomicU64,
}

/// How the rate is measured.
#[derive(Debug)]
struct Measuring {
    /// The sample from which the rate is measured.
    baseline: Option<Sample>,
    /// The rate as last measured; 0: not measured yet. A new rate is used once it agrees with this one.
    last: u64,
}

impl<S: Source> SystemClock<S> {
    fn new(source: S) -> Self {
        SystemClock {
            source,
            version: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            mono: AtomicU64::new(0),
            wall: AtomicU64::new(0),
            scale: AtomicU64::new(0),
            span: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            ahead_until: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            measuring: Mutex::new(Measuring { baseline: None, last: 0 }),
            lost_to_fork: AtomicU64::new(0),
        }
    }

    #[inline]
    fn now(&self) -> Now {
        // An odd version differs from every later one: the anchor is being set.
        let version = self.version.load(Ordering::Acquire) & !1;
        let ticks = self.ticks.load(Ordering::Relaxed);
        let mono = self.mono.load(Ordering::Relaxed);
        let wall = self.wall.load(Ordering::Relaxed);
        let scale = self.scale.load(Ordering::Relaxed);
        let span = self.span.load(Ordering::Relaxed);
        let passed = self.source.ticks().wrapping_sub(ticks);
        fence(Ordering::Acquire);
        if passed < span && self.version.load(Ordering::Relaxed) == version {
            let nanoseconds = scaled(passed, scale);
            return Now { mono: mono + nanoseconds, wall: wall + nanoseconds };
        }
        self.anchor()
    }

    #[inline]
    fn recent(&self) -> Now {
        match self.source.coarse() {
            Some(mono) if mono < self.ahead_until.load(Ordering::Relaxed) => {
                Now { mono, wall: mono.wrapping_add(self.ahead.load(Ordering::Relaxed)) }
            }
            _ => self.now(),
        }
    }

    /// Reads the system clocks, and sets the anchor there unless another thread is doing so.
    #[cold]
    fn anchor(&self) -> Now {
        let mut sample = self.sample();
        // The last anchor may have run slightly ahead of the system clock. No reading goes back before it.
        sample.now.mono = sample.now.mono.max(self.floor.load(Ordering::Relaxed));
        self.ahead.store(sample.now.wall.wrapping_sub(sample.now.mono), Ordering::Relaxed);
        self.ahead_until.store(sample.now.mono + ANCHOR_SPAN, Ordering::Relaxed);
        if self.lost_to_fork.load(Ordering::Relaxed) == 1 {
            return sample.now;
        }
        let Some(mut measuring) = self.measuring.try_lock() else { return sample.now };
        let scale = self.scale.load(Ordering::Relaxed);
        if scale != 0 {
            // No reading from the last anchor was later than this, and no reading goes back before it.
            let passed = sample.ticks.wrapping_sub(self.ticks.load(Ordering::Relaxed));
            let latest =
                self.mono.load(Ordering::Relaxed) + scaled(passed.min(self.span.load(Ordering::Relaxed)), scale);
            sample.now.mono = sample.now.mono.max(latest);
            self.floor.store(sample.now.mono, Ordering::Relaxed);
        }
        let Some(start) = measuring.baseline else {
            measuring.baseline = Some(sample);
            return sample.now;
        };
        let nanoseconds = sample.now.mono.saturating_sub(start.now.mono);
        let ticks = sample.ticks.wrapping_sub(start.ticks);
        if nanoseconds < SHORTEST_BASELINE {
            return sample.now;
        }
        let scale = match ticks {
            0 => 0,
            ticks => ((u128::from(nanoseconds) << SCALE_BITS) / u128::from(ticks)) as u64,
        };
        let last = std::mem::replace(&mut measuring.last, scale);
        if scale == 0 || last == 0 || scale.abs_diff(last) > last / AGREES {
            // The rate is not confirmed yet, or the counter has jumped or has another rate: after a suspend, a
            // hibernation, or the move of a virtual machine. The system clocks answer until two rates agree again.
            measuring.baseline = Some(sample);
            self.set_anchor(sample, 0, 0);
            return sample.now;
        }
        if nanoseconds > LONGEST_BASELINE {
            measuring.baseline = Some(sample);
        }
        self.set_anchor(sample, scale, ((u128::from(ANCHOR_SPAN) << SCALE_BITS) / u128::from(scale)) as u64);
        sample.now
    }

    /// Sets the anchor. The caller has locked `measuring`.
    fn set_anchor(&self, sample: Sample, scale: u64, span: u64) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.ticks.store(sample.ticks, Ordering::Relaxed);
        self.mono.store(sample.now.mono, Ordering::Relaxed);
        self.wall.store(sample.now.wall, Ordering::Relaxed);
        self.scale.store(scale, Ordering::Relaxed);
        self.span.store(span, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }

    /// Reads the counter and both clocks at one moment. Tries again if something interrupted, such as another thread.
    fn sample(&self) -> Sample {
        let mut tightest = (u64::MAX, Sample { ticks: 0, now: Now::default() });
        for _ in 0..SAMPLES {
            let mono = self.source.mono();
            let before = self.source.ticks();
            let wall = self.source.wall();
            let after = self.source.ticks();
            let took = self.source.mono().saturating_sub(mono);
            if took < tightest.0 {
                // The wall clock was read between the two readings of the counter.
                let ticks = before.wrapping_add(after.wrapping_sub(before) / 2);
                tightest = (took, Sample { ticks, now: Now { mono, wall } });
            }
            if took < TIGHT {
                break;
            }
        }
        tightest.1
    }
}

/// Converts ticks to nanoseconds. An anchor is used for less than 2^32 ticks, and a scale is less than 2^32 · 2^4, so
/// there is no overflow for any counter above 0.1 GHz.
#[inline]
fn scaled(ticks: u64, scale: u64) -> u64 {
    ((u128::from(ticks) * u128::from(scale)) >> SCALE_BITS) as u64
}

#[cfg(test)]
mod tests;
