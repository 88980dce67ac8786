//! One reading for wall and monotonic time.
//!
//! The system clocks cost a call each; a queue wants both, for every message. So both are read off the processor's
//! counter, which is set against the system clocks again every few milliseconds:
//!
//! - within that span the counter's rate, measured over seconds, is good to well under a microsecond, and steps and
//!   corrections of the wall clock show at once to a person;
//! - until two measurements of the rate agree, and wherever a reading meets a change of the anchor, the system clocks
//!   answer. A rate that disagrees with the one before is forgotten: the counter jumps, starts again, or changes its rate
//!   over a suspend, a hibernation, or the move of a virtual machine.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::counter::{Machine, Source};
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
    let origin = SYSTEM.source.origin;
    origin + Duration::from_nanos(mono).min(origin.elapsed() + far)
}

static SYSTEM: LazyLock<SystemClock<Machine>> = LazyLock::new(|| SystemClock::new(Machine::new()));

/// After a fork in the child: another thread may have been in the middle of setting the anchor.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn reset_after_fork() {
    SYSTEM.version.store(0, Ordering::SeqCst);
    SYSTEM.scale.store(0, Ordering::SeqCst);
    if SYSTEM.measuring.is_locked() {
        SYSTEM.lost_to_fork.store(1, Ordering::SeqCst);
    }
}

/// Nanoseconds that an anchor serves. A rate that is off by a millionth is off by 5 ns at its end.
const ANCHOR_SPAN: u64 = 5_000_000;
/// Nanoseconds over which a rate is measured at least before it is used, and at most before it is measured afresh.
const SHORTEST_BASELINE: u64 = 20_000_000;
const LONGEST_BASELINE: u64 = 2_000_000_000;
/// Nanoseconds in which all three are read if nothing comes in between, and how often that is tried.
const TIGHT: u64 = 2_000;
const SAMPLES: u32 = 4;
/// Rates agree that differ by less than one part in so many.
const AGREES: u64 = 1000;
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
    /// Ticks after the anchor for which it serves.
    span: AtomicU64,
    /// No reading of the monotonic clock so far was later than this when the anchor was last set.
    floor: AtomicU64,
    /// Only ever tried, so that a reading never waits.
    measuring: Mutex<Measuring>,
    /// 1 in a child that was forked while another thread held `measuring`: the system clocks answer from then on.
    lost_to_fork: AtomicU64,
}

/// How the rate is measured.
#[derive(Debug)]
struct Measuring {
    /// The sample that it is measured from.
    baseline: Option<Sample>,
    /// The rate as it was last measured; 0: not yet. A rate serves once it agrees with this.
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
            floor: AtomicU64::new(0),
            measuring: Mutex::new(Measuring { baseline: None, last: 0 }),
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
        let passed = self.source.ticks().wrapping_sub(ticks);
        fence(Ordering::Acquire);
        if passed < span && scale != 0 && version & 1 == 0 && self.version.load(Ordering::Relaxed) == version {
            let nanoseconds = scaled(passed, scale);
            return Now { mono: mono + nanoseconds, wall: wall + nanoseconds };
        }
        self.anchor()
    }

    /// Reads the system clocks, and sets the anchor there if nobody else is at it.
    #[cold]
    fn anchor(&self) -> Now {
        let mut sample = self.sample();
        // The last anchor may have run a little ahead of the system: no reading goes back behind it.
        sample.now.mono = sample.now.mono.max(self.floor.load(Ordering::Relaxed));
        if self.lost_to_fork.load(Ordering::Relaxed) == 1 {
            return sample.now;
        }
        let Some(mut measuring) = self.measuring.try_lock() else { return sample.now };
        let scale = self.scale.load(Ordering::Relaxed);
        if scale != 0 {
            // What was read from the last anchor was at the latest this, and no reading goes back behind it.
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
            // It has yet to prove itself, or the counter has jumped, or goes at another rate: a suspend, a hibernation, a
            // virtual machine that was moved. The system clocks answer until two rates agree again.
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

    /// Sets the anchor. Called with `measuring` locked.
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

    /// Reads all three at one moment: where something came in between, such as another thread, once more.
    fn sample(&self) -> Sample {
        let mut tightest = (u64::MAX, Sample { ticks: 0, now: Now::default() });
        for _ in 0..SAMPLES {
            let mono = self.source.mono();
            let before = self.source.ticks();
            let wall = self.source.wall();
            let after = self.source.ticks();
            let took = self.source.mono().saturating_sub(mono);
            if took < tightest.0 {
                // The reading of the wall clock lies between the two of the counter.
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

/// Ticks as nanoseconds. An anchor serves for less than 2^32 ticks, and a scale is less than 2^32 · 2^4: no overflow for any
/// counter above 0.1 GHz.
#[inline]
fn scaled(ticks: u64, scale: u64) -> u64 {
    ((u128::from(ticks) * u128::from(scale)) >> SCALE_BITS) as u64
}

#[cfg(test)]
mod tests;
