//! What other threads do between two slices of a long work. The threads meet in the pauses of their host, so the order
//! is the same each time.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use crate::options::{MissedPolicy, Options, Start};
use crate::sync::Host;
use crate::time::clock::{Clock, ManualClock, Now};
use crate::{Consumer, Delivery, Queue};

/// Messages at the start, and nanoseconds until they expire.
const COUNT: u64 = 200_000;
const TTL: u64 = 100;

thread_local! {
    /// What this thread does in its first pause.
    static IN_A_PAUSE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Threads of which each does something in its first pause.
struct Meeting;

impl Host for Meeting {
    const TRIES: u32 = 0;

    fn pause(_: u32) {
        if let Some(act) = IN_A_PAUSE.take() {
            act();
        }
    }

    fn dispose(run: &mut dyn FnMut() -> bool) {
        while run() {}
    }
}

/// A queue with more messages than expire in one slice. They expire after [`TTL`].
fn queue() -> (Consumer<u64, Meeting>, Arc<ManualClock>) {
    let clock = ManualClock::at(Now { mono: 1000, wall: 1000 });
    let options =
        Options { ttl: Some(TTL), max_bytes: 1 << 30, clock: Clock::Manual(clock.clone()), ..Options::default() };
    let queue: Queue<u64, Meeting> = Queue::new(&options);
    let reader = queue.add_consumer(None, Start::Earliest, MissedPolicy::Skip).unwrap();
    queue.enqueue_batch((0..COUNT).map(|n| (n, 1)).collect()).unwrap();
    (reader, clock)
}

/// Calls `look`, which first removes all messages, and enqueues one between two slices of that. The other thread that
/// waits for the lock is the reason for a pause between slices.
fn look_while_enqueuing<R>(look: impl FnOnce(&Consumer<u64, Meeting>) -> R) -> R {
    let (reader, clock) = queue();
    let queue = reader.queue().clone();
    thread::scope(|scope| {
        // If an assertion fails, its end of the channel goes, and the other thread ends.
        let ((waits, is_waiting), (go_on, may_go_on)) = (channel(), channel());
        let other = queue.clone();
        let look_behind_the_lock = |_: Delivery<'_, u64>| {
            scope.spawn(move || {
                IN_A_PAUSE.set(Some(Box::new(move || {
                    waits.send(()).unwrap();
                    let _ = may_go_on.recv();
                })));
                other.len();
            });
            is_waiting.recv().unwrap();
        };
        reader.peek_with(look_behind_the_lock).unwrap().expect("a message to look at");
        clock.advance(TTL);
        let queue = queue.clone();
        IN_A_PAUSE.set(Some(Box::new(move || {
            clock.advance(7);
            queue.enqueue(1, 1).unwrap();
        })));
        let result = look(&reader);
        assert!(IN_A_PAUSE.take().is_none(), "everything left in one slice");
        go_on.send(()).unwrap();
        result
    })
}

#[test]
fn a_message_enqueued_between_two_slices_of_expiry_is_not_from_the_future() {
    let stats = look_while_enqueuing(|reader| reader.stats().unwrap());
    assert_eq!((stats.unread, stats.missed, stats.lag), (1, COUNT, 0));
    let figures = look_while_enqueuing(|reader| reader.queue().figures());
    assert_eq!((figures.queue.total_items, figures.queue.expired, figures.oldest), (1, COUNT, 0));
}
