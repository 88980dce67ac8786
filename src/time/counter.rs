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
}

/// The counter and clocks of this machine.
#[derive(Debug)]
pub(super) struct Machine {
    counter: Counter,
    /// The moment from which `mono` counts.
    pub(super) origin: Instant,
}

impl Machine {
    pub(super) fn new() -> Self {
        Machine { counter: Counter::new(), origin: Instant::now() }
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
