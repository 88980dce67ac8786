//! The expiration thread. There is one for the process. It calls queues at the moments when they have work to do.
//!
//! The schedule stores when each queue has to be serviced. The thread sleeps until the earliest of these moments. It is
//! woken only for an earlier one, so neither a new queue nor a removed one costs a switch of threads. It starts when it
//! is first needed.

use std::cell::Cell;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use crate::sync::{Host, Mutex, MutexGuard, Threads, hold, lock, release};
use crate::time::NEVER;
use crate::time::clock;
use crate::time::timers::Timers;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

/// A queue with work to do at certain moments.
pub(crate) trait Serviced: Send + Sync {
    /// Does what is due, and returns when it has to be called next (monotonic nanoseconds), or NEVER. It may drop the
    /// last reference to itself.
    fn service(self: Arc<Self>) -> u64;
}

enum Command {
    /// Check the schedule, which has an earlier moment now.
    Look,
    /// Work that no caller should wait for.
    Run(Box<dyn FnOnce() + Send>),
    /// End the thread.
    #[allow(dead_code, reason = "for the binding")]
    Stop,
}

#[derive(Debug)]
enum Thread {
    /// Not needed yet.
    Idle,
    /// Running. The receiver reports when the thread has ended.
    #[allow(dead_code, reason = "for the binding")]
    Running(Sender<Command>, Receiver<()>),
    /// The process is ending. The thread is never started again.
    #[allow(dead_code, reason = "for the binding")]
    Stopped,
}

/// The state of the expiration thread, behind a lock.
struct Expiration {
    thread: Thread,
    /// When each queue has to be serviced, by the queue's number.
    schedule: Timers<Weak<dyn Serviced>>,
    /// When the thread wakes by itself.
    next: u64,
}

static EXPIRATION: Mutex<Expiration> =
    Mutex::new(Expiration { thread: Thread::Idle, schedule: Timers::new(), next: NEVER });

/// The environment of the engine, if it is not plain Rust.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Runs the thread from its start to its end.
    pub(crate) life: fn(&mut (dyn FnMut() + Send)),
    /// Lets other threads run while a lock is contended, as [`Host::pause`] does.
    pub(crate) pause: fn(u32),
}

static SURROUNDINGS: OnceLock<Surroundings> = OnceLock::new();

/// Runs the thread inside `surroundings`, which also decide how waiters for its lock pause. Only the first call has an
/// effect.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn surround(surroundings: Surroundings) {
    let _ = SURROUNDINGS.set(surroundings);
}

/// The host of waiters for this lock, which may belong to any queue and so to any host.
struct AnyHost;

impl Host for AnyHost {
    const TRIES: u32 = Threads::TRIES;

    fn pause(tries: u32) {
        SURROUNDINGS.get().map_or(Threads::pause as fn(u32), |surroundings| surroundings.pause)(tries);
    }

    fn dispose(run: &mut dyn FnMut() -> bool) {
        Threads::dispose(run);
    }
}

fn locked() -> MutexGuard<'static, Expiration> {
    lock::<AnyHost, _>(&EXPIRATION)
}

impl Expiration {
    /// Schedules a moment for a queue, unless an earlier one is scheduled.
    fn arm(&mut self, id: u64, at: u64, target: Weak<dyn Serviced>) {
        if self.schedule.moment(id).is_none_or(|before| at < before) {
            self.schedule.set(id, at, target);
        }
    }

    /// Sends a command. Returns it if there is no thread and none can be started. The caller drops it, because its
    /// contents must not be dropped under the lock.
    fn send(&mut self, command: Command) -> Result<(), Command> {
        if let Thread::Idle = self.thread {
            let (sender, receiver) = unbounded();
            let (end, ended) = bounded(1);
            let started = thread::Builder::new().name("mpmc-queue expiration".into()).spawn(move || {
                IS_HERE.set(true);
                match SURROUNDINGS.get() {
                    Some(surroundings) => (surroundings.life)(&mut || run(&receiver)),
                    None => run(&receiver),
                }
                let _ = end.send(());
            });
            if started.is_err() {
                return Err(command);
            }
            self.thread = Thread::Running(sender, ended);
        }
        match &self.thread {
            Thread::Running(sender, _) => sender.send(command).map_err(|error| error.0),
            _ => Err(command),
        }
    }
}

/// Schedules service of the queue `id` at a moment.
pub(crate) fn arm(id: u64, at: u64, target: Weak<dyn Serviced>) {
    let mut expiration = locked();
    expiration.arm(id, at, target);
    if at < expiration.next {
        let is_told = expiration.send(Command::Look).is_ok();
        expiration.next = if is_told { at } else { NEVER };
    }
}

/// Removes the queue `id` from the schedule.
pub(crate) fn forget(id: u64) {
    let forgotten = locked().schedule.remove(id);
    drop(forgotten);
}

/// Runs a command on the expiration thread, or on the calling thread if there is no expiration thread any more.
pub(crate) fn run_there(command: Box<dyn FnOnce() + Send>) {
    let refused = locked().send(Command::Run(command));
    if let Err(Command::Run(command)) = refused {
        command();
    }
}

/// Ends the thread for good. Waits until it has ended, at most for `patience`.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn stop(patience: Duration) {
    let before = std::mem::replace(&mut locked().thread, Thread::Stopped);
    if let Thread::Running(sender, ended) = before {
        let _ = sender.send(Command::Stop);
        let _ = ended.recv_timeout(patience);
    }
}

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is the expiration thread.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn is_here() -> bool {
    IS_HERE.get()
}

/// Locks the thread's state before a fork. [`after_fork`] releases it.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn before_fork() {
    hold(locked());
}

/// Releases the state after a fork. A child has no expiration thread, and starts its own when its queues need it.
#[allow(dead_code, reason = "for the binding")]
pub(crate) fn after_fork(in_child: bool) {
    release(&EXPIRATION);
    if !in_child {
        return;
    }
    let mut expiration = locked();
    expiration.next = NEVER;
    if let Thread::Running(sender, ended) = std::mem::replace(&mut expiration.thread, Thread::Idle) {
        // These belong to the parent. Their other end is a thread that does not exist here, and that may have been
        // interrupted while using them. So they are leaked.
        std::mem::forget(sender);
        std::mem::forget(ended);
    }
}

fn run(commands: &Receiver<Command>) {
    loop {
        let mut expiration = locked();
        let due = expiration.schedule.take_due(clock::Clock::System.now().mono);
        let next = expiration.schedule.first().map_or(NEVER, |(at, _)| at);
        expiration.next = next;
        drop(expiration);
        let has_worked = due.is_some();
        if let Some((id, target)) = due
            && let Some(queue) = target.upgrade()
        {
            let again = queue.service();
            if again != NEVER {
                locked().arm(id, again, target);
            }
        }
        let command = match next {
            _ if has_worked => commands.recv_timeout(Duration::ZERO),
            NEVER => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            at => commands.recv_deadline(clock::instant(at)),
        };
        match command {
            Ok(Command::Run(command)) => command(),
            Ok(Command::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
