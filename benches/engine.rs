//! The engine and its peers under criterion: `cargo bench --bench engine`. Add `-- 'send/16'` to run a part of it.
//!
//! `table.rs` compares the same rounds more fairly on a noisy machine. This one keeps a history, and can be profiled.

mod contenders;

use std::time::Duration;

use contenders::{BATCH, Contender, RECEIVERS, STREAM, contenders, refuse_debug_builds};
use criterion::{Criterion, SamplingMode, Throughput};

/// Benchmarks all contenders with each number of receivers.
fn compare(
    criterion: &mut Criterion,
    what: &str,
    elements: impl Fn(usize) -> u64,
    round: impl Fn(&dyn Contender, usize) -> Duration,
) {
    for receivers in RECEIVERS {
        let mut group = criterion.benchmark_group(format!("{what}/{receivers}"));
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(elements(receivers)));
        for contender in contenders() {
            group.bench_function(contender.name(), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| round(&*contender, receivers)).sum());
            });
        }
    }
}

fn main() {
    refuse_debug_builds();
    // Short, because the set-up around a send to 16 receivers takes many times as long as the send.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .sample_size(20)
        .configure_from_args();
    let deliveries = |receivers| BATCH * receivers as u64;
    compare(&mut criterion, "send", |_| BATCH, |contender, receivers| contender.one_thread(receivers).0);
    compare(&mut criterion, "receive", deliveries, |contender, receivers| contender.one_thread(receivers).1);
    compare(&mut criterion, "two threads", |_| STREAM, |contender, receivers| contender.two_threads(receivers));
    criterion.final_summary();
}
