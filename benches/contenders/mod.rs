//! The contenders, and how a round of each is timed.
//!
//! Every contender delivers every message to every receiver, in order; otherwise the round panics. A round has a
//! channel of its own, and sends one batch through it before it measures. So memory is warm, ring buffers have wrapped
//! around once, and no contender's history grows from round to round.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_broadcast::TryRecvError as AsyncError;
use crossbeam_channel::TryRecvError as CrossbeamError;
use crossbeam_utils::{Backoff, CachePadded};
use mpmc_queue::{Consumer, MissedPolicy, Options, Overflow, Queue, Start};
use tokio::sync::broadcast::error::TryRecvError as TokioError;

/// Numbers of receivers.
pub(crate) const RECEIVERS: [usize; 3] = [1, 4, 16];
/// Messages of a round on one thread: all are sent, and then received.
pub(crate) const BATCH: u64 = 1000;
/// Messages of a round on two threads. Our default limit has room for them and for the batch before.
pub(crate) const STREAM: u64 = 10_000;
/// The capacity of a ring buffer, and how far a sender may be ahead of its slowest receiver.
const CAPACITY: usize = 1024;

/// A broadcast queue with one sender. Neither end waits.
trait Broadcast: Sync {
    type Sender;
    type Receiver: Send;

    fn name(&self) -> &'static str;
    fn open(&self, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>);
    fn send(sender: &mut Self::Sender, message: u64);
    fn receive(receiver: &mut Self::Receiver) -> Option<u64>;
}

/// The measurements of a broadcast queue.
pub(crate) trait Contender {
    fn name(&self) -> &'static str;

    /// Sends a batch, then lets each receiver receive it. Returns the time of all sends and of all receives.
    fn one_thread(&self, receivers: usize) -> (Duration, Duration);

    /// Sends a stream while another thread receives it. Returns the time from the first message to its last delivery.
    fn two_threads(&self, receivers: usize) -> Duration;
}

/// All contenders: ours first, then tokio's.
pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    let plain = Options { audit: false, read_times: false, created_times: false, ttl: None, ..Options::default() };
    let ring = Options { max_items: Some(CAPACITY as u64), overflow: Overflow::DropOldest, ..plain.clone() };
    vec![
        Box::new(MpmcQueue { name: "mpmc_queue", options: plain }),
        Box::new(MpmcQueue { name: "mpmc_queue, as a ring", options: ring }),
        Box::new(MpmcQueue { name: "mpmc_queue, defaults", options: Options::default() }),
        Box::new(TokioBroadcast),
        Box::new(AsyncBroadcast),
        Box::new(Crossbeam),
    ]
}

/// Ends the process if it was built without optimizations.
pub(crate) fn refuse_debug_builds() {
    if cfg!(debug_assertions) {
        eprintln!("The benchmarks say nothing about a debug build. Run them with `cargo bench`.");
        std::process::exit(2);
    }
}

fn send_batch<B: Broadcast>(sender: &mut B::Sender) {
    (0..BATCH).for_each(|message| B::send(sender, message));
}

fn receive_batch<B: Broadcast>(receivers: &mut [B::Receiver]) {
    for receiver in receivers {
        (0..BATCH).for_each(|message| assert_eq!(B::receive(receiver), Some(message)));
    }
}

