//! Counts that the fuzzer keeps without asking the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mpmc_queue::{Error, Lifetime, MESSAGE_OVERHEAD, PENDING_OVERHEAD};

/// The payloads that exist.
#[derive(Debug, Default)]
pub struct Ledger {
    count: AtomicI64,
    /// The bytes that they were enqueued with.
    bytes: AtomicU64,
}

impl Ledger {
    fn figures(&self) -> (i64, u64) {
        (self.count.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst))
    }

    /// Checks that exactly `count` payloads exist, and that the queue's memory is the charge for them and for pending
    /// deliveries. `pending` deliveries are pending, and perhaps some of the unread ones, because these may be
    /// redeliveries. `topics`: the charge for topics.
    ///
    /// The expiration thread drops large removals. This waits for that.
    pub fn check(&self, count: u64, memory: u64, topics: u64, max: u64, (pending, unread): (u64, u64)) {
        self.check_count(count);
        let messages = self.figures().1.wrapping_add(count * MESSAGE_OVERHEAD + topics);
        let with = |deliveries: u64| messages.saturating_add(deliveries * PENDING_OVERHEAD).min(max.max(messages));
        assert!(with(pending) <= memory && memory <= with(pending + unread), "the memory is that of the payloads");
    }

    pub fn check_count(&self, count: u64) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.figures().0 != count as i64 {
            assert!(Instant::now() < end, "{} payloads are alive, {count} are held", self.figures().0);
            thread::yield_now();
        }
    }
}

/// A payload that stores how it was enqueued. It is on the heap, so that the sanitizer watches it too.
#[derive(Debug)]
pub struct Payload {
    pub seq: u64,
    size: Box<u64>,
    at: u64,
    lifetime: Lifetime,
    ledger: Arc<Ledger>,
    dead: Arc<Ledger>,
}

impl Payload {
    pub fn new(ledger: &Arc<Ledger>, dead: &Arc<Ledger>, seq: u64, size: u64, at: u64, lifetime: Lifetime) -> Self {
        ledger.count.fetch_add(1, Ordering::SeqCst);
        ledger.bytes.fetch_add(size, Ordering::SeqCst);
        Payload { seq, size: Box::new(size), at, lifetime, ledger: ledger.clone(), dead: dead.clone() }
    }

    /// Another handle, counted for the dead letter queue.
    pub fn bury(&self) -> Self {
        Payload::new(&self.dead, &self.dead, self.seq, *self.size, self.at, self.lifetime)
    }

    /// Checks the payload when it is delivered.
    pub fn check(&self, seq: u64, size: u64, expires: bool, ttl: Option<u64>, now: u64) {
        assert_eq!((self.seq, *self.size), (seq, size), "it is what was enqueued");
        let ttl = match self.lifetime {
            Lifetime::Queue => ttl,
            Lifetime::Own(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        assert!(!expires || ttl.is_none_or(|ttl| self.at + ttl > now), "what is past its time is never delivered");
    }
}

impl Clone for Payload {
    fn clone(&self) -> Self {
        Payload::new(&self.ledger, &self.dead, self.seq, *self.size, self.at, self.lifetime)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.ledger.bytes.fetch_sub(*self.size, Ordering::SeqCst);
        assert!(self.ledger.count.fetch_sub(1, Ordering::SeqCst) > 0, "dropped twice");
    }
}

/// The messages that a reader has to account for.
#[derive(Debug)]
pub struct Account {
    /// Messages accounted for, minus all messages ever enqueued. This never changes.
    offset: i64,
    /// The lowest seq that may be delivered next.
    next: u64,
}

impl Account {
    /// The account of a reader that begins with `unread` messages to read.
    pub fn new(enqueued: u64, unread: u64) -> Self {
        let mut account = Account { offset: 0, next: 0 };
        account.begin(enqueued, unread);
        account
    }

    pub fn begin(&mut self, enqueued: u64, accounted: u64) {
        self.offset = accounted as i64 - enqueued as i64;
    }

    pub fn order_is_anew(&mut self) {
        self.next = 0;
    }

    pub fn delivered(&mut self, seq: u64) {
        assert!(seq >= self.next, "{seq} is delivered after {}", self.next);
        self.next = seq + 1;
    }

    pub fn check(&self, enqueued: u64, accounted: u64) {
        assert_eq!(accounted as i64 - enqueued as i64, self.offset, "the books balance");
    }
}

/// Checks the result of an enqueue: the next seq, or a refusal.
pub fn admitted(added: Result<u64, Error>, next: u64) {
    match added {
        Ok(seq) => assert_eq!(seq, next),
        Err(error) => assert!(matches!(error, Error::Full(_) | Error::Closed), "{error:?}"),
    }
}
