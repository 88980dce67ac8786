//! The parts that the engine is built on: the lock, parking, and the wake-up of the expiration thread.

use super::*;
use crate::core::expiry::Serviced;
use crate::sync::{Mutex, Threads, lock};
use crate::wait::parker::Parker;
use std::task::Waker;

/// A value that loom watches.
struct Watched(UnsafeCell<u64>);

// SAFETY: the model tests what guards it: loom fails the model if two threads access it at once.
unsafe impl Sync for Watched {}
// SAFETY: a number.
unsafe impl Send for Watched {}

impl Watched {
    fn add(&self, count: u64) -> u64 {
        // SAFETY: as above.
        self.0.with_mut(|inside| unsafe {
            *inside += count;
            *inside
        })
    }
}

#[test]
fn the_lock_has_one_holder_at_a_time_that_sees_earlier_changes() {
    explore(|| {
        let mutex = Arc::new(Mutex::new(Watched(UnsafeCell::new(0))));
        // Created before the other threads start.
        assert_eq!(lock::<Threads, _>(&mutex).add(0), 0);
        let others = [(), ()].map(|()| spawn(&mutex, |mutex| lock::<Threads, _>(&mutex).add(1)));
        if let Some(inside) = mutex.try_lock() {
            inside.add(1);
            drop(inside);
        } else {
            lock::<Threads, _>(&mutex).add(1);
        }
        others.into_iter().for_each(|other| assert!(other.join().is_ok()));
        assert_eq!(lock::<Threads, _>(&mutex).add(0), 3);
    });
}

#[test]
fn a_wake_is_not_lost_and_what_came_before_it_is_seen() {
    explore(|| {
        let (parker, written) = (Parker::new(), Arc::new(Watched(UnsafeCell::new(0))));
        let waker = Waker::from(parker.clone());
        let waking = spawn(&written, move |written| {
            written.add(1);
            waker.wake();
        });
        while !parker.park(None) {}
        assert_eq!(written.add(0), 1);
        waking.join().unwrap();
    });
}

#[test]
fn the_expiration_thread_is_never_expected_later_than_something_expires() {
    explore(|| {
        let (queue, clock) = queue(Options { ttl: Some(TTL), ..untimed() });
        enqueue(&queue, 1).unwrap();
        let producer = spawn(&queue, |queue| enqueue_all(&queue, 2..=3));
        clock.advance(TTL);
        queue.core.clone().service();
        producer.join().unwrap();
        let state = queue.core.lock();
        assert!(state.armed <= state.due());
        drop(state);
        queue.check();
    });
}