impl<B: Broadcast> Contender for B {
    fn name(&self) -> &'static str {
        self.name()
    }

    fn one_thread(&self, receivers: usize) -> (Duration, Duration) {
        let (mut sender, mut receivers) = self.open(receivers);
        send_batch::<B>(&mut sender);
        receive_batch::<B>(&mut receivers);
        let start = Instant::now();
        send_batch::<B>(&mut sender);
        let sent = Instant::now();
        receive_batch::<B>(&mut receivers);
        (sent - start, sent.elapsed())
    }

    fn two_threads(&self, receivers: usize) -> Duration {
        let (mut sender, mut receivers) = self.open(receivers);
        send_batch::<B>(&mut sender);
        receive_batch::<B>(&mut receivers);
        // Number of messages that every receiver has received. The sender only reads it when the last value allows no
        // further send.
        let received = CachePadded::new(AtomicU64::new(0));
        let ready = Barrier::new(2);
        thread::scope(|scope| {
            let end = scope.spawn(|| {
                ready.wait();
                for message in 0..STREAM {
                    for receiver in &mut receivers {
                        let backoff = Backoff::new();
                        let delivered = loop {
                            match B::receive(receiver) {
                                Some(delivered) => break delivered,
                                None => backoff.snooze(),
                            }
                        };
                        assert_eq!(delivered, message);
                    }
                    received.store(message + 1, Ordering::Release);
                }
                Instant::now()
            });
            ready.wait();
            let start = Instant::now();
            let mut seen = 0;
            for message in 0..STREAM {
                let backoff = Backoff::new();
                while message - seen == CAPACITY as u64 {
                    seen = received.load(Ordering::Acquire);
                    backoff.snooze();
                }
                B::send(&mut sender, message);
            }
            end.join().expect("every message is received") - start
        })
    }
}

struct MpmcQueue {
    name: &'static str,
    options: Options,
}

impl Broadcast for MpmcQueue {
    type Sender = Queue<u64>;
    type Receiver = Consumer<u64>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn open(&self, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>) {
        let queue = Queue::new(&self.options);
        let consumer = |_| queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
        let consumers = (0..receivers).map(consumer).collect();
        (queue, consumers)
    }

    fn send(queue: &mut Self::Sender, message: u64) {
        queue.enqueue(message, size_of::<u64>() as u64).unwrap();
    }

    fn receive(consumer: &mut Self::Receiver) -> Option<u64> {
        consumer.read().unwrap()
    }
}

struct TokioBroadcast;

impl Broadcast for TokioBroadcast {
    type Sender = tokio::sync::broadcast::Sender<u64>;
    type Receiver = tokio::sync::broadcast::Receiver<u64>;

    fn name(&self) -> &'static str {
        "tokio broadcast"
    }

    fn open(&self, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>) {
        let (sender, _) = tokio::sync::broadcast::channel(CAPACITY);
        let receivers = (0..receivers).map(|_| sender.subscribe()).collect();
        (sender, receivers)
    }

    fn send(sender: &mut Self::Sender, message: u64) {
        sender.send(message).unwrap();
    }

    fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        match receiver.try_recv() {
            Err(TokioError::Empty) => None,
            received => Some(received.unwrap()),
        }
    }
}

struct AsyncBroadcast;

impl Broadcast for AsyncBroadcast {
    type Sender = async_broadcast::Sender<u64>;
    type Receiver = async_broadcast::Receiver<u64>;

    fn name(&self) -> &'static str {
        "async-broadcast"
    }

    fn open(&self, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>) {
        let (sender, receiver) = async_broadcast::broadcast(CAPACITY);
        (sender, vec![receiver; receivers])
    }

    fn send(sender: &mut Self::Sender, message: u64) {
        sender.try_broadcast(message).unwrap();
    }

    fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        match receiver.try_recv() {
            Err(AsyncError::Empty) => None,
            received => Some(received.unwrap()),
        }
    }
}

/// One channel for each receiver.
struct Crossbeam;

impl Broadcast for Crossbeam {
    type Sender = Vec<crossbeam_channel::Sender<u64>>;
    type Receiver = crossbeam_channel::Receiver<u64>;

    fn name(&self) -> &'static str {
        "crossbeam, bounded"
    }

    fn open(&self, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>) {
        (0..receivers).map(|_| crossbeam_channel::bounded(CAPACITY)).unzip()
    }

    fn send(senders: &mut Self::Sender, message: u64) {
        senders.iter().for_each(|sender| sender.try_send(message).unwrap());
    }

    fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        match receiver.try_recv() {
            Err(CrossbeamError::Empty) => None,
            received => Some(received.unwrap()),
        }
    }
}
