//! Sources of readings: the processor's counter, and the clocks of the system.

use std::fmt::Debug;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A counter that is cheap to read, and the clocks that it is anchored to.
pub(super) trait Source: Debug {
    /// Ticks of the counter.
    fn ticks(&self) -> u64;
    /// Nanoseconds by the system's monotonic clock.
    fn mono(&self) -> u64;
    /// Nanoseconds since the epoch, by the system's wall clock.
    fn wall(&self) -> u64;
    /// Nanoseconds by the system's monotonic clock as of its last tick, if that is cheaper to read than the counter.
    fn coarse(&self) -> Option<u64>;
}

/// The counter and clocks of this machine.
#[derive(Debug)]
pub(super) struct Machine {
    counter: Counter,
    /// The moment from which `mono` counts.
    pub(super) origin: Instant,
    coarse: Option<Coarse>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Machine { counter: Counter::new(), origin: Instant::now(), coarse: Coarse::new() }
    }
}

impl Source for Machine {
    #[inline]
    fn ticks(&self) -> u64 {
        self.counter.ticks()
    }

    fn mono(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }

    #[inline]
    fn coarse(&self) -> Option<u64> {
        Some(self.coarse.as_ref()?.read())
    }
}

/// The processor's counter, or the system clock if the processor has no steady counter.
#[derive(Debug)]
enum Counter {
    /// The TSC of an x86-64 processor, read without a call. A reading takes 4 ns of the 60 of a `put` from Python.
    #[cfg(target_arch = "x86_64")]
    Tsc,
    /// What quanta chooses. It measures the rate when it is created. That can take a tenth of a second and is not
    /// needed here.
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

    #[inline(always)]
    fn ticks(&self) -> u64 {
        // One comparison. A match on this and on quanta's choice would compile to an indirect jump.
        #[cfg(target_arch = "x86_64")]
        if let Counter::Tsc = self {
            // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
            return unsafe { std::arch::x86_64::_rdtsc() };
        }
        self.other_ticks()
    }

    #[inline(never)]
    fn other_ticks(&self) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Counter::Tsc => 0,
            Counter::Other(clock) => clock.raw(),
        }
    }
}

/// Whether the TSC has a constant rate in all states of the processor ("invariant TSC": Intel SDM, volume 3, 18.17.1;
/// AMD APM, volume 3, appendix E.4.7).
#[cfg(target_arch = "x86_64")]
fn has_steady_tsc() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    __cpuid(0x8000_0000).eax >= POWER_MANAGEMENT && __cpuid(POWER_MANAGEMENT).edx & 1 << 8 != 0
}

/// The clock that Linux sets at each tick of its timer, every 1 to 10 ms. Reading it takes 3 to 5 ns, where the
/// processor's counter takes 8 to 17.
#[derive(Debug)]
struct Coarse {
    /// Its time when `Machine::mono` was 0.
    began: u64,
}

#[cfg(target_os = "linux")]
impl Coarse {
    /// None: a reading would be a system call, which takes far longer than to read the counter.
    fn new() -> Option<Self> {
        // SAFETY: it takes a number and returns a number.
        let has_vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } != 0;
        has_vdso.then(|| Coarse { began: now_by(libc::CLOCK_MONOTONIC) })
    }

    #[inline]
    fn read(&self) -> u64 {
        now_by(libc::CLOCK_MONOTONIC_COARSE).saturating_sub(self.began)
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn now_by(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` alone. It does not fail for the two clocks that are passed here, which every
    // Linux on which Rust runs has.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
impl Coarse {
    fn new() -> Option<Self> {
        None
    }

    fn read(&self) -> u64 {
        self.began
    }
}
